//! Frames to commands, one at a time, and the generation of the connection from the first of them (client-protocol.md 1.2, 2).
//!
//! Never sees a socket: limits on frames are the transport's, the limit on one command is checked here before anything of its
//! declared length is believed.

use std::fmt;

use bytes::Bytes;

use super::{frame::Framing, json, message::Command, protobuf, schema};
use crate::model::{Encoding, Version};

/// Bytes that are no command or reply. The answer of a server is 3501.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

/// Decodes the commands of one connection.
///
/// ```
/// use bytes::Bytes;
/// use centripetal::{
///     model::{Encoding, Version},
///     protocol::{Decoder, frame::Framing},
/// };
///
/// let mut decoder = Decoder::new(Encoding::Json, None, Framing::WebSocket, 65_536);
/// let mut commands = decoder.frame(Bytes::from_static(b"{\"id\":1,\"connect\":{}}\n{\"id\":2}"));
/// let connect = commands.next(&mut decoder).expect("a command").expect("well formed");
/// assert_eq!(connect.id, 1);
/// assert_eq!(decoder.version(), Some(Version::V2));
/// assert!(commands.next(&mut decoder).is_some());
/// assert!(commands.next(&mut decoder).is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    encoding: Encoding,
    version: Option<Version>,
    framing: Framing,
    limit: usize,
}

impl Decoder {
    /// A decoder of one connection: `version` if the request named one, `limit` for the bytes of one command.
    #[must_use]
    pub const fn new(
        encoding: Encoding,
        version: Option<Version>,
        framing: Framing,
        limit: usize,
    ) -> Self {
        Self {
            encoding,
            version,
            framing,
            limit,
        }
    }

    /// The generation of the connection; `None` before the first command.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Begins a transport frame.
    #[must_use]
    pub fn frame(&self, frame: Bytes) -> Commands {
        Commands {
            messages: Messages::new(self.encoding, self.framing, frame),
        }
    }
}

/// The commands of one frame that were not taken yet.
///
/// A broken one is found when it is its turn, so that those before it take effect; nothing follows it.
#[derive(Debug)]
pub struct Commands {
    messages: Messages,
}

impl Commands {
    /// True when nothing is left to take.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.messages.at.is_none()
    }

    /// Takes the next command. The first one of a connection fixes its generation in the decoder.
    pub fn next(&mut self, decoder: &mut Decoder) -> Option<Result<Command, Malformed>> {
        let version = decoder.version;
        let decoded = self.messages.next(decoder.limit, |message| match message {
            Message::Json(reader) => schema::read_command(reader, version),
            Message::Protobuf(mut reader) => schema::read_command(&mut reader, version),
        })?;
        Some(decoded.map(|(version, command)| {
            decoder.version = Some(version);
            command
        }))
    }

    /// Bytes of the frame that were taken, with what stands between commands.
    pub(crate) fn taken(&self) -> usize {
        self.messages.at.unwrap_or(self.messages.frame.len())
    }
}

/// One message, to be read by what `schema` knows of it.
pub(super) enum Message<'r, 'a> {
    /// Stands before an object; is to be left behind it.
    Json(&'r mut json::Reader<'a>),
    /// Stands at a message.
    Protobuf(protobuf::Reader<'a>),
}

/// The messages of one frame that were not taken yet, of either direction.
pub(super) struct Messages {
    frame: Bytes,
    encoding: Encoding,
    framing: Framing,
    /// Where the next message is; `None` when there is none.
    at: Option<usize>,
    /// The whole frame is UTF-8 (looked at for JSON only).
    is_utf8: bool,
}

impl fmt::Debug for Messages {
    /// Without the frame: there are tokens and payloads in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Messages {
    pub(super) fn new(encoding: Encoding, framing: Framing, frame: Bytes) -> Self {
        let is_utf8 = encoding == Encoding::Json && std::str::from_utf8(&frame).is_ok();
        Self {
            frame,
            encoding,
            framing,
            at: Some(0),
            is_utf8,
        }
    }

    /// Takes the next message: finds it, has it read, and finds the one behind it. Nothing follows a broken one.
    pub(super) fn next<T>(
        &mut self,
        limit: usize,
        read: impl FnOnce(Message<'_, '_>) -> Result<T, Malformed>,
    ) -> Option<Result<T, Malformed>> {
        let at = self.at.take()?;
        let taken = match self.encoding {
            Encoding::Json => self.line(at, limit, read),
            Encoding::Protobuf => self.prefixed(at, limit, read),
        };
        Some(taken.map(|(value, next)| {
            self.at = next;
            value
        }))
    }

    fn line<T>(
        &self,
        at: usize,
        limit: usize,
        read: impl FnOnce(Message<'_, '_>) -> Result<T, Malformed>,
    ) -> Result<(T, Option<usize>), Malformed> {
        let mut reader = json::Reader::new(&self.frame, at, self.is_utf8);
        reader.blanks();
        let value = read(Message::Json(&mut reader))?;
        if reader.at() - at > limit {
            return Err(Malformed);
        }
        Ok((value, reader.next_line()?))
    }

    fn prefixed<T>(
        &self,
        at: usize,
        limit: usize,
        read: impl FnOnce(Message<'_, '_>) -> Result<T, Malformed>,
    ) -> Result<(T, Option<usize>), Malformed> {
        let (start, length) = match self.framing {
            Framing::None | Framing::SockJs => (0, self.frame.len()),
            Framing::WebSocket
            | Framing::WebSocketDeflate(_)
            | Framing::Stream
            | Framing::Event => {
                let (length, start) = protobuf::varint(&self.frame, at)?;
                (start, usize::try_from(length).or(Err(Malformed))?)
            }
        };
        if length > limit || length > self.frame.len() - start {
            return Err(Malformed);
        }
        let end = start + length;
        let value = read(Message::Protobuf(protobuf::Reader::new(
            &self.frame,
            start,
            end,
        )))?;
        Ok((value, (end < self.frame.len()).then_some(end)))
    }
}
