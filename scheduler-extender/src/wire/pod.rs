//! The part of a pod that placement reads.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::null_as_empty;
use super::quantity::QuantityText;

/// A pod.
#[derive(Debug, Default, Deserialize)]
pub struct WirePod<'a> {
    /// Who it is.
    #[serde(borrow, default)]
    pub metadata: WireMetadata<'a>,
    /// What it wants.
    #[serde(borrow, default)]
    pub spec: WireSpec<'a>,
}

/// Who a pod is.
#[derive(Debug, Default, Deserialize)]
pub struct WireMetadata<'a> {
    /// Its name.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// Its namespace.
    #[serde(borrow, default)]
    pub namespace: Cow<'a, str>,
    /// Its identity, which no other pod ever has.
    #[serde(borrow, default)]
    pub uid: Cow<'a, str>,
    /// Its annotations.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What a pod wants.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireSpec<'a> {
    /// Its containers.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub containers: Vec<WireContainer<'a>>,
    /// Containers that run before them, or beside them with restart policy `Always`.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub init_containers: Vec<WireContainer<'a>>,
    /// Higher may preempt lower; absent is zero.
    #[serde(default)]
    pub priority: Option<i32>,
}

/// A container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireContainer<'a> {
    /// Its name.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// What it requests.
    #[serde(default)]
    pub resources: WireResources,
    /// `Always` makes an init container a sidecar.
    #[serde(borrow, default)]
    pub restart_policy: Option<Cow<'a, str>>,
}

/// What a container requests and may use at most; the two are equal for extended resources.
#[derive(Debug, Default, Deserialize)]
pub struct WireResources {
    /// Requests.
    #[serde(default)]
    pub requests: Option<ReclaimedTexts>,
    /// Limits.
    #[serde(default)]
    pub limits: Option<ReclaimedTexts>,
}

/// The two reclaimed resources as written.
#[derive(Debug, Default, Deserialize)]
pub struct ReclaimedTexts {
    /// Thousandths of a CPU, a count.
    #[serde(default, rename = "resource.katalyst.kubewharf.io/reclaimed_millicpu")]
    pub millicpu: Option<QuantityText>,
    /// Bytes.
    #[serde(default, rename = "resource.katalyst.kubewharf.io/reclaimed_memory")]
    pub memory: Option<QuantityText>,
}

#[cfg(test)]
mod tests {
    use katalyst_crds::constants::resource::{RECLAIMED_MEMORY, RECLAIMED_MILLICPU};

    use super::*;

    #[test]
    fn the_keys_are_those_of_the_public_api() {
        let text = format!(r#"{{"{RECLAIMED_MILLICPU}":"4k","{RECLAIMED_MEMORY}":1024}}"#);
        let texts: ReclaimedTexts = serde_json::from_str(&text).unwrap();
        assert_eq!(texts.millicpu.unwrap().0, "4k");
        assert_eq!(texts.memory.unwrap().0, "1024");
    }

    #[test]
    fn go_nulls_are_empty() {
        let pod: WirePod<'_> = serde_json::from_str(
            r#"{"metadata":{"name":"a","creationTimestamp":null},"spec":{"containers":null}}"#,
        )
        .unwrap();
        assert!(pod.spec.containers.is_empty());
        assert_eq!(pod.metadata.uid, "");
    }
}
