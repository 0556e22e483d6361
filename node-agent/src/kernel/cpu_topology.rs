//! `/sys/devices/system/cpu/cpuN/topology` and `cache/indexN` (Documentation/ABI/stable/sysfs-devices-system-cpu, cacheinfo).
//!
//! `physical_package_id`, `die_id` and `core_id` are -1 where the firmware says nothing (arm64 without PPTT, some hypervisors).
//! The directories exist while a CPU is online. Virtual machines may have no `cache` directory at all.

/// A number that may be unknown: `-1` is `Some(None)`.
pub fn parse_id(text: &str) -> Option<Option<u32>> {
    match text.trim() {
        "-1" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheKind {
    /// Data.
    Data,
    /// Instructions.
    Instruction,
    /// Both.
    Unified,
}

/// Parses `cache/indexN/type`.
pub fn parse_cache_kind(text: &str) -> Option<CacheKind> {
    match text.trim() {
        "Data" => Some(CacheKind::Data),
        "Instruction" => Some(CacheKind::Instruction),
        "Unified" => Some(CacheKind::Unified),
        _ => None,
    }
}

/// Parses `cache/indexN/size` (`32K`, `36608K`) to bytes.
pub fn parse_cache_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix('K') {
        Some(number) => (number, 1 << 10),
        None => match text.strip_suffix('M') {
            Some(number) => (number, 1 << 20),
            None => (text, 1),
        },
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_not_nonsense() {
        assert_eq!(parse_id("3\n"), Some(Some(3)));
        assert_eq!(parse_id("-1\n"), Some(None));
        assert_eq!(parse_id("-2\n"), None);
        assert_eq!(parse_id(""), None);
    }

    #[test]
    fn caches() {
        assert_eq!(parse_cache_kind("Unified\n"), Some(CacheKind::Unified));
        assert_eq!(parse_cache_kind(""), None);
        assert_eq!(parse_cache_size("36608K\n"), Some(36_608 << 10));
        assert_eq!(parse_cache_size("2M"), Some(2 << 20));
        assert_eq!(parse_cache_size("18446744073709551615K"), None);
    }
}
