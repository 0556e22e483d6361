//! NRI's connection multiplexer: two ttrpc connections over one socket.
//!
//! Source: `pkg/net/multiplex` of containerd/nri. A frame is the connection (4 bytes, big-endian), the length of the payload (4 bytes) and
//! the payload, at most one ttrpc frame. Connection 1 carries calls of the plugin, connection 2 calls of the runtime.
//!
//! What the Go side does not say but needs: its reader hands one frame to one `Read`, and fails when the frame is larger than the
//! buffer of that read. That buffer is 4096 bytes for the start of a ttrpc frame and exactly the rest for what follows. So a ttrpc frame
//! travels as at most two frames here: its first 4096 bytes, and the rest. Cutting it finer overflows the reader's queue of 256 frames.

use super::{ttrpc, wire::WireError};

/// Bytes of a header.
pub const HEADER: usize = 8;
/// Most bytes of payload in a frame.
pub const MAX_PAYLOAD: usize = ttrpc::HEADER + ttrpc::MAX_DATA;
/// Size of the buffer into which the Go side reads the start of a ttrpc frame (`bufio.NewReader`).
const FIRST: usize = 4096;

/// A connection inside the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The runtime calls the plugin.
    Plugin,
    /// The plugin calls the runtime.
    Runtime,
}

impl Channel {
    const fn id(self) -> u32 {
        match self {
            Self::Plugin => 1,
            Self::Runtime => 2,
        }
    }

    const fn from_id(id: u32) -> Option<Self> {
        match id {
            1 => Some(Self::Plugin),
            2 => Some(Self::Runtime),
            _ => None,
        }
    }
}

/// Wraps one encoded ttrpc frame.
pub fn encode(channel: Channel, frame: &[u8]) -> Vec<u8> {
    let (first, rest) = frame.split_at(frame.len().min(FIRST));
    let mut bytes = Vec::with_capacity(frame.len().saturating_add(2 * HEADER));
    for part in [first, rest] {
        if part.is_empty() {
            continue;
        }
        // A ttrpc frame is at most 4 MiB long.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend(channel.id().to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

/// Takes the socket's bytes apart. Holds no payload, only a part of a header.
#[derive(Debug, Default)]
pub struct Demux {
    header: Vec<u8>,
    /// The frame at hand: where its payload goes (nowhere for a connection that does not exist, as on the Go side) and what is left of it.
    frame: Option<(Option<Channel>, usize)>,
}

impl Demux {
    /// Takes bytes and hands parts of payloads to `sink`, in order.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Channel, &[u8]) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let Some((channel, left)) = self.frame else {
                let missing = HEADER.saturating_sub(self.header.len());
                let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
                self.header.extend(taken);
                bytes = rest;
                self.begin()?;
                continue;
            };
            let (payload, rest) = bytes.split_at(left.min(bytes.len()));
            bytes = rest;
            self.frame = match left.saturating_sub(payload.len()) {
                0 => None,
                left => Some((channel, left)),
            };
            if let Some(channel) = channel {
                sink(channel, payload)?;
            }
        }
        Ok(())
    }

    /// Whether a frame has begun and not ended.
    pub fn is_midway(&self) -> bool {
        self.frame.is_some() || !self.header.is_empty()
    }

    fn begin(&mut self) -> Result<(), WireError> {
        let Some((id, length)) = self
            .header
            .split_first_chunk::<4>()
            .and_then(|(id, rest)| Some((id, rest.first_chunk::<4>()?)))
        else {
            return Ok(());
        };
        let id = u32::from_be_bytes(*id);
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_PAYLOAD {
            return Err(WireError::Oversized {
                what: "frame",
                length: length as u64,
            });
        }
        self.header.clear();
        self.frame = (length > 0).then(|| (Channel::from_id(id), length));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(bytes: &[u8], cut: usize) -> Result<Vec<(Channel, Vec<u8>)>, WireError> {
        let (mut demux, mut parts) = (Demux::default(), Vec::<(Channel, Vec<u8>)>::new());
        for piece in bytes.chunks(cut) {
            demux.feed(piece, |channel, bytes| {
                parts.push((channel, bytes.to_vec()));
                Ok(())
            })?;
        }
        Ok(parts)
    }

    #[test]
    fn a_frame_is_eight_bytes_and_its_payload() {
        assert_eq!(
            encode(Channel::Runtime, b"ab"),
            [0, 0, 0, 2, 0, 0, 0, 2, b'a', b'b']
        );
        assert_eq!(
            parts(&[0, 0, 0, 1, 0, 0, 0, 1, 9], 100).unwrap(),
            [(Channel::Plugin, vec![9])]
        );
    }

    #[test]
    fn a_long_message_goes_as_its_first_4096_bytes_and_the_rest() {
        let bytes = encode(Channel::Plugin, &vec![7; 10_000]);
        let seen = parts(&bytes, usize::MAX).unwrap();
        let lengths: Vec<usize> = seen.iter().map(|(_, payload)| payload.len()).collect();
        assert_eq!(lengths, [4096, 5904]);
    }

    #[test]
    fn unknown_connections_are_skipped_and_empty_frames_pass() {
        let mut bytes = vec![0, 0, 0, 9, 0, 0, 0, 3, 1, 2, 3];
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0]);
        bytes.extend(encode(Channel::Plugin, b"x"));
        assert_eq!(
            parts(&bytes, 5).unwrap(),
            [(Channel::Plugin, b"x".to_vec())]
        );
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_by_its_header() {
        let refused = parts(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff], 8);
        assert!(
            matches!(refused, Err(WireError::Oversized { .. })),
            "{refused:?}"
        );
    }

    proptest! {
        #[test]
        fn payloads_survive_any_cut(payloads in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 1..5000)), 0..6), cut in 1_usize..9000) {
            let channel = |plugin: bool| if plugin { Channel::Plugin } else { Channel::Runtime };
            let bytes: Vec<u8> = payloads.iter().flat_map(|(plugin, payload)| encode(channel(*plugin), payload)).collect();
            let seen = parts(&bytes, cut).unwrap();
            for side in [Channel::Plugin, Channel::Runtime] {
                let sent: Vec<u8> = payloads.iter().filter(|(plugin, _)| channel(*plugin) == side)
                    .flat_map(|(_, payload)| payload.clone()).collect();
                let got: Vec<u8> = seen.iter().filter(|(channel, _)| *channel == side)
                    .flat_map(|(_, payload)| payload.clone()).collect();
                prop_assert_eq!(sent, got);
            }
        }
    }
}
