//! Answers to filter, prioritize and preempt: bytes in, bytes out.

use std::collections::BTreeMap;

use katalyst_core::qos::Level;

use super::{Answer, Extender};
use crate::ledger::{Charge, Rejection};
use crate::metrics::{Outcome, ReasonLabels};
use crate::request::{PodRequest, RequestError};
use crate::verbs;
use crate::wire::{
    ExtenderArgs, ExtenderFilterResult, HostPriority, PreemptionArgs, PreemptionResult, WirePod,
};

impl Extender {
    /// Answers filter.
    pub fn filter(&self, body: &[u8]) -> Answer {
        let args: ExtenderArgs<'_> = match serde_json::from_slice(body) {
            Ok(args) => args,
            Err(error) => return invalid_filter(format!("filter request cannot be read: {error}")),
        };
        let pod = match read(args.pod.as_ref()) {
            Ok(pod) => pod,
            Err(error) => return invalid_filter(error.to_string()),
        };
        let (now, version) = (self.now(), self.ledger.version());
        let table = self.ledger.table();
        let decision = match verbs::filter(
            &args,
            &pod,
            &table,
            &self.policy,
            now,
            self.ledger.stale_after(),
        ) {
            Ok(decision) => decision,
            Err(error) => return invalid_filter(error.to_string()),
        };
        let answer = serde_json::to_vec(&decision.answer(&args));
        let outcome = if decision.feasible() {
            Outcome::Ok
        } else {
            Outcome::Rejected
        };
        if decision.feasible() {
            self.waiting.lock().served(&pod.uid);
            let charge = Charge {
                amount: pod.amount.unwrap_or_default(),
                priority: pod.priority,
                name: pod.name.clone(),
                ..Charge::default()
            };
            self.in_mind.lock().put(pod.uid.clone(), (pod, charge));
        } else {
            self.count_rejections(&decision.rejected);
            if let (Some(request), Level::Reclaimed) = (pod.amount, pod.level) {
                self.waiting
                    .lock()
                    .rejected(&pod.uid, request, version, now);
            }
        }
        (outcome, answer)
    }

    /// Answers prioritize. The protocol has no place for an error: kube-scheduler ignores the scores of one that fails.
    pub fn prioritize(&self, body: &[u8]) -> Answer {
        let answer = || -> Result<Vec<u8>, String> {
            let args: ExtenderArgs<'_> = serde_json::from_slice(body)
                .map_err(|error| format!("prioritize request cannot be read: {error}"))?;
            let pod = read(args.pod.as_ref()).map_err(|error| error.to_string())?;
            let ranks = verbs::prioritize(
                &args,
                &pod,
                &self.ledger.table(),
                &self.policy,
                self.now(),
                self.ledger.stale_after(),
            )
            .map_err(|error| error.to_string())?;
            let list: Vec<HostPriority<'_>> = ranks
                .iter()
                .map(|(host, score)| HostPriority {
                    host,
                    score: i64::from(*score),
                })
                .collect();
            serde_json::to_vec(&list).map_err(|error| error.to_string())
        };
        match answer() {
            Ok(list) => (Outcome::Ok, Ok(list)),
            Err(error) => {
                tracing::warn!(%error, "prioritize is answered with no scores");
                (Outcome::Invalid, Ok(b"[]".to_vec()))
            }
        }
    }

    /// Answers preempt. Without an answer no node is left, so nobody dies by mistake.
    pub fn preempt(&self, body: &[u8]) -> Answer {
        let answer = || -> Result<PreemptionResult, String> {
            let args: PreemptionArgs<'_> = serde_json::from_slice(body)
                .map_err(|error| format!("preempt request cannot be read: {error}"))?;
            let pod = read(args.pod.as_ref()).map_err(|error| error.to_string())?;
            Ok(verbs::preempt(&args, &pod, &self.ledger, self.now()))
        };
        let (outcome, result) = match answer() {
            Ok(result) if result.node_name_to_meta_victims.is_empty() => {
                (Outcome::Rejected, result)
            }
            Ok(result) => (Outcome::Ok, result),
            Err(error) => {
                tracing::warn!(%error, "preempt is answered with no node");
                (Outcome::Invalid, PreemptionResult::default())
            }
        };
        (outcome, serde_json::to_vec(&result))
    }

    fn count_rejections(&self, rejected: &[(usize, Rejection, bool)]) {
        let mut counts = BTreeMap::<&'static str, u64>::new();
        for (_, rejection, _) in rejected {
            *counts.entry(rejection.label()).or_default() += 1;
        }
        for (reason, count) in counts {
            self.metrics
                .rejections
                .get_or_create(&ReasonLabels { reason })
                .inc_by(count);
        }
    }
}

fn read(pod: Option<&WirePod<'_>>) -> Result<PodRequest, RequestError> {
    PodRequest::from_wire(pod.ok_or(RequestError::NoPod("Pod"))?)
}

fn invalid_filter(error: String) -> Answer {
    // kube-scheduler asks again and again, and shows the text in an Event of the pod each time.
    tracing::debug!(%error, "filter is answered with an error");
    let result = ExtenderFilterResult {
        node_names: Some(Vec::new()),
        error,
        ..Default::default()
    };
    (Outcome::Invalid, serde_json::to_vec(&result))
}
