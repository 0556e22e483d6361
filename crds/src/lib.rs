//! The API: custom resource types, the names of the public API, the generated YAML, and the
//! translation between API objects and the values of `katalyst_core`. Nothing here decides.

pub mod constants;
#[expect(
    unreachable_pub,
    reason = "kube's derive copies each struct into a function body with its visibility"
)]
pub mod node;
#[expect(
    unreachable_pub,
    reason = "kube's derive copies each struct into a function body with its visibility"
)]
pub mod workload;
