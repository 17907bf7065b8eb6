//! Whole WebSocket frames of a server around finished messages (RFC 6455), compressed where the framing asks for it
//! (RFC 7692). Each message is compressed on its own, so nothing is remembered between two of them.

use bytes::Bytes;
use flate2::{Compress, FlushCompress, Status};

use super::Framing;
use crate::model::Encoding;

/// The two kinds of WebSocket messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text, which nobody has checked.
    Text,
    /// Anything.
    Binary,
}

impl From<Encoding> for Kind {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Json => Self::Text,
            Encoding::Protobuf => Self::Binary,
        }
    }
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Compression {
    level: u8,
    min_size: u32,
}

impl Compression {
    /// `level` is the effort, 1 to 9; messages below `min_size` bytes stay as they are.
    #[must_use]
    pub fn new(level: u32, min_size: usize) -> Self {
        Self {
            level: u8::try_from(level).unwrap_or(9).clamp(1, 9),
            min_size: u32::try_from(min_size).unwrap_or(u32::MAX),
        }
    }

    const fn wants(self, length: usize) -> bool {
        length >= self.min_size as usize
    }

    /// The message as one permessage-deflate payload behind `room` zeros.
    fn compress(self, message: &[u8], room: usize) -> Option<Vec<u8>> {
        let mut stream = Compress::new(flate2::Compression::new(self.level.into()), false);
        let mut out = Vec::with_capacity(room + message.len() / 2 + 64);
        out.resize(room, 0);
        let mut rest = message;
        loop {
            let before = stream.total_in();
            let status = stream.compress_vec(rest, &mut out, FlushCompress::Sync);
            if !matches!(status, Ok(Status::Ok | Status::BufError)) {
                return None;
            }
            let taken = usize::try_from(stream.total_in() - before).ok()?;
            rest = rest.get(taken..)?;
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
            out.reserve(rest.len() / 2 + 64);
        }
        // The flush ends with an empty block, and its last four bytes are left out (RFC 7692 7.2.1).
        let end = out.strip_suffix(&[0, 0, 0xff, 0xff])?.len();
        out.truncate(end);
        out.shrink_to_fit();
        Some(out)
    }
}

/// Longest header a server writes.
pub(super) const MAX_HEADER: usize = 10;

/// First bit of a header: the frame is the last of its message.
const FIN: u8 = 0x80;
/// Second bit of a header: the message is compressed.
const RSV1: u8 = 0x40;

/// Header of a whole, unmasked frame. Only the part behind the zeros counts.
pub(super) fn header(kind: Kind, length: usize) -> ([u8; MAX_HEADER], usize) {
    let opcode = match kind {
        Kind::Text => 1,
        Kind::Binary => 2,
    };
    let mut header = [0; MAX_HEADER];
    header[2..].copy_from_slice(&(length as u64).to_be_bytes());
    let start = match length {
        0..=125 => 8,
        126..=0xffff => 6,
        _ => 0,
    };
    header[start] = FIN | opcode;
    match start {
        6 => header[start + 1] = 126,
        0 => header[start + 1] = 127,
        _ => {}
    }
    (header, start)
}

/// How long the header of a finished frame is.
pub(super) fn header_length(frame: &[u8]) -> usize {
    match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    }
}

/// A finished frame of a message that stands behind room for the longest header.
pub(super) fn surround(framing: Framing, kind: Kind, message: Vec<u8>) -> Bytes {
    if let Framing::WebSocketDeflate(compression) = framing
        && compression.wants(message.len() - MAX_HEADER)
        && let Some(compressed) = compression.compress(&message[MAX_HEADER..], MAX_HEADER)
    {
        return put_header(kind, RSV1, compressed);
    }
    put_header(kind, 0, message)
}

fn put_header(kind: Kind, bits: u8, mut message: Vec<u8>) -> Bytes {
    let (mut header, start) = header(kind, message.len() - MAX_HEADER);
    header[start] |= bits;
    // A short header ends where the message begins.
    message[start..MAX_HEADER].copy_from_slice(&header[start..]);
    Bytes::from(message).slice(start..)
}
