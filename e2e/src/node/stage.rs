//! One scenario's surroundings: groups, processes, an API server, and what an agent needs to run there. Everything ends with the stage.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::agent::{Agent, AgentSetup};
use super::api::Api;
use super::layout::{Class, Driver, Layout};
use super::place::Place;
use super::pod::PodSpec;
use super::tree::{Tree, Version, write};
use super::work::{Kind, Process};
use crate::report::Row;

/// Name of the node.
const NODE: &str = "node";

/// A container: its group and its process.
#[derive(Debug)]
pub struct Container {
    /// Its group, relative to the mounts.
    pub group: PathBuf,
    /// Its first process.
    pub process: Process,
}

/// A pod that runs.
#[derive(Debug)]
pub struct Pod {
    /// What it asked for.
    pub spec: PodSpec,
    /// Its group, relative to the mounts.
    pub group: PathBuf,
    /// Its containers, without the sandbox.
    pub containers: Vec<Container>,
    /// The container that holds the pod's namespaces.
    sandbox: Process,
}

impl Pod {
    /// Whether all of its processes still run.
    pub fn lives(&mut self) -> Result<(), String> {
        let name = &self.spec.name;
        self.sandbox
            .lives()
            .map_err(|error| format!("pod {name}: {error}"))?;
        for container in &mut self.containers {
            container
                .process
                .lives()
                .map_err(|error| format!("pod {name}: {error}"))?;
        }
        Ok(())
    }
}

/// The surroundings.
pub struct Stage<'a> {
    /// The machine.
    pub place: &'a Place,
    /// The groups.
    pub tree: Tree,
    /// The API server.
    pub api: Api,
    /// A directory of this stage's own: state of the agent, its log, kubelet's directory.
    pub directory: PathBuf,
    /// The installed agent, which measurements start instead of the one within this program.
    pub installed: Option<PathBuf>,
    figures: RefCell<Vec<Row>>,
}

impl<'a> Stage<'a> {
    /// Makes groups below kubelet's root `root`, and an empty directory.
    pub fn build(
        place: &'a Place,
        driver: Driver,
        root: Option<&str>,
        directory: &Path,
    ) -> Result<Self, String> {
        if directory.exists() {
            fs::remove_dir_all(directory)
                .map_err(|error| format!("remove {}: {error}", directory.display()))?;
        }
        for part in ["state", "kubelet"] {
            let path = directory.join(part);
            fs::create_dir_all(&path)
                .map_err(|error| format!("create {}: {error}", path.display()))?;
        }
        let layout = Layout {
            driver,
            root: root.map(str::to_owned),
        };
        let stage = Self {
            place,
            tree: Tree::plant(layout)?,
            api: Api::start(NODE)?,
            directory: directory.to_owned(),
            installed: None,
            figures: RefCell::default(),
        };
        stage
            .api
            .write_kubeconfig(&stage.directory.join("kubeconfig"))?;
        Ok(stage)
    }

    /// Where the agent keeps its records.
    pub fn state_dir(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// An agent as it is installed: only what another machine would have elsewhere is given by flags.
    pub fn agent(&self) -> AgentSetup {
        let file = |name: &str| self.directory.join(name).display().to_string();
        let mut flags = vec![
            format!("--node-name={NODE}"),
            format!("--kubeconfig={}", file("kubeconfig")),
            format!("--state-dir={}", file("state")),
            format!("--kubelet-root-dir={}", file("kubelet")),
            "--pools-interval=1s".to_owned(),
            "--log-level=debug,hyper=info,tower=info,kube=info".to_owned(),
            "--report-min-interval=1s".to_owned(),
        ];
        if !self.place.alone {
            // Other work of this machine is none of the scenario's.
            flags.push("--machine-usage=kubepods".to_owned());
        }
        AgentSetup {
            program: None,
            directory: self.directory.clone(),
            flags,
            environment: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// Starts an agent and waits until it has sampled and held once.
    pub fn start_agent(&self) -> Result<Agent, String> {
        let mut agent = self.agent().start()?;
        agent.wait_sampled(self.limit(10))?;
        Ok(agent)
    }

    /// A time limit, longer where instructions are emulated: such a machine is some ten times slower, and its host may be busy.
    pub fn limit(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds * if self.place.emulated { 4 } else { 1 })
    }

    /// Starts a pod as kubelet and a container runtime would: the object is there, then the pod's group with its values, the sandbox, the containers.
    pub fn start_pod(&self, spec: &PodSpec, kind: Kind) -> Result<Pod, String> {
        self.api.put(spec.object(NODE));
        self.start_groups(spec, kind)
    }

    /// The groups and processes of a pod that the API server does not show (yet).
    pub fn start_groups(&self, spec: &PodSpec, kind: Kind) -> Result<Pod, String> {
        let class = spec.class();
        let group = self.tree.layout.pod(class, &spec.uid());
        self.tree.create(&group)?;
        let shares = spec.shares();
        self.give(&group, spec, shares)?;
        let sandbox = self
            .tree
            .layout
            .container(&group, &format!("{}-sandbox", spec.name));
        self.tree.create(&sandbox)?;
        self.tree.set_shares(&sandbox, 2)?;
        let sandbox = Process::start(&self.tree.entrances(&sandbox), Kind::Sleep)?;
        let mut containers = Vec::new();
        for index in 0..spec.containers.max(1) {
            let container = self
                .tree
                .layout
                .container(&group, &format!("{}-{index}", spec.name));
            self.tree.create(&container)?;
            if index == 0 {
                self.give(&container, spec, shares)?;
            }
            let process = Process::start(&self.tree.entrances(&container), kind)?;
            containers.push(Container {
                group: container,
                process,
            });
        }
        for container in &mut containers {
            container.process.ready()?;
        }
        Ok(Pod {
            spec: spec.clone(),
            group,
            containers,
            sandbox,
        })
    }

    fn give(&self, group: &Path, spec: &PodSpec, shares: u64) -> Result<(), String> {
        self.tree.set_shares(group, shares)?;
        if let Some((_, Some(limit))) = spec.cpu {
            self.tree.set_quota(group, limit)?;
        }
        if let Some((_, Some(limit))) = spec.memory {
            self.tree.set_memory(group, limit << 20)?;
        }
        Ok(())
    }

    /// Lets the API server show a pod.
    pub fn show(&self, pod: &Pod) {
        self.api.put(pod.spec.object(NODE));
    }

    /// Ends a pod as kubelet does: processes, groups, object.
    pub fn end_pod(&self, pod: Pod) -> Result<(), String> {
        let Pod {
            spec,
            group,
            containers,
            sandbox,
        } = pod;
        drop(containers);
        drop(sandbox);
        self.tree.remove(&group)?;
        self.api.remove(&spec.uid());
        Ok(())
    }

    /// Starts another process in a pod's first container.
    pub fn join(&self, pod: &Pod, kind: Kind) -> Result<Process, String> {
        let container = pod.containers.first().ok_or("a pod without containers")?;
        let mut process = Process::start(&self.tree.entrances(&container.group), kind)?;
        process.ready()?;
        Ok(process)
    }

    /// Writes a file of kubelet's directory.
    pub fn write_kubelet(&self, file: &str, text: &str) -> Result<(), String> {
        write(&self.directory.join("kubelet").join(file), text)
    }

    /// Whether the kernel has `cpu.idle`.
    pub fn has_idle(&self) -> bool {
        self.tree
            .file(&self.tree.layout.class(Class::BestEffort), "cpu.idle")
            .exists()
    }

    /// Notes a figure for the report.
    pub fn figure(&self, row: Row) {
        self.figures.borrow_mut().push(row);
    }

    /// The figures noted.
    pub fn figures(&self) -> Vec<Row> {
        self.figures.borrow().clone()
    }

    /// The machine, the interface and the driver, for the report.
    pub fn place_words(&self) -> String {
        where_words(self.place, self.tree.version, self.tree.layout.driver)
    }
}

/// Machine, interface and driver in a few words.
pub fn where_words(place: &Place, version: Version, driver: Driver) -> String {
    format!(
        "{}, cgroup {}, {}",
        place.name,
        version.name(),
        driver.name()
    )
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.tree.clear() {
            eprintln!("left behind: {error}");
        }
    }
}
