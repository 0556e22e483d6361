//! One table for each annotation, and the promises that hold for any input.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// Parses a pod of that level with one more annotation.
fn with(level: Level, key: &str, value: &str) -> Parsed {
    PodQos::parse(&annotations(&[
        (keys::QOS_LEVEL, level.as_str()),
        (key, value),
    ]))
}

fn clean(level: Level, key: &str, value: &str) -> PodQos {
    let parsed = with(level, key, value);
    assert_eq!(parsed.errors, vec![], "{key} = {value}");
    parsed.qos
}

/// Parses a pod with one more annotation that has exactly one thing wrong with it.
fn wrong(level: Level, key: &str, value: &str) -> (PodQos, QosError) {
    let mut parsed = with(level, key, value);
    assert_eq!(
        parsed.errors.len(),
        1,
        "{key} = {value}: {:?}",
        parsed.errors
    );
    (parsed.qos, parsed.errors.remove(0))
}

fn plain(level: Level) -> PodQos {
    PodQos::parse(&annotations(&[(keys::QOS_LEVEL, level.as_str())])).qos
}

#[rstest]
#[case(None, Level::Shared)]
#[case(Some("shared_cores"), Level::Shared)]
#[case(Some("dedicated_cores"), Level::Dedicated)]
#[case(Some("reclaimed_cores"), Level::Reclaimed)]
#[case(Some("system_cores"), Level::System)]
fn levels(#[case] value: Option<&str>, #[case] level: Level) {
    let pairs: Vec<_> = value.iter().map(|v| (keys::QOS_LEVEL, *v)).collect();
    let parsed = PodQos::parse(&annotations(&pairs));
    assert_eq!(parsed.qos.level, level);
    assert_eq!(parsed.errors, vec![]);
}

#[rstest]
#[case("")]
#[case("reclaimed")]
#[case("reclaimed_cores ")]
#[case("RECLAIMED_CORES")]
fn a_malformed_level_is_shared_and_said_so(#[case] value: &str) {
    let parsed = PodQos::parse(&annotations(&[(keys::QOS_LEVEL, value)]));
    assert_eq!(parsed.qos, plain(Level::Shared));
    assert_eq!(
        parsed
            .errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        vec![format!(
            "annotation katalyst.kubewharf.io/qos_level: {value:?} is not reclaimed_cores, shared_cores, \
             dedicated_cores or system_cores; taken as shared_cores"
        )]
    );
    assert!(parsed.errors[0].is_malformed());
}

#[rstest]
#[case(keys::CPU_ENHANCEMENT)]
#[case(keys::MEMORY_ENHANCEMENT)]
#[case(keys::NETWORK_ENHANCEMENT)]
fn maps_that_are_no_maps(#[case] key: &str) {
    for value in ["{", "[]", "\"x\"", "numa_binding=true", "null", "{\"a\":"] {
        let (qos, error) = wrong(Level::Dedicated, key, value);
        assert_eq!(qos, plain(Level::Dedicated));
        assert!(matches!(error, QosError::Map { .. }), "{error}");
        assert_eq!(error.annotation(), key);
        assert!(error.to_string().contains(&format!("{value:?}")), "{error}");
    }
    for value in ["", "{}", " { } "] {
        assert_eq!(clean(Level::Dedicated, key, value), plain(Level::Dedicated));
    }
    let (_, error) = wrong(Level::Dedicated, key, r#"{"no_such":"x"}"#);
    assert!(matches!(&error, QosError::UnknownKey { key, .. } if key == "no_such"));
    assert!(!error.is_malformed());
}

#[rstest]
#[case(Level::Shared, "web-1", Some("web-1"))]
#[case(Level::System, "reserve", Some("reserve"))]
fn pools(#[case] level: Level, #[case] value: &str, #[case] pool: Option<&str>) {
    let qos = clean(
        level,
        keys::CPU_ENHANCEMENT,
        &format!(r#"{{"cpuset_pool":"{value}"}}"#),
    );
    assert_eq!(qos.cpu.cpuset_pool.as_deref(), pool);
}

#[rstest]
#[case(Level::Shared, "", true)]
#[case(Level::Shared, "a/b", true)]
#[case(Level::Shared, "..", true)]
#[case(Level::Shared, "reclaim", false)]
#[case(Level::Shared, "isolation-1", false)]
#[case(Level::Reclaimed, "web", false)]
#[case(Level::Dedicated, "web", false)]
fn pools_refused(#[case] level: Level, #[case] value: &str, #[case] malformed: bool) {
    let map = format!(r#"{{"cpuset_pool":"{value}"}}"#);
    let (qos, error) = wrong(level, keys::CPU_ENHANCEMENT, &map);
    assert_eq!(qos, plain(level));
    assert_eq!(error.is_malformed(), malformed, "{error}");
}

#[rstest]
#[case(r#"{"numa_share":"false"}"#, true)]
#[case(r#"{"numa_share":"true"}"#, false)]
#[case(r#"{"numa_share":false}"#, true)]
fn numa_share(#[case] map: &str, #[case] private: bool) {
    assert_eq!(
        clean(Level::Shared, keys::CPU_ENHANCEMENT, map)
            .cpu
            .numa_private,
        private
    );
}

#[rstest]
#[case("align_by_socket", |cpu: &CpuWishes| cpu.align_by_socket)]
#[case("distribute_evenly_across_numa", |cpu: &CpuWishes| cpu.distribute_evenly_across_numa)]
#[case("full_pcpus_pairing", |cpu: &CpuWishes| cpu.full_pcpus_pairing)]
fn cpu_flags(#[case] key: &str, #[case] read: fn(&CpuWishes) -> bool) {
    let map = |value: &str| format!(r#"{{"{key}":"{value}"}}"#);
    assert!(read(
        &clean(Level::Dedicated, keys::CPU_ENHANCEMENT, &map("true")).cpu
    ));
    assert!(!read(
        &clean(Level::Dedicated, keys::CPU_ENHANCEMENT, &map("false")).cpu
    ));
    let (qos, error) = wrong(Level::Dedicated, keys::CPU_ENHANCEMENT, &map("yes"));
    assert!(!read(&qos.cpu));
    assert_eq!(
        error.to_string(),
        format!(
            "annotation katalyst.kubewharf.io/cpu_enhancement, key {key}: \"yes\" is not \"true\" or \"false\"; taken as false"
        )
    );
}

#[test]
fn suppression_tolerance() {
    let map = r#"{"suppression_tolerance_rate":"1.2"}"#;
    let qos = clean(Level::Reclaimed, keys::CPU_ENHANCEMENT, map);
    assert_eq!(qos.cpu.suppression_tolerance_rate, Some(1.2));
    let (qos, error) = wrong(Level::Shared, keys::CPU_ENHANCEMENT, map);
    assert_eq!(qos.cpu.suppression_tolerance_rate, None);
    assert!(!error.is_malformed());
    for value in ["-1", "NaN", "inf", "x", ""] {
        let map = format!(r#"{{"suppression_tolerance_rate":"{value}"}}"#);
        let (qos, error) = wrong(Level::Reclaimed, keys::CPU_ENHANCEMENT, &map);
        assert_eq!(qos.cpu.suppression_tolerance_rate, None);
        assert!(error.is_malformed());
    }
}

#[rstest]
#[case(Level::Shared, "default", BurstPolicy::Default)]
#[case(Level::Shared, "closed", BurstPolicy::Closed)]
#[case(Level::Shared, "static", BurstPolicy::Static)]
#[case(Level::Dedicated, "dynamic", BurstPolicy::Dynamic)]
#[case(Level::Reclaimed, "closed", BurstPolicy::Closed)]
fn burst_policies(#[case] level: Level, #[case] value: &str, #[case] policy: BurstPolicy) {
    let map = format!(r#"{{"cpu_burst_policy":"{value}"}}"#);
    assert_eq!(clean(level, keys::CPU_ENHANCEMENT, &map).cpu.burst, policy);
}

#[rstest]
#[case(Level::Reclaimed, "static", BurstPolicy::Closed, false)]
#[case(Level::Reclaimed, "dynamic", BurstPolicy::Closed, false)]
#[case(Level::Shared, "Static", BurstPolicy::Default, true)]
fn burst_policies_refused(
    #[case] level: Level,
    #[case] value: &str,
    #[case] policy: BurstPolicy,
    #[case] malformed: bool,
) {
    let map = format!(r#"{{"cpu_burst_policy":"{value}"}}"#);
    let (qos, error) = wrong(level, keys::CPU_ENHANCEMENT, &map);
    assert_eq!(qos.cpu.burst, policy);
    assert_eq!(error.is_malformed(), malformed);
    assert!(error.to_string().contains(value), "{error}");
}

#[rstest]
#[case("0", Some(0))]
#[case("50", Some(50))]
#[case("50.9", Some(50))]
#[case("100", Some(100))]
fn burst_percents(#[case] value: &str, #[case] percent: Option<u8>) {
    let map = format!(r#"{{"cpu_burst_percent":"{value}"}}"#);
    assert_eq!(
        clean(Level::Shared, keys::CPU_ENHANCEMENT, &map)
            .cpu
            .burst_percent,
        percent
    );
}

#[rstest]
#[case("101", Some(100), false)]
#[case("-1", Some(0), false)]
#[case("1e300", Some(100), false)]
#[case("half", None, true)]
#[case("NaN", None, true)]
fn burst_percents_refused(
    #[case] value: &str,
    #[case] percent: Option<u8>,
    #[case] malformed: bool,
) {
    let map = format!(r#"{{"cpu_burst_percent":"{value}"}}"#);
    let (qos, error) = wrong(Level::Shared, keys::CPU_ENHANCEMENT, &map);
    assert_eq!(qos.cpu.burst_percent, percent);
    assert_eq!(error.is_malformed(), malformed, "{error}");
}

#[test]
fn burst_threshold() {
    let map = r#"{"cpu_burst_threshold":"0.5"}"#;
    assert_eq!(
        clean(Level::Shared, keys::CPU_ENHANCEMENT, map)
            .cpu
            .burst_threshold,
        Some(0.5)
    );
    let (qos, error) = wrong(
        Level::Shared,
        keys::CPU_ENHANCEMENT,
        r#"{"cpu_burst_threshold":"-0.5"}"#,
    );
    assert_eq!(qos.cpu.burst_threshold, None);
    assert!(error.is_malformed());
}

fn ids(text: &str) -> NumaWish {
    NumaWish::Ids(NumaSet::parse(text).unwrap())
}

#[rstest]
#[case(&[(keys::NUMA_NUMBER, "2")], NumaWish::Number(2))]
#[case(&[(keys::NUMA_NUMBER, "0")], NumaWish::Any)]
#[case(&[(keys::NUMA_IDS, "0-1,3")], ids("0,1,3"))]
#[case(&[(keys::NUMA_IDS, "")], NumaWish::Any)]
#[case(&[(keys::NUMA_IDS, "0-1"), (keys::NUMA_NUMBER, "2")], ids("0-1"))]
#[case(&[(keys::CPU_ENHANCEMENT, r#"{"katalyst.kubewharf.io/numa_number":"2"}"#)], NumaWish::Number(2))]
#[case(&[(keys::CPU_ENHANCEMENT, r#"{"katalyst.kubewharf.io/numa_ids":"1"}"#)], ids("1"))]
#[case(&[(keys::CPU_ENHANCEMENT, r#"{"katalyst.kubewharf.io/numa_ids":"1"}"#), (keys::NUMA_IDS, "1")], ids("1"))]
fn numa_wishes(#[case] pairs: &[(&str, &str)], #[case] wish: NumaWish) {
    let parsed = PodQos::parse(&annotations(pairs));
    assert_eq!(parsed.qos.cpu.numa, wish);
    assert_eq!(parsed.errors, vec![]);
}

#[rstest]
#[case(&[(keys::NUMA_NUMBER, "-1")], NumaWish::Any, true)]
#[case(&[(keys::NUMA_NUMBER, "5000000000")], NumaWish::Any, true)]
#[case(&[(keys::NUMA_IDS, "3-1")], NumaWish::Any, true)]
#[case(&[(keys::NUMA_IDS, "0"), (keys::NUMA_NUMBER, "2")], ids("0"), false)]
#[case(&[(keys::NUMA_IDS, "x"), (keys::NUMA_NUMBER, "2")], NumaWish::Number(2), true)]
#[case(&[(keys::CPU_ENHANCEMENT, r#"{"katalyst.kubewharf.io/numa_ids":"1"}"#), (keys::NUMA_IDS, "2")], ids("2"), false)]
fn numa_wishes_refused(
    #[case] pairs: &[(&str, &str)],
    #[case] wish: NumaWish,
    #[case] malformed: bool,
) {
    let parsed = PodQos::parse(&annotations(pairs));
    assert_eq!(parsed.qos.cpu.numa, wish);
    assert_eq!(parsed.errors.len(), 1, "{:?}", parsed.errors);
    assert_eq!(parsed.errors[0].is_malformed(), malformed);
}

#[rstest]
#[case(Level::Shared, r#"{"numa_binding":"true"}"#, true, false)]
#[case(Level::Shared, r#"{"numa_binding":"false"}"#, false, false)]
#[case(
    Level::Dedicated,
    r#"{"numa_binding":"true","numa_exclusive":"true"}"#,
    true,
    true
)]
#[case(
    Level::Dedicated,
    r#"{"numa_binding":true,"numa_exclusive":true}"#,
    true,
    true
)]
#[case(
    Level::Shared,
    r#"{"numa_binding":"true","numa_exclusive":"false"}"#,
    true,
    false
)]
fn numa_binding(
    #[case] level: Level,
    #[case] map: &str,
    #[case] binding: bool,
    #[case] exclusive: bool,
) {
    let memory = clean(level, keys::MEMORY_ENHANCEMENT, map).memory;
    assert_eq!(
        (memory.numa_binding, memory.numa_exclusive),
        (binding, exclusive)
    );
}

#[rstest]
#[case(Level::Dedicated, r#"{"numa_exclusive":"true"}"#, false)]
#[case(
    Level::Shared,
    r#"{"numa_binding":"true","numa_exclusive":"true"}"#,
    true
)]
#[case(
    Level::Reclaimed,
    r#"{"numa_binding":"true","numa_exclusive":"true"}"#,
    true
)]
#[case(
    Level::System,
    r#"{"numa_binding":"true","numa_exclusive":"true"}"#,
    true
)]
fn numa_exclusive_needs_dedicated_and_binding(
    #[case] level: Level,
    #[case] map: &str,
    #[case] binding: bool,
) {
    let (qos, error) = wrong(level, keys::MEMORY_ENHANCEMENT, map);
    assert_eq!(
        (qos.memory.numa_binding, qos.memory.numa_exclusive),
        (binding, false)
    );
    assert!(
        matches!(
            error,
            QosError::NoEffect {
                key: Some("numa_exclusive"),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn rss_overuse() {
    let map = r#"{"rss_overuse_threshold":"1.05"}"#;
    let qos = clean(Level::Shared, keys::MEMORY_ENHANCEMENT, map);
    assert_eq!(qos.memory.rss_overuse_threshold, Some(1.05));
    for value in ["0", "-1", "inf", "5%"] {
        let map = format!(r#"{{"rss_overuse_threshold":"{value}"}}"#);
        let (qos, error) = wrong(Level::Shared, keys::MEMORY_ENHANCEMENT, &map);
        assert_eq!(qos.memory.rss_overuse_threshold, None);
        assert!(error.is_malformed());
    }
}

#[rstest]
#[case(Level::Reclaimed, "-100", OomPriority::Score(-100))]
#[case(Level::Reclaimed, "-1", OomPriority::Score(-1))]
#[case(Level::Shared, "99", OomPriority::Score(99))]
#[case(Level::Dedicated, "150", OomPriority::Score(150))]
#[case(Level::System, "299", OomPriority::Score(299))]
#[case(Level::Reclaimed, "300", OomPriority::Highest)]
#[case(Level::System, "-300", OomPriority::Ignored)]
fn oom_priorities(#[case] level: Level, #[case] value: &str, #[case] priority: OomPriority) {
    let map = format!(r#"{{"oom_priority":"{value}"}}"#);
    assert_eq!(
        clean(level, keys::MEMORY_ENHANCEMENT, &map)
            .memory
            .oom_priority,
        priority
    );
    assert_eq!(priority.score().to_string(), value);
}

#[rstest]
#[case(Level::Reclaimed, "0", -1, false)]
#[case(Level::Reclaimed, "-101", -100, false)]
#[case(Level::Shared, "100", 99, false)]
#[case(Level::Shared, "-1", 0, false)]
#[case(Level::System, "301", 299, false)]
#[case(Level::Dedicated, "9000000000", 199, false)]
#[case(Level::Dedicated, "high", 100, true)]
#[case(Level::Dedicated, "99999999999999999999", 100, true)]
fn oom_priorities_refused(
    #[case] level: Level,
    #[case] value: &str,
    #[case] score: i32,
    #[case] malformed: bool,
) {
    let map = format!(r#"{{"oom_priority":"{value}"}}"#);
    let (qos, error) = wrong(level, keys::MEMORY_ENHANCEMENT, &map);
    assert_eq!(qos.memory.oom_priority, OomPriority::Score(score));
    assert_eq!(error.is_malformed(), malformed, "{error}");
}

#[rstest]
#[case(Level::Reclaimed, -100)]
#[case(Level::Shared, 0)]
#[case(Level::Dedicated, 100)]
#[case(Level::System, 200)]
fn oom_priority_without_a_wish(#[case] level: Level, #[case] score: i32) {
    assert_eq!(plain(level).memory.oom_priority.score(), score);
}

#[rstest]
#[case("host_ns", NamespaceType::Host)]
#[case("host_ns_preferred", NamespaceType::HostPreferred)]
#[case("anti_host_ns", NamespaceType::NotHost)]
#[case("anti_host_ns_preferred", NamespaceType::NotHostPreferred)]
fn namespace_types(#[case] value: &str, #[case] expected: NamespaceType) {
    let map = format!(r#"{{"namespace_type":"{value}"}}"#);
    let qos = clean(Level::Shared, keys::NETWORK_ENHANCEMENT, &map);
    assert_eq!(qos.network.namespace_type, Some(expected));
}

#[test]
fn network_values_refused() {
    let (qos, error) = wrong(
        Level::Shared,
        keys::NETWORK_ENHANCEMENT,
        r#"{"namespace_type":"host"}"#,
    );
    assert_eq!(qos.network.namespace_type, None);
    assert!(error.is_malformed());
    let map = r#"{"topology_affinity_restricted":"true"}"#;
    assert!(
        clean(Level::Shared, keys::NETWORK_ENHANCEMENT, map)
            .network
            .topology_affinity_restricted
    );
    let map = r#"{"topology_affinity_restricted":"1"}"#;
    assert!(
        !wrong(Level::Shared, keys::NETWORK_ENHANCEMENT, map)
            .0
            .network
            .topology_affinity_restricted
    );
}

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

#[test]
fn a_huge_value_is_quoted_in_part() {
    let (_, error) = wrong(
        Level::Shared,
        keys::MEMORY_ENHANCEMENT,
        &"é".repeat(100_000),
    );
    assert!(error.to_string().len() < 1000);
}

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
