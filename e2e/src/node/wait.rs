//! Waiting for a condition with a deadline.

use std::time::{Duration, Instant};

/// Between two looks; short, because some scenarios measure how long a condition took.
const POLL: Duration = Duration::from_millis(5);

/// Looks until `condition` gives a value; its last complaint is in the error.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let began = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(complaint) if began.elapsed() >= limit => {
                return Err(format!(
                    "{what}: not within {:.1} s: {complaint}",
                    limit.as_secs_f64()
                ));
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Looks for the whole of `period` and fails at the first complaint: for what must stay as it is.
pub fn stays(
    what: &str,
    period: Duration,
    mut condition: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < period {
        condition().map_err(|complaint| {
            format!(
                "{what}: after {:.1} s: {complaint}",
                began.elapsed().as_secs_f64()
            )
        })?;
        std::thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complaint_is_told() {
        let error =
            wait_until("what", Duration::ZERO, || Err::<(), _>("why".to_owned())).unwrap_err();
        assert!(error.contains("what") && error.contains("why"), "{error}");
    }

    #[test]
    fn a_condition_that_breaks_ends_the_watch() {
        let mut left = 2;
        let error = stays("x", Duration::from_secs(60), || {
            left -= 1;
            if left > 0 {
                Ok(())
            } else {
                Err("broke".to_owned())
            }
        });
        assert!(error.unwrap_err().contains("broke"));
    }
}
