//! Lines that tell a waiting person what is going on, with the time since the command began.

use std::{
    io::Write,
    time::{Duration, Instant},
};

/// Writes one line a step to standard error.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    start: Instant,
}

impl Progress {
    /// Time runs from now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Time runs since `elapsed` ago: the work of another process continues here.
    pub fn since(elapsed: Duration) -> Self {
        let now = Instant::now();
        Self {
            start: now.checked_sub(elapsed).unwrap_or(now),
        }
    }

    /// Time since the command began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Says what begins, or has just been reached.
    pub fn step(&self, what: &str) {
        let seconds = self.elapsed().as_secs_f64();
        // Nobody may be reading any more; the work goes on.
        writeln!(std::io::stderr(), "[{seconds:6.1} s] {what}").ok();
    }
}
