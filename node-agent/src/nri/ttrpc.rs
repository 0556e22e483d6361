//! ttrpc's frames: ten bytes of header and a message.
//!
//! Source: `PROTOCOL.md` of containerd/ttrpc 1.2. Numbers are big-endian: length of the data (4 bytes, at most 4 MiB), stream (4 bytes, odd
//! for the side that calls), kind (1 byte), flags (1 byte, zero in unary calls). NRI uses unary calls only.

use prost::Message as _;

use super::{
    messages::{Request, Response, Status},
    wire::WireError,
};

/// Bytes of a header.
pub const HEADER: usize = 10;
/// Most bytes of data in a frame.
pub const MAX_DATA: usize = 4 << 20;

/// Frame that opens a call.
pub const REQUEST: u8 = 1;
/// Frame that ends a call.
pub const RESPONSE: u8 = 2;

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which call.
    pub stream: u32,
    /// [`REQUEST`], [`RESPONSE`] or something newer, to be ignored.
    pub kind: u8,
    /// A [`Request`] or [`Response`].
    pub data: Vec<u8>,
}

impl Frame {
    /// A call of `method` with this message.
    pub fn request(
        stream: u32,
        service: &str,
        method: &str,
        message: &impl prost::Message,
    ) -> Self {
        let request = Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload: message.encode_to_vec(),
            timeout_nano: 0,
        };
        Self {
            stream,
            kind: REQUEST,
            data: request.encode_to_vec(),
        }
    }

    /// A successful answer.
    pub fn response(stream: u32, payload: Vec<u8>) -> Self {
        let response = Response {
            status: None,
            payload,
        };
        Self {
            stream,
            kind: RESPONSE,
            data: response.encode_to_vec(),
        }
    }

    /// A refusal, with a gRPC code.
    pub fn refusal(stream: u32, code: i32, message: String) -> Self {
        let response = Response {
            status: Some(Status { code, message }),
            payload: Vec::new(),
        };
        Self {
            stream,
            kind: RESPONSE,
            data: response.encode_to_vec(),
        }
    }

    /// The frame as bytes.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let length = u32::try_from(self.data.len())
            .ok()
            .filter(|_| self.data.len() <= MAX_DATA)
            .ok_or(WireError::Oversized {
                what: "message",
                length: self.data.len() as u64,
            })?;
        let mut bytes = Vec::with_capacity(HEADER.saturating_add(self.data.len()));
        bytes.extend(length.to_be_bytes());
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend([self.kind, 0]);
        bytes.extend(&self.data);
        Ok(bytes)
    }
}

/// Puts frames together from the bytes of one connection. Holds at most one frame that is not complete, and of that only what has arrived:
/// a header that promises four megabytes costs nothing yet.
#[derive(Debug, Default)]
pub struct Assembler {
    buffer: Vec<u8>,
}

impl Assembler {
    /// Takes bytes and adds each frame that they complete to `frames`.
    pub fn feed(&mut self, mut bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let missing = self.wanted()?.saturating_sub(self.buffer.len());
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.buffer.extend(taken);
            bytes = rest;
            if let Some(frame) = self.complete()? {
                frames.push(frame);
                self.buffer.clear();
                // A large message is rare; what it took is given back.
                self.buffer.shrink_to(64 << 10);
            }
        }
        Ok(())
    }

    /// Whether a frame has begun and not ended.
    pub fn is_midway(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Bytes of the frame at hand, as far as that is known.
    fn wanted(&self) -> Result<usize, WireError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(HEADER);
        };
        let [a, b, c, d, ..] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_DATA {
            return Err(WireError::Oversized {
                what: "message",
                length: length as u64,
            });
        }
        Ok(HEADER.saturating_add(length))
    }

    fn complete(&self) -> Result<Option<Frame>, WireError> {
        let wanted = self.wanted()?;
        let Some((header, data)) = self.buffer.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        if self.buffer.len() < wanted {
            return Ok(None);
        }
        let [_, _, _, _, e, f, g, h, kind, _flags] = *header;
        Ok(Some(Frame {
            stream: u32::from_be_bytes([e, f, g, h]),
            kind,
            data: data.to_vec(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_is_ten_bytes_and_its_data() {
        let frame = Frame {
            stream: 0x0102_0304,
            kind: REQUEST,
            data: b"hi".to_vec(),
        };
        assert_eq!(
            frame.encode().unwrap(),
            [0, 0, 0, 2, 1, 2, 3, 4, 1, 0, b'h', b'i']
        );
    }

    #[test]
    fn a_header_beyond_the_limit_is_refused_before_its_data() {
        let mut frames = Vec::new();
        let header = [0, 0x40, 0, 1, 0, 0, 0, 1, 1, 0];
        let refused = Assembler::default().feed(&header, &mut frames);
        assert!(
            matches!(
                refused,
                Err(WireError::Oversized {
                    length: 4_194_305,
                    ..
                })
            ),
            "{refused:?}"
        );
    }

    #[test]
    fn a_promised_length_costs_no_memory() {
        let mut assembler = Assembler::default();
        assembler
            .feed(&[0, 0x40, 0, 0, 0, 0, 0, 1, 1, 0, 7], &mut Vec::new())
            .unwrap();
        assert!(assembler.is_midway() && assembler.buffer.capacity() < 1024);
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            frames in proptest::collection::vec(
                (any::<u32>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..8),
            cut in 1_usize..64,
        ) {
            let frames: Vec<Frame> = frames.into_iter().map(|(stream, kind, data)| Frame { stream, kind, data }).collect();
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().unwrap()).collect();
            let (mut assembler, mut seen) = (Assembler::default(), Vec::new());
            for part in bytes.chunks(cut) {
                assembler.feed(part, &mut seen).unwrap();
            }
            prop_assert_eq!(seen, frames);
            prop_assert!(!assembler.is_midway());
        }
    }
}
