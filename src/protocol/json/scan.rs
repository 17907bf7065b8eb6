//! The grammar of JSON over bytes: finds where values end, without recursion and without building anything.
//!
//! Knows no fields and no messages. Does not check UTF-8: callers do, because text and payloads are treated differently.

use std::borrow::Cow;

use crate::protocol::decode::Malformed;

/// Deepest nesting wherever client JSON is looked into.
pub(super) const MAX_DEPTH: usize = 128;

/// Bytes of a string that are not simply its text.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        stops[control] = true;
        control += 1;
    }
    stops[b'"' as usize] = true;
    stops[b'\\' as usize] = true;
    stops
};

/// Marks, by the highest bit of each, which of eight bytes are not simply text of a string; only the lowest mark is certain.
const fn stops(eight: u64) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const fn zeros(bytes: u64) -> u64 {
        bytes.wrapping_sub(EACH) & !bytes
    }
    let controls = eight.wrapping_sub(EACH * 0x20) & !eight;
    let quotes = zeros(eight ^ (EACH * b'"' as u64));
    let escapes = zeros(eight ^ (EACH * b'\\' as u64));
    (controls | quotes | escapes) & (EACH * 0x80)
}

/// How much of this is simply text of a string.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    let (eights, rest) = bytes.as_chunks();
    for (at, eight) in eights.iter().enumerate() {
        let stops = stops(u64::from_le_bytes(*eight));
        if stops != 0 {
            return at * 8 + stops.trailing_zeros() as usize / 8;
        }
    }
    let stop = rest.iter().position(|byte| STOPS[usize::from(*byte)]);
    bytes.len() - rest.len() + stop.unwrap_or(rest.len())
}

/// A place in JSON text.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    input: &'a [u8],
    at: usize,
    /// A line feed ends a message, so it is no blank.
    lines: bool,
}

impl<'a> Scanner<'a> {
    /// Stands at the beginning of text in which line feeds are blanks.
    pub(super) const fn document(input: &'a [u8]) -> Self {
        Self {
            input,
            at: 0,
            lines: false,
        }
    }

    /// Stands in text in which a line feed ends a message.
    pub(super) const fn lines(input: &'a [u8], at: usize) -> Self {
        Self {
            input,
            at,
            lines: true,
        }
    }

    /// Where it stands.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// The next byte, if there is one.
    pub(super) fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    /// Steps over one byte.
    pub(super) const fn bump(&mut self) {
        self.at += 1;
    }

    /// Steps over blanks.
    pub(super) fn blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' => self.bump(),
                b'\n' if !self.lines => self.bump(),
                _ => return,
            }
        }
    }

    /// Steps over this byte, which has to be here.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(Malformed);
        }
        self.bump();
        Ok(())
    }

    /// Steps over `null` if it is here.
    pub(super) fn null(&mut self) -> bool {
        let here = self.input[self.at..].starts_with(b"null");
        if here {
            self.at += 4;
        }
        here
    }

    /// Steps over a literal, which has to be here.
    fn literal(&mut self, text: &[u8]) -> Result<(), Malformed> {
        if !self.input[self.at..].starts_with(text) {
            return Err(Malformed);
        }
        self.at += text.len();
        Ok(())
    }

    /// Steps over `true` or `false`.
    pub(super) fn boolean(&mut self) -> Result<bool, Malformed> {
        let value = self.peek() == Some(b't');
        self.literal(if value { b"true" } else { b"false" })?;
        Ok(value)
    }

    /// Steps over digits, of which there must be one.
    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.bump();
        }
        if self.at == start {
            return Err(Malformed);
        }
        Ok(())
    }

    /// Steps over a number and returns its text.
    pub(super) fn number(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.bump();
        }
        if self.peek() == Some(b'0') {
            self.bump();
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.bump();
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.bump();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.bump();
            }
            self.digits()?;
        }
        Ok(&self.input[start..self.at])
    }

    /// Steps over a string and returns what is between the quotes, and whether there are escapes in it.
    pub(super) fn string(&mut self) -> Result<(&'a [u8], bool), Malformed> {
        let start = self.at + 1;
        let escaped = self.skip_string()?;
        Ok((&self.input[start..self.at - 1], escaped))
    }

    /// Steps over a string and returns whether there are escapes in it.
    #[inline]
    fn skip_string(&mut self) -> Result<bool, Malformed> {
        self.expect(b'"')?;
        let mut escaped = false;
        loop {
            self.at += plain(&self.input[self.at..]);
            let stop = self.peek();
            self.bump();
            match stop {
                Some(b'"') => return Ok(escaped),
                Some(b'\\') => self.escape()?,
                _ => return Err(Malformed),
            }
            escaped = true;
        }
    }

    /// Steps over what follows a backslash.
    fn escape(&mut self) -> Result<(), Malformed> {
        let kind = self.peek().ok_or(Malformed)?;
        self.bump();
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                let digits = self.input.get(self.at..self.at + 4).ok_or(Malformed)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(Malformed);
                }
                self.at += 4;
                Ok(())
            }
            _ => Err(Malformed),
        }
    }

    /// Steps over a value of any kind, nested no deeper than `depth`.
    pub(super) fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        let mut nesting = Nesting::default();
        loop {
            if self.open(&mut nesting, depth)? {
                continue;
            }
            if self.close(&mut nesting)? {
                return Ok(());
            }
        }
    }

    /// Before a value: steps over a scalar or an empty container, or into a container (then `true`: a value follows).
    fn open(&mut self, nesting: &mut Nesting, depth: usize) -> Result<bool, Malformed> {
        self.blanks();
        let byte = self.peek().ok_or(Malformed)?;
        match byte {
            b'"' => self.skip_string().map(|_| false),
            b'{' | b'[' => {
                if nesting.depth == depth {
                    return Err(Malformed);
                }
                self.bump();
                self.blanks();
                let is_object = byte == b'{';
                if self.peek() == Some(if is_object { b'}' } else { b']' }) {
                    self.bump();
                    return Ok(false);
                }
                nesting.push(is_object);
                if is_object {
                    self.key()?;
                }
                Ok(true)
            }
            b't' | b'f' => self.boolean().map(|_| false),
            b'n' => self.literal(b"null").map(|()| false),
            _ => self.number().map(|_| false),
        }
    }

    /// Behind a value: steps out of containers that end here. `true` when all have ended, `false` when a value follows.
    fn close(&mut self, nesting: &mut Nesting) -> Result<bool, Malformed> {
        while let Some(is_object) = nesting.top() {
            self.blanks();
            let byte = self.peek().ok_or(Malformed)?;
            self.bump();
            match (byte, is_object) {
                (b'}', true) | (b']', false) => nesting.pop(),
                (b',', true) => {
                    self.blanks();
                    self.key()?;
                    return Ok(false);
                }
                (b',', false) => return Ok(false),
                _ => return Err(Malformed),
            }
        }
        Ok(true)
    }

    /// Steps over a key and its colon.
    fn key(&mut self) -> Result<(), Malformed> {
        self.skip_string()?;
        self.blanks();
        self.expect(b':')
    }
}

/// Which containers are open, one bit each, so that depth costs next to nothing.
#[derive(Debug, Default)]
struct Nesting {
    /// The innermost up to 64 containers; the lowest bit is the innermost. Set for objects.
    inner: u64,
    /// The others, 64 each.
    outer: Vec<u64>,
    depth: usize,
}

impl Nesting {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
            self.inner = 0;
        }
        self.inner = (self.inner << 1) | u64::from(is_object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.inner >>= 1;
        if self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or(0);
        }
    }

    const fn top(&self) -> Option<bool> {
        if self.depth == 0 {
            return None;
        }
        Some(self.inner & 1 == 1)
    }
}

/// Text of a string from what [`Scanner::string`] returned. What is not UTF-8, and halves of surrogate pairs, become U+FFFD.
pub(super) fn text(raw: &[u8], escaped: bool) -> Cow<'_, str> {
    if !escaped {
        return String::from_utf8_lossy(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        text.push_str(&String::from_utf8_lossy(&rest[..at]));
        let (char, length) = unescape(&rest[at..]);
        text.push(char);
        rest = &rest[at + length..];
    }
    text.push_str(&String::from_utf8_lossy(rest));
    Cow::Owned(text)
}

/// The character of a checked escape sequence, and its length.
fn unescape(escape: &[u8]) -> (char, usize) {
    let simple = match escape[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(escape),
        other => char::from(other),
    };
    (simple, 2)
}

fn unicode(escape: &[u8]) -> (char, usize) {
    let first = unit(escape);
    if let 0xd800..=0xdbff = first
        && escape[6..].starts_with(b"\\u")
        && let second @ 0xdc00..=0xdfff = unit(&escape[6..])
    {
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
            12,
        );
    }
    (
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
        6,
    )
}

/// The number in `\uXXXX`.
fn unit(escape: &[u8]) -> u32 {
    escape[2..6]
        .iter()
        .filter_map(|digit| char::from(*digit).to_digit(16))
        .fold(0, |number, digit| number << 4 | digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{STOPS, plain};

    proptest! {
        #[test]
        fn eight_bytes_at_once_are_looked_at_as_one_by_one(
            clean in "[ -!#-\\[\\]-~é\u{80}-\u{ff}]{0,70}",
            then in any::<Vec<u8>>(),
        ) {
            let bytes = [clean.as_bytes(), &then].concat();
            let first = bytes.iter().position(|byte| STOPS[usize::from(*byte)]);
            prop_assert_eq!(plain(&bytes), first.unwrap_or(bytes.len()));
        }
    }
}
