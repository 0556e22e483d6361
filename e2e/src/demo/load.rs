//! How much load: a fixed number of requests is little on one machine and drowns another.

use std::time::{Duration, Instant};

use super::DemoArgs;
use super::observe::Observer;

/// Requests a second of the two kinds of step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    pub quiet: f64,
    pub busy: f64,
}

/// Part of the node's CPUs that the service takes in the busy step. Half leaves batch a part that can shrink and still is one, and keeps the
/// service clear of saturation, where its latency tells of the queue and not of the neighbours.
const BUSY_PART: f64 = 0.5;
/// Busy over quiet.
const SWING: f64 = 9.0;
/// The first rate tried, and by how much each next one is higher.
const FIRST: f64 = 100.0;
const GROWTH: f64 = 1.4;
/// More than this the load generator does not try: a big machine shows the loop with less than half of it.
const MOST: f64 = 5000.0;
/// Time at one rate before the use is believed: the agent publishes once a second, after an average over a few.
const SETTLE: Duration = Duration::from_secs(4);

/// The rates of the flags, or rates that fit this machine.
pub(super) fn choose(args: &DemoArgs, observer: &Observer) -> Result<Load, String> {
    let busy = if let Some(busy) = args.busy {
        busy
    } else {
        println!("== how many requests keep half of the node busy");
        let enough = observer.capacity_millicpu()? as f64 * BUSY_PART;
        search(enough, |rate| used_at(rate, observer))?
    };
    Ok(Load {
        busy,
        quiet: args.quiet.unwrap_or(busy / SWING),
    })
}

/// The first rate of a rising series at which `enough` thousandths of a CPU are used.
fn search(enough: f64, mut used_at: impl FnMut(f64) -> Result<f64, String>) -> Result<f64, String> {
    let mut rate = FIRST;
    loop {
        if used_at(rate)? >= enough || rate * GROWTH > MOST {
            return Ok(rate);
        }
        rate *= GROWTH;
    }
}

/// Thousandths of a CPU that services use at `rate`: the median of the looks of the later half of [`SETTLE`].
fn used_at(rate: f64, observer: &Observer) -> Result<f64, String> {
    observer.set_rate(rate)?;
    let began = Instant::now();
    let mut seen = Vec::new();
    while began.elapsed() < SETTLE {
        std::thread::sleep(Duration::from_millis(500));
        if began.elapsed() >= SETTLE / 2 {
            seen.push(observer.look()?.service as f64);
        }
    }
    let used = crate::bench::median(&seen).unwrap_or(0.0);
    println!("   {rate:>6.0} requests a second: {used:.0}m");
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_machine() {
        // Two CPUs; a request costs 1.2 ms of one on a fast machine, 4 ms on a slow one.
        let at = |cost: f64| search(1000.0, |rate| Ok(rate * cost)).unwrap();
        let (fast, slow) = (at(1.2), at(4.0));
        assert!((833.0..=833.0 * GROWTH).contains(&fast), "{fast}");
        assert!((250.0..=250.0 * GROWTH).contains(&slow), "{slow}");
    }

    #[test]
    fn a_machine_that_is_never_half_busy_gets_the_most() {
        let rate = search(1e9, Ok).unwrap();
        assert!((MOST / GROWTH..=MOST).contains(&rate), "{rate}");
        assert_eq!(search(1.0, |_| Err("gone".into())), Err("gone".to_owned()));
    }
}
