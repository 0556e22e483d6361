//! The moves, each with what it costs and brings, and the pods that stay with why.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    qos::{Level, NumaSet},
    units::Bytes,
};

use super::{MemoryPod, NodeMemory, RebindInput, RebindParams};

const GIB: f64 = (1_u64 << 30) as f64;

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RebindPlan {
    /// Changes, in the order in which they are to be made.
    pub changes: Vec<Rebind>,
    /// Hot nodes and what each lacks to be cool.
    pub hot: BTreeMap<u32, Bytes>,
    /// Pods on hot nodes that stay.
    pub skipped: Vec<Skip>,
}

/// What a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebindKind {
    /// Away from a hot node.
    Leave,
    /// All nodes again.
    Release,
}

/// One pod's new memory nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rebind {
    /// Whose.
    pub uid: String,
    /// What it is.
    pub kind: RebindKind,
    /// The node it leaves.
    pub from: Option<u32>,
    /// Memory nodes from now on; `None`: all.
    pub mems: Option<NumaSet>,
    /// Most bytes that this moves.
    pub bytes: Bytes,
    /// What it costs, in seconds of memory traffic.
    pub cost_seconds: f64,
    /// What it saves, in seconds of stall.
    pub relief_seconds: f64,
}

/// A pod that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Whose.
    pub uid: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why a pod stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// It was changed a short while ago.
    CoolDown,
    /// It has too little on the hot node.
    Small,
    /// It has more than may be moved in this interval.
    Bound,
    /// No other node has room for it.
    NoTarget,
    /// Moving costs more than it saves.
    NotWorth,
}

impl SkipReason {
    /// The name shown in metrics and debug output; the same in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CoolDown => "cool-down",
            Self::Small => "small",
            Self::Bound => "bound",
            Self::NoTarget => "no-target",
            Self::NotWorth => "not-worth",
        }
    }
}

/// Plans the changes. The same input gives the same plan, whatever the order of pods and nodes.
pub fn plan_rebind(input: &RebindInput<'_>, params: &RebindParams) -> RebindPlan {
    let nodes: BTreeMap<u32, NodeMemory> = input
        .nodes
        .iter()
        .filter(|node| node.total > Bytes::ZERO)
        .map(|node| (node.id, *node))
        .collect();
    let mut plan = RebindPlan::default();
    for node in nodes.values().filter(|node| node.is_hot(params)) {
        let lacks = node.floor(params).scale(2.0) - node.available();
        plan.hot.insert(node.id, lacks);
    }
    let mut room: BTreeMap<u32, Bytes> = nodes
        .values()
        .filter(|node| !node.exclusive && node.is_cool(params) && !plan.hot.contains_key(&node.id))
        .map(|node| {
            let reserve = node
                .total
                .scale(params.reserve_fraction)
                .max(node.floor(params).scale(2.0));
            (node.id, node.available() - reserve)
        })
        .collect();
    let mut budget = params.most_in_interval - input.moved;
    let mut changed: BTreeSet<&str> = BTreeSet::new();
    let mut worst: Vec<(u32, Bytes)> = plan.hot.iter().map(|(id, lacks)| (*id, *lacks)).collect();
    worst.sort_by_key(|(id, lacks)| (Reverse(*lacks), *id));
    for (from, lacks) in worst {
        let mut lacks = lacks;
        let mut pods: Vec<&MemoryPod> = input
            .pods
            .iter()
            .filter(|pod| may_move(pod, from, params) && !changed.contains(pod.uid.as_str()))
            .collect();
        pods.sort_by_key(|pod| order(pod, from, lacks));
        for pod in pods {
            if lacks == Bytes::ZERO {
                break;
            }
            match leave(input, params, pod, from, lacks, budget, &room) {
                Ok(change) => {
                    budget = budget - change.bytes;
                    lacks = lacks - on(pod, from);
                    for target in change.mems.iter().flat_map(NumaSet::iter) {
                        if let Some(room) = room.get_mut(&target) {
                            *room = *room - change.bytes;
                        }
                    }
                    changed.insert(&pod.uid);
                    plan.changes.push(change);
                }
                Err(reason) => plan.skipped.push(Skip {
                    uid: pod.uid.clone(),
                    reason,
                }),
            }
        }
    }
    release(input, params, &nodes, &mut plan);
    plan
}

/// Whether the binder may touch a pod at all for this node's sake.
fn may_move(pod: &MemoryPod, from: u32, params: &RebindParams) -> bool {
    let level = match pod.level {
        Level::Reclaimed => true,
        Level::Shared => params.move_shared,
        Level::Dedicated | Level::System => false,
    };
    let there = pod.mems.as_ref().is_none_or(|mems| mems.contains(from));
    level && there && !pod.bound && on(pod, from) > Bytes::ZERO
}

/// Batch first; then the smallest that suffices alone, else the largest.
fn order(pod: &MemoryPod, from: u32, lacks: Bytes) -> (Level, bool, u64, &str) {
    let bytes = on(pod, from);
    let suffices = bytes >= lacks;
    let size = if suffices {
        bytes.get()
    } else {
        u64::MAX - bytes.get()
    };
    (pod.level, !suffices, size, &pod.uid)
}

fn on(pod: &MemoryPod, node: u32) -> Bytes {
    pod.resident.get(&node).copied().unwrap_or_default()
}

fn cooling(pod: &MemoryPod, now: f64, params: &RebindParams) -> bool {
    // A clock that went back keeps the pod where it is.
    pod.changed_seconds
        .is_some_and(|changed| now - changed < params.cool_down_seconds)
}

fn leave(
    input: &RebindInput<'_>,
    params: &RebindParams,
    pod: &MemoryPod,
    from: u32,
    lacks: Bytes,
    budget: Bytes,
    room: &BTreeMap<u32, Bytes>,
) -> Result<Rebind, SkipReason> {
    if cooling(pod, input.now_seconds, params) {
        return Err(SkipReason::CoolDown);
    }
    if on(pod, from) < params.smallest {
        return Err(SkipReason::Small);
    }
    // What lies on nodes that the new set leaves out moves too.
    let candidates = |bytes: Bytes| {
        let allowed = room
            .iter()
            .filter(|(id, _)| pod.mems.as_ref().is_none_or(|mems| mems.contains(**id)));
        let roomy = allowed.filter(move |(_, room)| **room >= bytes);
        NumaSet::from_ids(roomy.map(|(id, _)| *id))
    };
    let mut mems = candidates(on(pod, from)).ok_or(SkipReason::NoTarget)?;
    let mut bytes = moved(pod, &mems);
    while let Some(fewer) = candidates(bytes) {
        if fewer == mems {
            break;
        }
        bytes = moved(pod, &fewer);
        mems = fewer;
    }
    if candidates(bytes).is_none_or(|mine| mine != mems) {
        return Err(SkipReason::NoTarget);
    }
    if bytes > budget {
        return Err(SkipReason::Bound);
    }
    let distance = mems
        .iter()
        .map(|to| input.topology.distance(from, to))
        .max()
        .unwrap_or(10);
    let gib = |bytes: Bytes| bytes.get() as f64 / GIB;
    let cost_seconds = gib(bytes) * params.migrate_seconds * f64::from(distance) / 10.0;
    let relief_seconds = gib(on(pod, from).min(lacks)) * params.reclaim_seconds;
    if relief_seconds <= cost_seconds {
        return Err(SkipReason::NotWorth);
    }
    Ok(Rebind {
        uid: pod.uid.clone(),
        kind: RebindKind::Leave,
        from: Some(from),
        mems: Some(mems),
        bytes,
        cost_seconds,
        relief_seconds,
    })
}

/// Bytes outside a set of nodes.
fn moved(pod: &MemoryPod, mems: &NumaSet) -> Bytes {
    let outside = pod.resident.iter().filter(|(id, _)| !mems.contains(**id));
    outside.map(|(_, bytes)| *bytes).sum()
}

/// Gives pods all nodes back once nothing is hot any more and their cool-down is over.
fn release(
    input: &RebindInput<'_>,
    params: &RebindParams,
    nodes: &BTreeMap<u32, NodeMemory>,
    plan: &mut RebindPlan,
) {
    // While a pod has a node to itself, batch has a set for another reason.
    if nodes
        .values()
        .any(|node| node.exclusive || !node.is_cool(params))
    {
        return;
    }
    let mut narrowed: Vec<&MemoryPod> = input
        .pods
        .iter()
        .filter(|pod| {
            let ours = !pod.bound && pod.changed_seconds.is_some() && pod.mems.is_some();
            ours && !cooling(pod, input.now_seconds, params)
        })
        .collect();
    narrowed.sort_by(|a, b| a.uid.cmp(&b.uid));
    plan.changes.extend(narrowed.into_iter().map(|pod| Rebind {
        uid: pod.uid.clone(),
        kind: RebindKind::Release,
        from: None,
        mems: None,
        bytes: Bytes::ZERO,
        cost_seconds: 0.0,
        relief_seconds: 0.0,
    }));
}
