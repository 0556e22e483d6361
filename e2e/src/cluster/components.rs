//! The components of a running cluster: starting, watching, and the faults that tests ask for.
//!
//! Nothing is started again by itself: a component that dies is a fact that a test or a person must see.

use std::{
    collections::BTreeMap,
    fs::File,
    net::Ipv4Addr,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::{TcpStream, UnixStream},
    process::Child,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    component::{ComponentSpec, ComponentState, ComponentStatus, Endpoint},
    error::{ClusterError, at, system},
};
use crate::program;

/// How long a component may take to end after SIGTERM before it gets SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
/// How long a component may take from its start until it takes requests.
const LISTEN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

struct Entry {
    spec: ComponentSpec,
    state: watch::Sender<ComponentState>,
    starts: u32,
    stop_requested: bool,
}

/// Every component of a cluster, by name.
#[derive(Clone)]
pub struct Components {
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
    logs: PathBuf,
    path: String,
}

impl std::fmt::Debug for Components {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Components")
            .field("logs", &self.logs)
            .finish_non_exhaustive()
    }
}

impl Components {
    /// No components yet. They write to files in `logs` and find programs in `path`.
    pub fn new(logs: PathBuf, path: String) -> Self {
        Self {
            entries: Arc::default(),
            logs,
            path,
        }
    }

    /// Starts a component, new or one that ended.
    pub fn start(&self, spec: ComponentSpec) -> Result<(), ClusterError> {
        let mut entries = self.lock();
        if let Some(entry) = entries.get(&spec.name) {
            let state = entry.state.borrow().clone();
            if state.pid().is_some() {
                return Err(ClusterError::WrongState {
                    name: spec.name,
                    state: state.to_string(),
                    action: "started",
                });
            }
        }
        let (child, pid) = self.spawn(&spec)?;
        let running = ComponentState::Running { pid };
        let name = spec.name.clone();
        match entries.get_mut(&name) {
            Some(entry) => {
                entry.spec = spec;
                entry.starts += 1;
                entry.stop_requested = false;
                entry.state.send_replace(running);
            }
            None => {
                entries.insert(
                    name.clone(),
                    Entry {
                        spec,
                        state: watch::Sender::new(running),
                        starts: 1,
                        stop_requested: false,
                    },
                );
            }
        }
        drop(entries);
        self.watch(name, child);
        Ok(())
    }

    /// Starts a component again with what it was started with before.
    pub fn start_again(&self, name: &str) -> Result<(), ClusterError> {
        let spec = self.with(name, |entry| entry.spec.clone())?;
        self.start(spec)
    }

    /// Waits until a component that was started takes requests, or ended instead.
    pub async fn wait_for_endpoint(&self, name: &str) -> Result<(), ClusterError> {
        let (endpoint, state) = self.with(name, |entry| {
            (entry.spec.endpoint.clone(), entry.state.subscribe())
        })?;
        let Some(endpoint) = endpoint else {
            return Ok(());
        };
        let deadline = Instant::now() + LISTEN;
        loop {
            let connected = match &endpoint {
                Endpoint::Port(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, *port))
                    .await
                    .map(drop),
                Endpoint::Socket(path) => UnixStream::connect(path).await.map(drop),
            };
            let Err(error) = connected else {
                return Ok(());
            };
            let found = state.borrow().clone();
            if found.pid().is_none() {
                return Err(wrong_state(name, found.to_string(), "reached"));
            }
            if Instant::now() >= deadline {
                return Err(ClusterError::Timeout {
                    what: format!("{name} to take requests"),
                    seconds: LISTEN.as_secs(),
                    last: error.to_string(),
                });
            }
            sleep(POLL).await;
        }
    }

    /// Ends a component and waits until it is gone.
    pub async fn stop(&self, name: &str, signal: Signal) -> Result<(), ClusterError> {
        let (pid, mut state) = self.with(name, |entry| {
            let state = entry.state.subscribe();
            let pid = state.borrow().pid();
            entry.stop_requested = pid.is_some();
            (pid, state)
        })?;
        let Some(pid) = pid else {
            let found = state.borrow().to_string();
            return Err(wrong_state(name, found, "stopped"));
        };
        send(pid, signal)?;
        // A frozen process takes a SIGTERM only after it is thawed.
        send(pid, Signal::CONT)?;
        if timeout(GRACE, state.wait_for(|state| state.pid().is_none()))
            .await
            .is_err()
        {
            send(pid, Signal::KILL)?;
            let gone = timeout(GRACE, state.wait_for(|state| state.pid().is_none())).await;
            if gone.is_err() {
                return Err(ClusterError::Timeout {
                    what: format!("the end of {name}"),
                    seconds: 2 * GRACE.as_secs(),
                    last: format!("pid {pid} survives SIGKILL"),
                });
            }
        }
        Ok(())
    }

    /// Freezes a component: it keeps its connections and answers nothing.
    pub fn pause(&self, name: &str) -> Result<(), ClusterError> {
        self.with(name, |entry| {
            let state = entry.state.borrow().clone();
            match state {
                ComponentState::Running { pid } => {
                    send(pid, Signal::STOP)?;
                    entry.state.send_replace(ComponentState::Paused { pid });
                    Ok(())
                }
                other => Err(wrong_state(name, other.to_string(), "paused")),
            }
        })?
    }

    /// Thaws a component.
    pub fn resume(&self, name: &str) -> Result<(), ClusterError> {
        self.with(name, |entry| {
            let state = entry.state.borrow().clone();
            match state {
                ComponentState::Paused { pid } => {
                    send(pid, Signal::CONT)?;
                    entry.state.send_replace(ComponentState::Running { pid });
                    Ok(())
                }
                other => Err(wrong_state(name, other.to_string(), "resumed")),
            }
        })?
    }

    /// State of every component, by name.
    pub fn status(&self) -> Vec<ComponentStatus> {
        let entries = self.lock();
        entries
            .iter()
            .map(|(name, entry)| ComponentStatus {
                name: name.clone(),
                state: entry.state.borrow().clone(),
                starts: entry.starts,
            })
            .collect()
    }

    /// An error about the first component that died by itself, with the end of its log.
    pub fn check(&self) -> Result<(), ClusterError> {
        for component in self.status() {
            if let ComponentState::Died { status } = component.state {
                return Err(ClusterError::Died {
                    tail: program::tail(&self.log(&component.name), 8),
                    name: component.name,
                    status,
                });
            }
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    fn spawn(&self, spec: &ComponentSpec) -> Result<(Child, i32), ClusterError> {
        let path = self.log(&spec.name);
        let open = || File::options().create(true).append(true).open(&path);
        let log = open().map_err(at(&path))?;
        let log_too = log.try_clone().map_err(at(&path))?;
        let child = tokio::process::Command::new(&spec.program)
            .args(&spec.arguments)
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", "/root")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .current_dir("/")
            .spawn()
            .map_err(at(&spec.program))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        // A child that was just spawned and not awaited has a process id.
        Ok((child, pid.unwrap_or_default()))
    }

    fn watch(&self, name: String, mut child: Child) {
        let this = self.clone();
        tokio::spawn(async move {
            let status = match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            let ended = this.with(&name, |entry| {
                let state = if entry.stop_requested {
                    ComponentState::Stopped
                } else {
                    eprintln!("{name} died: {status}");
                    ComponentState::Died { status }
                };
                entry.state.send_replace(state);
            });
            if let Err(error) = ended {
                eprintln!("{error}");
            }
        });
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Entry) -> T) -> Result<T, ClusterError> {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(name) {
            return Ok(act(entry));
        }
        Err(ClusterError::NoComponent {
            name: name.to_owned(),
            known: entries.keys().cloned().collect::<Vec<_>>().join(" "),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wrong_state(name: &str, state: String, action: &'static str) -> ClusterError {
    ClusterError::WrongState {
        name: name.to_owned(),
        state,
        action,
    }
}

fn send(pid: i32, signal: Signal) -> Result<(), ClusterError> {
    let Some(target) = Pid::from_raw(pid) else {
        return Ok(());
    };
    match kill_process(target, signal) {
        // It ended in this very moment; whoever waits for it sees that.
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other.map_err(system(format!("signal to process {pid}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn components(folder: &tempfile::TempDir) -> Components {
        Components::new(folder.path().to_owned(), "/usr/bin:/bin".to_owned())
    }

    async fn state_without_process(components: &Components, name: &str) -> ComponentState {
        let mut state = components
            .with(name, |entry| entry.state.subscribe())
            .unwrap();
        timeout(LIMIT, state.wait_for(|state| state.pid().is_none()))
            .await
            .unwrap()
            .unwrap();
        let last = state.borrow();
        last.clone()
    }

    #[tokio::test]
    async fn death_is_seen_and_told_with_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let components = components(&folder);
        let spec = ComponentSpec::new("a", "/bin/sh", ["-c", "echo last words; exit 3"]);
        components.start(spec).unwrap();
        let state = state_without_process(&components, "a").await;
        assert!(matches!(state, ComponentState::Died { .. }));
        let error = components.check().unwrap_err().to_string();
        assert!(error.contains("last words"), "{error}");
    }

    #[tokio::test]
    async fn stop_is_no_death_and_start_follows() {
        let folder = tempfile::tempdir().unwrap();
        let components = components(&folder);
        let spec = ComponentSpec::new("a", "/bin/sleep", ["1000"]);
        components.start(spec).unwrap();
        components.pause("a").unwrap();
        components.stop("a", Signal::TERM).await.unwrap();
        assert_eq!(components.status()[0].state, ComponentState::Stopped);
        components.check().unwrap();
        assert!(components.stop("a", Signal::TERM).await.is_err());
        components.start_again("a").unwrap();
        assert_eq!(components.status()[0].starts, 2);
        components.stop("a", Signal::KILL).await.unwrap();
    }

    #[tokio::test]
    async fn endpoint_is_awaited_and_its_absence_told() {
        let folder = tempfile::tempdir().unwrap();
        let components = components(&folder);
        let socket = folder.path().join("s");
        let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let spec = |name: &str, socket: PathBuf| {
            ComponentSpec::new(name, "/bin/sleep", ["1000"]).listening_on(Endpoint::Socket(socket))
        };
        components.start(spec("a", socket)).unwrap();
        components.wait_for_endpoint("a").await.unwrap();
        components.start(spec("b", "/nonexistent".into())).unwrap();
        components.stop("b", Signal::KILL).await.unwrap();
        assert!(components.wait_for_endpoint("b").await.is_err());
        components.stop("a", Signal::KILL).await.unwrap();
    }

    #[tokio::test]
    async fn unknown_component_lists_the_known() {
        let folder = tempfile::tempdir().unwrap();
        let components = components(&folder);
        components
            .start(ComponentSpec::new("etcd", "/bin/true", [""; 0]))
            .unwrap();
        let error = components.pause("x").unwrap_err().to_string();
        assert!(error.contains("etcd"), "{error}");
    }
}
