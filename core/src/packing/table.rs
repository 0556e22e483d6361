//! How popular each class of pods is: what a policy expects to arrive.

use super::models::{ModelId, ModelSet};
use super::pod::PodClass;

/// Share of arrivals that *typical* classes cover: the cut of the FGD paper (Weng et al., USENIX ATC 2023).
pub const TYPICAL_SHARE: f64 = 0.95;

/// Classes, most popular first, with their popularity.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClassTable {
    classes: Vec<(PodClass, u64)>,
    total: u64,
    typical: usize,
    typical_total: u64,
}

impl ClassTable {
    /// From counts in the order that the cut follows (descending).
    pub fn new(classes: Vec<(PodClass, u64)>) -> Self {
        let total: u64 = classes.iter().map(|(_, count)| count).sum();
        let mut typical = 0;
        let mut typical_total = 0;
        for (_, count) in &classes {
            // The published cut compares doubles: 95.0 * total / 100.
            if typical_total as f64 >= TYPICAL_SHARE * 100.0 * total as f64 / 100.0 {
                break;
            }
            typical += 1;
            typical_total += count;
        }
        Self {
            classes,
            total,
            typical,
            typical_total,
        }
    }

    /// The table of the same pods with their memory forgotten, as published policies see them. Rows that memory does not tell apart stay as they are: the
    /// published benchmark counts a class twice where its selector is written in two ways, and its results depend on it.
    #[must_use]
    pub fn without_memory(&self) -> Self {
        if self
            .classes
            .iter()
            .all(|(class, _)| class.memory_mib == 0 && class.card_memory_mib == 0)
        {
            return self.clone();
        }
        let mut merged: Vec<(PodClass, u64)> = Vec::with_capacity(self.classes.len());
        for (class, count) in &self.classes {
            let class = PodClass {
                memory_mib: 0,
                card_memory_mib: 0,
                ..*class
            };
            match merged.iter_mut().find(|(known, _)| *known == class) {
                Some((_, sum)) => *sum += count,
                None => merged.push((class, *count)),
            }
        }
        merged.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Self::new(merged)
    }

    /// True before anything arrived.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Pods counted.
    pub const fn pods(&self) -> u64 {
        self.total
    }

    /// Every class with its popularity; these sum to one.
    pub fn all(&self) -> impl Iterator<Item = (PodClass, f64)> {
        let total = self.total as f64;
        self.classes
            .iter()
            .map(move |(class, count)| (*class, *count as f64 / total))
    }

    /// The typical classes, popularities scaled to sum to one.
    pub fn typical(&self) -> impl Iterator<Item = (PodClass, f64)> {
        let covered = self.typical_total as f64 / self.total as f64;
        let cut = self.typical < self.classes.len();
        self.all().take(self.typical).map(move |(class, p)| {
            if cut {
                (class, p / covered)
            } else {
                (class, p)
            }
        })
    }

    /// Compute asked for by those who accept each set of models, milli.
    pub fn demand(&self) -> impl Iterator<Item = (ModelSet, f64)> {
        self.classes
            .iter()
            .filter(|(class, _)| class.cards > 0)
            .map(|(class, count)| (class.models, (*count * class.gpu_milli()) as f64))
    }
}

/// Compute of all nodes together by model, milli.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capacity(Vec<(ModelId, u64)>);

impl Capacity {
    /// Counts a node's cards in full.
    pub fn add(&mut self, model: ModelId, milli: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == model) {
            Some((_, sum)) => *sum += milli,
            None => self.0.push((model, milli)),
        }
    }

    /// All models together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, milli)| milli).sum()
    }

    /// What these models have together.
    pub fn of(&self, models: ModelSet) -> u64 {
        self.0
            .iter()
            .filter(|(model, _)| models.contains(*model))
            .map(|(_, milli)| milli)
            .sum()
    }

    /// Models that exist.
    pub fn models(&self) -> impl Iterator<Item = ModelId> {
        self.0.iter().map(|(model, _)| *model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cut_keeps_just_enough_classes() {
        let class = PodClass::cpu_only;
        let table = ClassTable::new(vec![(class(1), 90), (class(2), 6), (class(3), 4)]);
        let typical: Vec<_> = table.typical().collect();
        assert_eq!(typical.len(), 2);
        assert!((typical[0].1 - 90.0 / 96.0).abs() < 1e-12);
        assert!((table.all().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn pods_that_differ_in_memory_alone_are_one_class_to_published_policies() {
        let class = PodClass::cpu_only(1);
        let other = PodClass {
            memory_mib: 7,
            ..class
        };
        let table = ClassTable::new(vec![(PodClass::cpu_only(2), 3), (class, 2), (other, 2)]);
        let merged = ClassTable::new(vec![(class, 4), (PodClass::cpu_only(2), 3)]);
        assert_eq!(table.without_memory(), merged);
        let twice = ClassTable::new(vec![(class, 3), (class, 2)]);
        assert_eq!(twice.without_memory(), twice);
    }

    #[test]
    fn nothing_arrived_means_no_class() {
        assert_eq!(ClassTable::default().typical().count(), 0);
        assert!(ClassTable::default().is_empty());
    }
}
