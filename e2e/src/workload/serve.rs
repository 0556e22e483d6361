//! The latency-sensitive service: an HTTP server whose every answer costs a fixed amount of CPU.
//!
//! The work is SHA-256 over a fixed buffer, repeated until `work` iterations are done; with the default it takes about half a
//! millisecond on a current core. It is counted in iterations, not in time, so that a throttled or preempted service gets slower.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use clap::Args;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

/// Flags of `katalyst-workload serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// SHA-256 blocks of 1 KiB hashed for one answer.
    #[arg(long, default_value_t = 400)]
    pub work: u32,
}

struct Service {
    work: u32,
    served: AtomicU64,
}

/// Serves until the process is told to end.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let service = Arc::new(Service {
        work: args.work,
        served: AtomicU64::new(0),
    });
    let router = Router::new()
        .route("/", get(answer))
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/stats",
            get(|State(service): State<Arc<Service>>| async move {
                axum::Json(serde_json::json!({ "served": service.served.load(Ordering::Relaxed) }))
            }),
        )
        .with_state(service);
    let listener = TcpListener::bind(args.listen).await?;
    println!(
        "serving on {}, {} KiB hashed for each answer",
        args.listen, args.work
    );
    axum::serve(listener, router).await?;
    Ok(())
}

async fn answer(State(service): State<Arc<Service>>) -> String {
    let digest = burn(service.work);
    service.served.fetch_add(1, Ordering::Relaxed);
    format!("{digest:02x}\n")
}

/// Hashes `blocks` KiB; the result depends on all of them, so nothing is optimised away.
pub fn burn(blocks: u32) -> u8 {
    let block = [0x5au8; 1024];
    let mut hasher = Sha256::new();
    for _ in 0..blocks {
        hasher.update(block);
    }
    hasher.finalize().first().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_depends_on_every_block() {
        assert_eq!(burn(3), burn(3));
        assert_ne!(burn(0), burn(1));
    }
}
