//! Answers to bind: find the request, charge the node, write the Binding, settle.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::{Answer, Extender};
use crate::budgets::Labels;
use crate::ledger::{Assumption, Charge, Decision, Settlement};
use crate::metrics::Outcome;
use crate::request::{PodRequest, Uid};
use crate::verbs::annotations;
use crate::verbs::bind::{Whereabouts, whereabouts};
use crate::wire::{BindingArgs, BindingResult};

impl Extender {
    /// Answers bind.
    pub async fn bind(&self, body: &[u8]) -> Answer {
        let (outcome, error) = match serde_json::from_slice::<BindingArgs>(body) {
            Ok(args) => match self.place(&args).await {
                Ok(()) => (Outcome::Ok, String::new()),
                Err((outcome, cause)) => {
                    let BindingArgs {
                        pod_name,
                        pod_namespace,
                        node,
                        ..
                    } = &args;
                    let message = format!(
                        "pod {pod_namespace}/{pod_name} is not bound to node {node}: {cause}"
                    );
                    tracing::warn!("{message}");
                    (outcome, message)
                }
            },
            Err(error) => (
                Outcome::Invalid,
                format!("bind request cannot be read: {error}"),
            ),
        };
        (outcome, serde_json::to_vec(&BindingResult { error }))
    }

    async fn place(&self, args: &BindingArgs) -> Result<(), (Outcome, String)> {
        let known = self.in_mind.lock().get(&args.pod_uid).cloned();
        let (pod, charge) = match known {
            Some(known) => known,
            None => match self.look_up(args).await? {
                Some(found) => found,
                None => return Ok(()),
            },
        };
        let uid: Uid = pod.uid.clone();
        let mut record = BTreeMap::new();
        let mut charged = None;
        if !pod.wish.is_plain() {
            match self.ledger.assume(&pod, &args.node, charge, self.now()) {
                Ok(Assumption::Charged(decision)) => {
                    match annotations(&pod.wish, &decision) {
                        Ok(annotations) => record = annotations,
                        Err(error) => {
                            let (refused, now) = (Settlement::Refused, self.now());
                            self.ledger
                                .settle(&uid, &args.node, &decision, refused, now);
                            return Err((Outcome::Invalid, error.to_string()));
                        }
                    }
                    charged = Some(decision);
                }
                Ok(Assumption::AlreadyThere) => return Ok(()),
                Err(refusal) => return Err((Outcome::Rejected, refusal.to_string())),
            }
        }
        let guard = Unsettled {
            extender: self,
            uid: &uid,
            node: &args.node,
            charged,
        };
        if !self.mandate.holds() {
            guard.settle(Settlement::Refused);
            return Err((
                Outcome::NotReady,
                "this replica does not lead any more".to_owned(),
            ));
        }
        let (settlement, result) = self.binder.bind(args, record).await;
        guard.settle(settlement);
        if pod.wish.wants_devices()
            && let Some(cell) = self.ledger.table().get(&args.node)
        {
            self.closer.put(&pod, &[cell.slot]);
        }
        self.waiting.lock().served(&uid);
        result.map_err(|cause| (Outcome::ApiError, cause))
    }

    /// Reads a pod that filter has not seen; `None` where it is on the node already.
    async fn look_up(
        &self,
        args: &BindingArgs,
    ) -> Result<Option<(PodRequest, Charge)>, (Outcome, String)> {
        let BindingArgs {
            pod_name,
            pod_namespace,
            pod_uid,
            node,
        } = args;
        let gone = || {
            (
                Outcome::Rejected,
                "pod is gone, or was replaced by another of its name".to_owned(),
            )
        };
        let pod = self
            .binder
            .pod(pod_namespace, pod_name)
            .await
            .map_err(|cause| (Outcome::ApiError, cause))?
            .ok_or_else(gone)?;
        match whereabouts(&pod, pod_uid, node) {
            Whereabouts::Here => Ok(None),
            Whereabouts::Elsewhere(other) => Err((
                Outcome::Rejected,
                format!("pod is already bound to node {other}"),
            )),
            Whereabouts::Gone | Whereabouts::Unclear(_) => Err(gone()),
            Whereabouts::Unbound => {
                let request = PodRequest::from_pod(&pod)
                    .map_err(|error| (Outcome::Invalid, error.to_string()))?;
                let charge = charge_of(&pod, &request);
                Ok(Some((request, charge)))
            }
        }
    }
}

/// The charge of a pod of the API.
pub fn charge_of(pod: &Pod, request: &PodRequest) -> Charge {
    Charge {
        priority: request.priority,
        name: request.name.clone(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        created: pod
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(0, |time| time.0.as_millisecond()),
        // The watch brings them.
        labels: Labels::default(),
    }
}

/// Settles a charge even when the answer is no longer wanted: kube-scheduler hangs up at its timeout, and the future is dropped.
struct Unsettled<'a> {
    extender: &'a Extender,
    uid: &'a Uid,
    node: &'a str,
    /// What was charged; `None` for a pod that is charged with nothing, and once it is settled.
    charged: Option<Arc<Decision>>,
}

impl Unsettled<'_> {
    fn settle(mut self, settlement: Settlement) {
        self.end(settlement);
    }

    fn end(&mut self, settlement: Settlement) {
        if let Some(decision) = self.charged.take() {
            let now = self.extender.now();
            self.extender
                .ledger
                .settle(self.uid, self.node, &decision, settlement, now);
        }
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.end(Settlement::Unknown);
    }
}
