//! The processes in containers: this program itself, started as a container runtime starts one.
//!
//! A process enters its groups before anything else, prints what it may use at that moment (its "first instruction"), and then burns CPU, fills memory or
//! sleeps. It dies with the thread that started it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use clap::{Args, Subcommand};
use katalyst_core::cpu_set::CpuSet;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::tree::read;

/// Page size of every kernel that the scenarios run on; smaller than a page only costs time.
const PAGE: usize = 4096;

/// A process of a container.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    /// `cgroup.procs` to enter.
    #[arg(long = "enter", value_name = "FILE")]
    entrances: Vec<PathBuf>,
    #[command(subcommand)]
    kind: Kind,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Kind {
    /// Computes in that many threads.
    Burn {
        /// Threads.
        threads: usize,
    },
    /// Writes to every page of that much memory once, and keeps it.
    Touch {
        /// MiB.
        mib: usize,
    },
    /// Waits.
    Sleep,
}

impl WorkArgs {
    /// The process.
    pub fn run(&self) -> anyhow::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        for entrance in &self.entrances {
            fs::write(entrance, "0")
                .map_err(|error| anyhow::anyhow!("enter {}: {error}", entrance.display()))?;
        }
        say(&fs::read_to_string("/proc/self/status")?.replace('\n', "|"))?;
        let kept = match self.kind {
            Kind::Burn { threads } => {
                for _ in 0..threads {
                    thread::spawn(|| {
                        loop {
                            std::hint::spin_loop();
                        }
                    });
                }
                Vec::new()
            }
            Kind::Touch { mib } => touch(mib),
            Kind::Sleep => Vec::new(),
        };
        say("ready")?;
        loop {
            thread::sleep(Duration::from_secs(3600));
            std::hint::black_box(&kept);
        }
    }
}

fn touch(mib: usize) -> Vec<u8> {
    let mut memory = vec![0_u8; mib << 20];
    for byte in memory.iter_mut().step_by(PAGE) {
        *byte = 1;
    }
    memory
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// What the kernel says a process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// `Cpus_allowed_list`.
    pub cpus: CpuSet,
    /// `Mems_allowed_list`: NUMA nodes, in the same notation.
    pub mems: CpuSet,
}

impl Allowed {
    /// Reads it out of the text of `/proc/PID/status`.
    pub fn parse(status: &str) -> Result<Self, String> {
        let list = |key: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .ok_or_else(|| format!("no {key} in the status"))?;
            line.trim()
                .parse::<CpuSet>()
                .map_err(|error| format!("{key} {line:?}: {error}"))
        };
        Ok(Self {
            cpus: list("Cpus_allowed_list:")?,
            mems: list("Mems_allowed_list:")?,
        })
    }
}

/// A running process; ends with this value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    /// What it was allowed at its first instruction in its groups.
    pub first: Allowed,
}

impl Process {
    /// Starts one in the groups whose `cgroup.procs` are `entrances`, and returns once it is in them.
    pub fn start(entrances: &[PathBuf], kind: Kind) -> Result<Self, String> {
        let program =
            std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
        let mut command = Command::new(program);
        command.arg("work");
        for entrance in entrances {
            command.arg("--enter").arg(entrance);
        }
        match kind {
            Kind::Burn { threads } => command.args(["burn", &threads.to_string()]),
            Kind::Touch { mib } => command.args(["touch", &mib.to_string()]),
            Kind::Sleep => command.arg("sleep"),
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("start a process: {error}"))?;
        let output = child.stdout.take().ok_or("a process without output")?;
        let mut output = BufReader::new(output);
        let status = line(&mut output)?;
        let first = Allowed::parse(&status.replace('|', "\n"))
            .map_err(|error| format!("{error}; the process said {status:?}"))?;
        Ok(Self {
            child,
            output,
            first,
        })
    }

    /// Waits until it has done what it does once: its threads run, its memory is filled.
    pub fn ready(&mut self) -> Result<(), String> {
        match line(&mut self.output)?.as_str() {
            "ready" => Ok(()),
            other => Err(format!("a process ended early: {other:?}")),
        }
    }

    /// Its identifier.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it may use now.
    pub fn allowed(&self) -> Result<Allowed, String> {
        Allowed::parse(&read(
            &Path::new("/proc")
                .join(self.pid().to_string())
                .join("status"),
        )?)
    }

    /// Whether it still runs: nothing that the agent does may end it.
    pub fn lives(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("process {} ended: {status}", self.pid())),
            Err(error) => Err(format!("process {}: {error}", self.pid())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> Result<String, String> {
    let mut line = String::new();
    output
        .read_line(&mut line)
        .map_err(|error| format!("a process's output: {error}"))?;
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_from_a_status() {
        let status =
            "Name:\tx\nCpus_allowed:\tf\nCpus_allowed_list:\t0-1,3\nMems_allowed_list:\t1\n";
        let allowed = Allowed::parse(status).unwrap();
        assert_eq!(
            (
                allowed.cpus.to_string().as_str(),
                allowed.mems.to_string().as_str()
            ),
            ("0-1,3", "1")
        );
        assert!(
            Allowed::parse("Name:\tx\n")
                .unwrap_err()
                .contains("Cpus_allowed_list")
        );
    }
}
