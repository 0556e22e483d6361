//! Network wishes: the annotation `network_enhancement`.

use std::collections::BTreeMap;

use super::error::QosError;
use super::keys;
use super::reader::{MapReader, Safest};

/// What a pod wishes of its network card.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NetworkWishes {
    /// In which network namespace the card should be.
    pub namespace_type: Option<NamespaceType>,
    /// Only a card in the pod's own NUMA nodes will do.
    pub topology_affinity_restricted: bool,
}

/// In which network namespace a card should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamespaceType {
    /// In the host's.
    Host,
    /// In the host's if there is one.
    HostPreferred,
    /// Not in the host's.
    NotHost,
    /// Not in the host's if there is one.
    NotHostPreferred,
}

pub(super) fn read(
    annotations: &BTreeMap<String, String>,
    errors: &mut Vec<QosError>,
) -> NetworkWishes {
    let mut map = MapReader::open(keys::NETWORK_ENHANCEMENT, annotations, errors);
    let wishes = NetworkWishes {
        namespace_type: map.parse(
            keys::network::NAMESPACE_TYPE,
            "host_ns, host_ns_preferred, anti_host_ns or anti_host_ns_preferred",
            Safest::Absent("any namespace"),
            |text| match text {
                "host_ns" => Some(NamespaceType::Host),
                "host_ns_preferred" => Some(NamespaceType::HostPreferred),
                "anti_host_ns" => Some(NamespaceType::NotHost),
                "anti_host_ns_preferred" => Some(NamespaceType::NotHostPreferred),
                _ => None,
            },
        ),
        topology_affinity_restricted: map.flag(keys::network::TOPOLOGY_AFFINITY_RESTRICTED, false)
            == Some(true),
    };
    map.close();
    wishes
}
