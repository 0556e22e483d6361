//! Disruption budgets, for preemption: which of the pods that could leave a node may not, as their owners see it.
//!
//! As kube-scheduler counts (`filterPodsWithPDBViolation`): each pod that leaves takes one from every budget of its namespace that selects it, until there
//! is none left; a pod that the budget already counts as disrupted takes nothing; a budget that selects everything by an empty selector counts for
//! nobody here, as in kube-scheduler. Budgets are a wish about the order in which pods go, not a promise: the API server enforces them for evictions only.
//!
//! Labels of pods are shared: those of one workload mostly are the same, and only pods that hold something here are kept.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{Selector, SelectorExt};
use parking_lot::{Mutex, RwLock};

/// Labels of a pod.
pub type Labels = Arc<BTreeMap<String, String>>;

/// A budget as far as it matters here.
#[derive(Debug, Clone)]
struct Budget {
    namespace: String,
    selector: Selector,
    /// Pods that may leave now.
    allowed: i32,
    /// Pods that are leaving and were counted, by name.
    disrupted: BTreeSet<String>,
}

/// All budgets. Read for preemption only, which is rare.
#[derive(Debug, Default)]
pub struct Budgets {
    by_name: RwLock<BTreeMap<String, Budget>>,
}

impl Budgets {
    /// A budget as the API has it now. One whose selector nobody can read protects nobody, which is told.
    pub fn saw(&self, budget: &PodDisruptionBudget) {
        let name = name_of(budget);
        match read(budget) {
            Ok(Some(budget)) => {
                self.by_name.write().insert(name, budget);
            }
            Ok(None) => self.gone(&name),
            Err(error) => {
                tracing::warn!(budget = %name, "PodDisruptionBudget {name} cannot be read, its pods are preempted as others: {error}");
                self.gone(&name);
            }
        }
    }

    /// A budget, `namespace/name`, is there no more.
    pub fn gone(&self, name: &str) {
        self.by_name.write().remove(name);
    }

    /// A listing is complete: budgets that it lacks are there no more.
    pub fn keep(&self, listed: &BTreeSet<String>) {
        self.by_name.write().retain(|name, _| listed.contains(name));
    }

    /// A count of what is left while pods leave one after the other.
    pub fn tally(&self) -> Tally {
        Tally {
            budgets: self.by_name.read().values().cloned().collect(),
        }
    }
}

/// `namespace/name` of a budget.
pub fn name_of(budget: &PodDisruptionBudget) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let (namespace, name) = (&budget.metadata.namespace, &budget.metadata.name);
    format!("{}/{}", part(namespace), part(name))
}

/// The budget; `None` where it selects nobody, or everybody.
fn read(budget: &PodDisruptionBudget) -> Result<Option<Budget>, String> {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
    let Some(selector) = selector else {
        return Ok(None);
    };
    let selector = Selector::try_from(selector).map_err(|error| error.to_string())?;
    if selector.selects_all() {
        return Ok(None);
    }
    let status = budget.status.as_ref();
    let disrupted = status.and_then(|status| status.disrupted_pods.as_ref());
    Ok(Some(Budget {
        namespace: budget.metadata.namespace.clone().unwrap_or_default(),
        selector,
        // Nothing is allowed until the controller has counted.
        allowed: status.map_or(0, |status| status.disruptions_allowed),
        disrupted: disrupted
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect(),
    }))
}

/// See [`Budgets::tally`].
#[derive(Debug, Default)]
pub struct Tally {
    budgets: Vec<Budget>,
}

impl Tally {
    /// A pod, `namespace/name`, leaves; whether that violates a budget.
    pub fn leaves(&mut self, pod: &str, labels: &BTreeMap<String, String>) -> bool {
        let (namespace, name) = pod.split_once('/').unwrap_or_default();
        let mut violates = false;
        for budget in &mut self.budgets {
            let counts = budget.namespace == namespace
                && !labels.is_empty()
                && !budget.disrupted.contains(name)
                && budget.selector.matches(labels);
            if counts {
                budget.allowed = budget.allowed.saturating_sub(1);
                violates |= budget.allowed < 0;
            }
        }
        violates
    }
}

/// Label sets, each kept once.
#[derive(Debug, Default)]
pub struct LabelSets {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    sets: HashSet<Labels, RandomState>,
    /// Sets that nobody uses any more are dropped when there are more than this.
    tidy_above: usize,
}

impl LabelSets {
    /// The one copy of these labels.
    pub fn one(&self, labels: Option<&BTreeMap<String, String>>) -> Labels {
        /// Fewer are not worth tidying.
        const FEW: usize = 256;
        let Some(labels) = labels.filter(|labels| !labels.is_empty()) else {
            return Labels::default();
        };
        let mut known = self.known.lock();
        if let Some(labels) = known.sets.get(labels) {
            return labels.clone();
        }
        if known.sets.len() > known.tidy_above {
            known.sets.retain(|labels| Arc::strong_count(labels) > 1);
            known.tidy_above = (known.sets.len() * 2).max(FEW);
        }
        let labels = Labels::new(labels.clone());
        known.sets.insert(labels.clone());
        labels
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.lock().sets.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn budget(name: &str, allowed: i32, selector: &serde_json::Value) -> PodDisruptionBudget {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": selector},
            "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
                       "disruptedPods": {"left": "2026-01-01T00:00:00Z"}},
        }))
        .unwrap()
    }

    fn web() -> BTreeMap<String, String> {
        BTreeMap::from([("app".to_owned(), "web".to_owned())])
    }

    #[test]
    fn a_budget_gives_way_so_often_and_to_pods_it_selects() {
        let budgets = Budgets::default();
        budgets.saw(&budget("web", 1, &json!({"matchLabels": {"app": "web"}})));
        let mut tally = budgets.tally();
        assert!(!tally.leaves("shop/left", &web()), "counted already");
        assert!(!tally.leaves("other/a", &web()), "another namespace");
        assert!(!tally.leaves("shop/a", &BTreeMap::new()), "no labels");
        assert!(!tally.leaves("shop/a", &web()));
        assert!(tally.leaves("shop/b", &web()));
        assert!(tally.leaves("shop/c", &web()));
        let mut anew = budgets.tally();
        assert!(!anew.leaves("shop/c", &web()));
    }

    #[test]
    fn selectors_that_select_nobody_or_everybody_count_for_nobody() {
        let budgets = Budgets::default();
        budgets.saw(&budget("all", 0, &json!({})));
        budgets.saw(&budget("none", 0, &json!(null)));
        let odd = json!({"matchExpressions": [{"key": "app", "operator": "Roughly"}]});
        budgets.saw(&budget("odd", 0, &odd));
        assert!(!budgets.tally().leaves("shop/a", &web()));
    }

    #[test]
    fn changed_and_deleted_budgets_are_not_remembered() {
        let budgets = Budgets::default();
        let selector = json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]});
        for name in ["one", "two", "three"] {
            budgets.saw(&budget(name, 0, &selector));
        }
        budgets.saw(&budget("one", 5, &selector));
        budgets.gone("shop/two");
        assert!(budgets.tally().leaves("shop/a", &web()));
        budgets.keep(&BTreeSet::from(["shop/one".to_owned()]));
        assert!(!budgets.tally().leaves("shop/a", &web()));
    }

    #[test]
    fn labels_are_kept_once_and_not_longer_than_used() {
        let sets = LabelSets::default();
        let first = sets.one(Some(&web()));
        assert!(Arc::ptr_eq(&first, &sets.one(Some(&web()))));
        assert!(sets.one(None).is_empty());
        for number in 0..2_000 {
            let labels = BTreeMap::from([("pod".to_owned(), number.to_string())]);
            sets.one(Some(&labels));
        }
        assert!(sets.len() <= 600, "{} sets", sets.len());
        assert!(Arc::ptr_eq(&first, &sets.one(Some(&web()))));
    }
}
