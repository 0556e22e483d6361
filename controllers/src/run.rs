//! Wires the parts into a process.

use std::process::ExitCode;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use katalyst_crds::node::CustomNodeResource;
use katalyst_runtime::{BoxError, Clients, Leader, Process, main_with};
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, watcher};
use parking_lot::{Mutex, RwLock};
use rand::rngs::StdRng;

use crate::apply::Writer;
use crate::args::{Args, Command, RunArgs};
use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::index::{Index, SlimPod};
use crate::metrics::Meters;
use crate::outage::Outage;
use crate::sinks::{CnrSink, NodeSink, PodSink};
use crate::watch::{self, Shared, Sink};
use crate::worker::{Output, Worker};
use crate::{COMPONENT, explain, state};

/// A round may wait for every write's time limit a few times over before the process counts as hung.
const HANG_ROUNDS: u32 = 24;

/// Runs the program and returns its exit code.
pub fn run(args: Args) -> ExitCode {
    match args.command {
        Some(Command::Explain(explain)) => explain::run(&explain),
        None => main_with(COMPONENT, &args.run.runtime.clone(), |process| {
            start(process, args.run)
        }),
    }
}

/// Starts the controllers in `process`.
pub async fn start(process: Process, args: RunArgs) -> Result<(), BoxError> {
    process
        .serve_admin(&args.runtime.admin, axum::Router::new())
        .await?;
    let clients = process.connect(&args.runtime.client).await?;
    let leader = if args.dry_run {
        Leader::always()
    } else {
        process.elect(&clients, &args.lease)?
    };

    let clock = Clock::start();
    let meters = Meters::new(&process.metrics);
    let shared = Shared {
        index: Arc::new(RwLock::new(Index::default())),
        changed: Arc::default(),
        clock,
        outage: Outage::new(clock),
        meters: meters.clone(),
    };
    let events = (!args.dry_run).then(|| process.events(&clients));
    let complaints = Complaints::new(meters, leader.clone(), events);
    spawn_watches(&process, &clients, &shared, &complaints);

    let capacity = &args.capacity;
    let planner = Arc::new(Mutex::new(None));
    let worker = Worker {
        shared: shared.clone(),
        leader: leader.clone(),
        rules: capacity.rules(),
        resync: capacity.resync,
        output: if args.dry_run {
            Output::DryRun
        } else {
            let concurrency = usize::from(capacity.write_concurrency);
            Output::Api(Box::new(Writer::new(
                clients.unretried.clone(),
                leader,
                concurrency,
                capacity.write_timeout,
            )))
        },
        complaints,
        planner: planner.clone(),
        rng: rand::make_rng::<StdRng>(),
    };
    process.state.provide("index", {
        let shared = shared.clone();
        move || state::index(&shared)
    });
    process
        .state
        .provide("capacity", move || state::capacity(&shared, &planner));
    let heartbeat = process.health.heartbeat(
        "worker",
        (capacity.resync + capacity.write_timeout) * HANG_ROUNDS,
    );
    process
        .tasks
        .spawn("worker", worker.run(heartbeat, process.tasks.stopping()));
    Ok(())
}

fn spawn_watches(process: &Process, clients: &Clients, shared: &Shared, complaints: &Complaints) {
    let client = || clients.api.clone();
    let nodes: Api<PartialObjectMeta<Node>> = Api::all(client());
    let cnrs: Api<DynamicObject> =
        Api::all_with(client(), &ApiResource::erase::<CustomNodeResource>(&()));
    let pods: Api<SlimPod> = Api::all_with(client(), &ApiResource::erase::<Pod>(&()));
    spawn_watch(process, shared, nodes, NodeSink);
    spawn_watch(process, shared, cnrs, CnrSink);
    spawn_watch(process, shared, pods, PodSink::new(complaints.clone()));
}

fn spawn_watch<K, S>(process: &Process, shared: &Shared, api: Api<K>, sink: S)
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
    S: Sink<K> + 'static,
{
    let kind = S::KIND.as_str();
    let synced = process.health.gate(format!("cache: {kind}"));
    let rng = rand::make_rng::<StdRng>();
    let events = watcher(api, Config::default());
    process.tasks.spawn(
        format!("watch {kind}"),
        watch::run(
            events,
            sink,
            shared.clone(),
            synced,
            process.tasks.stopping(),
            rng,
        ),
    );
}
