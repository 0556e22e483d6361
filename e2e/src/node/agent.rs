//! The agent as a process of its own: the program `katalyst-node-agent` with its flags, started from this binary so that one file is enough in a machine.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use clap::{Args, Parser as _};
use katalyst_node_agent as node_agent;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde_json::Value;

use super::{http, wait::wait_until};

/// Environment variable with the number of the write to the kernel before which the agent is killed.
pub const CRASH_BEFORE_WRITE: &str = "KATALYST_SCENARIO_CRASH_BEFORE_WRITE";

/// The agent, with the flags it has everywhere.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    /// Flags of `katalyst-node-agent`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<String>,
}

impl AgentArgs {
    /// What `katalyst-node-agent` does.
    pub fn run(&self) -> ExitCode {
        // The scenarios' end, however it comes, is the agent's.
        if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
            eprintln!("katalyst-node-scenarios: {error}");
        }
        let step = std::env::var(CRASH_BEFORE_WRITE).ok();
        if let Some(step) = step.and_then(|text| text.parse().ok()) {
            node_agent::cgroup::fault::kill_before_write(step);
        }
        let program = std::iter::once("katalyst-node-agent");
        let args =
            node_agent::Args::parse_from(program.chain(self.flags.iter().map(String::as_str)));
        match args.command {
            Some(node_agent::Command::Restore) => node_agent::restore_command(&args),
            None => katalyst_runtime::main_with(
                node_agent::COMPONENT,
                &args.runtime.clone(),
                |process| node_agent::start(process, args),
            ),
        }
    }
}

/// How an agent is started.
#[derive(Debug, Clone)]
pub struct AgentSetup {
    /// The installed program; `None` for the agent within this one.
    pub program: Option<PathBuf>,
    /// Directory for its log.
    pub directory: PathBuf,
    /// Its flags.
    pub flags: Vec<String>,
    /// Environment.
    pub environment: Vec<(String, String)>,
    /// A command line that runs it in another view of the kernel, such as `unshare --mount ...`; its words come before the agent's.
    pub wrapper: Vec<String>,
}

impl AgentSetup {
    fn command(&self) -> Result<Command, String> {
        let program = match &self.program {
            Some(program) => vec![program.clone()],
            None => vec![
                std::env::current_exe().map_err(|error| format!("find this program: {error}"))?,
                PathBuf::from("agent"),
                PathBuf::from("--"),
            ],
        };
        let mut words = self.wrapper.iter().map(PathBuf::from).chain(program);
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .args(&self.flags)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Starts one.
    pub fn start(&self) -> Result<Agent, String> {
        let log = self.directory.join("agent.log");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let admin = free_port()?;
        let child = self
            .command()?
            .arg(format!("--admin-addr={admin}"))
            .stdout(file.try_clone().map_err(|error| error.to_string())?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("start the agent: {error}"))?;
        Ok(Agent { child, admin, log })
    }

    /// Runs `katalyst-node-agent restore` to its end and returns what it printed.
    pub fn restore(&self) -> Result<String, String> {
        let output = self
            .command()?
            .arg("restore")
            .output()
            .map_err(|error| format!("start the agent: {error}"))?;
        let printed = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        if output.status.success() {
            Ok(printed.trim().to_owned())
        } else {
            Err(format!("restore ended with {}: {printed}", output.status))
        }
    }
}

/// A running agent; killed with this value.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
}

impl Agent {
    /// What `/debug/state` says of the node.
    pub fn state(&self) -> Result<Value, String> {
        let state = http::get(self.admin, "/debug/state")?;
        Ok(state.get("node").cloned().unwrap_or(state))
    }

    /// What `/debug/state` says of the pools.
    pub fn pools(&self) -> Result<Value, String> {
        let state = http::get(self.admin, "/debug/state")?;
        state
            .get("pools")
            .cloned()
            .ok_or_else(|| format!("no pools in {state}"))
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> Result<f64, String> {
        let text = http::text(self.admin, "/metrics")?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            .ok_or_else(|| format!("no metric {name}"))
    }

    /// Waits until it has sampled and held once.
    pub fn wait_sampled(&mut self, limit: Duration) -> Result<Value, String> {
        let sampled = wait_until("a sample of the agent", limit, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Ok(Err(format!(
                    "the agent ended before its first sample: {status}"
                )));
            }
            let state = self.state()?;
            match state.get("snapshot") {
                None | Some(Value::Null) => {
                    let notices = state.get("notices").unwrap_or(&Value::Null);
                    Err(format!("no snapshot yet; notices {notices}"))
                }
                Some(_) => Ok(Ok(state)),
            }
        });
        sampled.and_then(|ended_or_state| ended_or_state)
    }

    /// Notices in force.
    pub fn notices(&self) -> Result<Vec<String>, String> {
        let state = self.state()?;
        let texts = state
            .get("notices")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        Ok(texts
            .iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect())
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) -> Result<(), String> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(drop)
            .map_err(|error| format!("kill the agent: {error}"))
    }

    /// Waits for it to end by itself; true: it did within `limit`.
    pub fn ends_within(&mut self, limit: Duration) -> Result<bool, String> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if self
                .child
                .try_wait()
                .map_err(|error| error.to_string())?
                .is_some()
            {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(false)
    }

    /// Ends it in order and returns whether it ended well.
    pub fn stop(mut self, limit: Duration) -> Result<(), String> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or("the agent has no identifier")?;
        kill_process(pid, Signal::TERM).map_err(|error| format!("stop the agent: {error}"))?;
        if !self.ends_within(limit)? {
            return Err(format!(
                "the agent did not stop within {:.0} s\n{}",
                limit.as_secs_f64(),
                self.log_tail()
            ));
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() {
            Ok(())
        } else {
            Err(format!(
                "the agent ended with {status}\n{}",
                self.log_tail()
            ))
        }
    }

    /// CPU time it has used, seconds, and its resident memory, KiB.
    pub fn cost(&self) -> Result<(f64, u64), String> {
        let directory = Path::new("/proc").join(self.child.id().to_string());
        let stat = super::tree::read(&directory.join("stat"))?;
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        // Fields 14 and 15 of the file, counted from the one after the name (3).
        let ticks: u64 = [11, 12]
            .iter()
            .filter_map(|index| fields.get(*index)?.parse::<u64>().ok())
            .sum();
        let status = super::tree::read(&directory.join("status"))?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        Ok((ticks as f64 / 100.0, resident))
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        crate::program::last_lines(&text, 15)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn free_port() -> Result<SocketAddr, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}
