//! Memory wishes: the annotation `memory_enhancement`.

use std::collections::BTreeMap;

use super::error::QosError;
use super::keys;
use super::level::Level;
use super::reader::{MapReader, Safest, positive};
use crate::memory::offload::Policy;

/// What a pod wishes of its memory.
#[derive(Clone, PartialEq, Debug)]
pub struct MemoryWishes {
    /// Keep the pod within NUMA nodes.
    pub numa_binding: bool,
    /// Share these NUMA nodes with nobody. Dedicated pods with `numa_binding` only.
    pub numa_exclusive: bool,
    /// Ratio of resident memory to request above which the pod may be evicted; the node's own where absent.
    pub rss_overuse_threshold: Option<f64>,
    /// Who dies first when memory runs out.
    pub oom_priority: OomPriority,
    /// How far cold memory of the pod may be taken.
    pub reclaim: Policy,
}

/// Who dies first when memory runs out; a higher score survives longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OomPriority {
    /// The pod takes no part in the comparison (`-300`).
    Ignored,
    /// A score in the range of the pod's level.
    Score(i32),
    /// The pod is never chosen (`300`).
    Highest,
}

/// The score that takes a pod out of the comparison.
const IGNORED: i64 = -300;
/// The score that is never chosen.
const HIGHEST: i64 = 300;

impl OomPriority {
    /// The priority of a pod of that level that wishes nothing: the lowest of its range.
    pub const fn of(level: Level) -> Self {
        Self::Score(range(level).0)
    }

    /// The number this priority is written as.
    pub const fn score(self) -> i32 {
        match self {
            Self::Ignored => IGNORED as i32,
            Self::Score(score) => score,
            Self::Highest => HIGHEST as i32,
        }
    }
}

/// The scores a pod of that level may have: [-100,0), [0,100), [100,200) and [200,300).
const fn range(level: Level) -> (i32, i32) {
    match level {
        Level::Reclaimed => (-100, -1),
        Level::Shared => (0, 99),
        Level::Dedicated => (100, 199),
        Level::System => (200, 299),
    }
}

pub(super) fn read(
    level: Level,
    annotations: &BTreeMap<String, String>,
    errors: &mut Vec<QosError>,
) -> MemoryWishes {
    let mut map = MapReader::open(keys::MEMORY_ENHANCEMENT, annotations, errors);
    let numa_binding = map.flag(keys::memory::NUMA_BINDING, false) == Some(true);
    let wishes = MemoryWishes {
        numa_binding,
        numa_exclusive: read_exclusive(level, numa_binding, &mut map),
        rss_overuse_threshold: map.parse(
            keys::memory::RSS_OVERUSE_THRESHOLD,
            "a number above 0",
            Safest::Absent("the node's own threshold"),
            positive,
        ),
        oom_priority: read_oom_priority(level, &mut map),
        reclaim: map
            .parse(
                keys::memory::RECLAIM,
                "none, conservative, default or aggressive",
                Safest::Is(Policy::None, "none"),
                Policy::from_name,
            )
            .unwrap_or(Policy::of(level)),
    };
    map.close();
    wishes
}

fn read_exclusive(level: Level, numa_binding: bool, map: &mut MapReader<'_>) -> bool {
    let key = keys::memory::NUMA_EXCLUSIVE;
    if map.flag(key, false) != Some(true) {
        return false;
    }
    if level != Level::Dedicated {
        map.no_effect(
            key,
            "true",
            "only dedicated_cores may have NUMA nodes to themselves",
        );
        return false;
    }
    if !numa_binding {
        map.no_effect(key, "true", "it needs numa_binding \"true\" beside it");
        return false;
    }
    true
}

fn read_oom_priority(level: Level, map: &mut MapReader<'_>) -> OomPriority {
    let key = keys::memory::OOM_PRIORITY;
    let Some(asked) = map.parse(
        key,
        "a whole number",
        Safest::Absent("the level's own priority"),
        |text| text.parse::<i64>().ok(),
    ) else {
        return OomPriority::of(level);
    };
    match asked {
        IGNORED => OomPriority::Ignored,
        HIGHEST => OomPriority::Highest,
        _ => {
            let (least, most) = range(level);
            let score = asked.clamp(i64::from(least), i64::from(most)) as i32;
            if i64::from(score) != asked {
                let range = format!("{least} to {most}, the range of {level}");
                map.clamped(key, &asked.to_string(), range, score.to_string());
            }
            OomPriority::Score(score)
        }
    }
}
