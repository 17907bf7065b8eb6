//! Wire forms: everything that makes the bytes of one reply differ between connections, and the finished bytes themselves.
//!
//! One publication is encoded once per wire form in use, whatever the number of subscribers; several frames share a write.

mod look;
mod websocket;

use bytes::Bytes;

use super::{
    PushBody, Reply, ReplyBody, json, protobuf,
    schema::{self, Dialect},
};
use crate::model::{Channel, Disconnect, Encoding, Publication, Version};
use websocket::MAX_HEADER;

pub use look::{Delta, Look, Style};
pub use websocket::{Compression, Kind};

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
}

impl Framing {
    /// How many different framings there are.
    const COUNT: usize = 3;

    /// However it compresses, a compressing framing has one place: everybody who reads one reads all.
    const fn index(self) -> usize {
        match self {
            Self::WebSocket => 0,
            Self::WebSocketDeflate(_) => 1,
            Self::None => 2,
        }
    }
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
    pub const COUNT: usize = 2 * 2 * 3 * Framing::COUNT;

    /// How many different forms V2 has; [`WireForm::v2_index`] is below it.
    pub const V2_COUNT: usize = 2 * Framing::COUNT;

    /// A small number for tables by forms of V2.
    #[must_use]
    pub const fn v2_index(self) -> usize {
        self.encoding as usize * Framing::COUNT + self.framing.index()
    }

    /// What of the form concerns the fields of messages.
    const fn dialect(self) -> Dialect {
        Dialect {
            version: self.version,
            positions: self.positions,
            look: Look {
                number: 0,
                delta: false,
            },
        }
    }

    /// A small number for tables by form.
    #[must_use]
    pub const fn index(self) -> usize {
        (((self.version as usize * 2) + self.encoding as usize) * 3 + self.positions as usize)
            * Framing::COUNT
            + self.framing.index()
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
pub fn encode(form: WireForm, reply: &Reply) -> Result<Bytes, Inappropriate> {
    if matches!(reply.body, ReplyBody::Ping) && reply.id == 0 {
        return Ok(ping(form));
    }
    let dialect = form.dialect();
    match form.encoding {
        Encoding::Json => json_frame(form.framing, json_capacity(reply), |w| {
            schema::write_reply(w, reply, dialect);
        }),
        Encoding::Protobuf => Ok(protobuf_frame(form.framing, |w| {
            schema::write_reply(w, reply, dialect);
        })),
    }
}

/// Finished bytes of the push of one publication: what [`encode`] makes of it, without a [`Reply`] around it.
///
/// # Errors
/// [`Inappropriate`] when the payload is not valid JSON and the form is JSON.
pub fn publication(
    form: WireForm,
    channel: &Channel,
    publication: &Publication,
) -> Result<Bytes, Inappropriate> {
    publication_as(form, Look::default(), channel, publication)
}

/// The same for a subscription that has negotiated something about its pushes.
///
/// # Errors
/// [`Inappropriate`] as [`publication`]; also for a delta that is not text.
pub fn publication_as(
    form: WireForm,
    look: Look,
    channel: &Channel,
    publication: &Publication,
) -> Result<Bytes, Inappropriate> {
    let dialect = Dialect {
        look,
        ..form.dialect()
    };
    match form.encoding {
        Encoding::Json => {
            let capacity = PUSH + channel.as_str().len() + publication_capacity(publication);
            json_frame(form.framing, capacity, |w| {
                schema::publication_push(w, channel, publication, dialect);
            })
        }
        Encoding::Protobuf => Ok(protobuf_frame(form.framing, |w| {
            schema::publication_push(w, channel, publication, dialect);
        })),
    }
}

/// Finished bytes of any push for a subscription that has negotiated something about them.
///
/// # Errors
/// [`Inappropriate`] when a payload inside is not valid JSON and the form is JSON.
pub fn push_as(
    form: WireForm,
    look: Look,
    channel: &Channel,
    body: &PushBody,
) -> Result<Bytes, Inappropriate> {
    if let PushBody::Publication(publication) = body {
        return publication_as(form, look, channel, publication);
    }
    let dialect = Dialect {
        look,
        ..form.dialect()
    };
    match form.encoding {
        Encoding::Json => json_frame(form.framing, PUSH + channel.as_str().len(), |w| {
            schema::push(w, channel, body, dialect);
        }),
        Encoding::Protobuf => Ok(protobuf_frame(form.framing, |w| {
            schema::push(w, channel, body, dialect);
        })),
    }
}

/// A finished WebSocket frame around any message; the bare message where the framing is [`Framing::None`].
#[must_use]
pub fn message(framing: Framing, kind: Kind, message: &[u8]) -> Bytes {
    if framing == Framing::None {
        return Bytes::copy_from_slice(message);
    }
    let mut out = Vec::with_capacity(MAX_HEADER + message.len());
    out.resize(MAX_HEADER, 0);
    out.extend_from_slice(message);
    websocket::surround(framing, kind, out)
}

/// Longest reason that fits a WebSocket close frame.
const MAX_REASON: usize = 123;

/// The reason of a close frame: plain text in V2, a JSON object in V1; cut so that the frame can carry it (client-protocol.md 1.11).
#[must_use]
pub fn close_reason(version: Version, disconnect: &Disconnect) -> String {
    match version {
        Version::V1 => v1_close_reason(disconnect),
        Version::V2 => {
            let reason = &*disconnect.reason;
            reason[..reason.floor_char_boundary(MAX_REASON)].to_owned()
        }
    }
}

fn v1_close_reason(disconnect: &Disconnect) -> String {
    let tail = if disconnect.reconnect() {
        ",\"reconnect\":true}"
    } else {
        ",\"reconnect\":false}"
    };
    let mut reason = &disconnect.reason[..disconnect.reason.floor_char_boundary(MAX_REASON)];
    loop {
        let mut object = b"{\"reason\":".to_vec();
        json::string(&mut object, reason);
        object.extend_from_slice(tail.as_bytes());
        let Some(excess) = object
            .len()
            .checked_sub(MAX_REASON)
            .filter(|excess| *excess > 0)
        else {
            return String::from_utf8(object).unwrap_or_default();
        };
        // A character takes at most six bytes more than it has: cutting this much is never too much.
        let cut = excess.div_ceil(6).max(1);
        reason = &reason[..reason.floor_char_boundary(reason.len().saturating_sub(cut))];
    }
}

/// Writes the JSON message behind room for a header.
fn json_frame(
    framing: Framing,
    capacity: usize,
    body: impl Fn(&mut json::Writer),
) -> Result<Bytes, Inappropriate> {
    if framing == Framing::None {
        return Ok(json::Writer::encode(Vec::with_capacity(capacity), body)?.into());
    }
    let mut out = Vec::with_capacity(MAX_HEADER + capacity);
    out.resize(MAX_HEADER, 0);
    let out = json::Writer::encode(out, body)?;
    Ok(websocket::surround(framing, Kind::Text, out))
}

/// Measures the message, so that everything before it can be written at once.
fn protobuf_frame(framing: Framing, body: impl Fn(&mut protobuf::Writer)) -> Bytes {
    let length = protobuf::Writer::measure(&body);
    if framing == Framing::None {
        return protobuf::Writer::encode(Vec::with_capacity(length), body).into();
    }
    let inner = protobuf::varint_length(length as u64) + length;
    let (header, start) = websocket::header(Kind::Binary, inner);
    let plain = framing == Framing::WebSocket;
    // Compressed, the message gets another length: then this is only the room for the header.
    let start = if plain { start } else { 0 };
    let mut out = Vec::with_capacity(MAX_HEADER - start + inner);
    out.extend_from_slice(&header[start..]);
    protobuf::write_varint(&mut out, length as u64);
    let out = protobuf::Writer::encode(out, body);
    if plain {
        return out.into();
    }
    websocket::surround(framing, Kind::Binary, out)
}

/// A server ping needs no allocation, and is too short to be compressed.
const fn ping(form: WireForm) -> Bytes {
    use Framing::{WebSocket, WebSocketDeflate};
    Bytes::from_static(match (form.framing, form.encoding) {
        (WebSocket | WebSocketDeflate(_), Encoding::Json) => b"\x81\x02{}",
        (WebSocket | WebSocketDeflate(_), Encoding::Protobuf) => b"\x82\x01\x00",
        (Framing::None, Encoding::Json) => b"{}",
        (Framing::None, Encoding::Protobuf) => b"",
    })
}

/// Room for everything of a push that is not counted one by one.
const PUSH: usize = 64;

/// Room for a publication in JSON; more is asked for when text has to be escaped.
fn publication_capacity(publication: &Publication) -> usize {
    let info = publication.info.as_ref().map_or(0, |info| {
        64 + info.user.as_str().len()
            + info.client.as_str().len()
            + info.conn_info.len()
            + info.chan_info.len()
    });
    let tags = publication.tags.as_ref().map_or(0, |tags| {
        tags.iter()
            .map(|(key, value)| key.len() + value.len() + 6)
            .sum::<usize>()
            + 10
    });
    64 + publication.data.len() + info + tags
}

/// Room for a reply in JSON; a guess, and only for those that may be long.
fn json_capacity(reply: &Reply) -> usize {
    let publications = match &reply.body {
        ReplyBody::Subscribe(result) => &*result.publications,
        ReplyBody::History(result) => &*result.publications,
        ReplyBody::Rpc(data) => return PUSH + data.len(),
        _ => &[],
    };
    let publications = publications.iter();
    192 + publications
        .map(|publication| publication_capacity(publication))
        .sum::<usize>()
}
