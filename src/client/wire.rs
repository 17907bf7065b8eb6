//! The one place of the client that calls the codec: commands to bytes, frames to replies, always V2.

use bytes::Bytes;

use super::{Error, machine::Loss};
use crate::{
    model::{Encoding, Version},
    protocol::{self, Command, Reply, frame::Framing},
};

/// One command as one frame of the transport.
///
/// # Errors
/// When a payload cannot be written in the encoding; handles check payloads, so this is not expected.
pub(super) fn encode(
    encoding: Encoding,
    framing: Framing,
    command: &Command,
) -> Result<Bytes, Loss> {
    let frame = match framing {
        Framing::None | Framing::SockJs => protocol::encode_command(Version::V2, encoding, command),
        Framing::WebSocket | Framing::WebSocketDeflate(_) | Framing::Stream | Framing::Event => {
            protocol::encode_commands(Version::V2, encoding, std::slice::from_ref(command))
        }
    };
    frame.map_err(|error| Loss::of(Error::transport(error)))
}

/// All replies of one frame.
///
/// # Errors
/// When the frame does not fit the protocol; the connection is of no use then.
pub(super) fn decode(
    encoding: Encoding,
    framing: Framing,
    frame: Bytes,
) -> Result<Vec<Reply>, Loss> {
    protocol::decode_replies(encoding, framing, frame)
        .collect::<Result<_, _>>()
        .map_err(|error| Loss::of(Error::transport(error)))
}
