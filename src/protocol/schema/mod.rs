//! Every message of the protocol described once, for both encodings and both generations.
//!
//! A description talks to a [`Source`] or a [`Sink`]: fields have a number for Protobuf and a name for JSON. How either looks in
//! bytes is known only to `json` and `protobuf`; what a field means only to the session. Nothing here looks at bytes.

mod read_command;
mod read_push;
mod read_reply;
mod read_request;
mod write_command;
mod write_reply;

use std::{borrow::Borrow, borrow::Cow, collections::BTreeMap};

use bytes::Bytes;

use super::{
    decode::Malformed,
    frame::{Look, PositionFormat},
    message::{Command, PushBody, Reply},
};
use crate::model::{Channel, Publication, Version};

pub(super) use read_command::command as read_command;
pub(super) use read_reply::reply as read_reply;
pub(super) use read_request::{connect as read_connect, emulation as read_emulation};
use write_command::command as write_command;
use write_reply::{publication_push, push, reply as write_reply};

/// What makes the fields of a message differ between connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// Generation.
    pub(super) version: Version,
    /// How positions are written; V2 knows only offsets.
    pub(super) positions: PositionFormat,
    /// Pushes have no reply around them.
    pub(super) bare: bool,
    /// What the subscription of a push has negotiated.
    pub(super) look: Look,
}

impl Dialect {
    /// The same for a subscription that has negotiated this.
    pub(super) const fn looking(self, look: Look) -> Self {
        Self { look, ..self }
    }

    /// True for the older generation.
    pub(super) const fn is_v1(self) -> bool {
        matches!(self.version, Version::V1)
    }
}

/// Anything that is written as one message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    Command(&'a Command, Version),
    Reply(&'a Reply, Dialect),
    /// A push of any kind, without a [`Reply`] around it.
    Push(&'a Channel, &'a PushBody, Dialect),
    /// The push of a publication.
    Publication(&'a Channel, &'a Publication, Dialect),
}

impl Body<'_> {
    /// Writes its fields.
    pub(super) fn write<S: Sink>(self, sink: &mut S) {
        match self {
            Self::Command(command, version) => write_command(sink, command, version),
            Self::Reply(reply, dialect) => write_reply(sink, reply, dialect),
            Self::Push(channel, body, dialect) => push(sink, channel, body, dialect),
            Self::Publication(channel, publication, dialect) => {
                publication_push(sink, channel, publication, dialect);
            }
        }
    }
}

/// A field to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Number in Protobuf.
    pub(super) number: u32,
    /// Comma, key and colon of JSON in one.
    pub(super) key: &'static str,
    /// Written in JSON even if the value is zero.
    pub(super) always: bool,
}

impl Field {
    /// The same field, written in JSON even if it is zero when `always` holds.
    pub(super) const fn always_if(self, always: bool) -> Self {
        Self { always, ..self }
    }
}

/// A field that is left out when it is zero: its number and its name.
macro_rules! field {
    ($number:expr, $name:literal) => {
        crate::protocol::schema::Field {
            number: $number,
            key: concat!(",\"", $name, "\":"),
            always: false,
        }
    };
}

/// A field that JSON has even when it is zero.
macro_rules! always {
    ($number:expr, $name:literal) => {
        crate::protocol::schema::field!($number, $name).always_if(true)
    };
}

use always;
pub(super) use field;

/// Where fields are written to. Zero values are left out unless the field says otherwise.
pub(super) trait Sink: Sized {
    /// A payload can be a string.
    const IS_TEXT: bool;
    /// A number without sign.
    fn unsigned(&mut self, field: Field, value: u64);
    /// A number with sign.
    fn signed(&mut self, field: Field, value: i64);
    /// Yes or no.
    fn boolean(&mut self, field: Field, value: bool);
    /// Text.
    fn text(&mut self, field: Field, value: &str);
    /// A payload of the application: embedded as it is.
    fn payload(&mut self, field: Field, value: &[u8]);
    /// A payload of a subscription with deltas: a string where there are strings.
    fn quoted(&mut self, field: Field, value: &[u8]);
    /// A delta; it has to be UTF-8 where there are strings.
    fn patch(&mut self, field: Field, value: &[u8]);
    /// A message; written even if it is empty.
    fn message(&mut self, field: Field, body: impl Fn(&mut Self));
    /// A message that is declared as bytes (V1 `params`, `result`, `data`): Protobuf leaves it out when it is empty.
    fn embedded(&mut self, field: Field, body: impl Fn(&mut Self));
    /// Several messages.
    fn list<T>(&mut self, field: Field, items: &[T], body: impl Fn(&mut Self, &T));
    /// Several texts.
    fn strings(&mut self, field: Field, items: &[String]);
    /// Messages by name.
    fn map<K: Borrow<str>, V>(
        &mut self,
        field: Field,
        entries: &BTreeMap<K, V>,
        body: impl Fn(&mut Self, &V),
    );
    /// Texts by name.
    fn texts(&mut self, field: Field, entries: &BTreeMap<String, String>);
}

/// A field that may be read: what JSON calls the number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    /// Number in Protobuf.
    pub(super) number: u32,
    /// Key in JSON.
    pub(super) text: &'static str,
    /// Holds a payload, to which `null` is a value like any other.
    pub(super) payload: bool,
}

/// A field to read.
pub(super) const fn name(number: u32, text: &'static str) -> Name {
    Name {
        number,
        text,
        payload: false,
    }
}

/// A field to read that holds a payload.
pub(super) const fn payload(number: u32, text: &'static str) -> Name {
    Name {
        number,
        text,
        payload: true,
    }
}

/// Where fields are read from: a place in the input, standing before one value.
///
/// `Copy`, so that a place can be kept and read later. A value no read function was called for is skipped.
pub(super) trait Source<'a>: Copy {
    /// Reads the message here: calls `each` with the number of every field that has a value.
    fn fields(
        &mut self,
        names: &[Name],
        each: impl FnMut(&mut Self, u32) -> Result<(), Malformed>,
    ) -> Result<(), Malformed>;
    /// Reads the map here, or the one entry of it that is here: calls `each` with every name.
    fn entries(
        &mut self,
        each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed>;
    /// Reads the list here, or the one element of it that is here.
    fn items(
        &mut self,
        each: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed>;
    /// Reads a number without sign.
    fn u64(&mut self) -> Result<u64, Malformed>;
    /// Reads a number without sign.
    fn u32(&mut self) -> Result<u32, Malformed>;
    /// Reads a number with sign.
    fn i64(&mut self) -> Result<i64, Malformed>;
    /// Reads a number with sign.
    fn i32(&mut self) -> Result<i32, Malformed>;
    /// Reads yes or no.
    fn boolean(&mut self) -> Result<bool, Malformed>;
    /// Reads text; what is not UTF-8 becomes U+FFFD.
    fn text(&mut self) -> Result<Cow<'a, str>, Malformed>;
    /// Reads a payload: a slice of the input.
    fn payload(&mut self) -> Result<Bytes, Malformed>;
    /// Steps over a message declared as bytes (V1 `params`) and returns its place.
    fn embedded(&mut self) -> Result<Self, Malformed>;
    /// The V1 method: a number, in JSON also a name.
    fn method(&mut self) -> Result<u32, Malformed>;
}

/// Reads text that is kept.
fn read_text<'a, S: Source<'a>>(source: &mut S) -> Result<String, Malformed> {
    Ok(source.text()?.into_owned())
}
