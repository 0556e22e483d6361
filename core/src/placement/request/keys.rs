//! Names of the wishes about devices. `docs/devices.md` explains them to users.

/// Katalyst's. Thousandths of a GPU over all cards of the container: 500 is half a card, 2000 are two cards.
pub const MILLIGPU: &str = "resource.katalyst.kubewharf.io/milligpu";
/// Katalyst's. GPU memory in bytes over all cards of the container.
pub const GPU_MEMORY: &str = "resource.katalyst.kubewharf.io/gpu_memory";
/// Additive. RDMA network cards.
pub const RDMA_NIC: &str = "resource.katalyst.kubewharf.io/rdma_nic";

/// Additive. JSON map of wishes about devices, see [`device`].
pub const DEVICE_ENHANCEMENT: &str = "katalyst.kubewharf.io/device_enhancement";

/// Keys of the map [`DEVICE_ENHANCEMENT`].
pub mod device {
    /// Over how many cards a container's shares are spread: `2` for each container, or `main=2,side=1`.
    pub const GPU_CARDS: &str = "gpu_cards";
    /// Parts of model names, one of which must occur.
    pub const GPU_MODELS: &str = "gpu_models";
    /// Parts of model names that must not occur.
    pub const GPU_MODELS_EXCLUDED: &str = "gpu_models_excluded";
    /// UUIDs of cards, one of which it must be.
    pub const GPU_UUIDS: &str = "gpu_uuids";
    /// UUIDs of cards that it must not be.
    pub const GPU_UUIDS_EXCLUDED: &str = "gpu_uuids_excluded";
    /// How near GPUs and network cards are: `switch`, `switch_tree`, `root`, `numa` or `socket`, `required:` or `preferred:` before it.
    pub const GPU_RDMA_AFFINITY: &str = "gpu_rdma_affinity";
    /// How near GPUs are to each other.
    pub const GPU_AFFINITY: &str = "gpu_affinity";
    /// How near network cards are to each other.
    pub const RDMA_AFFINITY: &str = "rdma_affinity";
    /// `required` or `preferred`: direct links between all GPUs of a container.
    pub const NVLINK: &str = "nvlink";
    /// Rails of the network cards: `0-3,5`.
    pub const RDMA_RAILS: &str = "rdma_rails";
    /// `"true"`: the i-th network card is the one near the i-th GPU, rails ascending.
    pub const RAIL_ORDER: &str = "rail_order";
}
