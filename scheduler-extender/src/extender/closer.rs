//! A closer look at nodes that a question only guessed about, away from the question.
//!
//! After a binding one node has another state, and what it would cost the next pod of that kind is not known; nor is it of the next best of those that
//! a question guessed about. A value takes tens of microseconds, so the nodes wait in line and a thread of its own computes them between
//! questions. Where the line is full the oldest goes: the next question guesses about that node again.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Extender;
use crate::request::PodRequest;
use crate::verbs;

/// Nodes in line; some 100 us each.
const LINE: usize = 256;

/// Nodes in line, each with the pod that it is looked at for.
#[derive(Default)]
pub(super) struct Line {
    waiting: Mutex<VecDeque<(PodRequest, u32)>>,
    some: Notify,
}

impl Line {
    pub(super) fn put(&self, pod: &PodRequest, slots: &[u32]) {
        if slots.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        waiting.extend(slots.iter().map(|slot| (pod.clone(), *slot)));
        let over = waiting.len().saturating_sub(LINE);
        waiting.drain(..over);
        drop(waiting);
        self.some.notify_one();
    }

    fn take(&self) -> Option<(PodRequest, u32)> {
        self.waiting.lock().pop_front()
    }
}

impl Extender {
    /// Waits until a node is in line.
    pub async fn worth_a_closer_look(&self) {
        self.closer.some.notified().await;
    }

    /// Computes what the nodes in line cost, until none is left.
    pub fn look_closer(&self) {
        while let Some((pod, slot)) = self.closer.take() {
            let table = self.ledger.table();
            verbs::look_closer(slot, &pod, &self.judge(&table, self.now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_line_is_bounded_and_the_newest_stay() {
        let pod = PodRequest {
            uid: "u".into(),
            name: "n/p".into(),
            priority: 0,
            wish: Arc::default(),
        };
        let line = Line::default();
        for slot in 0..LINE as u32 + 10 {
            line.put(&pod, &[slot]);
        }
        assert_eq!(line.take().map(|(_, slot)| slot), Some(10));
        assert_eq!(line.waiting.lock().len(), LINE - 1);
    }
}
