//! Why a node cannot take a pod.

/// A reason. Few values, without numbers: they are metric labels, and kube-scheduler adds up equal texts in its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unfit {
    /// A taint of the node for the pod's quality-of-service level.
    Taint,
    /// The node has no CustomNodeResource, or one that offers nothing at all.
    NothingOffered,
    /// The node's agent is silent.
    Stale,
    /// Not enough reclaimed CPU.
    Cpu,
    /// Not enough reclaimed memory.
    Memory,
    /// No NUMA node with enough reclaimed CPU and memory.
    NumaReclaimed,
    /// The node reports no NUMA nodes.
    NoTopology,
    /// A NUMA node that the pod names is not there.
    NumaAbsent,
    /// The NUMA nodes that the pod may have are too small, even idle.
    NumaTooSmall,
    /// Not enough is free in NUMA nodes that would do.
    NumaBusy,
    /// Too few NUMA nodes are idle.
    NumaNotIdle,
    /// What is left to services that are not bound would be less than they request.
    NumaCrowded,
    /// Kubelet's restricted policy can never align this pod here: its resources need different numbers of NUMA nodes.
    Misaligned,
    /// The node has no GPU.
    NoCards,
    /// No GPU of a model or with a UUID that the pod accepts, or too few of them.
    CardModel,
    /// GPUs that the pod accepts have too little memory, even idle.
    CardTooSmall,
    /// Too few GPUs with enough free.
    CardsBusy,
    /// Too few RDMA network cards.
    NoNics,
    /// Too few free RDMA network cards.
    NicsBusy,
    /// The machine has no devices as near to each other as the pod requires.
    Affinity,
    /// Devices as near to each other as the pod requires are taken.
    AffinityBusy,
    /// There were too many ways to look at.
    SearchLimit,
}

impl Unfit {
    /// Every reason.
    pub const ALL: [Self; 22] = [
        Self::Taint,
        Self::NothingOffered,
        Self::Stale,
        Self::Cpu,
        Self::Memory,
        Self::NumaReclaimed,
        Self::NoTopology,
        Self::NumaAbsent,
        Self::NumaTooSmall,
        Self::NumaBusy,
        Self::NumaNotIdle,
        Self::NumaCrowded,
        Self::Misaligned,
        Self::NoCards,
        Self::CardModel,
        Self::CardTooSmall,
        Self::CardsBusy,
        Self::NoNics,
        Self::NicsBusy,
        Self::Affinity,
        Self::AffinityBusy,
        Self::SearchLimit,
    ];

    /// The reason shown to people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Taint => {
                "node has a taint for the pod's QoS level that the pod does not tolerate"
            }
            Self::NothingOffered => "node offers no reclaimed resources",
            Self::Stale => "node agent is silent",
            Self::Cpu => "insufficient reclaimed_millicpu",
            Self::Memory => "insufficient reclaimed_memory",
            Self::NumaReclaimed => "insufficient reclaimed resources in one NUMA node",
            Self::NoTopology => "node reports no NUMA nodes",
            Self::NumaAbsent => "node lacks a NUMA node that the pod names",
            Self::NumaTooSmall => "NUMA nodes are too small for the pod",
            Self::NumaBusy => "insufficient free CPU or memory in NUMA nodes",
            Self::NumaNotIdle => "too few idle NUMA nodes",
            Self::NumaCrowded => "too little CPU would be left to services that are not bound",
            Self::Misaligned => "kubelet's restricted topology policy cannot align the pod",
            Self::NoCards => "node has no GPU",
            Self::CardModel => "too few GPUs of the requested model or UUID",
            Self::CardTooSmall => "GPU memory is smaller than requested",
            Self::CardsBusy => "insufficient free GPUs",
            Self::NoNics => "too few RDMA network cards",
            Self::NicsBusy => "insufficient free RDMA network cards",
            Self::Affinity => "node has no devices as near to each other as required",
            Self::AffinityBusy => "devices as near to each other as required are taken",
            Self::SearchLimit => "too many ways to place the pod's devices",
        }
    }

    /// The reason as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Taint => "taint",
            Self::NothingOffered => "nothing_offered",
            Self::Stale => "stale",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::NumaReclaimed => "numa_reclaimed",
            Self::NoTopology => "no_topology",
            Self::NumaAbsent => "numa_absent",
            Self::NumaTooSmall => "numa_too_small",
            Self::NumaBusy => "numa_busy",
            Self::NumaNotIdle => "numa_not_idle",
            Self::NumaCrowded => "numa_crowded",
            Self::Misaligned => "misaligned",
            Self::NoCards => "no_cards",
            Self::CardModel => "card_model",
            Self::CardTooSmall => "card_too_small",
            Self::CardsBusy => "cards_busy",
            Self::NoNics => "no_nics",
            Self::NicsBusy => "nics_busy",
            Self::Affinity => "affinity",
            Self::AffinityBusy => "affinity_busy",
            Self::SearchLimit => "search_limit",
        }
    }

    /// True when the removal of other pods from the node could make room.
    pub const fn resolvable(self) -> bool {
        match self {
            Self::Cpu
            | Self::Memory
            | Self::NumaReclaimed
            | Self::NumaBusy
            | Self::NumaNotIdle
            | Self::NumaCrowded
            | Self::CardsBusy
            | Self::NicsBusy
            | Self::AffinityBusy
            | Self::SearchLimit => true,
            Self::Taint
            | Self::NothingOffered
            | Self::Stale
            | Self::NoTopology
            | Self::NumaAbsent
            | Self::NumaTooSmall
            | Self::Misaligned
            | Self::NoCards
            | Self::CardModel
            | Self::CardTooSmall
            | Self::NoNics
            | Self::Affinity => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn texts_tell_reasons_apart_and_carry_no_numbers() {
        let reasons: BTreeSet<_> = Unfit::ALL.iter().map(|unfit| unfit.reason()).collect();
        let labels: BTreeSet<_> = Unfit::ALL.iter().map(|unfit| unfit.label()).collect();
        assert_eq!(
            (reasons.len(), labels.len()),
            (Unfit::ALL.len(), Unfit::ALL.len())
        );
        assert!(reasons.iter().all(|text| !text.contains(char::is_numeric)));
    }
}
