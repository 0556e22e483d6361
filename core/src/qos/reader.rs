//! Reading typed values out of annotations, collecting what is wrong on the way.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::{QosError, quote};

/// The entries of one annotation's JSON map. Entries are taken out as they are read; what is left at the end is unknown.
pub(super) struct MapReader<'a> {
    annotation: &'static str,
    entries: BTreeMap<String, String>,
    errors: &'a mut Vec<QosError>,
}

impl<'a> MapReader<'a> {
    /// Opens the annotation's map; empty where the annotation is absent, and where it is not a map after saying so.
    pub(super) fn open(
        annotation: &'static str,
        annotations: &BTreeMap<String, String>,
        errors: &'a mut Vec<QosError>,
    ) -> Self {
        let mut entries = BTreeMap::new();
        // Go's tools leave an empty value where there is no wish.
        if let Some(text) = annotations.get(annotation).filter(|text| !text.is_empty()) {
            match serde_json::from_str::<BTreeMap<String, Value>>(text) {
                Ok(map) => entries.extend(map.into_iter().map(|(key, value)| (key, plain(value)))),
                Err(error) => errors.push(QosError::Map {
                    annotation,
                    value: quote(text),
                    reason: error.to_string(),
                }),
            }
        }
        Self {
            annotation,
            entries,
            errors,
        }
    }

    /// Takes the value of a key as it stands.
    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        self.entries.remove(key)
    }

    /// Takes and parses the value of a key; a malformed one is reported and taken as `safest`.
    pub(super) fn parse<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        safest: Safest<T>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        parsed(
            Place {
                annotation: self.annotation,
                key: Some(key),
            },
            &value,
            expected,
            safest,
            parse,
            self.errors,
        )
    }

    /// Takes a key that may be `"true"` or `"false"`; anything else is reported and taken as `safest`.
    pub(super) fn flag(&mut self, key: &'static str, safest: bool) -> Option<bool> {
        self.parse(
            key,
            "\"true\" or \"false\"",
            Safest::Is(safest, if safest { "true" } else { "false" }),
            flag,
        )
    }

    /// Reports a value that cannot apply to this pod.
    pub(super) fn no_effect(&mut self, key: &'static str, value: &str, reason: &str) {
        self.errors.push(QosError::NoEffect {
            annotation: self.annotation,
            key: Some(key),
            value: quote(value),
            reason: reason.to_owned(),
        });
    }

    /// Reports a number that was moved into its range.
    pub(super) fn clamped(&mut self, key: &'static str, value: &str, range: String, taken: String) {
        self.errors.push(QosError::Clamped {
            annotation: self.annotation,
            key: Some(key),
            value: quote(value),
            range,
            taken,
        });
    }

    /// Reports the keys nobody asked for.
    pub(super) fn close(self) {
        for (key, value) in self.entries {
            self.errors.push(QosError::UnknownKey {
                annotation: self.annotation,
                key: quote(&key),
                value: quote(&value),
            });
        }
    }
}

/// Where a value stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) annotation: &'static str,
    pub(super) key: Option<&'static str>,
}

/// What a malformed value is taken as.
pub(super) enum Safest<T> {
    /// As if it were absent; the text says what that means.
    Absent(&'static str),
    /// This value, in words.
    Is(T, &'static str),
}

/// Parses one value; a malformed one is reported and taken as `safest`.
pub(super) fn parsed<T>(
    place: Place,
    value: &str,
    expected: &str,
    safest: Safest<T>,
    parse: impl FnOnce(&str) -> Option<T>,
    errors: &mut Vec<QosError>,
) -> Option<T> {
    if let Some(parsed) = parse(value) {
        return Some(parsed);
    }
    let (taken, words) = match safest {
        Safest::Absent(words) => (None, words),
        Safest::Is(taken, words) => (Some(taken), words),
    };
    errors.push(QosError::Value {
        annotation: place.annotation,
        key: place.key,
        value: quote(value),
        expected: expected.to_owned(),
        taken: words.to_owned(),
    });
    taken
}

/// `"true"` or `"false"`.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A finite number of at least `least`.
pub(super) fn number_from(least: f64) -> impl Fn(&str) -> Option<f64> {
    move |text| {
        text.parse()
            .ok()
            .filter(|n: &f64| n.is_finite() && *n >= least)
    }
}

/// A finite number above zero.
pub(super) fn positive(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && *n > 0.0)
}

// The API wants strings; `true` and `1.5` without quotes are a slip that has one meaning only.
fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
