//! Rounding of a goodness between 0 and 1 to levels, as a benchmark's scores are.

/// Whether and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// Not at all.
    #[default]
    None,
    /// Down to one of so many levels: kube-scheduler's plugins score in 100 and the FGD benchmark cuts.
    Down(u16),
}

impl Rounding {
    /// The goodness, or its level.
    pub fn apply(self, goodness: f64) -> f64 {
        match self {
            Self::None => goodness,
            Self::Down(levels) => (f64::from(levels) * goodness).trunc(),
        }
    }
}
