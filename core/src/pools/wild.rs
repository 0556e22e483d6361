//! Which shared pods run wild: they keep far more threads running than they asked for, while services crowd the machine.
//!
//! | pod | it is over when | and calm again when |
//! |---|---|---|
//! | with a CPU limit | its quota held it back in [`throttled`](WildParams::throttled) of the enforcement intervals: its threads want more than the limit | in no more than [`throttled_calm`](WildParams::throttled_calm) |
//! | without | it uses [`over_ratio`](WildParams::over_ratio) times its request and [`over_cpus`](WildParams::over_cpus) CPUs more than it | below [`calm_ratio`](WildParams::calm_ratio) times the request, or, once it has CPUs of its own, of these |
//!
//! Katalyst counts runnable threads (more than 1.5 times the limit, or 2 above it, in three checks; released after 120 s). No kernel tells that number of a group, so
//! its causes are measured: a pod that is throttled most of the time has more runnable threads than its limit, and one that uses more than its
//! request has at least so many. Unlike Katalyst's, a pod on a machine with room harms nobody and is left alone.
//!
//! What is not measured moves nothing: no reading, no verdict.

use serde::{Deserialize, Serialize};

use crate::units::Millicpu;

/// The knobs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WildParams {
    /// Part of the enforcement intervals in which a pod over its limit runs out of quota. 0.5.
    pub throttled: f64,
    /// And a calm one at most. 0.1.
    pub throttled_calm: f64,
    /// Use of a pod over its request, as a multiple of it. 1.5, as Katalyst's of the limit.
    pub over_ratio: f64,
    /// And, more than it, CPUs. 2, as Katalyst's: a small request is soon exceeded by half.
    pub over_cpus: f64,
    /// Use of a calm pod, as a multiple of its request. 1.2.
    pub calm_ratio: f64,
    /// Use of a calm isolated pod, as a part of the CPUs of its own. 0.7.
    pub calm_own: f64,
    /// Part of the CPUs that services use together where they crowd the machine. 0.8, where a pool stops finding idle CPUs for threads that wake up.
    pub crowded: f64,
    /// Seconds that a pod must be over. 15: three of Katalyst's checks.
    pub enter_seconds: f64,
    /// Seconds that it must be calm. 120, as Katalyst's.
    pub leave_seconds: f64,
}

impl Default for WildParams {
    fn default() -> Self {
        Self {
            throttled: 0.5,
            throttled_calm: 0.1,
            over_ratio: 1.5,
            over_cpus: 2.0,
            calm_ratio: 1.2,
            calm_own: 0.7,
            crowded: 0.8,
            enter_seconds: 15.0,
            leave_seconds: 120.0,
        }
    }
}

/// What was measured of a pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WildReading {
    /// Sum of its containers' requests.
    pub request: Millicpu,
    /// It has a CPU limit.
    pub limited: bool,
    /// Its use.
    pub usage: Millicpu,
    /// Part of the enforcement intervals since the last reading in which one of its containers ran out of quota; `None` where not measured.
    pub throttled: Option<f64>,
    /// CPUs of its own, where it is isolated.
    pub own_cpus: Option<u32>,
    /// Services crowd the machine.
    pub crowded: bool,
}

/// What a reading says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WildSign {
    /// Not measured.
    Unknown,
    /// Far over what it asked for.
    Over,
    /// Neither.
    Between,
    /// Within what it asked for.
    Calm,
    /// There is room for everybody.
    Room,
}

/// What is known of a pod from reading to reading.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Wildness {
    /// It runs wild.
    pub runs_wild: bool,
    /// What the last reading said.
    pub sign: WildSign,
    /// Since when every reading has said that this should change, in the seconds of the caller's clock.
    pub since_seconds: Option<f64>,
}

/// Takes a reading; `None` of `before` is a pod that nothing is known of, `None` of `reading` one that was not measured.
pub fn follow_wildness(
    before: Option<&Wildness>,
    reading: Option<&WildReading>,
    now_seconds: f64,
    params: &WildParams,
) -> Wildness {
    let runs_wild = before.is_some_and(|before| before.runs_wild);
    let sign = reading.map_or(WildSign::Unknown, |reading| sign(reading, params));
    let (against, needed) = if runs_wild {
        (
            matches!(sign, WildSign::Calm | WildSign::Room),
            params.leave_seconds,
        )
    } else {
        (sign == WildSign::Over, params.enter_seconds)
    };
    let stays = |since_seconds| Wildness {
        runs_wild,
        sign,
        since_seconds,
    };
    if !against {
        return stays(None);
    }
    // A clock that went back starts anew.
    let since = before
        .and_then(|before| before.since_seconds)
        .filter(|since| *since <= now_seconds)
        .unwrap_or(now_seconds);
    if now_seconds - since < needed {
        return stays(Some(since));
    }
    Wildness {
        runs_wild: !runs_wild,
        sign,
        since_seconds: None,
    }
}

fn sign(reading: &WildReading, params: &WildParams) -> WildSign {
    if !reading.crowded {
        return WildSign::Room;
    }
    let usage = reading.usage.get() as f64;
    let request = reading.request.get() as f64;
    let (over, calm) = if reading.limited {
        let Some(throttled) = reading.throttled else {
            return WildSign::Unknown;
        };
        (
            throttled >= params.throttled,
            throttled <= params.throttled_calm,
        )
    } else {
        let most = (request * params.over_ratio).max(request + params.over_cpus * 1_000.0);
        // CPUs of its own bound its use: what counts is how busy it keeps them.
        let least = match reading.own_cpus {
            Some(own) => f64::from(own) * 1_000.0 * params.calm_own,
            None => request * params.calm_ratio,
        };
        (usage > most, usage < least)
    };
    match (over, calm) {
        (true, _) => WildSign::Over,
        (false, true) => WildSign::Calm,
        (false, false) => WildSign::Between,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unlimited(usage: u64) -> WildReading {
        WildReading {
            request: Millicpu::new(1_000),
            limited: false,
            usage: Millicpu::new(usage),
            throttled: None,
            own_cpus: None,
            crowded: true,
        }
    }

    fn limited(throttled: f64) -> WildReading {
        WildReading {
            limited: true,
            throttled: Some(throttled),
            ..unlimited(1_000)
        }
    }

    #[test]
    fn what_a_reading_says() {
        let params = WildParams::default();
        for (reading, expected) in [
            (unlimited(3_001), WildSign::Over),
            (unlimited(2_900), WildSign::Between),
            (unlimited(1_100), WildSign::Calm),
            (
                WildReading {
                    own_cpus: Some(1),
                    ..unlimited(990)
                },
                WildSign::Between,
            ),
            (
                WildReading {
                    own_cpus: Some(2),
                    ..unlimited(1_300)
                },
                WildSign::Calm,
            ),
            (limited(0.6), WildSign::Over),
            (limited(0.3), WildSign::Between),
            (limited(0.05), WildSign::Calm),
            (
                WildReading {
                    throttled: None,
                    ..limited(0.0)
                },
                WildSign::Unknown,
            ),
            (
                WildReading {
                    crowded: false,
                    ..unlimited(9_000)
                },
                WildSign::Room,
            ),
        ] {
            assert_eq!(sign(&reading, &params), expected, "{reading:?}");
        }
    }

    /// The state after readings of that many seconds each, one a second.
    fn after(readings: &[(u32, Option<WildReading>)]) -> Wildness {
        let params = WildParams::default();
        let mut state = None;
        let mut now = 0.0;
        for (seconds, reading) in readings {
            for _ in 0..*seconds {
                state = Some(follow_wildness(
                    state.as_ref(),
                    reading.as_ref(),
                    now,
                    &params,
                ));
                now += 1.0;
            }
        }
        state.unwrap()
    }

    #[test]
    fn it_takes_a_while_to_become_wild_and_longer_to_be_trusted_again() {
        let over = Some(unlimited(5_000));
        let calm = Some(unlimited(500));
        assert!(!after(&[(15, over)]).runs_wild);
        assert!(after(&[(16, over)]).runs_wild);
        // A pause in between starts the count anew, whatever it says.
        assert!(!after(&[(10, over), (1, calm), (10, over)]).runs_wild);
        assert!(!after(&[(10, over), (1, None), (10, over)]).runs_wild);
        assert!(after(&[(16, over), (120, calm)]).runs_wild);
        assert!(!after(&[(16, over), (121, calm)]).runs_wild);
        assert!(after(&[(16, over), (100, calm), (1, over), (100, calm)]).runs_wild);
        assert!(after(&[(16, over), (1_000, None)]).runs_wild);
    }

    proptest! {
        /// However readings waver, the verdict changes no more often than the two waits allow.
        #[test]
        fn verdicts_do_not_flap(usages in prop::collection::vec(prop::option::weighted(0.9, 0..8_000_u64), 1..600)) {
            let params = WildParams::default();
            let mut state: Option<Wildness> = None;
            let mut changed: Option<f64> = None;
            for (now, usage) in (0..).map(f64::from).zip(usages) {
                let reading = usage.map(unlimited);
                let next = follow_wildness(state.as_ref(), reading.as_ref(), now, &params);
                if state.is_some_and(|before| before.runs_wild != next.runs_wild) {
                    let least = if next.runs_wild { params.enter_seconds } else { params.leave_seconds };
                    prop_assert!(changed.is_none_or(|at| now - at > least), "{now}");
                    prop_assert!(now >= least);
                    changed = Some(now);
                }
                state = Some(next);
            }
        }
    }
}
