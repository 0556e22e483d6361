//! Popularity of classes, learned from the pods that arrive: nothing is known beforehand.
//!
//! Counts are over everything that arrived or over the last so many pods. A table is worth a new look at arrivals 1, 5, 10, 20, 50, 100 and then
//! each time their number doubled, up to a period after which it is renewed at that pace: early pods change popularities much, late ones little, and
//! a policy throws away what it computed for the old table.

use std::collections::{HashMap, VecDeque};

use super::pod::PodClass;
use super::table::ClassTable;

/// First looks at the table, in pods arrived.
const FIRST: [u64; 5] = [1, 5, 10, 20, 50];
/// From here on at each doubling.
const DOUBLING_FROM: u64 = 100;

/// What arrived.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    counts: HashMap<PodClass, u64>,
    window: Option<(usize, VecDeque<PodClass>)>,
    arrived: u64,
    renew_every: u64,
}

impl Arrivals {
    /// Pods between renewals once doubling would take longer than this.
    pub const RENEW_EVERY: u64 = 6400;

    /// Counts everything.
    pub fn cumulative() -> Self {
        Self {
            renew_every: Self::RENEW_EVERY,
            ..Self::default()
        }
    }

    /// Counts the last `pods` pods (at least one): forgets workloads that ended.
    pub fn sliding(pods: usize) -> Self {
        let pods = pods.max(1);
        Self {
            window: Some((pods, VecDeque::with_capacity(pods))),
            renew_every: pods as u64,
            ..Self::default()
        }
    }

    /// Counts a pod when it is first seen (not when it is tried again). True when the table is worth a new look.
    pub fn arrived(&mut self, pod: PodClass) -> bool {
        *self.counts.entry(pod).or_default() += 1;
        self.arrived += 1;
        if let Some((length, window)) = &mut self.window {
            window.push_back(pod);
            if window.len() > *length
                && let Some(old) = window.pop_front()
                && let Some(count) = self.counts.get_mut(&old)
            {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&old);
                }
            }
        }
        let n = self.arrived;
        FIRST.contains(&n)
            || (n < self.renew_every
                && n.is_multiple_of(DOUBLING_FROM)
                && (n / DOUBLING_FROM).is_power_of_two())
            || n.is_multiple_of(self.renew_every.max(1))
    }

    /// True when it is worth a look at what is left in the cluster: each five hundred pods. More often would throw away more than prices change in between.
    pub const fn prices_are_old(&self) -> bool {
        self.arrived.is_multiple_of(500)
    }

    /// Pods seen.
    pub const fn count(&self) -> u64 {
        self.arrived
    }

    /// The table now. Equal counts are ordered by larger CPU, compute, number of cards and models, as the FGD benchmark does.
    pub fn table(&self) -> ClassTable {
        let mut classes: Vec<(PodClass, u64)> = self
            .counts
            .iter()
            .map(|(class, count)| (*class, *count))
            .collect();
        classes.sort_unstable_by_key(|(class, count)| {
            std::cmp::Reverse((
                *count,
                class.cpu_milli,
                class.card_milli,
                class.cards,
                class.models,
                class.memory_mib,
                class.card_memory_mib,
            ))
        });
        ClassTable::new(classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer() {
        let mut arrivals = Arrivals::cumulative();
        let looks: Vec<u64> = (1..=20_000u64)
            .filter(|_| arrivals.arrived(PodClass::cpu_only(1)))
            .collect();
        assert_eq!(
            looks,
            [
                1, 5, 10, 20, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 19_200
            ]
        );
    }

    #[test]
    fn a_window_forgets() {
        let mut arrivals = Arrivals::sliding(3);
        for cpu in [1, 1, 1, 2, 2] {
            arrivals.arrived(PodClass::cpu_only(cpu));
        }
        let table: Vec<_> = arrivals.table().all().collect();
        assert_eq!(table.len(), 2);
        assert_eq!(table[0].0, PodClass::cpu_only(2));
        for _ in 0..3 {
            arrivals.arrived(PodClass::cpu_only(3));
        }
        assert_eq!(arrivals.table().all().count(), 1);
    }

    #[test]
    fn the_same_pods_give_the_same_table() {
        let pods = [3, 1, 2, 1, 9, 3].map(PodClass::cpu_only);
        let table = |pods: &[PodClass]| {
            let mut arrivals = Arrivals::cumulative();
            for pod in pods {
                arrivals.arrived(*pod);
            }
            arrivals.table()
        };
        let mut other = pods;
        other.reverse();
        assert_eq!(table(&pods), table(&other));
    }
}
