//! Pods that hold more memory than they asked for.
//!
//! Sources: a pod's resident memory (charge less what can be dropped) and its page cache, from `memory.stat` as often as it is read; its request. Resident memory over request is *overuse* from the pod's
//! `rss_overuse_threshold`, else from the node's; page cache beyond the request, and more than [`SMALL`], is *cache overuse*: memory that can be had back at the price of reads. Both must hold in two readings and for their time. A pod without a
//! request promised nothing and overuses nothing; the ladder counts its use all the same.

use std::collections::BTreeMap;

use super::{Gate, GateParams, Severity};
use crate::units::Bytes;

/// Ratio from which resident memory is overuse where the pod does not say. 1.05, Katalyst's default.
pub const DEFAULT_THRESHOLD: f64 = 1.05;
/// Less cache than this is nobody's overuse. 32 MiB: programs and libraries of a pod are that large.
pub const SMALL: Bytes = Bytes::new(32 << 20);

/// One pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverusePod<'a> {
    /// Its UID.
    pub uid: &'a str,
    /// Resident memory.
    pub resident: Bytes,
    /// Page cache.
    pub cache: Bytes,
    /// What it asked for.
    pub request: Bytes,
    /// Its own threshold.
    pub threshold: Option<f64>,
}

/// What a pod overuses, as ratios to its request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overused {
    /// Resident memory over request, where that is overuse.
    pub resident: Option<f64>,
    /// Cache over request, where that is overuse.
    pub cache: Option<f64>,
}

/// Gates of all pods.
#[derive(Debug, Clone, Default)]
pub struct Overuse {
    pods: BTreeMap<String, [Gate; 2]>,
}

impl Overuse {
    /// Looks at all pods; those that are not given are forgotten. Calls `found` for each that overuses.
    pub fn observe<'a>(
        &mut self,
        now: f64,
        default_threshold: f64,
        pods: impl Iterator<Item = OverusePod<'a>>,
        mut found: impl FnMut(&'a str, Overused),
    ) {
        let params = GateParams {
            raise_seconds: 5.0,
            clear_seconds: 15.0,
            gap_seconds: 30.0,
        };
        let mut seen = std::collections::BTreeSet::new();
        for pod in pods {
            if pod.request == Bytes::ZERO {
                continue;
            }
            let ratio = |bytes: Bytes| bytes.get() as f64 / pod.request.get() as f64;
            let resident = ratio(pod.resident) > pod.threshold.unwrap_or(default_threshold);
            let cache = pod.cache > pod.request && pod.cache > SMALL;
            if !resident && !cache && !self.pods.contains_key(pod.uid) {
                continue;
            }
            seen.insert(pod.uid);
            let gates = self
                .pods
                .entry(pod.uid.to_owned())
                .or_insert_with(|| [Gate::new(params); 2]);
            let stands = |gate: &mut Gate, over| {
                let measured = if over {
                    Severity::Warning
                } else {
                    Severity::Calm
                };
                gate.observe(now, measured) > Severity::Calm
            };
            let [resident_gate, cache_gate] = gates;
            let overused = Overused {
                resident: stands(resident_gate, resident).then(|| ratio(pod.resident)),
                cache: stands(cache_gate, cache).then(|| ratio(pod.cache)),
            };
            if overused.resident.is_some() || overused.cache.is_some() {
                found(pod.uid, overused);
            } else if !resident && !cache {
                seen.remove(pod.uid);
            }
        }
        self.pods.retain(|uid, _| seen.contains(uid.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn pod(resident: u64, cache: u64, threshold: Option<f64>) -> OverusePod<'static> {
        OverusePod {
            uid: "a",
            resident: Bytes::new(resident * MIB),
            cache: Bytes::new(cache * MIB),
            request: Bytes::new(100 * MIB),
            threshold,
        }
    }

    fn seen(overuse: &mut Overuse, now: f64, pod: OverusePod<'static>) -> Option<Overused> {
        let mut found = None;
        overuse.observe(now, DEFAULT_THRESHOLD, std::iter::once(pod), |_, of| {
            found = Some(of);
        });
        found
    }

    #[test]
    fn overuse_stands_after_its_time() {
        let mut overuse = Overuse::default();
        for second in 0..5 {
            assert_eq!(
                seen(&mut overuse, f64::from(second), pod(110, 0, None)),
                None
            );
        }
        assert_eq!(
            seen(&mut overuse, 5.0, pod(110, 0, None)),
            Some(Overused {
                resident: Some(1.1),
                cache: None
            })
        );
    }

    #[test]
    fn the_pods_own_threshold_counts() {
        let mut overuse = Overuse::default();
        for second in 0..20 {
            assert_eq!(
                seen(&mut overuse, f64::from(second), pod(110, 0, Some(1.5))),
                None
            );
        }
        assert!(overuse.pods.is_empty(), "nothing is kept of it");
    }

    #[test]
    fn cache_beyond_the_request_is_found_apart() {
        let mut overuse = Overuse::default();
        for second in 0..6 {
            seen(&mut overuse, f64::from(second), pod(10, 130, None));
        }
        let found = seen(&mut overuse, 6.0, pod(10, 130, None)).unwrap();
        assert_eq!((found.resident, found.cache), (None, Some(1.3)));
    }
}
