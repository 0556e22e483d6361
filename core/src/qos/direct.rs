//! Wishes and results that are annotations of their own, outside the three JSON maps.

use std::collections::BTreeMap;

use super::error::QosError;
use super::keys;
use super::numa_set::NumaSet;
use super::reader::{Place, Safest, flag, number_from, parsed, positive};

/// Wishes and results that are annotations of their own.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct DirectWishes {
    /// Network class of the pod's packets.
    pub net_class_id: Option<u32>,
    /// NUMA nodes chosen for the pod.
    pub numa_bind_result: Option<NumaSet>,
    /// Network card chosen for the pod.
    pub nic_selection_result: Option<String>,
    /// GPU chosen for the pod.
    pub gpu_selection_result: Option<String>,
    /// SR-IOV function chosen for the pod.
    pub sriov_vf_result: Option<String>,
    /// Pool of resources the pod belongs to.
    pub resource_pool: Option<String>,
    /// Package of resources the pod belongs to.
    pub resource_package: Option<String>,
    /// The owner wants to be told before the pod is evicted.
    pub soft_evict_notify: bool,
    /// Wish about the order of eviction.
    pub evict_score: Option<f64>,
    /// CPU weight the pod wants, in cores.
    pub cpu_weight_demand_cores: Option<f64>,
    /// Ratio of the pod's CPU weight in a burst.
    pub cpu_weight_burst_ratio: Option<f64>,
}

pub(super) fn read(
    annotations: &BTreeMap<String, String>,
    errors: &mut Vec<QosError>,
) -> DirectWishes {
    let mut direct = Direct {
        annotations,
        errors,
    };
    DirectWishes {
        net_class_id: direct.parse(
            keys::NET_CLASS_ID,
            "a whole number of 32 bits",
            "no class",
            class_id,
        ),
        numa_bind_result: direct.parse(
            keys::NUMA_BIND_RESULT,
            "a list of NUMA nodes such as 0-1,3",
            "no result",
            NumaSet::parse,
        ),
        nic_selection_result: direct.text(keys::NIC_SELECTION_RESULT),
        gpu_selection_result: direct.text(keys::GPU_SELECTION_RESULT),
        sriov_vf_result: direct.text(keys::SRIOV_VF_RESULT),
        resource_pool: direct.text(keys::RESOURCE_POOL),
        resource_package: direct.text(keys::RESOURCE_PACKAGE),
        soft_evict_notify: direct.parse(
            keys::POD_SOFT_EVICT_NOTIFY,
            "\"true\" or \"false\"",
            "false",
            flag,
        ) == Some(true),
        evict_score: direct.parse(
            keys::POD_EVICT_SCORE,
            "a number",
            "no score",
            number_from(f64::MIN),
        ),
        cpu_weight_demand_cores: direct.parse(
            keys::CPU_WEIGHT_DEMAND_CORES,
            "a number of cores above 0",
            "the pod's own request",
            positive,
        ),
        cpu_weight_burst_ratio: direct.parse(
            keys::CPU_WEIGHT_BURST_RATIO,
            "a number above 0",
            "no ratio",
            positive,
        ),
    }
}

struct Direct<'a> {
    annotations: &'a BTreeMap<String, String>,
    errors: &'a mut Vec<QosError>,
}

impl Direct<'_> {
    fn parse<T>(
        &mut self,
        annotation: &'static str,
        expected: &str,
        absent: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.annotations.get(annotation)?;
        let place = Place {
            annotation,
            key: None,
        };
        parsed(
            place,
            value,
            expected,
            Safest::Absent(absent),
            parse,
            self.errors,
        )
    }

    fn text(&mut self, annotation: &'static str) -> Option<String> {
        self.parse(annotation, "a name", "absent", |text| {
            (!text.trim().is_empty()).then(|| text.to_owned())
        })
    }
}

// The class's own tools write it in hexadecimal (`0x100001`), Katalyst in decimal.
fn class_id(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}
