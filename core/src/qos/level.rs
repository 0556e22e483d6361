//! The four quality-of-service levels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a pod shares the machine. Ordered by how well it is protected.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
pub enum Level {
    /// Batch work on what services leave over; may be held back and evicted.
    #[serde(rename = "reclaimed_cores")]
    Reclaimed,
    /// A service that shares CPUs with others. What a pod without the annotation is.
    #[default]
    #[serde(rename = "shared_cores")]
    Shared,
    /// A service with CPUs of its own.
    #[serde(rename = "dedicated_cores")]
    Dedicated,
    /// A system component; never a victim.
    #[serde(rename = "system_cores")]
    System,
}

impl Level {
    /// Every level, least protected first.
    pub const ALL: [Self; 4] = [Self::Reclaimed, Self::Shared, Self::Dedicated, Self::System];

    /// The level's name in annotations and API objects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reclaimed => "reclaimed_cores",
            Self::Shared => "shared_cores",
            Self::Dedicated => "dedicated_cores",
            Self::System => "system_cores",
        }
    }

    /// The level of that name, spelt exactly.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_serde_uses_the_same() {
        for level in Level::ALL {
            assert_eq!(Level::from_name(level.as_str()), Some(level));
            assert_eq!(
                serde_json::to_value(level).unwrap(),
                serde_json::Value::from(level.as_str())
            );
        }
        assert_eq!(Level::from_name("Reclaimed_Cores"), None);
    }
}
