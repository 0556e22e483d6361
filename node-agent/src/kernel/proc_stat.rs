//! `/proc/stat`: CPU time of the whole machine.

/// Kernel's unit of the CPU lines: USER_HZ, 100 on every Linux architecture that Kubernetes runs on.
pub const TICKS_PER_SECOND: u64 = 100;

/// The machine's CPU time since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcStat {
    /// user + nice + system + irq + softirq + steal, in ticks of [`TICKS_PER_SECOND`]. Steal counts as used: it is time the machine
    /// wanted and did not get, so it is not free for batch work. Guest time is inside user and nice already.
    pub busy_ticks: u64,
    /// idle + iowait.
    pub idle_ticks: u64,
    /// Number of `cpuN` lines: the CPUs that are online.
    pub online_cpus: u64,
}

/// Parses the file; `None` without a `cpu` line that has the first seven numbers.
pub fn parse(text: &str) -> Option<ProcStat> {
    let mut stat = ProcStat::default();
    let mut machine_seen = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("cpu") => {
                let mut field = || words.next().and_then(|word| word.parse::<u64>().ok());
                let (user, nice, system) = (field()?, field()?, field()?);
                let (idle, iowait) = (field()?, field()?);
                let (irq, softirq) = (field()?, field()?);
                let steal = field().unwrap_or(0);
                stat.busy_ticks = [user, nice, system, irq, softirq, steal]
                    .into_iter()
                    .fold(0, u64::saturating_add);
                stat.idle_ticks = idle.saturating_add(iowait);
                machine_seen = true;
            }
            Some(name) if is_cpu_line(name) => {
                stat.online_cpus = stat.online_cpus.saturating_add(1);
            }
            Some(_) | None => {}
        }
    }
    machine_seen.then_some(stat)
}

/// `cpu` followed by digits only.
fn is_cpu_line(name: &str) -> bool {
    name.strip_prefix("cpu").is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured on 6.18, two CPUs.
    const TWO_CPUS: &str = "cpu  20150 56598 20039 297733 813 0 306 986 0 0\ncpu0 9461 28387 9529 150245 106 0 88 479 0 0\ncpu1 10688 28210 10509 147487 706 0 218 506 0 0\nintr 5511514 0 1 2\nctxt 9190861\nbtime 1795494921\nprocesses 29611\nprocs_running 5\nprocs_blocked 0\nsoftirq 1 2 3\n";

    #[test]
    fn two_cpus() {
        assert_eq!(
            parse(TWO_CPUS),
            Some(ProcStat {
                busy_ticks: 20150 + 56598 + 20039 + 306 + 986,
                idle_ticks: 297_733 + 813,
                online_cpus: 2
            })
        );
    }

    #[test]
    fn a_cut_file_is_no_sample() {
        assert_eq!(parse("cpu 1 2 3"), None);
        assert_eq!(parse("intr 5"), None);
    }
}
