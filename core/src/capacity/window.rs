//! A sliding maximum with bounded memory.
//!
//! The window is cut into equal slots and each slot keeps its highest value, so memory does not depend on the sampling rate. A
//! value leaves the window between `window` and `window + window / SLOTS` seconds after it was seen: never early.

/// Slots of a window: 60 slots of a 5-minute window are 5 s each.
const SLOTS: usize = 60;

/// The highest of the values seen in the last `window` seconds.
#[derive(Debug, Clone)]
pub struct WindowPeak {
    slot_seconds: f64,
    window_seconds: f64,
    /// Slot number and its highest value; numbers ascend, at most `SLOTS + 1` entries.
    slots: std::collections::VecDeque<(u64, u64)>,
    first: Option<f64>,
}

impl WindowPeak {
    /// A window of `seconds` (at least one second).
    pub fn new(seconds: f64) -> Self {
        let window_seconds = if seconds.is_finite() {
            seconds.max(1.0)
        } else {
            1.0
        };
        Self {
            slot_seconds: window_seconds / SLOTS as f64,
            window_seconds,
            slots: std::collections::VecDeque::with_capacity(SLOTS + 2),
            first: None,
        }
    }

    /// Notes `value` at `now` (seconds on any monotonic clock). A clock that steps back counts into the newest slot.
    pub fn push(&mut self, now: f64, value: u64) {
        self.first.get_or_insert(now);
        let slot = self.slot_of(now);
        match self.slots.back_mut() {
            Some((last, peak)) if *last >= slot => *peak = (*peak).max(value),
            _ => self.slots.push_back((slot, value)),
        }
        self.expire(now);
    }

    /// The highest value still inside the window; `None` when nothing was seen in it.
    pub fn peak(&self, now: f64) -> Option<u64> {
        let oldest = self.oldest_slot(now);
        self.slots
            .iter()
            .filter(|(slot, _)| *slot >= oldest)
            .map(|(_, peak)| *peak)
            .max()
    }

    /// For how many seconds there are values, at most the window.
    pub fn filled_seconds(&self, now: f64) -> f64 {
        self.first
            .map_or(0.0, |first| (now - first).clamp(0.0, self.window_seconds))
    }

    /// The window's length in seconds.
    pub fn window_seconds(&self) -> f64 {
        self.window_seconds
    }

    fn slot_of(&self, now: f64) -> u64 {
        (now.max(0.0) / self.slot_seconds) as u64
    }

    fn oldest_slot(&self, now: f64) -> u64 {
        self.slot_of(now).saturating_sub(SLOTS as u64)
    }

    fn expire(&mut self, now: f64) {
        let oldest = self.oldest_slot(now);
        while self.slots.front().is_some_and(|(slot, _)| *slot < oldest) {
            self.slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_peak_stays_for_the_window_and_then_leaves() {
        let mut window = WindowPeak::new(60.0);
        window.push(0.0, 900);
        window.push(30.0, 100);
        assert_eq!(window.peak(59.0), Some(900));
        window.push(62.0, 50);
        assert_eq!(window.peak(62.0), Some(100));
        assert_eq!(window.peak(500.0), None);
        assert!((window.filled_seconds(30.0) - 30.0).abs() < 1e-9);
    }

    proptest! {
        /// Never below the true maximum of the window, never above that of a window longer by two slots.
        #[test]
        fn brackets_the_true_maximum(values in prop::collection::vec((0.0..200.0f64, 0..1000u64), 1..100)) {
            let mut values = values;
            values.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut window = WindowPeak::new(60.0);
            for (index, (now, value)) in values.iter().enumerate() {
                window.push(*now, *value);
                let within = |span: f64| values[..=index].iter().filter(|(t, _)| now - t <= span).map(|(_, v)| *v).max().unwrap();
                let peak = window.peak(*now).unwrap();
                prop_assert!(peak >= within(60.0));
                prop_assert!(peak <= within(62.0));
            }
        }
    }
}
