//! The words of a close, as each generation wants them (client-protocol.md 1.11, 6.2). Pure text, no transport.

use crate::{
    model::{Disconnect, Version},
    protocol::frame,
};

/// Reason text of a close frame. Codes of WebSocket itself (below 3000) are plain for everybody.
pub(super) fn reason(version: Version, disconnect: &Disconnect) -> String {
    let own = disconnect.code >= 3000;
    frame::close_reason(if own { version } else { Version::V2 }, disconnect)
}

/// Value of the gRPC trailer `disconnect`: JSON of printable ASCII, since metadata knows nothing else.
pub(super) fn trailer(disconnect: &Disconnect) -> String {
    format!(
        r#"{{"code":{},"reason":{},"reconnect":{}}}"#,
        disconnect.code,
        quoted(&disconnect.clone().cut().reason),
        disconnect.reconnect()
    )
}

/// A JSON string of ASCII alone, otherwise escaped as client-protocol.md 2.1 says.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\0'..='\u{1f}' | '\u{7f}' => {
                escape(c, &mut out);
            }
            c if !c.is_ascii() => escape(c, &mut out),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn escape(c: char, out: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_is_plain_and_v1_is_json() {
        assert_eq!(reason(Version::V2, &Disconnect::STALE), "stale");
        assert_eq!(
            reason(Version::V1, &Disconnect::STALE),
            r#"{"reason":"stale","reconnect":false}"#
        );
        assert_eq!(
            reason(Version::V1, &Disconnect::SHUTDOWN),
            r#"{"reason":"shutdown","reconnect":true}"#
        );
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let long = Disconnect {
            code: 4001,
            reason: "ü".repeat(100).into(),
        };
        let plain = reason(Version::V2, &long);
        assert_eq!(plain, "ü".repeat(61));
        let json = reason(Version::V1, &long);
        assert!(json.len() <= 123 && json.len() > 115, "{json}");
        assert!(json.ends_with(r#"ü","reconnect":true}"#), "{json}");
        let quotes = Disconnect {
            code: 4001,
            reason: "\"".repeat(200).into(),
        };
        let json = reason(Version::V1, &quotes);
        assert!(json.len() <= 123 && json.len() > 115, "{json}");
    }

    #[test]
    fn trailers_are_ascii() {
        let odd = Disconnect {
            code: 4501,
            reason: "a\"ü😀\n".into(),
        };
        assert_eq!(
            trailer(&odd),
            r#"{"code":4501,"reason":"a\"\u00fc\ud83d\ude00\n","reconnect":false}"#
        );
    }
}
