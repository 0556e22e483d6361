//! Answers to the container runtime: room before a pod's sandbox goes on, CPUs, memory nodes, environment and devices of its containers.
//!
//! `sandbox` hands the pod to the reflex thread and waits a bounded time: when it returns, the plan has room for the pod, its group
//! holds its CPUs, and a reclaimed pod is held. A late answer is no failure: the thread does the work after it, and the next container finds
//! it done. Everything else is answered from the published view and the pod's own annotations.
//!
//! A container inherits its pod's set, so it needs one of its own only where kubelet names one for it, or where the pod's group could
//! not be written. A set that is not needed would do harm: the runtime keeps it and writes it again at each later update, when the
//! plan may have moved on.

use std::{sync::Arc, time::Duration};

use katalyst_core::cpu_set::CpuSet;
use tokio::sync::watch;

use super::view::{Nodes, PlacedPod, PoolsView};
use crate::{
    cgroup::PodUid,
    devices::Guard,
    nri::{Adjustment, NewContainer, Placer, Refused, Resources, RunningContainer, Sandbox},
    pods::PodInfo,
    reflex::{Mailbox, Reflex},
};

/// Answers for the pools.
pub struct PoolPlacer {
    mailbox: Mailbox<Reflex>,
    view: watch::Receiver<Arc<PoolsView>>,
    patience: Duration,
    devices: Guard,
}

impl PoolPlacer {
    /// `patience`: how long a sandbox may wait for its room; below the plugin's own budget, so that the answer still counts.
    pub fn new(
        mailbox: Mailbox<Reflex>,
        view: watch::Receiver<Arc<PoolsView>>,
        patience: Duration,
        devices: Guard,
    ) -> Self {
        Self {
            mailbox,
            view,
            patience,
            devices,
        }
    }
}

impl Placer for PoolPlacer {
    fn sandbox(&self, pod: &Sandbox) {
        let info = PodInfo::from_annotations(
            PodUid::new(pod.uid.as_str()),
            &pod.namespace,
            &pod.name,
            &pod.annotations,
        );
        let done = self.mailbox.ask(self.patience, move |reflex, turn| {
            reflex.admit(turn, info);
        });
        if let Err(error) = done {
            tracing::warn!(
                pod = format!("{}/{}", pod.namespace, pod.name),
                %error,
                "no room was made before the pod starts; it follows"
            );
        }
    }

    fn container(&self, pod: &Sandbox, container: &NewContainer) -> Result<Adjustment, Refused> {
        let view = Arc::clone(&self.view.borrow());
        let placed = view.pods.get(&PodUid::new(pod.uid.as_str()));
        let mut adjustment = placed
            .map(|placed| place(placed, &container.resources))
            .unwrap_or_default();
        let injected = self.devices.create(pod, &container.name).map_err(Refused)?;
        if let Some(injected) = injected {
            adjustment.env = injected.env;
            adjustment.devices = injected.nodes;
            adjustment.cdi = injected.cdi;
        }
        Ok(adjustment)
    }

    fn running(&self, pod: &Sandbox, container: &RunningContainer) -> Option<Adjustment> {
        self.devices.found(pod, &container.name);
        let view = Arc::clone(&self.view.borrow());
        let placed = view.pods.get(&PodUid::new(pod.uid.as_str()))?;
        let named = Resources {
            cpus: container.resources.cpus.clone(),
            mems: container.resources.mems.clone(),
            ..Resources::default()
        };
        let adjustment = place(placed, &named);
        (!adjustment.is_empty()).then_some(adjustment)
    }

    fn stopped(&self, uid: &str) {
        self.devices.release(uid);
        self.dismiss(uid);
    }

    fn removed(&self, uid: &str) {
        self.devices.forget(uid);
        self.dismiss(uid);
    }
}

impl PoolPlacer {
    /// The reflex thread gives up what it keeps of a pod that only the runtime told of.
    fn dismiss(&self, uid: &str) {
        let uid = PodUid::new(uid);
        let done = self.mailbox.tell(move |reflex, _| reflex.dismiss(&uid));
        if let Err(error) = done {
            tracing::debug!(%error, "the end of a pod was not told");
        }
    }
}

/// CPUs and memory nodes of a container, where what it would get is not right by itself.
fn place(placed: &PlacedPod, named: &Resources) -> Adjustment {
    let mut adjustment = Adjustment::default();
    if placed.left_alone {
        return adjustment;
    }
    let differs = |named: Option<CpuSet>, wanted: &CpuSet| match named {
        Some(named) => named != *wanted,
        None => !placed.in_force,
    };
    if placed.restricted && differs(named.cpus.clone(), &placed.cpus) {
        adjustment.cpus = Some(placed.cpus.clone());
    }
    if let Some(Nodes(mems)) = &placed.mems {
        let nodes = |nodes: &katalyst_core::qos::NumaSet| nodes.iter().collect::<CpuSet>();
        if differs(named.mems.as_ref().map(nodes), &nodes(mems)) {
            adjustment.mems = Some(mems.clone());
        }
    }
    adjustment
}

#[cfg(test)]
mod tests {
    use katalyst_core::qos::NumaSet;

    use super::*;

    fn placed(restricted: bool, in_force: bool) -> PlacedPod {
        PlacedPod {
            name: "n/a".to_owned(),
            pool: "dedicated".to_owned(),
            cpus: CpuSet::parse("2-3").unwrap(),
            mems: NumaSet::parse("1").map(Nodes),
            reason: None,
            restricted,
            in_force,
            left_alone: false,
        }
    }

    fn named(cpus: Option<&str>, mems: Option<&str>) -> Resources {
        Resources {
            cpus: cpus.map(|cpus| CpuSet::parse(cpus).unwrap()),
            mems: mems.and_then(NumaSet::parse),
            ..Resources::default()
        }
    }

    #[test]
    fn a_container_that_inherits_needs_nothing() {
        assert!(place(&placed(true, true), &named(None, None)).is_empty());
        assert!(place(&placed(true, true), &named(Some("2-3"), Some("1"))).is_empty());
    }

    #[test]
    fn a_set_that_kubelet_names_is_replaced() {
        let adjustment = place(&placed(true, true), &named(Some("0-7"), Some("0")));
        assert_eq!(adjustment.cpus.unwrap().to_string(), "2-3");
        assert_eq!(adjustment.mems.unwrap().to_string(), "1");
    }

    #[test]
    fn where_the_pods_group_could_not_be_written_the_container_is_told() {
        let adjustment = place(&placed(true, false), &named(None, None));
        assert_eq!(adjustment.cpus.unwrap().to_string(), "2-3");
        let free = PlacedPod {
            mems: None,
            ..placed(false, false)
        };
        assert!(place(&free, &named(Some("0-7"), None)).is_empty());
    }

    #[test]
    fn what_kubelet_gave_away_is_left_alone() {
        let kubelets = PlacedPod {
            left_alone: true,
            ..placed(true, false)
        };
        assert!(place(&kubelets, &named(Some("0-7"), None)).is_empty());
    }
}
