//! A cluster that is there only for the extender: what the watches would tell of it goes through the watches' own functions, and each Binding is accepted
//! at once by what stands in for the API server.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, Result, ensure};
use axum::Router;
use k8s_openapi::api::core::v1::{Binding, Pod};
use katalyst_core::packing::PolicyName;
use katalyst_core::placement::fit;
use katalyst_runtime::Process;
use katalyst_runtime::logging::LogControl;
use katalyst_scheduler_extender::COMPONENT;
use katalyst_scheduler_extender::extender::Extender;
use katalyst_scheduler_extender::http::{MAX_BODY, router};
use katalyst_scheduler_extender::ledger::{Decision, Ledger};
use katalyst_scheduler_extender::metrics::ExtenderMetrics;
use katalyst_scheduler_extender::packing::Packing;
use katalyst_scheduler_extender::policy::Policy;
use katalyst_scheduler_extender::request::wish_of;
use katalyst_scheduler_extender::verbs::annotations;
use katalyst_scheduler_extender::verbs::bind::{BindTimeouts, Binder};
use katalyst_scheduler_extender::watch::{apply_offer, apply_pod};
use kube::runtime::watcher::Event;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::counting;
use crate::nodes::{self, NOW};
use crate::pods::{Mix, pod};

/// Pods that came since the cluster was filled stay so many pods long.
const STAY: usize = 100;
/// As `--stale-after`.
const STALE_AFTER: i64 = 90_000;

/// See the module.
pub(crate) struct Cluster {
    pub(crate) extender: Arc<Extender>,
    process: Process,
    runtime: Option<tokio::runtime::Runtime>,
    bindings: Receiver<Binding>,
    nodes: usize,
    reports: usize,
    guests: VecDeque<Pod>,
    complaints: BTreeMap<String, String>,
}

/// A thread that serves.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Its number.
    pub(crate) thread: i32,
    stop: CancellationToken,
    handle: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(handle) = self.handle.take() {
            let _ended = handle.join();
        }
    }
}

impl Cluster {
    /// So many nodes, and so many pods on each.
    pub(crate) fn new(nodes: usize, pods: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (send, bindings) = channel();
        let client = {
            let _entered = runtime.enter();
            accepting(send)
        };
        let process = Process::new(COMPONENT, LogControl::detached());
        let extender = Extender::new(
            Arc::new(Ledger::new(STALE_AFTER)),
            Policy::default(),
            Binder::new(client, BindTimeouts::default()),
            ExtenderMetrics::new(&process.metrics),
            Arc::new(|| NOW),
        )
        .with_packing(Packing::new(Some(PolicyName::default())));
        let mut cluster = Self {
            extender: Arc::new(extender),
            process,
            runtime: Some(runtime),
            bindings,
            nodes,
            reports: 0,
            guests: VecDeque::new(),
            complaints: BTreeMap::new(),
        };
        cluster.list(nodes, pods)?;
        Ok(cluster)
    }

    fn list(&mut self, nodes: usize, pods: usize) -> Result<()> {
        let extender = self.extender.clone();
        apply_offer(&extender, Event::Init, &mut self.complaints);
        for index in 0..nodes {
            self.report(index, 0, true)?;
        }
        apply_offer(&extender, Event::InitDone, &mut self.complaints);
        ensure!(
            self.complaints.is_empty(),
            "{:?}",
            self.complaints.first_key_value()
        );
        let mut random = StdRng::seed_from_u64(nodes as u64);
        apply_pod(&extender, Event::Init);
        for index in 0..nodes {
            for at in 0..pods {
                let held = self.on_node(index, index * pods + at, &mut random)?;
                apply_pod(&extender, Event::InitApply(held));
            }
            if (index + 1) % 2500 == 0 {
                println!("  {} of {nodes} nodes filled", index + 1);
            }
        }
        apply_pod(&extender, Event::InitDone);
        ensure!(
            extender.ledger().table().len() == nodes,
            "nodes are missing"
        );
        ensure!(extender.ledger().pods() == nodes * pods, "pods are missing");
        Ok(())
    }

    fn report(&mut self, index: usize, round: usize, first: bool) -> Result<()> {
        let object = serde_json::from_value(nodes::resource(index, round))
            .context("a node's custom resource")?;
        let event = if first {
            Event::InitApply(object)
        } else {
            Event::Apply(object)
        };
        apply_offer(&self.extender, event, &mut self.complaints);
        Ok(())
    }

    /// The next node's agent reports again: at 5,000 nodes that happens 250 times a second.
    pub(crate) fn next_report(&mut self) -> Result<()> {
        self.reports += 1;
        // A step that visits each node, and not one after the other.
        let index = self.reports * 7919 % self.nodes;
        self.report(index, self.reports / self.nodes + 1, false)
    }

    /// A pod that was bound to a node some time ago, by the decision that the extender would have made, with the record of it.
    fn on_node(&self, index: usize, number: usize, random: &mut StdRng) -> Result<Pod> {
        let node = nodes::name(index);
        let mix = match random.random_range(0..100) {
            0..30 => None,
            30..55 => Some(Mix::Reclaimed),
            55..65 => Some(Mix::Numa),
            65..85 => Some(Mix::Share),
            85..93 => Some(Mix::Whole),
            _ => Some(Mix::Rdma),
        };
        if let Some(mix) = mix {
            let mut held = mix.pod(random.random_range(0..crate::pods::WORKLOADS), 0);
            rename(&mut held, number);
            let held: Pod = serde_json::from_value(held).context("a pod")?;
            let wish = wish_of(&held).map_err(anyhow::Error::new)?;
            let placement = self.extender.ledger().node(&node);
            if let Ok(found) = fit(&placement, &wish) {
                let decision = Decision {
                    placement: found,
                    machine: placement.machine().clone(),
                };
                return Ok(placed(held, &node, annotations(&wish, &decision)?));
            }
        }
        let cpu = format!("{}m", random.random_range(50..1500));
        let amounts = json!({"cpu": cpu, "memory": "2Gi"});
        let held = serde_json::from_value(pod("service", number, &json!({}), &amounts))?;
        Ok(placed(held, &node, BTreeMap::new()))
    }

    /// The watch shows the pod where it was bound, and another one ends.
    pub(crate) fn came(&mut self, pod: &Value) -> Result<()> {
        let binding = self.bindings.try_recv().context("no Binding was sent")?;
        let pod: Pod = serde_json::from_value(pod.clone())?;
        let node = binding.target.name.unwrap_or_default();
        let record = binding.metadata.annotations.unwrap_or_default();
        let pod = placed(pod, &node, record);
        self.guests.push_back(pod.clone());
        apply_pod(&self.extender, Event::Apply(pod));
        if self.guests.len() > STAY
            && let Some(oldest) = self.guests.pop_front()
        {
            apply_pod(&self.extender, Event::Delete(oldest));
        }
        Ok(())
    }

    /// Serves the extender on a thread of its own, and learns beside it as the program does.
    pub(crate) fn serve(&mut self) -> Result<Server> {
        let verbs = router(self.extender.clone(), self.process.health.clone(), MAX_BODY);
        let runtime = self.runtime.take().context("it is served already")?;
        let stop = CancellationToken::new();
        let (learning, looking) = (self.extender.clone(), self.extender.clone());
        let stopping = stop.clone();
        runtime.spawn(async move { katalyst_scheduler_extender::learn(learning, stopping).await });
        let stopping = stop.clone();
        runtime.spawn(
            async move { katalyst_scheduler_extender::look_closer(looking, stopping).await },
        );
        serve(runtime, verbs, stop)
    }
}

/// Serves routes on one thread, until the server is dropped.
pub(crate) fn serve(
    runtime: tokio::runtime::Runtime,
    routes: Router,
    stop: CancellationToken,
) -> Result<Server> {
    let (send, started) = channel();
    let stopping = stop.clone();
    let run = move || {
        counting::count_this_thread();
        runtime.block_on(async move {
            let listener = katalyst_runtime::admin::bind(([127, 0, 0, 1], 0).into()).await?;
            let address = listener.local_addr()?;
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            let _told = send.send((address, thread));
            katalyst_runtime::admin::serve(listener, routes, stopping).await?;
            anyhow::Ok(())
        })
    };
    let handle = std::thread::Builder::new()
        .name("serving".to_owned())
        .spawn(move || {
            if let Err(error) = run() {
                eprintln!("http_cost: {error:#}");
            }
        })?;
    let (address, thread) = started.recv().context("the server did not start")?;
    Ok(Server {
        address,
        thread,
        stop,
        handle: Some(handle),
    })
}

fn rename(pod: &mut Value, number: usize) {
    for field in ["name", "uid"] {
        if let Some(Value::String(text)) = pod.pointer_mut(&format!("/metadata/{field}")) {
            *text = format!("{text}-{number:06x}");
        }
    }
}

fn placed(mut pod: Pod, node: &str, record: BTreeMap<String, String>) -> Pod {
    pod.metadata
        .annotations
        .get_or_insert_default()
        .extend(record);
    if let Some(spec) = &mut pod.spec {
        spec.node_name = Some(node.to_owned());
    }
    pod
}

/// A client of an API server that accepts each Binding at once and passes it on.
fn accepting(bindings: Sender<Binding>) -> kube::Client {
    let accept = move |request: http::Request<kube::client::Body>| {
        let bindings = bindings.clone();
        async move {
            let body = request.into_body().collect_bytes().await?;
            let binding: Binding = serde_json::from_slice(&body)?;
            let _heard = bindings.send(binding);
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            let answer = http::Response::builder()
                .status(201)
                .body(kube::client::Body::from(status.to_string().into_bytes()))?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer)
        }
    };
    kube::Client::new(tower::service_fn(accept), "default")
}
