//! What is switched off or wrong on this node, said once in the log when it begins and once when it ends, and shown in the report.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// The report carries at most this many; a person reads no more.
const REPORTED: usize = 32;

/// Subject while the API server does not answer; everyone who notices uses it, so that an outage is one message.
const API: &str = "api";

/// The notices in force. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    inner: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Notices {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the notice of a subject. Logs, and returns true, when it is new or its `text` changed.
    pub fn set(&self, subject: &str, text: impl Into<String>) -> bool {
        let text = text.into();
        let mut inner = self.inner.lock();
        let new = inner.get(subject) != Some(&text);
        if new {
            tracing::warn!(subject, "{text}");
            inner.insert(subject.to_owned(), text);
        }
        new
    }

    /// Ends the notice of a subject. Logs when there was one.
    pub fn clear(&self, subject: &str) {
        if self.inner.lock().remove(subject).is_some() {
            tracing::info!(subject, "over");
        }
    }

    /// The API server does not answer.
    pub fn api_unreachable(&self) {
        self.set(
            API,
            "the API server cannot be reached; sampling and holding go on with the pods known last",
        );
    }

    /// The API server answered.
    pub fn api_reached(&self) {
        self.clear(API);
    }

    /// Sets or ends it.
    pub fn put(&self, subject: &str, text: Option<String>) {
        match text {
            Some(text) => {
                self.set(subject, text);
            }
            None => self.clear(subject),
        }
    }

    /// Ends all notices whose subject starts with `prefix` and is not in `keep`.
    pub fn retain(&self, prefix: &str, keep: impl Fn(&str) -> bool) {
        self.inner
            .lock()
            .retain(|subject, _| !subject.starts_with(prefix) || keep(subject));
    }

    /// The texts, in the order of their subjects, bounded.
    pub fn texts(&self) -> Vec<String> {
        let inner = self.inner.lock();
        let mut texts: Vec<String> = inner
            .iter()
            .take(REPORTED)
            .map(|(subject, text)| format!("{subject}: {text}"))
            .collect();
        if let Some(more) = inner.len().checked_sub(REPORTED).filter(|more| *more > 0) {
            texts.push(format!("and {more} more"));
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_come_and_go() {
        let notices = Notices::new();
        notices.set("psi", "no pressure files");
        notices.set("pod a/b", "level \"x\" is unknown");
        assert_eq!(
            notices.texts(),
            ["pod a/b: level \"x\" is unknown", "psi: no pressure files"]
        );
        notices.retain("pod ", |_| false);
        notices.put("psi", None);
        assert!(notices.texts().is_empty());
    }

    #[test]
    fn the_report_is_bounded() {
        let notices = Notices::new();
        for number in 0..100 {
            notices.set(&format!("pod {number}"), "bad");
        }
        let texts = notices.texts();
        assert_eq!(texts.len(), REPORTED + 1);
        assert_eq!(texts.last().map(String::as_str), Some("and 68 more"));
    }
}
