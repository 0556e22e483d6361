//! The API: custom resource types, the names of the public API, the generated YAML, and the
//! translation between API objects and the values of `katalyst_core`. Nothing here decides.

pub mod constants;
pub mod devices;
pub mod generate;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "kube's derive copies each struct into a function body with its visibility, and printer columns share values"
)]
pub mod node;
mod rules;
pub mod schema;
pub mod translate;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "kube's derive copies each struct into a function body with its visibility, and printer columns share values"
)]
pub mod workload;
pub mod yaml;
