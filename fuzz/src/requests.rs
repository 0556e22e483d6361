//! Any bytes as requests of kube-scheduler, answered by the extender itself over a small cluster. A finding is a panic, a hang, memory without bound, or one of
//! the assertions of [`any_bytes`].
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../scheduler-extender/tests/any_bytes/mod.rs"]
mod any_bytes;

fuzz_target!(|data: &[u8]| {
    let _understood = any_bytes::answer(data);
});
