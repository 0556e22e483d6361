//! Files of `/sys/bus/pci/devices/*` (Documentation/ABI/testing/sysfs-bus-pci) and the names of PCI devices.

/// Parses `class`: `0x030200` is base class 03 (display), sub-class 02 (3D controller), interface 00.
pub fn parse_class(text: &str) -> Option<u32> {
    parse_hex(text).filter(|class| *class <= 0x00ff_ffff)
}

/// Parses `vendor`, `device`, `subsystem_vendor`: `0x10de`.
pub fn parse_id(text: &str) -> Option<u16> {
    parse_hex(text)?.try_into().ok()
}

/// Parses `numa_node`; -1 (firmware says nothing, or one node) is `Some(None)`.
pub fn parse_numa_node(text: &str) -> Option<Option<u32>> {
    match text.trim() {
        "-1" => Some(None),
        number => number
            .parse()
            .ok()
            .filter(|node| *node <= katalyst_core::qos::MAX_NUMA_ID)
            .map(Some),
    }
}

fn parse_hex(text: &str) -> Option<u32> {
    let digits = text.trim().strip_prefix("0x")?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| plain)
}

/// Whether `name` is a PCI address in the kernel's spelling, `0000:3b:00.0`. Virtual root complexes (VMD) have longer domains.
pub fn is_address(name: &str) -> bool {
    let hex = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut parts = name.splitn(3, ':');
    let (Some(domain), Some(bus), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Some((slot, function)) = rest.split_once('.') else {
        return false;
    };
    hex(domain, 4..=8) && hex(bus, 2..=2) && hex(slot, 2..=2) && hex(function, 1..=1)
}

/// Whether `name` is a root complex's directory, `pci0000:3a`.
pub fn is_root(name: &str) -> bool {
    name.strip_prefix("pci")
        .and_then(|rest| rest.split_once(':'))
        .is_some_and(|(domain, bus)| {
            let hex =
                |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            hex(domain) && hex(bus)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_files() {
        assert_eq!(parse_class("0x030200\n"), Some(0x03_0200));
        assert_eq!(parse_class("0x1030200"), None);
        assert_eq!(parse_class("030200"), None);
        assert_eq!(parse_class("0x+30200"), None);
        assert_eq!(parse_id("0x10de\n"), Some(0x10de));
        assert_eq!(parse_id("0x110de\n"), None);
    }

    #[test]
    fn numa_node() {
        assert_eq!(parse_numa_node("1\n"), Some(Some(1)));
        assert_eq!(parse_numa_node("-1\n"), Some(None));
        assert_eq!(parse_numa_node("4096\n"), None);
        assert_eq!(parse_numa_node(""), None);
    }

    #[test]
    fn names() {
        for address in ["0000:3b:00.0", "10000:e1:00.0", "0000:00:1f.7"] {
            assert!(is_address(address), "{address}");
        }
        for other in ["pci0000:3a", "0000:3b:00", "0000:3b:00.0/x", "virtio0", ""] {
            assert!(!is_address(other), "{other}");
        }
        assert!(is_root("pci0000:3a") && is_root("pci10000:00"));
        assert!(!is_root("pci_bus") && !is_root("pci0000"));
    }
}
