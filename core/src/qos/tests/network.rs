//! The keys of `network_enhancement`.

use rstest::rstest;

use super::*;

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
