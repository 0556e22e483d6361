//! One machine through all predictors, and what really came.

use katalyst_core::prediction::{NodeSample, PodSample};

use super::references::{self, DAY_MAXIMUM};
use super::scenario::{DAY, Loaded, Machine, Task};

/// Horizons of the table in steps.
pub const HORIZONS: [(&str, usize); 3] = [("24h", 288), ("6h", 72), ("1h", 12)];

/// What a machine's replay gave. Vectors without another word have one value a judged step.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// Sum of the limits.
    pub limit: Vec<f64>,
    /// What was used.
    pub usage: Vec<f64>,
    /// What the same pods used a step later.
    pub next: Vec<f64>,
    /// The highest use of the pods that were present, within each horizon.
    pub oracle: [Vec<f64>; 3],
    /// Predictions: one vector a predictor, in the order of [`references::all`].
    pub predictions: Vec<Vec<f64>>,
    /// Step, day's maximum and what really came within a day, from the first day on, for the pooled factor.
    pub day: Vec<(usize, f64, f64)>,
}

/// Steps at which a machine is judged.
pub fn judged_steps(loaded: &Loaded) -> impl Iterator<Item = usize> + use<> {
    let from = loaded.scenario.warm_up;
    (from..loaded.steps.saturating_sub(DAY)).step_by(loaded.scenario.stride())
}

/// The pods of a machine, step by step.
#[derive(Debug)]
pub struct Player<'a> {
    /// By start.
    waiting: Vec<(u64, &'a Task)>,
    present: Vec<(u64, &'a Task)>,
    samples: Vec<PodSample>,
}

impl<'a> Player<'a> {
    /// At the beginning of the trace.
    pub fn new(machine: &'a Machine) -> Self {
        let mut waiting: Vec<(u64, &Task)> = (0u64..).zip(&machine.tasks).collect();
        waiting.sort_by_key(|(pod, task)| (std::cmp::Reverse(task.start), *pod));
        Self {
            waiting,
            present: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// The sample of a step; steps ascend.
    pub fn sample(&mut self, step: usize) -> NodeSample<'_> {
        self.present.retain(|(_, task)| task.end() > step);
        while let Some((pod, task)) = self.waiting.pop_if(|(_, task)| task.start <= step) {
            self.present.push((pod, task));
        }
        self.samples.clear();
        self.samples
            .extend(self.present.iter().filter_map(|(pod, task)| {
                Some(PodSample {
                    pod: *pod,
                    limit: task.limit,
                    usage: task.at(step)?,
                    load: 0.0,
                })
            }));
        NodeSample {
            step: step as u64,
            pods: &self.samples,
        }
    }

    /// What the pods that are present will use together in each of the next steps, written into `future`.
    pub fn future(&self, step: usize, future: &mut [f64]) {
        future.fill(0.0);
        for (_, task) in &self.present {
            let rest = task.usage.get(step + 1 - task.start..).unwrap_or_default();
            for (sum, usage) in future.iter_mut().zip(rest) {
                *sum += usage;
            }
        }
    }
}

/// Plays a machine to every reference predictor.
pub fn references(loaded: &Loaded, machine: &Machine) -> Judged {
    let mut predictors = references::all(loaded);
    let day_maximum = predictors.iter().position(|(name, _)| name == DAY_MAXIMUM);
    let mut judged = Judged {
        predictions: vec![Vec::new(); predictors.len()],
        ..Judged::default()
    };
    let mut player = Player::new(machine);
    let mut future = vec![0.0; DAY];
    let (warm_up, stride) = (loaded.scenario.warm_up, loaded.scenario.stride());
    let end = loaded.steps.saturating_sub(DAY);
    let first = DAY.min(warm_up);
    for step in 0..end {
        let sample = player.sample(step);
        for (_, predictor) in &mut predictors {
            predictor.observe(&sample);
        }
        let (limit, usage) = (sample.limit(), sample.usage());
        if step < first || step % stride != warm_up % stride {
            continue;
        }
        player.future(step, &mut future);
        let highest = |horizon: usize| future.iter().take(horizon).copied().fold(0.0, f64::max);
        if let Some((_, predictor)) = day_maximum.and_then(|at| predictors.get(at)) {
            judged.day.push((step, predictor.peak(), highest(DAY)));
        }
        if step < warm_up {
            continue;
        }
        judged.limit.push(limit);
        judged.usage.push(usage);
        judged.next.push(future.first().copied().unwrap_or(0.0));
        for (oracle, (_, horizon)) in judged.oracle.iter_mut().zip(HORIZONS) {
            oracle.push(highest(horizon));
        }
        for (values, (_, predictor)) in judged.predictions.iter_mut().zip(&predictors) {
            values.push(predictor.peak().min(limit));
        }
    }
    judged
}
