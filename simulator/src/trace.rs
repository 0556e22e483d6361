//! Reading traces: series files (`series,values`, gzip) and the list of which series share a machine.
//!
//! Without a folder of traces a synthetic day-and-night load stands in, and says so.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// One machine: the use of each of its services over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Name in the list of placements.
    pub name: String,
    /// For each service its use in thousandths of what it requested, one value a sample; `None` where the source has none.
    pub services: Vec<Vec<Option<u64>>>,
}

/// Machines and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// In words, for reports.
    pub origin: String,
    /// Seconds between samples.
    pub interval_seconds: u32,
    /// The machines.
    pub machines: Vec<Machine>,
}

/// Samples are five minutes apart.
const INTERVAL_SECONDS: u32 = 300;

/// Reads the CPU series of `dataset` and the placements of its machines from a folder.
pub fn read(folder: &Path, dataset: &str, series_file: &str) -> Result<Traces, TraceError> {
    let series = read_series(&folder.join(series_file))?;
    let path = folder.join("placement_static.csv");
    let text = open(&path)?;
    let mut machines: BTreeMap<String, Machine> = BTreeMap::new();
    for (index, line) in text.lines().enumerate().skip(1) {
        let wrong = |reason: &str| TraceError::Line {
            path: path.clone(),
            line: index + 1,
            reason: reason.to_owned(),
        };
        let line = line.map_err(|source| TraceError::Read {
            path: path.clone(),
            source,
        })?;
        let mut fields = line.split(',');
        let (Some(set), Some(machine), Some(name)) = (fields.next(), fields.next(), fields.next())
        else {
            return Err(wrong("three fields were expected: dataset,machine,series"));
        };
        if set != dataset {
            continue;
        }
        let values = series
            .get(name)
            .ok_or_else(|| wrong(&format!("series {name:?} is not in {series_file}")))?;
        machines
            .entry(machine.to_owned())
            .or_insert_with(|| Machine {
                name: machine.to_owned(),
                services: Vec::new(),
            })
            .services
            .push(values.clone());
    }
    Ok(Traces {
        origin: format!("{dataset}, {series_file}"),
        interval_seconds: INTERVAL_SECONDS,
        machines: machines.into_values().collect(),
    })
}

/// Opens a file of a trace, packed or not.
pub(crate) fn open(path: &Path) -> Result<BufReader<Box<dyn Read>>, TraceError> {
    let file = File::open(path).map_err(|source| TraceError::Read {
        path: path.to_owned(),
        source,
    })?;
    let reader: Box<dyn Read> = if path.extension().is_some_and(|e| e == "gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    Ok(BufReader::new(reader))
}

/// Values of 1/10000 become thousandths; anything above the limit is cut there, as a quota would.
fn read_series(path: &Path) -> Result<BTreeMap<String, Vec<Option<u64>>>, TraceError> {
    let mut series = BTreeMap::new();
    for (index, line) in open(path)?.lines().enumerate().skip(1) {
        let wrong = |reason: String| TraceError::Line {
            path: path.to_owned(),
            line: index + 1,
            reason,
        };
        let line = line.map_err(|source| TraceError::Read {
            path: path.to_owned(),
            source,
        })?;
        let (name, values) = line
            .split_once(',')
            .ok_or_else(|| wrong("series,values was expected".to_owned()))?;
        let values = values
            .split_ascii_whitespace()
            .map(|text| {
                text.parse::<i64>()
                    .map(|value| {
                        u64::try_from(value)
                            .ok()
                            .map(|value| value.min(10_000) / 10)
                    })
                    .map_err(|e| wrong(format!("{text:?}: {e}")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        series.insert(name.to_owned(), values);
    }
    Ok(series)
}

/// A stand-in: services that follow day and night, with noise and a burst now and then.
pub fn synthetic(seed: u64, machines: usize, services: usize, days: usize) -> Traces {
    let mut random = StdRng::seed_from_u64(seed);
    let samples = days * 288;
    let machines = (0..machines)
        .map(|index| Machine {
            name: format!("synthetic-{index}"),
            services: (0..services)
                .map(|_| {
                    let (base, phase): (f64, f64) = (
                        random.random_range(0.05..0.3),
                        random.random_range(0.0..1.0),
                    );
                    (0..samples)
                        .map(|sample| {
                            let day = (sample as f64 / 288.0 + phase) * std::f64::consts::TAU;
                            let burst = if random.random_range(0..400) == 0 {
                                0.5
                            } else {
                                0.0
                            };
                            let used = base * (1.0 + 0.8 * day.sin())
                                + random.random_range(0.0..0.05)
                                + burst;
                            Some((used.clamp(0.0, 1.0) * 1000.0) as u64)
                        })
                        .collect()
                })
                .collect(),
        })
        .collect();
    Traces {
        origin: "synthetic load (no folder of traces)".to_owned(),
        interval_seconds: INTERVAL_SECONDS,
        machines,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn folder(series: &str, placement: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!(
            "katalyst-simulator-{}-{}",
            std::process::id(),
            series.len() * 31 + placement.len()
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let mut file = GzEncoder::new(
            File::create(folder.join("s.csv.gz")).unwrap(),
            Compression::fast(),
        );
        file.write_all(series.as_bytes()).unwrap();
        file.finish().unwrap();
        std::fs::write(folder.join("placement_static.csv"), placement).unwrap();
        folder
    }

    #[test]
    fn series_meet_their_machines() {
        let at = folder(
            "series,values\na,100 -1 20000\nb,50 50 50\n",
            "dataset,machine,series\nx,m0,a\nx,m0,b\ny,m1,a\n",
        );
        let traces = read(&at, "x", "s.csv.gz").unwrap();
        std::fs::remove_dir_all(&at).unwrap();
        assert_eq!(traces.machines.len(), 1);
        assert_eq!(
            traces.machines[0].services,
            [
                vec![Some(10), None, Some(1000)],
                vec![Some(5), Some(5), Some(5)]
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let at = folder("series,values\na,1 x\n", "dataset,machine,series\n");
        let error = read(&at, "x", "s.csv.gz").unwrap_err().to_string();
        std::fs::remove_dir_all(&at).unwrap();
        assert!(
            error.contains("line 2") && error.contains("\"x\""),
            "{error}"
        );
    }

    #[test]
    fn the_stand_in_is_the_same_for_a_seed() {
        assert_eq!(synthetic(1, 2, 3, 1), synthetic(1, 2, 3, 1));
        assert_ne!(synthetic(1, 2, 3, 1), synthetic(2, 2, 3, 1));
    }
}
