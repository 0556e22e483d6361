//! What a node's custom resource says.

use std::sync::Arc;

use katalyst_core::placement::Machine;
use katalyst_core::placement::node::{Load, Reported, Taint};
use katalyst_core::reclaimed::Reclaimed;

use crate::ledger::view::UnixMillis;

/// What a node's custom resource says.
#[derive(Debug, Clone, PartialEq)]
pub enum Offer {
    /// It can be read.
    Known(Report),
    /// It cannot be read.
    Malformed {
        /// The field, its value and what is wrong.
        message: String,
    },
}

/// A custom resource that can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Reclaimed amounts offered.
    pub allocatable: Reclaimed,
    /// The controller holds the agent to be alive, and the agent has reported.
    pub agent_ready: bool,
    /// When the agent made its last report; [`UnixMillis::MIN`] before the first.
    pub reported: UnixMillis,
    /// What the node has.
    pub machine: Arc<Machine>,
    /// Its taints.
    pub taints: Arc<[Taint]>,
    /// Its use.
    pub load: Load,
    /// What pods hold of its NUMA nodes, as the agent saw it.
    pub held: Vec<Reported>,
    /// What of it cannot be read and is left out, for people; empty where all can.
    pub problems: String,
}

impl Default for Report {
    /// Of an agent that has not reported.
    fn default() -> Self {
        Self {
            allocatable: Reclaimed::ZERO,
            agent_ready: false,
            reported: UnixMillis::MIN,
            machine: Arc::default(),
            taints: Arc::default(),
            load: Load::default(),
            held: Vec::new(),
            problems: String::new(),
        }
    }
}
