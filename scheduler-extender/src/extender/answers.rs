//! Answers to filter, prioritize and preempt: bytes in, bytes out.

use std::collections::BTreeMap;

use super::{Answer, Extender};
use crate::ledger::{Charge, Rejection, Table, UnixMillis, not_reclaimed};
use crate::metrics::{Outcome, ReasonLabels};
use crate::request::{PodRequest, RequestError};
use crate::verbs::{self, Judge};
use crate::wire::{
    ExtenderArgs, ExtenderFilterResult, HostPriority, PreemptionArgs, PreemptionResult, WirePod,
};

impl Extender {
    /// Answers filter.
    pub fn filter(&self, body: &[u8]) -> Answer {
        let table = self.ledger.table();
        let (args, pod) = match read_question(body, &table, "filter") {
            Ok(question) => question,
            Err(error) => return invalid_filter(error),
        };
        self.packing.arrived(&pod.uid, &pod.wish);
        let (now, version) = (self.now(), self.ledger.version());
        let decision = verbs::filter(&args, &pod, &self.judge(&table, now));
        let answer = serde_json::to_vec(&decision.answer(&args));
        if decision.feasible() {
            self.closer.put(&pod, &decision.later);
            self.waiting.lock().served(&pod.uid);
            let charge = Charge {
                priority: pod.priority,
                name: pod.name.clone(),
                ..Charge::default()
            };
            self.in_mind.lock().put(pod.uid.clone(), (pod, charge));
            return (Outcome::Ok, answer);
        }
        self.count_rejections(&decision.rejected);
        if !pod.wish.is_plain() && not_reclaimed(&pod.wish).is_ok() {
            let mut waiting = self.waiting.lock();
            waiting.rejected(&pod.uid, &pod.wish, version, now);
        }
        (Outcome::Rejected, answer)
    }

    /// Answers filter for every pod: taints and nothing else.
    pub fn filter_taints(&self, body: &[u8]) -> Answer {
        let table = self.ledger.table();
        let (args, pod) = match read_question(body, &table, "filter-taints") {
            Ok(question) => question,
            Err(error) => return invalid_filter(error),
        };
        let decision = verbs::filter_taints(&args, &pod, &table);
        let outcome = if decision.feasible() {
            Outcome::Ok
        } else {
            self.count_rejections(&decision.rejected);
            Outcome::Rejected
        };
        (outcome, serde_json::to_vec(&decision.answer(&args)))
    }

    /// Answers prioritize. The protocol has no place for an error: kube-scheduler ignores the scores of one that fails.
    pub fn prioritize(&self, body: &[u8]) -> Answer {
        let table = self.ledger.table();
        let answer = || -> Result<Vec<u8>, String> {
            let (args, pod) = read_question(body, &table, "prioritize")?;
            let scores = verbs::prioritize(&args, &pod, &self.judge(&table, self.now()));
            let list: Vec<HostPriority<'_>> = args
                .candidates
                .iter()
                .zip(scores)
                .map(|(candidate, score)| HostPriority {
                    host: &candidate.name,
                    score: i64::from(score),
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

    pub(super) fn judge<'a>(&'a self, table: &'a Table, now: UnixMillis) -> Judge<'a> {
        Judge {
            table,
            memo: &self.memo,
            packing: &self.packing,
            policy: &self.policy,
            now,
            stale_after: self.ledger.stale_after(),
        }
    }

    /// Answers preempt. Without an answer no node is left, so nobody dies by mistake.
    pub fn preempt(&self, body: &[u8]) -> Answer {
        let answer = || -> Result<PreemptionResult, String> {
            let args: PreemptionArgs<'_> = serde_json::from_slice(body)
                .map_err(|error| format!("preempt request cannot be read: {error}"))?;
            let pod = read(args.pod.as_ref()).map_err(|error| error.to_string())?;
            Ok(verbs::preempt(
                &args,
                &pod,
                &self.ledger,
                &self.budgets,
                self.now(),
            ))
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

/// The question and its pod; the text says what is wrong with it.
fn read_question<'a>(
    body: &'a [u8],
    table: &Table,
    verb: &str,
) -> Result<(ExtenderArgs<'a>, PodRequest), String> {
    let args = ExtenderArgs::read(body, table)
        .map_err(|error| format!("{verb} request cannot be read: {error}"))?;
    let pod = read(args.pod.as_ref()).map_err(|error| error.to_string())?;
    Ok((args, pod))
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
