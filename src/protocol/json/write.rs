//! JSON as a [`Sink`]: no blanks, keys in the order they are written, strings escaped as deployed servers do.

use std::{borrow::Borrow, collections::BTreeMap};

use super::is_json;
use crate::protocol::{
    frame::Inappropriate,
    schema::{Body, Field, Sink},
};

/// Writes JSON behind what is in the buffer already.
struct Writer {
    out: Vec<u8>,
    /// Nothing was written into the innermost container yet, so no comma is due.
    is_first: bool,
    /// A payload was not JSON.
    is_broken: bool,
}

/// Writes one message behind what is in the buffer already.
pub(in crate::protocol) fn encode(out: Vec<u8>, body: Body<'_>) -> Result<Vec<u8>, Inappropriate> {
    let mut writer = Writer {
        out,
        is_first: true,
        is_broken: false,
    };
    writer.object(|writer| body.write(writer));
    if writer.is_broken {
        return Err(Inappropriate);
    }
    Ok(writer.out)
}

impl Writer {
    fn object(&mut self, body: impl FnOnce(&mut Self)) {
        self.out.push(b'{');
        self.is_first = true;
        body(self);
        self.out.push(b'}');
        self.is_first = false;
    }

    fn comma(&mut self) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
    }

    #[inline]
    fn key(&mut self, field: Field) {
        let key = field.key.as_bytes();
        self.out
            .extend_from_slice(if self.is_first { &key[1..] } else { key });
        self.is_first = false;
    }

    /// A key that is not ours.
    fn foreign_key(&mut self, key: &str) {
        self.comma();
        string(&mut self.out, key);
        self.out.push(b':');
    }

    fn digits(&mut self, is_negative: bool, mut value: u64) {
        let mut digits = [0; 21];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b"0123456789"[(value % 10) as usize];
            value /= 10;
            if value == 0 {
                break;
            }
        }
        if is_negative {
            at -= 1;
            digits[at] = b'-';
        }
        self.out.extend_from_slice(&digits[at..]);
    }
}

impl Sink for Writer {
    const IS_TEXT: bool = true;

    fn unsigned(&mut self, field: Field, value: u64) {
        if value != 0 || field.always {
            self.key(field);
            self.digits(false, value);
        }
    }

    fn signed(&mut self, field: Field, value: i64) {
        if value != 0 || field.always {
            self.key(field);
            self.digits(value < 0, value.unsigned_abs());
        }
    }

    fn boolean(&mut self, field: Field, value: bool) {
        if value || field.always {
            self.key(field);
            self.out
                .extend_from_slice(if value { b"true" } else { b"false" });
        }
    }

    fn text(&mut self, field: Field, value: &str) {
        if !value.is_empty() || field.always {
            self.key(field);
            string(&mut self.out, value);
        }
    }

    fn payload(&mut self, field: Field, value: &[u8]) {
        if !value.is_empty() {
            self.key(field);
            self.is_broken |= !is_json(value);
            without_line_breaks(&mut self.out, value);
        } else if field.always {
            self.key(field);
            self.out.extend_from_slice(b"null");
        }
    }

    fn quoted(&mut self, field: Field, value: &[u8]) {
        self.is_broken |= !value.is_empty() && !is_json(value);
        self.patch(field, value);
    }

    fn patch(&mut self, field: Field, value: &[u8]) {
        match std::str::from_utf8(value) {
            Ok(text) => self.text(field, text),
            Err(_) => self.is_broken = true,
        }
    }

    fn message(&mut self, field: Field, body: impl Fn(&mut Self)) {
        self.key(field);
        self.object(body);
    }

    fn embedded(&mut self, field: Field, body: impl Fn(&mut Self)) {
        self.message(field, body);
    }

    fn list<T>(&mut self, field: Field, items: &[T], body: impl Fn(&mut Self, &T)) {
        if items.is_empty() && !field.always {
            return;
        }
        self.key(field);
        self.out.push(b'[');
        self.is_first = true;
        for item in items {
            self.comma();
            self.object(|writer| body(writer, item));
        }
        self.out.push(b']');
        self.is_first = false;
    }

    fn strings(&mut self, field: Field, items: &[String]) {
        if items.is_empty() && !field.always {
            return;
        }
        self.key(field);
        self.out.push(b'[');
        self.is_first = true;
        for item in items {
            self.comma();
            string(&mut self.out, item);
        }
        self.out.push(b']');
        self.is_first = false;
    }

    fn map<K: Borrow<str>, V>(
        &mut self,
        field: Field,
        entries: &BTreeMap<K, V>,
        body: impl Fn(&mut Self, &V),
    ) {
        if entries.is_empty() && !field.always {
            return;
        }
        self.key(field);
        self.object(|writer| {
            for (key, value) in entries {
                writer.foreign_key(key.borrow());
                writer.object(|writer| body(writer, value));
            }
        });
    }

    fn texts(&mut self, field: Field, entries: &BTreeMap<String, String>) {
        if entries.is_empty() && !field.always {
            return;
        }
        self.key(field);
        self.object(|writer| {
            for (key, value) in entries {
                writer.foreign_key(key);
                string(&mut writer.out, value);
            }
        });
    }
}

/// Line breaks in a payload are only between its tokens; a line feed would end the message.
fn without_line_breaks(out: &mut Vec<u8>, payload: &[u8]) {
    if memchr::memchr2(b'\n', b'\r', payload).is_none() {
        return out.extend_from_slice(payload);
    }
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    for part in payload.split(is_break) {
        out.extend_from_slice(part);
    }
}

/// A quoted string. Besides what must be, `<`, `>`, `&` and the line separators of JavaScript are escaped.
pub(in crate::protocol) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// Is this byte escaped, or the one that two line separators begin with? Without branches, so that it is asked of many at once.
const fn is_escaped(byte: u8) -> bool {
    (byte < 0x20)
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'&')
        | (byte == 0xe2)
}

/// The same, for one at a time.
const ESCAPED: [bool; 256] = {
    let mut escaped = [false; 256];
    let mut byte = 0_u8;
    loop {
        escaped[byte as usize] = is_escaped(byte);
        if byte == u8::MAX {
            break escaped;
        }
        byte += 1;
    }
};

/// How much of this is written as it is.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    let (many, _) = bytes.as_chunks::<16>();
    let clean = many
        .iter()
        .take_while(|some| !some.iter().fold(false, |any, byte| any | is_escaped(*byte)));
    let clean = clean.count() * 16;
    let rest = &bytes[clean..];
    let next = rest.iter().position(|byte| ESCAPED[usize::from(*byte)]);
    clean + next.unwrap_or(rest.len())
}

fn escape(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let (mut written, mut next) = (0, 0);
    loop {
        let at = next + plain(&bytes[next..]);
        let Some(byte) = bytes.get(at).copied() else {
            break;
        };
        next = at + 1;
        // U+2028 and U+2029 are e2 80 a8 and e2 80 a9.
        let length = match byte {
            0xe2 if !matches!(bytes[at..], [_, 0x80, 0xa8 | 0xa9, ..]) => continue,
            0xe2 => 3,
            _ => 1,
        };
        out.extend_from_slice(&bytes[written..at]);
        written = at + length;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0xe2 => {
                out.extend_from_slice(b"\\u202");
                out.push(HEX[usize::from(bytes[at + 2] & 0xf)]);
            }
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 0xf)]);
            }
        }
    }
    out.extend_from_slice(&bytes[written..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_escaped, plain};

    proptest! {
        #[test]
        fn many_bytes_at_once_are_looked_at_as_one_by_one(
            clean in "[a-zA-Z0-9 é]{0,70}",
            then in any::<Vec<u8>>(),
        ) {
            let bytes = [clean.as_bytes(), &then].concat();
            let first = bytes.iter().position(|byte| is_escaped(*byte));
            prop_assert_eq!(plain(&bytes), first.unwrap_or(bytes.len()));
        }
    }
}
