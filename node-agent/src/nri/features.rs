//! What the runtime's NRI can do, by the version that it announces.
//!
//! A field that a runtime does not know is skipped there without a word, so what is not sent is said: the placement that needs it is then
//! made by the reconciler or not at all. Runtimes announce their NRI version since 0.11; older ones are told by their own version (the table
//! in `pkg/api/version.go` of containerd/nri).

use serde::Serialize;

/// What can be asked of a runtime beyond CPUs, memory nodes, weights, limits, environment and devices, which all versions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Features {
    /// Scheduling policy of the first process (0.11).
    pub scheduling: bool,
    /// Memory policy of the first process (0.12).
    pub memory_policy: bool,
}

impl Features {
    /// Those of a runtime that announced this.
    pub fn of(nri_version: &str, runtime: &str, runtime_version: &str) -> Self {
        let minor = minor_of(nri_version, 0).unwrap_or_else(|| match runtime {
            "containerd" if minor_of(runtime_version, 2).is_some_and(|minor| minor >= 2) => 11,
            "cri-o" if minor_of(runtime_version, 1).is_some_and(|minor| minor >= 35) => 11,
            _ => 0,
        });
        Self {
            scheduling: minor >= 11,
            memory_policy: minor >= 12,
        }
    }
}

/// The second number of `v0.12.3` where the first is `major`; a later major has everything.
fn minor_of(version: &str, major: u32) -> Option<u32> {
    let mut numbers = version.trim_start_matches('v').split('.');
    let first: u32 = numbers.next()?.parse().ok()?;
    let minor: u32 = numbers.next()?.parse().ok()?;
    let unknown = (first, minor) == (0, 0);
    match first.cmp(&major) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => Some(minor).filter(|_| !unknown),
        std::cmp::Ordering::Greater => Some(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_tell_what_there_is() {
        let of = |nri, runtime, version| {
            let features = Features::of(nri, runtime, version);
            (features.scheduling, features.memory_policy)
        };
        assert_eq!(of("v0.12.3", "containerd", "v2.4.2"), (true, true));
        assert_eq!(of("0.11.0", "cri-o", "1.35.0"), (true, false));
        assert_eq!(of("", "containerd", "1.7.24"), (false, false));
        assert_eq!(of("", "containerd", "v2.2.1"), (true, false));
        assert_eq!(of("0.0.0-unknown", "containerd", "v2.1.0"), (false, false));
        assert_eq!(of("(devel)", "cri-o", "1.35.1"), (true, false));
        assert_eq!(of("v1.0.0", "x", ""), (true, true));
        assert_eq!(of("", "", ""), (false, false));
    }
}
