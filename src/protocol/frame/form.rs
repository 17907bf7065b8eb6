//! Wire forms: all that makes the bytes of one reply differ between connections, each with a small number for tables.

use super::{Compression, Look};
use crate::{
    model::{Encoding, Version},
    protocol::schema::Dialect,
};

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
    /// The same, compressed (permessage-deflate) unless the message is small.
    WebSocketDeflate(Compression),
    /// The bare message, as gRPC carries it.
    None,
    /// A message of an HTTP body: JSON with a line feed behind it, Protobuf with its length before it.
    Stream,
    /// A whole server-sent event; JSON only.
    Event,
    /// The message as a JSON string, as SockJS carries it; what surrounds it differs between its transports.
    SockJs,
}

impl Framing {
    /// How many different framings there are.
    const COUNT: usize = 6;

    /// However it compresses, a compressing framing has one place: everybody who reads one reads all.
    const fn index(self) -> usize {
        match self {
            Self::WebSocket => 0,
            Self::WebSocketDeflate(_) => 1,
            Self::None => 2,
            Self::Stream => 3,
            Self::Event => 4,
            Self::SockJs => 5,
        }
    }
}

/// Version × encoding × position format × framing, and whether pushes have a reply around them.
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
    /// Pushes without the reply around them, as unidirectional clients get them; V2 only (client-protocol.md 3.9).
    pub bare: bool,
}

impl WireForm {
    /// V1 in two encodings and three position formats; V2 in two encodings, with and without replies.
    const DIALECTS: usize = 2 * 3 + 2 * 2;
    /// How many different forms there are; [`WireForm::index`] is below it.
    pub const COUNT: usize = Self::DIALECTS * Framing::COUNT;

    /// How many different forms V2 has; [`WireForm::v2_index`] is below it.
    pub const V2_COUNT: usize = 2 * 2 * Framing::COUNT;

    /// A small number for tables by forms of V2.
    #[must_use]
    pub const fn v2_index(self) -> usize {
        (self.encoding as usize * 2 + self.bare as usize) * Framing::COUNT + self.framing.index()
    }

    /// What of the form concerns the fields of messages.
    pub(super) const fn dialect(self) -> Dialect {
        Dialect {
            version: self.version,
            positions: self.positions,
            bare: self.bare,
            look: Look {
                number: 0,
                delta: false,
            },
        }
    }

    /// A small number for tables by form.
    #[must_use]
    pub const fn index(self) -> usize {
        let v1 = 2 * 3;
        match self.version {
            Version::V1 => {
                (self.encoding as usize * 3 + self.positions as usize) * Framing::COUNT
                    + self.framing.index()
            }
            Version::V2 => v1 * Framing::COUNT + self.v2_index(),
        }
    }

    /// The same form with another framing.
    #[must_use]
    pub const fn framed(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }
}
