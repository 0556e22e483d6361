//! The scenarios on the machine at hand: in groups of their own, removed however the run ends.
//!
//! This process only starts the one that runs the scenarios, waits, and cleans up: a failure, a Ctrl-C or a killed run leaves no group and no process. If this process
//! itself is killed, the next run removes what it left.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use clap::Args;

use super::tree::remove;

/// Start of the names of groups; the process's identifier follows.
const PREFIX: &str = "kscen";

/// Flags of `katalyst-node-scenarios host`.
#[derive(Debug, Clone, Args)]
pub struct HostArgs {
    /// Flags of `run`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<String>,
}

/// Runs the scenarios and cleans up; the exit status is theirs.
pub fn run(args: &HostArgs) -> anyhow::Result<u8> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "groups can only be made by root"
    );
    clear(|owner| !Path::new("/proc").join(owner.to_string()).exists())?;
    let own = std::process::id();
    let directory = std::env::temp_dir().join(format!("katalyst-node-scenarios-{own}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let status = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        let mut child = tokio::process::Command::from(command(own, &directory, &args.flags)?)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the scenarios")?;
        let ended = tokio::select! {
            status = child.wait() => Some(status?),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        if ended.is_none() {
            child.kill().await?;
        }
        anyhow::Ok(ended)
    });
    clear(|owner| owner == own)?;
    if directory.exists() {
        match &status {
            Ok(Some(status)) if status.success() => fs::remove_dir_all(&directory)?,
            _ => eprintln!("logs are in {}", directory.display()),
        }
    }
    match status? {
        Some(status) => Ok(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        None => anyhow::bail!("interrupted; groups and processes are removed"),
    }
}

fn command(own: u32, directory: &Path, flags: &[String]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command
        .args([
            "run",
            "--report",
            report_name(flags),
            "--place",
            "host",
            "--root",
        ])
        .arg(format!("{PREFIX}{own}"));
    command.arg("--directory").arg(directory).args(flags);
    Ok(command)
}

fn report_name(flags: &[String]) -> &'static str {
    if flags.iter().any(|flag| flag == "--bench") {
        "bench-node"
    } else {
        "e2e-host"
    }
}

/// Removes the groups of every run whose owner fits, in every hierarchy.
fn clear(fits: impl Fn(u32) -> bool) -> anyhow::Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let mut mounts: Vec<PathBuf> = vec![root.to_owned()];
    mounts.extend(
        fs::read_dir(root)
            .context("no cgroups")?
            .flatten()
            .map(|entry| entry.path()),
    );
    for mount in mounts {
        let Ok(groups) = fs::read_dir(&mount) else {
            continue;
        };
        for group in groups.flatten() {
            if owner(&group.file_name().to_string_lossy()).is_some_and(&fits) {
                remove(&group.path()).map_err(anyhow::Error::msg)?;
            }
        }
    }
    Ok(())
}

/// The process whose run the group of this name belongs to.
fn owner(name: &str) -> Option<u32> {
    let name = name.strip_prefix(PREFIX)?;
    name.strip_suffix(".slice").unwrap_or(name).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_groups_have_an_owner() {
        assert_eq!(owner("kscen12"), Some(12));
        assert_eq!(owner("kscen12.slice"), Some(12));
        for other in ["kscen", "kscenx", "kubepods", "kscen12.scope"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
