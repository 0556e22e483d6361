//! What the two runs say, and whether the loop closed.

use super::phases::Run;
use crate::report::Row;

/// The rows of the report, and the first thing that is missing for a closed loop.
pub(super) fn summarise(alone: &Run, together: &Run, node: &str) -> (Vec<Row>, Result<(), String>) {
    let place = format!("node {node}");
    let p99 = |run: &Run, step: usize| run.steps.get(step).map_or(f64::NAN, |stats| stats.p99_ms);
    let ceiling = |step: usize| {
        let values: Vec<u64> = together
            .sights
            .iter()
            .filter(|(s, _)| *s == step)
            .map(|(_, sight)| sight.ceiling)
            .collect();
        // The later half of a step: the ceiling follows within seconds.
        let settled: Vec<f64> = values
            .iter()
            .skip(values.len() / 2)
            .map(|v| *v as f64)
            .collect();
        crate::bench::median(&settled).unwrap_or(0.0)
    };
    let last = together
        .sights
        .last()
        .map(|(_, sight)| sight.clone())
        .unwrap_or_default();
    let mib = together.goodput / f64::from(1u32 << 20);
    let evictions = last
        .evictions
        .saturating_sub(together.sights.first().map_or(0, |(_, s)| s.evictions));
    let rows = vec![
        Row::figure(
            "utilisation-before",
            "machine busy, service alone",
            alone.busy,
            "fraction",
            &place,
        ),
        Row::figure(
            "utilisation-with",
            "machine busy, with batch",
            together.busy,
            "fraction",
            &place,
        ),
        Row::figure(
            "p99-quiet-alone",
            "service p99 at the quiet load, alone",
            p99(alone, 0),
            "ms",
            &place,
        ),
        Row::figure(
            "p99-quiet-colocated",
            "service p99 at the quiet load, with batch",
            p99(together, 0),
            "ms",
            &place,
        ),
        Row::figure(
            "p99-busy-alone",
            "service p99 at the busy load, alone",
            p99(alone, 1),
            "ms",
            &place,
        ),
        Row::figure(
            "p99-busy-colocated",
            "service p99 at the busy load, with batch",
            p99(together, 1),
            "ms",
            &place,
        ),
        Row::at_least(
            "goodput",
            "batch goodput (text compressed)",
            mib,
            "MiB/s",
            0.1,
            &place,
        ),
        Row::figure(
            "ceiling-quiet",
            "batch ceiling at the quiet load",
            ceiling(0),
            "millicpu",
            &place,
        ),
        Row::at_most(
            "ceiling-busy",
            "batch ceiling at the busy load",
            ceiling(1),
            "millicpu",
            ceiling(0) * 0.9,
            &place,
        ),
        Row::figure(
            "ceiling-quiet-again",
            "batch ceiling when the load falls again",
            ceiling(2),
            "millicpu",
            &place,
        ),
        Row::figure(
            "evictions",
            "batch pods evicted",
            evictions as f64,
            "count",
            &place,
        ),
    ];
    (rows, closed(alone, together, ceiling(0), ceiling(1), &last))
}

fn closed(
    alone: &Run,
    together: &Run,
    quiet: f64,
    busy: f64,
    last: &super::observe::Sight,
) -> Result<(), String> {
    if last.batch_pods == 0 || last.bound_by_extender == 0 {
        return Err("no batch pod was placed by the extender".into());
    }
    if together.goodput <= 0.0 {
        return Err("the batch pods did no work".into());
    }
    if together.busy <= alone.busy {
        return Err(format!(
            "the machine was not busier with batch ({:.2}) than without ({:.2})",
            together.busy, alone.busy
        ));
    }
    if busy >= quiet * 0.9 {
        return Err(format!(
            "the ceiling did not fall under load: {quiet:.0}m quiet, {busy:.0}m busy"
        ));
    }
    if together.sights.iter().any(|(_, sight)| sight.ceiling == 0) {
        return Err("the agent reported no ceiling".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::observe::Sight;
    use crate::workload::load::Stats;

    fn run(busy: f64, goodput: f64, ceilings: [u64; 3]) -> Run {
        let stats = Stats {
            rate: 1.0,
            seconds: 1.0,
            answered: 1,
            failed: 0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            max_ms: 3.0,
            recent_p99_ms: 2.0,
        };
        let sights = ceilings
            .iter()
            .enumerate()
            .map(|(step, c)| {
                (
                    step,
                    Sight {
                        ceiling: *c,
                        batch_pods: 1,
                        bound_by_extender: 1,
                        ..Sight::default()
                    },
                )
            })
            .collect();
        Run {
            busy,
            steps: vec![stats.clone(), stats.clone(), stats],
            sights,
            goodput,
        }
    }

    #[test]
    fn a_closed_loop_needs_work_and_a_falling_ceiling() {
        let alone = run(0.2, 0.0, [1500, 500, 1500]);
        assert_eq!(
            summarise(&alone, &run(0.8, 1e7, [1500, 500, 1500]), "n").1,
            Ok(())
        );
        assert!(
            summarise(&alone, &run(0.8, 0.0, [1500, 500, 1500]), "n")
                .1
                .is_err()
        );
        assert!(
            summarise(&alone, &run(0.8, 1e7, [1500, 1500, 1500]), "n")
                .1
                .is_err()
        );
        assert!(
            summarise(&alone, &run(0.1, 1e7, [1500, 500, 1500]), "n")
                .1
                .is_err()
        );
    }
}
