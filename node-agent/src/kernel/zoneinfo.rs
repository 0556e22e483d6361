//! `/proc/zoneinfo`: free memory and watermarks of each zone of each NUMA node (`mm/vmstat.c`).
//!
//! Pages. Below `low` the kernel wakes its background reclaimer, below `min` tasks reclaim themselves. A zone without memory
//! (`managed 0`) is listed too. The word before the numbers has been indented differently over time; only names are looked at.

/// One zone. Pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Zone<'a> {
    /// NUMA node.
    pub node: u32,
    /// `DMA`, `DMA32`, `Normal`, `Movable`, `Device`.
    pub name: &'a str,
    /// Free pages.
    pub free: u64,
    /// Watermark below which tasks reclaim.
    pub min: u64,
    /// Watermark at which the background reclaimer wakes.
    pub low: u64,
    /// Watermark at which it sleeps again.
    pub high: u64,
    /// Pages between first and last, holes included.
    pub spanned: u64,
    /// Pages that exist.
    pub present: u64,
    /// Pages the allocator has.
    pub managed: u64,
}

/// Every zone, in the file's order. Allocates nothing.
pub fn zones(text: &str) -> Zones<'_> {
    Zones {
        lines: text.lines(),
        open: None,
    }
}

/// Iterator over zones.
#[derive(Debug, Clone)]
pub struct Zones<'a> {
    lines: std::str::Lines<'a>,
    open: Option<(Zone<'a>, Part)>,
}

/// Where in a zone's lines the reader is: the counters after the block of watermarks and those of each CPU repeat the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Watermarks,
    Rest,
}

impl<'a> Iterator for Zones<'a> {
    type Item = Zone<'a>;

    fn next(&mut self) -> Option<Zone<'a>> {
        for line in self.lines.by_ref() {
            if let Some(next) = header(line) {
                if let Some((zone, _)) = self.open.replace((next, Part::Head)) {
                    return Some(zone);
                }
                continue;
            }
            let Some((zone, part)) = &mut self.open else {
                continue;
            };
            let mut words = line.split_whitespace();
            let (name, value) = (words.next(), words.next());
            match (*part, name) {
                (Part::Head, Some("pages")) => {
                    zone.free = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                    *part = Part::Watermarks;
                }
                (Part::Watermarks, Some("pagesets")) => *part = Part::Rest,
                (Part::Watermarks, Some(name)) => {
                    let Some(number) = value.and_then(|n| n.parse().ok()) else {
                        continue;
                    };
                    match name {
                        "min" => zone.min = number,
                        "low" => zone.low = number,
                        "high" => zone.high = number,
                        "spanned" => zone.spanned = number,
                        "present" => zone.present = number,
                        "managed" => zone.managed = number,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        self.open.take().map(|(zone, _)| zone)
    }
}

/// `Node 0, zone   Normal`.
fn header(line: &str) -> Option<Zone<'_>> {
    let (node, name) = line.strip_prefix("Node ")?.split_once(", zone")?;
    Some(Zone {
        node: node.trim().parse().ok()?,
        name: name.trim(),
        ..Zone::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_repeat_a_name_are_not_the_watermarks() {
        let text = "Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 37152\n  pages free     3840\n        boost    0\n        min      10\n        low      13\n        high     16\n        spanned  4095\n        present  3998\n        managed  3840\n        protection: (0, 3018)\n      nr_free_pages 3840\n  pagesets\n    cpu: 0\n              count:    0\n              high:     99\n              high     98\nNode 1, zone   Normal\n  pages free     7\n        min      1\n";
        let all: Vec<_> = zones(text).collect();
        assert_eq!(
            all,
            [
                Zone {
                    node: 0,
                    name: "DMA",
                    free: 3840,
                    min: 10,
                    low: 13,
                    high: 16,
                    spanned: 4095,
                    present: 3998,
                    managed: 3840
                },
                Zone {
                    node: 1,
                    name: "Normal",
                    free: 7,
                    min: 1,
                    ..Zone::default()
                }
            ]
        );
        assert_eq!(zones("pages free 3\n").count(), 0);
    }
}
