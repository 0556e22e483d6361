//! Placement as a whole: tables on known machines, and properties over random ones.

mod brute;
mod devices;
mod history;
mod machines;
mod numa;
mod preemption;
