//! Files of `/sys/class/infiniband/*/ports/*` (Documentation/ABI/stable/sysfs-class-infiniband).

/// Parses `state`: `4: ACTIVE`. True when the port passes data.
pub fn parse_active(text: &str) -> Option<bool> {
    let (number, _) = text.trim().split_once(':')?;
    number.trim().parse::<u8>().ok().map(|state| state == 4)
}

/// Parses `rate`: `100 Gb/sec (4X EDR)`, `2.5 Gb/sec (1X SDR)`, to megabits a second.
pub fn parse_rate(text: &str) -> Option<u64> {
    let (number, unit) = text.trim().split_once(char::is_whitespace)?;
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let tenths = match tenths.as_bytes() {
        [digit @ b'0'..=b'9'] => u64::from(digit - b'0'),
        _ => return None,
    };
    if !unit.trim_start().starts_with("Gb/sec") {
        return None;
    }
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000)?
        .checked_add(tenths * 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(parse_active("4: ACTIVE\n"), Some(true));
        assert_eq!(parse_active("1: DOWN\n"), Some(false));
        assert_eq!(parse_active("ACTIVE"), None);
        assert_eq!(parse_rate("400 Gb/sec (4X NDR)\n"), Some(400_000));
        assert_eq!(parse_rate("2.5 Gb/sec (1X SDR)\n"), Some(2_500));
        assert_eq!(parse_rate("fast"), None);
        assert_eq!(parse_rate("1 Mb/sec"), None);
    }
}
