//! Protobuf as a [`Sink`]: measures first, so that every length is known before its message and one allocation is enough.

use std::{borrow::Borrow, collections::BTreeMap};

use super::{LENGTH, VARINT};
use crate::protocol::schema::{Body, Field, Sink, field};

/// Bytes of one message.
///
/// What is put behind `out` is what `room` was given the exact size of: the message, and whatever the caller puts before it.
pub(in crate::protocol) fn encode(body: Body<'_>, room: impl FnOnce(usize) -> Vec<u8>) -> Vec<u8> {
    let mut measure = Measure::default();
    body.write(&mut measure);
    let mut writer = Writer {
        out: room(measure.length),
        lengths: measure.lengths,
        next: 0,
    };
    body.write(&mut writer);
    writer.out
}

/// Lengths of all messages inside of a message, in the order in which they begin. Those of a publication need no allocation.
#[derive(Debug, Default)]
struct Lengths {
    first: [usize; Self::FIRST],
    more: Vec<usize>,
    count: usize,
}

impl Lengths {
    const FIRST: usize = 8;

    /// A place for the length of a message that begins.
    fn begin(&mut self) -> usize {
        let at = self.count;
        self.count += 1;
        if at >= Self::FIRST {
            self.more.push(0);
        }
        at
    }

    fn at(&mut self, at: usize) -> &mut usize {
        match at.checked_sub(Self::FIRST) {
            None => &mut self.first[at],
            Some(at) => &mut self.more[at],
        }
    }
}

/// A [`Sink`] that only measures.
#[derive(Debug, Default)]
struct Measure {
    length: usize,
    lengths: Lengths,
}

impl Measure {
    const fn key(&mut self, field: Field) {
        self.length += varint_length((field.number as u64) << 3);
    }

    const fn bytes(&mut self, field: Field, length: usize) {
        self.key(field);
        self.length += varint_length(length as u64) + length;
    }

    /// Measures a message and returns its length.
    fn inside(&mut self, body: impl Fn(&mut Self)) -> usize {
        let (at, before) = (self.lengths.begin(), self.length);
        body(self);
        let length = self.length - before;
        *self.lengths.at(at) = length;
        length
    }
}

/// A [`Sink`] that writes what was measured.
#[derive(Debug)]
struct Writer {
    out: Vec<u8>,
    lengths: Lengths,
    /// The next message that begins.
    next: usize,
}

impl Writer {
    fn key(&mut self, field: Field, wire: u8) {
        write_varint(
            &mut self.out,
            u64::from(field.number) << 3 | u64::from(wire),
        );
    }

    fn bytes(&mut self, field: Field, value: &[u8]) {
        self.key(field, LENGTH);
        write_varint(&mut self.out, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    fn begin(&mut self) -> usize {
        let length = *self.lengths.at(self.next);
        self.next += 1;
        length
    }
}

/// Fields as the wire format has them: what both sinks agree on.
trait Wire: Sized {
    fn varint(&mut self, field: Field, value: u64);
    fn bytes(&mut self, field: Field, value: &[u8]);
    /// A message; an empty one too if `always` holds.
    fn nested(&mut self, field: Field, always: bool, body: impl Fn(&mut Self));
}

impl Wire for Measure {
    fn varint(&mut self, field: Field, value: u64) {
        self.key(field);
        self.length += varint_length(value);
    }

    fn bytes(&mut self, field: Field, value: &[u8]) {
        Self::bytes(self, field, value.len());
    }

    fn nested(&mut self, field: Field, always: bool, body: impl Fn(&mut Self)) {
        let length = self.inside(body);
        if length > 0 || always {
            self.key(field);
            self.length += varint_length(length as u64);
        }
    }
}

impl Wire for Writer {
    fn varint(&mut self, field: Field, value: u64) {
        self.key(field, VARINT);
        write_varint(&mut self.out, value);
    }

    fn bytes(&mut self, field: Field, value: &[u8]) {
        Self::bytes(self, field, value);
    }

    fn nested(&mut self, field: Field, always: bool, body: impl Fn(&mut Self)) {
        let length = self.begin();
        if length > 0 || always {
            self.key(field, LENGTH);
            write_varint(&mut self.out, length as u64);
            body(self);
        }
    }
}

impl<W: Wire> Sink for W {
    const IS_TEXT: bool = false;

    fn unsigned(&mut self, field: Field, value: u64) {
        if value != 0 {
            self.varint(field, value);
        }
    }

    fn signed(&mut self, field: Field, value: i64) {
        self.unsigned(field, value.cast_unsigned());
    }

    fn boolean(&mut self, field: Field, value: bool) {
        self.unsigned(field, value.into());
    }

    fn text(&mut self, field: Field, value: &str) {
        self.payload(field, value.as_bytes());
    }

    fn strings(&mut self, field: Field, items: &[String]) {
        for item in items {
            // An empty one is an element like any other.
            self.bytes(field, item.as_bytes());
        }
    }

    fn payload(&mut self, field: Field, value: &[u8]) {
        if !value.is_empty() {
            self.bytes(field, value);
        }
    }

    fn quoted(&mut self, field: Field, value: &[u8]) {
        self.payload(field, value);
    }

    fn patch(&mut self, field: Field, value: &[u8]) {
        self.payload(field, value);
    }

    fn message(&mut self, field: Field, body: impl Fn(&mut Self)) {
        self.nested(field, true, body);
    }

    fn embedded(&mut self, field: Field, body: impl Fn(&mut Self)) {
        self.nested(field, false, body);
    }

    fn list<T>(&mut self, field: Field, items: &[T], body: impl Fn(&mut Self, &T)) {
        for item in items {
            self.message(field, |writer| body(writer, item));
        }
    }

    fn map<K: Borrow<str>, V>(
        &mut self,
        place: Field,
        entries: &BTreeMap<K, V>,
        body: impl Fn(&mut Self, &V),
    ) {
        for (key, value) in entries {
            self.message(place, |writer| {
                writer.text(field!(1, "key"), key.borrow());
                writer.message(field!(2, "value"), |writer| body(writer, value));
            });
        }
    }

    fn texts(&mut self, place: Field, entries: &BTreeMap<String, String>) {
        for (key, value) in entries {
            self.message(place, |writer| {
                writer.text(field!(1, "key"), key);
                writer.text(field!(2, "value"), value);
            });
        }
    }
}

/// How many bytes a varint takes.
pub(in crate::protocol) const fn varint_length(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes a varint.
pub(in crate::protocol) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}
