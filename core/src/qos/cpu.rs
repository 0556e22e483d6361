//! CPU wishes: the annotation `cpu_enhancement`, and the NUMA nodes a pod asks for.

use std::collections::BTreeMap;

use super::error::{QosError, quote};
use super::keys;
use super::level::Level;
use super::numa_set::{MAX_NUMA_ID, NumaSet};
use super::reader::{MapReader, Place, Safest, number_from, parsed};

/// What a pod wishes of its CPUs.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct CpuWishes {
    /// Named CPU pool; the level's own pool where absent. Shared and system pods only.
    pub cpuset_pool: Option<String>,
    /// Share no NUMA node with another level or another pool.
    pub numa_private: bool,
    /// Suppression (wanted over granted CPU) beyond which a reclaimed pod would rather be evicted; never where absent.
    pub suppression_tolerance_rate: Option<f64>,
    /// What to do with the CPU burst.
    pub burst: BurstPolicy,
    /// Utilisation below which a dynamic burst is on, in the annotation's own unit.
    pub burst_threshold: Option<f64>,
    /// Burst as percent of the quota, at most 100.
    pub burst_percent: Option<u8>,
    /// Use as few sockets as possible.
    pub align_by_socket: bool,
    /// Use the same number of CPUs in each chosen NUMA node.
    pub distribute_evenly_across_numa: bool,
    /// Use whole physical cores only.
    pub full_pcpus_pairing: bool,
    /// The NUMA nodes asked for.
    pub numa: NumaWish,
}

/// What to do with a container's CPU burst.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum BurstPolicy {
    /// Leave it as the runtime set it.
    #[default]
    Default,
    /// Allow none.
    Closed,
    /// Allow a fixed percent of the quota.
    Static,
    /// Allow it while utilisation is low.
    Dynamic,
}

impl BurstPolicy {
    /// The policy's name in the annotation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Closed => "closed",
            Self::Static => "static",
            Self::Dynamic => "dynamic",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Default, Self::Closed, Self::Static, Self::Dynamic]
            .into_iter()
            .find(|policy| policy.as_str() == name)
    }
}

/// The NUMA nodes a pod asks for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum NumaWish {
    /// Whichever fit.
    #[default]
    Any,
    /// That many.
    Number(u32),
    /// Exactly these.
    Ids(NumaSet),
}

pub(super) fn read(
    level: Level,
    annotations: &BTreeMap<String, String>,
    errors: &mut Vec<QosError>,
) -> CpuWishes {
    let mut map = MapReader::open(keys::CPU_ENHANCEMENT, annotations, errors);
    let (burst, burst_threshold, burst_percent) = read_burst(level, &mut map);
    let mut wishes = CpuWishes {
        cpuset_pool: read_pool(level, &mut map),
        numa_private: map.flag(keys::cpu::NUMA_SHARE, true) == Some(false),
        suppression_tolerance_rate: read_suppression(level, &mut map),
        burst,
        burst_threshold,
        burst_percent,
        align_by_socket: map.flag(keys::cpu::ALIGN_BY_SOCKET, false) == Some(true),
        distribute_evenly_across_numa: map.flag(keys::cpu::DISTRIBUTE_EVENLY_ACROSS_NUMA, false)
            == Some(true),
        full_pcpus_pairing: map.flag(keys::cpu::FULL_PCPUS_PAIRING, false) == Some(true),
        numa: NumaWish::Any,
    };
    let in_map = [keys::NUMA_NUMBER, keys::NUMA_IDS].map(|key| map.take(key));
    map.close();
    wishes.numa = read_numa(in_map, annotations, errors);
    wishes
}

fn read_pool(level: Level, map: &mut MapReader<'_>) -> Option<String> {
    let key = keys::cpu::CPUSET_POOL;
    let pool = map.parse(
        key,
        "the name of a pool: 1 to 63 letters, digits, '-', '_' or '.'",
        Safest::Absent("no pool"),
        |text| is_pool_name(text).then(|| text.to_owned()),
    )?;
    match level {
        Level::Shared if is_reserved_pool(&pool) => {
            map.no_effect(key, &pool, "the pool is kept for other levels");
            None
        }
        Level::Shared | Level::System => Some(pool),
        Level::Reclaimed | Level::Dedicated => {
            let reason = format!("{level} has no named pools");
            map.no_effect(key, &pool, &reason);
            None
        }
    }
}

fn is_pool_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !text.starts_with('.')
}

// A service that named one of these would land on the CPUs of batch pods, or take those of others.
fn is_reserved_pool(name: &str) -> bool {
    matches!(
        name,
        "reclaim" | "reserve" | "dedicated" | "interrupt" | "fallback"
    ) || name.starts_with("isolation")
        || name.starts_with("system")
}

fn read_suppression(level: Level, map: &mut MapReader<'_>) -> Option<f64> {
    let key = keys::cpu::SUPPRESSION_TOLERANCE_RATE;
    let rate = map.parse(
        key,
        "a number of at least 0",
        Safest::Absent("never evicted for suppression"),
        number_from(0.0),
    )?;
    if level == Level::Reclaimed {
        return Some(rate);
    }
    map.no_effect(
        key,
        &rate.to_string(),
        "only reclaimed_cores are suppressed",
    );
    None
}

fn read_burst(level: Level, map: &mut MapReader<'_>) -> (BurstPolicy, Option<f64>, Option<u8>) {
    let key = keys::cpu::BURST_POLICY;
    let asked = map
        .parse(
            key,
            "default, closed, static or dynamic",
            Safest::Is(BurstPolicy::Default, "default"),
            BurstPolicy::from_name,
        )
        .unwrap_or_default();
    let policy = match (level, asked) {
        (Level::Reclaimed, BurstPolicy::Static | BurstPolicy::Dynamic) => {
            map.no_effect(
                key,
                asked.as_str(),
                "reclaimed_cores never burst; taken as closed",
            );
            BurstPolicy::Closed
        }
        (_, asked) => asked,
    };
    let threshold = map.parse(
        keys::cpu::BURST_THRESHOLD,
        "a number of at least 0",
        Safest::Absent("no threshold"),
        number_from(0.0),
    );
    let percent = read_percent(map);
    (policy, threshold, percent)
}

fn read_percent(map: &mut MapReader<'_>) -> Option<u8> {
    let key = keys::cpu::BURST_PERCENT;
    let percent = map.parse(
        key,
        "a number of percent, 0 to 100",
        Safest::Absent("no percent"),
        |text| text.parse::<f64>().ok().filter(|n| n.is_finite()),
    )?;
    if !(0.0..=100.0).contains(&percent) {
        let taken = percent.clamp(0.0, 100.0);
        map.clamped(
            key,
            &percent.to_string(),
            "0 to 100".to_owned(),
            taken.to_string(),
        );
    }
    // Whole percents are what the kernel's files can tell apart; rounding down gives less burst, never more.
    Some(percent.clamp(0.0, 100.0) as u8)
}

/// The two NUMA wishes may stand as annotations of their own or in the CPU map; the annotation wins, and ids win over a number.
fn read_numa(
    in_map: [Option<String>; 2],
    annotations: &BTreeMap<String, String>,
    errors: &mut Vec<QosError>,
) -> NumaWish {
    let [number_in_map, ids_in_map] = in_map;
    let number =
        locate(keys::NUMA_NUMBER, number_in_map, annotations, errors).and_then(|(place, value)| {
            parsed(
                place,
                &value,
                "a number of NUMA nodes, 0 to 1024",
                Safest::Absent("any NUMA nodes"),
                |text| text.parse().ok().filter(|n| *n <= MAX_NUMA_ID + 1),
                errors,
            )
            .filter(|n| *n > 0)
            .map(|n: u32| (place, value, n))
        });
    let ids = locate(keys::NUMA_IDS, ids_in_map, annotations, errors)
        .filter(|(_, value)| !value.is_empty())
        .and_then(|(place, value)| {
            parsed(
                place,
                &value,
                "a list of NUMA nodes such as 0-1,3",
                Safest::Absent("any NUMA nodes"),
                NumaSet::parse,
                errors,
            )
        });
    match (ids, number) {
        (Some(ids), number) => {
            if let Some((place, value, n)) = number
                && n as usize != ids.count()
            {
                errors.push(QosError::NoEffect {
                    annotation: place.annotation,
                    key: place.key,
                    value: quote(&value),
                    reason: format!("{} names {} NUMA nodes", keys::NUMA_IDS, ids.count()),
                });
            }
            NumaWish::Ids(ids)
        }
        (None, Some((_, _, n))) => NumaWish::Number(n),
        (None, None) => NumaWish::Any,
    }
}

fn locate(
    key: &'static str,
    in_map: Option<String>,
    annotations: &BTreeMap<String, String>,
    errors: &mut Vec<QosError>,
) -> Option<(Place, String)> {
    let map_place = Place {
        annotation: keys::CPU_ENHANCEMENT,
        key: Some(key),
    };
    let Some(direct) = annotations.get(key) else {
        return in_map.map(|value| (map_place, value));
    };
    if let Some(other) = in_map.filter(|other| other != direct) {
        errors.push(QosError::NoEffect {
            annotation: map_place.annotation,
            key: map_place.key,
            value: quote(&other),
            reason: format!("the annotation {key} says {:?}", quote(direct)),
        });
    }
    let place = Place {
        annotation: key,
        key: None,
    };
    Some((place, direct.clone()))
}
