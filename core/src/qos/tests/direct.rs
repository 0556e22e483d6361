//! Annotations of their own.

use rstest::rstest;

use super::*;

#[rstest]
#[case("0", Some(0))]
#[case("4294967295", Some(u32::MAX))]
#[case("0x100001", Some(0x0010_0001))]
fn net_class_ids(#[case] value: &str, #[case] class: Option<u32>) {
    assert_eq!(
        clean(Level::Shared, keys::NET_CLASS_ID, value)
            .direct
            .net_class_id,
        class
    );
}

#[rstest]
#[case(keys::NET_CLASS_ID, "4294967296")]
#[case(keys::NET_CLASS_ID, "-1")]
#[case(keys::NET_CLASS_ID, "+1")]
#[case(keys::NET_CLASS_ID, "")]
#[case(keys::NET_CLASS_ID, "0x")]
#[case(keys::NUMA_BIND_RESULT, "one")]
#[case(keys::NIC_SELECTION_RESULT, "")]
#[case(keys::GPU_SELECTION_RESULT, "")]
#[case(keys::SRIOV_VF_RESULT, " ")]
#[case(keys::RESOURCE_POOL, "")]
#[case(keys::RESOURCE_PACKAGE, "")]
#[case(keys::POD_SOFT_EVICT_NOTIFY, "yes")]
#[case(keys::POD_EVICT_SCORE, "NaN")]
#[case(keys::CPU_WEIGHT_DEMAND_CORES, "0")]
#[case(keys::CPU_WEIGHT_BURST_RATIO, "-2")]
fn direct_annotations_refused(#[case] key: &str, #[case] value: &str) {
    let (qos, error) = wrong(Level::Shared, key, value);
    assert_eq!(qos, plain(Level::Shared));
    assert!(error.is_malformed());
    assert_eq!(error.annotation(), key);
    assert!(error.to_string().contains(&format!("{value:?}")), "{error}");
}

#[test]
fn direct_annotations() {
    let parsed = PodQos::parse(&annotations(&[
        (keys::NUMA_BIND_RESULT, "0"),
        (keys::NIC_SELECTION_RESULT, "eth0"),
        (keys::GPU_SELECTION_RESULT, "gpu-1"),
        (keys::SRIOV_VF_RESULT, "vf-2"),
        (keys::RESOURCE_POOL, "pool"),
        (keys::RESOURCE_PACKAGE, "x2"),
        (keys::POD_SOFT_EVICT_NOTIFY, "true"),
        (keys::POD_EVICT_SCORE, "-5"),
        (keys::CPU_WEIGHT_DEMAND_CORES, "2.5"),
        (keys::CPU_WEIGHT_BURST_RATIO, "1.5"),
        ("some.other/annotation", "{"),
    ]));
    assert_eq!(parsed.errors, vec![]);
    assert_eq!(
        parsed.qos.direct,
        DirectWishes {
            net_class_id: None,
            numa_bind_result: NumaSet::parse("0"),
            nic_selection_result: Some("eth0".to_owned()),
            gpu_selection_result: Some("gpu-1".to_owned()),
            sriov_vf_result: Some("vf-2".to_owned()),
            resource_pool: Some("pool".to_owned()),
            resource_package: Some("x2".to_owned()),
            soft_evict_notify: true,
            evict_score: Some(-5.0),
            cpu_weight_demand_cores: Some(2.5),
            cpu_weight_burst_ratio: Some(1.5),
        }
    );
}
