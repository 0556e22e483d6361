//! The fewest pods that must leave a node so that another fits, found with the same [`fits`] that filter uses.
//!
//! First pods go one by one, lowest priority first, among equals the youngest first, and those whose disruption budget it would violate after all others; as soon as
//! the pod fits, no one else goes. Then, in the opposite order, each is put back where the pod still fits. What remains is a set in which nobody
//! could stay: no budget is violated that need not be, and the highest priority among the victims is as low as it can be.

use super::{
    allocation::Uid,
    fit::fits,
    node::{NodePlacement, Removed},
    request::PodRequest,
};

/// A pod that might have to leave. Only pods of lower priority than the one that wants in may be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The pod.
    pub uid: Uid,
    /// Its priority.
    pub priority: i32,
    /// When it was created, seconds since 1970.
    pub created: i64,
    /// Its disruption budget does not allow that it goes.
    pub violates_budget: bool,
}

/// Who must leave: `leaving` (whom the scheduler has chosen already, for its own reasons) and as few `holders` as possible beside them. The order is that of
/// going. `None` where it does not help that all of them go, or where the pod fits without anyone leaving but `leaving`, and that is nobody.
pub fn victims(
    node: &NodePlacement,
    request: &PodRequest,
    leaving: &[Uid],
    holders: &[Holder],
) -> Option<Vec<Uid>> {
    let mut scratch = node.clone();
    for uid in leaving {
        scratch.remove(uid);
    }
    let mut order: Vec<&Holder> = holders
        .iter()
        .filter(|holder| !leaving.contains(&holder.uid))
        .collect();
    order.sort_by(|a, b| {
        (a.violates_budget, a.priority, -a.created, &a.uid).cmp(&(
            b.violates_budget,
            b.priority,
            -b.created,
            &b.uid,
        ))
    });
    let mut gone: Vec<(Uid, Removed)> = Vec::new();
    let mut next = order.into_iter();
    while let Err(unfit) = fits(&scratch, request) {
        if !unfit.resolvable() {
            return None;
        }
        // Who holds nothing here frees nothing.
        let removed = next.find_map(|holder| {
            let removed = scratch.remove(&holder.uid)?;
            Some((Uid::clone(&holder.uid), removed))
        });
        gone.push(removed?);
    }
    let mut staying: Vec<Uid> = Vec::new();
    for (uid, removed) in gone.iter().rev() {
        scratch.restore(removed.clone());
        if fits(&scratch, request).is_ok() {
            staying.push(Uid::clone(uid));
        } else {
            scratch.remove(uid);
        }
    }
    let chosen: Vec<Uid> = leaving
        .iter()
        .cloned()
        .chain(
            gone.into_iter()
                .map(|(uid, _)| uid)
                .filter(|uid| !staying.contains(uid)),
        )
        .collect();
    (!chosen.is_empty()).then_some(chosen)
}
