//! Prediction of a node's peak: how much the pods that are on it now will use at most within a horizon.
//!
//! What may be offered to batch pods is what is left above that peak. The right target is not present use but the *future peak of what runs now*
//! (Bashir et al., "Take it to the limit", EuroSys 2021): pods that arrive later bring their own requests.
//!
//! | file | estimator | source |
//! |---|---|---|
//! | [`usage`] | present use with a factor, load, or a fixed part of the limits | Katalyst `cpu headroom`, Koordinator `batchAllocatable`, Borg default |
//! | [`histogram`] | percentile of a histogram whose samples decay | Kubernetes VPA, Koordinator `peak-prediction`, Autopilot |
//! | [`rc_like`] | percentile of each pod's recent samples, added up | Resource Central as in EuroSys 2021 |
//! | [`n_sigma`] | mean and deviations of the node's recent use | EuroSys 2021 |
//! | [`machine`] | percentile or maximum of the node's recent use | EuroSys 2021 |
//! | [`highest`] | the highest of several | EuroSys 2021, "max predictor" |
//! | [`conformal`] | base and scale, calibrated against what happened so that a budget of violations is kept | ours |
//!
//! Every estimator is fed one sample each five minutes ([`STEP_SECONDS`]): what each pod used in that time. It knows nothing of the future, keeps its own state of each pod,
//! and forgets a pod that is gone. All amounts are in one unit of the caller's choice (thousandths of a CPU, bytes); CPU and memory are two estimators.

pub mod conformal;
pub mod highest;
pub mod histogram;
pub mod machine;
pub mod n_sigma;
mod pods;
pub mod rc_like;
pub mod usage;
mod warm;
pub mod window;

/// Seconds between two samples. Five minutes, as in every public trace and in Borg's accounting.
pub const STEP_SECONDS: u64 = 300;

/// Samples of an hour.
pub const STEPS_PER_HOUR: u64 = 12;

/// Samples of a day.
pub const STEPS_PER_DAY: u64 = 288;

/// A pod with fewer samples than this counts with its limit: two hours, the warm-up of the EuroSys 2021 simulator (`min_num_samples`).
pub const WARM_SAMPLES: u32 = 24;

/// What one pod used during a step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PodSample {
    /// Tells pods apart; a pod that comes back under the same number within its absence counts as new.
    pub pod: u64,
    /// The most it may use: its limit, or its request where that is what was promised.
    pub limit: f64,
    /// What it used.
    pub usage: f64,
    /// Threads that ran or waited to, in units of `usage`; zero where nobody measured.
    pub load: f64,
}

/// What a node's pods used during a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeSample<'a> {
    /// Number of the step: seconds since any fixed instant, over [`STEP_SECONDS`].
    pub step: u64,
    /// The pods, in any order that does not change without need.
    pub pods: &'a [PodSample],
}

impl NodeSample<'_> {
    /// Sum of the limits.
    pub fn limit(&self) -> f64 {
        self.pods.iter().map(|pod| pod.limit).sum()
    }

    /// Sum of what was used.
    pub fn usage(&self) -> f64 {
        self.pods.iter().map(|pod| pod.usage).sum()
    }
}

/// Predicts a node's peak from its samples so far.
pub trait Estimator: std::fmt::Debug + Send {
    /// Takes the next sample.
    fn observe(&mut self, sample: &NodeSample<'_>);

    /// The peak to expect of the pods of the last sample, between zero and the sum of their limits.
    fn peak(&self) -> f64;
}
