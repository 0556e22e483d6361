//! Free pages against the kernel's watermarks, of each zone of a NUMA node.
//!
//! Source: `/proc/zoneinfo`, bytes. Value: where the node's best zone stands between its `min` (0) and its `low` watermark (1), less what the zone keeps
//! back from allocations that would rather come from a higher zone (`protection`, `lowmem_reserve_ratio`). That is the question `__zone_watermark_ok` of `mm/page_alloc.c` asks: an
//! allocation falls through the zones of its node, and wakes kswapd when none of them is above `low`; below `min` tasks reclaim themselves.
//!
//! Below 1 in two readings means that kswapd does not keep up, not that it works: it is woken at `low` and sleeps at `high`, so a machine full of page cache swings between
//! 1 and 2 all the time. Misleads alone: a burst of reads of new files stays below `low` for some seconds and takes nothing from anybody, which is why the
//! board wants a second witness.

use super::{Detector, GateParams, Limits};
use crate::units::Bytes;

/// Watermark detectors: Warning below `low`, Critical in the last quarter above `min`, over a quarter above `low`.
pub fn detector() -> Detector {
    let limits = Limits::Below {
        warning: 1.0,
        critical: 0.25,
        clear: 1.25,
    };
    Detector::new(limits, GateParams::SECOND)
}

/// One zone of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ZoneFree {
    /// Free.
    pub free: Bytes,
    /// Watermark below which tasks reclaim.
    pub min: Bytes,
    /// Watermark that wakes kswapd.
    pub low: Bytes,
    /// Kept back from allocations that may use a higher zone.
    pub reserved: Bytes,
    /// What the allocator has; zones without are left out.
    pub managed: Bytes,
}

/// Where the best zone stands: 1 at `low`, 0 at `min`, negative below. `None` without zones.
pub fn position<'a>(zones: impl IntoIterator<Item = &'a ZoneFree>) -> Option<f64> {
    zones
        .into_iter()
        .filter(|zone| zone.managed > Bytes::ZERO && zone.low > zone.min)
        .map(|zone| {
            let usable = zone.free.get() as f64 - zone.reserved.get() as f64;
            let min = zone.min.get() as f64;
            (usable - min) / (zone.low.get() as f64 - min)
        })
        .reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(free: u64, min: u64, low: u64, reserved: u64) -> ZoneFree {
        ZoneFree {
            free: Bytes::new(free),
            min: Bytes::new(min),
            low: Bytes::new(low),
            reserved: Bytes::new(reserved),
            managed: Bytes::new(1 << 30),
        }
    }

    #[test]
    fn the_best_zone_counts() {
        assert_eq!(position(&[zone(100, 80, 100, 0)]), Some(1.0));
        assert_eq!(
            position(&[zone(60, 80, 100, 0), zone(120, 80, 100, 0)]),
            Some(2.0)
        );
        assert_eq!(position(&[]), None);
    }

    /// The 16 MiB of zone DMA are always free, and nobody may have them.
    #[test]
    fn a_zone_that_is_kept_back_saves_nobody() {
        let dma = zone(3_840, 10, 13, 3_900);
        let normal = zone(80, 80, 100, 0);
        assert_eq!(position(&[dma, normal]), Some(0.0));
    }

    #[test]
    fn zones_without_memory_are_left_out() {
        let empty = ZoneFree {
            managed: Bytes::ZERO,
            ..zone(900, 1, 2, 0)
        };
        assert_eq!(position(&[empty]), None);
    }
}
