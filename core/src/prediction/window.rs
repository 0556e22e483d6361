//! The last samples of something, sorted too, so that any percentile is read off.

use std::collections::VecDeque;

/// The last `capacity` values, in order of arrival and in order of size.
#[derive(Debug, Clone)]
pub struct SortedWindow {
    capacity: usize,
    recent: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl SortedWindow {
    /// An empty window for so many values (at least one).
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            recent: VecDeque::new(),
            sorted: Vec::new(),
        }
    }

    /// Takes a value; the oldest leaves when the window is full. NaN counts as zero.
    pub fn push(&mut self, value: f64) {
        let value = if value.is_nan() { 0.0 } else { value };
        if self.recent.len() == self.capacity
            && let Some(oldest) = self.recent.pop_front()
        {
            let at = self.sorted.partition_point(|v| *v < oldest);
            if at < self.sorted.len() {
                self.sorted.remove(at);
            }
        }
        self.recent.push_back(value);
        let at = self.sorted.partition_point(|v| *v < value);
        self.sorted.insert(at, value);
    }

    /// Percentile by linear interpolation between closest ranks (the default rule of numpy); `None` when empty.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        percentile_of_sorted(&self.sorted, percent)
    }
}

/// Percentile of ascending values by linear interpolation between closest ranks.
pub fn percentile_of_sorted(sorted: &[f64], percent: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
    let low = *sorted.get(rank.floor() as usize)?;
    let high = sorted
        .get(rank.floor() as usize + 1)
        .copied()
        .unwrap_or(low);
    Some(low + (high - low) * rank.fract())
}

/// Percentile of values in any order, which are reordered.
pub fn percentile_of(values: &mut [f64], percent: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let rank = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
    let at = rank.floor() as usize;
    let (_, low, above) = values.select_nth_unstable_by(at.min(last), f64::total_cmp);
    let low = *low;
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    Some(low + (high - low) * rank.fract())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_interpolated_as_in_numpy() {
        let values = [1.0, 2.0, 4.0, 8.0];
        for (percent, expected) in [(0.0, 1.0), (50.0, 3.0), (90.0, 6.8), (100.0, 8.0)] {
            let got = percentile_of_sorted(&values, percent).unwrap();
            assert!((got - expected).abs() < 1e-12, "p{percent}: {got}");
        }
        assert_eq!(percentile_of_sorted(&[], 50.0), None);
    }

    proptest! {
        #[test]
        fn a_window_equals_sorting_its_last_values(
            values in prop::collection::vec(0.0..100.0f64, 1..80), capacity in 1usize..30, percent in 0.0..100.0f64,
        ) {
            let mut window = SortedWindow::new(capacity);
            for (index, value) in values.iter().enumerate() {
                window.push(*value);
                let mut last = values[(index + 1).saturating_sub(capacity)..=index].to_vec();
                let selected = percentile_of(&mut last.clone(), percent).unwrap();
                last.sort_by(f64::total_cmp);
                let expected = percentile_of_sorted(&last, percent).unwrap();
                prop_assert!((window.percentile(percent).unwrap() - expected).abs() < 1e-9);
                prop_assert!((selected - expected).abs() < 1e-9);
            }
        }
    }
}
