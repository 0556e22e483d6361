//! What comes out: pools, what each pod shall hold, who did not get what it asked for, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{cpu_set::CpuSet, units::Millicpu};

use super::PodCpus;

/// The plan. Whoever carries it out writes where what is in effect differs from it, and nowhere else.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PoolPlan {
    /// Every pool by name. Empty on a machine without CPUs.
    pub pools: BTreeMap<String, Pool>,
    /// What each pod shall hold, by UID.
    pub pods: BTreeMap<String, PodCpus>,
    /// Why each pod holds that, by UID.
    pub reasons: BTreeMap<String, PodReason>,
    /// Pods whose cpuset is kubelet's to write and nobody else's: they have exclusive CPUs of its static CPU manager.
    pub left_alone: BTreeSet<String>,
    /// Wishes that could not be met; such a pod runs as a plain shared one.
    pub refused: Vec<Refusal>,
}

/// What a pool is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolKind {
    /// Kept for the system.
    Reserve,
    /// Kubelet's exclusive CPUs.
    Kubelet,
    /// CPUs of dedicated pods, each with its own.
    Dedicated,
    /// Services without a pool of their own; everything that nobody else has.
    Shared,
    /// A named pool of services.
    Named,
    /// Services bound to one NUMA node.
    NumaShared,
    /// One service that was running wild.
    Isolation,
    /// Batch pods.
    Reclaimed,
    /// System components.
    System,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// What it is for.
    pub kind: PoolKind,
    /// Its CPUs. Pools overlap where the documentation of their kind says so.
    pub cpus: CpuSet,
    /// How many pods are in it.
    pub pods: u32,
    /// Sum of their requests.
    pub requested: Millicpu,
    /// Sum of their use, where measured.
    pub used: Millicpu,
    /// CPUs it would have if everything fitted and nothing had to wait.
    pub wanted: u32,
    /// Which rule set its size.
    pub reason: PoolReason,
    /// It is larger than it needs to be, and for how long.
    pub shrinking: Option<Shrinking>,
}

/// A pool that waits to become smaller.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shrinking {
    /// Since when it is too large, in the seconds of the input.
    pub since_seconds: f64,
    /// The most CPUs it wanted since; what it shrinks to.
    pub largest_wanted: u32,
}

/// Which rule set a pool's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolReason {
    /// Configured.
    Configured,
    /// What its pods were given one by one.
    Pods,
    /// The sum of its requests.
    Requests,
    /// Its use with a margin.
    Use,
    /// The least size of a pool.
    Minimum,
    /// Larger than wanted, until that has lasted long enough.
    Holding,
    /// Whatever nobody else has.
    Remainder,
    /// There is not enough for pools apart, so they run together.
    Together,
    /// Less than wanted: there is no more.
    Short,
    /// Nothing was left, so it overlaps with others.
    Overlap,
}

/// Why a pod holds what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodReason {
    /// No pool of its own, so the CPUs that nobody has to himself.
    Shared,
    /// In the pool it named.
    Named,
    /// New in a named pool, so on all shared CPUs until it has warmed up.
    RampUp,
    /// In the shared pool of its NUMA node.
    NumaShared,
    /// Kubelet gave it exclusive CPUs.
    Kubelet,
    /// CPUs of its own, kept from before.
    DedicatedKept,
    /// CPUs of its own, newly chosen.
    DedicatedNew,
    /// It ran wild and has CPUs of its own.
    Isolated,
    /// Batch, on what services share.
    Reclaimed,
    /// Batch, within its NUMA nodes.
    ReclaimedNuma,
    /// System component.
    System,
    /// Its wish was refused (see the refusals), so it runs as a plain shared pod.
    Refused,
}

/// A wish that could not be met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Whose.
    pub uid: String,
    /// Why.
    pub reason: RefusalReason,
    /// CPUs it needed.
    pub needed: u32,
    /// CPUs there were for it.
    pub available: u32,
}

/// Why a wish could not be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// Two pods have this UID, or it has none.
    Uid,
    /// It names a pool that is not for naming; it runs without.
    PoolName,
    /// It wants CPUs of its own but requests none.
    NoRequest,
    /// NUMA nodes that this machine does not have, or that have no CPU.
    UnknownNuma,
    /// Its NUMA nodes, or the machine, have too few free physical cores.
    NoRoom,
    /// No NUMA nodes are free of others.
    NotExclusive,
    /// What is left would be less than the shared pods request.
    SharedRequests,
    /// It cannot be spread evenly over its NUMA nodes.
    Uneven,
    /// Isolating it would take too much from the others, or leave none.
    IsolationLimit,
}

macro_rules! names {
    ($kind:ident { $($variant:ident => $name:literal),* $(,)? }) => {
        impl $kind {
            /// The name shown in metrics and debug output; the same in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names!(PoolKind {
    Reserve => "reserve", Kubelet => "kubelet", Dedicated => "dedicated", Shared => "shared", Named => "named",
    NumaShared => "numa-shared", Isolation => "isolation", Reclaimed => "reclaimed", System => "system",
});
names!(PoolReason {
    Configured => "configured", Pods => "pods", Requests => "requests", Use => "use", Minimum => "minimum", Holding => "holding",
    Remainder => "remainder", Together => "together", Short => "short", Overlap => "overlap",
});
names!(PodReason {
    Shared => "shared", Named => "named", RampUp => "ramp-up", NumaShared => "numa-shared", Kubelet => "kubelet",
    DedicatedKept => "dedicated-kept", DedicatedNew => "dedicated-new", Isolated => "isolated", Reclaimed => "reclaimed",
    ReclaimedNuma => "reclaimed-numa", System => "system", Refused => "refused",
});
names!(RefusalReason {
    Uid => "uid", PoolName => "pool-name", NoRequest => "no-request", UnknownNuma => "unknown-numa", NoRoom => "no-room", NotExclusive => "not-exclusive",
    SharedRequests => "shared-requests", Uneven => "uneven", IsolationLimit => "isolation-limit",
});

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            uid,
            reason,
            needed,
            available,
        } = self;
        write!(
            f,
            "pod {uid}: {reason} (needs {needed} CPUs, {available} available); it runs as a shared pod"
        )
    }
}
