//! The part of a pod that placement reads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::quantity::QuantityText;
use super::{Name, null_as_empty};

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
    /// Taints it tolerates.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub tolerations: Vec<WireToleration<'a>>,
    /// What it requests as a whole.
    #[serde(borrow, default)]
    pub resources: Option<WireResources<'a>>,
    /// What its runtime takes besides.
    #[serde(borrow, default)]
    pub overhead: Option<Amounts<'a>>,
}

/// A container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireContainer<'a> {
    /// Its name.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// What it requests.
    #[serde(borrow, default)]
    pub resources: WireResources<'a>,
    /// `Always` makes an init container a sidecar.
    #[serde(borrow, default)]
    pub restart_policy: Option<Cow<'a, str>>,
}

/// What is requested and may be used at most.
#[derive(Debug, Default, Deserialize)]
pub struct WireResources<'a> {
    /// Requests.
    #[serde(borrow, default)]
    pub requests: Option<Amounts<'a>>,
    /// Limits.
    #[serde(borrow, default)]
    pub limits: Option<Amounts<'a>>,
}

/// A toleration of taints.
#[derive(Debug, Default, Deserialize)]
pub struct WireToleration<'a> {
    /// Key.
    #[serde(borrow, default)]
    pub key: Option<Cow<'a, str>>,
    /// `Equal` or `Exists`.
    #[serde(borrow, default)]
    pub operator: Option<Cow<'a, str>>,
    /// Value.
    #[serde(borrow, default)]
    pub value: Option<Cow<'a, str>>,
    /// Effect.
    #[serde(borrow, default)]
    pub effect: Option<Cow<'a, str>>,
}

/// Amounts by resource, as written and in that order.
#[derive(Debug, Default)]
pub struct Amounts<'a>(pub Vec<(Cow<'a, str>, QuantityText)>);

impl<'de: 'a, 'a> Deserialize<'de> for Amounts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Amounts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("amounts by resource")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Name(name), text)) = map.next_entry()? {
                    pairs.push((name, text));
                }
                Ok(Amounts(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_texts_or_numbers() {
        let Amounts(pairs) = serde_json::from_str(r#"{"cpu":"4","memory":1024}"#).unwrap();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, text)| (name.as_ref(), text.0.as_str()))
            .collect();
        assert_eq!(pairs, [("cpu", "4"), ("memory", "1024")]);
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
