//! What is wrong with a pod's request.

use crate::{qos::QosError, quantity::QuantityError};

/// Longest part of a value that an error quotes, in characters.
const QUOTED: usize = 120;

/// A request that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// An amount that is none.
    #[error("container {container}: resource {resource}: {source}")]
    Quantity {
        /// Container.
        container: String,
        /// Resource.
        resource: String,
        /// What is wrong.
        #[source]
        source: QuantityError,
    },
    /// An amount that cannot be given.
    #[error("container {container}: resource {resource} is {value}, not {expected}")]
    Amount {
        /// Container.
        container: String,
        /// Resource.
        resource: &'static str,
        /// The amount.
        value: u64,
        /// What would be right.
        expected: &'static str,
    },
    /// Two ways to ask for the same thing.
    #[error(
        "container {container}: resources {one} and {other} say the same in different words; use one kind"
    )]
    Mixed {
        /// Container.
        container: String,
        /// One resource.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// An annotation with a value that means nothing.
    #[error("annotation {annotation}{}: {value:?} is not {expected}", at(*key))]
    Annotation {
        /// Annotation.
        annotation: &'static str,
        /// Key in its map.
        key: Option<&'static str>,
        /// The value, or its beginning.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A key of the map that nobody knows.
    #[error("annotation {annotation}: no such key: {key:?}")]
    UnknownKey {
        /// Annotation.
        annotation: &'static str,
        /// The key, or its beginning.
        key: String,
    },
    /// An annotation about quality of service.
    #[error(transparent)]
    Qos(#[from] QosError),
}

impl RequestError {
    pub(super) fn annotation(
        annotation: &'static str,
        key: Option<&'static str>,
        value: &str,
        expected: &'static str,
    ) -> Self {
        Self::Annotation {
            annotation,
            key,
            value: quote(value),
            expected,
        }
    }
}

/// The beginning of a text: an annotation may hold 256 KiB.
pub(super) fn quote(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

fn at(key: Option<&str>) -> String {
    key.map_or_else(String::new, |key| format!(", key {key}"))
}
