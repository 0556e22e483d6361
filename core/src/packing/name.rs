//! Names of policies, as a flag takes them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::best_fit::BestFit;
use super::fgd::Fgd;
use super::policy::PackingPolicy;
use super::rollout::{Params, Rollout};
use super::rounding::Rounding;

/// A policy to be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PolicyName {
    /// [`BestFit`].
    BestFit,
    /// [`Fgd`].
    Fgd,
    /// [`Rollout`].
    #[default]
    Rollout,
}

/// A name that no policy has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown packing policy {0:?}: one of best-fit, fgd, rollout was expected")]
pub struct UnknownPolicy(String);

impl PolicyName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::BestFit, Self::Fgd, Self::Rollout];

    /// As flags and reports write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BestFit => "best-fit",
            Self::Fgd => "fgd",
            Self::Rollout => "rollout",
        }
    }

    /// The policy with its defaults, before it learned anything.
    pub fn policy(self) -> Box<dyn PackingPolicy> {
        match self {
            Self::BestFit => Box::new(BestFit::default()),
            Self::Fgd => Box::new(Fgd::new(Rounding::None)),
            Self::Rollout => Box::new(Rollout::new(Params::default())),
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PolicyName {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownPolicy(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in PolicyName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        let error = "best".parse::<PolicyName>().unwrap_err().to_string();
        assert!(error.contains("\"best\"") && error.contains("best-fit"));
    }
}
