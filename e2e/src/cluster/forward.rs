//! Carries connections between a TCP port and a unix socket, which is how the API server is reached from outside
//! of its network namespace.

use std::{future::Future, io, net::SocketAddr, path::PathBuf};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

/// Carries every connection of `listener` to the unix socket `target`.
pub(crate) async fn tcp_to_unix(listener: TcpListener, target: PathBuf) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => carry(stream, UnixStream::connect(target.clone())),
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Carries every connection of `listener` to `target`.
pub(super) async fn tcp_to_tcp(listener: TcpListener, target: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => carry(stream, TcpStream::connect(target)),
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Carries every connection of `listener` to `target`.
pub(crate) async fn unix_to_tcp(listener: UnixListener, target: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => carry(stream, TcpStream::connect(target)),
            Err(error) => pause_after(&error).await,
        }
    }
}

fn carry<A, B>(mut client: A, connect: impl Future<Output = io::Result<B>> + Send + 'static)
where
    A: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        // A target that is away, or a side that hangs up, ends this connection and nothing else.
        if let Ok(mut server) = connect.await {
            drop(copy_bidirectional(&mut client, &mut server).await);
        }
    });
}

/// Accepting fails when files run out; trying again at once would only burn the processor.
async fn pause_after(error: &io::Error) {
    eprintln!("forwarding: {error}");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_travel_both_ways_over_both_hops() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo_address = echo.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = echo.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
        tokio::spawn(unix_to_tcp(
            UnixListener::bind(&socket).unwrap(),
            echo_address,
        ));
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front_address = front.local_addr().unwrap();
        tokio::spawn(tcp_to_unix(front, socket));
        let mut client = TcpStream::connect(front_address).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "ping");
    }
}
