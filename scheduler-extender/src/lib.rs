//! The scheduler extender: lets an unmodified kube-scheduler place pods on reclaimed resources, NUMA nodes, GPUs and network cards.
//!
//! What nodes have and offer of these stands in their `CustomNodeResource`, not in their `Node`, so kube-scheduler asks here about pods
//! that request it. Two watches keep a [`ledger`] of what each node has and what is charged to it; filter, prioritize and preempt
//! answer from it without touching the API. Bind charges the node first, then writes the Binding, and settles by what the API says.
//!
//! The crate owns placement's memory, not its judgement: whether a pod fits and how well is decided by `katalyst_core::placement`.

mod args;
pub mod budgets;
pub mod extender;
pub mod http;
pub mod ledger;
pub mod metrics;
pub mod packing;
pub mod policy;
pub mod recent;
pub mod replica;
pub mod request;
mod state;
pub mod verbs;
pub mod wakeup;
pub mod watch;
pub mod wire;

pub use args::{Args, PackingArg, StrategyArg};
pub use state::describe;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use katalyst_core::placement::ScorePolicy;
use katalyst_runtime::{BoxError, Component, Process};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::extender::Extender;
use crate::ledger::Ledger;
use crate::metrics::ExtenderMetrics;
use crate::packing::Packing;
use crate::policy::Policy;
use crate::replica::{Endpoint, Mandate};
use crate::verbs::bind::{BindTimeouts, Binder};

/// This program.
pub const COMPONENT: Component = Component {
    name: "katalyst-scheduler-extender",
    version: env!("CARGO_PKG_VERSION"),
    admin_addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 10262),
};

/// Sets everything up and returns; the process is ready when its caches are complete, and binds when it leads as well.
pub async fn start(process: Process, args: Args) -> Result<(), BoxError> {
    args.check()?;
    let clients = process.connect(&args.runtime.client).await?;
    let [offers, pods, budgets] = [
        "cache: CustomNodeResources",
        "cache: pods",
        "cache: PodDisruptionBudgets",
    ]
    .map(|name| process.health.gate(name));
    let mandate = Mandate::new(process.elect(&clients, &args.lease)?);
    let ledger = Arc::new(Ledger::new(
        i64::try_from(args.stale_after.as_millis()).unwrap_or(i64::MAX),
    ));
    let policy = Policy {
        score: ScorePolicy {
            reclaimed: args.strategy.into(),
        },
        max_nodes: usize::from(args.max_nodes),
        suggest_preemption: args.suggest_preemption,
    };
    let timeouts = BindTimeouts {
        write: args.bind_timeout,
        read: args.look_timeout,
    };
    let binder = Binder::new(clients.unretried.clone(), timeouts);
    let metrics = ExtenderMetrics::new(&process.metrics);
    let clock = Arc::new(|| jiff::Timestamp::now().as_millisecond());
    let extender = Arc::new(
        Extender::new(ledger, policy, binder, metrics, clock)
            .with_mandate(mandate.clone())
            .with_packing(Packing::new(args.packing_policy.policy())),
    );

    let verbs = http::router(
        extender.clone(),
        process.health.clone(),
        args.max_request_bytes,
    );
    let serving = match args.tls.files() {
        None => process.serve_admin(&args.runtime.admin, verbs).await?,
        Some(files) => {
            process
                .serve_admin(&args.runtime.admin, axum::Router::new())
                .await?;
            process.serve_tls(&args.tls, files, verbs).await?
        }
    };
    let shown = extender.clone();
    process.state.provide("ledger", move || describe(&shown));

    let (tasks, stopping) = (&process.tasks, process.tasks.stopping());
    tasks.spawn(
        "watch of CustomNodeResources",
        watch::watch_offers(
            extender.clone(),
            clients.api.clone(),
            offers,
            stopping.clone(),
        ),
    );
    tasks.spawn(
        "watch of PodDisruptionBudgets",
        watch::watch_budgets(
            extender.clone(),
            clients.api.clone(),
            budgets,
            stopping.clone(),
        ),
    );
    let (listings, requests) = watch::listings();
    tasks.spawn(
        "watch of pods",
        watch::watch_pods(
            extender.clone(),
            clients.api.clone(),
            pods,
            requests,
            stopping.clone(),
        ),
    );
    let endpoint = args.advertise_address.map(|address| Endpoint {
        namespace: clients.namespace.clone(),
        service: args.service_name.clone(),
        address,
        port: serving.port(),
    });
    tasks.spawn(
        "leadership",
        replica::lead(
            mandate,
            listings,
            clients.api.clone(),
            endpoint,
            stopping.clone(),
        ),
    );
    tasks.spawn(
        "settling of doubts",
        settle_doubts(extender.clone(), stopping.clone()),
    );
    tasks.spawn(
        "learning of packing",
        learn(extender.clone(), stopping.clone()),
    );
    tasks.spawn(
        "closer look",
        look_closer(extender.clone(), stopping.clone()),
    );
    tasks.spawn("wake-up", wakeup::run(extender, clients.api, stopping));
    Ok(())
}

/// Makes the packing policy anew each time that what it learned is worth it, on a thread where it holds up nobody.
pub async fn learn(extender: Arc<Extender>, stopping: CancellationToken) -> Result<(), BoxError> {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = extender.packing().worth_learning() => {}
        }
        let learner = extender.clone();
        tokio::task::spawn_blocking(move || {
            let table = learner.ledger().table();
            learner.packing().learn(&table);
        })
        .await?;
    }
}

/// Computes costs that questions guessed about, on a thread where it holds up nobody.
pub async fn look_closer(
    extender: Arc<Extender>,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = extender.worth_a_closer_look() => {}
        }
        let looking = extender.clone();
        tokio::task::spawn_blocking(move || looking.look_closer()).await?;
    }
}

/// Looks at bindings without a verdict every 2 s, and keeps the gauges.
async fn settle_doubts(
    extender: Arc<Extender>,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let mut tick = tokio::time::interval(Duration::from_secs(2));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        extender
            .binder()
            .resolve_doubts(extender.ledger(), extender.now())
            .await;
        extender.measure();
    }
}
