//! Looking at and ending processes by number.

use std::{fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use super::tool::wait_for;

/// Direct children of a process; none when it is gone.
pub fn children(id: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    listed
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// When a process began, in clock ticks since the machine's start: with the number it names a process for good. `None` for a
/// process that is gone or only waits to be collected.
pub fn birth(id: u32) -> Option<u64> {
    parse_birth(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

fn parse_birth(stat: &str) -> Option<u64> {
    // The program's name, in parentheses, may hold anything; fields are counted after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let dead = matches!(state, "Z" | "X");
    if dead {
        None
    } else {
        fields.nth(18)?.parse().ok()
    }
}

/// Sends a signal; a process that is already gone needs none.
pub fn signal(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal).ok();
    }
}

/// Kills the process `id` that began at `birth`, and waits until it is gone.
pub fn end(id: u32, began: u64) -> anyhow::Result<()> {
    if birth(id) != Some(began) {
        return Ok(());
    }
    signal(id, Signal::KILL);
    let what = format!("end of process {id}");
    wait_for(
        &what,
        Duration::from_secs(10),
        Duration::from_millis(20),
        || {
            anyhow::ensure!(birth(id) != Some(began), "it is still there");
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn birth_of_a_process_with_a_strange_name() {
        let fields: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let stat = format!("7 (a) b (c) S {}", fields.join(" "));
        assert_eq!(parse_birth(&stat), Some(22));
        assert_eq!(parse_birth(&stat.replace(") S ", ") Z ")), None);
    }

    #[test]
    fn this_process_lives() {
        assert!(birth(std::process::id()).is_some());
    }

    #[test]
    fn a_process_is_ended_only_by_its_own_birth() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let began = birth(child.id()).unwrap();
        end(child.id(), began + 1).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        end(child.id(), began).unwrap();
        assert!(child.wait().is_ok());
    }
}
