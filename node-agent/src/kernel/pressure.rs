//! Pressure stall information: `/proc/pressure/*` and `*.pressure` of a cgroup (Documentation/accounting/psi.rst, since 4.20).
//!
//! The line `full` of CPU pressure came with 5.13 and means nothing for the whole machine. Before 5.2 the same words were printed; a kernel booted with
//! `psi=0` has the files and answers reads with EOPNOTSUPP. `irq.pressure` has only `full`.

/// One pressure file. `total` counters are microseconds and the base for rates; the averages are the kernel's, percent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Option<Line>,
    /// No task could run; the kernel leaves it out or at zero where it has no meaning.
    pub full: Option<Line>,
}

/// One line of a pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Line {
    /// Share of the last 10 s, percent.
    pub avg10: f64,
    /// Share of the last 60 s, percent.
    pub avg60: f64,
    /// Share of the last 300 s, percent.
    pub avg300: f64,
    /// Microseconds waited since boot or since the group was made.
    pub total_micros: u64,
}

/// Parses a pressure file. A kernel without PSI gives an empty file or an error on read.
pub fn parse(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let kind = words.next();
        let parsed = parse_line(words);
        match kind {
            Some("some") => pressure.some = parsed,
            Some("full") => pressure.full = parsed,
            Some(_) | None => {}
        }
    }
    pressure
}

fn parse_line<'a>(words: impl Iterator<Item = &'a str>) -> Option<Line> {
    let mut line = Line::default();
    let mut total_seen = false;
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        match key {
            "avg10" => line.avg10 = value.parse().ok()?,
            "avg60" => line.avg60 = value.parse().ok()?,
            "avg300" => line.avg300 = value.parse().ok()?,
            "total" => {
                line.total_micros = value.parse().ok()?;
                total_seen = true;
            }
            _ => {}
        }
    }
    total_seen.then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines() {
        let text = "some avg10=20.99 avg60=24.50 avg300=42.19 total=321127488\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let pressure = parse(text);
        assert_eq!(
            pressure.some,
            Some(Line {
                avg10: 20.99,
                avg60: 24.5,
                avg300: 42.19,
                total_micros: 321_127_488
            })
        );
        assert_eq!(pressure.full, Some(Line::default()));
    }

    #[test]
    fn old_kernels_have_no_full_line_for_cpu() {
        let pressure = parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n");
        assert_eq!(pressure.some.map(|line| line.total_micros), Some(7));
        assert_eq!(pressure.full, None);
        assert_eq!(parse(""), Pressure::default());
    }
}
