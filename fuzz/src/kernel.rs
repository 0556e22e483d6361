//! Any bytes as any kernel file: the first byte chooses the parser, the rest is the file, read as the agent reads one (what is not UTF-8 replaced).
//! A finding is a panic, a hang, memory without bound, or one of the parsers' own assertions ([`kernel::catalogue`]).
#![no_main]

use libfuzzer_sys::fuzz_target;

/// The parsers' module alone, not the agent: two crates are instrumented instead of three hundred.
#[path = "../../node-agent/src/kernel/mod.rs"]
#[allow(
    dead_code,
    reason = "the catalogue calls every parser, and not each of their fields is read"
)]
mod kernel;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let parsers = kernel::catalogue::PARSERS;
    let parser = &parsers[usize::from(*first) % parsers.len()];
    (parser.run)(&String::from_utf8_lossy(rest));
});
