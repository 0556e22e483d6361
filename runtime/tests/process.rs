//! Starts this test program again as a component, and checks signals, panics and exit codes from outside.
#![expect(clippy::unwrap_used, reason = "a test program: a failed step ends it")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, ChildStderr, Command, ExitCode, Stdio},
    sync::mpsc::{RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use clap::Parser;
use katalyst_runtime::{BoxError, Component, Process, flags::RuntimeArgs, main_with};
use rustix::process::{Pid, Signal};

const COMPONENT: Component = Component {
    name: "katalyst-test",
    version: "1.2.3",
    admin_addr: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
};

const SCENARIO: &str = "KATALYST_TEST_SCENARIO";

/// No step of a test takes longer than this, however loaded the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    runtime: RuntimeArgs,
}

fn main() -> ExitCode {
    if let Ok(scenario) = std::env::var(SCENARIO) {
        let args = Cli::parse().runtime;
        return main_with(COMPONENT, &args.clone(), |process| {
            component(process, args, scenario)
        });
    }
    let tests: [(&str, fn()); 9] = [
        (
            "sigterm_drains_and_exits_zero",
            sigterm_drains_and_exits_zero,
        ),
        ("a_second_signal_ends_at_once", a_second_signal_ends_at_once),
        ("a_task_error_exits_non_zero", a_task_error_exits_non_zero),
        (
            "a_panic_in_a_task_exits_non_zero",
            a_panic_in_a_task_exits_non_zero,
        ),
        (
            "a_panic_on_a_foreign_thread_exits_non_zero",
            a_panic_on_a_foreign_thread_exits_non_zero,
        ),
        (
            "a_failed_start_exits_non_zero",
            a_failed_start_exits_non_zero,
        ),
        (
            "a_start_that_waits_can_be_stopped",
            a_start_that_waits_can_be_stopped,
        ),
        (
            "stuck_work_is_abandoned_and_named",
            stuck_work_is_abandoned_and_named,
        ),
        (
            "the_admin_server_answers_while_draining_is_delayed",
            the_admin_server_answers_while_draining_is_delayed,
        ),
    ];
    // Called by `cargo test` with the usual filter and options.
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let list = std::env::args().any(|arg| arg == "--list");
    for (name, test) in tests {
        if filter
            .as_ref()
            .is_some_and(|filter| !name.contains(filter.as_str()))
        {
            continue;
        }
        if list {
            println!("{name}: test");
            continue;
        }
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// What the child process does.
async fn component(process: Process, args: RuntimeArgs, scenario: String) -> Result<(), BoxError> {
    process
        .serve_admin(&args.admin, axum::Router::new())
        .await?;
    let stopping = process.tasks.stopping();
    match scenario.as_str() {
        "steady" => process.tasks.spawn("steady", async move {
            stopping.cancelled().await;
            tracing::info!("in-flight work finished");
            Ok::<(), BoxError>(())
        }),
        "stuck" => process
            .tasks
            .spawn("stuck", std::future::pending::<Result<(), BoxError>>()),
        "task-error" => process.tasks.spawn("loop", async {
            Err::<(), BoxError>("no such cgroup".into())
        }),
        "task-panic" => process.tasks.spawn("loop", async {
            assert!(std::hint::black_box(false), "seven is not eight");
            Ok::<(), BoxError>(())
        }),
        "thread-panic" => {
            let _joined =
                std::thread::spawn(|| assert!(std::hint::black_box(false), "thread fell")).join();
        }
        "start-error" => return Err("CRD missing".into()),
        "start-waits" => {
            tracing::info!("waiting in start");
            std::future::pending::<()>().await;
        }
        other => return Err(format!("unknown scenario {other}").into()),
    }
    tracing::info!("set up");
    Ok(())
}

struct Started {
    child: Child,
    lines: BufReader<ChildStderr>,
    log: String,
    watchdog: Sender<()>,
}

impl Started {
    fn new(scenario: &str, args: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(args)
            .env(SCENARIO, scenario)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self {
            watchdog: watchdog(Pid::from_child(&child)),
            child,
            lines,
            log: String::new(),
        }
    }

    /// Reads log lines until one holds `text`, and returns that line.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(
                read > 0,
                "the process ended before it logged {text:?}:\n{}",
                self.log
            );
            self.log.push_str(&line);
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit code (none after a signal) and everything logged.
    fn end(mut self) -> (Option<i32>, String) {
        self.lines.read_to_string(&mut self.log).unwrap();
        let status = self.child.wait().unwrap();
        drop(self.watchdog);
        (status.code(), self.log)
    }
}

/// Kills `pid` unless the returned handle is dropped within [`PATIENCE`], so that a stuck child fails its test.
fn watchdog(pid: Pid) -> Sender<()> {
    let (handle, dropped) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if dropped.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            rustix::process::kill_process(pid, Signal::KILL).unwrap();
        }
    });
    handle
}

fn sigterm_drains_and_exits_zero() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut started = Started::new("steady", &[]);
        started.wait_for("set up");
        started.signal(signal);
        let (code, log) = started.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("in-flight work finished"), "{log}");
    }
}

fn a_second_signal_ends_at_once() {
    let mut started = Started::new("stuck", &["--drain-timeout=1h"]);
    started.wait_for("set up");
    started.signal(Signal::TERM);
    started.wait_for("stopping");
    started.signal(Signal::TERM);
    let (code, log) = started.end();
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("second signal") && log.contains("stuck"),
        "{log}"
    );
}

fn a_task_error_exits_non_zero() {
    let (code, log) = Started::new("task-error", &[]).end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("loop: no such cgroup"), "{log}");
}

fn a_panic_in_a_task_exits_non_zero() {
    let (code, log) = Started::new("task-panic", &[]).end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("seven is not eight"), "{log}");
    assert!(log.contains("tests/process.rs:"), "{log}");
}

fn a_panic_on_a_foreign_thread_exits_non_zero() {
    let (code, log) = Started::new("thread-panic", &[]).end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("thread fell"), "{log}");
}

fn a_failed_start_exits_non_zero() {
    let (code, log) = Started::new("start-error", &["--log-format=json"]).end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("start: CRD missing"), "{log}");
    assert!(
        log.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "{log}"
    );
    let (code, log) = Started::new("steady", &["--log-level=a=b=c"]).end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("a=b=c"), "{log}");
}

fn a_start_that_waits_can_be_stopped() {
    let mut started = Started::new("start-waits", &[]);
    started.wait_for("waiting in start");
    started.signal(Signal::TERM);
    let (code, log) = started.end();
    assert_eq!(code, Some(0), "{log}");
}

fn stuck_work_is_abandoned_and_named() {
    let mut started = Started::new("stuck", &["--drain-timeout=10ms"]);
    started.wait_for("set up");
    started.signal(Signal::TERM);
    let (code, log) = started.end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("did not finish in time"), "{log}");
}

fn the_admin_server_answers_while_draining_is_delayed() {
    let mut started = Started::new("steady", &["--shutdown-delay=1h"]);
    let line = started.wait_for("admin server listens");
    let addr = line.trim().rsplit_once("address=").unwrap().1.to_owned();
    started.wait_for("set up");
    let deadline = Instant::now() + PATIENCE;
    while !get(&addr, "/readyz").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "never ready");
    }
    let metrics = get(&addr, "/metrics");
    assert!(
        metrics.contains("katalyst_build_info{component=\"katalyst-test\",version=\"1.2.3\"} 1"),
        "{metrics}"
    );
    started.signal(Signal::TERM);
    started.wait_for("stopping");
    let ready = get(&addr, "/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("shutting down"),
        "{ready}"
    );
    assert!(get(&addr, "/livez").starts_with("HTTP/1.1 200"));
    started.signal(Signal::TERM);
    let (code, log) = started.end();
    assert_eq!(code, Some(1), "{log}");
}

fn get(addr: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
