//! One small question over plain HTTP on loopback.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(10);

/// The JSON that `GET path` gives.
pub fn get(address: SocketAddr, path: &str) -> Result<Value, String> {
    let body = text(address, path)?;
    serde_json::from_str(&body).map_err(|error| format!("GET http://{address}{path}: {error}"))
}

/// The text that `GET path` gives.
pub fn text(address: SocketAddr, path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("GET http://{address}{path}: {error}");
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).map_err(failed)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    // Version 1.0: the answer is not chunked and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) != Some("200") {
        return Err(format!("GET http://{address}{path}: {status}: {body}"));
    }
    Ok(body.to_owned())
}
