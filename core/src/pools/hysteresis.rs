//! When a pool that is too large becomes smaller: not for noise.
//!
//! A rewritten cpuset moves every task of a pool, so a pool grows at once and shrinks only after it has been too large by at least a core for the whole wait, and then to the most that it
//! wanted since.

use super::Shrinking;

/// How long a pool that is too large keeps what it held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub(super) now: f64,
    /// Seconds to wait.
    pub(super) after: f64,
    /// CPUs of a core: what must be too much before anything is.
    pub(super) width: u32,
}

impl Wait {
    /// How much of what it held a pool may keep, and since when that is too much.
    pub(super) fn keep(
        self,
        held: u32,
        target: u32,
        before: Option<Shrinking>,
    ) -> (u32, Option<Shrinking>) {
        if held < target.saturating_add(self.width) {
            return (held, None);
        }
        // A clock that went back starts the wait anew.
        let before = before.filter(|before| before.since_seconds <= self.now);
        let largest_wanted = before.map_or(target, |before| before.largest_wanted.max(target));
        let since_seconds = before.map_or(self.now, |before| before.since_seconds);
        if self.now - since_seconds < self.after {
            let waiting = Shrinking {
                since_seconds,
                largest_wanted,
            };
            return (held, Some(waiting));
        }
        let anew = Shrinking {
            since_seconds: self.now,
            largest_wanted: target,
        };
        (largest_wanted.min(held), Some(anew))
    }

    /// Whether a pool of this size still waits: rounding to whole cores may have left it too large.
    pub(super) fn outcome(
        self,
        size: u32,
        target: u32,
        waiting: Option<Shrinking>,
    ) -> Option<Shrinking> {
        let anew = Shrinking {
            since_seconds: self.now,
            largest_wanted: target,
        };
        (size >= target.saturating_add(self.width)).then(|| waiting.unwrap_or(anew))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_wanted_meanwhile_is_kept() {
        let wait = |now| Wait {
            now,
            after: 60.0,
            width: 2,
        };
        assert_eq!(
            wait(0.0).keep(8, 7, None),
            (8, None),
            "half a core too many"
        );
        let (kept, since) = wait(0.0).keep(8, 4, None);
        assert_eq!(kept, 8);
        let (kept, since) = wait(30.0).keep(8, 6, since);
        assert_eq!((kept, since.map(|wait| wait.largest_wanted)), (8, Some(6)));
        assert_eq!(wait(59.0).keep(8, 4, since).0, 8);
        assert_eq!(wait(60.0).keep(8, 4, since).0, 6);
        assert_eq!(wait(60.0).keep(8, 7, since), (8, None), "wanted again");
        assert_eq!(
            wait(-1.0)
                .keep(8, 4, since)
                .1
                .map(|wait| wait.since_seconds),
            Some(-1.0)
        );
    }
}
