//! The services' use over two windows: a short one for the ceiling and a long one for the offer.

use katalyst_core::{
    capacity::WindowPeak,
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};
use serde::{Deserialize, Serialize};

/// One window over both resources.
#[derive(Debug, Clone)]
struct Window {
    cpu: WindowPeak,
    memory: WindowPeak,
}

impl Window {
    fn new(seconds: f64) -> Self {
        Self {
            cpu: WindowPeak::new(seconds),
            memory: WindowPeak::new(seconds),
        }
    }

    fn push(&mut self, now: f64, service: Reclaimed) {
        self.cpu.push(now, service.cpu.get());
        self.memory.push(now, service.memory.get());
    }

    fn peak(&self, now: f64) -> Reclaimed {
        Reclaimed {
            cpu: Millicpu::new(self.cpu.peak(now).unwrap_or(0)),
            memory: Bytes::new(self.memory.peak(now).unwrap_or(0)),
        }
    }
}

/// The long window on disk: for how long it was measured, and each slot's highest value with its age, seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPeaks {
    /// Seconds.
    pub filled_seconds: f64,
    /// Samples.
    pub samples: u64,
    /// Age in seconds, thousandths of a CPU.
    pub cpu: Vec<(f64, u64)>,
    /// Age in seconds, bytes.
    pub memory: Vec<(f64, u64)>,
}

/// Both windows.
#[derive(Debug, Clone)]
pub struct Peaks {
    recent: Window,
    window: Window,
    samples: u64,
    interval_seconds: f64,
}

impl Peaks {
    /// Lengths in seconds.
    pub fn new(recent_seconds: f64, window_seconds: f64, interval_seconds: f64) -> Self {
        Self {
            recent: Window::new(recent_seconds),
            window: Window::new(window_seconds),
            samples: 0,
            interval_seconds,
        }
    }

    /// Takes a sample; `now` in seconds. Only a `lasting` one enters the long window.
    pub fn push(&mut self, now: f64, service: Reclaimed, lasting: bool) {
        self.recent.push(now, service);
        if lasting {
            self.window.push(now, service);
            self.samples = self.samples.saturating_add(1);
        }
    }

    /// Takes CPU use of a moment too short to last.
    pub fn push_cpu(&mut self, now: f64, service: Millicpu) {
        self.recent.cpu.push(now, service.get());
    }

    /// Highest use of the short window.
    pub fn recent(&self, now: f64) -> Reclaimed {
        self.recent.peak(now)
    }

    /// Highest use of the long window.
    pub fn window(&self, now: f64) -> Reclaimed {
        self.window.peak(now)
    }

    /// The long window as it is kept on disk.
    pub fn saved(&self, now: f64) -> SavedPeaks {
        SavedPeaks {
            filled_seconds: self.filled_seconds(now),
            samples: self.samples(),
            cpu: self.window.cpu.entries(now).collect(),
            memory: self.window.memory.entries(now).collect(),
        }
    }

    /// Adds what an earlier run saw; its entries are older by `away` seconds now. It can only raise the peak, so however wrong it is, it never raises an offer.
    pub fn restore(&mut self, now: f64, away: f64, saved: &SavedPeaks) {
        let older = |entries: &[(f64, u64)]| -> Vec<(f64, u64)> {
            entries
                .iter()
                .map(|(age, value)| (age + away, *value))
                .collect()
        };
        let filled = saved.filled_seconds;
        self.window.cpu.restore(now, filled, older(&saved.cpu));
        self.window
            .memory
            .restore(now, filled, older(&saved.memory));
        self.samples = self.samples.saturating_add(saved.samples);
    }

    /// Length of the long window, seconds.
    pub fn window_seconds(&self) -> f64 {
        self.window.cpu.window_seconds()
    }

    /// How much of the long window has been measured, seconds.
    pub fn filled_seconds(&self, now: f64) -> f64 {
        self.window.cpu.filled_seconds(now)
    }

    /// Samples in the long window, from the sampling interval once it is full.
    pub fn samples(&self) -> u64 {
        self.samples
            .min((self.window_seconds() / self.interval_seconds.max(0.001)) as u64)
    }
}
