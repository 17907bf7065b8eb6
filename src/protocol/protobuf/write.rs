//! Protobuf as a [`Sink`]: measures first, so that every length is known before its message and one allocation is enough.

use std::{borrow::Borrow, collections::BTreeMap};

use super::{LENGTH, VARINT};
use crate::protocol::schema::{Field, Sink, field};

/// Writes a message, or only measures it.
pub(in crate::protocol) struct Writer {
    /// Where it is written to, behind what is there already; `None` while it is measured.
    out: Option<Vec<u8>>,
    /// What was measured.
    length: usize,
}

impl Writer {
    /// Length of a message.
    pub(in crate::protocol) fn measure(body: impl Fn(&mut Self)) -> usize {
        let mut writer = Self {
            out: None,
            length: 0,
        };
        body(&mut writer);
        writer.length
    }

    /// Writes one message behind what is in the buffer already.
    pub(in crate::protocol) fn encode(out: Vec<u8>, body: impl Fn(&mut Self)) -> Vec<u8> {
        let mut writer = Self {
            out: Some(out),
            length: 0,
        };
        body(&mut writer);
        writer.out.unwrap_or_default()
    }

    fn varint(&mut self, value: u64) {
        match &mut self.out {
            None => self.length += varint_length(value),
            Some(out) => write_varint(out, value),
        }
    }

    fn key(&mut self, field: Field, wire: u8) {
        self.varint(u64::from(field.number) << 3 | u64::from(wire));
    }

    /// A message of a known length.
    fn measured(&mut self, field: Field, length: usize, body: impl Fn(&mut Self)) {
        self.key(field, LENGTH);
        self.varint(length as u64);
        if self.out.is_some() {
            body(self);
        } else {
            // Its fields have been counted already.
            self.length += length;
        }
    }
}

impl Sink for Writer {
    const IS_TEXT: bool = false;

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

    fn strings(&mut self, field: Field, items: &[String]) {
        for item in items {
            // An empty one is an element like any other.
            self.key(field, LENGTH);
            self.varint(item.len() as u64);
            match &mut self.out {
                None => self.length += item.len(),
                Some(out) => out.extend_from_slice(item.as_bytes()),
            }
        }
    }

    fn payload(&mut self, field: Field, value: &[u8]) {
        if value.is_empty() {
            return;
        }
        self.key(field, LENGTH);
        self.varint(value.len() as u64);
        match &mut self.out {
            None => self.length += value.len(),
            Some(out) => out.extend_from_slice(value),
        }
    }

    fn quoted(&mut self, field: Field, value: &[u8]) {
        self.payload(field, value);
    }

    fn patch(&mut self, field: Field, value: &[u8]) {
        self.payload(field, value);
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
                writer.text(field(1, "key"), key.borrow());
                writer.message(field(2, "value"), |writer| body(writer, value));
            });
        }
    }

    fn texts(&mut self, place: Field, entries: &BTreeMap<String, String>) {
        for (key, value) in entries {
            self.message(place, |writer| {
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
    out.push((value & 0x7f) as u8);
}
