//! One run of the load: quiet, busy, quiet, with a line of the table every two seconds.

use std::time::{Duration, Instant};

use super::load::Load;
use super::observe::{Machine, Observer, Sight};
use crate::workload::load::Stats;

/// What a run measured.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Busy fraction of the machine over the run.
    pub busy: f64,
    /// The load generator's figures of each step.
    pub steps: Vec<Stats>,
    /// All looks, with the step they belong to.
    pub sights: Vec<(usize, Sight)>,
    /// Bytes a second that batch compressed.
    pub goodput: f64,
}

/// The beginning of a step is left out of the latency figures: the load generator's queue and the ceiling settle.
const SETTLE: Duration = Duration::from_secs(3);

/// `step` is the length of each step in seconds, after it has settled.
pub(super) fn run(step_seconds: u64, load: Load, observer: &Observer) -> Result<Run, String> {
    let rates = [
        ("quiet", load.quiet),
        ("busy", load.busy),
        ("quiet", load.quiet),
    ];
    println!(
        "   load     time  service  offered  allocated  ceiling  batch  throttled  evicted  p99 now"
    );
    let mut run = Run {
        busy: 0.0,
        steps: Vec::new(),
        sights: Vec::new(),
        goodput: 0.0,
    };
    let machine = Machine::now();
    let bytes_before = observer.look()?.batch_bytes;
    for (step, (name, rate)) in rates.iter().enumerate() {
        observer.set_rate(*rate)?;
        let began = Instant::now();
        let mut settled = false;
        while began.elapsed() < Duration::from_secs(step_seconds) + SETTLE {
            if !settled && began.elapsed() >= SETTLE {
                // A new phase of the same rate: its figures start here.
                observer.set_rate(*rate)?;
                settled = true;
            }
            let sight = observer.look()?;
            println!(
                "   {name:<6} {:>5.0} s  {:>6}m  {:>6}m  {:>8}m  {:>6}m {:>5}m  {:>8.0}%  {:>7}  {:>6.1} ms",
                machine.seconds(),
                sight.service,
                sight.offered,
                sight.allocated,
                sight.ceiling,
                sight.batch,
                sight.throttled * 100.0,
                sight.evictions,
                sight.recent_p99_ms
            );
            run.sights.push((step, sight));
            // The interval of the table.
            std::thread::sleep(Duration::from_secs(2).saturating_sub(Duration::from_millis(300)));
        }
        let ended = observer.set_rate(if step + 1 == rates.len() {
            load.quiet
        } else {
            *rate
        })?;
        run.steps.push(ended);
    }
    run.busy = machine.busy_since();
    let bytes = observer.look()?.batch_bytes.saturating_sub(bytes_before);
    run.goodput = bytes as f64 / machine.seconds();
    Ok(run)
}
