//! A sliding maximum with bounded memory.
//!
//! The window is cut into equal slots and each slot keeps its highest value, so memory does not depend on the sampling rate. A
//! value leaves the window between `window` and `window + window / SLOTS` seconds after it was seen: never early.

use std::collections::{BTreeMap, VecDeque};

/// Slots of a window: 60 slots of a 5-minute window are 5 s each.
const SLOTS: usize = 60;

/// The highest of the values seen in the last `window` seconds.
#[derive(Debug, Clone)]
pub struct WindowPeak {
    slot_seconds: f64,
    window_seconds: f64,
    /// Numbers ascend; at most `SLOTS + 1` entries.
    slots: VecDeque<Slot>,
    first: Option<f64>,
}

/// The highest value of a slot.
#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u64,
    value: u64,
    /// When it was seen last, so that a checkpoint makes it neither younger nor older.
    at: f64,
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
            slots: VecDeque::with_capacity(SLOTS + 2),
            first: None,
        }
    }

    /// Notes `value` at `now` (seconds on any monotonic clock). A clock that steps back counts into the newest slot.
    pub fn push(&mut self, now: f64, value: u64) {
        self.first.get_or_insert(now);
        let number = self.slot_of(now);
        match self.slots.back_mut() {
            Some(last) if last.number >= number => last.take(value, now),
            _ => self.slots.push_back(Slot {
                number,
                value,
                at: now,
            }),
        }
        self.expire(now);
    }

    /// The highest value still inside the window; `None` when nothing was seen in it.
    pub fn peak(&self, now: f64) -> Option<u64> {
        let oldest = self.oldest_slot(now);
        self.slots
            .iter()
            .filter(|slot| slot.number >= oldest)
            .map(|slot| slot.value)
            .max()
    }

    /// For how many seconds there are values, at most the window.
    pub fn filled_seconds(&self, now: f64) -> f64 {
        self.first
            .map_or(0.0, |first| (now - first).clamp(0.0, self.window_seconds))
    }

    /// The values, oldest first: for how many seconds each was the past at `now`, and the value. For a checkpoint.
    pub fn entries(&self, now: f64) -> impl Iterator<Item = (f64, u64)> + '_ {
        let oldest = self.oldest_slot(now);
        self.slots
            .iter()
            .filter(move |slot| slot.number >= oldest)
            .map(move |slot| ((now - slot.at).max(0.0), slot.value))
    }

    /// Adds values of an earlier run to what was seen since: how long ago each was seen, and the value. `filled_seconds` is for how long that
    /// run had measured; the time between the runs does not count. Values that are older than the window are left out.
    pub fn restore(
        &mut self,
        now: f64,
        filled_seconds: f64,
        entries: impl IntoIterator<Item = (f64, u64)>,
    ) {
        let mut slots: BTreeMap<u64, Slot> =
            self.slots.iter().map(|slot| (slot.number, *slot)).collect();
        for (age, value) in entries {
            if !(0.0..=self.window_seconds).contains(&age) {
                continue;
            }
            let at = now - age;
            let number = self.slot_of(at);
            slots
                .entry(number)
                .or_insert(Slot { number, value, at })
                .take(value, at);
        }
        self.slots = slots.into_values().collect();
        let filled = filled_seconds.clamp(0.0, self.window_seconds);
        if !self.slots.is_empty() && filled.is_finite() {
            self.first = Some(self.first.unwrap_or(now) - filled);
        }
        self.expire(now);
    }

    /// The window's length in seconds.
    pub fn window_seconds(&self) -> f64 {
        self.window_seconds
    }

    /// Slots are counted from one window before the clock's zero, so that values of an earlier run have numbers too.
    fn slot_of(&self, now: f64) -> u64 {
        ((now + self.window_seconds).max(0.0) / self.slot_seconds) as u64
    }

    fn oldest_slot(&self, now: f64) -> u64 {
        self.slot_of(now).saturating_sub(SLOTS as u64)
    }

    fn expire(&mut self, now: f64) {
        let oldest = self.oldest_slot(now);
        while self.slots.front().is_some_and(|slot| slot.number < oldest) {
            self.slots.pop_front();
        }
    }
}

impl Slot {
    fn take(&mut self, value: u64, at: f64) {
        if value >= self.value {
            self.value = value;
            self.at = self.at.max(at);
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

    #[test]
    fn an_earlier_run_counts_for_what_is_left_of_its_time() {
        let mut before = WindowPeak::new(60.0);
        before.push(1_000.0, 900);
        before.push(1_050.0, 300);
        let saved: Vec<(f64, u64)> = before.entries(1_055.0).collect();
        // Ten seconds without an agent.
        let mut after = WindowPeak::new(60.0);
        after.push(0.0, 10);
        after.restore(
            0.0,
            before.filled_seconds(1_055.0),
            saved.into_iter().map(|(age, value)| (age + 10.0, value)),
        );
        assert_eq!(after.peak(0.0), Some(300), "the older one left meanwhile");
        assert!((after.filled_seconds(0.0) - 55.0).abs() < 1e-9);
        assert_eq!(after.peak(40.0), Some(300));
        assert_eq!(after.peak(50.0), Some(10));
    }

    #[test]
    fn nonsense_is_left_out() {
        let mut window = WindowPeak::new(60.0);
        window.restore(
            5.0,
            f64::NAN,
            [(-1.0, 7), (f64::NAN, 8), (61.0, 9), (f64::INFINITY, 10)],
        );
        assert_eq!(window.peak(5.0), None);
        assert!(window.filled_seconds(5.0) < 1e-9);
    }

    proptest! {
        /// Two restarts in between lose a value at most one slot each early, and no number of restarts keeps it longer.
        #[test]
        fn restarts_keep_peaks_and_do_not_prolong_them(
            values in prop::collection::vec((0.0..200.0f64, 0..1000u64), 1..60), restarts in prop::array::uniform2(0..60usize),
        ) {
            let mut values = values;
            values.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut window = WindowPeak::new(60.0);
            let mut epoch = 0.0;
            for (index, (now, value)) in values.iter().enumerate() {
                if restarts.contains(&index) {
                    let saved: Vec<_> = window.entries(now - epoch).collect();
                    let filled = window.filled_seconds(now - epoch);
                    epoch = *now;
                    window = WindowPeak::new(60.0);
                    window.restore(0.0, filled, saved);
                }
                window.push(now - epoch, *value);
                let within = |span: f64| values[..=index].iter().filter(|(t, _)| now - t <= span).map(|(_, v)| *v).max().unwrap();
                let peak = window.peak(now - epoch).unwrap();
                prop_assert!(peak >= within(57.0), "{} < {}", peak, within(57.0));
                prop_assert!(peak <= within(62.0));
            }
        }

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
