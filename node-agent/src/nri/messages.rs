//! The messages of NRI and of ttrpc, as far as this plugin reads and writes them.
//!
//! Source: `pkg/api/api.proto` of containerd/nri v0.12.3 (Apache-2.0, "Copyright The containerd Authors") and `request.proto` of
//! containerd/ttrpc. Field numbers are theirs. Fields that placement does not need (mounts, hooks, arguments, seccomp, …) are left out:
//! protobuf skips what it does not know, so a runtime's description of a pod costs no memory here beyond what is read. Older protocols have a
//! subset of these fields under the same numbers; a field that the runtime does not know is skipped there.

use std::collections::HashMap;

use prost::{Enumeration, Message};

/// ttrpc: a call.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// Full name of the service, such as `nri.pkg.api.v1alpha1.Plugin`.
    #[prost(string, tag = "1")]
    pub service: String,
    /// Method.
    #[prost(string, tag = "2")]
    pub method: String,
    /// The request message.
    #[prost(bytes = "vec", tag = "3")]
    pub payload: Vec<u8>,
    /// How long the caller waits; 0 for no limit.
    #[prost(int64, tag = "4")]
    pub timeout_nano: i64,
}

/// ttrpc: the answer to a call.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// Absent or with code 0 for success.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// The response message.
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// Why.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// What a plugin says first.
#[derive(Clone, PartialEq, Message)]
pub struct RegisterPluginRequest {
    /// Name.
    #[prost(string, tag = "1")]
    pub plugin_name: String,
    /// Two digits; plugins are asked in ascending order.
    #[prost(string, tag = "2")]
    pub plugin_idx: String,
    /// NRI version that the plugin was made for.
    #[prost(string, tag = "3")]
    pub nri_version: String,
}

/// No content.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

/// What the runtime says about itself.
#[derive(Clone, PartialEq, Message)]
pub struct ConfigureRequest {
    /// `containerd`, `cri-o`.
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
    /// Milliseconds after which the runtime drops a plugin that has not answered; 0 where it does not say (NRI before 0.8).
    #[prost(int64, tag = "5")]
    pub request_timeout: i64,
    /// Empty where it does not say (NRI before 0.11).
    #[prost(string, tag = "6")]
    pub nri_version: String,
}

/// Which events the plugin wants.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ConfigureResponse {
    /// Bit `event - 1` for each.
    #[prost(int32, tag = "2")]
    pub events: i32,
}

/// What exists.
#[derive(Clone, PartialEq, Message)]
pub struct SynchronizeRequest {
    /// Pods.
    #[prost(message, repeated, tag = "1")]
    pub pods: Vec<PodSandbox>,
    /// Containers.
    #[prost(message, repeated, tag = "2")]
    pub containers: Vec<Container>,
    /// More follow in another request.
    #[prost(bool, tag = "3")]
    pub more: bool,
}

/// What should change in it.
#[derive(Clone, PartialEq, Message)]
pub struct SynchronizeResponse {
    /// Updates; only in answer to the last request.
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<ContainerUpdate>,
    /// Repeats the request's: the plugin can take a list in parts.
    #[prost(bool, tag = "2")]
    pub more: bool,
}

/// A pod's event: RunPodSandbox, StopPodSandbox, RemovePodSandbox.
#[derive(Clone, PartialEq, Message)]
pub struct PodRequest {
    /// The pod.
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
}

/// A container's event: CreateContainer, UpdateContainer, StopContainer and the others.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerRequest {
    /// Its pod.
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    /// The container.
    #[prost(message, optional, tag = "2")]
    pub container: Option<Container>,
    /// What UpdateContainer asks for.
    #[prost(message, optional, tag = "3")]
    pub linux_resources: Option<LinuxResources>,
}

/// Events without a method of their own before NRI 0.12.
#[derive(Clone, PartialEq, Message)]
pub struct StateChangeEvent {
    /// An [`Event`].
    #[prost(enumeration = "Event", tag = "1")]
    pub event: i32,
    /// The pod.
    #[prost(message, optional, tag = "2")]
    pub pod: Option<PodSandbox>,
    /// The container, for a container's event.
    #[prost(message, optional, tag = "3")]
    pub container: Option<Container>,
}

/// Answer to CreateContainer.
#[derive(Clone, PartialEq, Message)]
pub struct CreateContainerResponse {
    /// What the container gets.
    #[prost(message, optional, tag = "1")]
    pub adjust: Option<ContainerAdjustment>,
}

/// Answer to UpdateContainer.
#[derive(Clone, PartialEq, Message)]
pub struct UpdateContainerResponse {
    /// What this and other containers get.
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<ContainerUpdate>,
}

/// Events, by the number that subscriptions and [`StateChangeEvent`] use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Event {
    /// None of these.
    Unknown = 0,
    /// A sandbox is about to run.
    RunPodSandbox = 1,
    /// A sandbox was stopped.
    StopPodSandbox = 2,
    /// A sandbox was removed.
    RemovePodSandbox = 3,
    /// A container is about to be created.
    CreateContainer = 4,
    /// A container is about to be updated.
    UpdateContainer = 8,
}

/// A pod.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandbox {
    /// The runtime's identifier.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// UID.
    #[prost(string, tag = "3")]
    pub uid: String,
    /// Namespace.
    #[prost(string, tag = "4")]
    pub namespace: String,
    /// Labels.
    #[prost(map = "string, string", tag = "5")]
    pub labels: HashMap<String, String>,
    /// Annotations.
    #[prost(map = "string, string", tag = "6")]
    pub annotations: HashMap<String, String>,
    /// Linux part.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<LinuxPodSandbox>,
}

/// Linux part of a pod.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxPodSandbox {
    /// Group of the pod.
    #[prost(string, tag = "3")]
    pub cgroup_parent: String,
}

/// A container.
#[derive(Clone, PartialEq, Message)]
pub struct Container {
    /// The runtime's identifier.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Identifier of its pod's sandbox.
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    /// Name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// A [`ContainerState`].
    #[prost(enumeration = "ContainerState", tag = "4")]
    pub state: i32,
    /// `KEY=value`.
    #[prost(string, repeated, tag = "8")]
    pub env: Vec<String>,
    /// Linux part.
    #[prost(message, optional, tag = "11")]
    pub linux: Option<LinuxContainer>,
}

/// State of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ContainerState {
    /// Not known.
    Unknown = 0,
    /// Created.
    Created = 1,
    /// Paused.
    Paused = 2,
    /// Running.
    Running = 3,
    /// Ended.
    Stopped = 4,
}

/// Linux part of a container.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainer {
    /// Device nodes.
    #[prost(message, repeated, tag = "2")]
    pub devices: Vec<LinuxDevice>,
    /// Resources.
    #[prost(message, optional, tag = "3")]
    pub resources: Option<LinuxResources>,
    /// Path of its group.
    #[prost(string, tag = "5")]
    pub cgroups_path: String,
}

/// A device node.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxDevice {
    /// Path in the container; a leading `-` means removal.
    #[prost(string, tag = "1")]
    pub path: String,
    /// `c`, `b` or `p`.
    #[prost(string, tag = "2")]
    pub r#type: String,
    /// Major number.
    #[prost(int64, tag = "3")]
    pub major: i64,
    /// Minor number.
    #[prost(int64, tag = "4")]
    pub minor: i64,
    /// Permission bits.
    #[prost(message, optional, tag = "5")]
    pub file_mode: Option<OptionalU32>,
    /// Owner.
    #[prost(message, optional, tag = "6")]
    pub uid: Option<OptionalU32>,
    /// Group.
    #[prost(message, optional, tag = "7")]
    pub gid: Option<OptionalU32>,
}

/// Resources of a container, held or asked for.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxResources {
    /// Memory.
    #[prost(message, optional, tag = "1")]
    pub memory: Option<LinuxMemory>,
    /// CPU.
    #[prost(message, optional, tag = "2")]
    pub cpu: Option<LinuxCpu>,
    /// Files of cgroup v2.
    #[prost(map = "string, string", tag = "6")]
    pub unified: HashMap<String, String>,
}

/// Memory part.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxMemory {
    /// Hard limit in bytes.
    #[prost(message, optional, tag = "1")]
    pub limit: Option<OptionalI64>,
}

/// CPU part.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxCpu {
    /// Weight, v1 units.
    #[prost(message, optional, tag = "1")]
    pub shares: Option<OptionalU64>,
    /// Microseconds in a period.
    #[prost(message, optional, tag = "2")]
    pub quota: Option<OptionalI64>,
    /// Microseconds.
    #[prost(message, optional, tag = "3")]
    pub period: Option<OptionalU64>,
    /// CPU list; empty for no statement.
    #[prost(string, tag = "6")]
    pub cpus: String,
    /// Node list; empty for no statement.
    #[prost(string, tag = "7")]
    pub mems: String,
}

/// What a new container gets.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerAdjustment {
    /// Environment.
    #[prost(message, repeated, tag = "4")]
    pub env: Vec<KeyValue>,
    /// Linux part.
    #[prost(message, optional, tag = "6")]
    pub linux: Option<LinuxContainerAdjustment>,
    /// Devices by name.
    #[prost(message, repeated, tag = "8")]
    pub cdi_devices: Vec<CdiDevice>,
}

/// A device of the Container Device Interface.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CdiDevice {
    /// Such as `nvidia.com/gpu=GPU-8f6d…`.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Linux part of it.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainerAdjustment {
    /// Device nodes to make and allow.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<LinuxDevice>,
    /// Resources.
    #[prost(message, optional, tag = "2")]
    pub resources: Option<LinuxResources>,
    /// Scheduling policy of the first process.
    #[prost(message, optional, tag = "10")]
    pub scheduler: Option<LinuxScheduler>,
    /// Memory policy of the first process.
    #[prost(message, optional, tag = "12")]
    pub memory_policy: Option<LinuxMemoryPolicy>,
}

/// Scheduling policy.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct LinuxScheduler {
    /// The policy.
    #[prost(enumeration = "SchedulerPolicy", tag = "1")]
    pub policy: i32,
}

/// NRI's numbers of scheduling policies (not the kernel's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum SchedulerPolicy {
    /// Leave it.
    None = 0,
    /// `SCHED_BATCH`.
    Batch = 4,
    /// `SCHED_IDLE`.
    Idle = 6,
}

/// Memory policy.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxMemoryPolicy {
    /// Mode.
    #[prost(enumeration = "MemoryPolicyMode", tag = "1")]
    pub mode: i32,
    /// Node list.
    #[prost(string, tag = "2")]
    pub nodes: String,
}

/// NRI's numbers of memory policy modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum MemoryPolicyMode {
    /// `MPOL_DEFAULT`.
    Default = 0,
    /// `MPOL_BIND`.
    Bind = 2,
    /// `MPOL_INTERLEAVE`.
    Interleave = 3,
    /// `MPOL_PREFERRED_MANY`.
    PreferredMany = 5,
}

/// What an existing container gets.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerUpdate {
    /// Which one. Without it a runtime applies nothing, and says nothing.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Linux part.
    #[prost(message, optional, tag = "2")]
    pub linux: Option<LinuxContainerUpdate>,
    /// A container that is gone by now is no failure.
    #[prost(bool, tag = "3")]
    pub ignore_failure: bool,
}

/// Linux part of it.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainerUpdate {
    /// Resources.
    #[prost(message, optional, tag = "1")]
    pub resources: Option<LinuxResources>,
}

/// An environment variable.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct KeyValue {
    /// Name; a leading `-` means removal.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A number that may be absent, which proto3 could not say when NRI was designed. Also `OptionalFileMode`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct OptionalU32 {
    /// The number.
    #[prost(uint32, tag = "1")]
    pub value: u32,
}

/// A number that may be absent.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct OptionalI64 {
    /// The number.
    #[prost(int64, tag = "1")]
    pub value: i64,
}

/// A number that may be absent.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct OptionalU64 {
    /// The number.
    #[prost(uint64, tag = "1")]
    pub value: u64,
}

#[cfg(test)]
mod tests;
