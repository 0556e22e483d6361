//! Splitting the memory ceiling over pods.
//!
//! A pod's hard limit is its request: that is what placement counted. When the ceiling falls below the sum of the requests, each pod gets a
//! lower soft limit (`memory.high` on cgroup v2) by weighted max-min fairness. The hard limit follows down only as far as the pod's use allows:
//! a limit below the use invokes the kernel's OOM killer on v2 and fails with EBUSY on v1. What is left to free is eviction's work.

use crate::units::Bytes;

use super::cpu::water_fill;

/// Head room kept between a pod's use and a lowered hard limit: 5 % and 16 MiB.
const SLACK: f64 = 0.05;
const SLACK_BYTES: u64 = 16 << 20;

/// One pod in the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryDemand {
    /// What the pod requested of reclaimed memory, `None` where it asked for CPU only.
    pub request: Option<Bytes>,
    /// What its cgroup is charged with now.
    pub usage: Bytes,
}

/// The limits of one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Hard limit: `memory.max`, `memory.limit_in_bytes`.
    pub max: Bytes,
    /// Soft limit `memory.high`, where the pod must shrink; `None` where it need not.
    pub high: Option<Bytes>,
}

/// The limits of each pod, in the order given. Without pressure the hard limits are the requests; a pod without a request may use what the
/// others leave of the ceiling.
pub fn split_memory(ceiling: Bytes, pods: &[MemoryDemand]) -> Vec<MemoryLimit> {
    let requested: Bytes = pods.iter().filter_map(|pod| pod.request).sum();
    let unrequested = pods.iter().filter(|pod| pod.request.is_none()).count() as u64;
    let rest = (ceiling - requested)
        .get()
        .checked_div(unrequested)
        .unwrap_or(0);
    let wants: Vec<f64> = pods
        .iter()
        .map(|pod| pod.request.map_or(rest, Bytes::get) as f64)
        .collect();
    // A pod without a request weighs as the smallest unit: requests come first.
    let weights: Vec<f64> = wants.iter().map(|want| want.max(1.0)).collect();
    let parts = water_fill(ceiling.get() as f64, &weights, &wants);
    pods.iter()
        .zip(wants.iter().zip(parts))
        .map(|(pod, (want, part))| {
            let want = Bytes::new(*want as u64);
            let part = Bytes::new(part as u64);
            let needed = pod.usage.scale(1.0 + SLACK) + Bytes::new(SLACK_BYTES);
            if part >= want && want >= needed.min(want) && pod.request.is_some() {
                MemoryLimit {
                    max: want,
                    high: None,
                }
            } else {
                // The request, when there is one, is never exceeded; what is charged beyond it is the kernel's to reclaim.
                let cap = pod.request.unwrap_or(Bytes::new(u64::MAX));
                MemoryLimit {
                    max: part.max(needed).min(cap),
                    high: Some(part),
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn pod(request: u64, usage: u64) -> MemoryDemand {
        MemoryDemand {
            request: Some(Bytes::new(request * MIB)),
            usage: Bytes::new(usage * MIB),
        }
    }

    #[test]
    fn without_pressure_the_limit_is_the_request() {
        let limits = split_memory(Bytes::new(1000 * MIB), &[pod(100, 50), pod(200, 0)]);
        assert_eq!(
            limits[0],
            MemoryLimit {
                max: Bytes::new(100 * MIB),
                high: None
            }
        );
        assert_eq!(
            limits[1],
            MemoryLimit {
                max: Bytes::new(200 * MIB),
                high: None
            }
        );
    }

    #[test]
    fn under_pressure_the_hard_limit_stays_above_the_use() {
        let limits = split_memory(Bytes::new(150 * MIB), &[pod(100, 90), pod(200, 10)]);
        assert_eq!(limits[0].high, Some(Bytes::new(50 * MIB)));
        assert_eq!(
            limits[0].max,
            Bytes::new(100 * MIB),
            "never above the request"
        );
        assert_eq!(
            limits[1],
            MemoryLimit {
                max: Bytes::new(100 * MIB),
                high: Some(Bytes::new(100 * MIB))
            }
        );
    }

    #[test]
    fn a_pod_without_request_gets_what_the_others_leave() {
        let free = MemoryDemand {
            request: None,
            usage: Bytes::ZERO,
        };
        let limits = split_memory(Bytes::new(500 * MIB), &[pod(100, 0), free]);
        assert_eq!(limits[1].high, Some(Bytes::new(400 * MIB)));
    }

    proptest! {
        /// A limit never kills: it is the request or leaves room above what is charged. Soft limits add up to no more than the ceiling.
        #[test]
        fn limits_are_safe(ceiling in 0..10_000u64, pods in prop::collection::vec((1..2000u64, 0..2000u64), 1..20)) {
            let pods: Vec<_> = pods.into_iter().map(|(r, u)| pod(r, u)).collect();
            let limits = split_memory(Bytes::new(ceiling * MIB), &pods);
            let mut soft = Bytes::ZERO;
            for (limit, pod) in limits.iter().zip(&pods) {
                let request = pod.request.unwrap();
                prop_assert!(limit.max <= request);
                prop_assert!(limit.max == request || limit.max > pod.usage);
                soft += limit.high.unwrap_or(limit.max);
            }
            prop_assert!(soft <= Bytes::new(ceiling * MIB));
        }
    }
}
