//! Costs as the scores that a scheduler extender may answer.

/// Highest score of an extender (`MaxExtenderPriority` of k8s.io/kube-scheduler).
pub const MAX_SCORE: u32 = 10;

/// Scores for the costs of the nodes of one request: ten for the least cost only, nine and less for the rest in proportion. kube-scheduler
/// draws among equal scores, so the best must not share its score with the second best; equally cheap nodes may.
pub fn scores(costs: &[f64]) -> Vec<u32> {
    let min = costs.iter().copied().fold(f64::INFINITY, f64::min);
    let max = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    costs
        .iter()
        .map(|cost| {
            if *cost <= min {
                MAX_SCORE
            } else {
                // Above the minimum, so the range is not empty.
                (f64::from(MAX_SCORE - 1) * (max - cost) / (max - min)).floor() as u32
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cheapest_get_ten() {
        assert_eq!(scores(&[1.0, 1.001, 11.0, 1.0]), [10, 8, 0, 10]);
        assert_eq!(scores(&[5.0]), [10]);
        assert_eq!(scores(&[]), Vec::<u32>::new());
    }
}
