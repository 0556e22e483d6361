//! Out-of-memory and limit events of a group: `memory.events` of version 2 (cgroup-v2.rst), `memory.oom_control` of version 1 (memory.rst).
//! `memory.failcnt` of version 1 is one number: see [`super::number`].

use super::flat_keyed;

/// Cumulative counters of `memory.events`, descendants included. Zero where a kernel does not know the event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Reclaimed although below `memory.low`.
    pub low: u64,
    /// Throttled and reclaimed at `memory.high`.
    pub high: u64,
    /// Stopped at `memory.max`.
    pub max: u64,
    /// An allocation was about to fail.
    pub oom: u64,
    /// Processes killed.
    pub oom_kill: u64,
    /// Groups killed whole; since 5.17.
    pub oom_group_kill: u64,
}

/// Parses `memory.events`; `None` without any counter that every kernel has.
pub fn parse(text: &str) -> Option<MemoryEvents> {
    let mut events = MemoryEvents::default();
    let mut known = false;
    for (key, value) in flat_keyed(text) {
        let field = match key {
            "low" => &mut events.low,
            "high" => &mut events.high,
            "max" => &mut events.max,
            "oom" => &mut events.oom,
            "oom_kill" => &mut events.oom_kill,
            "oom_group_kill" => &mut events.oom_group_kill,
            _ => continue,
        };
        *field = value;
        known = true;
    }
    known.then_some(events)
}

/// What `memory.oom_control` of version 1 says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OomControl {
    /// The kernel does not kill here; tasks wait.
    pub kill_disabled: bool,
    /// Tasks wait for memory right now.
    pub under_oom: bool,
    /// Processes killed, cumulative; since 4.13.
    pub oom_kill: Option<u64>,
}

/// Parses `memory.oom_control`; `None` without its `under_oom` line.
pub fn parse_oom_control(text: &str) -> Option<OomControl> {
    let mut control = OomControl::default();
    let mut known = false;
    for (key, value) in flat_keyed(text) {
        match key {
            "oom_kill_disable" => control.kill_disabled = value != 0,
            "under_oom" => {
                control.under_oom = value != 0;
                known = true;
            }
            "oom_kill" => control.oom_kill = Some(value),
            _ => {}
        }
    }
    known.then_some(control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2() {
        let text = "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 7\n";
        assert_eq!(
            parse(text),
            Some(MemoryEvents {
                low: 1,
                high: 2,
                max: 3,
                oom: 4,
                oom_kill: 5,
                oom_group_kill: 6
            })
        );
        assert_eq!(parse("new 1\n"), None);
    }

    #[test]
    fn version_1() {
        assert_eq!(
            parse_oom_control("oom_kill_disable 0\nunder_oom 1\noom_kill 2\n"),
            Some(OomControl {
                kill_disabled: false,
                under_oom: true,
                oom_kill: Some(2)
            })
        );
        assert_eq!(
            parse_oom_control("oom_kill_disable 1\nunder_oom 0\n").map(|oom| oom.oom_kill),
            Some(None),
            "before 4.13"
        );
        assert_eq!(parse_oom_control(""), None);
    }
}
