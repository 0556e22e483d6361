//! Wires the tasks of the running agent.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use katalyst_core::pools::PoolParams;
use katalyst_runtime::{BoxError, Process};
use tokio::sync::watch;

use crate::{
    COMPONENT,
    args::Args,
    devices::Guard,
    events::{self, Events},
    eviction::{self, Evictor, Rounds, RoundsConfig},
    hold::MemoryWriter,
    metrics::AgentMetrics,
    notices::Notices,
    nri,
    pods::{PodIndex, PodSinks, watch_pods},
    pools::{PoolPlacer, Pools, PoolsConfig, PoolsView},
    reflex::{self, Peaks, Reflex, ReflexConfig, Snapshot},
    report::{self, AgentIdentity, Offer, Pacing, Publisher},
    restore::{Installation, RestoreOnExit, restore},
};

/// A tick that takes this long means that the kernel does not answer.
const REFLEX_TOLERANCE: Duration = Duration::from_secs(30);

/// Starts everything and returns.
pub async fn start(process: Process, args: Args) -> Result<(), BoxError> {
    process
        .serve_admin(&args.runtime.admin, axum::Router::new())
        .await?;
    let node = args.node.node_name.clone();
    if node.is_empty() {
        return Err("--node-name (or NODE_NAME) is needed".into());
    }
    let clients = process.connect(&args.runtime.client).await?;
    let stopping = process.tasks.stopping();
    let notices = Notices::new();
    let metrics = AgentMetrics::register(&process.metrics);

    let (index, pods) = watch::channel(Arc::new(PodIndex::default()));
    let own_pods = pods.clone();
    let (snapshots, snapshot) = watch::channel(None::<Arc<Snapshot>>);
    let (arrived, reported) = watch::channel(None);
    let (offers, offer) = watch::channel(Offer::default());
    let (sensed, machine) = watch::channel(Arc::default());
    let (event_sink, event_queue) = events::channel();

    provide_state(&process, &snapshot, &offer, &notices);

    let sinks = PodSinks {
        index,
        notices: notices.clone(),
        events: event_sink.clone(),
        listed: process.health.gate("cache: pods"),
    };
    process.tasks.spawn("pod watch", {
        let (client, node, stopping) = (clients.api.clone(), node.clone(), stopping.clone());
        async move { watch_pods(client, &node, sinks, stopping).await }
    });
    process.tasks.spawn("offer watch", {
        let (client, node, notices, stopping) = (
            clients.api.clone(),
            node.clone(),
            notices.clone(),
            stopping.clone(),
        );
        async move { report::watch_offer(client, &node, offers, notices, stopping).await }
    });
    process.tasks.spawn(
        "events",
        events::publish(
            clients.api.clone(),
            node.clone(),
            event_queue,
            stopping.clone(),
        ),
    );

    let (mailbox, inbox) = reflex::mailbox()?;
    let mut reflex = reflex_of(&args, &notices, &metrics);
    let written = mailbox.clone();
    reflex.set_memory_writer(MemoryWriter::start(move || {
        // A full queue wakes the thread as well.
        written.tell(Reflex::memory_written).ok();
    })?);
    let mut plan = watch::channel(Arc::default()).1;
    if let Some(pools) = pools_of(&args, &notices, &metrics, &event_sink) {
        let view = pools.view();
        plan = view.clone();
        provide_pools(&process, view.clone());
        reflex.set_pools(pools);
        // A dry run answers nobody: an answer changes a container.
        if args.nri.nri && !args.hold.dry_run {
            // A part of the budget is left for the way there and back.
            let patience = args.nri.nri_budget.mul_f64(0.75);
            let guard = Guard::new(
                args.devices.config(&args.node.root),
                machine,
                pods.clone(),
                notices.clone(),
                Some(event_sink.clone()),
                metrics.devices.clone(),
            );
            let placer = PoolPlacer::new(mailbox.clone(), view, patience, guard);
            let state_dir = &args.node.state_dir;
            nri::start(&process, &args.nri, state_dir, Arc::new(placer), &notices);
        }
    }
    let beat = process.health.heartbeat("reflex", REFLEX_TOLERANCE);
    let thread = reflex::Thread {
        inbox,
        interval: args.hold.sample_interval,
        pods: pods.clone(),
        snapshots,
        metrics: metrics.clone(),
        beat,
        stopping: stopping.clone(),
    };
    process
        .tasks
        .spawn_thread("reflex", move || thread.run(reflex));
    process.tasks.spawn(
        "reflex's bell",
        reflex::ring_for_pods(mailbox, pods.clone(), stopping.clone()),
    );
    let sampling = process.health.gate("kubelet's cgroups");
    process.tasks.spawn("first sample", {
        let (mut snapshot, stopping) = (snapshot.clone(), stopping.clone());
        async move {
            tokio::select! {
                () = stopping.cancelled() => return Ok::<(), BoxError>(()),
                seen = snapshot.wait_for(Option::is_some) => if seen.is_ok() { sampling.open() },
            }
            stopping.cancelled().await;
            Ok(())
        }
    });

    let publisher = Publisher {
        client: clients.api.clone(),
        node,
        root: args.node.root.clone(),
        agent: AgentIdentity {
            version: COMPONENT.version.to_owned(),
            started: Timestamp::now(),
        },
        pacing: Pacing {
            min: args.report.report_min_interval,
            max: args.report.report_max_interval,
        },
        snapshots: snapshot.clone(),
        pods: pods.clone(),
        pools: plan,
        kubelet: args.node.root.join(
            args.pools
                .kubelet_root_dir
                .strip_prefix("/")
                .unwrap_or(&args.pools.kubelet_root_dir),
        ),
        sensed,
        arrived,
        notices: notices.clone(),
        metrics: metrics.clone(),
    };
    process
        .tasks
        .spawn("report", report::publish(publisher, stopping.clone()));

    let evictor = Evictor {
        client: clients.unretried.clone(),
        rounds: Rounds::new(RoundsConfig {
            tolerance: args.eviction.eviction_tolerance,
            budget: args.eviction.eviction_budget,
            pause: args.eviction.eviction_pause,
        }),
        dry_run: args.eviction.eviction_dry_run || args.hold.dry_run,
        snapshots: snapshot,
        pods,
        offers: offer,
        reported,
        events: event_sink,
        notices,
        metrics,
    };
    process
        .tasks
        .spawn("eviction", eviction::run(evictor, stopping));

    let installation = Installation::probe(&clients, &args.node.daemonset).await;
    let finishing = process.tasks.finishing();
    process.tasks.spawn_last("restore", async move {
        finishing.cancelled().await;
        let own_pod_stands = match &args.node.pod_name {
            Some(name) => own_pods.borrow().iter().any(|pod| &pod.name == name),
            None => true,
        };
        restore_at_exit(&args, &installation, own_pod_stands).await;
        Ok::<(), BoxError>(())
    });
    Ok(())
}

fn pools_of(
    args: &Args,
    notices: &Notices,
    metrics: &AgentMetrics,
    events: &Events,
) -> Option<Pools> {
    let config = PoolsConfig {
        root: args.node.root.clone(),
        kubelet: args.pools.kubelet_root_dir.clone(),
        reserved: args.pools.reserved_cpus.clone(),
        params: PoolParams::default(),
        interval: args.pools.pools_interval,
        isolate: args.pools.isolate_wild_pods,
        rebind: args.rebind.config(&args.node.root),
    };
    args.pools.pools.then(|| {
        Pools::new(
            config,
            notices.clone(),
            metrics.pools.clone(),
            Some(events.clone()),
        )
    })
}

/// What `/debug/state` shows of the pools.
fn provide_pools(process: &Process, view: watch::Receiver<Arc<PoolsView>>) {
    process
        .state
        .provide("pools", move || serde_json::json!(**view.borrow()));
}

fn reflex_of(args: &Args, notices: &Notices, metrics: &AgentMetrics) -> Reflex {
    let config = ReflexConfig {
        root: args.node.root.clone(),
        kubepods: args.node.kubepods_path.clone(),
        state_dir: args.node.state_dir.clone(),
        machine_usage: args.hold.machine_usage,
        cpu_capacity: args.hold.capacity_cpu,
        memory_capacity: args.hold.capacity_memory,
        ceiling: args.hold.ceiling(),
        clock: crate::sample::monotonic_nanos,
        interval: args.hold.sample_interval,
        idle: args.hold.cpu_idle,
        dry_run: args.hold.dry_run,
    };
    let peaks = Peaks::new(
        args.hold.recent_peak_window.as_secs_f64(),
        args.report.peak_window.as_secs_f64(),
        args.hold.sample_interval.as_secs_f64(),
    );
    Reflex::new(config, peaks, notices.clone(), metrics.clone())
}

/// What `/debug/state` shows: the last sample with ceiling and limits, the offer, the notices.
fn provide_state(
    process: &Process,
    snapshot: &watch::Receiver<Option<Arc<Snapshot>>>,
    offer: &watch::Receiver<Offer>,
    notices: &Notices,
) {
    let (snapshot, offer, notices) = (snapshot.clone(), offer.clone(), notices.clone());
    process.state.provide("node", move || {
        let offer = *offer.borrow();
        serde_json::json!({
            "snapshot": snapshot.borrow().as_deref(),
            "offer": {"amounts": offer.amounts, "trusted": offer.trusted, "connected": offer.connected},
            "notices": notices.texts(),
        })
    });
}

/// Runs when nothing else writes any more.
async fn restore_at_exit(args: &Args, installation: &Installation, own_pod_stands: bool) {
    let wanted = match args.node.restore_on_exit {
        RestoreOnExit::Never => false,
        RestoreOnExit::Always => true,
        RestoreOnExit::Uninstall => installation.is_being_removed(own_pod_stands).await,
    };
    if !wanted || args.hold.dry_run {
        return;
    }
    match restore(&args.node.root, &args.node.state_dir, false) {
        Ok(restored) => {
            tracing::info!(
                pods = restored.pods,
                files = restored.files,
                "uninstalled: old cgroup values are back"
            );
            for problem in restored.problems {
                tracing::error!(%problem, "not put back");
            }
        }
        Err(error) => tracing::error!(%error, "old cgroup values are not put back"),
    }
}
