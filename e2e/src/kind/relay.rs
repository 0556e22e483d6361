//! The way from the host's network to the API server in the private one: a TCP port here, a unix socket in a folder that
//! both sides can open, a TCP port there. Each half is a thread with a runtime of its own, because what surrounds it waits
//! for processes.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    thread,
};

use anyhow::Context;
use tokio::{
    net::{TcpListener, UnixListener},
    runtime::{Builder, Runtime},
};

use super::settings::remove;
use crate::cluster::forward;

/// Takes the port on 127.0.0.1; every connection made to it goes to the unix socket at `to`.
pub fn port_to_socket(port: u16, to: &Path) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let listener = runtime
        .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
        .with_context(|| format!("listen on 127.0.0.1:{port}"))?;
    run(runtime, forward::tcp_to_unix(listener, to.to_owned()));
    Ok(())
}

/// Takes the unix socket at `at`; every connection made to it goes to the port on 127.0.0.1.
pub fn socket_to_port(at: &Path, port: u16) -> anyhow::Result<()> {
    remove(at)?;
    let runtime = runtime()?;
    let listener = runtime
        .block_on(async { UnixListener::bind(at) })
        .with_context(|| format!("listen on {}", at.display()))?;
    run(
        runtime,
        forward::unix_to_tcp(listener, SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
    );
    Ok(())
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")
}

/// Ends with the process.
fn run(runtime: Runtime, relay: impl Future<Output = ()> + Send + 'static) {
    thread::spawn(move || runtime.block_on(relay));
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Shutdown, TcpListener, TcpStream},
    };

    use super::*;

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    }

    #[test]
    fn bytes_travel_through_both_halves_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        socket_to_port(&socket, server.local_addr().unwrap().port()).unwrap();
        let port = free_port();
        port_to_socket(port, &socket).unwrap();
        thread::spawn(move || {
            let (mut connection, _) = server.accept().unwrap();
            let mut question = String::new();
            connection.read_to_string(&mut question).unwrap();
            write!(connection, "{question}!").unwrap();
        });
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "hello!");
    }

    #[test]
    fn port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = port_to_socket(port, Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains(&port.to_string()), "{error}");
    }
}
