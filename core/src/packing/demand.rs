//! How sought after each model is: demand that it can serve over what can serve that demand.

use super::models::ModelId;
use super::table::{Capacity, ClassTable};

/// Scarcity of each model. Demand is scaled so that all of it equals the cluster's compute; each selector's demand is spread evenly over the models it
/// accepts, and a model's scarcity is the sum of what falls on a unit of it. Without selectors every model has one. A model that pods insist on has
/// more: pods that do not care should leave it alone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scarcity(Vec<(ModelId, f64)>);

impl Scarcity {
    /// From what arrived and what there is.
    pub fn new(table: &ClassTable, capacity: &Capacity) -> Self {
        let total: f64 = table.demand().map(|(_, milli)| milli).sum();
        let scale = if total > 0.0 {
            capacity.total() as f64 / total
        } else {
            0.0
        };
        Self(
            capacity
                .models()
                .map(|model| {
                    let scarcity = table
                        .demand()
                        .filter(|(models, _)| models.contains(model))
                        .map(|(models, milli)| scale * milli / (capacity.of(models).max(1) as f64))
                        .sum();
                    (model, scarcity)
                })
                .collect(),
        )
    }

    /// Of a model; zero when it was not in the cluster.
    pub fn of(&self, model: ModelId) -> f64 {
        self.0
            .iter()
            .find(|(known, _)| *known == model)
            .map_or(0.0, |(_, scarcity)| *scarcity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packing::PodClass;

    #[test]
    fn a_model_that_pods_insist_on_is_scarcer() {
        let [a, b] = [0, 1].map(|number| ModelId::new(number).unwrap());
        let mut capacity = Capacity::default();
        capacity.add(a, 1000);
        capacity.add(b, 3000);
        let any = PodClass::gpu(1, 1000, 1);
        let only_a = PodClass {
            models: [a].into_iter().collect(),
            ..any
        };
        let even = Scarcity::new(&ClassTable::new(vec![(any, 5)]), &capacity);
        assert!((even.of(a) - 1.0).abs() < 1e-12 && (even.of(b) - 1.0).abs() < 1e-12);
        let skewed = Scarcity::new(&ClassTable::new(vec![(any, 1), (only_a, 1)]), &capacity);
        assert!((skewed.of(a) - 2.5).abs() < 1e-12);
        assert!((skewed.of(b) - 0.5).abs() < 1e-12);
    }
}
