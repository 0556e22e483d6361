//! Whether a node's agent reports, and what the conditions `AgentReady` and `AgentNotFound` say about it.

use katalyst_core::capacity::Params;
use katalyst_crds::constants::condition;

use crate::index::{NodeView, Report};

/// Condition reason: the agent's report is there and can't be read.
const REASON_MALFORMED: &str = "AgentReportMalformed";

/// How the agent of a node does.
#[derive(Debug, Clone, PartialEq)]
pub enum Agent {
    /// It reports.
    Ready,
    /// It reported once, but not for longer than the limit.
    Silent {
        /// The limit, in seconds. Not the age, which would change the message at every look.
        limit_seconds: f64,
    },
    /// It never reported: not installed, or not started yet.
    NeverReported,
    /// Its report can't be read.
    Malformed {
        /// What is wrong, naming field and value.
        error: String,
    },
}

impl Agent {
    /// How the agent of `view`'s node does.
    pub fn of(view: &NodeView, params: &Params) -> Self {
        match view.cnr.as_deref().map(|cnr| &cnr.report) {
            Some(Report::Seen(_)) if view.report_age_seconds <= params.stale_after_seconds => {
                Self::Ready
            }
            Some(Report::Seen(_)) => Self::Silent {
                limit_seconds: params.stale_after_seconds,
            },
            Some(Report::Malformed(error)) => Self::Malformed {
                error: error.clone(),
            },
            Some(Report::Missing) | None => Self::NeverReported,
        }
    }

    /// True when an offer may rest on its report.
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// The condition reason, a fixed set.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Ready => condition::REASON_REPORTING,
            Self::Silent { .. } => condition::REASON_SILENT,
            Self::NeverReported => condition::REASON_NEVER_REPORTED,
            Self::Malformed { .. } => REASON_MALFORMED,
        }
    }

    /// The condition message.
    pub fn message(&self) -> String {
        match self {
            Self::Ready => "the node agent reports".to_owned(),
            Self::Silent { limit_seconds } => {
                format!("the node agent has not reported for more than {limit_seconds:.0} s")
            }
            Self::NeverReported => "no node agent has reported on this node".to_owned(),
            Self::Malformed { error } => format!("the node agent's report can't be read: {error}"),
        }
    }
}
