//! What can happen next.

use rand::RngExt;
use rand::rngs::StdRng;

use super::{NODES, PODS};

/// A step. Replicas and nodes are given by number, bindings on their way by their place among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// kube-scheduler asks the leader to bind a pod to a node.
    Bind(usize, usize),
    /// A binding under way reaches the API server.
    Land(usize),
    /// The API server's answer reaches the extender.
    Answer(usize),
    /// The extender waits no longer; whether its look at the pod is answered too.
    GiveUp(usize, bool),
    /// A pod is deleted.
    Delete(usize),
    /// The next event of a replica's watch of pods.
    Deliver(usize),
    /// The last one again.
    Repeat(usize),
    /// The next two change places.
    Swap(usize),
    /// The watch breaks.
    BreakWatch(usize),
    /// The API server answers the listing.
    TakeList(usize),
    /// The listing reaches the replica.
    FinishList(usize),
    /// A replica sees a custom resource go.
    Vanish(usize, usize),
    /// A replica sees it come.
    Appear(usize, usize),
    /// More than the lifetime of a request passes.
    Pass,
    /// The leader looks at the doubtful bindings.
    Resolve,
    /// A replica is restarted.
    Restart(usize),
    /// The other replica leads; whether what the leader before has sent takes effect.
    ChangeLeader(bool),
}

/// A step at random.
pub fn random_step(random: &mut StdRng) -> Step {
    let flight = random.random_range(0..4);
    let replica = random.random_range(0..2);
    let node = random.random_range(0..NODES);
    let pod = random.random_range(0..PODS);
    let coin = random.random_bool(0.5);
    match random.random_range(0..44) {
        0..=9 => Step::Bind(pod, node),
        10..=15 => Step::Land(flight),
        16..=19 => Step::Answer(flight),
        20..=22 => Step::GiveUp(flight, coin),
        23..=24 => Step::Delete(pod),
        25..=30 => Step::Deliver(replica),
        31 => Step::Repeat(replica),
        32 => Step::Swap(replica),
        33 => Step::BreakWatch(replica),
        34..=35 => Step::TakeList(replica),
        36..=37 => Step::FinishList(replica),
        38 => Step::Vanish(replica, node),
        39 => Step::Appear(replica, node),
        40 => Step::Pass,
        41 => Step::Resolve,
        42 => Step::Restart(replica),
        _ => Step::ChangeLeader(coin),
    }
}
