//! The keys of `cpu_enhancement`, and the NUMA wishes.

use rstest::rstest;

use super::*;

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
