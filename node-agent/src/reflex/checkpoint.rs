//! The service peak on disk, so that an agent that restarts does not forget what services needed in the last hour.
//!
//! Without it a restart in a quiet minute empties the window, and the offer may rise (by its slope limit) into room that services need back.
//! The file is small (one entry a slot, a few KB), written each minute and at the end, and replaced atomically. It is not flushed to the disk:
//! a power loss may take it, and then the window starts empty, as it always did.
//!
//! What a file says can only raise the peak and so only lower an offer. A file from the future (a clock that was set back) counts as
//! written now; one that means nothing is left alone and overwritten by the next.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::peaks::SavedPeaks;

const FILE: &str = "service-peaks.json";
const VERSION: u32 = 1;
/// Seconds between writes: a slot of the default window of an hour.
const EVERY_SECONDS: f64 = 60.0;

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    /// Seconds since 1970 when it was written.
    written_seconds: f64,
    peaks: SavedPeaks,
}

/// Writes the peaks now and then.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    saved_at: Option<f64>,
}

impl Checkpoint {
    /// In `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(FILE),
            saved_at: None,
        }
    }

    /// What an earlier run saw, and how many seconds ago it wrote that; `wall_seconds` since 1970. `None` where there is no file or it
    /// means nothing.
    pub(super) fn load(&self, wall_seconds: f64) -> Option<(f64, SavedPeaks)> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %self.path.display(), %error, "the service peak of an earlier run cannot be read");
                }
                return None;
            }
        };
        match serde_json::from_slice::<File>(&text) {
            Ok(file) if file.version == VERSION => {
                Some(((wall_seconds - file.written_seconds).max(0.0), file.peaks))
            }
            Ok(file) => {
                tracing::warn!(path = %self.path.display(), version = file.version, "the service peak of an earlier run is of another version");
                None
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the service peak of an earlier run is damaged");
                None
            }
        }
    }

    /// Whether it is time to write; `now` on the monotonic clock, seconds.
    pub(super) fn due(&self, now: f64) -> bool {
        self.saved_at
            .is_none_or(|saved| now - saved >= EVERY_SECONDS)
    }

    /// Writes. A failure is tried again a minute later.
    pub(super) fn save(
        &mut self,
        now: f64,
        wall_seconds: f64,
        peaks: SavedPeaks,
    ) -> io::Result<()> {
        self.saved_at = Some(now);
        let file = File {
            version: VERSION,
            written_seconds: wall_seconds,
            peaks,
        };
        let text = serde_json::to_vec(&file)?;
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let next = self.path.with_extension("json.next");
        fs::write(&next, text)?;
        fs::rename(&next, &self.path)
    }
}

/// Removes the file: an installation that comes later starts anew.
pub fn forget_peaks(dir: &Path) {
    if let Err(error) = fs::remove_file(dir.join(FILE))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %dir.display(), %error, "the service peak is left in the state directory");
    }
}

#[cfg(test)]
mod tests {
    use katalyst_core::reclaimed::Reclaimed;

    use super::*;
    use crate::reflex::Peaks;

    fn peaks() -> Peaks {
        Peaks::new(10.0, 3_600.0, 1.0)
    }

    #[test]
    fn a_restart_keeps_the_peak_for_the_rest_of_its_hour() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let mut before = peaks();
        before.push(100.0, Reclaimed::new(3_000, 7 << 30), true);
        before.push(1_000.0, Reclaimed::new(500, 1 << 30), true);
        let mut checkpoint = Checkpoint::new(&state);
        assert!(checkpoint.due(1_000.0));
        checkpoint
            .save(1_000.0, 50_000.0, before.saved(1_000.0))
            .unwrap();
        assert!(!checkpoint.due(1_059.0) && checkpoint.due(1_060.0));

        // Two minutes later, another process.
        let (away, saved) = Checkpoint::new(&state).load(50_120.0).unwrap();
        let mut after = peaks();
        after.restore(0.0, away, &saved);
        after.push(0.0, Reclaimed::new(400, 1 << 30), true);
        assert_eq!(after.window(0.0), Reclaimed::new(3_000, 7 << 30));
        assert_eq!(after.recent(0.0), Reclaimed::new(400, 1 << 30));
        assert!((after.filled_seconds(0.0) - 900.0).abs() < 1.0);
        // 900 s old and 120 s away: 2580 s are left of its hour, and a slot.
        assert_eq!(after.window(2_500.0).cpu.get(), 3_000);
        assert!(after.window(2_700.0).cpu.get() < 3_000);
    }

    #[test]
    fn an_old_file_says_nothing_and_one_from_the_future_counts_as_new() {
        let dir = tempfile::tempdir().unwrap();
        let mut before = peaks();
        before.push(0.0, Reclaimed::new(3_000, 1), true);
        let mut checkpoint = Checkpoint::new(dir.path());
        checkpoint.save(0.0, 50_000.0, before.saved(0.0)).unwrap();
        for (wall, peak) in [(60_000.0, 0), (40_000.0, 3_000)] {
            let (away, saved) = checkpoint.load(wall).unwrap();
            let mut after = peaks();
            after.restore(0.0, away, &saved);
            assert_eq!(after.window(0.0).cpu.get(), peak, "{wall}");
        }
    }

    #[test]
    fn a_damaged_file_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut checkpoint = Checkpoint::new(dir.path());
        assert!(checkpoint.load(1.0).is_none());
        for text in [
            "",
            "{\"version\":1",
            "{\"version\":2,\"written_seconds\":1.0,\"peaks\":{\"filled_seconds\":1.0,\"samples\":1,\"cpu\":[],\"memory\":[]}}",
        ] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert!(checkpoint.load(1.0).is_none(), "{text}");
        }
        checkpoint.save(0.0, 1.0, peaks().saved(0.0)).unwrap();
        assert!(checkpoint.load(1.0).is_some());
        forget_peaks(dir.path());
        assert!(checkpoint.load(1.0).is_none());
    }
}
