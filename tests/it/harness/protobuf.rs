//! JSON values to Protobuf messages and back, by the tables of `schema`, so that one test body speaks both encodings.
//!
//! Payloads are JSON on one side and bytes on the other; bytes that are no JSON are written `{"$hex": "…"}`.

use serde_json::{Map, Value, json};

use super::schema::{Field, Kind, Message};

/// Key of a payload that is no JSON.
pub(crate) const HEX: &str = "$hex";

/// A JSON object as a message.
pub(super) fn encode(message: &Message, value: &Value) -> Vec<u8> {
    let Some(object) = value.as_object() else {
        panic!("no message: {value}");
    };
    for name in object.keys() {
        let known = message.0.iter().any(|field| field.name == name);
        assert!(known, "no field {name} in this message: {value}");
    }
    let mut out = Vec::new();
    for field in message.0 {
        if let Some(value) = object.get(field.name) {
            put(&mut out, field, value);
        }
    }
    out
}

/// A message as a JSON object, with the keys JSON has always.
pub(super) fn decode(message: &Message, mut bytes: &[u8]) -> Value {
    let mut object = Map::new();
    for field in message.0.iter().filter(|field| field.always) {
        let empty = match field.kind {
            Kind::Text => json!(""),
            Kind::Many(_) => json!([]),
            Kind::Map(_) | Kind::Tags => json!({}),
            Kind::Opaque => json!({HEX: ""}),
            _ => json!(0),
        };
        object.insert(field.name.to_owned(), empty);
    }
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes);
        let Some(field) = message.0.iter().find(|field| field.number == tag >> 3) else {
            panic!("field {} is not in the specification", tag >> 3);
        };
        take(&mut object, field, tag & 7, &mut bytes);
    }
    Value::Object(object)
}

/// Bytes of a payload.
pub(super) fn payload(value: &Value) -> Vec<u8> {
    match value.get(HEX).and_then(Value::as_str) {
        Some(text) => unhex(text),
        None => value.to_string().into_bytes(),
    }
}

/// A length and what it is the length of.
pub(crate) fn delimited(body: &[u8]) -> Vec<u8> {
    let mut out = varint(body.len() as u64);
    out.extend_from_slice(body);
    out
}

/// Messages of a frame.
pub(super) fn split(mut frame: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !frame.is_empty() {
        messages.push(take_bytes(&mut frame).to_vec());
    }
    messages
}

/// The number in base 128 that bytes begin with, if all of it is there, and where it ends.
pub(super) fn varint_at(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let number = usize::try_from(take_varint(&mut &bytes[..end])).unwrap();
    Some((number, end))
}

/// A number in base 128.
pub(crate) fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// Bytes from their hexadecimal form.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let pairs = digits.chunks(2).map(String::from_iter);
    pairs
        .map(|pair| u8::from_str_radix(&pair, 16).unwrap())
        .collect()
}

/// Bytes in hexadecimal form.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn put(out: &mut Vec<u8>, field: &Field, value: &Value) {
    let body = match field.kind {
        Kind::Bool | Kind::Uint | Kind::Int => {
            let number = number(value);
            if number != 0 {
                out.extend(varint(field.number << 3));
                out.extend(varint(number));
            }
            return;
        }
        Kind::Text => value.as_str().unwrap().as_bytes().to_vec(),
        Kind::Bytes | Kind::Opaque => payload(value),
        Kind::One(message) => {
            put_bytes(out, field.number, &encode(message, value));
            return;
        }
        Kind::Many(message) => {
            for value in value.as_array().unwrap() {
                put_bytes(out, field.number, &encode(message, value));
            }
            return;
        }
        Kind::Map(message) => {
            for (key, value) in value.as_object().unwrap() {
                put_entry(out, field.number, key, &encode(message, value));
            }
            return;
        }
        Kind::Tags => {
            for (key, value) in value.as_object().unwrap() {
                put_entry(out, field.number, key, value.as_str().unwrap().as_bytes());
            }
            return;
        }
    };
    if !body.is_empty() {
        put_bytes(out, field.number, &body);
    }
}

fn put_bytes(out: &mut Vec<u8>, number: u64, body: &[u8]) {
    out.extend(varint(number << 3 | 2));
    out.extend(delimited(body));
}

fn put_entry(out: &mut Vec<u8>, number: u64, key: &str, value: &[u8]) {
    let mut entry = Vec::new();
    put_bytes(&mut entry, 1, key.as_bytes());
    put_bytes(&mut entry, 2, value);
    put_bytes(out, number, &entry);
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Bool(flag) => u64::from(*flag),
        value => value
            .as_u64()
            .or_else(|| value.as_i64().map(i64::cast_unsigned))
            .unwrap(),
    }
}

fn take(object: &mut Map<String, Value>, field: &Field, wire: u64, bytes: &mut &[u8]) {
    let name = field.name.to_owned();
    let scalar = matches!(field.kind, Kind::Bool | Kind::Uint | Kind::Int);
    assert_eq!(wire, if scalar { 0 } else { 2 }, "wire type of {name}");
    let value = match field.kind {
        Kind::Bool => json!(take_varint(bytes) != 0),
        Kind::Uint => json!(take_varint(bytes)),
        Kind::Int => json!(take_varint(bytes).cast_signed()),
        Kind::Text => json!(String::from_utf8(take_bytes(bytes).to_vec()).unwrap()),
        Kind::Bytes => {
            let bytes = take_bytes(bytes);
            serde_json::from_slice(bytes).unwrap_or_else(|_| json!({HEX: hex(bytes)}))
        }
        Kind::Opaque => json!({HEX: hex(take_bytes(bytes))}),
        Kind::One(message) => decode(message, take_bytes(bytes)),
        Kind::Many(message) => {
            let entry = object.entry(name).or_insert_with(|| json!([]));
            let element = decode(message, take_bytes(bytes));
            entry.as_array_mut().unwrap().push(element);
            return;
        }
        Kind::Map(_) | Kind::Tags => {
            let (key, value) = take_entry(field.kind, take_bytes(bytes));
            let entry = object.entry(name).or_insert_with(|| json!({}));
            entry.as_object_mut().unwrap().insert(key, value);
            return;
        }
    };
    object.insert(name, value);
}

fn take_entry(kind: Kind, mut bytes: &[u8]) -> (String, Value) {
    let (mut key, mut body) = (String::new(), &[][..]);
    while !bytes.is_empty() {
        match take_varint(&mut bytes) >> 3 {
            1 => key = String::from_utf8(take_bytes(&mut bytes).to_vec()).unwrap(),
            _ => body = take_bytes(&mut bytes),
        }
    }
    let value = match kind {
        Kind::Map(message) => decode(message, body),
        _ => json!(String::from_utf8(body.to_vec()).unwrap()),
    };
    (key, value)
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a varint is cut off");
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
    }
    panic!("a varint is longer than ten bytes");
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::try_from(take_varint(bytes)).unwrap();
    let (taken, rest) = bytes.split_at_checked(length).expect("bytes are cut off");
    *bytes = rest;
    taken
}
