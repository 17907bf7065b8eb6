//! Wire forms: everything that makes the bytes of one reply differ between connections, and the finished bytes themselves.
//!
//! One publication is encoded once per wire form in use, whatever the number of subscribers; several frames share a write.

use bytes::Bytes;

use super::Reply;
use crate::model::{Encoding, Version};

/// How V1 connections see stream positions (client-protocol.md 1.10). V2 always uses [`PositionFormat::Offset`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PositionFormat {
    /// `offset` only.
    #[default]
    Offset,
    /// `seq` and `gen` only.
    SeqGen,
    /// Both.
    Both,
}

/// What surrounds a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Framing {
    /// A whole unmasked WebSocket frame: text for JSON, binary (with the length prefix inside) for Protobuf.
    WebSocket,
    /// The bare message, as gRPC carries it.
    None,
}

/// Version × encoding × position format × framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireForm {
    /// Generation of the protocol.
    pub version: Version,
    /// Encoding of the messages.
    pub encoding: Encoding,
    /// V1 positions.
    pub positions: PositionFormat,
    /// What surrounds a message.
    pub framing: Framing,
}

impl WireForm {
    /// How many different forms there are; [`WireForm::index`] is below it.
    pub const COUNT: usize = 2 * 2 * 3 * 2;

    /// A small number for tables by form.
    #[must_use]
    pub const fn index(self) -> usize {
        (((self.version as usize * 2) + self.encoding as usize) * 3 + self.positions as usize) * 2
            + self.framing as usize
    }
}

/// A payload is not valid JSON and the connection speaks JSON: it is closed with 3506.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payload cannot be written in the encoding of the connection")]
pub struct Inappropriate;

/// Finished bytes of one reply, push or ping.
///
/// # Errors
/// [`Inappropriate`] when a payload inside is not valid JSON and the form is JSON.
pub fn encode(_form: WireForm, _reply: &Reply) -> Result<Bytes, Inappropriate> {
    Err(Inappropriate)
}
