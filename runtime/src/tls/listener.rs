//! Accepts connections and hands out those whose handshake succeeded.
//!
//! Handshakes run beside each other, so that a client that connects and says nothing holds up nobody: each may take
//! [`HANDSHAKE_LIMIT`], and no more than [`HANDSHAKES`] run at a time. Above that new connections wait in the kernel's queue.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Certificates;

/// Longest handshake; kube-scheduler gives a whole call 5 s.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Handshakes at a time.
const HANDSHAKES: usize = 128;

type Accepted = (TlsStream<TcpStream>, SocketAddr);

/// A listener for [`axum::serve`].
#[derive(Debug)]
pub struct TlsListener {
    address: SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
}

impl TlsListener {
    /// Begins to accept on `listener`, until `stopping` or until the result is dropped.
    pub fn new(
        listener: TcpListener,
        certificates: Certificates,
        stopping: CancellationToken,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (send, accepted) = mpsc::channel(HANDSHAKES);
        tokio::spawn(accept(listener, certificates, send, stopping));
        Ok(Self { address, accepted })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // Stopped: nothing comes any more, and the server ends by its own signal.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(
    mut listener: TcpListener,
    certificates: Certificates,
    send: mpsc::Sender<Accepted>,
    stopping: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, axum::serve::Listener::accept(&mut listener).await)
        };
        let (slot, (stream, peer)) = tokio::select! {
            () = stopping.cancelled() => return,
            () = send.closed() => return,
            next = next => next,
        };
        let (send, certificates) = (send.clone(), certificates.clone());
        tokio::spawn(async move {
            if let Some(stream) = handshake(stream, peer, &certificates).await {
                // A failure means that the server has ended.
                let _ended = send.send((stream, peer)).await;
            }
            drop(slot);
        });
    }
}

async fn handshake(
    stream: TcpStream,
    peer: SocketAddr,
    certificates: &Certificates,
) -> Option<TlsStream<TcpStream>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let acceptor = TlsAcceptor::from(certificates.current());
    match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake took too long");
            None
        }
    }
}
