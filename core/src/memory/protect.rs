//! How much of each service's memory reclaim must leave alone: `memory.low` on cgroup v2.
//!
//! Source: a service's request, its resident memory, its level. The protection is what it uses of its request, times the level's part; unused requests protect nothing, and use beyond the request is the
//! service's own risk. `memory.low` rather than `memory.min`: a node that cannot free anything else may still take from it, slowly, instead of killing.
//!
//! Fair across siblings: the kernel grants a child its part of what its parent claims (`mem_cgroup_calculate_protection`), so every parent claims the sum of its children, and all of them
//! together at most [`MOST`] of the machine; beyond it everyone's claim shrinks by the same factor. Version 1 has no protection: there victims are squeezed instead (`memory.soft_limit_in_bytes`).

use crate::{qos::Level, units::Bytes};

/// Part of the machine that may be protected in all: a fifth stays for reclaim to choose from.
pub const MOST: f64 = 0.8;
/// Protections move in steps, so that a service that breathes costs no writes.
const STEP: u64 = 4 << 20;

/// One service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// Its level; reclaimed pods are never protected.
    pub level: Level,
    /// What it asked for.
    pub request: Bytes,
    /// What it uses and the kernel cannot drop.
    pub resident: Bytes,
}

/// The part of the used request that is protected.
fn part(level: Level) -> f64 {
    match level {
        Level::Reclaimed => 0.0,
        Level::Shared => 0.8,
        Level::Dedicated | Level::System => 1.0,
    }
}

/// Protection of each, in the order given.
pub fn protections(capacity: Bytes, services: &[Service]) -> Vec<Bytes> {
    let claims: Vec<Bytes> = services
        .iter()
        .map(|service| {
            service
                .request
                .min(service.resident)
                .scale(part(service.level))
        })
        .collect();
    let sum: Bytes = claims.iter().copied().sum();
    let most = capacity.scale(MOST);
    let factor = if sum > most {
        most.get() as f64 / sum.get() as f64
    } else {
        1.0
    };
    claims
        .into_iter()
        .map(|claim| Bytes::new(claim.scale(factor).get() / STEP * STEP))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn service(level: Level, request: u64, resident: u64) -> Service {
        Service {
            level,
            request: Bytes::new(request * MIB),
            resident: Bytes::new(resident * MIB),
        }
    }

    #[test]
    fn by_level_and_use() {
        let services = [
            service(Level::Dedicated, 200, 100),
            service(Level::Shared, 100, 100),
            service(Level::Shared, 100, 500),
            service(Level::Reclaimed, 100, 100),
        ];
        assert_eq!(
            protections(Bytes::new(4096 * MIB), &services),
            [100, 80, 80, 0].map(|mib| Bytes::new(mib * MIB))
        );
    }

    proptest! {
        #[test]
        fn never_more_than_the_part_and_fair(
            capacity in 100..4_000_u64,
            services in prop::collection::vec((0..2_000_u64, 0..2_000_u64), 1..20),
        ) {
            let services: Vec<_> = services.into_iter().map(|(request, resident)| service(Level::Shared, request, resident)).collect();
            let low = protections(Bytes::new(capacity * MIB), &services);
            let sum: Bytes = low.iter().copied().sum();
            prop_assert!(sum <= Bytes::new(capacity * MIB).scale(MOST));
            for ((a, low_a), (b, low_b)) in services.iter().zip(&low).zip(services.iter().zip(&low).skip(1)) {
                if a.request.min(a.resident) >= b.request.min(b.resident) {
                    prop_assert!(low_a >= low_b);
                }
            }
        }
    }
}
