//! Values of a source turned into the value of a kind (config.md 2, 3).
//!
//! A converted value has one form whatever the source: booleans, whole numbers, texts, arrays and objects of JSON,
//! durations as whole nanoseconds. Files are read loosely, variables and flags strictly.

use serde_json::{Map, Value};

use super::{
    schema::{Kind, Width},
    value::{Malformed, parse_bool, parse_duration, parse_int},
};

/// Why a value does not fit. Never repeats what a secret option was given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Text that is none of the words of its kind.
    #[error("cannot read {text:?}: {why}")]
    Text {
        /// What was given.
        text: String,
        /// Why not.
        why: Malformed,
    },
    /// A number beyond the range of its kind.
    #[error("number out of range")]
    Range,
    /// Another kind of value.
    #[error("expected a {expected}, got {got}")]
    Kind {
        /// What belongs here.
        expected: &'static str,
        /// What stands here.
        got: &'static str,
    },
    /// A member of a string map that is no text.
    #[error("expected text for {0:?}")]
    Member(String),
    /// A key twice in the list form of a string map.
    #[error("key {0:?} is given twice")]
    Twice(String),
    /// JSON was expected in a variable.
    #[error("not valid JSON for a {0}")]
    Json(&'static str),
}

/// A value of a file. `Ok(None)` counts as not given.
///
/// # Errors
/// The value cannot be read as this kind.
pub(super) fn from_file(kind: &Kind, raw: &Value, keep_case: bool) -> Result<Option<Value>, Unfit> {
    let empty_object = raw.as_object().is_some_and(Map::is_empty);
    if raw.is_null() || (empty_object && !matches!(kind, Kind::Map)) {
        return Ok(None);
    }
    let unfit = || Unfit::Kind {
        expected: kind.name(),
        got: word(raw),
    };
    match kind {
        Kind::Bool(_) => loose_bool(raw).ok_or_else(unfit)?.map(Value::from),
        Kind::Int(_, width) => loose_int(raw)
            .ok_or_else(unfit)?
            .and_then(|number| fit(number, *width))
            .map(Value::from),
        Kind::Duration(..) => loose_duration(raw).ok_or_else(unfit)?.map(Value::from),
        Kind::Text(..) => Ok(Value::String(loose_text(raw).ok_or_else(unfit)?)),
        Kind::Texts(_) => Ok(loose_texts(raw).ok_or_else(unfit)?),
        Kind::Map => text_map(raw, keep_case),
        Kind::Section(_) | Kind::Objects(_) | Kind::Named(_) => Err(unfit()),
    }
    .map(Some)
}

/// The text of a variable or flag.
///
/// # Errors
/// The text cannot be read as this kind.
pub(super) fn from_text(kind: &Kind, text: &str) -> Result<Value, Unfit> {
    let why = |why| Unfit::Text {
        text: text.to_owned(),
        why,
    };
    Ok(match kind {
        Kind::Bool(_) => parse_bool(text).map_err(why)?.into(),
        Kind::Int(_, width) => fit(parse_int(text).map_err(why)?, *width)?.into(),
        Kind::Duration(..) => parse_duration(text).map_err(why)?.into(),
        Kind::Text(..) => text.into(),
        Kind::Texts(_) => text.split_whitespace().collect::<Vec<_>>().into(),
        Kind::Map => {
            let object: Map<String, Value> =
                serde_json::from_str(text).map_err(|_broken| Unfit::Json(kind.name()))?;
            text_map(&Value::Object(object), true)?
        }
        Kind::Section(_) | Kind::Objects(_) | Kind::Named(_) => {
            return Err(Unfit::Json(kind.name()));
        }
    })
}

/// The default of a kind, in converted form. Sections and lists are empty.
pub(super) fn default(kind: &Kind) -> Value {
    match kind {
        Kind::Bool(yes) => (*yes).into(),
        Kind::Int(number, _) => (*number).into(),
        Kind::Duration(nanos, _) => (*nanos).into(),
        Kind::Text(text, _) => (*text).into(),
        Kind::Texts(texts) => texts.to_vec().into(),
        Kind::Map | Kind::Section(_) => Value::Object(Map::new()),
        Kind::Objects(_) | Kind::Named(_) => Value::Array(Vec::new()),
    }
}

/// Zero of its type: counts as not given in the compatible tree.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(pairs) => pairs.is_empty(),
    }
}

pub(super) const fn word(raw: &Value) -> &'static str {
    match raw {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn fit(number: i64, width: Width) -> Result<i64, Unfit> {
    let fits = match width {
        Width::Count | Width::Signed | Width::Int64 => true,
        Width::Int32 => i32::try_from(number).is_ok(),
        Width::Uint32 => u32::try_from(number).is_ok(),
        Width::Port => u16::try_from(number).is_ok(),
    };
    fits.then_some(number).ok_or(Unfit::Range)
}

fn unreadable(text: &str, why: Malformed) -> Unfit {
    Unfit::Text {
        text: text.to_owned(),
        why,
    }
}

fn loose_bool(raw: &Value) -> Option<Result<bool, Unfit>> {
    match raw {
        Value::Bool(yes) => Some(Ok(*yes)),
        Value::Number(number) => Some(Ok(number.as_f64() != Some(0.0))),
        Value::String(text) if text.is_empty() => Some(Ok(false)),
        Value::String(text) => Some(parse_bool(text).map_err(|why| unreadable(text, why))),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn loose_int(raw: &Value) -> Option<Result<i64, Unfit>> {
    match raw {
        Value::Bool(yes) => Some(Ok(i64::from(*yes))),
        Value::Number(number) => Some(cut(number)),
        Value::String(text) if text.is_empty() => Some(Ok(0)),
        Value::String(text) => Some(parse_int(text).map_err(|why| unreadable(text, why))),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number as a whole one; a fraction is cut off.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked just before"
)]
fn cut(number: &serde_json::Number) -> Result<i64, Unfit> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if let Some(whole) = number.as_i64() {
        return Ok(whole);
    }
    number
        .as_f64()
        .filter(|float| (-LIMIT..LIMIT).contains(float))
        .map(|float| float as i64)
        .ok_or(Unfit::Range)
}

fn loose_duration(raw: &Value) -> Option<Result<i64, Unfit>> {
    match raw {
        Value::Number(number) => Some(cut(number)),
        Value::String(text) => Some(parse_duration(text).map_err(|why| unreadable(text, why))),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn loose_text(raw: &Value) -> Option<String> {
    match raw {
        Value::String(text) => Some(text.clone()),
        // A whole number keeps no `.0`.
        Value::Number(number) => Some(match number.as_f64() {
            Some(float) if number.as_i64().is_none() && float.fract() == 0.0 => {
                format!("{float:.0}")
            }
            _ => number.to_string(),
        }),
        Value::Bool(yes) => Some(if *yes { "1" } else { "0" }.to_owned()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn loose_texts(raw: &Value) -> Option<Value> {
    let texts: Option<Vec<String>> = match raw {
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::Null => Some(String::new()),
                item => loose_text(item),
            })
            .collect(),
        Value::String(text) if text.is_empty() => Some(Vec::new()),
        single => loose_text(single).map(|text| vec![text]),
    };
    texts.map(Value::from)
}

/// An object of texts, or a list of `{"key": …, "value": …}`. Keys of a file's object are lower-cased.
fn text_map(raw: &Value, keep_case: bool) -> Result<Value, Unfit> {
    let mut map = Map::new();
    match raw {
        Value::Object(pairs) => {
            for (key, value) in pairs {
                let key = if keep_case {
                    key.clone()
                } else {
                    key.to_lowercase()
                };
                let Value::String(text) = value else {
                    return Err(Unfit::Member(key));
                };
                map.insert(key, text.clone().into());
            }
        }
        Value::Array(items) => {
            for item in items {
                let part = |name: &str| {
                    let pairs = item.as_object()?;
                    let found = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.and_then(|(_, value)| value.as_str())
                };
                let key = part("key").ok_or_else(|| Unfit::Member("key".to_owned()))?;
                let value = part("value").ok_or_else(|| Unfit::Member(key.to_owned()))?;
                if map.insert(key.to_owned(), value.into()).is_some() {
                    return Err(Unfit::Twice(key.to_owned()));
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(Unfit::Kind {
                expected: Kind::Map.name(),
                got: word(raw),
            });
        }
    }
    Ok(Value::Object(map))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOOL: Kind = Kind::Bool(false);
    const INT: Kind = Kind::Int(0, Width::Count);
    const DURATION: Kind = Kind::Duration(0, false);
    const TEXT: Kind = Kind::Text("", crate::config::schema::Form::Plain);
    const TEXTS: Kind = Kind::Texts(&[]);

    #[test]
    fn files_are_read_loosely() {
        for (kind, raw, expected) in [
            (BOOL, json!("true"), json!(true)),
            (BOOL, json!("f"), json!(false)),
            (BOOL, json!(1), json!(true)),
            (BOOL, json!(0.0), json!(false)),
            (INT, json!("8000"), json!(8000)),
            (INT, json!("0x10"), json!(16)),
            (INT, json!(9000.5), json!(9000)),
            (INT, json!(-9000.5), json!(-9000)),
            (INT, json!(true), json!(1)),
            (DURATION, json!("1m"), json!(60_000_000_000_i64)),
            (DURATION, json!(25), json!(25)),
            (DURATION, json!(2.5), json!(2)),
            (TEXT, json!(5), json!("5")),
            (TEXT, json!(5.0), json!("5")),
            (TEXT, json!(true), json!("1")),
            (TEXTS, json!("a,b c"), json!(["a,b c"])),
            (TEXTS, json!([1, "x", null]), json!(["1", "x", ""])),
            (Kind::Map, json!({"X-A": "v"}), json!({"x-a": "v"})),
            (
                Kind::Map,
                json!([{"key": "X-A.b", "value": "v"}]),
                json!({"X-A.b": "v"}),
            ),
        ] {
            assert_eq!(from_file(&kind, &raw, false), Ok(Some(expected)), "{raw}");
        }
    }

    #[test]
    fn nothing_counts_as_not_given() {
        for kind in [BOOL, INT, DURATION, TEXT, TEXTS] {
            for raw in [json!(null), json!({})] {
                assert_eq!(from_file(&kind, &raw, false), Ok(None), "{raw}");
            }
        }
    }

    #[test]
    fn what_fits_no_way_is_refused() {
        for (kind, raw) in [
            (BOOL, json!("yes")),
            (BOOL, json!([])),
            (INT, json!("abc")),
            (INT, json!(1e30)),
            (INT, json!({"a": 1})),
            (Kind::Int(0, Width::Port), json!(65_536)),
            (Kind::Int(0, Width::Uint32), json!(-1)),
            (Kind::Int(0, Width::Int32), json!(3_000_000_000_i64)),
            (DURATION, json!("25")),
            (DURATION, json!("")),
            (DURATION, json!(true)),
            (TEXT, json!(["a"])),
            (TEXTS, json!([["a"]])),
            (Kind::Map, json!({"a": 1})),
            (Kind::Map, json!("a")),
            (Kind::Map, json!([{"key": "a"}])),
            (
                Kind::Map,
                json!([{"key": "a", "value": ""}, {"key": "a", "value": ""}]),
            ),
        ] {
            assert!(from_file(&kind, &raw, false).is_err(), "{raw}");
        }
    }

    #[test]
    fn variables_are_read_strictly() {
        for (kind, text, expected) in [
            (BOOL, "T", json!(true)),
            (INT, "1_000", json!(1000)),
            (DURATION, "0", json!(0)),
            (TEXTS, "a b,c  d", json!(["a", "b,c", "d"])),
            (TEXTS, "[\"a\"]", json!(["[\"a\"]"])),
            (Kind::Map, "{\"X-A\":\"v\"}", json!({"X-A": "v"})),
        ] {
            assert_eq!(from_text(&kind, text), Ok(expected), "{text}");
        }
        for (kind, text) in [
            (BOOL, "yes"),
            (INT, "ten"),
            (DURATION, "25"),
            (Kind::Map, "a=b"),
            (Kind::Map, "[]"),
            (Kind::Map, "{\"a\":1}"),
        ] {
            assert!(from_text(&kind, text).is_err(), "{text}");
        }
    }
}
