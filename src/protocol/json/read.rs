//! JSON as a [`Source`]: keys are looked up in the names of a message, payloads are slices of the frame.

use std::borrow::Cow;

use bytes::Bytes;

use super::scan::{self, MAX_DEPTH, Scanner};
use crate::protocol::{
    decode::Malformed,
    schema::{Name, Source},
    v1,
};

/// A place in a frame of JSON messages.
#[derive(Clone, Copy)]
pub(in crate::protocol) struct Reader<'a> {
    frame: &'a Bytes,
    scanner: Scanner<'a>,
    /// The whole frame is UTF-8; otherwise each payload has to be looked at.
    is_utf8: bool,
}

impl<'a> Reader<'a> {
    /// Stands at a place of a frame.
    pub(in crate::protocol) fn new(frame: &'a Bytes, at: usize, is_utf8: bool) -> Self {
        Self {
            frame,
            scanner: Scanner::lines(frame, at),
            is_utf8,
        }
    }

    /// Stands at the beginning of a body in which line feeds are blanks.
    pub(in crate::protocol) fn document(frame: &'a Bytes, is_utf8: bool) -> Self {
        Self {
            frame,
            scanner: Scanner::document(frame),
            is_utf8,
        }
    }

    /// Steps over `null` if it is here.
    pub(in crate::protocol) fn null(&mut self) -> bool {
        self.scanner.null()
    }

    /// Steps over blanks before a message.
    pub(in crate::protocol) fn blanks(&mut self) {
        self.scanner.blanks();
    }

    /// Where it stands.
    pub(in crate::protocol) const fn at(&self) -> usize {
        self.scanner.at()
    }

    /// Behind a message: where the next line begins, `None` when this was the last.
    pub(in crate::protocol) fn next_line(&mut self) -> Result<Option<usize>, Malformed> {
        self.scanner.blanks();
        match self.scanner.peek() {
            None => Ok(None),
            Some(b'\n') => {
                self.scanner.bump();
                // A line feed may end the frame, once.
                Ok(self.scanner.peek().map(|_| self.scanner.at()))
            }
            Some(_) => Err(Malformed),
        }
    }

    /// Digits of an integer; a fraction or an exponent is none.
    fn integer<T: std::str::FromStr>(&mut self) -> Result<T, Malformed> {
        let digits = self.scanner.number()?;
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or(Malformed)
    }

    /// The elements between brackets, each read or skipped by `element`.
    fn elements(
        &mut self,
        (open, close): (u8, u8),
        mut element: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.scanner.expect(open)?;
        self.scanner.blanks();
        if self.scanner.peek() == Some(close) {
            self.scanner.bump();
            return Ok(());
        }
        loop {
            self.scanner.blanks();
            element(self)?;
            self.scanner.blanks();
            if self.scanner.peek() == Some(close) {
                self.scanner.bump();
                return Ok(());
            }
            self.scanner.expect(b',')?;
        }
    }

    /// A key with its colon.
    fn key(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let (raw, escaped) = self.scanner.string()?;
        self.scanner.blanks();
        self.scanner.expect(b':')?;
        self.scanner.blanks();
        Ok(scan::text(raw, escaped))
    }

    /// Calls `each` and steps over the value if it was not read.
    fn value(
        &mut self,
        each: impl FnOnce(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let before = self.scanner.at();
        each(self)?;
        if self.scanner.at() == before {
            self.scanner.value(MAX_DEPTH)?;
        }
        Ok(())
    }
}

impl<'a> Source<'a> for Reader<'a> {
    fn fields(
        &mut self,
        names: &[Name],
        mut each: impl FnMut(&mut Self, u32) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.elements((b'{', b'}'), |reader| {
            let key = reader.key()?;
            match names.iter().find(|name| name.text == key) {
                Some(name) if !name.payload && reader.scanner.null() => Ok(()),
                Some(name) => reader.value(|reader| each(reader, name.number)),
                None => reader.scanner.value(MAX_DEPTH),
            }
        })
    }

    fn entries(
        &mut self,
        mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.elements((b'{', b'}'), |reader| {
            let key = reader.key()?;
            if reader.scanner.null() {
                return Ok(());
            }
            reader.value(|reader| each(reader, key))
        })
    }

    fn items(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.elements((b'[', b']'), |reader| reader.value(&mut each))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.integer()
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.integer()
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.integer()
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.integer()
    }

    fn boolean(&mut self) -> Result<bool, Malformed> {
        self.scanner.boolean()
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let (raw, escaped) = self.scanner.string()?;
        Ok(scan::text(raw, escaped))
    }

    fn payload(&mut self) -> Result<Bytes, Malformed> {
        let start = self.scanner.at();
        // Only the size of the frame limits how deep a payload is.
        self.scanner.value(usize::MAX)?;
        let payload = start..self.scanner.at();
        if !self.is_utf8 && std::str::from_utf8(&self.frame[payload.clone()]).is_err() {
            return Err(Malformed);
        }
        Ok(self.frame.slice(payload))
    }

    fn embedded(&mut self) -> Result<Self, Malformed> {
        let here = *self;
        // There may be a payload inside.
        self.scanner.value(usize::MAX)?;
        Ok(here)
    }

    fn method(&mut self) -> Result<u32, Malformed> {
        if self.scanner.peek() == Some(b'"') {
            return Ok(v1::method_number(&self.text()?));
        }
        self.u32()
    }
}
