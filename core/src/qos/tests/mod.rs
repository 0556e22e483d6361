//! One table for each annotation, and the promises that hold for any input.

mod any;
mod cpu;
mod direct;
mod memory;
mod network;

use std::collections::BTreeMap;

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

#[test]
fn a_huge_value_is_quoted_in_part() {
    let (_, error) = wrong(
        Level::Shared,
        keys::MEMORY_ENHANCEMENT,
        &"é".repeat(100_000),
    );
    assert!(error.to_string().len() < 1000);
}
