//! Differentiated reclaim: how far each pod lets itself be taken from, by the key `memory_reclaim` of its annotation `memory_enhancement`.
//!
//! | policy | waiting that stops it | most in a step | least accuracy |
//! |---|---|---|---|
//! | `none` | - | nothing | - |
//! | `conservative` | 0.05 % | 0.1 % | 0.995 |
//! | `default` | 0.1 % (TMO, oomd and Katalyst agree) | 1 % | 0.99 (Katalyst) |
//! | `aggressive` | 0.5 % | 2 % | 0.9 |
//!
//! A pod that says nothing has `default` where it is reclaimed and `none` where it is a service. Vendor kernels do it inside (`memory.wmark_ratio`); this works on any
//! kernel with `memory.reclaim` (5.19).

use serde::{Deserialize, Serialize};

use crate::qos::Level;

/// How far a pod lets itself be taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Not at all.
    None,
    /// Little, and slowly.
    Conservative,
    /// TMO's bounds.
    Default,
    /// Much, at some cost.
    Aggressive,
}

/// Numbers of a policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// The part of the time that tasks may wait.
    pub waiting: f64,
    /// Most of the charge in a step.
    pub most: f64,
    /// Least part of what was taken that stays away.
    pub accuracy: f64,
}

impl Policy {
    /// By its name in the annotation.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "conservative" => Self::Conservative,
            "default" => Self::Default,
            "aggressive" => Self::Aggressive,
            _ => return None,
        })
    }

    /// What a pod of a level has without saying so.
    pub const fn of(level: Level) -> Self {
        match level {
            Level::Reclaimed => Self::Default,
            Level::Shared | Level::Dedicated | Level::System => Self::None,
        }
    }

    /// Its numbers; `None` where nothing is taken.
    pub const fn params(self) -> Option<Params> {
        let (waiting, most, accuracy) = match self {
            Self::None => return None,
            Self::Conservative => (0.000_5, 0.001, 0.995),
            Self::Default => (0.001, 0.01, 0.99),
            Self::Aggressive => (0.005, 0.02, 0.9),
        };
        Some(Params {
            waiting,
            most,
            accuracy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bolder_policies_take_more_and_bear_more() {
        let of = |policy: Policy| policy.params().unwrap();
        let (a, b, c) = (
            of(Policy::Conservative),
            of(Policy::Default),
            of(Policy::Aggressive),
        );
        assert!(a.waiting < b.waiting && b.waiting < c.waiting);
        assert!(a.most < b.most && b.most < c.most);
        assert!(a.accuracy > b.accuracy && b.accuracy > c.accuracy);
        assert_eq!(Policy::None.params(), None);
        assert_eq!(Policy::from_name("bold"), None);
    }
}
