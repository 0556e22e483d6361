//! Laws of proactive reclaim. Each is asked once an interval, with what happened since.
//!
//! [`Tmo`]: `current * 0.0005 * max(0, 1 - waiting / 0.001)`, at most 1 %. It needs 2.3 hours to take half of a cold group. [`Backoff`] (oomd): 1 % of what is above the floor while waiting is below 0.1 %, then a pause.
//!
//! [`Guarded`], ours: TMO's law with a step that learns. It begins at TMO's, grows by half for each step that was not missed, up to the policy's most, and shrinks to a quarter when what was taken comes back (*accuracy* =
//! 1 - refaulted / taken, below the policy's); while tasks wait as much as they may, nothing is taken and the step begins anew. What was seen to be needed (the charge when it was missed, plus what came back) is not asked for again for half an hour: the working set is found once, not by
//! running into it every few minutes.

use super::{INTERVAL_SECONDS, Params};
use crate::units::Bytes;

/// TMO's part of the charge in a step.
const TMO_STEP: f64 = 0.000_5;
/// A step that was not missed makes the next larger by this.
const GROWTH: f64 = 1.5;
/// A step that was missed makes the next smaller by this.
const SHRINK: f64 = 0.25;
/// Intervals for which the working set is remembered: half an hour.
pub(super) const REMEMBER: u32 = 300;
/// Room kept above a working set that was found.
const ROOM: f64 = 1.02;

/// What happened in an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Charge now.
    pub current: Bytes,
    /// Never below this.
    pub floor: Bytes,
    /// The part of the interval that tasks waited for memory.
    pub waiting: f64,
    /// Taken since the last step.
    pub taken: Bytes,
    /// Came back since the last step.
    pub refaulted: Bytes,
}

/// One law.
pub trait Law {
    /// Bytes to take now.
    fn step(&mut self, sample: &Sample) -> Bytes;
}

fn bounded(wanted: Bytes, most: f64, sample: &Sample) -> Bytes {
    wanted
        .min(sample.current.scale(most))
        .min(sample.current - sample.floor)
}

/// Meta's published law.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tmo;

impl Law for Tmo {
    fn step(&mut self, sample: &Sample) -> Bytes {
        let factor = (1.0 - sample.waiting / 0.001).max(0.0);
        bounded(sample.current.scale(TMO_STEP * factor), 0.01, sample)
    }
}

/// oomd's `immediate_backoff`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    pause: u32,
    /// Averages over 10 and 60 s, as the kernel keeps them.
    averages: [f64; 2],
}

impl Law for Backoff {
    fn step(&mut self, sample: &Sample) -> Bytes {
        for (average, window) in self.averages.iter_mut().zip([10.0, 60.0]) {
            let decay = (-INTERVAL_SECONDS / window).exp();
            *average = *average * decay + sample.waiting * (1.0 - decay);
        }
        self.pause = self.pause.saturating_sub(1);
        let [short, long] = self.averages;
        if self.pause > 0 || short.max(long) >= 0.001 {
            return Bytes::ZERO;
        }
        // 6 s of pause after each, which is one interval here.
        self.pause = 1;
        bounded((sample.current - sample.floor).scale(0.01), 1.0, sample)
    }
}

/// Ours.
#[derive(Debug, Clone, Copy)]
pub struct Guarded {
    params: Params,
    step: f64,
    /// The working set that was found, and for how many intervals it is still believed.
    found: Option<(Bytes, u32)>,
}

impl Guarded {
    /// Begins at TMO's step.
    pub fn new(params: Params) -> Self {
        Self {
            params,
            step: TMO_STEP.min(params.most),
            found: None,
        }
    }

    /// The working set that was found and is still believed.
    pub fn working_set(&self) -> Option<Bytes> {
        self.found.map(|(bytes, _)| bytes)
    }
}

impl Law for Guarded {
    fn step(&mut self, sample: &Sample) -> Bytes {
        let Params {
            waiting,
            most,
            accuracy,
        } = self.params;
        self.found = self
            .found
            .and_then(|(bytes, left)| left.checked_sub(1).map(|left| (bytes, left)));
        let begin = TMO_STEP.min(most);
        let kept = if sample.taken > Bytes::ZERO {
            1.0 - sample.refaulted.get() as f64 / sample.taken.get() as f64
        } else {
            1.0
        };
        if sample.waiting >= waiting {
            self.step = begin;
            self.found = Some(((sample.current + sample.refaulted).scale(ROOM), REMEMBER));
            return Bytes::ZERO;
        }
        if kept < accuracy {
            self.step = (self.step * SHRINK).max(begin * SHRINK);
        } else {
            self.step = (self.step * GROWTH).min(most);
        }
        let room = 1.0 - sample.waiting / waiting;
        let floor = self
            .found
            .map_or(sample.floor, |(bytes, _)| bytes.max(sample.floor));
        bounded(
            sample.current.scale(self.step * room),
            most,
            &Sample { floor, ..*sample },
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Policy, *};

    const MIB: u64 = 1 << 20;

    fn sample(waiting: f64, taken: u64, refaulted: u64) -> Sample {
        Sample {
            current: Bytes::new(1_000 * MIB),
            floor: Bytes::new(100 * MIB),
            waiting,
            taken: Bytes::new(taken * MIB),
            refaulted: Bytes::new(refaulted * MIB),
        }
    }

    fn ours() -> Guarded {
        Guarded::new(Policy::Default.params().unwrap())
    }

    #[test]
    fn tmo_is_the_published_law() {
        assert_eq!(Tmo.step(&sample(0.0, 0, 0)), Bytes::new(MIB / 2));
        assert_eq!(Tmo.step(&sample(0.000_5, 0, 0)), Bytes::new(MIB / 4));
        assert_eq!(Tmo.step(&sample(0.001, 0, 0)), Bytes::ZERO);
    }

    #[test]
    fn ours_grows_to_the_most_while_nothing_is_missed() {
        let mut law = ours();
        let steps: Vec<u64> = (0..12)
            .map(|_| law.step(&sample(0.0, 1, 0)).get())
            .collect();
        assert!(steps.windows(2).all(|pair| pair[0] <= pair[1]), "{steps:?}");
        assert_eq!(steps.last(), Some(&(10 * MIB)), "1 %");
    }

    #[test]
    fn what_comes_back_shrinks_the_step_and_waiting_stops_it() {
        let mut law = ours();
        for _ in 0..12 {
            law.step(&sample(0.0, 1, 0));
        }
        assert!(law.step(&sample(0.0, 10, 5)) < Bytes::new(3 * MIB));
        assert_eq!(law.step(&sample(0.001, 10, 5)), Bytes::ZERO);
        // The working set is remembered, so nothing is taken of it.
        assert_eq!(law.step(&sample(0.0, 0, 0)), Bytes::ZERO);
        for _ in 0..=REMEMBER {
            law.step(&sample(0.0, 0, 0));
        }
        assert!(
            law.step(&sample(0.0, 0, 0)) > Bytes::ZERO,
            "it may have shrunk since"
        );
    }

    proptest! {
        #[test]
        fn no_law_goes_below_the_floor_or_takes_while_tasks_wait(
            current in 0..10_000_u64, floor in 0..10_000_u64, waiting in 0.0..0.01_f64, taken in 0..100_u64, back in 0..200_u64,
        ) {
            let sample = Sample {
                current: Bytes::new(current * MIB),
                floor: Bytes::new(floor * MIB),
                ..sample(waiting, taken, back)
            };
            let mut laws: [Box<dyn Law>; 3] = [Box::new(Tmo), Box::new(Backoff::default()), Box::new(ours())];
            for law in &mut laws {
                for _ in 0..5 {
                    let bytes = law.step(&sample);
                    prop_assert!(bytes <= sample.current - sample.floor);
                }
            }
            if waiting >= 0.001 {
                prop_assert_eq!(ours().step(&sample), Bytes::ZERO);
                prop_assert_eq!(Tmo.step(&sample), Bytes::ZERO);
            }
        }
    }
}
