//! What travels through the PUB/SUB channel of a channel (engines.md 3.4): publications with and without position, joins, leaves.
//!
//! No input makes it panic: every length is checked before anything is cut.

use std::sync::Arc;

use bytes::Bytes;

use super::publication::{self, Malformed};
use crate::model::{ChannelEvent, ClientInfo, Epoch, StreamPosition};

/// Why a message is dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The content is no publication or no info.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Neither publication nor join nor leave, or of a version this one does not know.
    #[error("unknown kind of message")]
    Kind,
    /// The position is not complete, or no position.
    #[error("broken header")]
    Header,
}

/// A join.
#[must_use]
pub fn join(info: &ClientInfo) -> Vec<u8> {
    [b"__j__", publication::encode_info(info).as_slice()].concat()
}

/// A leave.
#[must_use]
pub fn leave(info: &ClientInfo) -> Vec<u8> {
    [b"__l__", publication::encode_info(info).as_slice()].concat()
}

/// What a message says.
///
/// # Errors
/// The message is to be dropped and counted.
pub fn decode(message: &Bytes) -> Result<ChannelEvent, Error> {
    // A Protobuf message cannot begin with this byte, so there is no header and no position.
    let Some(rest) = message.strip_prefix(b"__") else {
        return publication_at(message.clone(), StreamPosition::default(), None);
    };
    let from = |part: &[u8]| message.slice_ref(part);
    match rest.split_first() {
        Some((b'p', rest)) => {
            let rest = rest.strip_prefix(b"1:").ok_or(Error::Kind)?;
            let (position, content) = positioned(rest)?;
            publication_at(from(content), position, None)
        }
        Some((b'd', rest)) => {
            let rest = rest.strip_prefix(b"1:").ok_or(Error::Kind)?;
            let (position, previous, content) = with_previous(rest)?;
            let previous = (!previous.is_empty()).then(|| from(previous));
            publication_at(from(content), position, previous)
        }
        Some((b'j', rest)) => Ok(ChannelEvent::Join(info(&from, rest)?)),
        Some((b'l', rest)) => Ok(ChannelEvent::Leave(info(&from, rest)?)),
        _ => Err(Error::Kind),
    }
}

fn info(from: &impl Fn(&[u8]) -> Bytes, rest: &[u8]) -> Result<Arc<ClientInfo>, Error> {
    let content = rest.strip_prefix(b"__").ok_or(Error::Kind)?;
    Ok(Arc::new(publication::decode_info(from(content))?))
}

fn publication_at(
    content: Bytes,
    beside: StreamPosition,
    previous: Option<Bytes>,
) -> Result<ChannelEvent, Error> {
    let (mut publication, epoch) = publication::decode(content, beside)?;
    // One that cannot be read only means that there is no delta.
    let previous =
        previous.and_then(|bytes| publication::decode(bytes, StreamPosition::default()).ok());
    publication.previous = previous.map(|(previous, _)| previous.data);
    // Without an offset there is no stream the epoch could be of.
    let epoch = if publication.offset == 0 {
        Epoch::default()
    } else {
        epoch
    };
    Ok(ChannelEvent::Publication(Arc::new(publication), epoch))
}

/// `offset:epoch__` and what follows. An element of a list has the same form.
///
/// # Errors
/// There is no such header.
fn positioned(rest: &[u8]) -> Result<(StreamPosition, &[u8]), Error> {
    let (offset, rest) = number(rest)?;
    let end = rest
        .windows(2)
        .position(|pair| pair == b"__")
        .ok_or(Error::Header)?;
    let epoch = text(&rest[..end])?;
    Ok((StreamPosition { offset, epoch }, &rest[end + 2..]))
}

/// `offset:epoch:length:previous:length:` and the publication.
fn with_previous(rest: &[u8]) -> Result<(StreamPosition, &[u8], &[u8]), Error> {
    let (offset, rest) = number(rest)?;
    let (epoch, rest) = until_colon(rest)?;
    let epoch = text(epoch)?;
    let (previous, rest) = measured(rest)?;
    let rest = rest.strip_prefix(b":").ok_or(Error::Header)?;
    let (content, rest) = measured(rest)?;
    if !rest.is_empty() {
        return Err(Error::Header);
    }
    Ok((StreamPosition { offset, epoch }, previous, content))
}

/// `length:` and as many bytes.
fn measured(rest: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (length, rest) = number(rest)?;
    let length = usize::try_from(length).map_err(|_why| Error::Header)?;
    rest.split_at_checked(length).ok_or(Error::Header)
}

fn number(rest: &[u8]) -> Result<(u64, &[u8]), Error> {
    let (digits, rest) = until_colon(rest)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Error::Header);
    }
    let digits = std::str::from_utf8(digits).map_err(|_why| Error::Header)?;
    Ok((digits.parse().map_err(|_why| Error::Header)?, rest))
}

fn until_colon(rest: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let at = memchr::memchr(b':', rest).ok_or(Error::Header)?;
    Ok((&rest[..at], &rest[at + 1..]))
}

fn text(bytes: &[u8]) -> Result<Epoch, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_why| Error::Header)?;
    Ok(Epoch::from(text))
}

#[cfg(test)]
mod tests;
