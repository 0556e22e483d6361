//! The published results that our harness must reproduce before anything else it prints means something.
//!
//! [`PUBLISHED`] holds each seed's allocation of BestFit and FGD as published with the benchmark (hkust-adsl/kubernetes-scheduler-simulator,
//! `experiments/analysis/expected_results`, Apache-2.0), for its 17 traces. The value at the end must be equal; at other points a hundredth
//! of a percent is allowed, because means that lie on a half were rounded either way there. [`END_STATES`] are FGD's exact states at the end for seed 42.

use super::curve::POINTS;
use super::fill::Filled;

/// `trace,policy,seed` and the points.
const PUBLISHED: &str = include_str!("published.csv");

/// Trace, compute used (milli), failed pods, CPU used (milli).
const END_STATES: [(&str, u64, usize, u64); 7] = [
    ("default", 5_919_410, 2532, 89_928_302),
    ("cpu050", 5_922_560, 2552, 73_143_662),
    ("cpu200", 5_900_680, 2627, 102_010_954),
    ("cpu250", 5_808_920, 3286, 103_545_596),
    ("gpushare100", 5_395_170, 4662, 97_397_424),
    ("gpuspec33", 5_863_630, 2510, 89_087_794),
    ("multigpu50", 6_035_600, 1312, 76_175_280),
];

/// Compares a run of the published harness; `Ok(false)` when nothing was published about it.
pub fn check(trace: &str, policy: &str, seed: i64, run: &Filled) -> Result<bool, String> {
    let prefix = format!("{trace},{policy},{seed},");
    let Some(values) = PUBLISHED
        .lines()
        .find_map(|line| line.strip_prefix(&prefix))
    else {
        return Ok(false);
    };
    let ours = run.curve.allocated();
    let last = POINTS.len() - 1;
    for (index, ((point, published), ours)) in
        POINTS.iter().zip(values.split(',')).zip(ours).enumerate()
    {
        let published: f64 = published
            .parse()
            .map_err(|error| format!("published value {published:?}: {error}"))?;
        let allowed = if index == last { 0.001 } else { 0.011 };
        if (published - ours).abs() > allowed {
            return Err(format!(
                "{trace} {policy} seed {seed}: allocation at {point} % arrived is {ours:.2}, published is {published:.2}"
            ));
        }
    }
    let state = (run.used, run.failed.iter().sum::<usize>(), run.cpu);
    let expected = END_STATES
        .iter()
        .find(|(name, ..)| trace.strip_prefix("openb_pod_list_") == Some(name))
        .filter(|_| policy == "06-FGD" && seed == 42);
    if let Some((_, used, failed, cpu)) = expected
        && state != (*used, *failed, *cpu)
    {
        return Err(format!(
            "{trace} {policy} seed {seed}: compute used, pods failed and CPU used at the end are {state:?}, published are {:?}",
            (used, failed, cpu)
        ));
    }
    Ok(true)
}
