//! Any bytes as a container runtime's side of the conversation (multiplexer, ttrpc, protobuf). A finding is a panic, a hang, memory without bound, or
//! one of the assertions of [`nri::any_bytes`].
#![no_main]

use libfuzzer_sys::fuzz_target;

/// The messages and their translation alone, not the agent.
#[path = "../../node-agent/src/nri"]
#[allow(dead_code, reason = "only what reads bytes is used here")]
mod nri {
    pub mod any_bytes;
    pub mod features;
    pub mod messages;
    pub mod mux;
    pub mod placer;
    pub mod translate;
    pub mod ttrpc;
    pub mod wire;
}

fuzz_target!(|data: &[u8]| nri::any_bytes::read(data));
