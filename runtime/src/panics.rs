//! A panic anywhere is logged with its place and stops the process, exit code non-zero.

use crate::shutdown::{Tasks, panic_text};

/// Replaces the process's panic hook. Unwinding goes on afterwards, so a task's own guards still run.
pub(crate) fn install(tasks: &Tasks) {
    let tasks = tasks.clone();
    std::panic::set_hook(Box::new(move |info| {
        let place = info
            .location()
            .map_or_else(|| "unknown place".to_owned(), ToString::to_string);
        let thread = std::thread::current();
        let backtrace = std::backtrace::Backtrace::capture();
        let text = panic_text(info.payload());
        tracing::error!(%place, thread = thread.name(), %backtrace, "{text}");
        // Recorded here too: a panic on a thread that nobody joins would otherwise go unnoticed.
        tasks.fail(&format!("panic at {place}"), text);
    }));
}
