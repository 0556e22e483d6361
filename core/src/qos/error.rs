//! What is wrong with an annotation, and what it was taken for instead.

use thiserror::Error;

/// Longest part of a value that an error quotes, in characters: an annotation may hold 256 KiB.
const QUOTED: usize = 120;

/// One thing wrong with a pod's quality-of-service annotations.
///
/// `key` is the key within an annotation's JSON map, and `None` where the annotation itself is the value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QosError {
    /// The annotation should hold a JSON map and does not.
    #[error(
        "annotation {annotation}: {value:?} is not a JSON object such as {{\"key\":\"value\"}} ({reason}); none of it is taken"
    )]
    Map {
        /// The annotation.
        annotation: &'static str,
        /// What it holds.
        value: String,
        /// What the JSON reader says.
        reason: String,
    },
    /// A value is not of the expected form.
    #[error("annotation {annotation}{}: {value:?} is not {expected}; taken as {taken}", at(*key))]
    Value {
        /// The annotation.
        annotation: &'static str,
        /// The key within its map.
        key: Option<&'static str>,
        /// What was given.
        value: String,
        /// What would be right.
        expected: String,
        /// The safest meaning, which it was given.
        taken: String,
    },
    /// A number lies outside its range and was moved to the nearest end.
    #[error("annotation {annotation}{}: {value:?} is outside {range}; taken as {taken}", at(*key))]
    Clamped {
        /// The annotation.
        annotation: &'static str,
        /// The key within its map.
        key: Option<&'static str>,
        /// What was given.
        value: String,
        /// The range.
        range: String,
        /// The nearest end of the range.
        taken: String,
    },
    /// The value is right, but cannot apply to this pod.
    #[error("annotation {annotation}{}: {value:?} has no effect: {reason}", at(*key))]
    NoEffect {
        /// The annotation.
        annotation: &'static str,
        /// The key within its map.
        key: Option<&'static str>,
        /// What was given.
        value: String,
        /// Why it cannot apply.
        reason: String,
    },
    /// The map has a key that nobody knows, perhaps misspelt.
    #[error(
        "annotation {annotation}, key {key:?}: there is no such key; its value {value:?} has no effect"
    )]
    UnknownKey {
        /// The annotation.
        annotation: &'static str,
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
}

impl QosError {
    /// The annotation that is wrong.
    pub const fn annotation(&self) -> &'static str {
        match self {
            Self::Map { annotation, .. }
            | Self::Value { annotation, .. }
            | Self::Clamped { annotation, .. }
            | Self::NoEffect { annotation, .. }
            | Self::UnknownKey { annotation, .. } => annotation,
        }
    }

    /// Whether the value itself is wrong, so that admission should refuse the pod. The others are worth a warning:
    /// Katalyst accepts such pods, and so must we.
    pub const fn is_malformed(&self) -> bool {
        matches!(self, Self::Map { .. } | Self::Value { .. })
    }
}

/// As much of a value as an error quotes.
pub(super) fn quote(value: &str) -> String {
    if value.chars().count() <= QUOTED {
        return value.to_owned();
    }
    value.chars().take(QUOTED).chain("...".chars()).collect()
}

fn at(key: Option<&'static str>) -> String {
    key.map_or_else(String::new, |key| format!(", key {key}"))
}
