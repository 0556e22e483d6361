//! `/sys/devices/system/node/nodeN/distance` (Documentation/ABI/stable/sysfs-devices-node): one number for each online node, in the order of
//! their numbers (ACPI SLIT: 10 is local, 20 twice as far, 255 unreachable).

/// Distances in the file's order. `None` where a word is no number or there are more than the kernel has nodes.
pub fn parse(text: &str) -> Option<Vec<u32>> {
    let distances: Vec<u32> = text
        .split_whitespace()
        .take(MAX_NODES + 1)
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    (distances.len() <= MAX_NODES).then_some(distances)
}

/// `CONFIG_NODES_SHIFT` is at most 10.
const MAX_NODES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_of_the_matrix() {
        assert_eq!(parse("10 21 31\n"), Some(vec![10, 21, 31]));
        assert_eq!(parse("\n"), Some(vec![]));
        assert_eq!(parse("10 near"), None);
        assert_eq!(parse(&"10 ".repeat(2_000)), None);
    }
}
