//! The extender itself: the verbs joined with the ledger, the memories and the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use k8s_openapi::api::core::v1::Pod;
use katalyst_core::qos::Level;
use parking_lot::Mutex;

use crate::ledger::{Assumption, Charge, Ledger, Rejection, Settlement, UnixMillis};
use crate::metrics::{ExtenderMetrics, Outcome, ReasonLabels, WakeupLabels};
use crate::policy::Policy;
use crate::recent::Recent;
use crate::request::{PodRequest, RequestError, Uid};
use crate::verbs;
use crate::verbs::bind::{Binder, Whereabouts, whereabouts};
use crate::wakeup::{Touch, Waiting};
use crate::wire::{
    BindingArgs, BindingResult, ExtenderArgs, HostPriority, PreemptionArgs, PreemptionResult,
    WirePod,
};

/// Pods between filter and bind whose request is remembered; for others the API is asked.
const PODS_IN_MIND: usize = 20_000;

/// A source of the time, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// See the module.
pub struct Extender {
    ledger: Arc<Ledger>,
    policy: Policy,
    binder: Binder,
    metrics: ExtenderMetrics,
    clock: Clock,
    in_mind: Mutex<Recent<(PodRequest, Charge)>>,
    waiting: Mutex<Waiting>,
    offers_seen: AtomicI64,
    pods_seen: AtomicI64,
}

/// An answer in JSON, and what it was.
pub type Answer = (Outcome, Result<Vec<u8>, serde_json::Error>);

impl Extender {
    /// An extender with an empty ledger.
    pub fn new(
        ledger: Arc<Ledger>,
        policy: Policy,
        binder: Binder,
        metrics: ExtenderMetrics,
        clock: Clock,
    ) -> Self {
        let started = clock();
        Self {
            ledger,
            policy,
            binder,
            metrics,
            clock,
            in_mind: Mutex::new(Recent::new(PODS_IN_MIND)),
            waiting: Mutex::default(),
            offers_seen: AtomicI64::new(started),
            pods_seen: AtomicI64::new(started),
        }
    }

    /// The ledger.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The metrics.
    pub fn metrics(&self) -> &ExtenderMetrics {
        &self.metrics
    }

    /// The binder.
    pub fn binder(&self) -> &Binder {
        &self.binder
    }

    /// The time.
    pub fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    /// Answers filter.
    pub fn filter(&self, body: &[u8]) -> Answer {
        let args: ExtenderArgs<'_> = match serde_json::from_slice(body) {
            Ok(args) => args,
            Err(error) => return invalid_filter(format!("filter request cannot be read: {error}")),
        };
        let pod = match self.read(args.pod.as_ref()) {
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
        let read = || -> Result<Vec<u8>, String> {
            let args: ExtenderArgs<'_> = serde_json::from_slice(body)
                .map_err(|error| format!("prioritize request cannot be read: {error}"))?;
            let pod = self
                .read(args.pod.as_ref())
                .map_err(|error| error.to_string())?;
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
        match read() {
            Ok(list) => (Outcome::Ok, Ok(list)),
            Err(error) => {
                tracing::warn!(%error, "prioritize is answered with no scores");
                (Outcome::Invalid, Ok(b"[]".to_vec()))
            }
        }
    }

    /// Answers preempt. Without an answer no node is left, so nobody dies by mistake.
    pub fn preempt(&self, body: &[u8]) -> Answer {
        let read = || -> Result<PreemptionResult, String> {
            let args: PreemptionArgs<'_> = serde_json::from_slice(body)
                .map_err(|error| format!("preempt request cannot be read: {error}"))?;
            let pod = self
                .read(args.pod.as_ref())
                .map_err(|error| error.to_string())?;
            Ok(verbs::preempt(&args, &pod, &self.ledger, self.now()))
        };
        let (outcome, result) = match read() {
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
        if let (Some(_), level) = (pod.amount, pod.level)
            && level != Level::Reclaimed
        {
            return Err((
                Outcome::Rejected,
                Rejection::NotReclaimed.reason().to_owned(),
            ));
        }
        let uid: Uid = pod.uid.clone();
        if pod.amount.is_some() {
            match self.ledger.assume(&uid, &args.node, charge, self.now()) {
                Ok(Assumption::Charged) => {}
                Ok(Assumption::AlreadyThere) => return Ok(()),
                Err(refusal) => return Err((Outcome::Rejected, refusal.to_string())),
            }
        }
        let guard = Unsettled {
            extender: self,
            uid: &uid,
            node: &args.node,
            armed: true,
        };
        let (settlement, result) = self.binder.bind(args, pod.amount).await;
        guard.settle(settlement);
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

    fn read(&self, pod: Option<&WirePod<'_>>) -> Result<PodRequest, RequestError> {
        PodRequest::from_wire(pod.ok_or(RequestError::NoPod("Pod"))?)
    }

    fn count_rejections(&self, rejected: &[(usize, Rejection, bool)]) {
        let mut counts = std::collections::BTreeMap::<&'static str, u64>::new();
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

    /// The node to touch now, if any.
    pub fn plan_wakeup(&self) -> Option<Touch> {
        let version = self.ledger.version();
        let table = self.ledger.table();
        self.waiting
            .lock()
            .plan(&table, version, self.now(), self.ledger.stale_after())
    }

    /// The touch was made, or failed.
    pub fn woke(&self, touch: &Touch, done: bool) {
        let now = self.now();
        let mut waiting = self.waiting.lock();
        if done {
            waiting.touched(touch, now)
        } else {
            waiting.failed(touch, now)
        }
        drop(waiting);
        let result = if done { "ok" } else { "error" };
        self.metrics
            .wakeups
            .get_or_create(&WakeupLabels { result })
            .inc();
    }

    /// A custom resource was seen.
    pub fn saw_offer(&self) {
        self.offers_seen.store(self.now(), Ordering::Relaxed);
    }

    /// A pod was seen.
    pub fn saw_pod(&self) {
        self.pods_seen.store(self.now(), Ordering::Relaxed);
    }

    /// Sets the gauges that follow from the state.
    pub fn measure(&self) {
        let age = |seen: &AtomicI64| {
            self.now()
                .saturating_sub(seen.load(Ordering::Relaxed))
                .max(0)
                / 1000
        };
        self.metrics.offers_age.set(age(&self.offers_seen));
        self.metrics.pods_age.set(age(&self.pods_seen));
        self.metrics.assumed.set(as_gauge(self.ledger.assumed()));
        self.metrics
            .doubts
            .set(as_gauge(self.ledger.doubts().len()));
        self.metrics.nodes.set(as_gauge(self.ledger.table().len()));
        self.metrics
            .waiting
            .set(as_gauge(self.waiting.lock().len()));
    }
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn invalid_filter(error: String) -> Answer {
    tracing::warn!(%error, "filter is answered with an error");
    let result = crate::wire::ExtenderFilterResult {
        node_names: Some(Vec::new()),
        error,
        ..Default::default()
    };
    (Outcome::Invalid, serde_json::to_vec(&result))
}

/// The charge of a pod of the API.
pub fn charge_of(pod: &Pod, request: &PodRequest) -> Charge {
    Charge {
        amount: request.amount.unwrap_or_default(),
        priority: request.priority,
        name: request.name.clone(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        created: pod
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(0, |time| time.0.as_millisecond()),
    }
}

/// Settles a charge even when the answer is no longer wanted: kube-scheduler hangs up at its timeout, and the future is dropped.
struct Unsettled<'a> {
    extender: &'a Extender,
    uid: &'a Uid,
    node: &'a str,
    armed: bool,
}

impl Unsettled<'_> {
    fn settle(mut self, settlement: Settlement) {
        self.armed = false;
        self.extender
            .ledger
            .settle(self.uid, self.node, settlement, self.extender.now());
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.extender.ledger.settle(
                self.uid,
                self.node,
                Settlement::Unknown,
                self.extender.now(),
            );
        }
    }
}

impl std::fmt::Debug for Extender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extender")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
