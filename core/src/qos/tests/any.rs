//! Promises that hold for any input.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::annotations;
use crate::qos::*;

const MAPS: [&str; 3] = [
    keys::CPU_ENHANCEMENT,
    keys::MEMORY_ENHANCEMENT,
    keys::NETWORK_ENHANCEMENT,
];

const KEYS: [&str; 17] = [
    keys::cpu::CPUSET_POOL,
    keys::cpu::NUMA_SHARE,
    keys::cpu::SUPPRESSION_TOLERANCE_RATE,
    keys::cpu::BURST_POLICY,
    keys::cpu::BURST_THRESHOLD,
    keys::cpu::BURST_PERCENT,
    keys::cpu::ALIGN_BY_SOCKET,
    keys::cpu::DISTRIBUTE_EVENLY_ACROSS_NUMA,
    keys::cpu::FULL_PCPUS_PAIRING,
    keys::NUMA_NUMBER,
    keys::NUMA_IDS,
    keys::memory::NUMA_BINDING,
    keys::memory::NUMA_EXCLUSIVE,
    keys::memory::RSS_OVERUSE_THRESHOLD,
    keys::memory::OOM_PRIORITY,
    keys::network::NAMESPACE_TYPE,
    keys::network::TOPOLOGY_AFFINITY_RESTRICTED,
];

const DIRECT: [&str; 14] = [
    keys::QOS_LEVEL,
    keys::NUMA_NUMBER,
    keys::NUMA_IDS,
    keys::NET_CLASS_ID,
    keys::NUMA_BIND_RESULT,
    keys::NIC_SELECTION_RESULT,
    keys::GPU_SELECTION_RESULT,
    keys::SRIOV_VF_RESULT,
    keys::RESOURCE_POOL,
    keys::RESOURCE_PACKAGE,
    keys::POD_SOFT_EVICT_NOTIFY,
    keys::POD_EVICT_SCORE,
    keys::CPU_WEIGHT_DEMAND_CORES,
    keys::CPU_WEIGHT_BURST_RATIO,
];

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,20}",
        "-?[0-9]{1,25}",
        "-?[0-9]{1,5}\\.[0-9]{1,5}",
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("reclaimed_cores".to_owned()),
        Just("dedicated_cores".to_owned()),
    ]
}

fn any_annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    let map =
        proptest::collection::btree_map(proptest::sample::select(&KEYS[..]), any_value(), 0..6)
            .prop_map(|map| serde_json::to_string(&map).unwrap());
    let maps = proptest::collection::btree_map(
        proptest::sample::select(&MAPS[..]).prop_map(str::to_owned),
        prop_oneof![3 => map, 1 => any_value()],
        0..4,
    );
    let direct = proptest::collection::btree_map(
        proptest::sample::select(&DIRECT[..]).prop_map(str::to_owned),
        any_value(),
        0..8,
    );
    (maps, direct).prop_map(|(mut maps, direct)| {
        maps.extend(direct);
        maps
    })
}

proptest! {
    #[test]
    fn any_annotations_parse_without_panic_and_keep_the_rules(annotations in any_annotations()) {
        let Parsed { qos, errors } = PodQos::parse(&annotations);
        prop_assert_eq!(PodQos::parse(&annotations), Parsed { qos: qos.clone(), errors: errors.clone() });
        prop_assert!(!qos.memory.numa_exclusive || (qos.level == Level::Dedicated && qos.memory.numa_binding));
        prop_assert!(qos.cpu.burst_percent.is_none_or(|p| p <= 100));
        prop_assert!(qos.cpu.suppression_tolerance_rate.is_none() || qos.level == Level::Reclaimed);
        prop_assert!((-300..=300).contains(&qos.memory.oom_priority.score()));
        for error in errors {
            prop_assert!(annotations.contains_key(error.annotation()));
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_text_in_any_annotation_parses(key in proptest::sample::select(&DIRECT[..]), map in proptest::sample::select(&MAPS[..]), value in "\\PC*") {
        let _ = PodQos::parse(&annotations(&[(key, &value), (map, &value)]));
    }
}
