//! The one table in which resource names are translated, ours and others'.
//!
//! | dialect | compute | memory | amounts are |
//! |---|---|---|---|
//! | [`Dialect::Katalyst`] | `milligpu` | `gpu_memory` | totals over the container's cards |
//! | [`Dialect::Volcengine`] | `mgpu-core` | `mgpu-memory` | totals over the container's cards |
//! | [`Dialect::Hami`] | `gpucores` | `gpumem`, `gpumem-percentage` | for each of `nvidia.com/gpu` cards |
//!
//! Totals can be held to a quota exactly; amounts for each card cannot, but that is how HAMi's users write them.

use super::keys;

/// Whose words they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// Katalyst's, and ours.
    Katalyst,
    /// HAMi's: `nvidia.com/gpu` with `gpumem`, `gpumem-percentage`, `gpucores`.
    Hami,
    /// Volcengine mGPU's.
    Volcengine,
}

/// What an amount counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// Cards.
    Cards,
    /// Compute over all cards, thousandths of a card.
    MilliTotal,
    /// Compute over all cards, percent of a card.
    PercentTotal,
    /// Compute of each card, percent.
    PercentEach,
    /// Memory over all cards, bytes.
    BytesTotal,
    /// Memory over all cards, MiB.
    MibTotal,
    /// Memory of each card, MiB.
    MibEach,
    /// Memory of each card, percent.
    MemoryPercentEach,
    /// RDMA network cards.
    Nics,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource {
    /// Name of the resource.
    pub name: &'static str,
    /// Whose word it is.
    pub dialect: Dialect,
    pub(super) means: Means,
}

const fn row(name: &'static str, dialect: Dialect, means: Means) -> Resource {
    Resource {
        name,
        dialect,
        means,
    }
}

/// Every resource that stands for devices. kube-scheduler must be told to leave all of them to the extender.
pub const RESOURCES: [Resource; 9] = [
    row(keys::MILLIGPU, Dialect::Katalyst, Means::MilliTotal),
    row(keys::GPU_MEMORY, Dialect::Katalyst, Means::BytesTotal),
    row(keys::RDMA_NIC, Dialect::Katalyst, Means::Nics),
    row("nvidia.com/gpu", Dialect::Hami, Means::Cards),
    row("nvidia.com/gpucores", Dialect::Hami, Means::PercentEach),
    row("nvidia.com/gpumem", Dialect::Hami, Means::MibEach),
    row(
        "nvidia.com/gpumem-percentage",
        Dialect::Hami,
        Means::MemoryPercentEach,
    ),
    row(
        "vke.volcengine.com/mgpu-core",
        Dialect::Volcengine,
        Means::PercentTotal,
    ),
    row(
        "vke.volcengine.com/mgpu-memory",
        Dialect::Volcengine,
        Means::MibTotal,
    ),
];

/// What an annotation wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Parts of model names that will do.
    Models,
    /// Parts of model names that will not do.
    ModelsExcluded,
    /// UUIDs that will do.
    Uuids,
    /// UUIDs that will not do.
    UuidsExcluded,
    /// Cards of each container, in their order.
    CardsInOrder,
    /// All cards of a container in one NUMA node.
    OneNuma,
}

/// Annotations of others with a wish that we have too.
pub(super) const ANNOTATIONS: [(&str, Wish); 6] = [
    ("nvidia.com/use-gputype", Wish::Models),
    ("nvidia.com/nouse-gputype", Wish::ModelsExcluded),
    ("nvidia.com/use-gpuuuid", Wish::Uuids),
    ("nvidia.com/nouse-gpuuuid", Wish::UuidsExcluded),
    ("nvidia.com/numa-bind", Wish::OneNuma),
    (
        "vke.volcengine.com/container-multiple-gpu",
        Wish::CardsInOrder,
    ),
];

pub(super) fn find(name: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|row| row.name == name)
}
