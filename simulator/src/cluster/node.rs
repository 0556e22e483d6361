//! One node, step by step: what the agent and the controller do on it.

use katalyst_core::capacity::{Observation, Params, Published, estimate};
use katalyst_core::eviction::{Candidate, Deficit, plan};
use katalyst_core::hold::{CeilingParams, CpuCeilingInput, CpuDemand, cpu_ceiling, split_cpu};
use katalyst_core::prediction::NodeSample;
use katalyst_core::prediction::PodSample;
use katalyst_core::prediction::conformal::{Account, Budget, Horizon, NodeHistory, Pool, Score};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_core::units::Millicpu;

use super::batch::BatchPod;
use crate::peak::judge::Player;

/// Seconds of a step.
pub const STEP: f64 = 300.0;

/// CPU of a node.
pub const CAPACITY: Millicpu = Millicpu::new(32_000);

/// What a node did in a step.
#[derive(Debug, Clone, Default)]
pub struct Did {
    /// Predictions whose horizon is over.
    pub over: Vec<Score>,
    /// Factor of this step.
    pub factor: f64,
    /// Used by services, thousandths of a CPU.
    pub services: u64,
    /// Used by batch pods.
    pub batch: u64,
    /// Seconds of work of pods that were finished, times their CPUs.
    pub finished_work: f64,
    /// Pods that were finished.
    pub finished: u64,
    /// The same of work that was lost with evicted pods.
    pub lost_work: f64,
    /// Evicted.
    pub evicted: Vec<BatchPod>,
    /// Batch pods, and those that got less than they asked for.
    pub pods: (u64, u64),
}

/// A node.
#[derive(Debug)]
pub struct Node<'a> {
    /// Its pool.
    pub pool: usize,
    /// Its promises.
    pub account: Account,
    /// Batch pods on it.
    pub pods: Vec<BatchPod>,
    /// What it offers.
    pub published: Option<Published>,
    history: NodeHistory,
    player: Player<'a>,
    samples: Vec<PodSample>,
    /// First step of the trace.
    first: usize,
    /// Thousandths of a CPU in one unit of the trace.
    scale: f64,
    deficit: Deficit,
    recent: Millicpu,
    ceiling: Option<Millicpu>,
}

impl<'a> Node<'a> {
    /// Begins at a step of a machine's trace.
    pub fn new(pool: usize, player: Player<'a>, first: usize, scale: f64) -> Self {
        Self {
            pool,
            account: Account::default(),
            pods: Vec::new(),
            published: None,
            history: NodeHistory::default(),
            player,
            samples: Vec::new(),
            first,
            scale,
            deficit: Deficit::new(60.0),
            recent: Millicpu::ZERO,
            ceiling: None,
        }
    }

    /// Sum of the requests of its batch pods.
    pub fn allocated(&self) -> Reclaimed {
        self.pods.iter().map(|pod| pod.request).sum()
    }

    /// Predictions that are not over yet.
    pub fn pending(&self, horizon: Horizon) -> impl Iterator<Item = Score> + '_ {
        self.history.pending(horizon)
    }

    /// One step: services use, the prediction and the offer follow, batch is held, evicted, finished.
    pub fn step(&mut self, step: usize, pool: &Pool, budget: &Budget, horizon: Horizon) -> Did {
        let now = step as f64 * STEP;
        let sample = self.player.sample(self.first + step);
        self.samples.clear();
        self.samples.extend(sample.pods.iter().map(|pod| PodSample {
            limit: pod.limit * self.scale,
            usage: pod.usage * self.scale,
            ..*pod
        }));
        let sample = NodeSample {
            step: step as u64,
            pods: &self.samples,
        };
        let services = Millicpu::new(sample.usage().round() as u64);
        let over = self.history.observe(&sample);
        let factor = pool.factor(budget, &self.account, step as u64).factor;
        let peak = self.history.shape(horizon).peak(factor);
        let observation = Observation {
            capacity: cpu(CAPACITY),
            service_peak: cpu(Millicpu::new(peak.ceil() as u64)),
            allocated: self.allocated(),
            age_seconds: 0.0,
        };
        // The prediction replaces peak and margin; reserve, slope, floor and risk stay.
        let params = Params {
            margin: 0.0,
            ..Params::default()
        };
        let offer = estimate(&observation, &params, self.published.as_ref(), now).offer;
        self.published = Some(Published {
            offer,
            at_seconds: now,
        });
        let mut did = Did {
            over,
            factor,
            services: services.get(),
            ..Did::default()
        };
        self.evict(now, offer, &mut did);
        self.hold(services, &mut did);
        did
    }

    fn evict(&mut self, now: f64, offer: Reclaimed, did: &mut Did) {
        let allocated = self.allocated();
        let Some(need) = self.deficit.observe(now, allocated, offer) else {
            return;
        };
        let candidates: Vec<Candidate> = self
            .pods
            .iter()
            .map(|pod| Candidate {
                request: pod.request,
                usage: Reclaimed::new(pod.usage, 0),
                priority: 0,
                age_seconds: pod.age,
                terminating: false,
                protected: false,
            })
            .collect();
        let mut victims: Vec<usize> = plan(&need, &candidates, candidates.len())
            .victims
            .iter()
            .map(|victim| victim.index)
            .collect();
        victims.sort_unstable();
        for index in victims.into_iter().rev() {
            let pod = self.pods.swap_remove(index);
            did.lost_work += pod.done * cpus(&pod);
            did.evicted.push(pod);
        }
        self.deficit.reset();
    }

    /// Ceiling and its split, work, and pods that are done.
    fn hold(&mut self, services: Millicpu, did: &mut Did) {
        let input = CpuCeilingInput {
            capacity: CAPACITY,
            service_now: services,
            service_recent_peak: self.recent.max(services),
            previous: self.ceiling,
            elapsed_seconds: STEP,
        };
        let ceiling = cpu_ceiling(&input, &CeilingParams::default()).value;
        self.recent = services;
        self.ceiling = Some(ceiling);
        let demands: Vec<CpuDemand> = self
            .pods
            .iter()
            .map(|pod| CpuDemand {
                request: pod.request.cpu,
                usage: pod.request.cpu,
                throttled: true,
            })
            .collect();
        let quotas = split_cpu(ceiling, &demands);
        for (pod, quota) in self.pods.iter_mut().zip(quotas) {
            let granted = quota.min(pod.request.cpu);
            pod.throttled = granted < pod.request.cpu;
            pod.usage = granted.get();
            pod.age += STEP;
            pod.done += STEP * granted.get() as f64 / pod.request.cpu.get().max(1) as f64;
            did.batch += granted.get();
            did.pods.0 += 1;
            did.pods.1 += u64::from(pod.throttled);
        }
        self.pods.retain(|pod| {
            let done = pod.done >= pod.work;
            if done {
                did.finished += 1;
                did.finished_work += pod.work * cpus(pod);
            }
            !done
        });
    }
}

fn cpu(amount: Millicpu) -> Reclaimed {
    Reclaimed {
        cpu: amount,
        ..Reclaimed::ZERO
    }
}

fn cpus(pod: &BatchPod) -> f64 {
    pod.request.cpu.get() as f64 / 1000.0
}
