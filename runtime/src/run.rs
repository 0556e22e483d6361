//! From `main` to the exit code.

use std::{panic::AssertUnwindSafe, process::ExitCode, time::Duration};

use futures::FutureExt;

use crate::{
    BoxError, Component, Outcome, Process, client,
    flags::{RuntimeArgs, ShutdownArgs},
    logging, panics,
    shutdown::{chain, panic_text},
    signals::StopSignals,
};

/// Time for blocking threads to return once everything else has ended; whatever is left then is cut off.
const THREAD_LIMIT: Duration = Duration::from_millis(500);

/// Runs a component to its end and returns the process's exit code: 0 after an orderly stop with nothing lost, 1
/// otherwise.
///
/// Sets up the TLS provider, logging, the panic hook, signal handlers and a multi-threaded tokio runtime, then awaits
/// `start`, which connects, spawns its loops with [`crate::Tasks::spawn`] and returns; the process is not ready before
/// that. If the stop begins while `start` still waits for something, `start` is dropped. SIGTERM or SIGINT begin the
/// stop; a second one ends the process at once.
pub fn main_with<F, Fut, E>(component: Component, args: &RuntimeArgs, start: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    match supervise(component, args, start) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Logging itself may be what failed.
            eprintln!("{}: {}", component.name, chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn supervise<F, Fut, E>(
    component: Component,
    args: &RuntimeArgs,
    start: F,
) -> Result<bool, BoxError>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    client::install_crypto();
    let log = logging::init(&args.log)?;
    let process = Process::new(component, log);
    panics::install(&process.tasks);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let clean = runtime.block_on(async {
        let mut signals = StopSignals::install()?;
        let Component { name, version, .. } = component;
        tracing::info!(component = name, version, "starting");
        let stopping = process.tasks.stopping();
        let started = async {
            begin(&process, start).await;
            stopping.cancelled().await;
        };
        let stopped = async {
            tokio::select! {
                signal = signals.next() => {
                    process.health.close("shutting down");
                    tracing::info!(signal, "stopping");
                    wait_unready(&process, &args.shutdown, &mut signals).await
                }
                () = stopping.cancelled() => true,
            }
        };
        // `start` is dropped, wherever it waits, when a signal has begun the stop.
        let orderly = tokio::select! {
            () = started => true,
            orderly = stopped => orderly,
        };
        process.health.close("shutting down");
        if !orderly {
            return Ok::<bool, BoxError>(false);
        }
        tokio::select! {
            outcome = process.tasks.drain(args.shutdown.drain_timeout) => Ok(conclude(&outcome)),
            signal = signals.next() => {
                abandon(&process, signal);
                Ok(false)
            }
        }
    });
    runtime.shutdown_timeout(THREAD_LIMIT);
    clean
}

/// Awaits the component's start; until it returns the process is not ready.
async fn begin<F, Fut, E>(process: &Process, start: F)
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let gate = process.health.gate("start");
    let starting = AssertUnwindSafe(async { start(process.clone()).await });
    match starting.catch_unwind().await {
        Ok(Ok(())) => gate.open(),
        Ok(Err(error)) => process.tasks.fail("start", error),
        Err(panic) => process.tasks.fail("start", panic_text(panic.as_ref())),
    }
}

/// Keeps serving while load balancers take note; cut short by a failure. False on a second signal.
async fn wait_unready(process: &Process, args: &ShutdownArgs, signals: &mut StopSignals) -> bool {
    let stopping = process.tasks.stopping();
    tokio::select! {
        () = tokio::time::sleep(args.shutdown_delay) => true,
        () = stopping.cancelled() => true,
        signal = signals.next() => {
            abandon(process, signal);
            false
        }
    }
}

/// Says what a second signal cuts off.
fn abandon(process: &Process, signal: &str) {
    let running = process.tasks.running();
    tracing::error!(signal, ?running, "second signal: ending at once");
}

fn conclude(outcome: &Outcome) -> bool {
    if outcome.is_clean() {
        tracing::info!("stopped");
    } else {
        let Outcome {
            failures,
            unfinished,
        } = outcome;
        tracing::error!(?failures, ?unfinished, "stopped with failures");
    }
    outcome.is_clean()
}
