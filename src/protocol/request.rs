//! Requests that are a body of their own: the connect request of a unidirectional client and the frame of an emulated session
//! (client-protocol.md 3.5, 3.9). Text after a JSON object and unknown keys are ignored.

use bytes::Bytes;

use super::{
    decode::Malformed,
    json,
    message::{ConnectRequest, EmulationRequest},
    protobuf, schema,
};
use crate::model::{Encoding, Version};

/// Reads a connect request. JSON `null` is an empty one; an empty body is one in Protobuf only.
///
/// # Errors
/// [`Malformed`] for anything else.
pub fn decode_connect_request(
    encoding: Encoding,
    body: &Bytes,
) -> Result<ConnectRequest, Malformed> {
    match encoding {
        Encoding::Json => match document(body)? {
            Some(mut reader) => schema::read_connect(&mut reader, Version::V2),
            None => Ok(ConnectRequest::default()),
        },
        Encoding::Protobuf => {
            let mut reader = protobuf::Reader::new(body, 0, body.len());
            schema::read_connect(&mut reader, Version::V2)
        }
    }
}

/// Reads a frame of an emulated session. JSON `null` is an empty one; an empty body is one in Protobuf only.
///
/// # Errors
/// [`Malformed`] for anything else.
pub fn decode_emulation_request(
    encoding: Encoding,
    body: &Bytes,
) -> Result<EmulationRequest, Malformed> {
    match encoding {
        Encoding::Json => match document(body)? {
            Some(mut reader) => schema::read_emulation(&mut reader),
            None => Ok(EmulationRequest::default()),
        },
        Encoding::Protobuf => {
            let mut reader = protobuf::Reader::new(body, 0, body.len());
            schema::read_emulation(&mut reader)
        }
    }
}

/// The text in a payload that is a JSON string; `None` for a payload of any other kind.
#[must_use]
pub fn json_text(payload: &[u8]) -> Option<Bytes> {
    json::text_of(payload).map(Bytes::from)
}

/// A reader before the object in a body; `None` when `null` is there instead.
fn document(body: &Bytes) -> Result<Option<json::Reader<'_>>, Malformed> {
    let is_utf8 = std::str::from_utf8(body).is_ok();
    let mut reader = json::Reader::document(body, is_utf8);
    reader.blanks();
    if reader.null() {
        Ok(None)
    } else {
        Ok(Some(reader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &'static str) -> Result<EmulationRequest, Malformed> {
        decode_emulation_request(Encoding::Json, &Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn frames_of_emulated_sessions_are_read() {
        let expected = EmulationRequest {
            node: "n".to_owned(),
            session: "s".to_owned(),
            data: Bytes::from_static(br#""{\"id\":1}\n""#),
        };
        let text =
            "{\n \"data\":\"{\\\"id\\\":1}\\n\", \"z\":[1], \"node\":\"n\",\"session\":\"s\"} x";
        assert_eq!(json(text), Ok(expected));
        let data = json(text).unwrap().data;
        assert_eq!(json_text(&data).unwrap(), "{\"id\":1}\n");
        assert_eq!(json("null"), Ok(EmulationRequest::default()));
        assert_eq!(json("{}"), Ok(EmulationRequest::default()));
        for broken in [
            "",
            "garbage",
            "[]",
            "{\"session\":1}",
            "{\"session\"",
            "\"x\"",
            "1",
        ] {
            assert_eq!(json(broken), Err(Malformed), "{broken}");
        }
        let binary = Bytes::from_static(b"\x0a\x01n\x12\x01s\x1a\x02\x08\x01");
        let binary = decode_emulation_request(Encoding::Protobuf, &binary).unwrap();
        assert_eq!(
            (&*binary.node, &*binary.session, &binary.data[..]),
            ("n", "s", &b"\x08\x01"[..])
        );
        let empty = decode_emulation_request(Encoding::Protobuf, &Bytes::new());
        assert_eq!(empty, Ok(EmulationRequest::default()));
        let broken = decode_emulation_request(Encoding::Protobuf, &Bytes::from_static(b"\xff\xff"));
        assert_eq!(broken, Err(Malformed));
    }

    #[test]
    fn only_strings_hold_frames() {
        for other in ["", "null", "1", "{}", "[\"x\"]", "\"x", "\"x\" y"] {
            assert_eq!(json_text(other.as_bytes()), None, "{other}");
        }
        assert_eq!(json_text(b"\"\"").unwrap(), "");
        assert_eq!(json_text(br#""\u0001""#).unwrap(), "\u{1}");
    }

    #[test]
    fn connect_requests_are_read() {
        let connect = |text: &'static str| {
            decode_connect_request(Encoding::Json, &Bytes::from_static(text.as_bytes()))
        };
        assert_eq!(connect("null"), Ok(ConnectRequest::default()));
        assert_eq!(connect(" {} x"), Ok(ConnectRequest::default()));
        assert_eq!(connect("{\"token\":\"t\",\"x\":1}").unwrap().token, "t");
        for broken in ["", "[]", "[1", "garbage", "{\"token\":1}"] {
            assert_eq!(connect(broken), Err(Malformed), "{broken}");
        }
        let binary = Bytes::from_static(b"\x0a\x01t");
        assert_eq!(
            decode_connect_request(Encoding::Protobuf, &binary)
                .unwrap()
                .token,
            "t"
        );
    }
}
