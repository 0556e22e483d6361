//! A panic anywhere is logged with its place and stops the process, exit code non-zero.

use std::backtrace::{Backtrace, BacktraceStatus};

use crate::shutdown::{Tasks, panic_text};

/// Replaces the process's panic hook. Unwinding goes on afterwards, so a task's own guards still run.
pub(crate) fn install(tasks: &Tasks) {
    let tasks = tasks.clone();
    std::panic::set_hook(Box::new(move |info| {
        let place = info
            .location()
            .map_or_else(|| "unknown place".to_owned(), ToString::to_string);
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!(%backtrace, "panic");
        }
        // Recorded here as well as by the task's owner: a panic on a thread that nobody joins would go unnoticed.
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tasks.fail(
            &format!("thread {thread} at {place}"),
            panic_text(info.payload()),
        );
    }));
}
