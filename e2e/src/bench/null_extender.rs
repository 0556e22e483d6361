//! An extender that returns every name it is asked about: what the protocol alone costs kube-scheduler.

use std::net::SocketAddr;

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Flags of `katalyst-e2e null-extender`.
#[derive(Debug, Clone, Args)]
pub struct NullExtenderArgs {
    /// Where it listens.
    #[arg(long, default_value_t = ADDRESS)]
    pub address: SocketAddr,
}

/// Its usual address, inside a test cluster's network.
pub(super) const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 10_299);

/// Of question and answer alike; the names are not even read.
#[derive(Serialize, Deserialize)]
struct Names<'a> {
    #[serde(rename = "NodeNames", borrow)]
    names: &'a RawValue,
}

/// Answers until the process is ended.
pub fn run(args: &NullExtenderArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.address).await?;
        let router = Router::new()
            .route("/filter", post(filter))
            .layer(axum::extract::DefaultBodyLimit::disable());
        axum::serve(listener, router).await?;
        Ok(())
    })
}

async fn filter(body: Bytes) -> (StatusCode, String) {
    match serde_json::from_slice::<Names<'_>>(&body).and_then(|names| serde_json::to_string(&names))
    {
        Ok(answer) => (StatusCode::OK, answer),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_name_comes_back() {
        let question = r#"{"Pod":{},"Nodes":null,"NodeNames":["a", "b"]}"#;
        let (status, answer) = filter(Bytes::from_static(question.as_bytes())).await;
        assert_eq!(
            (status, answer.as_str()),
            (StatusCode::OK, r#"{"NodeNames":["a", "b"]}"#)
        );
        let (status, _) = filter(Bytes::from_static(b"{}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}
