//! An open-loop load generator without coordinated omission.
//!
//! Requests are sent at the times of a Poisson process whatever the service does, and each latency counts from the time the request was
//! *due*, not from when a connection was free: a stall of the service shows in full. The rate is changed over HTTP while it runs, so that one process drives a
//! whole scenario; every change starts a new histogram (a *phase*).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use clap::Args;
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, watch};

/// Flags of `katalyst-workload load`.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Address of the service, `IP:PORT`.
    #[arg(long)]
    pub target: SocketAddr,
    /// Requests a second at the start.
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// Address of the control and statistics endpoint.
    #[arg(long, default_value = "0.0.0.0:8081")]
    pub listen: SocketAddr,
    /// Requests in flight at most; beyond it a request is counted as failed when it is due.
    #[arg(long, default_value_t = 512)]
    pub in_flight: usize,
    /// Seed of the arrival times.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Statistics of the phase that runs, as `/stats` gives them. Times in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Stats {
    /// Requests a second asked for.
    pub rate: f64,
    /// Seconds since the phase began.
    pub seconds: f64,
    /// Requests answered.
    pub answered: u64,
    /// Requests that failed or found too many in flight.
    pub failed: u64,
    /// Median latency of the phase.
    pub p50_ms: f64,
    /// 99th percentile of the phase.
    pub p99_ms: f64,
    /// Highest latency of the phase.
    pub max_ms: f64,
    /// 99th percentile of the last whole second.
    pub recent_p99_ms: f64,
}

struct Phase {
    began: Instant,
    histogram: Histogram<u64>,
    failed: u64,
    second: Histogram<u64>,
    second_began: Instant,
    recent_p99: u64,
}

impl Phase {
    fn new() -> anyhow::Result<Self> {
        // Microseconds up to one minute, three digits.
        let histogram = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        Ok(Self {
            began: Instant::now(),
            second: histogram.clone(),
            histogram,
            failed: 0,
            second_began: Instant::now(),
            recent_p99: 0,
        })
    }

    fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        self.histogram.saturating_record(micros);
        self.second.saturating_record(micros);
        if self.second_began.elapsed() >= Duration::from_secs(1) {
            self.recent_p99 = self.second.value_at_quantile(0.99);
            self.second.reset();
            self.second_began = Instant::now();
        }
    }

    fn stats(&self, rate: f64) -> Stats {
        let ms = |micros: u64| micros as f64 / 1000.0;
        Stats {
            rate,
            seconds: self.began.elapsed().as_secs_f64(),
            answered: self.histogram.len(),
            failed: self.failed,
            p50_ms: ms(self.histogram.value_at_quantile(0.5)),
            p99_ms: ms(self.histogram.value_at_quantile(0.99)),
            max_ms: ms(self.histogram.max()),
            recent_p99_ms: ms(self.recent_p99),
        }
    }
}

struct Generator {
    target: SocketAddr,
    rate: watch::Sender<f64>,
    phase: Mutex<Phase>,
    idle: Mutex<Vec<TcpStream>>,
}

/// Generates load until the process is told to end.
pub async fn run(args: LoadArgs) -> anyhow::Result<()> {
    let (rate, mut rates) = watch::channel(args.rate);
    let generator = Arc::new(Generator {
        target: args.target,
        rate,
        phase: Mutex::new(Phase::new()?),
        idle: Mutex::new(Vec::new()),
    });
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/stats", get(stats))
        .route("/rate", post(set_rate))
        .with_state(Arc::clone(&generator));
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("listen on {}", args.listen))?;
    let control = tokio::spawn(async move { axum::serve(listener, router).await });
    println!(
        "open-loop load on {}, {} requests a second; control on {}",
        args.target, args.rate, args.listen
    );

    let in_flight = Arc::new(Semaphore::new(args.in_flight));
    let mut random = StdRng::seed_from_u64(args.seed);
    let mut due = tokio::time::Instant::now();
    while !control.is_finished() {
        let rate = *rates.borrow_and_update();
        if rate <= 0.0 {
            rates.changed().await?;
            due = tokio::time::Instant::now();
            continue;
        }
        due += Duration::from_secs_f64(exponential(&mut random, rate));
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            changed = rates.changed() => { changed?; due = tokio::time::Instant::now(); continue; }
        }
        match Arc::clone(&in_flight).try_acquire_owned() {
            Ok(permit) => {
                let generator = Arc::clone(&generator);
                tokio::spawn(async move {
                    generator.one(due.into_std()).await;
                    drop(permit);
                });
            }
            Err(_) => generator.phase.lock().await.failed += 1,
        }
    }
    control.await??;
    Ok(())
}

/// Seconds to the next arrival of a Poisson process.
fn exponential(random: &mut StdRng, rate: f64) -> f64 {
    let uniform: f64 = random.random();
    // 1 - uniform is in (0, 1]: the logarithm is finite.
    -(1.0 - uniform).ln() / rate
}

impl Generator {
    async fn one(&self, due: Instant) {
        let idle = self.idle.lock().await.pop();
        let answer = tokio::time::timeout(Duration::from_secs(30), self.exchange(idle)).await;
        let mut phase = self.phase.lock().await;
        // A request that was due before this phase belongs to the one before.
        if due < phase.began {
            return;
        }
        match answer {
            Ok(Ok(())) => phase.record(due.elapsed()),
            Ok(Err(_)) | Err(_) => phase.failed += 1,
        }
    }

    async fn exchange(&self, idle: Option<TcpStream>) -> anyhow::Result<()> {
        let mut stream = if let Some(stream) = idle {
            stream
        } else {
            let stream = TcpStream::connect(self.target).await?;
            stream.set_nodelay(true)?;
            stream
        };
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: service\r\n\r\n")
            .await?;
        read_answer(&mut stream).await?;
        self.idle.lock().await.push(stream);
        Ok(())
    }
}

/// Reads one answer with a `content-length`.
async fn read_answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut seen = Vec::with_capacity(512);
    loop {
        let mut chunk = [0u8; 512];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            bail!("the service closed the connection");
        }
        seen.extend(chunk.iter().take(read));
        let text = String::from_utf8_lossy(&seen);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = content_length(head).context("an answer without content-length")?;
            if !head.starts_with("HTTP/1.1 200") {
                bail!(
                    "the service answered {}",
                    head.lines().next().unwrap_or_default()
                );
            }
            if body.len() >= length {
                return Ok(());
            }
        }
    }
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })
}

async fn stats(State(generator): State<Arc<Generator>>) -> axum::Json<Stats> {
    let rate = *generator.rate.borrow();
    axum::Json(generator.phase.lock().await.stats(rate))
}

#[derive(Deserialize)]
struct Rate {
    rps: f64,
}

/// Sets the rate, starts a new phase and answers with the statistics of the one that ended.
async fn set_rate(
    State(generator): State<Arc<Generator>>,
    Query(new): Query<Rate>,
    // Read to its end, though nothing is in it: a server that answers before closes the connection under a proxy's pen.
    _body: axum::body::Bytes,
) -> Result<axum::Json<Stats>, String> {
    if !new.rps.is_finite() || new.rps < 0.0 {
        return Err(format!("rps {} is not a rate", new.rps));
    }
    let mut phase = generator.phase.lock().await;
    let ended = phase.stats(*generator.rate.borrow());
    *phase = Phase::new().map_err(|error| error.to_string())?;
    drop(phase);
    generator.rate.send_replace(new.rps);
    Ok(axum::Json(ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_the_asked_mean() {
        let mut random = StdRng::seed_from_u64(7);
        let mean = (0..20_000)
            .map(|_| exponential(&mut random, 100.0))
            .sum::<f64>()
            / 20_000.0;
        assert!((mean - 0.01).abs() < 0.0005, "{mean}");
    }

    #[test]
    fn content_length_is_found_in_any_case() {
        assert_eq!(
            content_length("HTTP/1.1 200 OK\r\nContent-Length: 3"),
            Some(3)
        );
        assert_eq!(content_length("HTTP/1.1 200 OK"), None);
    }

    #[test]
    fn a_phase_reports_percentiles_in_milliseconds() {
        let mut phase = Phase::new().unwrap();
        for _ in 0..99 {
            phase.record(Duration::from_millis(1));
        }
        phase.record(Duration::from_millis(100));
        let stats = phase.stats(10.0);
        assert_eq!(stats.answered, 100);
        assert!((stats.p50_ms - 1.0).abs() < 0.01, "{stats:?}");
        assert!(stats.max_ms >= 99.0, "{stats:?}");
    }
}
