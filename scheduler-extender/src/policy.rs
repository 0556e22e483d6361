//! What an operator may set about placement.

use katalyst_core::placement::{ScorePolicy, Strategy};

/// Parameters of the verbs.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Which of the nodes that fit are best.
    pub score: ScorePolicy,
    /// How many of them filter returns. Long lists cost kube-scheduler more than all else here; a few good nodes leave its own
    /// scores something to choose from.
    pub max_nodes: usize,
    /// Report a node as worth a preemption where pods of lower priority hold its reclaimed resources. kube-scheduler 1.36 gives up
    /// a preemption unless its own dry run, which knows nothing of reclaimed resources, finds a victim: there such a report only
    /// costs dry runs and error messages, so it is off. The verb preempt works either way.
    pub suggest_preemption: bool,
}

impl Default for Policy {
    /// Spread over the best 8 (measured with kube-scheduler 1.36 and 1,000 nodes: 8 of 420
    /// names keep four fifths of the rate without an extender, all names less than half).
    fn default() -> Self {
        Self {
            score: ScorePolicy {
                reclaimed: Strategy::Spread,
            },
            max_nodes: 8,
            suggest_preemption: false,
        }
    }
}
