//! A bounded memory: what was put in last stays, the oldest goes.

use std::collections::{HashMap, VecDeque};

use crate::request::Uid;

/// Values by pod, at most a fixed number.
#[derive(Debug)]
pub struct Recent<V> {
    limit: usize,
    values: HashMap<Uid, (u64, V)>,
    order: VecDeque<(u64, Uid)>,
    next: u64,
}

impl<V> Recent<V> {
    /// A memory of at most `limit` values.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            values: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
        }
    }

    /// Puts a value in, in place of an older one of the same pod.
    pub fn put(&mut self, uid: Uid, value: V) {
        let stamp = self.next;
        self.next += 1;
        self.values.insert(uid.clone(), (stamp, value));
        self.order.push_back((stamp, uid));
        while self.values.len() > self.limit || self.order.len() > self.limit * 2 {
            let Some((stamp, uid)) = self.order.pop_front() else {
                break;
            };
            if self
                .values
                .get(&uid)
                .is_some_and(|(latest, _)| *latest == stamp)
            {
                self.values.remove(&uid);
            }
        }
    }

    /// The pod's value.
    pub fn get(&self, uid: &str) -> Option<&V> {
        self.values.get(uid).map(|(_, value)| value)
    }

    /// Takes the pod's value out.
    pub fn take(&mut self, uid: &str) -> Option<V> {
        self.values.remove(uid).map(|(_, value)| value)
    }

    /// Every value, for changes in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Uid, &mut V)> {
        self.values.iter_mut().map(|(uid, (_, value))| (uid, value))
    }

    /// Keeps the values for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.values.retain(|_, (_, value)| keep(value));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_a_renewed_one_is_young() {
        let mut recent = Recent::new(2);
        for uid in ["a", "b", "a", "c"] {
            recent.put(uid.into(), uid);
        }
        assert_eq!(
            (recent.get("a"), recent.get("b"), recent.get("c")),
            (Some(&"a"), None, Some(&"c"))
        );
    }

    #[test]
    fn memory_stays_bounded_when_one_pod_is_put_in_again_and_again() {
        let mut recent = Recent::new(3);
        for round in 0..1000 {
            recent.put("a".into(), round);
        }
        assert_eq!((recent.len(), recent.get("a")), (1, Some(&999)));
        assert!(recent.order.len() <= 6);
    }
}
