//! Questions as JSON objects (proxy.md 3): fields in the order of their numbers, zero values left out.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::de::IgnoredAny;

use crate::{
    model::Encoding,
    proxy::{
        Failure,
        question::{Carriage, Kind, Question},
    },
};

/// The body of a question.
pub(in crate::proxy) fn question(
    kind: Kind,
    question: &Question<'_>,
    carriage: Carriage,
) -> Result<Vec<u8>, Failure> {
    let client = question.client;
    let mut object = Object::new(256 + question.data.len() + question.data.len() / 2);
    object.text("client", client.id.as_str());
    object.text("transport", client.peer.transport);
    object.text("protocol", question.protocol());
    object.text("encoding", carriage.encoding());
    let trusted = client.peer.encoding == Encoding::Json;
    let meta = |object: &mut Object| {
        if carriage.meta {
            object.payload("meta", &client.meta, false)
        } else {
            Ok(())
        }
    };
    let data = |object: &mut Object| {
        if carriage.binary {
            object.base64("b64data", question.data);
            Ok(())
        } else {
            object.payload("data", question.data, trusted)
        }
    };
    if kind != Kind::Connect {
        object.always("user", client.user.as_str());
    }
    match kind {
        Kind::Connect => {
            data(&mut object)?;
            let said = &question.introduction;
            object.text("name", said.name);
            object.text("version", said.version);
            let channels = said.channels.iter().map(|channel| channel.as_str());
            object.texts("channels", channels);
        }
        Kind::Refresh => meta(&mut object)?,
        Kind::Subscribe | Kind::SubscribeStream => {
            object.text("channel", question.channel);
            meta(&mut object)?;
            data(&mut object)?;
        }
        Kind::Publish => {
            object.text("channel", question.channel);
            data(&mut object)?;
            meta(&mut object)?;
        }
        Kind::Rpc => {
            object.text("method", question.method);
            data(&mut object)?;
            meta(&mut object)?;
        }
        Kind::SubRefresh => {
            object.text("channel", question.channel);
            meta(&mut object)?;
        }
    }
    Ok(object.end())
}

/// An object that is being written.
struct Object(Vec<u8>);

impl Object {
    fn new(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self(out)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn key(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.always(name, text);
        }
    }

    fn always(&mut self, name: &str, text: &str) {
        self.key(name);
        quote(text, &mut self.0);
    }

    fn texts<'a>(&mut self, name: &str, texts: impl ExactSizeIterator<Item = &'a str>) {
        if texts.len() == 0 {
            return;
        }
        self.key(name);
        for (index, text) in texts.enumerate() {
            self.0.push(if index == 0 { b'[' } else { b',' });
            quote(text, &mut self.0);
        }
        self.0.push(b']');
    }

    /// Embeds a payload. One that a JSON connection sent is JSON; others are looked at.
    fn payload(&mut self, name: &str, payload: &[u8], trusted: bool) -> Result<(), Failure> {
        if payload.is_empty() {
            return Ok(());
        }
        if !trusted && serde_json::from_slice::<IgnoredAny>(payload).is_err() {
            return Err(Failure::Encode);
        }
        self.key(name);
        compact(payload, &mut self.0);
        Ok(())
    }

    fn base64(&mut self, name: &str, payload: &[u8]) {
        if !payload.is_empty() {
            self.always(name, &BASE64_STANDARD.encode(payload));
        }
    }
}

/// Writes a string with its quotes.
fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[rest..at]);
        rest = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => escape(byte, out),
        }
    }
    out.extend_from_slice(&text.as_bytes()[rest..]);
    out.push(b'"');
}

/// Copies JSON without blanks between its parts, and with `<`, `>`, `&`, U+2028 and U+2029 escaped.
fn compact(json: &[u8], out: &mut Vec<u8>) {
    let (mut quoted, mut rest, mut at) = (false, 0, 0);
    while let Some(&byte) = json.get(at) {
        let separator =
            byte == 0xe2 && matches!(json.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9]));
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b' ' | b'\t' | b'\r' | b'\n' if !quoted => {
                out.extend_from_slice(&json[rest..at]);
                rest = at + 1;
            }
            b'<' | b'>' | b'&' => {
                out.extend_from_slice(&json[rest..at]);
                escape(byte, out);
                rest = at + 1;
            }
            _ if separator => {
                out.extend_from_slice(&json[rest..at]);
                out.extend_from_slice(if json[at + 2] == 0xa8 {
                    b"\\u2028"
                } else {
                    b"\\u2029"
                });
                at += 2;
                rest = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    out.extend_from_slice(&json[rest.min(json.len())..]);
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u00");
    out.push(HEX[usize::from(byte >> 4)]);
    out.push(HEX[usize::from(byte & 15)]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compacted(json: &str) -> String {
        let mut out = Vec::new();
        compact(json.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn payloads_lose_blanks_and_marks() {
        assert_eq!(
            compacted("{ \"a b\" :\n [1 ,\t\"<\\\" &>\u{2028}\u{2029}\u{e9}\\u00e9\"] }"),
            "{\"a b\":[1,\"\\u003c\\\" \\u0026\\u003e\\u2028\\u2029\u{e9}\\u00e9\"]}"
        );
        assert_eq!(compacted("null"), "null");
        assert_eq!(compacted("\"\\\\\""), "\"\\\\\"");
    }

    proptest! {
        #[test]
        fn strings_survive(text in any::<String>()) {
            let mut quoted = Vec::new();
            quote(&text, &mut quoted);
            prop_assert_eq!(serde_json::from_slice::<String>(&quoted).unwrap(), text.clone());
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&compacted(&json)).unwrap(), text);
        }
    }
}
