//! JSON of the protocol: reading and writing messages, and the check whether a payload is JSON (client-protocol.md 2.1).
//!
//! Payloads are checked and embedded, never parsed into trees. Knows the format, not the messages: those are in `schema`.

mod read;
mod scan;
mod write;

use std::borrow::Cow;

pub(super) use read::Reader;
pub(super) use write::{encode, string};

/// What a JSON string says; `None` for everything else.
#[must_use]
pub fn unquote(payload: &[u8]) -> Option<Cow<'_, str>> {
    let mut scanner = scan::Scanner::document(payload);
    let (raw, escaped) = scanner.string().ok()?;
    scanner.peek().is_none().then(|| scan::text(raw, escaped))
}

/// True for one valid JSON document of any kind and depth, in UTF-8.
#[must_use]
pub fn is_json(payload: &[u8]) -> bool {
    let mut scanner = scan::Scanner::document(payload);
    let is_value = scanner.value(usize::MAX).is_ok();
    scanner.blanks();
    is_value && scanner.peek().is_none() && std::str::from_utf8(payload).is_ok()
}

/// The text of a document that is one string.
pub(super) fn text_of(payload: &[u8]) -> Option<String> {
    let mut scanner = scan::Scanner::document(payload);
    scanner.blanks();
    let (raw, escaped) = scanner.string().ok()?;
    scanner.blanks();
    scanner
        .peek()
        .is_none()
        .then(|| scan::text(raw, escaped).into_owned())
}

/// True for one valid JSON object of any depth, in UTF-8.
#[must_use]
pub fn is_json_object(payload: &[u8]) -> bool {
    let mut scanner = scan::Scanner::document(payload);
    scanner.blanks();
    scanner.peek() == Some(b'{') && is_json(payload)
}
