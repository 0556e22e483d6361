//! The pod annotations that carry quality-of-service wishes, and the keys within their JSON maps.

/// Quality-of-service level: `shared_cores` where absent.
pub const QOS_LEVEL: &str = "katalyst.kubewharf.io/qos_level";
/// JSON map of CPU wishes, see [`cpu`].
pub const CPU_ENHANCEMENT: &str = "katalyst.kubewharf.io/cpu_enhancement";
/// JSON map of memory wishes, see [`memory`].
pub const MEMORY_ENHANCEMENT: &str = "katalyst.kubewharf.io/memory_enhancement";
/// JSON map of network wishes, see [`network`].
pub const NETWORK_ENHANCEMENT: &str = "katalyst.kubewharf.io/network_enhancement";

/// Number of NUMA nodes the pod wants; a direct annotation or a key of the CPU map.
pub const NUMA_NUMBER: &str = "katalyst.kubewharf.io/numa_number";
/// NUMA nodes the pod wants, as a CPU-list (`0-1,3`); a direct annotation or a key of the CPU map.
pub const NUMA_IDS: &str = "katalyst.kubewharf.io/numa_ids";
/// Network class of the pod's packets, 32 bits.
pub const NET_CLASS_ID: &str = "katalyst.kubewharf.io/net_class_id";
/// NUMA nodes chosen for the pod.
pub const NUMA_BIND_RESULT: &str = "katalyst.kubewharf.io/numa_bind_result";
/// Network card chosen for the pod.
pub const NIC_SELECTION_RESULT: &str = "katalyst.kubewharf.io/nic_selection_result";
/// GPU chosen for the pod.
pub const GPU_SELECTION_RESULT: &str = "katalyst.kubewharf.io/gpu_selection_result";
/// SR-IOV function chosen for the pod.
pub const SRIOV_VF_RESULT: &str = "katalyst.kubewharf.io/sriov_vf_result";
/// Pool of resources the pod belongs to.
pub const RESOURCE_POOL: &str = "katalyst.kubewharf.io/resource_pool";
/// Package of resources the pod belongs to.
pub const RESOURCE_PACKAGE: &str = "katalyst.kubewharf.io/resource_package";
/// `"true"`: the pod's owner wants to be told before it is evicted, and moves it itself.
pub const POD_SOFT_EVICT_NOTIFY: &str = "katalyst.kubewharf.io/pod_soft_evict_notify";
/// Wish about the order of eviction.
pub const POD_EVICT_SCORE: &str = "katalyst.kubewharf.io/pod_evict_score";
/// CPU weight the pod wants, in cores.
pub const CPU_WEIGHT_DEMAND_CORES: &str = "katalyst.kubewharf.io/cpu_weight_demand_cores";
/// Ratio of the pod's CPU weight in a burst.
pub const CPU_WEIGHT_BURST_RATIO: &str = "katalyst.kubewharf.io/cpu_weight_burst_ratio";

/// Keys of the map [`CPU_ENHANCEMENT`]; `NUMA_NUMBER` and `NUMA_IDS` may stand in it as well.
pub mod cpu {
    /// Named CPU pool.
    pub const CPUSET_POOL: &str = "cpuset_pool";
    /// `"false"`: share no NUMA node with another level or pool.
    pub const NUMA_SHARE: &str = "numa_share";
    /// How much suppression a reclaimed pod bears before it would rather be evicted.
    pub const SUPPRESSION_TOLERANCE_RATE: &str = "suppression_tolerance_rate";
    /// `default`, `closed`, `static` or `dynamic`.
    pub const BURST_POLICY: &str = "cpu_burst_policy";
    /// Utilisation below which a dynamic burst is on.
    pub const BURST_THRESHOLD: &str = "cpu_burst_threshold";
    /// Burst as percent of the quota.
    pub const BURST_PERCENT: &str = "cpu_burst_percent";
    /// `"true"`: as few sockets as possible.
    pub const ALIGN_BY_SOCKET: &str = "align_by_socket";
    /// `"true"`: the same number of CPUs in each chosen NUMA node.
    pub const DISTRIBUTE_EVENLY_ACROSS_NUMA: &str = "distribute_evenly_across_numa";
    /// `"true"`: whole physical cores only.
    pub const FULL_PCPUS_PAIRING: &str = "full_pcpus_pairing";
}

/// Keys of the map [`MEMORY_ENHANCEMENT`].
pub mod memory {
    /// `"true"`: keep the pod within NUMA nodes.
    pub const NUMA_BINDING: &str = "numa_binding";
    /// `"true"`: share these NUMA nodes with nobody; dedicated pods with `NUMA_BINDING` only.
    pub const NUMA_EXCLUSIVE: &str = "numa_exclusive";
    /// Ratio of resident memory to request above which the pod may be evicted.
    pub const RSS_OVERUSE_THRESHOLD: &str = "rss_overuse_threshold";
    /// Who dies first when memory runs out; higher survives longer.
    pub const OOM_PRIORITY: &str = "oom_priority";
    /// How far cold memory of the pod may be taken: `none`, `conservative`, `default` or `aggressive`. Additive.
    pub const RECLAIM: &str = "memory_reclaim";
}

/// Keys of the map [`NETWORK_ENHANCEMENT`].
pub mod network {
    /// `host_ns`, `host_ns_preferred`, `anti_host_ns` or `anti_host_ns_preferred`.
    pub const NAMESPACE_TYPE: &str = "namespace_type";
    /// `"true"`: only a card in the pod's own NUMA nodes.
    pub const TOPOLOGY_AFFINITY_RESTRICTED: &str = "topology_affinity_restricted";
}
