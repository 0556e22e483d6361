//! The machine as a tree of zones.

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::resources::{Attribute, ResourceList, Resources};

/// A part of the machine: a socket, a NUMA node, a card; the kinds are in [`crate::constants::zone`].
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TopologyZone {
    /// Kind of the zone.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = crate::constants::zone::ALL))]
    pub type_: String,
    /// Name of the zone among its kind.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// What the zone offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Facts about the zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attributes: Vec<Attribute>,
    /// What has been given out of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["consumer".into()]))]
    pub allocations: Vec<Allocation>,
    /// Zones within this one. A schema cannot describe itself, so the API server does not
    /// validate below this level.
    #[serde(default, skip_serializing_if = "ZoneChildren::is_empty")]
    #[schemars(schema_with = "unvalidated")]
    pub children: ZoneChildren,
    /// How this zone stands to others beside it, for instance the distance of NUMA nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into(), "name".into()]))]
    pub siblings: Vec<Sibling>,
}

/// The zones within a zone. The API server lets anything pass here, so what is not a list of
/// zones is kept as it is instead of making the whole object unreadable.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
pub enum ZoneChildren {
    /// A list of zones.
    Zones(Vec<TopologyZone>),
    /// Something else.
    Unreadable(serde_json::Value),
}

impl Default for ZoneChildren {
    fn default() -> Self {
        Self::Zones(Vec::new())
    }
}

impl ZoneChildren {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Zones(zones) if zones.is_empty())
    }

    /// The zones; none where the field is not a list of zones.
    pub fn zones(&self) -> &[TopologyZone] {
        match self {
            Self::Zones(zones) => zones,
            Self::Unreadable(_) => &[],
        }
    }
}

/// What one consumer has been given.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// The consumer as `namespace/name/uid`.
    #[schemars(length(min = 1, max = 600))]
    pub consumer: String,
    /// What it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceList>,
}

/// The relation to a zone beside this one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Sibling {
    /// Kind of the other zone.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = crate::constants::zone::ALL))]
    pub type_: String,
    /// Name of the other zone.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Facts about the relation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attributes: Vec<Attribute>,
}

fn unvalidated(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}
