//! Batch work with a goodput figure: compression of generated text on as many threads as asked for.
//!
//! `/stats` gives the bytes compressed so far; their growth a second is the goodput. Memory can be held on request, so that
//! reclaimed memory is exercised too.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::routing::get;
use clap::Args;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// Flags of `katalyst-workload batch`.
#[derive(Debug, Clone, Args)]
pub struct BatchArgs {
    /// Threads that compress.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// MiB of memory written once and kept.
    #[arg(long, default_value_t = 0)]
    pub memory_mib: usize,
    /// Address of the statistics endpoint.
    #[arg(long, default_value = "0.0.0.0:8082")]
    pub listen: SocketAddr,
}

/// What `/stats` gives.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq)]
pub struct Goodput {
    /// Bytes compressed since the start.
    pub bytes: u64,
    /// Seconds since the start.
    pub seconds: f64,
}

/// Compresses until the process is told to end.
pub async fn run(args: BatchArgs) -> anyhow::Result<()> {
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let text = sample_text(1 << 20, 1);
    let held: Vec<u8> = held_memory(args.memory_mib);
    for index in 0..args.threads {
        let (done, text) = (Arc::clone(&done), text.clone());
        std::thread::Builder::new()
            .name(format!("compress-{index}"))
            .spawn(move || {
                loop {
                    done.fetch_add(compress(&text) as u64, Ordering::Relaxed);
                }
            })?;
    }
    println!(
        "compressing on {} threads, {} MiB held; statistics on {}",
        args.threads,
        held.len() >> 20,
        args.listen
    );
    let stats = move || {
        let goodput = Goodput {
            bytes: done.load(Ordering::Relaxed),
            seconds: began.elapsed().as_secs_f64(),
        };
        async move { axum::Json(goodput) }
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/stats", get(stats));
    axum::serve(TcpListener::bind(args.listen).await?, router).await?;
    drop(held);
    Ok(())
}

/// Memory with a different byte in each page, so that the kernel must back all of it.
fn held_memory(mib: usize) -> Vec<u8> {
    (0..mib << 20)
        .map(|index| (index >> 12) as u8 | 1)
        .collect()
}

/// Words drawn from a small vocabulary: compresses about as well as prose.
fn sample_text(bytes: usize, seed: u64) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "node", "reclaim", "service", "the", "of", "batch", "memory", "cpu", "quota", "a",
        "pressure", "evict", "pod", "and", "latency", "peak",
    ];
    let mut random = StdRng::seed_from_u64(seed);
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        let word = WORDS
            .get(random.random_range(0..WORDS.len()))
            .copied()
            .unwrap_or_default();
        text.extend_from_slice(word.as_bytes());
        text.push(b' ');
        if random.random_range(0..8) == 0 {
            text.extend_from_slice(random.random_range(0..100_000u32).to_string().as_bytes());
        }
    }
    text
}

/// Compresses `text` once; returns the bytes read.
fn compress(text: &[u8]) -> usize {
    let mut encoder = DeflateEncoder::new(std::io::sink(), Compression::default());
    match encoder
        .write_all(text)
        .and_then(|()| encoder.finish().map(drop))
    {
        Ok(()) => text.len(),
        // A sink does not fail; a failed round simply does not count.
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_same_for_a_seed_and_compressible() {
        let text = sample_text(10_000, 3);
        assert_eq!(text, sample_text(10_000, 3));
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&text).unwrap();
        assert!(encoder.finish().unwrap().len() < text.len() / 2);
        assert_eq!(compress(&text), text.len());
    }
}
