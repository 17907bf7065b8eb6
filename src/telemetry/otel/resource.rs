//! What all that is exported says of where it comes from (metrics.md 16.1).

use std::borrow::Cow;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

use super::{Error, Identity, Variables};

/// The conventions that the names of the attributes are of.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

const SERVICE_NAME: &str = "service.name";

/// The server's own attributes, then those of the variables on top.
pub(super) fn resource(identity: Identity<'_>, variables: &Variables) -> Result<Resource, Error> {
    let mut attributes = vec![
        (SERVICE_NAME.to_owned(), identity.service.to_owned()),
        ("service.instance.id".to_owned(), identity.node.to_owned()),
        ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let given = variables.get("OTEL_RESOURCE_ATTRIBUTES");
    for pair in given.into_iter().flat_map(|text| text.split(',')) {
        let malformed = || Error::Resource(pair.to_owned());
        let (name, value) = pair.split_once('=').ok_or_else(malformed)?;
        put(
            &mut attributes,
            name.trim(),
            decoded(value.trim()).into_owned(),
        );
    }
    if let Some(name) = variables.get("OTEL_SERVICE_NAME") {
        put(&mut attributes, SERVICE_NAME, name.to_owned());
    }
    let attributes = attributes.into_iter();
    let attributes = attributes.map(|(name, value)| KeyValue::new(name, value));
    Ok(Resource::builder_empty()
        .with_schema_url(attributes, SCHEMA)
        .build())
}

fn put(attributes: &mut Vec<(String, String)>, name: &str, value: String) {
    match attributes.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => attributes.push((name.to_owned(), value)),
    }
}

/// `%20` and the like as what they stand for; what cannot be decoded stays as it is.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}
