//! Serving over TLS to clients that show a certificate, with files that may be replaced while the process runs.
//!
//! The certificate, its key and the authority of the clients are PEM files, usually a mounted Secret. They are read again every few
//! seconds and compared byte by byte: the time of a mounted Secret's file says little, because kubelet swaps a link above it. A new
//! set takes effect for the next handshake; connections that stand are left alone. A set that cannot be used (half written, a key of
//! another certificate) changes nothing, is logged once and counted in `katalyst_tls_reloads_total{result="error"}`.
//!
//! Without an authority of the clients nothing is served: a certificate of ours alone would keep secrets, but let anybody act.
//! Whoever holds a certificate of that authority may use every route, so it should sign for these clients only.

mod files;
mod listener;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use clap::Args;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::flags::duration;
use crate::{BoxError, Metrics, Process};

pub use files::{Certificates, TlsFiles};
pub use listener::TlsListener;

/// Where to serve over TLS, and with which files.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// The server's certificate chain, PEM. With it the verbs are served over TLS only, to clients with a certificate.
    #[arg(
        long,
        env = "KATALYST_TLS_CERT_FILE",
        value_name = "FILE",
        requires_all = ["tls_key_file", "tls_client_ca_file"]
    )]
    pub tls_cert_file: Option<PathBuf>,
    /// The private key of that certificate, PEM.
    #[arg(
        long,
        env = "KATALYST_TLS_KEY_FILE",
        value_name = "FILE",
        requires = "tls_cert_file"
    )]
    pub tls_key_file: Option<PathBuf>,
    /// The authorities that sign the clients' certificates, PEM. Each certificate of theirs is let in.
    #[arg(
        long,
        env = "KATALYST_TLS_CLIENT_CA_FILE",
        value_name = "FILE",
        requires = "tls_cert_file"
    )]
    pub tls_client_ca_file: Option<PathBuf>,
    /// Address of the TLS port.
    #[arg(
        long,
        env = "KATALYST_TLS_ADDR",
        default_value = "0.0.0.0:10265",
        value_name = "IP:PORT"
    )]
    pub tls_addr: SocketAddr,
    /// How often the three files are looked at.
    #[arg(long, env = "KATALYST_TLS_RELOAD_INTERVAL", default_value = "10s", value_parser = duration)]
    pub tls_reload_interval: Duration,
}

impl TlsArgs {
    /// The files, where TLS is wanted at all.
    pub fn files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            cert: self.tls_cert_file.clone()?,
            key: self.tls_key_file.clone()?,
            client_ca: self.tls_client_ca_file.clone()?,
        })
    }
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("TLS file {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("TLS file {path} holds no usable {what}: {source}")]
    Pem {
        /// The file.
        path: String,
        /// What was looked for.
        what: &'static str,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate and the key do not belong together, or cannot be used.
    #[error("certificate {cert} with key {key} cannot be used: {source}")]
    Pair {
        /// The certificate's file.
        cert: String,
        /// The key's file.
        key: String,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The clients' authority cannot be used.
    #[error("TLS file {path} holds no usable authority: {cause}")]
    Authority {
        /// The file.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// The address is in use or not ours.
    #[error("TLS server cannot listen on {addr}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    /// `ok` or `error`.
    result: &'static str,
}

impl Process {
    /// Listens and serves `router` over TLS until the stop, and keeps the files fresh. Returns the bound address.
    pub async fn serve_tls(
        &self,
        args: &TlsArgs,
        files: TlsFiles,
        router: Router,
    ) -> Result<SocketAddr, TlsError> {
        let certificates = Certificates::load(files)?;
        let addr = args.tls_addr;
        let bind_error = |source| TlsError::Bind { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(bind_error)?;
        let stopping = self.tasks.stopping();
        let listener = TlsListener::new(listener, certificates.clone(), stopping.clone())
            .map_err(bind_error)?;
        let bound = listener.address();
        tracing::info!(address = %bound, "TLS server listens");
        let serving = axum::serve(listener, router)
            .with_graceful_shutdown(stopping.clone().cancelled_owned());
        self.tasks.spawn("TLS server", async move {
            serving.await.map_err(BoxError::from)
        });
        self.tasks.spawn(
            "TLS files",
            keep_fresh(
                certificates,
                args.tls_reload_interval,
                self.metrics.clone(),
                stopping,
            ),
        );
        Ok(bound)
    }
}

/// Looks at the files every `interval` until `stopping`.
async fn keep_fresh(
    certificates: Certificates,
    interval: Duration,
    metrics: Metrics,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let reloads = metrics.add(
        "tls_reloads",
        "Times the TLS files had changed and were read again",
        Family::<ReloadLabels, Counter>::default(),
    );
    let mut told = String::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = tokio::time::sleep(interval) => {}
        }
        match certificates.reload() {
            Ok(false) => {}
            Ok(true) => {
                told.clear();
                tracing::info!("TLS files were replaced; new connections use them");
                reloads.get_or_create(&ReloadLabels { result: "ok" }).inc();
            }
            Err(error) => {
                let text = error.to_string();
                if text != told {
                    tracing::warn!(%error, "new TLS files cannot be used; the old ones stay");
                    told = text;
                }
                reloads
                    .get_or_create(&ReloadLabels { result: "error" })
                    .inc();
            }
        }
    }
}
