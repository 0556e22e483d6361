//! Fragments: idle compute of a node that a class of pods cannot use (Weng et al., USENIX ATC 2023, section 3).

use super::node::NodeState;
use super::pod::PodClass;

/// Idle compute on the node that the class could not use, milli: all of it when the class asks for no card, does not accept the
/// model, or fits not even once; otherwise what lies on cards too full for it. The node's memory is ignored, as in the paper.
pub fn unusable(node: &NodeState, class: &PodClass) -> f64 {
    if class.cards == 0 || !node.fits(class) {
        return node.idle_milli() as f64;
    }
    node.cards()
        .iter()
        .filter(|card| !card.fits(class))
        .map(|card| f64::from(card.milli))
        .sum()
}

/// The mean over classes, weighted by popularity: the node's fragmentation.
///
/// Summed by reason first, as the published simulator does: its scores are cut to integers at a gain of exactly zero, so that the last bit of
/// these sums decides between equal nodes, and its results are reproduced with the same order of additions only.
pub fn expected(node: &NodeState, classes: &[(PodClass, f64)]) -> f64 {
    let (mut both, mut cards, mut cpu) = (0.0, 0.0, 0.0);
    let (mut enough, mut short, mut model) = (0.0, 0.0, 0.0);
    for (class, weight) in classes {
        let amount = weight * unusable(node, class);
        let cpu_fits = node.cpu_milli >= class.cpu_milli;
        if class.cards == 0 {
            if cpu_fits {
                enough += amount;
            } else {
                short += amount;
            }
        } else if !class.models.contains(node.model) {
            model += amount;
        } else {
            let fitting = node.cards().iter().filter(|card| card.fits(class)).count();
            match (fitting >= usize::from(class.cards), cpu_fits) {
                (false, false) => both += amount,
                (true, false) => cpu += amount,
                // Too few cards fit, or what lies beside those that do.
                (_, true) => cards += amount,
            }
        }
    }
    both + cards + cpu + enough + short + model
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::packing::ModelId;
    use crate::packing::node::Card;

    #[rstest]
    #[case::no_card_asked(PodClass::cpu_only(1), 1500.0)]
    #[case::lack_of_cpu(PodClass::gpu(9000, 100, 1), 1500.0)]
    #[case::lack_of_cards(PodClass::gpu(1000, 1000, 2), 1500.0)]
    #[case::too_full_cards(PodClass::gpu(1000, 600, 1), 500.0)]
    #[case::all_usable(PodClass::gpu(1000, 500, 1), 0.0)]
    #[case::another_model(PodClass { models: ModelId::new(3).into_iter().collect(), ..PodClass::gpu(1, 1, 1) }, 1500.0)]
    fn what_a_class_cannot_use(#[case] class: PodClass, #[case] expected: f64) {
        let node = NodeState::new(
            8000,
            1,
            ModelId::default(),
            [1000, 500].map(|milli| Card {
                milli,
                memory_mib: 0,
            }),
        );
        assert!((unusable(&node, &class) - expected).abs() < 1e-9);
    }
}
