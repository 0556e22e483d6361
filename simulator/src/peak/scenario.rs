//! The nine scenarios: which recorded load, which limits, which pods share a machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::series;
use crate::trace::TraceError;

/// Steps of a day.
pub const DAY: usize = 288;

/// What a pod may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// What was paid for.
    Provisioned,
    /// `min(provisioned, max(1.15 * peak of the first days, 2 % of provisioned))`: what a right-sizing autoscaler leaves.
    PeakSized,
    /// The series is a whole machine.
    Machine,
}

impl Limits {
    /// Name in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioned => "provisioned",
            Self::PeakSized => "peak-sized",
            Self::Machine => "machine",
        }
    }
}

/// Whether pods come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// All stay for the whole trace.
    Static,
    /// They live for 20 hours in the median.
    Churn,
}

impl Placement {
    /// Name in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Churn => "churn",
        }
    }
}

/// How the source's unit relates to a CPU or a MiB: only the rounding of histogram buckets depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// CPUs, or MiB, in one of the source's units.
    pub scale: f64,
    /// First bucket of Koordinator's histogram.
    pub koordinator: f64,
    /// First bucket of VPA's.
    pub vpa: f64,
}

/// One scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// Name of the data set in the table.
    pub dataset: &'static str,
    /// Memory instead of CPU.
    pub memory: bool,
    /// See [`Limits`].
    pub limits: Limits,
    /// See [`Placement`].
    pub placement: Placement,
    /// Steps before judging begins; limits are sized on them.
    pub warm_up: usize,
    /// Short name, in pictures and claims.
    pub short: &'static str,
    file: &'static str,
    unit: Unit,
}

impl Scenario {
    /// Name of the resource in the table.
    pub const fn resource(&self) -> &'static str {
        if self.memory { "mem" } else { "cpu" }
    }

    /// See [`Unit`].
    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// Every how many steps a prediction is judged.
    pub const fn stride(&self) -> usize {
        match self.placement {
            Placement::Static => 1,
            Placement::Churn => 3,
        }
    }
}

const fn cpu(scale: f64) -> Unit {
    Unit {
        scale,
        koordinator: 0.025,
        vpa: 0.01,
    }
}

const fn scenario(
    short: &'static str,
    dataset: &'static str,
    file: &'static str,
    limits: Limits,
    placement: Placement,
    warm_up: usize,
    unit: Unit,
) -> Scenario {
    Scenario {
        dataset,
        memory: false,
        limits,
        placement,
        warm_up,
        short,
        file,
        unit,
    }
}

/// All nine. Native units to CPUs: Bitbrains MHz at 2.7 GHz a core, an Azure VM as four cores, a Google job as eight, an Alibaba machine as 96.
pub const SCENARIOS: [Scenario; 9] = {
    use Limits::{Machine, PeakSized, Provisioned};
    use Placement::{Churn, Static};
    let (bb, az) = (cpu(1.0 / 2700.0), cpu(4.0));
    let (bf, af) = ("cpu_bitbrains", "cpu_azure2017_avg");
    [
        scenario(
            "bb-prov-churn",
            "bitbrains",
            bf,
            Provisioned,
            Churn,
            2016,
            bb,
        ),
        scenario(
            "bb-sized-churn",
            "bitbrains",
            bf,
            PeakSized,
            Churn,
            2016,
            bb,
        ),
        scenario(
            "bb-sized-static",
            "bitbrains",
            bf,
            PeakSized,
            Static,
            2016,
            bb,
        ),
        scenario(
            "az-prov-churn",
            "azure2017",
            af,
            Provisioned,
            Churn,
            2016,
            az,
        ),
        scenario(
            "az-sized-churn",
            "azure2017",
            af,
            PeakSized,
            Churn,
            2016,
            az,
        ),
        scenario(
            "az-sized-static",
            "azure2017",
            af,
            PeakSized,
            Static,
            2016,
            az,
        ),
        scenario(
            "g11-sized",
            "google2011",
            "cpu_google2011_jobs",
            PeakSized,
            Static,
            864,
            cpu(8.0),
        ),
        scenario(
            "ali-machines",
            "alibaba2018-machines",
            "machine_cpu_alibaba2018",
            Machine,
            Static,
            864,
            cpu(96.0),
        ),
        Scenario {
            memory: true,
            ..scenario(
                "bbmem-sized-churn",
                "bitbrains",
                "mem_bitbrains",
                PeakSized,
                Churn,
                2016,
                Unit {
                    scale: 1.0 / 1024.0,
                    koordinator: 5.0,
                    vpa: 10.0,
                },
            )
        },
    ]
};

/// A pod's time on a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// First step.
    pub start: usize,
    /// What it used in each step, at most its limit.
    pub usage: Vec<f64>,
    /// Its limit.
    pub limit: f64,
}

impl Task {
    /// The step after its last.
    pub fn end(&self) -> usize {
        self.start + self.usage.len()
    }

    /// What it used in a step, if it was there.
    pub fn at(&self, step: usize) -> Option<f64> {
        self.usage.get(step.checked_sub(self.start)?).copied()
    }
}

/// A machine and all that ever ran on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Its pods.
    pub tasks: Vec<Task>,
}

/// A scenario that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// Which.
    pub scenario: Scenario,
    /// In the order of the placement file.
    pub machines: Vec<Machine>,
    /// Steps of the trace.
    pub steps: usize,
}

/// The folder itself or its `traces`, wherever the placements are.
pub fn folder(path: &Path) -> Option<PathBuf> {
    [path.to_owned(), path.join("traces")]
        .into_iter()
        .find(|folder| folder.join("placement_static.csv").is_file())
}

/// The file whose name begins so; dates in names differ between sets of traces.
fn find(folder: &Path, prefix: &str) -> anyhow::Result<PathBuf> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .with_context(|| format!("read {}", folder.display()))?
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    let name = names
        .first()
        .with_context(|| format!("no file {prefix}* in {}", folder.display()))?;
    Ok(folder.join(name))
}

/// Reads a scenario from a folder of traces.
pub fn load(folder: &Path, scenario: &Scenario) -> anyhow::Result<Loaded> {
    let series = series::read(&find(folder, scenario.file)?)?;
    let steps = series.values().map(Vec::len).max().unwrap_or(0);
    let provisioned = provisioned(folder, scenario)?;
    let mut pods: BTreeMap<&str, (Vec<f64>, f64)> = BTreeMap::new();
    for (name, values) in &series {
        let (whole, unit) = match scenario.limits {
            Limits::Machine => (1.0, 100.0),
            _ => (provisioned.get(name).copied().unwrap_or(1.0), 10_000.0),
        };
        let usage: Vec<f64> = values.iter().map(|value| value / unit * whole).collect();
        let limit = match scenario.limits {
            Limits::PeakSized => {
                let peak = usage.iter().take(scenario.warm_up).copied();
                let peak = peak.fold(0.0, f64::max);
                whole.min((1.15 * peak).max(0.02 * whole))
            }
            Limits::Provisioned | Limits::Machine => whole,
        };
        let usage = match scenario.limits {
            Limits::Machine => usage,
            _ => usage.iter().map(|value| value.min(limit)).collect(),
        };
        pods.insert(name, (usage, limit));
    }
    let machines = if scenario.limits == Limits::Machine {
        pods.into_iter()
            .map(|(name, (usage, limit))| Machine {
                name: name.to_owned(),
                tasks: vec![Task {
                    start: 0,
                    usage,
                    limit,
                }],
            })
            .collect()
    } else {
        place(folder, scenario, &pods)?
    };
    Ok(Loaded {
        scenario: *scenario,
        machines,
        steps,
    })
}

/// What was paid for, where the source says so; one (a whole machine) elsewhere.
fn provisioned(folder: &Path, scenario: &Scenario) -> anyhow::Result<BTreeMap<String, f64>> {
    if scenario.dataset != "bitbrains" {
        return Ok(BTreeMap::new());
    }
    let path = find(folder, "meta_bitbrains")?;
    let column = if scenario.memory { 4 } else { 3 };
    let mut values = BTreeMap::new();
    for row in series::rows(&path)? {
        let (line, text) = row?;
        let mut fields = text.split(',');
        let (name, value) = (fields.next(), fields.nth(column - 1));
        let value = value.and_then(|value| value.parse().ok());
        let (Some(name), Some(value)) = (name, value) else {
            let reason = "series, and a limit in the fourth and fifth field, were expected";
            return Err(TraceError::Line {
                path,
                line,
                reason: reason.to_owned(),
            }
            .into());
        };
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

fn place(
    folder: &Path,
    scenario: &Scenario,
    pods: &BTreeMap<&str, (Vec<f64>, f64)>,
) -> anyhow::Result<Vec<Machine>> {
    let file = match scenario.placement {
        Placement::Static => "placement_static.csv",
        Placement::Churn => "placement_churn.csv.gz",
    };
    let path = folder.join(file);
    let mut machines: Vec<Machine> = Vec::new();
    for row in series::rows(&path)? {
        let (line, text) = row?;
        let fields: Vec<&str> = text.split(',').collect();
        let wrong = |reason: String| TraceError::Line {
            path: path.clone(),
            line,
            reason,
        };
        let field = |at: usize| {
            fields
                .get(at)
                .copied()
                .ok_or_else(|| wrong(format!("field {} is missing", at + 1)))
        };
        let number = |at: usize| {
            let text = field(at)?;
            text.parse::<usize>()
                .map_err(|e| wrong(format!("field {}: {text:?}: {e}", at + 1)))
        };
        if field(0)? != scenario.dataset {
            continue;
        }
        let (name, series) = match scenario.placement {
            Placement::Static => (field(1)?, field(2)?),
            Placement::Churn => (field(1)?, field(3)?),
        };
        let (usage, limit) = pods
            .get(series)
            .ok_or_else(|| wrong(format!("series {series:?} is in no file")))?;
        let task = match scenario.placement {
            Placement::Static => Task {
                start: 0,
                usage: usage.clone(),
                limit: *limit,
            },
            Placement::Churn => {
                let (from, start, length) = (number(4)?, number(5)?, number(6)?);
                let usage = usage
                    .get(from..from + length)
                    .ok_or_else(|| wrong(format!("{series:?} ends before {}", from + length)))?;
                Task {
                    start,
                    usage: usage.to_vec(),
                    limit: *limit,
                }
            }
        };
        match machines.iter_mut().find(|machine| machine.name == name) {
            Some(machine) => machine.tasks.push(task),
            None => machines.push(Machine {
                name: name.to_owned(),
                tasks: vec![task],
            }),
        }
    }
    Ok(machines)
}
