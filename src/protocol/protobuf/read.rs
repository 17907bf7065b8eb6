//! Protobuf as a [`Source`]: every length is compared with what is there before it is used.

use std::borrow::Cow;

use bytes::Bytes;

use super::{END_GROUP, FIXED32, FIXED64, GROUP, LENGTH, VARINT};
use crate::protocol::{
    decode::Malformed,
    schema::{Name, Source},
};

/// Deepest nesting of groups that are stepped over.
const MAX_DEPTH: u32 = 100;

/// The varint at a place and the place behind it. At most ten bytes, and no more than 64 bits.
pub(in crate::protocol) fn varint(input: &[u8], at: usize) -> Result<(u64, usize), Malformed> {
    let mut value = 0;
    for (index, byte) in input.iter().skip(at).take(10).copied().enumerate() {
        if index == 9 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value, at + index + 1));
        }
    }
    Err(Malformed)
}

/// One value in a frame: a number, or a range of bytes.
#[derive(Clone, Copy)]
pub(in crate::protocol) struct Reader<'a> {
    frame: &'a Bytes,
    /// Beginning of the value.
    at: usize,
    /// End of the value, or of the message it is in while there is none.
    end: usize,
    wire: u8,
    /// The value, if it is a number.
    number: u64,
}

impl<'a> Reader<'a> {
    /// Stands at a message that fills this range, which is inside of the frame.
    pub(in crate::protocol) const fn new(frame: &'a Bytes, at: usize, end: usize) -> Self {
        Self {
            frame,
            at,
            end,
            wire: LENGTH,
            number: 0,
        }
    }

    fn is(&self, wire: u8) -> Result<(), Malformed> {
        if self.wire == wire {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    fn bytes(&self) -> Result<&'a [u8], Malformed> {
        self.is(LENGTH)?;
        Ok(&self.frame[self.at..self.end])
    }

    /// A varint that does not go beyond `end`.
    fn varint(&mut self, end: usize) -> Result<u64, Malformed> {
        let (value, at) = varint(&self.frame[..end], self.at)?;
        self.at = at;
        Ok(value)
    }

    /// Steps over a key; returns the number of the field and its wire type.
    fn key(&mut self, end: usize) -> Result<(u32, u8), Malformed> {
        let key = u32::try_from(self.varint(end)?).or(Err(Malformed))?;
        let wire = u8::try_from(key & 7).or(Err(Malformed))?;
        if key < 8 {
            return Err(Malformed);
        }
        Ok((key >> 3, wire))
    }

    /// Behind a key: finds out where the value is. Leaves `at` and `end` around it.
    fn delimit(&mut self, end: usize) -> Result<(), Malformed> {
        let length = match self.wire {
            VARINT => {
                self.number = self.varint(end)?;
                0
            }
            FIXED64 => 8,
            FIXED32 => 4,
            LENGTH => usize::try_from(self.varint(end)?).or(Err(Malformed))?,
            _ => return Err(Malformed),
        };
        if length > end - self.at {
            return Err(Malformed);
        }
        self.end = self.at + length;
        Ok(())
    }

    /// Behind the beginning of a group: steps over all of it.
    fn group(&mut self, end: usize) -> Result<(), Malformed> {
        let mut depth = 1;
        while depth > 0 {
            let (_, wire) = self.key(end)?;
            match wire {
                GROUP if depth == MAX_DEPTH => return Err(Malformed),
                GROUP => depth += 1,
                END_GROUP => depth -= 1,
                _ => {
                    self.wire = wire;
                    self.delimit(end)?;
                    self.at = self.end;
                }
            }
        }
        Ok(())
    }
}

impl<'a> Source<'a> for Reader<'a> {
    fn fields(
        &mut self,
        _names: &[Name],
        mut each: impl FnMut(&mut Self, u32) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.is(LENGTH)?;
        let end = self.end;
        while self.at < end {
            let (number, wire) = self.key(end)?;
            if wire == GROUP {
                self.group(end)?;
                continue;
            }
            self.wire = wire;
            self.delimit(end)?;
            let behind = self.end;
            let mut value = *self;
            each(&mut value, number)?;
            self.at = behind;
        }
        Ok(())
    }

    fn entries(
        &mut self,
        mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let mut key = Cow::Borrowed("");
        // An entry without a value has an empty one.
        let mut value = Self {
            at: self.end,
            ..*self
        };
        self.fields(&[], |source, number| {
            match number {
                1 => key = source.text()?,
                2 => value = *source,
                _ => {}
            }
            Ok(())
        })?;
        each(&mut value, key)
    }

    fn items(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        each(self)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.is(VARINT)?;
        Ok(self.number)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "Protobuf takes the low bits of numbers that are too long"
    )]
    fn u32(&mut self) -> Result<u32, Malformed> {
        self.u64().map(|number| number as u32)
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.u64().map(u64::cast_signed)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.u32().map(u32::cast_signed)
    }

    fn boolean(&mut self) -> Result<bool, Malformed> {
        self.u64().map(|number| number != 0)
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.bytes().map(String::from_utf8_lossy)
    }

    fn payload(&mut self) -> Result<Bytes, Malformed> {
        self.is(LENGTH)?;
        Ok(self.frame.slice(self.at..self.end))
    }

    fn embedded(&mut self) -> Result<Self, Malformed> {
        self.is(LENGTH)?;
        Ok(*self)
    }

    fn method(&mut self) -> Result<u32, Malformed> {
        self.u32()
    }
}
