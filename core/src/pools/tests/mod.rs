//! Tables of single rules, and properties over random machines and histories.

mod cases;
mod machines;
mod properties;
mod world;
