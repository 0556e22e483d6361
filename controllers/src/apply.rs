//! The only place that writes: applies planned [`Write`]s to the API server, a few at a time, and only while leading.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use katalyst_crds::node::CustomNodeResource;
use katalyst_runtime::Leader;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};

use crate::capacity;
use crate::causes::with_causes;
use crate::lifecycle;
use crate::plan::{Target, Write};

/// How a write ended.
#[derive(Debug)]
pub enum Outcome {
    /// Written; the object as the API server answered.
    Written(Box<DynamicObject>),
    /// Not sent: this process did not lead any more.
    Fenced,
    /// Not sent: an earlier write of the same batch found the API server unavailable. The next resync plans it anew.
    Postponed,
    /// The API server can't be reached, is overloaded, or did not answer in time.
    Unavailable(String),
    /// The API server refused this write.
    Refused(String),
}

impl Outcome {
    /// Name for metric labels.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Written(_) => "written",
            Self::Fenced => "fenced",
            Self::Postponed => "postponed",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
        }
    }
}

/// Applies writes.
#[derive(Clone)]
pub struct Writer {
    api: Api<DynamicObject>,
    leader: Leader,
    concurrency: usize,
    timeout: Duration,
}

impl Writer {
    /// A writer that has at most `concurrency` writes in flight and gives each up after `timeout`. `client` should not retry
    /// by itself: the planner does, and a later plan is better than an old one sent late.
    pub fn new(client: Client, leader: Leader, concurrency: usize, timeout: Duration) -> Self {
        let api = Api::all_with(client, &ApiResource::erase::<CustomNodeResource>(&()));
        Self {
            api,
            leader,
            concurrency: concurrency.max(1),
            timeout,
        }
    }

    /// Applies `writes` and returns each with its outcome, in the order in which they ended. Leadership is asked before each. Once
    /// the API server is found unavailable no more are sent: a thousand time limits in a row would help nobody.
    pub async fn apply(&self, writes: Vec<Write>) -> Vec<(Write, Outcome)> {
        let unavailable = AtomicBool::new(false);
        let unavailable = &unavailable;
        stream::iter(writes)
            .map(|write| async move {
                if unavailable.load(Ordering::Relaxed) {
                    return (write, Outcome::Postponed);
                }
                let outcome = self.one(&write).await;
                if matches!(outcome, Outcome::Unavailable(_)) {
                    unavailable.store(true, Ordering::Relaxed);
                }
                (write, outcome)
            })
            .buffer_unordered(self.concurrency)
            .collect()
            .await
    }

    async fn one(&self, write: &Write) -> Outcome {
        let Some(left) = self.leader.remaining() else {
            return Outcome::Fenced;
        };
        let patch = Patch::Apply(&write.body);
        // Force takes over only the fields in the patch, which are ours alone.
        let answer = async {
            match write.target {
                Target::Object(_) => {
                    self.api
                        .patch(
                            &write.name,
                            &PatchParams::apply(lifecycle::FIELD_MANAGER).force(),
                            &patch,
                        )
                        .await
                }
                Target::Status(..) => {
                    self.api
                        .patch_status(
                            &write.name,
                            &PatchParams::apply(capacity::FIELD_MANAGER).force(),
                            &patch,
                        )
                        .await
                }
            }
        };
        match tokio::time::timeout(self.timeout.min(left), answer).await {
            Ok(Ok(object)) => Outcome::Written(Box::new(object)),
            Ok(Err(kube::Error::Api(status))) if refused(status.code) => {
                Outcome::Refused(status.message.clone())
            }
            Ok(Err(error)) => Outcome::Unavailable(with_causes(&error)),
            Err(_elapsed) => {
                Outcome::Unavailable(format!("no answer within {:?}", self.timeout.min(left)))
            }
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("concurrency", &self.concurrency)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// True for an answer about this write, false for one about the API server's own state.
fn refused(code: u16) -> bool {
    (400..500).contains(&code) && code != 429 && code != 408
}

#[cfg(test)]
mod tests;
