//! What a person or a test does with a cluster: up, down, status, a command inside.

use std::{
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    cgroups,
    component::{ComponentState, ComponentStatus},
    config::ClusterConfig,
    control::{self, Request},
    error::{ClusterError, at},
    machines, outside,
    run_dir::{RUN_VARIABLE, RunDir, hidden_below, wait_for_lock},
    state::{self, Phase, Progress, Step, SupervisorState},
};
use crate::{
    cache::{CACHE_VARIABLE, Cache},
    image::catalogue,
    program,
    toolchain::{self, packages},
};

const POLL: Duration = Duration::from_millis(50);
/// How long namespaces may take to vanish after their supervisor died.
const VANISH: Duration = Duration::from_secs(25);
/// How long an orderly stop may take.
const STOP: Duration = Duration::from_secs(40);

/// Starts the cluster and returns when it is usable. `report` is told what was reached.
pub fn up(config: &ClusterConfig, report: &mut dyn FnMut(&Step)) -> Result<RunDir, ClusterError> {
    need_root("up")?;
    let run = RunDir::for_cluster(&config.name)?;
    let cache = Cache::from_env()?;
    if let Some(place) = hidden_below(cache.root()) {
        return Err(ClusterError::RunDirectory {
            path: cache.root().to_owned(),
            reason: format!(
                "the cache is below {place}, which the cluster covers; set {CACHE_VARIABLE}"
            ),
        });
    }
    run.create()?;
    let Some(_starting) = run.try_lock_start()? else {
        return Err(ClusterError::BeingStarted { name: run.name() });
    };
    refuse_running(&run)?;
    check_port(config.port)?;
    packages::ensure(packages::CLUSTER)?;
    let mut families = toolchain::LOCAL_CLUSTER.to_vec();
    families.push(config.runtime.family());
    if config.hollow > 0 {
        families.push("kwok");
    }
    toolchain::ensure(&cache, &families)?;
    catalogue::ensure_base(&cache)?;
    machines::prepare(&cache, config)?;
    clean_stale(&run, config)?;
    state::write(&run.config(), config)?;
    let mut supervisor = spawn_supervisor(&run, &cache)?;
    let result = watch_start(&run, &mut supervisor, report);
    if let Err(reason) = result {
        // The end of the pipe tells a supervisor that is still at it to give up.
        drop(supervisor.stdin.take());
        supervisor.wait().map_err(at("supervisor"))?;
        run.clear()?;
        return Err(ClusterError::Start {
            name: config.name.clone(),
            reason,
            logs: run.logs(),
        });
    }
    if let Some(mut stdin) = supervisor.stdin.take() {
        writeln!(stdin, "{}", outside::ACCEPTED).map_err(at("supervisor"))?;
    }
    Ok(run)
}

/// Stops the cluster and removes everything but its logs; says whether there was something to stop.
pub fn down(run: &RunDir) -> Result<bool, ClusterError> {
    need_root("down")?;
    if !run.root().exists() {
        return Ok(false);
    }
    let cgroup = ClusterConfig {
        name: run.name(),
        ..ClusterConfig::default()
    }
    .cgroup();
    let mut was_running = false;
    let lock = if let Some(lock) = run.try_lock()? {
        lock
    } else {
        was_running = true;
        stop_supervisor(run)?
    };
    let inner = wait_for_lock(VANISH, || run.try_lock_inner())?;
    cgroups::remove(Path::new(cgroups::ROOT), &cgroup, VANISH)?;
    run.clear()?;
    drop((lock, inner));
    Ok(was_running)
}

/// What is known about a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// How far it is.
    pub progress: Progress,
    /// Its processes outside.
    pub supervisor: SupervisorState,
    /// Its components.
    pub components: Vec<ComponentStatus>,
}

impl Status {
    /// Whether it is up and no component died by itself.
    pub fn is_healthy(&self) -> bool {
        self.progress.phase == Phase::Ready
            && !self
                .components
                .iter()
                .any(|component| matches!(component.state, ComponentState::Died { .. }))
    }
}

/// Asks the cluster how it is.
pub fn status(run: &RunDir) -> Result<Status, ClusterError> {
    Ok(Status {
        supervisor: supervisor(run)?,
        progress: state::read(&run.progress())?,
        components: request(run, &Request::Status)?,
    })
}

/// Sends a request to the cluster; returns the components after it.
pub fn request(run: &RunDir, request: &Request) -> Result<Vec<ComponentStatus>, ClusterError> {
    supervisor(run)?;
    control::call(&run.control_socket(), request)
}

/// A command inside the cluster's namespaces, with its kubeconfig and programs at hand.
pub fn inside(run: &RunDir, program: &str) -> Result<Command, ClusterError> {
    need_root("exec")?;
    let supervisor = supervisor(run)?;
    let cache = Cache::from_env()?;
    let path = std::env::var("PATH").unwrap_or_default();
    let here = std::env::current_dir().map_err(at("."))?;
    let mut command = Command::new("nsenter");
    command
        .args(["--net", "--mount", "--pid", "--target"])
        .arg(supervisor.namespace_pid.to_string())
        .arg(format!("--wdns={}", here.display()))
        .arg("--")
        .arg(program)
        .env("KUBECONFIG", run.kubeconfig())
        .env("PATH", format!("{}:{path}", cache.bin().display()));
    Ok(command)
}

/// Runs a command inside in place of this process; returns only to report an error.
pub fn exec(run: &RunDir, words: &[String]) -> ClusterError {
    let Some((program, arguments)) = words.split_first() else {
        return ClusterError::Config {
            field: "command",
            reason: "is empty".to_owned(),
        };
    };
    match inside(run, program) {
        Ok(mut command) => at("nsenter")(command.args(arguments).exec()),
        Err(error) => error,
    }
}

/// The supervisor of a running cluster.
fn supervisor(run: &RunDir) -> Result<SupervisorState, ClusterError> {
    let absent = || ClusterError::NotRunning { name: run.name() };
    if !run.root().is_dir() || run.try_lock()?.is_some() {
        return Err(absent());
    }
    match state::read(&run.supervisor()) {
        Err(ClusterError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(absent())
        }
        other => other,
    }
}

fn refuse_running(run: &RunDir) -> Result<(), ClusterError> {
    if run.try_lock()?.is_some() {
        return Ok(());
    }
    let supervisor = state::read::<SupervisorState>(&run.supervisor());
    Err(ClusterError::AlreadyRunning {
        name: run.name(),
        supervisor: supervisor
            .map(|state| format!(" (supervisor process {})", state.pid))
            .unwrap_or_default(),
    })
}

/// Says early, and with a way out, what would otherwise stop the supervisor.
fn check_port(port: u16) -> Result<(), ClusterError> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(ClusterError::Config {
            field: "port",
            reason: format!("127.0.0.1:{port}: {error}; choose another with --port"),
        }),
    }
}

/// Removes what a killed cluster of the same name left.
fn clean_stale(run: &RunDir, config: &ClusterConfig) -> Result<(), ClusterError> {
    refuse_running(run)?;
    let Some(_inner) = wait_for_lock(VANISH, || run.try_lock_inner())? else {
        return Err(ClusterError::Timeout {
            what: "the end of an earlier cluster".to_owned(),
            seconds: VANISH.as_secs(),
            last: format!("{} is locked", run.file("inner.lock").display()),
        });
    };
    cgroups::remove(Path::new(cgroups::ROOT), &config.cgroup(), VANISH)?;
    run.clear()?;
    let logs = run.logs();
    fs::remove_dir_all(&logs).map_err(at(&logs))?;
    run.create()
}

fn spawn_supervisor(run: &RunDir, cache: &Cache) -> Result<Child, ClusterError> {
    let program = std::env::current_exe().map_err(at("/proc/self/exe"))?;
    let log_path = run.log("supervisor");
    let log = fs::File::create(&log_path).map_err(at(&log_path))?;
    let log_too = log.try_clone().map_err(at(&log_path))?;
    Command::new(&program)
        .args(["cluster", "outside", "--run-dir"])
        .arg(run.root())
        .env(CACHE_VARIABLE, cache.root())
        .env_remove(RUN_VARIABLE)
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(log_too)
        .current_dir("/")
        .spawn()
        .map_err(at(program))
}

/// Follows the start to its end; the error says why it failed.
fn watch_start(
    run: &RunDir,
    supervisor: &mut Child,
    report: &mut dyn FnMut(&Step),
) -> Result<(), String> {
    let mut told = 0;
    loop {
        let ended = supervisor.try_wait().map_err(|error| error.to_string())?;
        let progress: Option<Progress> = state::read(&run.progress()).ok();
        if let Some(progress) = &progress {
            for step in progress.steps.iter().skip(told) {
                report(step);
                told += 1;
            }
            match progress.phase {
                Phase::Ready if run.supervisor().exists() => return Ok(()),
                Phase::Failed => return Err(progress.error.clone().unwrap_or_default()),
                Phase::Ready | Phase::Starting => {}
            }
        }
        if let Some(status) = ended {
            let tail = program::tail(&run.log("supervisor"), 8);
            return Err(format!("its supervisor ended with {status}:\n{tail}"));
        }
        thread::sleep(POLL);
    }
}

/// Asks the supervisor to stop, kills it if it does not, and returns the lock that it held.
fn stop_supervisor(run: &RunDir) -> Result<fs::File, ClusterError> {
    let known: Option<SupervisorState> = state::read(&run.supervisor()).ok();
    if let Some(state) = &known
        && let Some(pid) = Pid::from_raw(state.pid)
    {
        // It may have ended in this moment; the lock tells.
        kill_process(pid, Signal::TERM).unwrap_or_default();
    }
    if let Some(lock) = wait_for_lock(STOP, || run.try_lock())? {
        return Ok(lock);
    }
    if let Some(state) = &known {
        outside::kill(state);
    }
    wait_for_lock(VANISH, || run.try_lock())?.ok_or_else(|| ClusterError::Timeout {
        what: "the end of the supervisor".to_owned(),
        seconds: (STOP + VANISH).as_secs(),
        last: format!("{} is locked", run.file("lock").display()),
    })
}

fn need_root(command: &'static str) -> Result<(), ClusterError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(ClusterError::NotRoot(command))
}

/// Loads image archives into the named node of the running cluster, or into every node.
pub fn load_images(
    run: &RunDir,
    archives: &[PathBuf],
    node: Option<&str>,
) -> Result<(), ClusterError> {
    for archive in archives {
        let archive = fs::canonicalize(archive).map_err(at(archive))?;
        let node = node.map(str::to_owned);
        request(run, &Request::LoadImage { archive, node })?;
    }
    Ok(())
}
