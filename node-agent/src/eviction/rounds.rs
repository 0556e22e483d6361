//! Who is to leave now.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use katalyst_core::{
    eviction::{Candidate, Deficit, plan},
    reclaimed::Reclaimed,
    units::Bytes,
};

use crate::{
    cgroup::PodUid,
    pods::{PodIndex, PodInfo},
    reflex::Snapshot,
};

/// An eviction that was accepted and of which the watch shows nothing is forgotten after this long, and the pod may be chosen again.
const FORGET: Duration = Duration::from_secs(120);

/// Settings.
#[derive(Debug, Clone, Copy)]
pub struct RoundsConfig {
    /// How long the offer must stay below the allocation.
    pub tolerance: Duration,
    /// Pods that may leave in one round.
    pub budget: usize,
    /// Time between rounds: what left must show in the measurements first.
    pub pause: Duration,
}

/// One pod to evict.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// The pod.
    pub pod: PodInfo,
    /// Rule, measurements and rank.
    pub reason: String,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Round {
    /// In the order of eviction.
    pub victims: Vec<Selected>,
}

/// State between decisions. Times are seconds on a monotonic clock.
#[derive(Debug)]
pub struct Rounds {
    config: RoundsConfig,
    deficit: Deficit,
    not_before: f64,
    asked: BTreeMap<PodUid, f64>,
}

impl Rounds {
    /// No deficit yet.
    pub fn new(config: RoundsConfig) -> Self {
        Self {
            deficit: Deficit::new(config.tolerance.as_secs_f64()),
            config,
            not_before: 0.0,
            asked: BTreeMap::new(),
        }
    }

    /// Decides. `offer` is `None` where it is not beyond doubt. The offer is compared together with the ceiling this node measured itself:
    /// the larger counts, because the controller's number follows the peak of minutes, and may have outlived its controller.
    pub fn decide(
        &mut self,
        now: f64,
        wall: Timestamp,
        offer: Option<Reclaimed>,
        index: &PodIndex,
        snapshot: &Snapshot,
    ) -> Round {
        let Some(offer) = offer.filter(|_| index.synced) else {
            self.deficit.reset();
            return Round::default();
        };
        let room = Reclaimed {
            cpu: snapshot.ceiling.value.cpu,
            memory: whole_mebibytes(snapshot.ceiling.value.memory),
        };
        let carried = Reclaimed {
            cpu: offer.cpu.max(room.cpu),
            memory: offer.memory.max(room.memory),
        };
        let need = self.deficit.observe(now, index.allocated(), carried);
        self.asked
            .retain(|uid, at| now - *at < FORGET.as_secs_f64() && index.get(uid).is_some());
        let Some(need) = need.filter(|_| now >= self.not_before) else {
            return Round::default();
        };
        let pods: Vec<&PodInfo> = index
            .iter()
            .filter(|pod| pod.is_reclaimed() && !pod.finished)
            .collect();
        let candidates: Vec<Candidate> = pods
            .iter()
            .map(|pod| self.candidate(pod, wall, snapshot))
            .collect();
        let plan = plan(&need, &candidates, self.config.budget);
        let victims: Vec<Selected> = plan
            .victims
            .into_iter()
            .filter_map(|victim| {
                Some(Selected {
                    pod: PodInfo::clone(pods.get(victim.index)?),
                    reason: format!(
                        "{}; the controller offers {offer}, this node has room for {room}",
                        victim.reason
                    ),
                })
            })
            .collect();
        if !victims.is_empty() {
            self.not_before = now + self.config.pause.as_secs_f64();
        }
        Round { victims }
    }

    /// The pod was asked to leave.
    pub fn asked(&mut self, now: f64, uid: &PodUid) {
        self.asked.insert(uid.clone(), now);
    }

    /// A budget or the API server said no: nothing more before `pause` has passed.
    pub fn back_off(&mut self, now: f64, pause: Duration) {
        self.not_before = self.not_before.max(now + pause.as_secs_f64());
    }

    fn candidate(&self, pod: &PodInfo, wall: Timestamp, snapshot: &Snapshot) -> Candidate {
        let usage = snapshot
            .pods
            .iter()
            .find(|view| view.uid == pod.uid)
            .map(|view| view.usage);
        Candidate {
            request: pod.requests,
            usage: usage.unwrap_or_default(),
            priority: pod.priority,
            age_seconds: pod.started.map_or(0.0, |started| {
                wall.duration_since(started).as_secs_f64().max(0.0)
            }),
            terminating: pod.terminating || self.asked.contains_key(&pod.uid),
            protected: pod.protected,
        }
    }
}

/// Amounts that people read.
fn whole_mebibytes(bytes: Bytes) -> Bytes {
    Bytes::new(bytes.get() >> 20 << 20)
}
