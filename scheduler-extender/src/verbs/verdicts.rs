//! What was found about nodes for a request, kept until something changes: pods of one workload ask alike.
//!
//! A verdict depends on the request and on the node's state, which has a [revision](crate::ledger::NodeState::revision) of its own. After
//! a binding one node has another state; for the next pod of the same kind only that node is looked at again, and the rest is a
//! comparison of two numbers a node. What depends on the time (an agent that has fallen silent) is checked apart from it.
//!
//! Bounded: [`REQUESTS`] requests, the least recently used goes; 16 bytes a node and request.

use std::sync::Arc;

use katalyst_core::placement::PodRequest;
use parking_lot::Mutex;

use crate::ledger::Rejection;

/// Requests that are remembered: 16 MiB at 15,000 nodes.
pub const REQUESTS: usize = 64;

/// What was found about a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// It fits. The higher the better; only comparable for one request.
    Fits(f32),
    /// It fits; how well is a guess, to be compared with other guesses only.
    Guessed(f32),
    /// It does not.
    Rejected(Rejection),
}

/// Verdicts of one request, by the node's position.
#[derive(Debug)]
pub struct Verdicts {
    request: Arc<PodRequest>,
    /// Of the ranks; another one makes every verdict outdated.
    epoch: u64,
    by_slot: Vec<(u64, Verdict)>,
}

impl Verdicts {
    fn new(request: Arc<PodRequest>, epoch: u64) -> Self {
        Self {
            request,
            epoch,
            by_slot: Vec::new(),
        }
    }

    /// The verdict about the node at `slot` in the state `revision`; found anew where there is none. `judge` tells of which revision its
    /// verdict is: the state may be newer by then.
    pub fn get(
        &mut self,
        slot: u32,
        revision: u64,
        judge: impl FnOnce() -> (u64, Verdict),
    ) -> Verdict {
        if let Some((known, verdict)) = self.by_slot.get(slot as usize)
            && *known == revision
        {
            return *verdict;
        }
        let found = judge();
        self.put(slot, found);
        found.1
    }

    /// Keeps what was found about the node at `slot` in a state of that revision.
    pub fn put(&mut self, slot: u32, found: (u64, Verdict)) {
        let slot = slot as usize;
        if self.by_slot.len() <= slot {
            // No state has revision 0 but the unknown one, which is in no table.
            self.by_slot
                .resize(slot + 1, (0, Verdict::Rejected(Rejection::Malformed)));
        }
        if let Some(place) = self.by_slot.get_mut(slot) {
            *place = found;
        }
    }
}

/// Verdicts of the latest requests, the latest last.
#[derive(Debug, Default)]
pub struct Memo {
    latest: Mutex<Vec<Arc<Mutex<Verdicts>>>>,
}

impl Memo {
    /// The verdicts of a request. `epoch` is of the ranks.
    pub fn of(&self, request: &Arc<PodRequest>, epoch: u64) -> Arc<Mutex<Verdicts>> {
        let mut latest = self.latest.lock();
        let same = |verdicts: &Arc<Mutex<Verdicts>>| {
            let verdicts = verdicts.lock();
            Arc::ptr_eq(&verdicts.request, request) || verdicts.request == *request
        };
        let verdicts = match latest.iter().rposition(same) {
            Some(at) => latest.remove(at),
            None => Arc::new(Mutex::new(Verdicts::new(request.clone(), epoch))),
        };
        {
            let mut own = verdicts.lock();
            if own.epoch != epoch {
                *own = Verdicts::new(request.clone(), epoch);
            }
        }
        latest.push(verdicts.clone());
        if latest.len() > REQUESTS {
            latest.remove(0);
        }
        verdicts
    }

    /// How many requests are remembered.
    pub fn len(&self) -> usize {
        self.latest.lock().len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use katalyst_core::reclaimed::Reclaimed;

    use super::*;

    fn request(cpu: u64) -> Arc<PodRequest> {
        Arc::new(PodRequest {
            reclaimed: Some(Reclaimed::new(cpu, 0)),
            ..PodRequest::default()
        })
    }

    #[test]
    fn a_verdict_stands_until_the_node_changes() {
        let memo = Memo::default();
        let verdicts = memo.of(&request(1), 0);
        let mut verdicts = verdicts.lock();
        assert_eq!(
            verdicts.get(3, 7, || (7, Verdict::Fits(1.0))),
            Verdict::Fits(1.0)
        );
        assert_eq!(verdicts.get(3, 7, || panic!("known")), Verdict::Fits(1.0));
        assert_eq!(
            verdicts.get(3, 8, || (9, Verdict::Fits(2.0))),
            Verdict::Fits(2.0)
        );
        assert_eq!(verdicts.get(3, 9, || panic!("known")), Verdict::Fits(2.0));
        assert_eq!(
            verdicts.get(0, 1, || (1, Verdict::Fits(3.0))),
            Verdict::Fits(3.0),
            "a place that was only made room for"
        );
    }

    #[test]
    fn equal_requests_share_and_other_ranks_start_anew() {
        let memo = Memo::default();
        let first = memo.of(&request(1), 0);
        first.lock().get(0, 1, || (1, Verdict::Fits(1.0)));
        assert!(Arc::ptr_eq(&first, &memo.of(&request(1), 0)));
        assert!(!Arc::ptr_eq(&first, &memo.of(&request(2), 0)));
        let anew = memo.of(&request(1), 1);
        assert_eq!(
            anew.lock().get(0, 1, || (1, Verdict::Fits(5.0))),
            Verdict::Fits(5.0)
        );
    }

    #[test]
    fn memory_is_bounded() {
        let memo = Memo::default();
        for cpu in 0..1000 {
            memo.of(&request(cpu), 0);
        }
        assert_eq!(memo.len(), REQUESTS);
    }
}
