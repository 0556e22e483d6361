//! An offer as the CNR carries it: the amounts, and the numbers behind them.

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use katalyst_core::capacity::{Estimate, Explanation};
use katalyst_core::reclaimed::Reclaimed;

use super::amount::{cpu, memory, reclaimed_list};
use crate::node::{ReclaimExplanation, ReclaimStatus, Resources};

/// The CNR's `status.resources` for an offer on a machine of that capacity. The schema refuses an offer above the
/// capacity, so that is where it ends.
pub fn resources(offer: &Reclaimed, capacity: &Reclaimed) -> Resources {
    let offer = Reclaimed {
        cpu: offer.cpu.min(capacity.cpu),
        memory: offer.memory.min(capacity.memory),
    };
    Resources {
        allocatable: Some(reclaimed_list(&offer)),
        capacity: Some(reclaimed_list(capacity)),
        ..Resources::default()
    }
}

/// The CNR's `status.reclaim` for an estimate made at `now`; `message` is what a person reads.
pub fn reclaim_status(estimate: &Estimate, now: Timestamp, message: String) -> ReclaimStatus {
    ReclaimStatus {
        // The API's times have whole seconds.
        computed_time: Some(Time(now.round(Unit::Second).unwrap_or(now))),
        cpu: Some(explanation(&estimate.cpu, cpu)),
        memory: Some(explanation(&estimate.memory, memory)),
        message: Some(message),
    }
}

fn explanation(numbers: &Explanation, write: fn(u64) -> Quantity) -> ReclaimExplanation {
    ReclaimExplanation {
        capacity: Some(write(numbers.capacity)),
        service_peak: Some(write(numbers.service_peak)),
        margin: Some(write(numbers.margin)),
        reserve: Some(write(numbers.reserve)),
        estimate: Some(write(numbers.estimate)),
        allocated: Some(write(numbers.allocated)),
        offered: Some(write(numbers.offered.min(numbers.capacity))),
        limited_by: Some(numbers.limited_by.as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use katalyst_core::capacity::{Observation, Params, estimate};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_estimate_is_written_with_its_numbers() {
        let observation = Observation {
            capacity: Reclaimed::new(4000, 8 << 30),
            service_peak: Reclaimed::new(1000, 2 << 30),
            allocated: Reclaimed::ZERO,
            age_seconds: 0.0,
        };
        let params = Params {
            margin: 0.5,
            reserve: 0.25,
            ..Params::default()
        };
        let estimate = estimate(&observation, &params, None, 0.0);
        let now = "2026-01-01T00:00:00.4Z".parse().unwrap();
        let status = reclaim_status(&estimate, now, "why".to_owned());
        let status = serde_json::to_value(status).unwrap();
        assert_eq!(status["computedTime"], json!("2026-01-01T00:00:00Z"));
        assert_eq!(status["message"], json!("why"));
        assert_eq!(status["cpu"]["capacity"], json!("4"));
        assert_eq!(status["cpu"]["servicePeak"], json!("1"));
        assert_eq!(status["cpu"]["margin"], json!("500m"));
        assert_eq!(status["cpu"]["reserve"], json!("1"));
        assert_eq!(status["cpu"]["estimate"], json!("1500m"));
        assert_eq!(status["memory"]["estimate"], json!("3Gi"));
        assert!(status["cpu"]["limitedBy"].is_string());
    }

    #[test]
    fn an_offer_ends_at_the_capacity() {
        let resources = resources(&Reclaimed::new(5000, 1), &Reclaimed::new(4000, 10));
        assert_eq!(
            serde_json::to_value(resources).unwrap(),
            json!({
                "allocatable": {
                    "resource.katalyst.kubewharf.io/reclaimed_millicpu": "4000",
                    "resource.katalyst.kubewharf.io/reclaimed_memory": "1",
                },
                "capacity": {
                    "resource.katalyst.kubewharf.io/reclaimed_millicpu": "4000",
                    "resource.katalyst.kubewharf.io/reclaimed_memory": "10",
                },
            })
        );
    }
}
