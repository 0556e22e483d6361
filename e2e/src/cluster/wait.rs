//! Waiting for a condition with a deadline, without going on when a component is dead.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, sleep};

use super::{components::Components, error::ClusterError};

const POLL: Duration = Duration::from_millis(100);

/// Asks `poll` until it says yes (`Ok`). Its `Err` is the last observation, for the message when time runs out.
///
/// Ends early when a component died by itself: then the condition will not come true.
pub(super) async fn until<T, E, P>(
    what: &str,
    limit: Duration,
    components: &Components,
    mut poll: P,
) -> Result<T, ClusterError>
where
    E: Display,
    P: AsyncFnMut() -> Result<T, E>,
{
    let deadline = Instant::now() + limit;
    loop {
        let last = match poll().await {
            Ok(value) => return Ok(value),
            Err(last) => last,
        };
        components.check()?;
        if Instant::now() >= deadline {
            return Err(ClusterError::Timeout {
                what: what.to_owned(),
                seconds: limit.as_secs(),
                last: last.to_string(),
            });
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::component::ComponentSpec;

    fn none() -> Components {
        Components::new("/nonexistent".into(), String::new())
    }

    #[tokio::test]
    async fn yes_ends_the_wait() {
        let mut calls = 0;
        let value = until("x", Duration::from_secs(5), &none(), async || {
            calls += 1;
            if calls > 1 { Ok(calls) } else { Err("no") }
        })
        .await;
        assert_eq!(value.unwrap(), 2);
    }

    #[tokio::test]
    async fn last_observation_is_in_the_message() {
        let error = until("the moon", Duration::ZERO, &none(), async || {
            Err::<(), _>("clouds")
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(error.contains("the moon") && error.contains("clouds"));
    }

    #[tokio::test]
    async fn death_ends_the_wait() {
        let folder = tempfile::tempdir().unwrap();
        let components = Components::new(folder.path().to_owned(), "/bin".to_owned());
        components
            .start(ComponentSpec::new("a", "/bin/false", [""; 0]))
            .unwrap();
        let error = until("x", Duration::from_secs(20), &components, async || {
            Err::<(), _>("no")
        })
        .await
        .unwrap_err();
        assert!(matches!(error, ClusterError::Died { .. }), "{error}");
    }
}
