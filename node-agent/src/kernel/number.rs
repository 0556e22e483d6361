//! Files that hold one number: `cpuacct.usage`, `memory.usage_in_bytes`, `memory.current`, `cpu.idle`, and the limits `memory.max`,
//! `memory.high`, `memory.limit_in_bytes`.

/// A memory limit as the kernel states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `max` in version 2; in version 1 the largest page-aligned number (2^63 rounded down to a page), or `-1` as people write it.
    Unlimited,
    /// Bytes.
    Bytes(u64),
}

/// Version 1 prints "unlimited" as 2^63-1 rounded down to its page size; pages are at most 64 KiB.
const V1_UNLIMITED_FROM: u64 = (i64::MAX as u64) & !0xffff;

/// Parses a single non-negative number.
pub fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Parses a memory limit of either version.
pub fn parse_limit(text: &str) -> Option<Limit> {
    match text.trim() {
        "max" | "-1" => Some(Limit::Unlimited),
        number => match number.parse::<u64>().ok()? {
            bytes if bytes >= V1_UNLIMITED_FROM => Some(Limit::Unlimited),
            bytes => Some(Limit::Bytes(bytes)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_counters() {
        assert_eq!(parse("1843512345\n"), Some(1_843_512_345));
        assert_eq!(parse(""), None);
        assert_eq!(parse("-3"), None);
    }

    #[test]
    fn unlimited_has_three_spellings() {
        for text in [
            "max\n",
            "-1",
            "9223372036854771712\n",
            "9223372036854710272",
        ] {
            assert_eq!(parse_limit(text), Some(Limit::Unlimited), "{text}");
        }
        assert_eq!(parse_limit("1073741824\n"), Some(Limit::Bytes(1 << 30)));
        assert_eq!(parse_limit("many"), None);
    }
}
