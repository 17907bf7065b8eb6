//! Reading answers of Redis: numbers that come as text or integer, lists, flat maps. Nothing is trusted to be there.

use bytes::Bytes;
use redis::Value;

use super::address::Endpoint;
use crate::model::{Epoch, StreamPosition};

/// An entry of a stream: offset and content.
pub(super) type Entry = (u64, Bytes);

/// An answer that is a list.
pub(super) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) | Value::Set(values) => Some(values),
        _ => None,
    }
}

/// An answer that is text or bytes.
pub(super) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(Bytes::from(bytes)),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(Bytes::from(text)),
        _ => None,
    }
}

/// An answer that is text.
pub(super) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?.into()).ok()
}

/// A number, as integer or as text.
pub(super) fn number(value: Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(number).ok(),
        other => text(other)?.parse().ok(),
    }
}

/// Offset and epoch, in this order; an offset that is not there is 0.
pub(super) fn position(offset: Value, epoch: Value) -> Option<StreamPosition> {
    let offset = match offset {
        Value::Nil => 0,
        other => number(other)?,
    };
    let epoch = Epoch::from(text(epoch)?);
    Some(StreamPosition { offset, epoch })
}

/// Key after value after key, whatever form that has.
pub(super) fn pairs(value: Value) -> Option<Vec<(Bytes, Bytes)>> {
    if let Value::Map(pairs) = value {
        let pairs = pairs.into_iter();
        return pairs
            .map(|(key, value)| Some((bytes(key)?, bytes(value)?)))
            .collect();
    }
    let mut values = list(value)?.into_iter();
    let mut pairs = Vec::new();
    while let Some(key) = values.next() {
        pairs.push((bytes(key)?, bytes(values.next()?)?));
    }
    Some(pairs)
}

/// Entries of a stream. One whose identifier is no offset, or that has no field `d`, is nobody's and left out.
pub(super) fn entries(value: Value) -> Option<Vec<Entry>> {
    let entries = list(value)?.into_iter();
    Some(entries.filter_map(entry).collect())
}

fn entry(value: Value) -> Option<Entry> {
    let mut parts = list(value)?.into_iter();
    let id = text(parts.next()?)?;
    let (offset, _) = id.split_once('-')?;
    let fields = pairs(parts.next()?)?;
    let (_, content) = fields.into_iter().find(|(name, _)| &name[..] == b"d")?;
    Some((offset.parse().ok()?, content))
}

/// Host and port.
pub(super) fn address(value: Value) -> Option<Endpoint> {
    let mut parts = list(value)?.into_iter();
    let host = text(parts.next()?)?;
    let port = u16::try_from(number(parts.next()?)?).ok()?;
    Some(Endpoint::Tcp(host, port))
}

/// Ranges of slots with host and port of their master.
pub(super) fn slots(value: Value) -> Option<Vec<(u16, u16, String, u16)>> {
    let ranges = list(value)?.into_iter();
    ranges.map(range).collect()
}

fn range(value: Value) -> Option<(u16, u16, String, u16)> {
    let mut parts = list(value)?.into_iter();
    let first = u16::try_from(number(parts.next()?)?).ok()?;
    let last = u16::try_from(number(parts.next()?)?).ok()?;
    let mut master = list(parts.next()?)?.into_iter();
    // A server that does not know its own name says nil.
    let host = match master.next()? {
        Value::Nil => String::new(),
        other => text(other)?,
    };
    let port = u16::try_from(number(master.next()?)?).ok()?;
    Some((first, last, host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn numbers_come_as_integer_or_text() {
        assert_eq!(number(Value::Int(7)), Some(7));
        assert_eq!(number(said("18446744073709551615")), Some(u64::MAX));
        assert_eq!(number(said("x")), None);
        assert_eq!(number(Value::Int(-1)), None);
        assert_eq!(number(Value::Nil), None);
    }

    #[test]
    fn pairs_come_flat_or_as_a_map() {
        let expected = Some(vec![(Bytes::from("a"), Bytes::from("1"))]);
        assert_eq!(pairs(Value::Array(vec![said("a"), said("1")])), expected);
        assert_eq!(pairs(Value::Map(vec![(said("a"), said("1"))])), expected);
        assert_eq!(pairs(Value::Array(vec![said("a")])), None);
    }

    #[test]
    fn entries_that_are_not_ours_are_left_out() {
        let entry = |id: &str, field: &str| {
            Value::Array(vec![said(id), Value::Array(vec![said(field), said("x")])])
        };
        let all = Value::Array(vec![
            entry("1-0", "d"),
            entry("2-0", "other"),
            entry("odd", "d"),
            entry("3-0", "d"),
            Value::Nil,
        ]);
        let offsets: Vec<_> = entries(all)
            .unwrap()
            .into_iter()
            .map(|entry| entry.0)
            .collect();
        assert_eq!(offsets, [1, 3]);
    }

    #[test]
    fn a_server_without_a_name_is_where_it_was_asked() {
        let master = Value::Array(vec![Value::Nil, Value::Int(7000), said("id")]);
        let answer = Value::Array(vec![Value::Array(vec![
            Value::Int(0),
            Value::Int(16383),
            master,
        ])]);
        assert_eq!(slots(answer), Some(vec![(0, 16383, String::new(), 7000)]));
    }
}
