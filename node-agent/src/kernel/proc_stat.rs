//! `/proc/stat`: CPU time of the whole machine and of each CPU (proc(5), kernel `fs/proc/stat.c`).
//!
//! The kernel prints at least user, nice, system, idle, iowait, irq and softirq (since 2.6); steal since 2.6.11, guest since 2.6.24 and
//! guest_nice since 2.6.33. Lines of CPUs that are offline are left out. `iowait` and `idle` of one CPU may go backwards; the reader takes
//! differences that saturate.

/// Kernel's unit of the CPU lines: USER_HZ, 100 on every Linux architecture that Kubernetes runs on.
pub const TICKS_PER_SECOND: u64 = 100;

/// Time of one CPU, or of all, since boot, in ticks of [`TICKS_PER_SECOND`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Processes in user mode; guest time is in here too.
    pub user: u64,
    /// Niced processes in user mode.
    pub nice: u64,
    /// Kernel mode.
    pub system: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Nothing to do but a disk to wait for.
    pub iowait: u64,
    /// Hardware interrupts.
    pub irq: u64,
    /// Soft interrupts.
    pub softirq: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
}

impl CpuTimes {
    /// user + nice + system + irq + softirq + steal. Steal counts as used: it is time the machine wanted and did not get, so it is not free
    /// for batch work. Guest time is inside user and nice already.
    pub fn busy(&self) -> u64 {
        [
            self.user,
            self.nice,
            self.system,
            self.irq,
            self.softirq,
            self.steal,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// idle + iowait.
    pub fn unused(&self) -> u64 {
        self.idle.saturating_add(self.iowait)
    }
}

/// The machine's CPU time since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcStat {
    /// [`CpuTimes::busy`] of all CPUs.
    pub busy_ticks: u64,
    /// [`CpuTimes::unused`] of all CPUs.
    pub idle_ticks: u64,
    /// Number of `cpuN` lines: the CPUs that are online.
    pub online_cpus: u64,
}

/// Parses the file; `None` without a `cpu` line that has the first seven numbers.
pub fn parse(text: &str) -> Option<ProcStat> {
    let all = machine(text)?;
    Some(ProcStat {
        busy_ticks: all.busy(),
        idle_ticks: all.unused(),
        online_cpus: cpus(text).count() as u64,
    })
}

/// The line of all CPUs together.
pub fn machine(text: &str) -> Option<CpuTimes> {
    text.lines()
        .find_map(|line| times(line.strip_prefix("cpu")?.strip_prefix([' ', '\t'])?))
}

/// Each online CPU with its times, in the kernel's order. Allocates nothing. A line that is cut short is left out.
pub fn cpus(text: &str) -> impl Iterator<Item = (u32, CpuTimes)> + '_ {
    text.lines().filter_map(|line| {
        let (id, rest) = line.strip_prefix("cpu")?.split_once(char::is_whitespace)?;
        let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        Some((id.parse().ok().filter(|_| plain)?, times(rest)?))
    })
}

fn times(numbers: &str) -> Option<CpuTimes> {
    let mut words = numbers.split_whitespace();
    let mut field = || words.next().and_then(|word| word.parse().ok());
    Some(CpuTimes {
        user: field()?,
        nice: field()?,
        system: field()?,
        idle: field()?,
        iowait: field()?,
        irq: field()?,
        softirq: field()?,
        steal: field().unwrap_or(0),
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
        let each: Vec<_> = cpus(TWO_CPUS).collect();
        assert_eq!(each.len(), 2);
        assert_eq!(
            each[1],
            (
                1,
                CpuTimes {
                    user: 10_688,
                    nice: 28_210,
                    system: 10_509,
                    idle: 147_487,
                    iowait: 706,
                    irq: 0,
                    softirq: 218,
                    steal: 506
                }
            )
        );
    }

    #[test]
    fn offline_cpus_have_no_line_and_old_kernels_no_steal() {
        let text = "cpu  1 2 3 4 5 6 7\ncpu0 1 2 3 4 5 6 7\ncpu12 1 0 0 0 0 0 0\n";
        assert_eq!(
            cpus(text).map(|(id, _)| id).collect::<Vec<_>>(),
            [0, 12],
            "numbers are the kernel's"
        );
        assert_eq!(parse(text).unwrap().busy_ticks, 1 + 2 + 3 + 6 + 7);
    }

    #[test]
    fn a_cut_file_is_no_sample() {
        assert_eq!(parse("cpu 1 2 3"), None);
        assert_eq!(parse("intr 5"), None);
        assert_eq!(cpus("cpu0 1 2\ncpuidle 1 2 3 4 5 6 7\n").count(), 0);
    }
}
