//! Filter for every pod, where kube-scheduler is configured to ask about all of them: taints of custom resources, and nothing else.
//!
//! Pods that request managed resources are judged by filter, which looks at taints too; here they all pass.

use katalyst_core::placement::{PodRequest as Wish, fits};

use super::filter::Decision;
use crate::ledger::{Rejection, Table};
use crate::request::PodRequest;
use crate::wire::ExtenderArgs;

/// Decides about the candidates of a question. Order and number of the candidates that pass are kept.
pub fn filter_taints(args: &ExtenderArgs<'_>, pod: &PodRequest, table: &Table) -> Decision {
    // The pod without its other wishes.
    let bare = Wish {
        level: pod.wish.level,
        tolerations: pod.wish.tolerations.clone(),
        ..Wish::default()
    };
    let mut decision = Decision {
        pass_all: true,
        ..Decision::default()
    };
    for (index, candidate) in args.candidates.iter().enumerate() {
        let state = candidate
            .slot
            .and_then(|slot| table.at(slot))
            .map(|cell| cell.state())
            .filter(|state| !state.placement.taints().is_empty() && !pod.wish.needs_agent());
        match state.map_or(Ok(()), |state| fits(&state.placement, &bare)) {
            Ok(()) => decision.chosen.push(index),
            // No other pod's leaving takes a taint away.
            Err(unfit) => decision
                .rejected
                .push((index, Rejection::Unfit(unfit), false)),
        }
    }
    decision
}
