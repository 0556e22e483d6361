//! From API objects to the values of `katalyst_core` and back. Numbers change their notation here and nothing else: no rule
//! of the product is applied, and a number that cannot be read is an error that names the object, the field and the value.

mod amount;
mod compute;
mod node;
mod offer;
pub mod placement;
mod pod;

pub use amount::{
    AmountError, cpu_and_memory, machine_list, read_cpu_and_memory, read_reclaimed, reclaimed_list,
};
pub use compute::{Compute, compute};
pub use node::{NodeError, observation, published, reclaimed_node};
pub use offer::{reclaim_status, resources};
pub use pod::{
    ContainerRole, RequestError, container_requests, effective_requests, is_allocated,
    is_reclaimed, is_terminal, qos, requests,
};
