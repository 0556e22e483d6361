//! What will be left of one card, by itself: which card of a node a drawn pod takes.
//!
//! With r thousandths left, a pod that fits comes before the card's patience is over with probability q, and then leaves r - g:
//!
//! ```text
//! waste(r) = (1 - q) r + q mean of waste(r - g) over classes that fit,    q = 1 - (1 - p)^n,    n = factor r / mean request
//! ```
//!
//! p is the popularity of what fits, n the pods that ask for `factor` times what is left. The tightest card that fits is not always the best: 320 on
//! 470 leaves 150 that few ask for, on 790 it leaves 470 that many do. Known of a card alone: CPU and several cards are the walk's business.

use crate::packing::pod::{PodClass, WHOLE_CARD};

/// Expected waste by what is left, thousandths both.
#[derive(Debug, Clone, Default)]
pub(super) struct CardWaste(Vec<f32>);

impl CardWaste {
    /// From the weighted classes that are drawn.
    pub(super) fn new(classes: &[(PodClass, f64)], factor: u32) -> Self {
        let all: f64 = classes.iter().map(|(_, weight)| weight).sum();
        let asked: f64 = classes
            .iter()
            .map(|(class, weight)| weight * class.gpu_milli() as f64)
            .sum();
        if all <= 0.0 || asked <= 0.0 {
            return Self::default();
        }
        let mean = asked / all;
        let mut waste: Vec<f64> = vec![0.0];
        for left in 1..=WHOLE_CARD {
            let fitting = classes
                .iter()
                .filter(|(class, _)| class.cards == 1 && class.card_milli <= left);
            let (mut weight, mut after) = (0.0, 0.0);
            for (class, popularity) in fitting {
                let rest = usize::from(left - class.card_milli);
                weight += popularity;
                after += popularity * waste.get(rest).copied().unwrap_or(0.0);
            }
            let left = f64::from(left);
            let none = (1.0 - weight / all).powf(f64::from(factor) * left / mean);
            waste.push(if weight > 0.0 {
                none * left + (1.0 - none) * after / weight
            } else {
                left
            });
        }
        Self(waste.into_iter().map(|waste| waste as f32).collect())
    }

    /// What a step from `before` to `after` adds.
    pub(super) fn growth(&self, before: u16, after: u16) -> f32 {
        let at = |left: u16| self.0.get(usize::from(left)).copied().unwrap_or(0.0);
        at(after) - at(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asks_for_is_wasted_and_what_many_ask_for_is_not() {
        let classes = [
            (PodClass::gpu(1000, 470, 1), 1.0),
            (PodClass::gpu(1000, 320, 1), 1.0),
        ];
        let waste = CardWaste::new(&classes, 12);
        let of = |left| waste.growth(0, left);
        assert!((of(60) - 60.0).abs() < 1e-3);
        assert!(of(320) < 5.0, "{}", of(320));
        // 320 leaves nothing useful of 470, and a place for 470 of 790.
        assert!(waste.growth(790, 470) < waste.growth(470, 150));
    }
}
