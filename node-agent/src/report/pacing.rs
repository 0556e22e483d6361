//! When a report is due: at once on a change that matters, but not too often, and never too late.

use std::{sync::Arc, time::Duration};

use katalyst_core::reclaimed::Reclaimed;
use katalyst_crds::node::TopologyZone;

use crate::reflex::Snapshot;

/// A change matters from this part of the machine.
const MATTERS: f64 = 0.05;

/// The two bounds.
#[derive(Debug, Clone, Copy)]
pub struct Pacing {
    /// Not sooner than this after the last report.
    pub min: Duration,
    /// Not later; the caller has spread it already.
    pub max: Duration,
}

/// What the last report said.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    capacity: Reclaimed,
    machine: Reclaimed,
    peak: Reclaimed,
    ceiling: Reclaimed,
    zones: Arc<Vec<TopologyZone>>,
    notices: Vec<String>,
}

impl Reported {
    /// The parts that are compared.
    pub fn of(snapshot: &Snapshot, zones: &Arc<Vec<TopologyZone>>, notices: &[String]) -> Self {
        Self {
            capacity: snapshot.capacity,
            machine: snapshot.machine,
            peak: snapshot.service_peak.usage,
            ceiling: snapshot.ceiling.value,
            zones: zones.clone(),
            notices: notices.to_vec(),
        }
    }

    fn differs(&self, now: &Self) -> bool {
        let far = |a: Reclaimed, b: Reclaimed| {
            a.cpu.abs_diff(b.cpu) >= now.capacity.cpu.scale(MATTERS)
                || a.memory.abs_diff(b.memory) >= now.capacity.memory.scale(MATTERS)
        };
        self.capacity != now.capacity
            || (!Arc::ptr_eq(&self.zones, &now.zones) && self.zones != now.zones)
            || self.notices != now.notices
            || far(self.machine, now.machine)
            || far(self.peak, now.peak)
            || far(self.ceiling, now.ceiling)
    }
}

impl Pacing {
    /// Whether to report now. `since` is the time since the last report that arrived.
    pub fn due(&self, last: Option<(&Reported, Duration)>, now: &Reported) -> bool {
        match last {
            None => true,
            Some((_, since)) if since >= self.max => true,
            Some((reported, since)) => since >= self.min && reported.differs(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACING: Pacing = Pacing {
        min: Duration::from_secs(10),
        max: Duration::from_secs(20),
    };

    fn reported(cpu: u64, notices: &[&str]) -> Reported {
        Reported {
            capacity: Reclaimed::new(10_000, 1 << 30),
            machine: Reclaimed::new(cpu, 0),
            peak: Reclaimed::ZERO,
            ceiling: Reclaimed::ZERO,
            zones: Arc::default(),
            notices: notices.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn changes_are_told_soon_and_sameness_late() {
        let last = reported(1_000, &[]);
        let due =
            |seconds, now: &Reported| PACING.due(Some((&last, Duration::from_secs(seconds))), now);
        assert!(PACING.due(None, &last));
        assert!(!due(9, &reported(5_000, &[])), "too soon");
        assert!(due(10, &reported(5_000, &[])));
        assert!(!due(19, &reported(1_499, &[])), "too small");
        assert!(due(10, &reported(1_000, &["new"])));
        let zones = |name: &str| Reported {
            zones: Arc::new(vec![TopologyZone {
                name: name.to_owned(),
                ..TopologyZone::default()
            }]),
            ..reported(1_000, &[])
        };
        assert!(due(10, &zones("0")), "a zone that was not reported");
        assert!(
            !PACING.due(Some((&zones("0"), Duration::from_secs(10))), &zones("0")),
            "built anew, and the same"
        );
        assert!(due(20, &last));
    }
}
