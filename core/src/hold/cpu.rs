//! Splitting the CPU ceiling over pods: weighted max-min fairness.
//!
//! A pod that uses less than its part needs only its use and some room to grow; what it leaves goes to pods that are throttled. Weights are
//! the requests. What nobody needs is spread by weight too, so that an idle pod starts without waiting for the next tick.

use crate::units::Millicpu;

/// The least quota of a pod: the kernel refuses less than 1 ms in a period of 100 ms (`min_cfs_quota_period`), ten thousandths of a CPU.
pub const MIN_QUOTA: Millicpu = Millicpu::new(10);

/// Room to grow above a pod's use: a quarter of it and a twentieth of a CPU.
const GROWTH: f64 = 1.25;
const GROWTH_MILLICPU: u64 = 50;

/// One pod in the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuDemand {
    /// What the pod requested; its weight.
    pub request: Millicpu,
    /// What it used in the last sample.
    pub usage: Millicpu,
    /// It ran into its quota in the last sample, so its use says nothing about what it could use.
    pub throttled: bool,
}

/// The quota of each pod, in the order given. The sum never exceeds `ceiling`, unless the ceiling has not even [`MIN_QUOTA`] for each pod.
pub fn split_cpu(ceiling: Millicpu, pods: &[CpuDemand]) -> Vec<Millicpu> {
    let minimum = MIN_QUOTA.get();
    let Some(spare) = ceiling
        .get()
        .checked_sub(minimum.saturating_mul(pods.len() as u64))
    else {
        return vec![MIN_QUOTA; pods.len()];
    };
    let weights: Vec<f64> = pods
        .iter()
        .map(|pod| pod.request.get().max(1) as f64)
        .collect();
    let wants: Vec<f64> = pods
        .iter()
        .map(|pod| {
            let grown = (pod.usage.get() as f64 * GROWTH) as u64 + GROWTH_MILLICPU;
            if pod.throttled {
                f64::INFINITY
            } else {
                grown.saturating_sub(minimum) as f64
            }
        })
        .collect();
    let mut parts = water_fill(spare as f64, &weights, &wants);
    // What the wants left over, by weight.
    let left = spare as f64 - parts.iter().sum::<f64>();
    let total_weight: f64 = weights.iter().sum();
    if left > 0.0 && total_weight > 0.0 {
        for (part, weight) in parts.iter_mut().zip(&weights) {
            *part += left * weight / total_weight;
        }
    }
    parts
        .into_iter()
        .map(|part| Millicpu::new(minimum + part.max(0.0) as u64))
        .collect()
}

/// Fills wants from `amount` so that no part exceeds its want and the unsatisfied get amounts in proportion to their weights.
pub(crate) fn water_fill(amount: f64, weights: &[f64], wants: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    let level = |index: &usize| match (wants.get(*index), weights.get(*index)) {
        (Some(want), Some(weight)) => want / weight,
        _ => f64::INFINITY,
    };
    order.sort_by(|a, b| level(a).total_cmp(&level(b)));
    let mut parts = vec![0.0; weights.len()];
    let mut left = amount.max(0.0);
    let mut weight_left: f64 = weights.iter().sum();
    for index in order {
        let (Some(want), Some(weight), Some(part)) =
            (wants.get(index), weights.get(index), parts.get_mut(index))
        else {
            continue;
        };
        let fair = if weight_left > 0.0 {
            left * weight / weight_left
        } else {
            0.0
        };
        *part = want.min(fair).max(0.0);
        left = (left - *part).max(0.0);
        weight_left -= weight;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(request: u64, usage: u64, throttled: bool) -> CpuDemand {
        CpuDemand {
            request: Millicpu::new(request),
            usage: Millicpu::new(usage),
            throttled,
        }
    }

    #[test]
    fn one_pod_gets_the_whole_ceiling() {
        assert_eq!(
            split_cpu(Millicpu::new(1500), &[pod(1000, 0, false)]),
            [Millicpu::new(1500)]
        );
    }

    #[test]
    fn what_an_idle_pod_leaves_goes_to_a_throttled_one() {
        let parts = split_cpu(
            Millicpu::new(2000),
            &[pod(1000, 0, false), pod(1000, 900, true)],
        );
        assert!(parts[0].get() < 100, "{parts:?}");
        assert!(parts[1].get() > 1900, "{parts:?}");
    }

    #[test]
    fn throttled_pods_share_by_request() {
        let parts = split_cpu(
            Millicpu::new(3020),
            &[pod(2000, 500, true), pod(1000, 500, true)],
        );
        assert_eq!(parts, [Millicpu::new(2010), Millicpu::new(1010)]);
    }

    #[test]
    fn a_tiny_ceiling_still_leaves_each_pod_the_least_quota() {
        assert_eq!(
            split_cpu(Millicpu::new(5), &[pod(1, 0, true), pod(1, 0, true)]),
            [MIN_QUOTA, MIN_QUOTA]
        );
        assert!(split_cpu(Millicpu::new(5), &[]).is_empty());
    }

    proptest! {
        #[test]
        fn parts_add_up_to_no_more_than_the_ceiling(
            ceiling in 0..100_000u64,
            pods in prop::collection::vec((0..8000u64, 0..8000u64, any::<bool>()), 0..40),
        ) {
            let pods: Vec<_> = pods.into_iter().map(|(r, u, t)| pod(r, u, t)).collect();
            let parts = split_cpu(Millicpu::new(ceiling), &pods);
            prop_assert_eq!(parts.len(), pods.len());
            let sum: Millicpu = parts.iter().copied().sum();
            prop_assert!(sum.get() <= ceiling.max(10 * pods.len() as u64));
            prop_assert!(parts.iter().all(|part| *part >= MIN_QUOTA));
        }
    }
}
