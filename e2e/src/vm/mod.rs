//! Virtual machines with a recent kernel, cgroup v2 and several NUMA nodes: as cluster nodes, or bare for kernel scenarios.
//!
//! A machine is one QEMU process, by default fully emulated, so it runs where no hardware virtualisation is available. Time inside
//! is slow and uneven: measure ratios there, never latencies.
//!
//! - [`assets`] prepares the shared files once ([`apt`], [`bzimage`], [`kernel_modules`], [`cpio`], [`root_image`], `image_store`).
//! - [`machine`] describes a machine, and [`qemu`] derives the emulator's arguments.
//! - [`seed`] writes the disk that gives a machine its identity and secrets.
//! - [`launch`] puts these together; [`bare`] runs a script in a machine; [`cli`] are the commands.
//!
//! The programs inside are in `guest/`.

pub mod apt;
pub mod assets;
pub mod bare;
pub mod bzimage;
pub mod cli;
pub mod cpio;
mod decompress;
pub mod error;
mod image_store;
pub mod kernel_modules;
pub mod launch;
pub mod machine;
pub mod qemu;
pub mod root_image;
pub mod seed;
