//! What a pod's annotations mean: its quality-of-service level and the wishes beside it.

pub mod keys;
