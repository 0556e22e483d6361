//! One node as the planner sees it: a consistent copy, taken under the index lock.

use std::sync::Arc;

use katalyst_core::reclaimed::Reclaimed;

use super::{CnrFacts, NodeFacts};

/// Everything known about one node.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Name of the node and of its CNR.
    pub name: String,
    /// The Node, if it exists.
    pub node: Option<Arc<NodeFacts>>,
    /// The CNR, if it exists.
    pub cnr: Option<Arc<CnrFacts>>,
    /// Sum of the requests of reclaimed pods bound to the node.
    pub allocated: Reclaimed,
    /// How many reclaimed pods are bound to the node.
    pub pods: usize,
    /// Seconds since the agent's report was last seen to change; infinite if none was ever seen.
    pub report_age_seconds: f64,
    /// True once this process saw the report change, so that its age is this process's own observation.
    pub report_witnessed: bool,
}
