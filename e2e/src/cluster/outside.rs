//! The supervisor outside of the namespaces: makes them, carries connections into them, and tidies up after them.

use std::{
    fs, io,
    io::BufRead as _,
    net::Ipv4Addr,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, setsid};
use tokio::{
    net::TcpListener,
    process::{Child, ChildStdin, Command},
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::{
    cgroups,
    config::ClusterConfig,
    error::{ClusterError, at},
    forward,
    run_dir::RunDir,
    state::{self, SupervisorState},
};

/// Line by which whoever started the cluster says that it is satisfied and leaves it alone.
pub(super) const ACCEPTED: &str = "accepted";

/// How long the supervisor inside may take to end everything before everything is killed with it.
const STOP: Duration = Duration::from_secs(20);
/// How long cgroups may take to become empty afterwards.
const TIDY: Duration = Duration::from_secs(10);

enum End {
    /// The namespaces ended by themselves.
    Inside(io::Result<ExitStatus>),
    /// A signal asked for the end.
    Requested,
    /// Whoever waited for the start went away before it was complete.
    Abandoned,
    /// The namespaces cannot be reached.
    Unattended(ClusterError),
}

/// Runs the cluster of `run` until it is told to stop or it ends.
pub async fn run(run: &RunDir) -> Result<(), ClusterError> {
    // Not the terminal's any more. Fails only for a group leader, which is as good.
    let _session = setsid();
    let Some(_lock) = run.try_lock()? else {
        return Err(ClusterError::AlreadyRunning {
            name: run.name(),
            supervisor: String::new(),
        });
    };
    let config: ClusterConfig = state::read(&run.config())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port))
        .await
        .map_err(at(format!("127.0.0.1:{}", config.port)))?;
    let abandoned = starter_is_gone();
    let mut terminate = signal(SignalKind::terminate()).map_err(at("SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(at("SIGINT"))?;

    let mut child = make_namespaces(run)?;
    // Waiting for a child closes its standard input, unless somebody else holds it.
    let pipe = child.stdin.take();
    let unshare = child_id(&child);
    let end = tokio::select! {
        status = child.wait() => End::Inside(status),
        _ = terminate.recv() => End::Requested,
        _ = interrupt.recv() => End::Requested,
        Ok(()) = abandoned => End::Abandoned,
        Err(error) = attend(run, listener, unshare) => End::Unattended(error),
    };
    let status = match end {
        End::Inside(status) => Some(status.map_err(at("unshare"))?),
        End::Requested => {
            eprintln!("asked to stop");
            None
        }
        End::Abandoned => {
            eprintln!("abandoned before the start was complete");
            tidy(run, &config, child, pipe, None).await?;
            // Nobody is there any more to do it.
            return run.clear();
        }
        End::Unattended(error) => {
            tidy(run, &config, child, pipe, None).await?;
            return Err(error);
        }
    };
    tidy(run, &config, child, pipe, status).await
}

/// Starts the first process of the namespaces. Its standard input is a pipe that ends with this process.
fn make_namespaces(run: &RunDir) -> Result<Child, ClusterError> {
    let program = std::env::current_exe().map_err(at("/proc/self/exe"))?;
    Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "--propagation", "private"])
        .arg(program)
        .args(["cluster", "init", "--run-dir"])
        .arg(run.root())
        .stdin(Stdio::piped())
        .spawn()
        .map_err(at("unshare"))
}

/// Writes down where the namespaces are and carries connections into them; returns only to report an error.
async fn attend(run: &RunDir, listener: TcpListener, unshare: i32) -> Result<(), ClusterError> {
    let namespace_pid = only_child(unshare).await?;
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    state::write(&run.supervisor(), &SupervisorState { pid, namespace_pid })?;
    forward::tcp_to_unix(listener, run.api_socket()).await;
    Ok(())
}

/// Ends what is left of the namespaces and removes what outlives them.
async fn tidy(
    run: &RunDir,
    config: &ClusterConfig,
    mut child: Child,
    pipe: Option<ChildStdin>,
    ended: Option<ExitStatus>,
) -> Result<(), ClusterError> {
    let status = if ended.is_some() {
        ended
    } else {
        // The supervisor inside sees the end of the pipe and ends everything in order.
        drop(pipe);
        if let Ok(status) = timeout(STOP, child.wait()).await {
            Some(status.map_err(at("unshare"))?)
        } else {
            eprintln!("killing the namespaces");
            // unshare's child is killed with it; everything else is killed with that.
            child.kill().await.map_err(at("unshare"))?;
            None
        }
    };
    cgroups::remove(Path::new(cgroups::ROOT), &config.cgroup(), TIDY)?;
    for file in [run.supervisor(), run.control_socket(), run.api_socket()] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(file)(error)),
            _ => {}
        }
    }
    match status {
        Some(status) if !status.success() => Err(ClusterError::Control(format!(
            "the supervisor inside the namespaces ended with {status}"
        ))),
        _ => Ok(()),
    }
}

/// Resolves when the other end of the standard input closes without having accepted the cluster.
fn starter_is_gone() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let accepted = std::io::stdin()
            .lock()
            .lines()
            .map_while(Result::ok)
            .any(|line| line == ACCEPTED);
        if !accepted {
            // Nobody listens when the cluster has ended in the meantime.
            sender.send(()).unwrap_or_default();
        }
    });
    receiver
}

/// The process that `parent` forked, as soon as it is there.
async fn only_child(parent: i32) -> Result<i32, ClusterError> {
    const LIMIT: Duration = Duration::from_secs(10);
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(child) = find_child(Path::new("/proc"), parent)? {
            return Ok(child);
        }
        if Instant::now() >= deadline {
            return Err(ClusterError::Timeout {
                what: "the first process of the namespaces".to_owned(),
                seconds: LIMIT.as_secs(),
                last: format!("process {parent} has no child"),
            });
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn find_child(proc: &Path, parent: i32) -> Result<Option<i32>, ClusterError> {
    let wanted = format!("PPid:\t{parent}");
    for entry in fs::read_dir(proc).map_err(at(proc))? {
        let entry = entry.map_err(at(proc))?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process that ended since the listing has no file any more.
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status.lines().any(|line| line == wanted) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

fn child_id(child: &Child) -> i32 {
    child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .unwrap_or_default()
}

/// Ends a supervisor, and its namespaces, that does not do so by itself.
pub(super) fn kill(state: &SupervisorState) {
    for pid in [state.namespace_pid, state.pid] {
        if let Some(pid) = Pid::from_raw(pid) {
            // It may be gone already, which is what is wanted.
            kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn child_is_found_by_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        for (pid, parent) in [(10, 1), (11, 10), (12, 100)] {
            let process = folder.path().join(pid.to_string());
            fs::create_dir(&process).unwrap();
            fs::write(
                process.join("status"),
                format!("Name:\tx\nPPid:\t{parent}\n"),
            )
            .unwrap();
        }
        assert_eq!(find_child(folder.path(), 10).unwrap(), Some(11));
        assert_eq!(find_child(folder.path(), 7).unwrap(), None);
    }
}
