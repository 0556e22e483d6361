//! What a container sees of its own placement, from its first instruction on.
//!
//! Prints one JSON line of what it saw before anything else ran in the process, and another one each time something has changed. One line in
//! a pod's log therefore means: right from the start, and never moved.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
use serde::{Deserialize, Serialize};

/// What to look at.
#[derive(Debug, Clone, Args)]
pub struct SeenArgs {
    /// Time between looks.
    #[arg(long, default_value_t = 200)]
    pub interval_ms: u64,
}

/// What the kernel says of this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// `Cpus_allowed_list` of `/proc/self/status`.
    pub cpus: String,
    /// `Mems_allowed_list`.
    pub mems: String,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Device nodes of `/dev` by path: kind, major, minor.
    pub devices: BTreeMap<String, String>,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Milliseconds since the first line.
    pub after_ms: u64,
    /// What was seen.
    #[serde(flatten)]
    pub seen: Seen,
}

impl Seen {
    /// Looks at this process.
    pub fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let mut devices = BTreeMap::new();
        collect(Path::new("/dev"), &mut devices);
        Ok(Self {
            cpus: field(&status, "Cpus_allowed_list"),
            mems: field(&status, "Mems_allowed_list"),
            env: std::env::vars_os()
                .map(|(key, value)| {
                    let text = |part: std::ffi::OsString| part.to_string_lossy().into_owned();
                    (text(key), text(value))
                })
                .collect(),
            devices,
        })
    }
}

/// The value of a field of `/proc/PID/status`; empty where there is none.
fn field(status: &str, name: &str) -> String {
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

/// Device nodes below a directory, except terminals, which come and go.
fn collect(dir: &Path, devices: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = metadata.file_type();
        if kind.is_dir() && !path.ends_with("pts") {
            collect(&path, devices);
        }
        let letter = match (kind.is_char_device(), kind.is_block_device()) {
            (true, _) => "c",
            (_, true) => "b",
            _ => continue,
        };
        let number = metadata.rdev();
        let text = format!(
            "{letter} {}:{}",
            rustix::fs::major(number),
            rustix::fs::minor(number)
        );
        devices.insert(path.display().to_string(), text);
    }
}

/// Prints what was seen first, and what is seen whenever that changes, for ever.
pub async fn run(args: &SeenArgs, first: Seen) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut last = first;
    print(0, &last)?;
    loop {
        tokio::time::sleep(Duration::from_millis(args.interval_ms)).await;
        let seen = Seen::now()?;
        if last != seen {
            print(u64::try_from(began.elapsed().as_millis())?, &seen)?;
            last = seen;
        }
    }
}

fn print(after_ms: u64, seen: &Seen) -> anyhow::Result<()> {
    let line = Line {
        after_ms,
        seen: seen.clone(),
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &line)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_status_is_found_by_its_whole_name() {
        let status = "Cpus_allowed:\tf\nCpus_allowed_list:\t0-3\nMems_allowed_list:\t1\n";
        assert_eq!(field(status, "Cpus_allowed_list"), "0-3");
        assert_eq!(field(status, "Mems_allowed_list"), "1");
        assert_eq!(field(status, "Nothing"), "");
    }

    #[test]
    fn this_process_sees_itself_and_a_line_reads_back() {
        let seen = Seen::now().unwrap();
        assert!(!seen.cpus.is_empty() && seen.env.contains_key("PATH"));
        assert_eq!(
            seen.devices.get("/dev/null").map(String::as_str),
            Some("c 1:3")
        );
        let line = Line { after_ms: 3, seen };
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }
}
