//! The two sides of a colocated machine, small but real: a latency-sensitive HTTP service with an open-loop load generator, and
//! batch work with a goodput figure. The demo and the end-to-end tests run them as pods. And one that only tells what it sees of its own
//! placement.

pub mod batch;
pub mod load;
pub mod seen;
pub mod serve;
