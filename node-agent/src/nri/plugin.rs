//! Keeps the plugin connected: dials, serves a session, and dials again.
//!
//! A runtime without NRI, or one that is down, is a notice and not an error; the reconciler places pods then. One process of a node is the
//! plugin ([`super::single`]).

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use katalyst_runtime::{BoxError, backoff::Backoff};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::{
    answers::Answers,
    bounded::BoundedPlacer,
    live::Live,
    session::{End, Identity, Session},
    single::{Claim, Single},
    status::Status,
};

/// Pauses between attempts. Every container that the runtime creates in such a pause starts unplaced, so they stay short.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
/// A connection that lasted this long was a good one: the pauses start over.
const GOOD: Duration = Duration::from_secs(10);

/// How the plugin reaches the runtime.
#[derive(Debug, Clone)]
pub struct PluginConfig {
    /// The runtime's socket.
    pub socket: PathBuf,
    /// Held by the node's one plugin.
    pub lock: PathBuf,
    /// Name and index.
    pub identity: Identity,
    /// Time for an answer.
    pub budget: Duration,
}

/// Serves one connection after the other until `stopping`.
pub async fn run(
    config: PluginConfig,
    placer: BoundedPlacer,
    status: Status,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let mut pauses = RETRY.start();
    let Some(_single) = claim(&config, &status, &stopping).await else {
        return Ok(());
    };
    let mut live = Live::default();
    loop {
        let began = Instant::now();
        let end = match UnixStream::connect(&config.socket).await {
            Ok(stream) => {
                let answers = Answers::new(&placer, &status, config.budget, &mut live);
                let session = Session::new(stream, answers);
                let end = session.run(&config.identity, &stopping).await;
                if matches!(end, End::Stopping) {
                    return Ok(());
                }
                crate::chain(&end)
            }
            Err(error) => format!(
                "no runtime at {} ({})",
                config.socket.display(),
                error.kind()
            ),
        };
        status.disconnected(&end);
        if began.elapsed() >= GOOD {
            pauses.reset();
        }
        let pause = pauses.next_delay(&mut rand::rng());
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Waits until this process is the plugin; `None` when the agent stops first.
async fn claim(
    config: &PluginConfig,
    status: &Status,
    stopping: &CancellationToken,
) -> Option<Single> {
    let mut pauses = RETRY.start();
    loop {
        match Single::claim(&config.lock) {
            Ok(Claim::Held(single)) => return Some(single),
            Ok(Claim::Taken(who)) => status.excluded(&who),
            Err(error) => status.disconnected(&format!("{}: {error}", config.lock.display())),
        }
        tokio::select! {
            () = stopping.cancelled() => return None,
            () = tokio::time::sleep(pauses.next_delay(&mut rand::rng())) => {}
        }
    }
}

#[cfg(test)]
mod tests;
