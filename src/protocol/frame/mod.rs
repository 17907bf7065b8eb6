//! Wire forms: everything that makes the bytes of one reply differ between connections, and the finished bytes themselves.
//!
//! One publication is encoded once per wire form in use, whatever the number of subscribers; several frames share a write.

mod close;
mod form;
mod look;
mod websocket;

use bytes::Bytes;

use super::{PushBody, Reply, ReplyBody, json, protobuf, schema::Body};
use crate::model::{Channel, Encoding, Publication};
use websocket::MAX_HEADER;

pub use close::close_reason;
pub use form::{Framing, PositionFormat, WireForm};
pub use look::{Delta, Look, Style};
pub use websocket::{Compression, Kind};

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
    finish(
        form,
        json_capacity(reply),
        Body::Reply(reply, form.dialect()),
    )
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
    let body = Body::Publication(channel, publication, form.dialect().looking(look));
    finish(form, publication_capacity(channel, publication), body)
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
    let push = Body::Push(channel, body, form.dialect().looking(look));
    finish(form, PUSH + channel.as_str().len(), push)
}

/// The push of one publication as a WebSocket frame and in an HTTP body, which share one piece of memory: what they put around
/// it is at its ends and is left out of the other.
///
/// # Errors
/// [`Inappropriate`] as [`publication_as`].
pub fn publication_pair(
    form: WireForm,
    look: Look,
    channel: &Channel,
    publication: &Publication,
) -> Result<(Bytes, Bytes), Inappropriate> {
    let body = Body::Publication(channel, publication, form.dialect().looking(look));
    if form.encoding == Encoding::Protobuf {
        let frame = protobuf_frame(Framing::WebSocket, body);
        let stream = frame.slice(websocket::header_length(&frame)..);
        return Ok((frame, stream));
    }
    let capacity = publication_capacity(channel, publication);
    let mut out = Vec::with_capacity(MAX_HEADER + capacity + 1);
    out.resize(MAX_HEADER, 0);
    let mut out = json::encode(out, body)?;
    let (header, start) = websocket::header(Kind::Text, out.len() - MAX_HEADER);
    out[start..MAX_HEADER].copy_from_slice(&header[start..]);
    out.push(b'\n');
    let both = Bytes::from(out);
    Ok((both.slice(start..both.len() - 1), both.slice(MAX_HEADER..)))
}

/// What a server-sent event begins with.
const EVENT: &[u8] = b"data: ";

/// A finished frame around any message, in the form of the framing; the bare message where that is [`Framing::None`].
#[must_use]
pub fn message(framing: Framing, kind: Kind, message: &[u8]) -> Bytes {
    match framing {
        Framing::None => return Bytes::copy_from_slice(message),
        Framing::Event => return [EVENT, message, b"\n\n"].concat().into(),
        Framing::Stream if kind == Kind::Text => return [message, b"\n"].concat().into(),
        Framing::Stream => {
            let mut out = Vec::with_capacity(MAX_HEADER + message.len());
            protobuf::write_varint(&mut out, message.len() as u64);
            out.extend_from_slice(message);
            return out.into();
        }
        Framing::SockJs => return quoted_bytes(message),
        Framing::WebSocket | Framing::WebSocketDeflate(_) => {}
    }
    let mut out = Vec::with_capacity(MAX_HEADER + message.len());
    out.resize(MAX_HEADER, 0);
    out.extend_from_slice(message);
    websocket::surround(framing, kind, out)
}

/// A text as a JSON string, with the characters escaped that browsers and markup might misread.
#[must_use]
pub fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 4 + 2);
    json::string(&mut out, text);
    out
}

/// The same of a finished message.
fn quoted_bytes(message: &[u8]) -> Bytes {
    quoted(&String::from_utf8_lossy(message)).into()
}

fn finish(form: WireForm, capacity: usize, body: Body<'_>) -> Result<Bytes, Inappropriate> {
    match form.encoding {
        Encoding::Json => json_frame(form.framing, capacity, body),
        Encoding::Protobuf => Ok(protobuf_frame(form.framing, body)),
    }
}

/// Writes the JSON message behind room for a header.
fn json_frame(framing: Framing, capacity: usize, body: Body<'_>) -> Result<Bytes, Inappropriate> {
    let mut out = Vec::with_capacity(MAX_HEADER + capacity);
    match framing {
        Framing::WebSocket | Framing::WebSocketDeflate(_) => out.resize(MAX_HEADER, 0),
        Framing::Event => out.extend_from_slice(EVENT),
        Framing::Stream | Framing::None | Framing::SockJs => {}
    }
    let mut out = json::encode(out, body)?;
    match framing {
        Framing::WebSocket | Framing::WebSocketDeflate(_) => {
            return Ok(websocket::surround(framing, Kind::Text, out));
        }
        Framing::Stream => out.push(b'\n'),
        Framing::Event => out.extend_from_slice(b"\n\n"),
        Framing::SockJs => return Ok(quoted_bytes(&out)),
        Framing::None => {}
    }
    Ok(out.into())
}

/// The message is measured first, so everything before it is written at once.
fn protobuf_frame(framing: Framing, body: Body<'_>) -> Bytes {
    match framing {
        Framing::None | Framing::SockJs => protobuf::encode(body, Vec::with_capacity).into(),
        Framing::Stream | Framing::Event => protobuf::encode(body, |length| {
            let mut out = Vec::with_capacity(protobuf::varint_length(length as u64) + length);
            protobuf::write_varint(&mut out, length as u64);
            out
        })
        .into(),
        Framing::WebSocket => protobuf::encode(body, |length| socket_room(length, true)).into(),
        Framing::WebSocketDeflate(_) => {
            let out = protobuf::encode(body, |length| socket_room(length, false));
            websocket::surround(framing, Kind::Binary, out)
        }
    }
}

/// Room for a message behind its length and a header. Compressed, the message gets another length: then the header is only room.
fn socket_room(length: usize, plain: bool) -> Vec<u8> {
    let inner = protobuf::varint_length(length as u64) + length;
    let (header, start) = websocket::header(Kind::Binary, inner);
    let start = if plain { start } else { 0 };
    let mut out = Vec::with_capacity(MAX_HEADER - start + inner);
    out.extend_from_slice(&header[start..]);
    protobuf::write_varint(&mut out, length as u64);
    out
}

/// A server ping needs no allocation, and is too short to be compressed.
const fn ping(form: WireForm) -> Bytes {
    use Framing::{Event, Stream, WebSocket, WebSocketDeflate};
    Bytes::from_static(match (form.framing, form.encoding) {
        (WebSocket | WebSocketDeflate(_), Encoding::Json) => b"\x81\x02{}",
        (WebSocket | WebSocketDeflate(_), Encoding::Protobuf) => b"\x82\x01\x00",
        (Framing::None, Encoding::Json) => b"{}",
        (Framing::None | Framing::SockJs, Encoding::Protobuf) => b"",
        (Stream, Encoding::Json) => b"{}\n",
        (Stream | Event, Encoding::Protobuf) => b"\x00",
        (Event, Encoding::Json) => b"data: {}\n\n",
        (Framing::SockJs, Encoding::Json) => b"\"{}\"",
    })
}

/// Room for everything of a push that is not counted one by one.
const PUSH: usize = 64;

/// Room for a publication in JSON; more is asked for when text has to be escaped.
fn publication_capacity(channel: &Channel, publication: &Publication) -> usize {
    PUSH + channel.as_str().len() + fields_capacity(publication)
}

fn fields_capacity(publication: &Publication) -> usize {
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
        .map(|publication| fields_capacity(publication))
        .sum::<usize>()
}
