//! How much is taken from whom.
//!
//! Services are never squeezed. Of a shared pod only page cache beyond both its request and its resident memory may be dropped, so reclaim never takes a service below its protected memory
//! ([`crate::memory::protect`] protects at most the request). Amounts are bytes on the place that is short: of a pod that has a tenth of its memory on a hot NUMA node, a tenth counts.

use crate::{qos::Level, units::Bytes};

/// What a reclaimed pod keeps whatever happens, so that it can answer a signal: 16 MiB, or a quarter of its request where that is more.
const KEPT: Bytes = Bytes::new(16 << 20);
/// Less cache than this is not worth the reads. 8 MiB.
const SMALL_CACHE: Bytes = Bytes::new(8 << 20);
/// More than what is missing is taken by this factor: caches fill again while the ladder looks.
const GENEROUS: f64 = 1.25;

/// A pod from which memory may be taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Victim {
    /// Its UID.
    pub uid: String,
    /// Its level.
    pub level: Level,
    /// Everything it is charged with.
    pub used: Bytes,
    /// What of it the kernel cannot drop.
    pub resident: Bytes,
    /// What it asked for; zero where it asked for none.
    pub request: Bytes,
    /// The part of its memory that is on the place that is short, 0 to 1.
    pub here: f64,
}

impl Victim {
    /// Page cache that can be dropped.
    pub fn cache(&self) -> Bytes {
        self.used - self.resident
    }

    fn kept(&self) -> Bytes {
        KEPT.max(self.request.scale(0.25)).min(self.used)
    }
}

/// New soft limits of reclaimed pods that together give `shortage` back: first from what is beyond requests, then in proportion to what each has left above what it keeps.
pub fn soft_limits(shortage: Bytes, pods: &[Victim]) -> Vec<(String, Bytes)> {
    let batch: Vec<&Victim> = pods
        .iter()
        .filter(|pod| pod.level == Level::Reclaimed && pod.here > 0.0)
        .collect();
    let beyond: Vec<f64> = batch
        .iter()
        .map(|pod| (pod.used - pod.request.max(pod.kept())).get() as f64 * pod.here)
        .collect();
    let within: Vec<f64> = batch
        .iter()
        .map(|pod| {
            let target = pod.used.min(pod.request.max(pod.kept()));
            (target - pod.kept()).get() as f64 * pod.here
        })
        .collect();
    let missing = shortage.get() as f64;
    let first = missing.min(beyond.iter().sum());
    let second = (missing - first).min(within.iter().sum());
    let part = |amount: f64, all: &[f64], own: f64| {
        let sum: f64 = all.iter().sum();
        if sum > 0.0 { amount * own / sum } else { 0.0 }
    };
    batch
        .iter()
        .zip(beyond.iter().zip(&within))
        .filter_map(|(pod, (over, under))| {
            let taken = part(first, &beyond, *over) + part(second, &within, *under);
            // What is here falls by that much; the limit counts all of the pod's memory.
            (taken >= 1.0).then(|| (pod.uid.clone(), pod.used - Bytes::new(taken as u64)))
        })
        .collect()
}

/// Cache to drop, largest first, until what is missing is covered: of reclaimed pods all of it; of shared pods, once those do not suffice, what is beyond their request.
pub fn drop_cache(shortage: Bytes, pods: &[Victim]) -> Vec<(String, Bytes)> {
    let droppable = |pod: &Victim| match pod.level {
        Level::Reclaimed => pod.cache(),
        Level::Shared => pod.used - pod.request.max(pod.resident),
        Level::Dedicated | Level::System => Bytes::ZERO,
    };
    take(shortage, pods, SMALL_CACHE, droppable)
}

/// Memory of reclaimed pods to push to swap, largest first: what is resident above what each keeps.
pub fn offload(shortage: Bytes, pods: &[Victim]) -> Vec<(String, Bytes)> {
    take(shortage, pods, KEPT, |pod| match pod.level {
        Level::Reclaimed => pod.resident - pod.kept(),
        Level::Shared | Level::Dedicated | Level::System => Bytes::ZERO,
    })
}

fn take(
    shortage: Bytes,
    pods: &[Victim],
    least: Bytes,
    amount: impl Fn(&Victim) -> Bytes,
) -> Vec<(String, Bytes)> {
    let mut order: Vec<(&Victim, Bytes)> = pods
        .iter()
        .filter(|pod| pod.here > 0.0)
        .map(|pod| (pod, amount(pod)))
        .filter(|(_, bytes)| *bytes >= least)
        .collect();
    order.sort_by(|(a, a_bytes), (b, b_bytes)| {
        (a.level != Level::Reclaimed)
            .cmp(&(b.level != Level::Reclaimed))
            .then_with(|| b_bytes.scale(b.here).cmp(&a_bytes.scale(a.here)))
            .then_with(|| a.uid.cmp(&b.uid))
    });
    let mut missing = shortage.scale(GENEROUS);
    let mut taken = Vec::new();
    for (pod, bytes) in order {
        if missing == Bytes::ZERO {
            break;
        }
        let bytes = bytes.min(Bytes::new((missing.get() as f64 / pod.here) as u64));
        missing = missing - bytes.scale(pod.here).max(Bytes::new(1));
        taken.push((pod.uid.clone(), bytes));
    }
    taken
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    pub(in crate::memory::ladder) fn pod(
        uid: &str,
        level: Level,
        used: u64,
        resident: u64,
        request: u64,
    ) -> Victim {
        Victim {
            uid: uid.to_owned(),
            level,
            used: Bytes::new(used * MIB),
            resident: Bytes::new(resident * MIB),
            request: Bytes::new(request * MIB),
            here: 1.0,
        }
    }

    fn mib(taken: &[(String, Bytes)]) -> Vec<(&str, u64)> {
        taken
            .iter()
            .map(|(uid, bytes)| (uid.as_str(), bytes.get() / MIB))
            .collect()
    }

    #[test]
    fn overuse_pays_first() {
        let pods = [
            pod("a", Level::Reclaimed, 300, 300, 100),
            pod("b", Level::Reclaimed, 100, 100, 100),
            pod("s", Level::Shared, 900, 900, 100),
        ];
        assert_eq!(
            mib(&soft_limits(Bytes::new(200 * MIB), &pods)),
            [("a", 100)]
        );
        // Another 100 MiB from both, who have 75 above what they keep.
        assert_eq!(
            mib(&soft_limits(Bytes::new(300 * MIB), &pods)),
            [("a", 50), ("b", 50)]
        );
        // Never below what they keep.
        assert_eq!(
            mib(&soft_limits(Bytes::new(9_000 * MIB), &pods)),
            [("a", 25), ("b", 25)]
        );
    }

    #[test]
    fn batch_caches_go_before_those_of_services() {
        let pods = [
            pod("big", Level::Shared, 500, 50, 100),
            pod("a", Level::Reclaimed, 100, 20, 100),
            pod("b", Level::Reclaimed, 200, 20, 100),
            pod("d", Level::Dedicated, 900, 20, 100),
        ];
        assert_eq!(mib(&drop_cache(Bytes::new(80 * MIB), &pods)), [("b", 100)]);
        assert_eq!(
            mib(&drop_cache(Bytes::new(400 * MIB), &pods)),
            [("b", 180), ("a", 80), ("big", 240)]
        );
    }

    #[test]
    fn what_is_elsewhere_does_not_help() {
        let mut far = pod("a", Level::Reclaimed, 400, 0, 100);
        far.here = 0.0;
        assert!(drop_cache(Bytes::new(MIB), &[far.clone()]).is_empty());
        far.here = 0.5;
        assert_eq!(mib(&drop_cache(Bytes::new(80 * MIB), &[far])), [("a", 200)]);
    }

    proptest! {
        /// Reclaim never takes a service below its request or its resident memory, and a batch pod keeps what it keeps.
        #[test]
        fn services_are_safe(
            shortage in 0..4_000_u64,
            pods in prop::collection::vec((0..4_usize, 0..1_000_u64, 0..1_000_u64, 0..500_u64, 0.0..1.0_f64), 0..20),
        ) {
            let pods: Vec<_> = pods.into_iter().enumerate().map(|(n, (level, used, resident, request, here))| Victim {
                here,
                ..pod(&n.to_string(), [Level::Reclaimed, Level::Shared, Level::Dedicated, Level::System][level], used.max(resident), resident, request)
            }).collect();
            let of = |uid: &str| pods.iter().find(|pod| pod.uid == uid).unwrap();
            let shortage = Bytes::new(shortage * MIB);
            for (uid, limit) in soft_limits(shortage, &pods) {
                prop_assert_eq!(of(&uid).level, Level::Reclaimed);
                prop_assert!(limit >= of(&uid).kept() || limit.abs_diff(of(&uid).kept()).get() <= 2);
            }
            for (uid, bytes) in drop_cache(shortage, &pods) {
                let pod = of(&uid);
                prop_assert!(bytes <= pod.cache());
                if pod.level != Level::Reclaimed {
                    prop_assert!(pod.level == Level::Shared && pod.used - bytes >= pod.request);
                }
            }
            for (uid, _) in offload(shortage, &pods) {
                prop_assert_eq!(of(&uid).level, Level::Reclaimed);
            }
        }
    }
}
