//! The rungs, in their order, with their times. The table in the module above says why.

use serde::Serialize;

/// One rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// No new batch pods.
    StopScheduling,
    /// Soft limits of reclaimed pods fall.
    TuneMemcg,
    /// Page cache is dropped.
    DropCache,
    /// Cold memory goes to swap.
    Offload,
    /// A pod leaves.
    Evict,
}

impl Rung {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [
        Self::StopScheduling,
        Self::TuneMemcg,
        Self::DropCache,
        Self::Offload,
        Self::Evict,
    ];

    /// The name in audit lines, metrics and debug output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StopScheduling => "stop-scheduling",
            Self::TuneMemcg => "tune-memcg",
            Self::DropCache => "drop-cache",
            Self::Offload => "offload",
            Self::Evict => "evict",
        }
    }

    /// Seconds that it gets to show an effect.
    pub const fn effect_seconds(self) -> f64 {
        match self {
            Self::StopScheduling => 2.0,
            Self::TuneMemcg => 3.0,
            Self::DropCache => 4.0,
            Self::Offload => 5.0,
            Self::Evict => 10.0,
        }
    }

    /// Seconds before it is taken again.
    pub const fn cool_down_seconds(self) -> f64 {
        match self {
            Self::StopScheduling | Self::TuneMemcg => 3.0,
            Self::DropCache => 8.0,
            Self::Offload => 10.0,
            Self::Evict => 15.0,
        }
    }

    /// The next one up.
    pub fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|rung| *rung > self)
    }
}
