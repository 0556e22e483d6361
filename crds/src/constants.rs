//! The names of the public API: keys, resource names, groups, condition types, field managers.
//!
//! Names of Katalyst's API are spelt as Katalyst spells them, so its manifests work unchanged.
//! Names under "additive" headings are this product's own.

/// API groups and versions.
pub mod group {
    /// Group of [`crate::node::CustomNodeResource`].
    pub const NODE: &str = "node.katalyst.kubewharf.io";
    /// Group of [`crate::workload::ServiceProfileDescriptor`].
    pub const WORKLOAD: &str = "workload.katalyst.kubewharf.io";
    /// Group of the configuration kinds and of the payloads of extended indicators.
    pub const CONFIG: &str = "config.katalyst.kubewharf.io";
    /// The version every kind here is served and stored at.
    pub const V1ALPHA1: &str = "v1alpha1";
}

/// Pod annotation keys.
///
/// The keys that carry quality-of-service wishes are parsed by `katalyst_core::qos` and are defined there.
pub mod annotation {
    pub use katalyst_core::qos::keys::*;

    /// Name of the `ServiceProfileDescriptor` a pod or workload belongs to.
    pub const SPD_NAME: &str = "spd.katalyst.kubewharf.io/name";
    /// On a workload: `"true"` asks for a `ServiceProfileDescriptor`.
    pub const SPD_ENABLE: &str = "spd.katalyst.kubewharf.io/enable";
    /// On an SPD: where the baseline pods end, written by the profile controller.
    pub const SPD_BASELINE_SENTINEL: &str = "spd.katalyst.kubewharf.io/baselineSentinel";
    /// On an SPD: where the baseline pods of each extended indicator end.
    pub const SPD_EXTENDED_BASELINE_SENTINEL: &str =
        "spd.katalyst.kubewharf.io/extendedBaselineSentinel";
    /// On an SPD: how pods are ordered when baselines are chosen.
    pub const SPD_CUSTOM_COMPARE_KEY: &str = "spd.katalyst.kubewharf.io/customCompareKey";
    /// On an SPD: hash of its configuration, so that agents fetch it only when it changed.
    pub const SPD_CONFIG_HASH: &str = "spd.katalyst.kubewharf.io/config.hash";
    /// On an SPD in an agent's cache: when it was last fetched.
    pub const SPD_LAST_FETCH_TIME: &str = "spd.katalyst.kubewharf.io/lastFetchTime";

    /// Pod: name of its main container; the first container where absent.
    pub const MAIN_CONTAINER_NAME: &str = "kubernetes.io/main-container-name";
    /// Pod: requests aggregated over its containers, supplied by the kubelet side.
    pub const POD_AGGREGATED_REQUESTS: &str = "pod.kubernetes.io/pod-aggregated-requests";
    /// Pod: resources to resize in place.
    pub const RESIZE_RESOURCES: &str = "pod.kubernetes.io/resizeResources";
    /// Pod: `Restart` where a resize may restart a container.
    pub const RESIZE_POLICY: &str = "pod.kubernetes.io/resizePolicy";
    /// Pod: set while an in-place update is under way.
    pub const INPLACE_UPDATE_RESIZING: &str = "pod.kubernetes.io/inplace-update-resizing";

    /// Additive. Pod, written by the extender in the Binding: what it booked for the pod, as JSON
    /// `{"cpu":"4000m","memory":"1Gi"}`. A record for people; the requests stay the truth.
    pub const RECLAIMED_ALLOCATION: &str = "katalyst.kubewharf.io/reclaimed_allocation";
    /// Additive. Pod, written by the extender in the Binding: the GPUs and network cards of each container, as the JSON of
    /// [`DeviceAllocation`](crate::devices::DeviceAllocation). The node puts them into the container.
    pub const DEVICE_ALLOCATION: &str = "katalyst.kubewharf.io/device_allocation";
    /// Additive. Pod, written by the extender in the Binding: what it counts of each NUMA node, as JSON
    /// `{"0":{"cpu":"4","memory":"8Gi"}}`. The nodes that the agent binds the pod to are those of `numa_bind_result`; where kubelet chooses, only this
    /// one is written.
    pub const NUMA_ALLOCATION: &str = "katalyst.kubewharf.io/numa_allocation";
    pub use katalyst_core::placement::request::keys::DEVICE_ENHANCEMENT;
}

/// Node and CNR annotations and labels of node over-commitment.
pub mod overcommit {
    /// Node label: the pool a `NodeOvercommitConfig` selects.
    pub const NODE_POOL_LABEL: &str = "katalyst.kubewharf.io/overcommit_node_pool";
    /// Configured ratio for CPU.
    pub const CPU_RATIO: &str = "katalyst.kubewharf.io/cpu_overcommit_ratio";
    /// Configured ratio for memory.
    pub const MEMORY_RATIO: &str = "katalyst.kubewharf.io/memory_overcommit_ratio";
    /// Ratio measured on the node for CPU.
    pub const REALTIME_CPU_RATIO: &str = "katalyst.kubewharf.io/realtime_cpu_overcommit_ratio";
    /// Ratio measured on the node for memory.
    pub const REALTIME_MEMORY_RATIO: &str =
        "katalyst.kubewharf.io/realtime_memory_overcommit_ratio";
    /// Capacity of CPU before over-commitment.
    pub const ORIGINAL_CAPACITY_CPU: &str = "katalyst.kubewharf.io/original_capacity_cpu";
    /// Capacity of memory before over-commitment.
    pub const ORIGINAL_CAPACITY_MEMORY: &str = "katalyst.kubewharf.io/original_capacity_memory";
    /// Allocatable CPU before over-commitment.
    pub const ORIGINAL_ALLOCATABLE_CPU: &str = "katalyst.kubewharf.io/original_allocatable_cpu";
    /// Allocatable memory before over-commitment.
    pub const ORIGINAL_ALLOCATABLE_MEMORY: &str =
        "katalyst.kubewharf.io/original_allocatable_memory";
    /// Capacity of CPU after over-commitment.
    pub const OVERCOMMIT_CAPACITY_CPU: &str = "katalyst.kubewharf.io/overcommit_capacity_cpu";
    /// Capacity of memory after over-commitment.
    pub const OVERCOMMIT_CAPACITY_MEMORY: &str = "katalyst.kubewharf.io/overcommit_capacity_memory";
    /// Allocatable CPU after over-commitment.
    pub const OVERCOMMIT_ALLOCATABLE_CPU: &str = "katalyst.kubewharf.io/overcommit_allocatable_cpu";
    /// Allocatable memory after over-commitment.
    pub const OVERCOMMIT_ALLOCATABLE_MEMORY: &str =
        "katalyst.kubewharf.io/overcommit_allocatable_memory";
    /// CNR: CPUs given out exclusively.
    pub const GUARANTEED_CPUS: &str = "katalyst.kubewharf.io/guaranteed_cpus";
    /// CNR: the kubelet's CPU manager policy.
    pub const CPU_MANAGER: &str = "katalyst.kubewharf.io/overcommit_cpu_manager";
    /// CNR: the kubelet's memory manager policy.
    pub const MEMORY_MANAGER: &str = "katalyst.kubewharf.io/overcommit_memory_manager";
}

/// Names of extended resources.
pub mod resource {
    /// Reclaimed CPU, counted in whole thousandths of a core (`4k` is four cores).
    pub const RECLAIMED_MILLICPU: &str = "resource.katalyst.kubewharf.io/reclaimed_millicpu";
    /// Reclaimed memory in bytes.
    pub const RECLAIMED_MEMORY: &str = "resource.katalyst.kubewharf.io/reclaimed_memory";
    /// Network bandwidth in Mbps.
    pub const NET_BANDWIDTH: &str = "resource.katalyst.kubewharf.io/net_bandwidth";
    /// Memory bandwidth.
    pub const MEMORY_BANDWIDTH: &str = "resource.katalyst.kubewharf.io/memory_bandwidth";
    /// Thousandths of a GPU.
    pub const MILLIGPU: &str = "resource.katalyst.kubewharf.io/milligpu";
    /// GPU memory.
    pub const GPU_MEMORY: &str = "resource.katalyst.kubewharf.io/gpu_memory";
    pub use katalyst_core::placement::request::keys::RDMA_NIC;
    /// Additive. One of it in any container: the extender places the pod, although it asks for nothing else that only the extender gives out.
    /// kube-scheduler asks an extender about pods that name one of its resources, and CPU and memory cannot be among them.
    pub const NUMA_PLACEMENT: &str = "resource.katalyst.kubewharf.io/numa_placement";
    /// SR-IOV virtual functions.
    pub const SRIOV_NIC: &str = "resource.katalyst.kubewharf.io/sriov_nic";
    /// Power.
    pub const POWER: &str = "resource.katalyst.kubewharf.io/power";
    /// Kubernetes' CPU, in cores.
    pub const CPU: &str = "cpu";
    /// Kubernetes' memory, in bytes.
    pub const MEMORY: &str = "memory";

    /// The resources the scheduler extender manages.
    pub const RECLAIMED: [&str; 2] = [RECLAIMED_MILLICPU, RECLAIMED_MEMORY];
}

/// Types and reasons of a CNR's conditions.
pub mod condition {
    /// `True` while the node's agent reports.
    pub const AGENT_READY: &str = "AgentReady";
    /// `True` where no agent ever reported.
    pub const AGENT_NOT_FOUND: &str = "AgentNotFound";
    /// Reason: the agent reports within its time.
    pub const REASON_REPORTING: &str = "AgentReporting";
    /// Reason: the agent's last report is too old.
    pub const REASON_SILENT: &str = "AgentSilent";
    /// Reason: the agent never reported.
    pub const REASON_NEVER_REPORTED: &str = "AgentNeverReported";
    /// A condition that holds.
    pub const TRUE: &str = "True";
    /// A condition that does not hold.
    pub const FALSE: &str = "False";
    /// A condition that cannot be told.
    pub const UNKNOWN: &str = "Unknown";
}

/// Field managers of server-side apply, one for each writer.
pub mod field_manager {
    /// Owns `status.topologyZone`, `status.topologyPolicy` and `status.nodeMetricStatus` of a CNR.
    pub const NODE_AGENT: &str = "katalyst-node-agent";
    /// Owns the CNR object itself and its `status.resources`, `status.reclaim`, `status.conditions`.
    pub const CAPACITY_CONTROLLER: &str = "katalyst-capacity-controller";
    /// Owns an SPD's status.
    pub const PROFILE_CONTROLLER: &str = "katalyst-profile-controller";
    /// Writes Bindings.
    pub const SCHEDULER_EXTENDER: &str = "katalyst-scheduler-extender";
}

/// Kinds of zone in `status.topologyZone`.
pub mod zone {
    /// A CPU socket.
    pub const SOCKET: &str = "Socket";
    /// A NUMA node.
    pub const NUMA: &str = "Numa";
    /// CPUs that share a last-level cache.
    pub const L3_CACHE_GROUP: &str = "L3CacheGroup";
    /// The name older Katalyst agents write for [`L3_CACHE_GROUP`].
    pub const CACHE_GROUP: &str = "CacheGroup";
    /// A GPU card.
    pub const GPU: &str = "GPU";
    /// A network card.
    pub const NIC: &str = "NIC";
    /// A storage device.
    pub const STORAGE: &str = "Storage";
    /// Additive. A PCIe switch.
    pub const PCIE_SWITCH: &str = "PCIeSwitch";
    /// Additive. An RDMA device.
    pub const RDMA: &str = "RDMA";

    /// Every kind the schema accepts.
    pub const ALL: [&str; 9] = [
        SOCKET,
        NUMA,
        L3_CACHE_GROUP,
        CACHE_GROUP,
        GPU,
        NIC,
        STORAGE,
        PCIE_SWITCH,
        RDMA,
    ];
}

/// The namespace the product runs in.
pub const NAMESPACE: &str = "katalyst-system";
