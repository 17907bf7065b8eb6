//! Bytes to WebSocket messages and back (RFC 6455, RFC 7692), without a socket.
//!
//! The reader holds memory only while a message is incomplete, and compares every declared length with the limit before
//! it keeps a byte of it. What comes out of it is handed on without another copy.

use std::{io::Cursor, mem};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use crate::{model::Disconnect, protocol::frame::Kind};

mod inflate;

use inflate::inflate;

/// Longest payload of a control frame.
const CONTROL_LIMIT: usize = 125;

/// 1002: the peer broke the framing; the reason says how.
pub(super) const fn protocol_error(reason: &'static str) -> Disconnect {
    Disconnect {
        code: 1002,
        reason: std::borrow::Cow::Borrowed(reason),
    }
}

/// 1009: a message is larger than the limit.
pub(super) const MESSAGE_TOO_BIG: Disconnect = Disconnect {
    code: 1009,
    reason: std::borrow::Cow::Borrowed(""),
};

/// Something complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A whole message.
    Message(Bytes, Kind),
    /// A ping, to be answered with the same bytes.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The peer closes, with this code if it gave one.
    Close(Option<u16>),
}

/// What a peer may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest message, as it comes.
    pub(super) message: usize,
    /// Longest message once decompressed; `None` where no compression was agreed upon.
    pub(super) inflated: Option<usize>,
}

/// Puts frames of a client together.
#[derive(Debug)]
pub(super) struct Reader {
    limits: Limits,
    /// Bytes of frames not taken yet.
    buffer: BytesMut,
    /// The beginning of a fragmented message; few messages are, so it has no place in every connection.
    parts: Option<Box<Parts>>,
}

/// A message, or what there is of it.
#[derive(Debug)]
struct Parts {
    kind: Kind,
    compressed: bool,
    payload: BytesMut,
}

impl Reader {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            parts: None,
        }
    }

    /// Takes bytes of the peer. Call [`Reader::next`] until it returns `None` before the next time.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete thing.
    ///
    /// # Errors
    /// 1002 for broken framing or compression and 1009 for a message above the limit. An offending frame stays in the
    /// buffer.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, Disconnect> {
        loop {
            let Some((header, length, payload)) = self.header()? else {
                return Ok(None);
            };
            if self.buffer.len() - payload < length {
                return Ok(None);
            }
            if header.opcode == OpCode::Control(Control::Close) {
                let mut copy = self.buffer[payload..payload + length].to_vec();
                unmask(&mut copy, header.mask.unwrap_or_default());
                let closing = close(&copy)?;
                self.take(payload, length, header.mask);
                return Ok(Some(closing));
            }
            let payload = self.take(payload, length, header.mask);
            match header.opcode {
                OpCode::Control(Control::Ping) => {
                    return Ok(Some(Incoming::Ping(payload.freeze())));
                }
                OpCode::Control(_) => return Ok(Some(Incoming::Pong)),
                OpCode::Data(kind) => {
                    let frame = Parts {
                        kind: if kind == Data::Text {
                            Kind::Text
                        } else {
                            Kind::Binary
                        },
                        compressed: header.rsv1,
                        payload,
                    };
                    if let Some(message) = self.message(header.is_final, frame) {
                        return self.complete(message).map(Some);
                    }
                }
            }
        }
    }

    /// Whatever was not taken, when reading is over; gives all memory up.
    pub(super) fn take_rest(&mut self) -> BytesMut {
        self.parts = None;
        mem::take(&mut self.buffer)
    }

    /// Bytes of memory held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
            + self
                .parts
                .as_ref()
                .map_or(0, |parts| parts.payload.capacity())
    }

    /// The header at the beginning of the buffer with the length of the payload and its place, when it is there and legal.
    fn header(&self) -> Result<Option<(FrameHeader, usize, usize)>, Disconnect> {
        let mut cursor = Cursor::new(&self.buffer[..]);
        let parsed = FrameHeader::parse(&mut cursor);
        let parsed = parsed.ok().ok_or(protocol_error("bad opcode"))?;
        let Some((header, length)) = parsed else {
            return Ok(None);
        };
        let first = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        let compressed = header.rsv1 && first && self.limits.inflated.is_some();
        if header.rsv1 != compressed || header.rsv2 || header.rsv3 {
            return Err(protocol_error("reserved bits set"));
        }
        if header.mask.is_none() {
            return Err(protocol_error("bad mask"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                return Err(protocol_error("fragmented control frame"));
            }
            OpCode::Control(_) if length > CONTROL_LIMIT => {
                return Err(protocol_error("control frame too long"));
            }
            OpCode::Control(_) => {}
            OpCode::Data(Data::Continue) if self.parts.is_none() => {
                return Err(protocol_error("lone continuation"));
            }
            OpCode::Data(Data::Continue) => self.check_size(length)?,
            OpCode::Data(_) if self.parts.is_some() => {
                return Err(protocol_error("message inside a message"));
            }
            OpCode::Data(_) => self.check_size(length)?,
        }
        let payload = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        Ok(Some((header, length, payload)))
    }

    fn check_size(&self, length: usize) -> Result<(), Disconnect> {
        let before = self.parts.as_ref().map_or(0, |parts| parts.payload.len());
        if length > self.limits.message - before {
            return Err(MESSAGE_TOO_BIG);
        }
        Ok(())
    }

    /// Takes one frame out of the buffer, which is given back when nothing follows.
    fn take(&mut self, payload: usize, length: usize, mask: Option<[u8; 4]>) -> BytesMut {
        let mut bytes = if self.buffer.len() == payload + length {
            mem::take(&mut self.buffer)
        } else {
            self.buffer.split_to(payload + length)
        };
        bytes.advance(payload);
        unmask(&mut bytes, mask.unwrap_or_default());
        bytes
    }

    /// The whole message, when this frame was its last part.
    fn message(&mut self, last: bool, frame: Parts) -> Option<Parts> {
        let whole = match self.parts.take() {
            None if last => return Some(frame),
            None => Box::new(frame),
            Some(mut parts) => {
                parts.payload.extend_from_slice(&frame.payload);
                parts
            }
        };
        if last {
            return Some(*whole);
        }
        self.parts = Some(whole);
        None
    }

    /// What the peer wanted to say with a message.
    fn complete(&self, message: Parts) -> Result<Incoming, Disconnect> {
        let payload = match self.limits.inflated {
            Some(limit) if message.compressed => inflate(&message.payload, limit)?,
            Some(_) | None => message.payload.freeze(),
        };
        Ok(Incoming::Message(payload, message.kind))
    }
}

/// Applies the mask of a client, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Reads the payload of a close frame.
fn close(payload: &[u8]) -> Result<Incoming, Disconnect> {
    let (code, reason) = match payload {
        [] => return Ok(Incoming::Close(None)),
        [_] => return Err(protocol_error("bad close frame")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(protocol_error("bad close code"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(protocol_error("bad close reason"));
    }
    Ok(Incoming::Close(Some(code)))
}

/// Reads on after our close frame, keeping nothing, until the peer's own. Whether a frame is legal plays no part any more.
#[derive(Debug, Default)]
pub(super) struct Discard {
    skip: u64,
    header: BytesMut,
}

impl Discard {
    /// True when the peer's close frame has begun.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.skip)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            bytes.advance(skipped);
            self.skip -= skipped as u64;
            if bytes.is_empty() {
                break;
            }
            // A header is at most 14 bytes long, so byte by byte costs nothing.
            self.header.put_u8(bytes.get_u8());
            let Some(length) = extent(&self.header) else {
                continue;
            };
            if OpCode::from(self.header[0] & 0x0f) == OpCode::Control(Control::Close) {
                return true;
            }
            self.header = BytesMut::new();
            self.skip = length;
        }
        false
    }
}

/// Length of the payload behind a header that is complete.
fn extent(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let (extended, mask) = (header.get(2..)?, usize::from(second >> 7) * 4);
    let (bytes, length) = match second & 0x7f {
        126 => (2, u16::from_be_bytes(*extended.first_chunk()?).into()),
        127 => (8, u64::from_be_bytes(*extended.first_chunk()?)),
        short => (0, short.into()),
    };
    (extended.len() == bytes + mask).then_some(length)
}

/// A control frame of the server; the payload is cut to what one can carry.
pub(super) fn control(opcode: Control, payload: &[u8], out: &mut BytesMut) {
    let payload = &payload[..payload.len().min(CONTROL_LIMIT)];
    let length = u8::try_from(payload.len()).unwrap_or(0);
    out.put_u8(0x80 | u8::from(OpCode::Control(opcode)));
    out.put_u8(length);
    out.put_slice(payload);
}

/// A close frame, if WebSocket can carry the code; others, 5000 and above, cannot be told this way.
pub(super) fn close_frame(code: u32, reason: &str) -> Option<Bytes> {
    let code = u16::try_from(code).ok()?;
    // The server API may ask for any code, even one that a client reports as a protocol error (server-api.md 8.5).
    if matches!(code, 1004..=1006 | 1015 | 5000..) {
        return None;
    }
    let mut payload = BytesMut::with_capacity(2 + reason.len());
    payload.put_u16(code);
    payload.put_slice(reason.as_bytes());
    let mut frame = BytesMut::with_capacity(4 + reason.len());
    control(Control::Close, &payload, &mut frame);
    Some(frame.freeze())
}

#[cfg(test)]
mod tests;
