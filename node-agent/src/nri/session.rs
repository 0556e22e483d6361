//! One connection to the runtime, from registration to its end.
//!
//! Order of events (`pkg/adaptation` and `pkg/stub` of containerd/nri): the plugin calls RegisterPlugin; the runtime calls Configure, then
//! Synchronize (in parts where the list is long), then one method for each subscribed event. Requests are answered in their order, each within
//! its budget: a runtime waits 2 s (`plugin_request_timeout`), then drops the plugin and creates the container without it.
//!
//! Only a container that must not get its devices is answered with an error, which fails its creation. What cannot be read at all ends the connection, and the
//! next one starts with a fresh list.

use std::{io, time::Duration};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::{
    answers::Answers,
    messages as wire,
    mux::Channel,
    ttrpc::{self, Frame},
    wire::{Incoming, WireError, decode, outgoing},
};

/// The runtime's side of the socket.
const RUNTIME_SERVICE: &str = "nri.pkg.api.v1alpha1.Runtime";
/// NRI version that the messages follow.
const NRI_VERSION: &str = "v0.12.3";

/// How long the runtime may take to accept a registration. It takes plugins one after the other, each for up to 7 s by default.
const REGISTRATION: Duration = Duration::from_secs(30);
/// How long the socket may refuse to take an answer.
const WRITE: Duration = Duration::from_secs(2);
/// Who the plugin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name among the runtime's plugins.
    pub name: String,
    /// Two digits: place in the order in which plugins are asked.
    pub index: String,
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The agent stops.
    #[error("the agent stops")]
    Stopping,
    /// The runtime closed it: it stops, or an answer came too late for it.
    #[error("the runtime closed the connection")]
    Closed,
    /// It closed it in the middle of a message.
    #[error("the runtime closed the connection in the middle of a message")]
    Torn,
    /// It did not take the registration.
    #[error("the runtime refused the registration: {0}")]
    Refused(String),
    /// It did not answer the registration.
    #[error("the runtime did not answer the registration within {} s", REGISTRATION.as_secs())]
    Unanswered,
    /// It does not take answers.
    #[error("the runtime does not read answers")]
    Stuck,
    /// The socket failed.
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    /// What it sent is not NRI.
    #[error("the runtime sent what is not NRI")]
    Wire(#[from] WireError),
}

/// A connection at work.
#[derive(Debug)]
pub struct Session<'a, S> {
    stream: S,
    answers: Answers<'a>,
    registered: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    /// On a connected stream.
    pub fn new(stream: S, answers: Answers<'a>) -> Self {
        Self {
            stream,
            answers,
            registered: false,
        }
    }

    /// Registers and answers until the connection ends.
    pub async fn run(mut self, identity: &Identity, stopping: &CancellationToken) -> End {
        let ended = tokio::select! {
            () = stopping.cancelled() => return End::Stopping,
            ended = self.serve(identity) => ended,
        };
        match ended {
            Ok(end) | Err(end) => end,
        }
    }

    async fn serve(&mut self, identity: &Identity) -> Result<End, End> {
        let register = wire::RegisterPluginRequest {
            plugin_name: identity.name.clone(),
            plugin_idx: identity.index.clone(),
            nri_version: NRI_VERSION.to_owned(),
        };
        let call = Frame::request(1, RUNTIME_SERVICE, "RegisterPlugin", &register);
        self.send(Channel::Runtime, &call).await?;
        let deadline = tokio::time::Instant::now() + REGISTRATION;
        let mut incoming = Incoming::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = if self.registered {
                self.stream.read(&mut buffer).await
            } else {
                tokio::time::timeout_at(deadline, self.stream.read(&mut buffer))
                    .await
                    .map_err(|_elapsed| End::Unanswered)?
            };
            let taken = match read {
                Ok(0) if incoming.is_midway() => return Ok(End::Torn),
                Ok(0) => return Ok(End::Closed),
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(End::Closed);
                }
                Err(error) => return Err(error.into()),
            };
            let frames = incoming.feed(buffer.get(..taken).unwrap_or_default())?;
            for (channel, frame) in frames {
                match (channel, frame.kind) {
                    (Channel::Runtime, ttrpc::RESPONSE) => self.accept(&frame)?,
                    (Channel::Plugin, ttrpc::REQUEST) => {
                        let answer = self.answers.answer(&frame).await?;
                        self.send(Channel::Plugin, &answer).await?;
                    }
                    // Other kinds belong to streams, which NRI does not use.
                    _ => {}
                }
            }
        }
    }

    async fn send(&mut self, channel: Channel, frame: &Frame) -> Result<(), End> {
        let bytes = outgoing(channel, frame)?;
        match tokio::time::timeout(WRITE, self.stream.write_all(&bytes)).await {
            Ok(written) => Ok(written?),
            Err(_elapsed) => Err(End::Stuck),
        }
    }

    /// The answer to our only call.
    fn accept(&mut self, frame: &Frame) -> Result<(), End> {
        let response: wire::Response = decode("RegisterPlugin's response", &frame.data)?;
        match response.status {
            Some(status) if status.code != 0 => Err(End::Refused(status.message)),
            _ => {
                self.registered = true;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
