//! Gives containers the devices of their record, or says why not.
//!
//! Who holds what follows from the runtime's events alone: a pod holds its cards from the creation of a container until the runtime stopped its sandbox,
//! when no process of it is left. A pod that the API server calls finished holds nothing either, in case the event was missed. After a start of the
//! agent the runtime's list says which containers run.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use katalyst_core::card_claims::CardClaims;
use katalyst_crds::devices::DeviceAllocation;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    DeviceMetrics, Injection,
    claims::{Refusal, check, holder, memory},
    inject::{Injected, inject},
};
use crate::{
    cgroup::PodUid,
    chain,
    events::Events,
    notices::Notices,
    nri::Sandbox,
    pods::{PodIndex, PodInfo},
    topology::Sensed,
};

/// Prefix of notices.
const NOTICE: &str = "devices: pod ";

/// Settings.
#[derive(Debug, Clone)]
pub struct GuardConfig {
    /// Where `/proc`, `/sys` and `/dev` of the node start.
    pub root: PathBuf,
    /// How GPUs come into containers.
    pub injection: Injection,
    /// What GPUs are called in CDI, such as `nvidia.com/gpu`.
    pub cdi_kind: String,
}

/// Watches over the devices of one node.
pub struct Guard {
    config: GuardConfig,
    state: Mutex<State>,
    sensed: watch::Receiver<Arc<Sensed>>,
    pods: watch::Receiver<Arc<PodIndex>>,
    notices: Notices,
    events: Option<Events>,
    metrics: DeviceMetrics,
}

#[derive(Default)]
struct State {
    claims: CardClaims,
    /// Pods with a notice: its subject by UID.
    told: BTreeMap<String, String>,
}

impl Guard {
    /// `sensed`: the machine, where somebody looks at it; `pods`: the API server's.
    pub fn new(
        config: GuardConfig,
        sensed: watch::Receiver<Arc<Sensed>>,
        pods: watch::Receiver<Arc<PodIndex>>,
        notices: Notices,
        events: Option<Events>,
        metrics: DeviceMetrics,
    ) -> Self {
        Self {
            config,
            state: Mutex::default(),
            sensed,
            pods,
            notices,
            events,
            metrics,
        }
    }

    /// What a new container gets; `None` for a pod without a record.
    ///
    /// # Errors
    ///
    /// A sentence for the pod's owner.
    pub(crate) fn create(
        &self,
        pod: &Sandbox,
        container: &str,
    ) -> Result<Option<Injected>, String> {
        match self.claim(pod, container) {
            Ok(injected) => {
                self.clear(&pod.uid);
                Ok(injected)
            }
            Err(refusal) => {
                let sentence = format!("container {container}: {}", chain(&refusal));
                self.tell(pod, &sentence, refusal.reason());
                Err(format!("katalyst: devices of {sentence}"))
            }
        }
    }

    /// A container runs already.
    pub(crate) fn found(&self, pod: &Sandbox, container: &str) {
        // What cannot be read gave the container nothing.
        let Ok(Some(record)) = DeviceAllocation::parse(&pod.annotations) else {
            return;
        };
        let has_cards = |name: &str| {
            (record.containers.get(name)).is_some_and(|devices| !devices.gpus.is_empty())
        };
        if !has_cards(container) {
            return;
        }
        let sensed = Arc::clone(&self.sensed.borrow());
        let gpus = &sensed.devices.gpus;
        let claim = holder(name(pod), &record, &self.init_containers(pod), gpus);
        let conflict = {
            let claims = &mut self.state.lock().claims;
            let conflict = claims.adopt(&pod.uid, claim, |card| memory(gpus, card));
            self.metrics.holders(claims.holders().len());
            conflict
        };
        if let Some(conflict) = conflict {
            let sentence = format!("runs already, and {conflict}");
            self.tell(pod, &sentence, "runs_already");
        }
    }

    /// No process of the pod is left.
    pub(crate) fn release(&self, uid: &str) {
        let claims = &mut self.state.lock().claims;
        claims.release(uid);
        self.metrics.holders(claims.holders().len());
    }

    /// The pod is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.release(uid);
        self.clear(uid);
    }

    fn claim(&self, pod: &Sandbox, container: &str) -> Result<Option<Injected>, Refusal> {
        let Some(record) = DeviceAllocation::parse(&pod.annotations)? else {
            return Ok(None);
        };
        let devices = record
            .containers
            .get(container)
            .cloned()
            .unwrap_or_default();
        let sensed = Arc::clone(&self.sensed.borrow());
        let gpus = &sensed.devices.gpus;
        check(gpus, &devices)?;
        let GuardConfig {
            root,
            injection,
            cdi_kind,
        } = &self.config;
        let mut injected = inject(root, &devices, *injection, cdi_kind);
        if !injected.missing.is_empty() {
            let paths = std::mem::take(&mut injected.missing);
            return Err(Refusal::Missing { paths });
        }
        if devices.gpus.is_empty() {
            return Ok(Some(injected));
        }
        let claim = holder(name(pod), &record, &self.init_containers(pod), gpus);
        let claims = &mut self.state.lock().claims;
        let index = Arc::clone(&self.pods.borrow());
        let finished: Vec<String> = (claims.holders().keys())
            .filter(|uid| (index.get(&PodUid::new(uid.as_str()))).is_some_and(|info| info.finished))
            .cloned()
            .collect();
        for uid in finished {
            claims.release(&uid);
        }
        claims.claim(&pod.uid, claim, |card| memory(gpus, card))?;
        self.metrics.holders(claims.holders().len());
        Ok(Some(injected))
    }

    fn init_containers(&self, pod: &Sandbox) -> BTreeSet<String> {
        let index = Arc::clone(&self.pods.borrow());
        index
            .get(&PodUid::new(pod.uid.as_str()))
            .map(|info| info.asks.init_containers.clone())
            .unwrap_or_default()
    }

    /// Notice, event and metric. kubelet tries again and again, so the event comes once for each sentence.
    fn tell(&self, pod: &Sandbox, sentence: &str, reason: &'static str) {
        self.metrics.refused(reason);
        let subject = format!("{NOTICE}{}", name(pod));
        let new = self.notices.set(&subject, sentence);
        self.state.lock().told.insert(pod.uid.clone(), subject);
        if let Some(events) = self.events.as_ref().filter(|_| new) {
            let uid = PodUid::new(pod.uid.as_str());
            let index = Arc::clone(&self.pods.borrow());
            let info = index.get(&uid).cloned().unwrap_or_else(|| {
                PodInfo::from_annotations(uid, &pod.namespace, &pod.name, &pod.annotations)
            });
            events.devices_refused(&info, sentence);
        }
    }

    fn clear(&self, uid: &str) {
        let subject = self.state.lock().told.remove(uid);
        if let Some(subject) = subject {
            self.notices.clear(&subject);
        }
    }
}

fn name(pod: &Sandbox) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

#[cfg(test)]
mod tests {
    use katalyst_crds::constants::annotation;

    use super::{super::node::tests::machine, *};

    struct Fixture {
        guard: Guard,
        pods: watch::Sender<Arc<PodIndex>>,
        notices: Notices,
        _root: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let root = machine();
        let notices = Notices::new();
        let (pods, index) = watch::channel(Arc::default());
        let config = GuardConfig {
            root: root.path().to_owned(),
            injection: Injection::Nodes,
            cdi_kind: "nvidia.com/gpu".to_owned(),
        };
        let guard = Guard::new(
            config,
            watch::channel(Arc::default()).1,
            index,
            notices.clone(),
            None,
            DeviceMetrics::default(),
        );
        Fixture {
            guard,
            pods,
            notices,
            _root: root,
        }
    }

    fn pod(name: &str, gpu: &str) -> Sandbox {
        let record = format!(r#"{{"containers": {{"main": {{"gpus": [{gpu}]}}}}}}"#);
        Sandbox {
            uid: name.to_owned(),
            namespace: "n".to_owned(),
            name: name.to_owned(),
            annotations: [(annotation::DEVICE_ALLOCATION.to_owned(), record)].into(),
            ..Sandbox::default()
        }
    }

    const HALF: &str =
        r#"{"uuid": "GPU-1", "percent": 60, "memoryMiB": 10, "devices": ["/dev/nvidia0"]}"#;

    #[test]
    fn a_second_claim_waits_until_the_first_pod_is_stopped() {
        let fixture = fixture();
        let (guard, notices) = (&fixture.guard, &fixture.notices);
        let (first, second) = (pod("a", HALF), pod("b", HALF));
        let given = guard.create(&first, "main").unwrap().unwrap();
        assert_eq!(given.nodes[0].path.to_str(), Some("/dev/nvidia0"));
        guard.create(&first, "main").unwrap();
        let refused = guard.create(&second, "main").unwrap_err();
        assert_eq!(
            refused,
            "katalyst: devices of container main: card GPU-1: 60 % and 10 MiB claimed, and 60 % and 10 MiB held by n/a"
        );
        assert_eq!(guard.metrics.refusals("held"), 1);
        assert!(notices.texts()[0].starts_with("devices: pod n/b: container main: card GPU-1"));
        guard.release("a");
        guard.create(&second, "main").unwrap();
        assert!(notices.texts().is_empty());
    }

    #[test]
    fn a_container_beside_the_one_with_the_card_gets_none_and_holds_none() {
        let fixture = fixture();
        let guard = &fixture.guard;
        let first = pod("a", HALF);
        let beside = guard.create(&first, "sidecar").unwrap().unwrap();
        assert!(beside.nodes.is_empty());
        guard.found(&first, "sidecar");
        guard.create(&pod("b", HALF), "main").unwrap();
    }

    #[test]
    fn what_a_finished_pod_held_is_free_though_its_end_was_not_told() {
        let fixture = fixture();
        let (guard, pods) = (&fixture.guard, &fixture.pods);
        guard.create(&pod("a", HALF), "main").unwrap();
        guard.create(&pod("b", HALF), "main").unwrap_err();
        let object = serde_json::json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "a"},
            "spec": {"containers": []}, "status": {"phase": "Succeeded"},
        });
        let info = PodInfo::from_pod(&serde_json::from_value(object).unwrap()).unwrap();
        pods.send_replace(Arc::new(PodIndex::from_iter([info])));
        guard.create(&pod("b", HALF), "main").unwrap();
    }

    #[test]
    fn after_a_start_those_who_run_hold_what_they_hold() {
        let fixture = fixture();
        let (guard, notices) = (&fixture.guard, &fixture.notices);
        guard.found(&pod("a", HALF), "main");
        guard.create(&pod("b", HALF), "main").unwrap_err();
        guard.found(&pod("c", HALF), "main");
        assert!(
            notices.texts()[1].contains("runs already"),
            "{:?}",
            notices.texts()
        );
        guard.forget("c");
        guard.forget("b");
        assert!(notices.texts().is_empty());
    }

    #[test]
    fn what_cannot_be_read_or_is_not_there_is_refused() {
        let fixture = fixture();
        let guard = &fixture.guard;
        let malformed = guard.create(&pod("a", "{}"), "main").unwrap_err();
        assert!(malformed.contains("gpus.uuid"), "{malformed}");
        let nowhere = r#"{"uuid": "GPU-1", "devices": ["/dev/card9"]}"#;
        let missing = guard.create(&pod("a", nowhere), "main").unwrap_err();
        assert!(missing.contains("no device /dev/card9"), "{missing}");
        let none = Sandbox::default();
        assert_eq!(guard.create(&none, "main"), Ok(None));
    }
}
