//! The cluster that each input meets: a node with everything, one that offers reclaimed resources alone, one whose custom resource cannot be read.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use katalyst_core::packing::PolicyName;
use katalyst_core::placement::machine::{CardSpec, MachineSpec, NicSpec, Spot, ZoneSpec};
use katalyst_core::placement::{Allocation, CardShare, HeldCard, Machine};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_core::units::{Bytes, Millicpu};
use katalyst_runtime::Process;
use katalyst_runtime::logging::LogControl;
use katalyst_scheduler_extender::COMPONENT;
use katalyst_scheduler_extender::extender::Extender;
use katalyst_scheduler_extender::ledger::{Charge, Ledger, Offer, Report};
use katalyst_scheduler_extender::metrics::ExtenderMetrics;
use katalyst_scheduler_extender::packing::Packing;
use katalyst_scheduler_extender::policy::Policy;
use katalyst_scheduler_extender::verbs::bind::{BindTimeouts, Binder};
use serde_json::json;

/// Names of the nodes.
pub const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];
const NOW: i64 = 1_000_000;

/// See the module.
pub struct Cluster {
    pub extender: Extender,
    runtime: tokio::runtime::Runtime,
    api: Arc<AtomicU8>,
}

impl Cluster {
    pub fn new() -> Self {
        // Time passes at once when everybody waits, so that an API server that never answers holds up nobody.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let api = Arc::new(AtomicU8::new(0));
        let client = {
            let _entered = runtime.enter();
            api_server(api.clone())
        };
        let process = Process::new(COMPONENT, LogControl::detached());
        let extender = Extender::new(
            Arc::new(filled()),
            Policy::default(),
            Binder::new(client, BindTimeouts::default()),
            ExtenderMetrics::new(&process.metrics),
            Arc::new(|| NOW),
        )
        .with_packing(Packing::new(Some(PolicyName::default())));
        Self {
            extender,
            runtime,
            api,
        }
    }

    /// What the API server does from now on: accepts, refuses, or does not answer.
    pub fn api_server_does(&self, what: u8) {
        self.api.store(what, Ordering::Relaxed);
    }

    pub fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }
}

fn api_server(does: Arc<AtomicU8>) -> kube::Client {
    let answer = move |_request: http::Request<kube::client::Body>| {
        let does = does.load(Ordering::Relaxed);
        async move {
            let (status, body) = match does {
                0 => (
                    201,
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
                ),
                1 => (
                    404,
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "message": "no such pod", "code": 404}),
                ),
                _ => std::future::pending().await,
            };
            http::Response::builder()
                .status(status)
                .body(kube::client::Body::from(body.to_string().into_bytes()))
        }
    };
    kube::Client::new(tower::service_fn(answer), "default")
}

fn filled() -> Ledger {
    let ledger = Ledger::new(90_000);
    let report = |machine, amount| {
        Offer::Known(Report {
            allocatable: Reclaimed::new(amount, amount << 20),
            agent_ready: true,
            reported: NOW,
            machine: Arc::new(machine),
            ..Report::default()
        })
    };
    let [full, plain, broken] = NODES;
    ledger.offer(full, report(machine(), 4000), NOW);
    ledger.offer(plain, report(Machine::default(), 8000), NOW);
    let message = "status.resources: nonsense".to_owned();
    ledger.offer(broken, Offer::Malformed { message }, NOW);
    let held = |share| Allocation {
        cards: [HeldCard {
            uuid: "GPU-0".into(),
            index: Some(0),
            share,
        }]
        .into(),
        ..Allocation::default()
    };
    let part = CardShare::Part {
        percent: 30,
        mib: 10_000,
    };
    let batch = Allocation {
        reclaimed: Reclaimed::new(3000, 3000 << 20),
        ..Allocation::default()
    };
    for (uid, node, allocation) in [
        ("victim-1", full, batch.clone()),
        ("victim-2", plain, batch),
        ("share-1", full, held(part)),
    ] {
        ledger.seen(&uid.into(), node, Charge::default(), allocation);
    }
    ledger
}

/// Two NUMA nodes, four GPUs and four network cards below two switches.
fn machine() -> Machine {
    let spot = |at: u32| Spot {
        address: format!("0000:0{at}:00.0"),
        root: format!("pci0000:0{}", at / 2),
        switches: vec![format!("0000:1{}:00.0", at / 2)],
        numa: Some(at / 2),
    };
    let zone = |id| ZoneSpec {
        id,
        socket: id,
        cpu: Millicpu::new(16_000),
        memory: Bytes::new(64 << 30),
        ..ZoneSpec::default()
    };
    let card = |at: u32| CardSpec {
        uuid: format!("GPU-{at}"),
        index: Some(at),
        model: "NVIDIA H100".to_owned(),
        memory: Bytes::new(80 << 30),
        healthy: true,
        nvidia: true,
        spot: spot(at),
        ..CardSpec::default()
    };
    let nic = |at: u32| NicSpec {
        name: format!("mlx5_{at}"),
        interface: Some(format!("eth{at}")),
        up: true,
        spot: spot(at),
        ..NicSpec::default()
    };
    Machine::new(MachineSpec {
        zones: (0..2).map(zone).collect(),
        cards: (0..4).map(card).collect(),
        nics: (0..4).map(nic).collect(),
        ..MachineSpec::default()
    })
}
