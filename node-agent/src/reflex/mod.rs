//! The reflex: once a second sample, compute the ceiling, and hold reclaimed pods under it. It runs on a thread of its own, needs no API
//! server once it knows the pods, and never waits for anything but the kernel. Other threads reach it through a mailbox.

mod checkpoint;
mod config;
mod held;
mod holding;
mod inbox;
mod locate;
mod look;
mod numa;
mod pace;
mod peaks;
mod placing;
mod snapshot;
mod surge;
mod thread;
mod tick;
mod triggers;

pub use checkpoint::forget_peaks;
pub use config::ReflexConfig;
pub use inbox::{Inbox, Mailbox, Turn, Unanswered, mailbox};
pub use locate::{Locate, Located};
pub use peaks::{Peaks, SavedPeaks};
pub use snapshot::{CeilingView, LevelUsage, PodView, ServicePeakView, Snapshot};
pub use thread::{Thread, ring_for_pods};
pub use tick::Reflex;
