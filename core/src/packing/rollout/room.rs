//! Room for pods that ask for no card, where cards have taken what they need: the second thing that a placement can spoil.
//!
//! A node's room for a class is the CPU that its pods could use of what a walk leaves: whole pods only, so that 31 cores are no room for 32.
//! It has a price only as far as it is scarce in the whole cluster: pods of the class that will come before the idle cards are asked for, over those that
//! still find room, at most one. A cluster with CPU to spare packs its cards as if nobody else were there.

use crate::packing::pod::PodClass;

/// Most classes that are looked at: the most popular.
pub(super) const CLASSES: usize = 6;

/// CPU that pods of each class could use, milli.
pub(super) type Usable = [f32; CLASSES];

/// The CPU-only classes, most popular first, with their share of CPU-only pods.
#[derive(Debug, Clone, Default)]
pub(super) struct Room(Vec<(PodClass, f64)>);

impl Room {
    /// The most popular of these classes, weighted.
    pub(super) fn new(classes: impl Iterator<Item = (PodClass, f64)>) -> Self {
        let mut classes: Vec<_> = classes
            .filter(|(class, _)| class.cards == 0 && class.cpu_milli > 0)
            .collect();
        classes.truncate(CLASSES);
        Self(classes)
    }

    /// The classes with their weights.
    pub(super) fn classes(&self) -> &[(PodClass, f64)] {
        &self.0
    }

    /// Adds what each class could use of this CPU and memory, and what was used already.
    pub(super) fn add(&self, sums: &mut Usable, cpu_milli: u64, memory_mib: u64, used: u64) {
        for (sum, (class, _)) in sums.iter_mut().zip(&self.0) {
            let pods = cpu_milli / class.cpu_milli;
            let pods = memory_mib
                .checked_div(class.memory_mib)
                .map_or(pods, |most| pods.min(most));
            *sum += (used + pods * class.cpu_milli) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_pods_count_and_memory_limits_them() {
        let memory = PodClass {
            memory_mib: 100,
            ..PodClass::cpu_only(1000)
        };
        let gpu = PodClass::gpu(1, 1000, 1);
        let classes = [(PodClass::cpu_only(32_000), 0.5), (gpu, 0.9), (memory, 0.5)];
        let room = Room::new(classes.into_iter());
        let mut sums = Usable::default();
        room.add(&mut sums, 31_000, 250, 0);
        let whole = |sums: Usable| sums.map(|sum| sum as u64);
        assert_eq!(whole(sums), [0, 2000, 0, 0, 0, 0]);
        room.add(&mut sums, 70_000, 0, 500);
        assert_eq!(whole(sums), [64_500, 2500, 0, 0, 0, 0]);
    }
}
