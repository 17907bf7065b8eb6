//! Tests of the protocol as a whole: the worked examples, laws that hold for all values, and hostile input.

mod bodies;
mod examples;
mod hostile;
mod laws;
mod reading;
pub(in crate::protocol) mod values;
mod writing;

use bytes::Bytes;

use super::{Command, Decoder, Malformed, frame::Framing, frame::PositionFormat, frame::WireForm};
use crate::model::{Encoding, Version};

/// Default limit of a server.
const LIMIT: usize = 65_536;

const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];
const VERSIONS: [Version; 2] = [Version::V1, Version::V2];

/// All commands of a frame, up to the first broken one.
fn commands(decoder: &mut Decoder, frame: impl Into<Bytes>) -> Vec<Result<Command, Malformed>> {
    let mut commands = decoder.frame(frame.into());
    let mut all = Vec::new();
    while let Some(command) = commands.next(decoder) {
        all.push(command);
    }
    assert!(commands.next(decoder).is_none(), "a frame ends once");
    all
}

/// A decoder of a WebSocket connection without a generation.
fn websocket(encoding: Encoding) -> Decoder {
    Decoder::new(encoding, None, Framing::WebSocket, LIMIT)
}

/// The only command of a JSON frame on a connection of this generation.
fn json_command(version: Version, frame: impl AsRef<[u8]>) -> Result<Command, Malformed> {
    let mut decoder = Decoder::new(Encoding::Json, Some(version), Framing::WebSocket, LIMIT);
    let mut all = commands(&mut decoder, Bytes::copy_from_slice(frame.as_ref()));
    assert_eq!(all.len(), 1, "one command");
    all.remove(0)
}

fn form(version: Version, encoding: Encoding) -> WireForm {
    WireForm {
        version,
        encoding,
        positions: PositionFormat::Offset,
        framing: Framing::None,
        bare: false,
    }
}

/// Bytes written as in the tables: pairs of digits, blanks between them do not count.
fn hex(text: &str) -> Bytes {
    let digits: Vec<u32> = text.chars().filter_map(|char| char.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("two digits"))
        .collect()
}

/// Payload of a whole unmasked WebSocket frame with this first byte.
fn unframe(frame: &Bytes, first: u8) -> Bytes {
    assert_eq!(frame[0], first, "FIN and opcode");
    let (length, start) = match frame[1] {
        126 => (u64::from(u16::from_be_bytes([frame[2], frame[3]])), 4),
        127 => (u64::from_be_bytes(frame[2..10].try_into().unwrap()), 10),
        short => (u64::from(short), 2),
    };
    assert_eq!(length, (frame.len() - start) as u64, "declared length");
    // The shortest form is the only valid one.
    assert_eq!(
        start,
        if length < 126 {
            2
        } else if length < 0x1_0000 {
            4
        } else {
            10
        }
    );
    frame.slice(start..)
}
