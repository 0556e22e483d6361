//! The reflex: once a second sample, compute the ceiling, and hold reclaimed pods under it. It runs on a thread of its own, needs no API
//! server once it knows the pods, and never waits for anything but the kernel.

mod config;
mod held;
mod holding;
mod locate;
mod look;
mod peaks;
mod snapshot;
mod surge;
mod thread;
mod tick;

pub use config::ReflexConfig;
pub use locate::{Locate, Located};
pub use peaks::Peaks;
pub use snapshot::{CeilingView, LevelUsage, PodView, ServicePeakView, Snapshot};
pub use thread::run;
pub use tick::Reflex;
