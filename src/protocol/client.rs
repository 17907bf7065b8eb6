//! The other direction, for the Rust client: commands to bytes, bytes to replies. Clients speak V2.

use bytes::Bytes;

use super::{
    decode::{Malformed, Message, Messages},
    frame::{Framing, Inappropriate},
    json,
    message::{Command, Reply},
    protobuf,
    schema::{self, Body},
};
use crate::model::{Encoding, Version};

/// One command: a bare Protobuf message as gRPC carries it, or a JSON object without line feed.
///
/// # Errors
/// [`Inappropriate`] when a payload inside is not valid JSON and the encoding is JSON.
pub fn encode_command(
    version: Version,
    encoding: Encoding,
    command: &Command,
) -> Result<Bytes, Inappropriate> {
    let body = Body::Command(command, version);
    let bytes = match encoding {
        Encoding::Json => json::encode(Vec::with_capacity(128), body)?,
        Encoding::Protobuf => protobuf::encode(body, Vec::with_capacity),
    };
    Ok(bytes.into())
}

/// Commands as one WebSocket message: JSON objects separated by line feeds, or Protobuf messages behind their lengths.
///
/// # Errors
/// [`Inappropriate`] as for [`encode_command`].
pub fn encode_commands(
    version: Version,
    encoding: Encoding,
    commands: &[Command],
) -> Result<Bytes, Inappropriate> {
    let mut frame = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        let message = encode_command(version, encoding, command)?;
        match encoding {
            Encoding::Json if index > 0 => frame.push(b'\n'),
            Encoding::Json => {}
            Encoding::Protobuf => protobuf::write_varint(&mut frame, message.len() as u64),
        }
        frame.extend_from_slice(&message);
    }
    Ok(frame.into())
}

/// One V2 reply: a bare Protobuf message as gRPC carries it, or a JSON object.
///
/// # Errors
/// [`Malformed`] for anything else, and for a push of a kind that is not known here.
pub fn decode_reply(encoding: Encoding, message: Bytes) -> Result<Reply, Malformed> {
    let mut replies = decode_replies(encoding, Framing::None, message);
    let reply = replies.next().unwrap_or(Err(Malformed));
    if replies.next().is_some() {
        return Err(Malformed);
    }
    reply
}

/// The V2 replies of one frame. Pushes of a kind that is not known here are left out.
#[must_use]
pub fn decode_replies(encoding: Encoding, framing: Framing, frame: Bytes) -> Replies {
    Replies {
        messages: Messages::new(encoding, framing, frame),
    }
}

/// Iterator over the replies of one frame. Nothing follows a broken one.
#[derive(Debug)]
pub struct Replies {
    messages: Messages,
}

impl Iterator for Replies {
    type Item = Result<Reply, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // The transport limits the frame; a client has no narrower limit for one reply.
            let reply = self.messages.next(usize::MAX, |message| match message {
                Message::Json(reader) => schema::read_reply(reader),
                Message::Protobuf(mut reader) => schema::read_reply(&mut reader),
            })?;
            match reply {
                Ok(None) => {}
                Ok(Some(reply)) => return Some(Ok(reply)),
                Err(malformed) => return Some(Err(malformed)),
            }
        }
    }
}
