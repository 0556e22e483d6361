//! A placer for tests: remembers what it is asked, answers with one set of CPUs, and stands still while its gate is closed.

use std::sync::mpsc::{Receiver, Sender, channel};

use katalyst_core::cpu_set::CpuSet;
use parking_lot::Mutex;

use super::placer::{Adjustment, NewContainer, Placer, Refused, RunningContainer, Sandbox};

#[derive(Default)]
pub(super) struct Double {
    seen: Mutex<Vec<String>>,
    answer: Mutex<Adjustment>,
    refusal: Mutex<Option<String>>,
    gate: Mutex<Option<Receiver<()>>>,
}

impl Double {
    /// Closed until the sender is dropped.
    pub(super) fn close(&self) -> Sender<()> {
        let (opened, gate) = channel();
        *self.gate.lock() = Some(gate);
        opened
    }

    /// Answers with these CPUs from now on.
    pub(super) fn pin(&self, cpus: &str) {
        self.answer.lock().cpus = CpuSet::parse(cpus).ok();
    }

    pub(super) fn answer(&self, adjustment: Adjustment) {
        *self.answer.lock() = adjustment;
    }

    pub(super) fn refuse(&self, sentence: &str) {
        *self.refusal.lock() = Some(sentence.to_owned());
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }

    fn note(&self, what: String) {
        self.seen.lock().push(what);
        let gate = self.gate.lock().take();
        if let Some(gate) = gate {
            let _opened = gate.recv();
        }
    }
}

impl Placer for Double {
    fn sandbox(&self, pod: &Sandbox) {
        self.note(format!("sandbox {}", pod.id));
    }

    fn container(&self, pod: &Sandbox, _: &NewContainer) -> Result<Adjustment, Refused> {
        self.note(format!("container {}", pod.id));
        match self.refusal.lock().clone() {
            Some(sentence) => Err(Refused(sentence)),
            None => Ok(self.answer.lock().clone()),
        }
    }

    fn running(&self, _: &Sandbox, container: &RunningContainer) -> Option<Adjustment> {
        self.note(format!("running {}", container.id));
        Some(self.answer.lock().clone()).filter(|adjustment| !adjustment.is_empty())
    }

    fn stopped(&self, uid: &str) {
        self.note(format!("stopped {uid}"));
    }

    fn removed(&self, uid: &str) {
        self.note(format!("removed {uid}"));
    }
}
