//! Frames of a SockJS server, and the form each transport gives them (client-protocol.md 3.6). Pure bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::page;
use crate::{
    model::{Disconnect, Version},
    protocol::frame,
    transport::close,
};

/// First frame of a session.
pub(super) const OPEN: &[u8] = b"o";
/// Nothing happened for a while.
pub(super) const HEARTBEAT: &[u8] = b"h";
/// Refuses a second receiver of a session.
pub(super) const BUSY: &[u8] = br#"c[2010,"Another connection still open"]"#;

/// One array of messages, which are JSON strings already.
pub(super) fn array(messages: &[Bytes]) -> Bytes {
    let length: usize = messages.iter().map(|message| message.len() + 1).sum();
    let mut out = BytesMut::with_capacity(length + 2);
    out.put_slice(b"a[");
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(message);
    }
    out.put_u8(b']');
    out.freeze()
}

/// The end, with code and reason. Before the generation is known the reason has the older form: clients of both read it.
pub(super) fn closed(version: Option<Version>, disconnect: &Disconnect) -> Bytes {
    let reason = close::reason(version.unwrap_or(Version::V1), disconnect);
    let mut out = BytesMut::new();
    out.put_slice(format!("c[{},", disconnect.code).as_bytes());
    out.put_slice(&frame::quoted(&reason));
    out.put_u8(b']');
    out.freeze()
}

/// What a transport puts around a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// A line each.
    Lines,
    /// An event each.
    Events,
    /// A script each; the page they are in hands frames to this object of the page around it.
    Scripts(Box<str>),
    /// A call of this function.
    Call(Box<str>),
}

impl Wrapping {
    /// A frame with all that belongs around it.
    pub(super) fn wrap(&self, frame: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(frame.len() + 32);
        match self {
            Self::Lines => {
                out.put_slice(frame);
                out.put_u8(b'\n');
            }
            Self::Events => {
                out.put_slice(b"data: ");
                escape_uri(frame, &mut out);
                out.put_slice(b"\r\n\r\n");
            }
            Self::Scripts(_) => {
                out.put_slice(b"<script>\np(");
                put_quoted(frame, &mut out);
                out.put_slice(b");\n</script>\r\n");
            }
            Self::Call(callback) => {
                // An answer that begins with bytes of the client's choice could be taken for something else than a script.
                out.put_slice(b"/**/");
                out.put_slice(callback.as_bytes());
                out.put_u8(b'(');
                put_quoted(frame, &mut out);
                out.put_slice(b");\r\n");
            }
        }
        out.freeze()
    }

    /// What stands before the first frame of a stream.
    pub(super) fn prelude(&self) -> Option<Bytes> {
        match self {
            Self::Lines => {
                let mut line = vec![b'h'; 2048];
                line.push(b'\n');
                Some(line.into())
            }
            Self::Events => Some(Bytes::from_static(b"\r\n")),
            Self::Scripts(callback) => Some(page::htmlfile(callback)),
            Self::Call(_) => None,
        }
    }
}

fn put_quoted(frame: &[u8], out: &mut BytesMut) {
    out.put_slice(&frame::quoted(&String::from_utf8_lossy(frame)));
}

/// The client decodes URI escapes of events, so a percent sign must be one.
fn escape_uri(frame: &[u8], out: &mut BytesMut) {
    for byte in frame {
        match byte {
            b'%' => out.put_slice(b"%25"),
            b'\r' => out.put_slice(b"%0D"),
            b'\n' => out.put_slice(b"%0A"),
            0 => out.put_slice(b"%00"),
            byte => out.put_u8(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_share_an_array() {
        let messages = [r#""{}""#, r#""b""#].map(|message| Bytes::from_static(message.as_bytes()));
        assert_eq!(array(&messages[..1]), r#"a["{}"]"#);
        assert_eq!(array(&messages), r#"a["{}","b"]"#);
    }

    #[test]
    fn the_end_speaks_the_generation() {
        let end =
            |version| String::from_utf8(closed(version, &Disconnect::STALE).to_vec()).unwrap();
        assert_eq!(end(Some(Version::V2)), r#"c[3502,"stale"]"#);
        let older = r#"c[3502,"{\"reason\":\"stale\",\"reconnect\":false}"]"#;
        assert_eq!(end(Some(Version::V1)), older);
        assert_eq!(end(None), older);
    }

    #[test]
    fn transports_wrap_frames() {
        let wrap = |wrapping: Wrapping, frame: &str| {
            String::from_utf8(wrapping.wrap(frame.as_bytes()).to_vec()).unwrap()
        };
        assert_eq!(wrap(Wrapping::Lines, "o"), "o\n");
        assert_eq!(
            wrap(Wrapping::Events, "a[\"5%\"]"),
            "data: a[\"5%25\"]\r\n\r\n"
        );
        assert_eq!(wrap(Wrapping::Events, "\r\n\0"), "data: %0D%0A%00\r\n\r\n");
        assert_eq!(
            wrap(Wrapping::Scripts("x".into()), "a[\"</script>\"]"),
            "<script>\np(\"a[\\\"\\u003c/script\\u003e\\\"]\");\n</script>\r\n"
        );
        assert_eq!(
            wrap(Wrapping::Call("cb.x".into()), "c[1,\"\u{2028}\"]"),
            "/**/cb.x(\"c[1,\\\"\\u2028\\\"]\");\r\n"
        );
    }

    #[test]
    fn streams_begin_with_enough_for_browsers_to_look() {
        assert_eq!(Wrapping::Lines.prelude().unwrap().len(), 2049);
        assert_eq!(Wrapping::Events.prelude().unwrap(), "\r\n");
        let page = Wrapping::Scripts("x".into()).prelude().unwrap();
        assert!(page.len() > 1024);
        assert_eq!(Wrapping::Call("c".into()).prelude(), None);
    }
}
