//! `/proc/meminfo` and `/sys/devices/system/node/nodeN/meminfo`.

/// The machine's memory, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemInfo {
    /// MemTotal.
    pub total: u64,
    /// MemAvailable: what the kernel says can be handed out without swapping, page cache that it would drop included.
    pub available: u64,
}

/// Parses `/proc/meminfo`; `None` without both lines.
pub fn parse(text: &str) -> Option<MemInfo> {
    let (mut total, mut available) = (None, None);
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        match key.trim() {
            "MemTotal" => total = kibibytes(value),
            "MemAvailable" => available = kibibytes(value),
            _ => {}
        }
    }
    Some(MemInfo {
        total: total?,
        available: available?,
    })
}

/// Parses a NUMA node's file (`Node 0 MemTotal:  16379896 kB`) and returns the node's total, bytes.
pub fn parse_node(text: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim_end()
            .ends_with("MemTotal")
            .then(|| kibibytes(value))?
    })
}

/// `" 1024 kB"` to bytes.
fn kibibytes(value: &str) -> Option<u64> {
    value
        .split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine() {
        let text = "MemTotal:       24624560 kB\nMemFree:         9000000 kB\nMemAvailable:   20193272 kB\nBuffers:  1 kB\nHugePages_Total:       0\n";
        assert_eq!(
            parse(text),
            Some(MemInfo {
                total: 24_624_560 * 1024,
                available: 20_193_272 * 1024
            })
        );
        assert_eq!(parse("MemTotal: 5 kB\n"), None);
    }

    #[test]
    fn numa_node() {
        let text = "\nNode 1 MemTotal:        1029220 kB\nNode 1 MemFree:          500000 kB\n";
        assert_eq!(parse_node(text), Some(1_029_220 * 1024));
        assert_eq!(parse_node("Node 0 MemFree: 1 kB"), None);
    }
}
