//! Byte relays between networks that cannot see each other: a TCP port here, a unix socket in a folder both sides can open, a
//! TCP port there.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    thread,
};

use anyhow::Context;

use super::settings::remove;

/// One end of a relayed connection.
trait Stream: io::Read + io::Write + Send + Sized + 'static {
    fn twin(&self) -> io::Result<Self>;
    fn close(&self, how: Shutdown) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn twin(&self) -> io::Result<Self> {
        self.try_clone()
    }
    fn close(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

impl Stream for UnixStream {
    fn twin(&self) -> io::Result<Self> {
        self.try_clone()
    }
    fn close(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

/// Takes the port on 127.0.0.1; every connection made to it goes to the unix socket at `to`.
pub fn port_to_socket(port: u16, to: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("listen on 127.0.0.1:{port}"))?;
    let to = to.to_owned();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let to: PathBuf = to.clone();
            thread::spawn(move || UnixStream::connect(to).and_then(|other| join(connection, other)));
        }
    });
    Ok(())
}

/// Takes the unix socket at `at`; every connection made to it goes to the port on 127.0.0.1.
pub fn socket_to_port(at: &Path, port: u16) -> anyhow::Result<()> {
    remove(at)?;
    let listener =
        UnixListener::bind(at).with_context(|| format!("listen on {}", at.display()))?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || TcpStream::connect(to).and_then(|other| join(connection, other)));
        }
    });
    Ok(())
}

/// Copies both ways until both sides have said all.
fn join<A: Stream, B: Stream>(a: A, b: B) -> io::Result<()> {
    let (a_twin, b_twin) = (a.twin()?, b.twin()?);
    let back = thread::spawn(move || copy(b_twin, a_twin));
    let there = copy(a, b);
    let back = back.join().unwrap_or_else(|_| Err(io::Error::other("a relay thread died")));
    there.and(back)
}

fn copy<A: Stream, B: Stream>(mut from: A, mut to: B) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut to);
    if copied.is_ok() {
        return to.close(Shutdown::Write);
    }
    // One side broke: the other learns it now, not when it next writes.
    from.close(Shutdown::Both).and(to.close(Shutdown::Both))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn bytes_travel_through_both_relays_and_back() {
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
    fn nobody_behind_the_relay_ends_the_connection() {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        port_to_socket(port, &folder.path().join("absent")).unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    }
}
