//! CPU lists as the kernel prints them: `0-3,8`.

/// More CPUs than any machine has; a longer list is a damaged file, not a machine.
const MAX_CPUS: usize = 8_192;

/// Parses a CPU list into ascending, distinct numbers. An empty list (a NUMA node without CPUs) is `Some([])`.
pub fn parse(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if (last.checked_sub(first)? as usize).saturating_add(cpus.len()) >= MAX_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_singles() {
        assert_eq!(parse("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse("\n"), Some(vec![]));
        assert_eq!(parse("5"), Some(vec![5]));
        assert_eq!(parse("3-1"), None);
        assert_eq!(parse("0-4294967295"), None);
        assert_eq!(parse("a"), None);
    }
}
