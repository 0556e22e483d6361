//! Clusters in one command, and what the end-to-end tests need to talk to them.
//!
//! - [`toolchain`] builds pinned Kubernetes programs from source, once;
//! - [`image`] writes container images without a container engine;
//! - [`cluster`] runs a real control plane and nodes in private namespaces of this machine;
//! - [`vm`] makes virtual machines: nodes of a cluster, or alone for kernel scenarios;
//! - [`node`] shows one node's agent on a real kernel, without Kubernetes;
//! - [`pki`] makes their certificates;
//! - [`scenario`], [`demo`] and [`bench`] show the product on them, with [`kubectl`], [`product`] and [`probe`];
//! - [`workload`] is what runs there: a service, a load generator, batch work.

#[expect(
    clippy::indexing_slicing,
    reason = "indexes of JSON values, which give null where there is nothing"
)]
pub mod bench;
pub mod cache;
pub mod cli;
pub mod cluster;
#[expect(
    clippy::indexing_slicing,
    reason = "indexes of JSON values, which give null where there is nothing"
)]
pub mod demo;
pub mod fuzz;
pub mod image;
pub mod kind;
pub mod kubectl;
pub mod node;
pub mod pki;
#[expect(
    clippy::indexing_slicing,
    reason = "indexes of JSON values, which give null where there is nothing"
)]
pub mod probe;
#[expect(
    clippy::indexing_slicing,
    reason = "indexes of JSON values, which give null where there is nothing"
)]
pub mod product;
pub mod program;
pub mod report;
#[expect(
    clippy::indexing_slicing,
    reason = "indexes of JSON values, which give null where there is nothing"
)]
pub mod scenario;
pub mod stamp;
pub mod toolchain;
pub mod unit_tests;
pub mod vm;
pub mod workload;

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .collect()
}
