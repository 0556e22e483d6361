//! Disruption budgets into what preemption goes by.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use katalyst_runtime::{BoxError, Gate};
use kube::Client;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use tokio_util::sync::CancellationToken;

use crate::budgets::name_of;
use crate::extender::Extender;

/// Keeps the budgets until `stopping`; opens `synced` when the first listing is complete.
pub async fn watch_budgets(
    extender: Arc<Extender>,
    client: Client,
    synced: Gate,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let budgets = Api::<PodDisruptionBudget>::all(client);
    let events = watcher(budgets, watcher::Config::default())
        .backoff(katalyst_runtime::backoff::watch_backoff())
        .take_until(stopping.cancelled_owned());
    pin_mut!(events);
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let complete = matches!(event, Event::InitDone);
                apply_budget(&extender, event, &mut listed);
                if complete {
                    synced.open();
                }
            }
            Err(error) => {
                tracing::warn!(%error, "watch of PodDisruptionBudgets broke; what is known stays until it is back");
            }
        }
    }
    Ok(())
}

/// One event. `listed` collects the names of a listing.
pub fn apply_budget(
    extender: &Extender,
    event: Event<PodDisruptionBudget>,
    listed: &mut BTreeSet<String>,
) {
    let budgets = extender.budgets();
    match event {
        Event::Init => listed.clear(),
        Event::InitDone => budgets.keep(&std::mem::take(listed)),
        Event::InitApply(budget) => {
            listed.insert(name_of(&budget));
            budgets.saw(&budget);
        }
        Event::Apply(budget) => budgets.saw(&budget),
        Event::Delete(budget) => budgets.gone(&name_of(&budget)),
    }
}
