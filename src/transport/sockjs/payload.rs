//! What a client sends: a JSON array of strings, each of them one frame of the protocol (client-protocol.md 3.6).
//!
//! Only bytes; whether a frame makes sense is the decoder's business.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

/// A payload that holds no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Nothing at all.
    Empty,
    /// No JSON.
    Broken,
    /// JSON, but no array.
    OtherType,
}

/// The frames of a payload; text behind the array is ignored.
///
/// An element that is no string, or an empty one, is an empty frame. That ends the connection, so nothing after it is kept:
/// what a payload costs is a small multiple of its length.
pub(super) fn frames(payload: &[u8]) -> Result<Vec<Frame>, Unusable> {
    if payload.is_empty() {
        return Err(Unusable::Empty);
    }
    let mut reader = serde_json::Deserializer::from_slice(payload);
    reader.deserialize_any(Elements).map_err(|error| {
        if error.is_data() {
            Unusable::OtherType
        } else {
            Unusable::Broken
        }
    })
}

/// One element of the array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A string.
    Text(Bytes),
    /// Anything else.
    NoText,
}

impl Frame {
    /// Bytes of the frame, none where there is no text.
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text,
            Self::NoText => Bytes::new(),
        }
    }
}

struct Elements;

/// Reads an object to its end, so that a broken one is told apart from one that is not wanted.
fn skip<'de, A: serde::de::MapAccess<'de>>(mut fields: A) -> Result<(), A::Error> {
    while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<Frame>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        skip(fields)?;
        Err(serde::de::Error::custom("an object"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut frames = Vec::new();
        while let Some(element) = elements.next_element::<Element>()? {
            let last = match &element.0 {
                Frame::Text(text) => text.is_empty(),
                Frame::NoText => true,
            };
            frames.push(element.0);
            if last {
                while elements.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(frames)
    }
}

/// A string, or something that is stepped over.
struct Element(Frame);

impl<'de> serde::Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Element, E> {
        Ok(Element(Frame::Text(Bytes::copy_from_slice(
            text.as_bytes(),
        ))))
    }

    fn visit_string<E>(self, text: String) -> Result<Element, E> {
        Ok(Element(Frame::Text(text.into())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Element, E> {
        Ok(Element(Frame::NoText))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Element, E> {
        Ok(Element(Frame::NoText))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Element, E> {
        Ok(Element(Frame::NoText))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Element, E> {
        Ok(Element(Frame::NoText))
    }

    fn visit_unit<E>(self) -> Result<Element, E> {
        Ok(Element(Frame::NoText))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Element, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Element(Frame::NoText))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, fields: A) -> Result<Element, A::Error> {
        skip(fields)?;
        Ok(Element(Frame::NoText))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(payload: &str) -> Result<Vec<Option<String>>, Unusable> {
        let frames = frames(payload.as_bytes())?.into_iter();
        let text = |frame| match frame {
            Frame::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            Frame::NoText => None,
        };
        Ok(frames.map(text).collect())
    }

    #[test]
    fn arrays_of_strings_are_frames() {
        let some = |texts: &[&str]| Ok(texts.iter().map(|t| Some((*t).to_owned())).collect());
        assert_eq!(texts(r#"["a","b\n\u00e9"]"#), some(&["a", "b\né"]));
        assert_eq!(texts(" [ \"a\" ] x"), some(&["a"]));
        assert_eq!(texts("[]"), some(&[]));
        assert_eq!(texts("null"), some(&[]));
    }

    #[test]
    fn nothing_follows_an_empty_frame() {
        let kept = |payload: &str| texts(payload).unwrap();
        assert_eq!(kept(r#"["","a"]"#), [Some(String::new())]);
        for odd in ["1", "-1", "1.5", "true", "null", "[[]]", r#"{"a":[1]}"#] {
            let payload = format!(r#"["a",{odd},"b"]"#);
            assert_eq!(kept(&payload), [Some("a".to_owned()), None], "{odd}");
        }
    }

    #[test]
    fn other_payloads_are_told_apart() {
        assert_eq!(texts(""), Err(Unusable::Empty));
        for broken in [
            "{",
            "{\"a\":1",
            "[\"x",
            "garbage",
            "[1,]",
            " ",
            "[\"\u{1}\"]",
            "[\"\\ud800\"]",
        ] {
            assert_eq!(texts(broken), Err(Unusable::Broken), "{broken}");
        }
        for other in [r#"{"a":1}"#, "\"text\"", "1", "-1", "1.5", "true"] {
            assert_eq!(texts(other), Err(Unusable::OtherType), "{other}");
        }
        assert_eq!(frames(b"[\"\xff\"]"), Err(Unusable::Broken));
        let deep = "[".repeat(100_000);
        assert_eq!(texts(&deep), Err(Unusable::Broken));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(texts in proptest::collection::vec(".{1,20}", 0..5)) {
            let payload = serde_json::to_vec(&texts).unwrap();
            let read: Vec<_> = frames(&payload).unwrap().into_iter().map(Frame::into_bytes).collect();
            let wanted: Vec<_> = texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
            prop_assert_eq!(read, wanted);
        }

        #[test]
        fn no_bytes_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(frames(&payload));
        }
    }
}
