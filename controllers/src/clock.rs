//! The one clock of the process.

use std::time::Instant;

use jiff::Timestamp;

/// Seconds since the Unix epoch that never go back: wall time at the start, monotonic time since.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start_seconds: f64,
    start: Instant,
}

impl Clock {
    /// A clock that starts at the system's wall time.
    pub fn start() -> Self {
        Self {
            start_seconds: Timestamp::now().as_millisecond() as f64 / 1000.0,
            start: Instant::now(),
        }
    }

    /// Now, in Unix seconds.
    pub fn now(&self) -> f64 {
        self.start_seconds + self.start.elapsed().as_secs_f64()
    }
}
