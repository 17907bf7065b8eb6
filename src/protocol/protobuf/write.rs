//! Protobuf as a [`Sink`]: measures first, so that every length is known before its message and one allocation is enough.

use std::{borrow::Borrow, collections::BTreeMap};

use super::{LENGTH, VARINT};
use crate::protocol::schema::{Field, Sink, field};

/// Writes a message, or only measures it.
#[derive(Debug)]
pub(in crate::protocol) enum Writer {
    /// Counts bytes.
    Measure(usize),
    /// Writes behind what is in the buffer already.
    Write(Vec<u8>),
}

impl Writer {
    /// Length of a message.
    pub(in crate::protocol) fn measure(body: impl Fn(&mut Self)) -> usize {
        let mut writer = Self::Measure(0);
        body(&mut writer);
        match writer {
            Self::Measure(length) => length,
            Self::Write(_) => 0,
        }
    }

    /// Writes one message behind what is in the buffer already.
    pub(in crate::protocol) fn message(out: Vec<u8>, body: impl Fn(&mut Self)) -> Vec<u8> {
        let mut writer = Self::Write(out);
        body(&mut writer);
        match writer {
            Self::Measure(_) => Vec::new(),
            Self::Write(out) => out,
        }
    }

    fn varint(&mut self, value: u64) {
        match self {
            Self::Measure(length) => *length += varint_length(value),
            Self::Write(out) => write_varint(out, value),
        }
    }

    fn key(&mut self, field: Field, wire: u8) {
        self.varint(u64::from(field.number) << 3 | u64::from(wire));
    }

    fn bytes(&mut self, field: Field, value: &[u8]) {
        self.key(field, LENGTH);
        self.varint(value.len() as u64);
        match self {
            Self::Measure(length) => *length += value.len(),
            Self::Write(out) => out.extend_from_slice(value),
        }
    }

    /// A message of a known length.
    fn measured(&mut self, field: Field, length: usize, body: impl Fn(&mut Self)) {
        self.key(field, LENGTH);
        self.varint(length as u64);
        match self {
            // Its fields have been counted already.
            Self::Measure(total) => *total += length,
            Self::Write(_) => body(self),
        }
    }
}

impl Sink for Writer {
    fn unsigned(&mut self, field: Field, value: u64) {
        if value != 0 {
            self.key(field, VARINT);
            self.varint(value);
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

    fn payload(&mut self, field: Field, value: &[u8]) {
        if !value.is_empty() {
            self.bytes(field, value);
        }
    }

    fn message(&mut self, field: Field, body: impl Fn(&mut Self)) {
        self.measured(field, Self::measure(&body), body);
    }

    fn embedded(&mut self, field: Field, body: impl Fn(&mut Self)) {
        let length = Self::measure(&body);
        if length > 0 {
            self.measured(field, length, body);
        }
    }

    fn list<T>(&mut self, field: Field, items: &[T], body: impl Fn(&mut Self, &T)) {
        for item in items {
            Sink::message(self, field, |writer| body(writer, item));
        }
    }

    fn map<K: Borrow<str>, V>(
        &mut self,
        place: Field,
        entries: &BTreeMap<K, V>,
        body: impl Fn(&mut Self, &V),
    ) {
        for (key, value) in entries {
            Sink::message(self, place, |writer| {
                writer.text(field(1, "key"), key.borrow());
                Sink::message(writer, field(2, "value"), |writer| body(writer, value));
            });
        }
    }

    fn texts(&mut self, place: Field, entries: &BTreeMap<String, String>) {
        for (key, value) in entries {
            Sink::message(self, place, |writer| {
                writer.text(field(1, "key"), key);
                writer.text(field(2, "value"), value);
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
    out.push(value as u8);
}
