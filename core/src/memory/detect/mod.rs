//! Detection: one measure a file, each with its source, its window, its limits and how it can mislead; [`board`] puts them together.
//!
//! Two kinds of measures. *Shortage* says that memory is about to be missing ([`watermark`], [`available`], [`forecast`], [`satisfaction`]). *Harm* says
//! that somebody waits for it already ([`reclaim`], [`stall`], [`pressure`], [`refault`], [`swap`]). Free memory alone says little: a machine that serves files is full of page cache, and its
//! free pages always hover between the low and the high watermark.

pub mod available;
pub mod board;
pub mod forecast;
pub mod gate;
pub mod overuse;
pub mod pressure;
pub mod reclaim;
pub mod refault;
pub mod satisfaction;
pub mod stall;
pub mod swap;
pub mod watermark;

pub use board::{Assessment, Board, Place, Sample, Seen};
pub use gate::{Detector, Gate, GateParams, Limits, Reading, Severity};
pub use overuse::{Overuse, OverusePod, Overused};
