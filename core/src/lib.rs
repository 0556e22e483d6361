//! Every decision of the product, as plain functions over plain values.
//!
//! This crate knows no Kubernetes client, reads no file and no clock, logs nothing and spawns nothing: values go in, a plan and
//! its explanation come out. Time is an argument in seconds, so the agent, the controllers, the tests and a replay of a trace
//! run the same code and get the same answer.
//!
//! | module | decides |
//! |---|---|
//! | [`cpu_set`], [`topology`] | nothing: the machine and sets of its CPUs, as values |
//! | [`qos`] | what a pod's annotations mean |
//! | [`prediction`] | how much the pods of a node will use at most, within a budget of violations |
//! | [`capacity`] | how much of a node may be offered to batch pods |
//! | [`placement`] | whether a pod fits a node, with which NUMA nodes and devices, and how well |
//! | [`packing`] | which node and cards a pod with GPUs takes, so that least stays behind unused |
//! | [`card_claims`] | whether a pod may have the cards of its record beside those that others hold |
//! | [`pools`] | which CPUs and memory nodes each pod may use |
//! | [`cpu_time`] | weight, quota and burst of a pod |
//! | [`rebind`] | which pods leave a NUMA node that runs out of memory |
//! | [`hold`] | what batch pods may use right now, together and each |
//! | [`memory`] | how short of memory a node is, and what is done before anything is killed |
//! | [`eviction`] | when the offer no longer carries what is allocated, and who goes |

pub mod capacity;
pub mod card_claims;
pub mod cpu_set;
pub mod cpu_time;
pub mod eviction;
pub mod hold;
pub mod memory;
pub mod packing;
pub mod placement;
pub mod pools;
pub mod prediction;
pub mod qos;
pub mod quantity;
pub mod rebind;
pub mod reclaimed;
pub mod topology;
pub mod units;
