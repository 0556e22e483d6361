//! kube-scheduler's side of the wire: a connection that is kept, one question at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// See the module.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connect")?;
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        Ok(Self {
            stream: BufReader::with_capacity(1 << 16, stream),
        })
    }

    /// Asks, and reads the whole answer. As Go's client: header and body in one buffer, `Content-Length`.
    pub(crate) fn ask(&mut self, verb: &str, body: &[u8]) -> Result<Vec<u8>> {
        let head = format!(
            "POST /{verb} HTTP/1.1\r\nHost: extender\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\n\
             Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
            body.len()
        );
        let mut question = head.into_bytes();
        question.extend_from_slice(body);
        self.stream.get_mut().write_all(&question).context("send")?;
        let (mut status, mut line, mut length) = (String::new(), String::new(), 0);
        loop {
            line.clear();
            let read = self.stream.read_line(&mut line).context("read")?;
            ensure!(read > 0, "{verb}: the server hung up");
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            if status.is_empty() {
                text.clone_into(&mut status);
            }
            if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().context("Content-Length")?;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).context("read")?;
        ensure!(status.contains(" 200 "), "{verb}: {status}");
        Ok(answer)
    }
}

/// The answer to filter, as far as kube-scheduler goes on with it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    node_names: Option<Vec<String>>,
    error: String,
}

/// The names that filter returned.
pub(crate) fn names_of(answer: &[u8]) -> Result<Vec<String>> {
    let kept: Kept = serde_json::from_slice(answer).context("filter's answer")?;
    ensure!(kept.error.is_empty(), "{}", kept.error);
    Ok(kept.node_names.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Score {
    host: String,
    score: i64,
}

/// The node with the highest score.
pub(crate) fn best_of(answer: &[u8]) -> Result<String> {
    let scores: Vec<Score> = serde_json::from_slice(answer).context("prioritize's answer")?;
    let best = scores.into_iter().max_by_key(|score| score.score);
    best.map(|best| best.host)
        .context("prioritize gave nothing")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bound {
    error: String,
}

/// Whether bind succeeded.
pub(crate) fn bound(answer: &[u8]) -> Result<()> {
    let bound: Bound = serde_json::from_slice(answer).context("bind's answer")?;
    ensure!(bound.error.is_empty(), "{}", bound.error);
    Ok(())
}
