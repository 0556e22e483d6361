//! The knobs of the planner.

/// The knobs of the planner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoolParams {
    /// Seconds that a new pod of a named pool runs on all shared CPUs. 30, as Katalyst's transition period: requests of starting
    /// processes say little, and class loading or cache warming wants more CPUs than serving.
    pub ramp_up_seconds: f64,
    /// Seconds that a pool must be too large before it shrinks. 60: a rewrite of a cpuset moves every task of the pool.
    pub shrink_after_seconds: f64,
    /// Fraction on top of a pool's use. 0.25, as Katalyst's estimate (`1.25 * usage`): a pool at 80 % still finds an idle CPU for a wake-up.
    pub margin: f64,
    /// Least CPUs of a named or NUMA-bound pool, in whole cores. 1.
    pub minimum_cpus: u32,
    /// Least CPUs that batch pods may run on, in whole cores where there are so many. 2; Katalyst's is 4, too much of a small machine.
    pub reclaimed_minimum_cpus: u32,
    /// Batch may run on the CPUs that services share (held back by quota and weight). True: fewer CPUs for batch make the tails of services
    /// longer, since a waking service thread then finds batch on the one CPU it wants. False: batch has CPUs apart, sized from what services leave.
    pub reclaimed_overlaps: bool,
    /// Batch may run on NUMA nodes that a pod has to itself. False.
    pub reclaimed_on_exclusive: bool,
    /// Most CPUs, as a fraction of the shared ones, that isolation may take. 0.2, as Katalyst's.
    pub isolation_cpus: f64,
    /// Most pods, as a fraction of a pool's, that may be isolated; never all. 0.5, as Katalyst's.
    pub isolation_pods: f64,
}

impl Default for PoolParams {
    fn default() -> Self {
        Self {
            ramp_up_seconds: 30.0,
            shrink_after_seconds: 60.0,
            margin: 0.25,
            minimum_cpus: 1,
            reclaimed_minimum_cpus: 2,
            reclaimed_overlaps: true,
            reclaimed_on_exclusive: false,
            isolation_cpus: 0.2,
            isolation_pods: 0.5,
        }
    }
}
