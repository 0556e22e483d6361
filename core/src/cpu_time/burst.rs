//! How much unused quota a container may save up for a burst: the annotation's `cpu_burst_policy`.
//!
//! | policy | burst |
//! |---|---|
//! | `default` | left as the runtime set it |
//! | `closed` | none |
//! | `static` | `quota * cpu_burst_percent / 100` (100 where absent) |
//! | `dynamic` | as `static` while the machine's CPU utilisation is below `cpu_burst_threshold` percent (60 where absent), else none |
//!
//! Never above the quota: the kernel refuses that. Katalyst knows `dynamic` by name only; the rule and its hysteresis are ours. Whether bursts hurt others
//! depends on idle CPUs: the kernel's document (`Documentation/scheduler/sched-bwc.rst`) shows no interference up to about half of the machine busy.

use crate::qos::BurstPolicy;

/// Percent of the machine's CPUs busy below which a dynamic burst is on.
const THRESHOLD: f64 = 60.0;
/// Percent below the threshold at which it comes on again.
const HYSTERESIS: f64 = 10.0;

/// What a burst follows from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BurstInput {
    /// The annotation's policy.
    pub policy: BurstPolicy,
    /// The annotation's percent of the quota.
    pub percent: Option<u8>,
    /// The annotation's threshold, in percent of the machine.
    pub threshold: Option<f64>,
    /// The quota in microseconds a period; `None`: no limit, so there is nothing to save.
    pub quota: Option<u64>,
    /// Percent of the machine's CPUs that is busy; `None` where unknown.
    pub utilisation: Option<f64>,
    /// A dynamic burst is on now.
    pub on: bool,
}

/// The burst in microseconds; `None`: leave it alone.
pub fn burst(input: &BurstInput) -> Option<u64> {
    let quota = input.quota;
    let full = || {
        let percent = u64::from(input.percent.unwrap_or(100).min(100));
        quota.map(|quota| (quota / 100 * percent + quota % 100 * percent / 100).min(quota))
    };
    match input.policy {
        BurstPolicy::Default => None,
        BurstPolicy::Closed => Some(0),
        BurstPolicy::Static => full(),
        BurstPolicy::Dynamic => {
            let threshold = input.threshold.unwrap_or(THRESHOLD);
            let below = if input.on {
                threshold
            } else {
                threshold - HYSTERESIS
            };
            // An unknown utilisation gives nothing.
            if input.utilisation.is_some_and(|busy| busy < below) {
                full()
            } else {
                quota.map(|_| 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const STATIC: BurstInput = BurstInput {
        policy: BurstPolicy::Static,
        percent: Some(50),
        threshold: None,
        quota: Some(200_000),
        utilisation: None,
        on: false,
    };

    #[rstest]
    #[case(BurstInput { policy: BurstPolicy::Default, ..STATIC }, None)]
    #[case(BurstInput { policy: BurstPolicy::Closed, ..STATIC }, Some(0))]
    #[case(STATIC, Some(100_000))]
    #[case(BurstInput { percent: None, ..STATIC }, Some(200_000))]
    #[case(BurstInput { quota: None, ..STATIC }, None)]
    #[case(BurstInput { policy: BurstPolicy::Dynamic, ..STATIC }, Some(0))]
    #[case(BurstInput { policy: BurstPolicy::Dynamic, utilisation: Some(40.0), ..STATIC }, Some(100_000))]
    #[case(BurstInput { policy: BurstPolicy::Dynamic, utilisation: Some(55.0), ..STATIC }, Some(0))]
    #[case(BurstInput { policy: BurstPolicy::Dynamic, utilisation: Some(55.0), on: true, ..STATIC }, Some(100_000))]
    #[case(BurstInput { policy: BurstPolicy::Dynamic, utilisation: Some(60.0), on: true, ..STATIC }, Some(0))]
    #[case(BurstInput { policy: BurstPolicy::Dynamic, utilisation: Some(f64::NAN), on: true, ..STATIC }, Some(0))]
    fn policies(#[case] input: BurstInput, #[case] expected: Option<u64>) {
        assert_eq!(burst(&input), expected);
    }

    proptest! {
        #[test]
        fn never_above_the_quota(quota in any::<u64>(), percent in any::<u8>()) {
            let input = BurstInput { quota: Some(quota), percent: Some(percent), ..STATIC };
            prop_assert!(burst(&input).unwrap() <= quota);
        }
    }
}
