//! Bytes and operations of a group on each block device: `io.stat` of version 2 (cgroup-v2.rst), `blkio.throttle.io_service_bytes` and
//! `blkio.throttle.io_serviced` of version 1 (Documentation/admin-guide/cgroup-v1/blkio-controller.rst).
//!
//! A device without traffic may have no line or a bare one. Kernels up to 5.14 could print the numbers of several bare devices before those of
//! the device that the numbers belong to (`8:16 8:0 rbytes=..`): the last device before the first number is meant.

/// A block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// Cumulative traffic. Discards are left out: they move no data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Read operations.
    pub reads: u64,
    /// Write operations.
    pub writes: u64,
}

/// Each device of `io.stat` that has numbers. Allocates nothing.
pub fn devices(text: &str) -> impl Iterator<Item = (Device, Traffic)> + '_ {
    text.lines().filter_map(|line| {
        let mut device = None;
        let mut traffic = None::<Traffic>;
        for word in line.split_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                device = parse_device(word).or(device);
                continue;
            };
            let counters = traffic.get_or_insert_default();
            let field = match key {
                "rbytes" => &mut counters.read_bytes,
                "wbytes" => &mut counters.written_bytes,
                "rios" => &mut counters.reads,
                "wios" => &mut counters.writes,
                _ => continue,
            };
            *field = value.parse().ok()?;
        }
        Some((device?, traffic?))
    })
}

/// All devices of `io.stat` together.
pub fn total(text: &str) -> Traffic {
    devices(text).fold(Traffic::default(), |sum, (_, traffic)| Traffic {
        read_bytes: sum.read_bytes.saturating_add(traffic.read_bytes),
        written_bytes: sum.written_bytes.saturating_add(traffic.written_bytes),
        reads: sum.reads.saturating_add(traffic.reads),
        writes: sum.writes.saturating_add(traffic.writes),
    })
}

/// What a line of version 1 counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the device.
    Read,
    /// To the device.
    Write,
}

/// Each device's reads and writes in a file of version 1; the lines `Sync`, `Async`, `Discard` and `Total` repeat or move nothing.
pub fn blkio(text: &str) -> impl Iterator<Item = (Device, Direction, u64)> + '_ {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let device = parse_device(words.next()?)?;
        let direction = match words.next()? {
            "Read" => Direction::Read,
            "Write" => Direction::Write,
            _ => return None,
        };
        Some((device, direction, words.next()?.parse().ok()?))
    })
}

/// Reads and writes of all devices in a file of version 1: `(read, written)`.
pub fn blkio_total(text: &str) -> (u64, u64) {
    blkio(text).fold(
        (0, 0),
        |(read, written), (_, direction, value)| match direction {
            Direction::Read => (u64::saturating_add(read, value), written),
            Direction::Write => (read, u64::saturating_add(written, value)),
        },
    )
}

fn parse_device(word: &str) -> Option<Device> {
    let (major, minor) = word.split_once(':')?;
    Some(Device {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2() {
        let text = "254:0 rbytes=405504 wbytes=25165824 rios=12 wios=48 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=2 rios=3 wios=4 cost.usage=9\n7:0\n";
        let each: Vec<_> = devices(text).collect();
        assert_eq!(each.len(), 2, "a bare device says nothing");
        assert_eq!(
            each[0],
            (
                Device {
                    major: 254,
                    minor: 0
                },
                Traffic {
                    read_bytes: 405_504,
                    written_bytes: 25_165_824,
                    reads: 12,
                    writes: 48
                }
            )
        );
        assert_eq!(total(text).read_bytes, 405_505);
    }

    #[test]
    fn numbers_belong_to_the_last_device_of_a_run_on_line() {
        let each: Vec<_> = devices("8:16 8:0 rbytes=5 wbytes=6 rios=1 wios=1\n").collect();
        assert_eq!(each.len(), 1);
        assert_eq!(each[0].0, Device { major: 8, minor: 0 });
    }

    #[test]
    fn version_1() {
        let text = "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 12288\n8:0 Async 0\n8:0 Discard 0\n8:0 Total 12288\n8:16 Read 1\nTotal 12289\n";
        assert_eq!(blkio_total(text), (4097, 8192));
        assert_eq!(blkio("Total 0\n").count(), 0);
    }
}
