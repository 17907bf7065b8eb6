//! The JSON mapping of the server API (server-api.md 4), both directions.
//!
//! It is not the standard mapping of Protobuf: names match without regard to case, the last of repeated names counts,
//! `null` is absence, payloads are embedded values kept byte for byte. [`decode`] fills a request straight from the
//! body; payloads are copied once and never become trees. Knows no method and no transport.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::Error as _,
};
use serde_json::value::RawValue;

/// A body that is not what was asked for. Says where and in which way, never what was there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Not UTF-8.
    #[error("body is not UTF-8")]
    Encoding,
    /// Not JSON, or JSON of another shape.
    #[error("{kind} at line {line} column {column}")]
    Shape {
        kind: &'static str,
        line: usize,
        column: usize,
    },
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        use serde_json::error::Category;
        let kind = match error.classify() {
            Category::Eof => "unexpected end",
            Category::Syntax => "syntax error",
            Category::Data => "value of a wrong type",
            Category::Io => "failed read",
        };
        Self::Shape {
            kind,
            line: error.line(),
            column: error.column(),
        }
    }
}

/// A value that can be read over another one: absence and `null` leave the value as it is.
pub(super) trait Json {
    fn read<'de, D: Deserializer<'de>>(&mut self, source: D) -> Result<(), D::Error>;
}

/// An object with known names. Implemented by `message!` and by the few shapes that are not messages.
pub(super) trait Fields {
    /// Reads the value that follows if the name is known; otherwise leaves it and answers false.
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        values: &mut A,
    ) -> Result<bool, A::Error>;
}

/// Decodes a whole body.
pub(super) fn decode<T: Json + Default>(body: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(body).map_err(|_not_text| Error::Encoding)?;
    decode_text(text)
}

/// Decodes one JSON document.
pub(super) fn decode_text<T: Json + Default>(text: &str) -> Result<T, Error> {
    let mut source = serde_json::Deserializer::from_str(text);
    let mut value = T::default();
    value.read(&mut source)?;
    source.end()?;
    Ok(value)
}

/// Reads the next value of a map or list into a place.
pub(super) struct Place<'a, T>(pub(super) &'a mut T);

impl<'de, T: Json> DeserializeSeed<'de> for Place<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        self.0.read(source)
    }
}

macro_rules! plain {
    ($($type:ty),+) => {$(
        impl Json for $type {
            fn read<'de, D: Deserializer<'de>>(&mut self, source: D) -> Result<(), D::Error> {
                if let Some(value) = Option::<Self>::deserialize(source)? {
                    *self = value;
                }
                Ok(())
            }
        }
    )+};
}

plain!(bool, i32, i64, u32, u64);

impl Json for String {
    fn read<'de, D: Deserializer<'de>>(&mut self, source: D) -> Result<(), D::Error> {
        let raw = <&RawValue>::deserialize(source)?.get();
        if raw != "null" {
            *self = text(raw)
                .ok_or_else(|| D::Error::custom("a string is expected"))?
                .into_owned();
        }
        Ok(())
    }
}

/// A payload: any value, kept as it is written, `null` included.
impl Json for Bytes {
    fn read<'de, D: Deserializer<'de>>(&mut self, source: D) -> Result<(), D::Error> {
        let raw = <&RawValue>::deserialize(source)?;
        *self = Self::copy_from_slice(raw.get().as_bytes());
        Ok(())
    }
}

impl<T: Json + Default> Json for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(&mut self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(ListVisitor(self))
    }
}

impl Json for BTreeMap<String, String> {
    fn read<'de, D: Deserializer<'de>>(&mut self, source: D) -> Result<(), D::Error> {
        let mut fresh = Entries(Self::new());
        if source.deserialize_any(ObjectVisitor(&mut fresh))? {
            *self = fresh.0;
        }
        Ok(())
    }
}

impl<T: Fields + Default> Json for Option<T> {
    fn read<'de, D: Deserializer<'de>>(&mut self, source: D) -> Result<(), D::Error> {
        let mut fresh = T::default();
        if source.deserialize_any(ObjectVisitor(&mut fresh))? {
            *self = Some(fresh);
        }
        Ok(())
    }
}

impl<T: Fields> Fields for Box<T> {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        values: &mut A,
    ) -> Result<bool, A::Error> {
        (**self).field(name, values)
    }
}

impl<T: Fields> Json for T {
    fn read<'de, D: Deserializer<'de>>(&mut self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(ObjectVisitor(self)).map(drop)
    }
}

/// Entries of a string map: every name is known.
struct Entries(BTreeMap<String, String>);

impl Fields for Entries {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        values: &mut A,
    ) -> Result<bool, A::Error> {
        let mut value = String::new();
        values.next_value_seed(Place(&mut value))?;
        self.0.insert(name.to_owned(), value);
        Ok(true)
    }
}

/// Fills an object; answers false for `null`. An empty list is an empty object, as PHP writes it.
struct ObjectVisitor<'a, T>(&'a mut T);

impl<'de, T: Fields> Visitor<'de> for ObjectVisitor<'_, T> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        match list.next_element::<IgnoredAny>()? {
            None => Ok(true),
            Some(_) => Err(A::Error::custom("an object is expected")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(name) = map.next_key::<&RawValue>()? {
            let name = text(name.get()).ok_or_else(|| A::Error::custom("a name is expected"))?;
            if !self.0.field(&name, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(true)
    }
}

/// Fills a list; `null` leaves it as it is.
struct ListVisitor<'a, T>(&'a mut Vec<T>);

impl<'de, T: Json + Default> Visitor<'de> for ListVisitor<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.clear();
        loop {
            let mut element = T::default();
            if list.next_element_seed(Place(&mut element))?.is_none() {
                return Ok(());
            }
            self.0.push(element);
        }
    }
}

/// The text of a JSON string; `None` for other values. An unpaired surrogate becomes U+FFFD.
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw)
        .ok()
        .or_else(|| with_replacements(raw))
        .map(Cow::Owned)
}

/// Decodes a string whose escapes name unpaired surrogates: read as bytes they come out as ED A0..BF xx.
fn with_replacements(raw: &str) -> Option<String> {
    struct Octets;
    impl<'de> Visitor<'de> for Octets {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }

    let octets = serde_json::Deserializer::from_str(raw)
        .deserialize_bytes(Octets)
        .ok()?;
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets.as_slice();
    while let Some((first, tail)) = rest.split_first() {
        if let [0xED, 0xA0..=0xBF, _, after @ ..] = rest {
            out.extend_from_slice("\u{FFFD}".as_bytes());
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(out).ok()
}

/// Embeds a payload; fails when it is not JSON.
pub(super) fn embed<S: Serializer>(payload: &Bytes, sink: S) -> Result<S::Ok, S::Error> {
    let raw = parse(payload).ok_or_else(|| S::Error::custom("payload is not JSON"))?;
    raw.serialize(sink)
}

/// The payload as an embeddable value, checked once; `None` when it is not JSON.
///
/// Line breaks are left out: they can only stand between tokens, and legacy replies are told apart by them.
pub(super) fn parse(payload: &[u8]) -> Option<Cow<'_, RawValue>> {
    let raw: &RawValue = serde_json::from_slice(payload).ok()?;
    if !raw.get().contains(['\n', '\r']) {
        return Some(Cow::Borrowed(raw));
    }
    let one_line = raw.get().replace(['\n', '\r'], "");
    RawValue::from_string(one_line).ok().map(Cow::Owned)
}

/// Writes a number without fraction as an integer, as readers of the compatible server are used to.
pub(super) fn number<S: Serializer>(value: &f64, sink: S) -> Result<S::Ok, S::Error> {
    Number(*value).serialize(sink)
}

/// The same for the values of a map.
pub(super) fn numbers<S: Serializer>(
    values: &BTreeMap<String, f64>,
    sink: S,
) -> Result<S::Ok, S::Error> {
    sink.collect_map(values.iter().map(|(name, value)| (name, Number(*value))))
}

struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        /// Integers up to here are exact in a double.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() <= EXACT {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a whole number within the range checked above"
            )]
            let whole = self.0 as i64;
            return sink.serialize_i64(whole);
        }
        sink.serialize_f64(self.0)
    }
}

/// True for zero values, which are not written (server-api.md 4.2).
pub(super) fn zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
