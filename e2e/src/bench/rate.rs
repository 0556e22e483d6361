//! How many pods a second kube-scheduler places on many nodes: alone, with an extender that only says yes, and with ours.
//!
//! One cluster, hollow nodes with four declared cards each. In every round the three follow each other: kube-scheduler stops, the pods are
//! created, kube-scheduler starts with another configuration, and the time from the first to the last binding is taken from a watch of
//! bound pods. So all pods wait when the first is placed, and what is measured is kube-scheduler and whom it asks. kube-scheduler's
//! configuration is the shipped one; only the extenders differ. Pods without an extender ask for the same CPU and memory and for no card:
//! kube-scheduler alone cannot give cards.
//!
//! Nothing else runs: the agents stay on the host's node, the controllers have no replica, and the extender takes the declared reports
//! for fresh.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{WatchEvent, WatchParams},
};
use serde_json::{Value, json};

use super::{NAMESPACE, median, null_extender};
use crate::{
    cache::Cache,
    cluster::{RunDir, api, commands, control::Ending, control::Request, control_plane, hollow},
    kubectl::{Kubectl, wait_for},
    pki::names,
    product::{self, Product},
    report::{self, Row},
    scenario::declared_cards,
};

/// Flags of `katalyst-e2e bench-rate`.
#[derive(Debug, Clone, Args)]
pub struct RateArgs {
    /// The repository.
    #[arg(long, default_value = ".")]
    pub root: PathBuf,
    /// Hollow nodes.
    #[arg(long, default_value_t = 1_000)]
    pub nodes: u32,
    /// Pods of each measurement.
    #[arg(long, default_value_t = 500)]
    pub pods: usize,
    /// Rounds; figures are medians.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
}

/// Name of the cluster that is started.
pub const CLUSTER: &str = "rate";
/// The component that changes its configuration.
const SCHEDULER: &str = "kube-scheduler";
/// Bar of the issue: with the extender at least this part of the rate without.
const BAR: f64 = 0.85;
/// Objects of one call.
const BATCH: usize = 100;
/// Until the last pod is bound.
const LIMIT: Duration = Duration::from_secs(240);

/// Whom kube-scheduler asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nobody,
    Null,
    Ours,
}

const ALL: [Asked; 3] = [Asked::Nobody, Asked::Null, Asked::Ours];

impl Asked {
    fn id(self) -> &'static str {
        match self {
            Self::Nobody => "rate-alone",
            Self::Null => "rate-null-extender",
            Self::Ours => "rate-extender",
        }
    }

    fn shows(self) -> &'static str {
        match self {
            Self::Nobody => "pods bound a second by kube-scheduler alone, median",
            Self::Null => "the same with an extender that returns all names",
            Self::Ours => "the same with the extender, which filters, ranks and binds",
        }
    }
}

/// Measures on the running cluster [`CLUSTER`] and writes `target/reports/bench-rate.json`.
pub fn run(args: &RateArgs, kubeconfig: &std::path::Path) -> anyhow::Result<()> {
    let cache = Cache::from_env()?;
    let bench = Bench {
        kubectl: Kubectl::new(&cache, kubeconfig),
        run: RunDir::for_cluster(CLUSTER)?,
        args: args.clone(),
        runtime: tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?,
    };
    let rows = bench.measure().map_err(anyhow::Error::msg)?;
    report::publish("bench-rate", &rows)?;
    Ok(())
}

struct Bench {
    kubectl: Kubectl,
    run: RunDir,
    args: RateArgs,
    runtime: tokio::runtime::Runtime,
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Bench {
    fn measure(&self) -> Result<Vec<Row>, String> {
        self.install()?;
        self.declare()?;
        let program = std::env::current_exe().map_err(words)?;
        let null = commands::inside(&self.run, &program.display().to_string())
            .map_err(words)?
            .arg("null-extender")
            .stdin(Stdio::null())
            .spawn()
            .map_err(words)?;
        let _null = Running(null);
        let mut rates = ALL.map(|asked| (asked, Vec::new()));
        for round in 1..=self.args.rounds {
            for (asked, rates) in &mut rates {
                let rate = self.rate(*asked)?;
                println!("  round {round}: {:<20} {rate:>7.1} pods/s", asked.id());
                rates.push(rate);
            }
        }
        let place = format!(
            "{} hollow nodes, {} pods waiting, {} rounds, all of the control plane on this machine",
            self.args.nodes, self.args.pods, self.args.rounds
        );
        let middle = |wanted: Asked| {
            let found = rates.iter().find(|(asked, _)| *asked == wanted);
            found
                .and_then(|(_, rates)| median(rates))
                .unwrap_or(f64::NAN)
        };
        let mut rows: Vec<Row> = ALL
            .map(|asked| Row::figure(asked.id(), asked.shows(), middle(asked), "1/s", &place))
            .into();
        let (ours, alone, null) = (
            middle(Asked::Ours),
            middle(Asked::Nobody),
            middle(Asked::Null),
        );
        rows.push(Row::at_least(
            "rate-kept",
            "with the extender, part of the rate without",
            ours / alone,
            "fraction",
            BAR,
            &place,
        ));
        rows.push(Row::at_least(
            "rate-above-null",
            "with the extender, part of the rate with one that returns all names",
            ours / null,
            "fraction",
            1.0,
            &place,
        ));
        Ok(rows)
    }

    /// The product, with nothing that would work beside the measurement.
    fn install(&self) -> Result<(), String> {
        let product = Product::new(&self.kubectl, &self.args.root, "local");
        let patch = |kind: &str, name: &str, operations: Value| json!({"target": {"kind": kind, "name": name}, "patch": operations.to_string()});
        let more = json!({"patches": [
            patch("DaemonSet", "katalyst-node-agent", json!([
                {"op": "add", "path": "/spec/template/spec/nodeSelector", "value": {"kubernetes.io/hostname": "node-host"}},
            ])),
            patch("Deployment", "katalyst-controllers", json!([{"op": "replace", "path": "/spec/replicas", "value": 0}])),
            patch("Deployment", "katalyst-scheduler-extender", json!([
                {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "KATALYST_STALE_AFTER", "value": "12h"}},
            ])),
        ]});
        println!("  installing ...");
        wait_for("kubectl apply -k", Duration::from_secs(60), || {
            product.apply_patched(&self.args.root, "rate", &more)
        })?;
        wait_for("the extender's replicas", Duration::from_secs(120), || {
            let words_of = [
                "-n",
                product::NAMESPACE,
                "get",
                "deployment",
                "katalyst-scheduler-extender",
            ];
            let object = self.kubectl.json(&words_of).map_err(words)?;
            if object["status"]["readyReplicas"] == 2 {
                Ok(())
            } else {
                Err(object["status"].to_string())
            }
        })?;
        self.kubectl
            .apply(&format!(
                "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n"
            ))
            .map(drop)
            .map_err(words)
    }

    /// Custom resources of the hollow nodes, with cards.
    fn declare(&self) -> Result<(), String> {
        println!("  declaring the cards of {} nodes ...", self.args.nodes);
        let names: Vec<String> = (0..self.args.nodes)
            .map(|index| format!("hollow-{index}"))
            .collect();
        for status in [false, true] {
            for batch in names.chunks(BATCH) {
                let objects: Vec<Value> = batch
                    .iter()
                    .map(|name| declared_cards(name, status))
                    .collect();
                let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
                let mut call = vec!["apply", "--server-side", "--force-conflicts", "-f", "-"];
                if status {
                    call.push("--subresource=status");
                }
                self.kubectl
                    .feed(&call, Some(&list.to_string()))
                    .map_err(words)?;
            }
        }
        Ok(())
    }

    fn request(&self, request: &Request) -> Result<(), String> {
        commands::request(&self.run, request)
            .map(drop)
            .map_err(words)
    }

    /// kube-scheduler's configuration: the shipped one but for whom it asks.
    fn configure(&self, asked: Asked) -> Result<(), String> {
        let shipped = self
            .args
            .root
            .join("manifests/scheduler/kube-scheduler-config.yaml");
        let template =
            fs::read_to_string(&shipped).map_err(|e| format!("{}: {e}", shipped.display()))?;
        let mut config: Value =
            katalyst_crds::yaml::read("scheduler configuration", &template).map_err(words)?;
        match asked {
            Asked::Nobody => config["extenders"] = json!([]),
            Asked::Ours => {}
            Asked::Null => {
                let managed = config["extenders"][0]["managedResources"].clone();
                config["extenders"] = json!([{
                    "urlPrefix": format!("http://{}", null_extender::ADDRESS), "filterVerb": "filter", "weight": 1,
                    "nodeCacheCapable": true, "managedResources": managed,
                }]);
            }
        }
        let text = katalyst_crds::yaml::write("scheduler configuration", &config).map_err(words)?;
        let kubeconfig = self.run.pki().join(format!("{}.conf", names::SCHEDULER));
        let text = control_plane::scheduler_config(&text, &kubeconfig).map_err(words)?;
        let live = self.run.file("scheduler.yaml");
        fs::write(&live, text).map_err(|e| format!("{}: {e}", live.display()))
    }

    fn rate(&self, asked: Asked) -> Result<f64, String> {
        self.request(&Request::Stop {
            component: SCHEDULER.to_owned(),
            ending: Ending::Term,
            start_after_millis: None,
        })?;
        self.configure(asked)?;
        self.create(asked)?;
        let bound = self.bound(|| {
            self.request(&Request::Start {
                component: SCHEDULER.to_owned(),
            })
        })?;
        self.remove()?;
        Ok(bound)
    }

    fn create(&self, asked: Asked) -> Result<(), String> {
        let mut amounts = json!({"cpu": "100m", "memory": "64Mi"});
        if asked != Asked::Nobody {
            amounts["resource.katalyst.kubewharf.io/milligpu"] = json!("250");
        }
        let pods: Vec<Value> = (0..self.args.pods)
            .map(|index| json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("pod-{index}"), "namespace": NAMESPACE},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "nodeSelector": {hollow::LABEL: "true"},
                    "tolerations": [{"key": hollow::TAINT, "operator": "Exists"}],
                    "containers": [{"name": "main", "image": "katalyst.local/pause:1", "resources": {"requests": amounts, "limits": amounts}}],
                },
            }))
            .collect();
        for batch in pods.chunks(BATCH) {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": batch});
            self.kubectl
                .feed(&["create", "-f", "-"], Some(&list.to_string()))
                .map_err(words)?;
        }
        Ok(())
    }

    /// Starts what `start` starts; pods bound a second between the first and the last.
    fn bound(&self, start: impl FnOnce() -> Result<(), String> + Send) -> Result<f64, String> {
        self.runtime.block_on(async {
            let client = api::client(self.kubectl.kubeconfig())
                .await
                .map_err(words)?;
            let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
            let params = WatchParams::default()
                .fields("spec.nodeName!=")
                .timeout(290);
            let mut events = pods.watch(&params, "0").await.map_err(words)?.boxed();
            tokio::task::block_in_place(start)?;
            let mut names = BTreeSet::new();
            let (mut first, mut last) = (None, Instant::now());
            let all = async {
                while let Some(event) = events.try_next().await.map_err(words)? {
                    let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else {
                        continue;
                    };
                    if names.insert(pod.name_any()) {
                        last = Instant::now();
                        first.get_or_insert(last);
                        if names.len() == self.args.pods {
                            return Ok(());
                        }
                    }
                }
                Err("the watch of bound pods ended".to_owned())
            };
            match tokio::time::timeout(LIMIT, all).await {
                Ok(ended) => ended?,
                Err(_) => {
                    return Err(format!(
                        "{} of {} pods were bound within {} s",
                        names.len(),
                        self.args.pods,
                        LIMIT.as_secs()
                    ));
                }
            }
            let elapsed = first.map_or(Duration::ZERO, |first| last - first);
            Ok((names.len().saturating_sub(1)) as f64 / elapsed.as_secs_f64())
        })
    }

    fn remove(&self) -> Result<(), String> {
        let inside = ["-n", NAMESPACE];
        let gone = [
            "delete",
            "pods",
            "--all",
            "--grace-period=0",
            "--force",
            "--wait=false",
        ];
        self.kubectl
            .run(&[&inside[..], &gone].concat())
            .map_err(words)?;
        wait_for("the pods to be gone", Duration::from_secs(120), || {
            let left = self
                .kubectl
                .run(&[&inside[..], &["get", "pods", "-o", "name"]].concat())
                .map_err(words)?;
            match left.lines().count() {
                0 => Ok(()),
                left => Err(format!("{left} left")),
            }
        })
    }
}
