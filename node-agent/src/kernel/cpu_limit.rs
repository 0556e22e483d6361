//! The CPU quota of a group: `cpu.max` in version 2, `cpu.cfs_quota_us` with `cpu.cfs_period_us` in version 1.

/// Kubernetes' and the kernel's default enforcement interval, microseconds.
pub const DEFAULT_PERIOD_MICROS: u64 = 100_000;

/// A quota with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuLimit {
    /// CPU time per interval, microseconds; `None` is unlimited.
    pub quota_micros: Option<u64>,
    /// Interval, microseconds.
    pub period_micros: u64,
}

/// Parses `cpu.max`: `"max 100000"`, `"150000 100000"`; a missing period is the default.
pub fn parse_cpu_max(text: &str) -> Option<CpuLimit> {
    let mut words = text.split_whitespace();
    let quota_micros = match words.next()? {
        "max" => None,
        number => Some(number.parse().ok()?),
    };
    let period_micros = match words.next() {
        Some(number) => number.parse().ok()?,
        None => DEFAULT_PERIOD_MICROS,
    };
    Some(CpuLimit {
        quota_micros,
        period_micros,
    })
}

/// Parses the two version 1 files; a negative quota is unlimited.
pub fn parse_cfs(quota: &str, period: &str) -> Option<CpuLimit> {
    let quota: i64 = quota.trim().parse().ok()?;
    let period_micros = period.trim().parse().unwrap_or(DEFAULT_PERIOD_MICROS);
    Some(CpuLimit {
        quota_micros: u64::try_from(quota).ok(),
        period_micros,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2() {
        assert_eq!(
            parse_cpu_max("max 100000\n"),
            Some(CpuLimit {
                quota_micros: None,
                period_micros: 100_000
            })
        );
        assert_eq!(
            parse_cpu_max("150000 50000\n"),
            Some(CpuLimit {
                quota_micros: Some(150_000),
                period_micros: 50_000
            })
        );
        assert_eq!(
            parse_cpu_max("1000"),
            Some(CpuLimit {
                quota_micros: Some(1_000),
                period_micros: 100_000
            })
        );
        assert_eq!(parse_cpu_max("some 1"), None);
        assert_eq!(parse_cpu_max(""), None);
    }

    #[test]
    fn version_1() {
        assert_eq!(
            parse_cfs("-1\n", "100000\n"),
            Some(CpuLimit {
                quota_micros: None,
                period_micros: 100_000
            })
        );
        assert_eq!(
            parse_cfs("120000\n", "100000\n"),
            Some(CpuLimit {
                quota_micros: Some(120_000),
                period_micros: 100_000
            })
        );
        assert_eq!(parse_cfs("x", "100000"), None);
    }
}
