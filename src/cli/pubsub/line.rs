//! One message, one line: for people, or as JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap};

use crate::model::{Channel, ClientInfo, Publication};

/// Something that gets a line.
pub(super) enum Line<'a> {
    Publication(&'a Publication),
    Join(&'a ClientInfo),
    Leave(&'a ClientInfo),
}

/// For people: the payload, after the channel's name when there are several.
pub(super) fn plain(channel: Option<&Channel>, line: &Line<'_>) -> String {
    let text = match line {
        Line::Publication(publication) => payload(&publication.data),
        Line::Join(info) => format!("join {}", who(info)),
        Line::Leave(info) => format!("leave {}", who(info)),
    };
    match channel {
        Some(channel) => format!("{} {text}", printable(channel.as_str())),
        None => text,
    }
}

/// For programs: one JSON object.
pub(super) fn json(channel: &Channel, line: &Line<'_>) -> serde_json::Result<String> {
    let mut object = Object {
        channel: channel.as_str(),
        ..Object::default()
    };
    match line {
        Line::Publication(publication) => {
            object.data = embedded(&publication.data);
            let opaque = object.data.is_none() && !publication.data.is_empty();
            object.data_b64 = opaque.then(|| STANDARD.encode(&publication.data));
            object.offset = (publication.offset > 0).then_some(publication.offset);
            object.info = publication.info.as_deref().map(Info::of);
            object.tags = publication.tags.as_deref();
        }
        Line::Join(info) => object.join = Some(Info::of(info)),
        Line::Leave(info) => object.leave = Some(Info::of(info)),
    }
    serde_json::to_string(&object)
}

/// A message as JSON; members that say nothing are left out.
#[derive(Default, Serialize)]
struct Object<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    /// A payload that is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Info<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join: Option<Info<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leave: Option<Info<'a>>,
}

#[derive(Serialize)]
struct Info<'a> {
    user: &'a str,
    client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn_info: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chan_info: Option<Box<RawValue>>,
}

impl<'a> Info<'a> {
    fn of(info: &'a ClientInfo) -> Self {
        Self {
            user: info.user.as_str(),
            client: info.client.as_str(),
            conn_info: embedded(&info.conn_info),
            chan_info: embedded(&info.chan_info),
        }
    }
}

fn who(info: &ClientInfo) -> String {
    let user = match info.user.as_str() {
        "" => Cow::Borrowed("(anonymous)"),
        user => printable(user),
    };
    format!("{user} {}", printable(info.client.as_str()))
}

fn payload(data: &Bytes) -> String {
    if let Some(json) = embedded(data) {
        return json.get().to_owned();
    }
    match std::str::from_utf8(data) {
        Ok(text) => printable(text).into_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(data)),
    }
}

/// The payload as JSON without line breaks, if it is JSON. Inside strings JSON has no raw line breaks, so none is lost.
fn embedded(data: &Bytes) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(data).ok()?;
    let text = text.replace(['\n', '\r'], " ").trim().to_owned();
    RawValue::from_string(text).ok()
}

/// Text that cannot break a line or talk to a terminal.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn publication(data: &'static [u8]) -> Publication {
        Publication {
            data: Bytes::from_static(data),
            ..Publication::default()
        }
    }

    fn plainly(data: &'static [u8]) -> String {
        plain(None, &Line::Publication(&publication(data)))
    }

    fn as_json(publication: &Publication) -> String {
        json(&"news".into(), &Line::Publication(publication)).unwrap()
    }

    #[test]
    fn every_message_is_one_line() {
        assert_eq!(
            plainly(b"{\n \"a\": \"b\\n\"\r\n}"),
            "{  \"a\": \"b\\n\"  }"
        );
        assert_eq!(plainly(b"two\nlines"), "two\\nlines");
        assert_eq!(plainly(b"\xff\x00"), "base64:/wA=");
        assert_eq!(plainly(b""), "");
    }

    #[test]
    fn payloads_cannot_talk_to_the_terminal() {
        assert_eq!(plainly(b"\x1b[2J"), "\\u{1b}[2J");
        assert_eq!(plainly("\u{9b}2J".as_bytes()), "\\u{9b}2J");
    }

    #[test]
    fn channel_is_named_when_there_are_several() {
        let line = plain(Some(&"news".into()), &Line::Publication(&publication(b"1")));
        assert_eq!(line, "news 1");
    }

    #[test]
    fn joins_and_leaves_name_user_and_client() {
        let info = ClientInfo {
            user: "ann".into(),
            client: "c1".into(),
            ..ClientInfo::default()
        };
        assert_eq!(plain(None, &Line::Join(&info)), "join ann c1");
        assert_eq!(
            plain(None, &Line::Leave(&ClientInfo::default())),
            "leave (anonymous) "
        );
        let line = json(&"news".into(), &Line::Leave(&info)).unwrap();
        assert_eq!(
            line,
            r#"{"channel":"news","leave":{"user":"ann","client":"c1"}}"#
        );
    }

    #[test]
    fn json_has_everything_that_is_known() {
        let full = Publication {
            offset: 7,
            data: Bytes::from_static(b"{\"a\":\n1}"),
            info: Some(Arc::new(ClientInfo {
                user: "ann".into(),
                client: "c1".into(),
                conn_info: Bytes::from_static(b"{\"n\":1}"),
                chan_info: Bytes::new(),
            })),
            tags: Some(Arc::new([("k".to_owned(), "v".to_owned())].into())),
            ..Publication::default()
        };
        assert_eq!(
            as_json(&full),
            r#"{"channel":"news","data":{"a": 1},"offset":7,"info":{"user":"ann","client":"c1","conn_info":{"n":1}},"tags":{"k":"v"}}"#
        );
        assert_eq!(
            as_json(&publication(b"no")),
            r#"{"channel":"news","data_b64":"bm8="}"#
        );
        assert_eq!(as_json(&publication(b"")), r#"{"channel":"news"}"#);
    }
}
