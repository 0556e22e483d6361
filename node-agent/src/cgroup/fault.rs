//! A fault point for tests of crashes: the process is killed before a chosen write to a kernel file.
//!
//! It is a real kill, at an exact place: nothing unwinds, flushes or is dropped. Only a test program that links this library can set it; the
//! agent's own program has no way to. Every write of the agent to the kernel goes through [`super::file::write`], which asks here first.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// No crash is wanted.
const NEVER: u64 = u64::MAX;

/// Writes that may still be made.
static LEFT: AtomicU64 = AtomicU64::new(NEVER);

/// Lets this process make `writes` more writes to kernel files and kills it before the next one.
pub fn kill_before_write(writes: u64) {
    LEFT.store(writes.min(NEVER - 1), Ordering::SeqCst);
}

/// Called before each write.
pub(super) fn before_write() {
    let left = LEFT.load(Ordering::Relaxed);
    if left == NEVER {
        return;
    }
    match left.checked_sub(1) {
        Some(less) => LEFT.store(less, Ordering::Relaxed),
        None => {
            // A process may always kill itself; were it not so, going on would be the only choice.
            kill_process(getpid(), Signal::KILL).ok();
        }
    }
}
