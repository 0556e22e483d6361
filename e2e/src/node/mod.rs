//! Scenarios of one node on a real kernel, without Kubernetes.
//!
//! Kubelet's part is played by [`tree`] (groups with kubelet's values, in the [`layout`] of both cgroup drivers), the container runtime's by [`work`] (real processes
//! that enter their groups before anything else), the API server's by [`api`] (list and watch of [`pod`] objects). The agent is the real program, as a process of its
//! own ([`agent`]). A scenario gets a [`stage`] and judges by kernel files and process state, never by the agent's word alone; what the machine offers is read by
//! [`place`], other code than the agent's. [`suite`] runs them: on the machine at hand ([`host`]) in groups of their own, or in virtual machines ([`machines`]).
//!
//! Scenarios: `machine`, `holding`, `crash`, `pools`, `numa`, `rebind`.

pub mod agent;
pub mod api;
mod crash;
mod holding;
pub mod host;
pub mod http;
mod isolation;
pub mod layout;
mod machine;
pub mod machines;
mod numa;
pub mod place;
pub mod pod;
mod pools;
mod rebind;
pub mod stage;
pub mod suite;
pub mod tree;
pub mod wait;
pub mod work;
