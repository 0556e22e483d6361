//! From the socket's bytes to ttrpc frames, and back: multiplexer and ttrpc together.
//!
//! Total on any input: what is malformed is an error that closes the connection. Memory is bounded by one incomplete frame of each
//! connection (4 MiB), and only by what has arrived of it.

use super::{
    mux::{self, Channel, Demux},
    ttrpc::{Assembler, Frame},
};

/// What a well-kept runtime does not send.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than the protocol allows.
    #[error("a {what} of {length} bytes exceeds the protocol's limit")]
    Oversized {
        /// `frame` or `message`.
        what: &'static str,
        /// Its length.
        length: u64,
    },
    /// Not the message that it should be.
    #[error("{what} cannot be read")]
    Malformed {
        /// Which message.
        what: String,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// More pods and containers than a node can have.
    #[error("more than {limit} pods and containers in one list")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// Reads what the runtime sends.
#[derive(Debug, Default)]
pub struct Incoming {
    demux: Demux,
    plugin: Assembler,
    runtime: Assembler,
}

impl Incoming {
    /// Takes bytes of the socket; returns the frames that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<(Channel, Frame)>, WireError> {
        let Self {
            demux,
            plugin,
            runtime,
        } = self;
        let (mut all, mut frames) = (Vec::new(), Vec::new());
        demux.feed(bytes, |channel, payload| {
            let assembler = match channel {
                Channel::Plugin => &mut *plugin,
                Channel::Runtime => &mut *runtime,
            };
            assembler.feed(payload, &mut frames)?;
            all.extend(frames.drain(..).map(|frame| (channel, frame)));
            Ok(())
        })?;
        Ok(all)
    }

    /// Whether the other side ended in the middle of a frame.
    pub fn is_midway(&self) -> bool {
        self.demux.is_midway() || self.plugin.is_midway() || self.runtime.is_midway()
    }
}

/// The bytes of a frame on a connection.
pub fn outgoing(channel: Channel, frame: &Frame) -> Result<Vec<u8>, WireError> {
    Ok(mux::encode(channel, &frame.encode()?))
}

/// Reads a message; `what` names it in the error.
pub fn decode<M: prost::Message + Default>(what: &str, bytes: &[u8]) -> Result<M, WireError> {
    M::decode(bytes).map_err(|source| WireError::Malformed {
        what: what.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::messages, *};

    #[test]
    fn both_connections_are_read_apart_though_their_frames_are_mixed() {
        let (a, b) = (
            Frame::response(1, vec![1; 5000]),
            Frame::response(1, vec![2; 10]),
        );
        let long = outgoing(Channel::Plugin, &a).unwrap();
        let short = outgoing(Channel::Runtime, &b).unwrap();
        let (first, second) = long.split_at(mux::HEADER + 4096);
        let mut incoming = Incoming::default();
        let mixed = [first, &short, second].concat();
        assert_eq!(
            incoming.feed(&mixed).unwrap(),
            [(Channel::Runtime, b), (Channel::Plugin, a)]
        );
        assert!(!incoming.is_midway());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000), cut in 1_usize..200) {
            let mut incoming = Incoming::default();
            for part in bytes.chunks(cut) {
                let Ok(frames) = incoming.feed(part) else { break };
                for (_, frame) in frames {
                    prop_assert!(frame.data.len() <= bytes.len());
                }
            }
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _read = decode::<messages::Request>("Request", &bytes).is_ok();
            let _read = decode::<messages::SynchronizeRequest>("Synchronize", &bytes).is_ok();
            let _read = decode::<messages::ContainerRequest>("CreateContainer", &bytes).is_ok();
            let _read = decode::<messages::StateChangeEvent>("StateChange", &bytes).is_ok();
        }
    }
}
