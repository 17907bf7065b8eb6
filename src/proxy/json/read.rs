//! Answers out of JSON (proxy.md 3, 6): names without regard to case, unknown ones ignored, wrong types refused.
//!
//! Payloads are slices of the body, never trees. The body is looked through once a level of nesting, and the schema
//! has three.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer as _,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    model::{ClientError, Disconnect},
    proxy::{
        Failure,
        answer::{
            Answer, ConnectResult, Granted, Override, PublishResult, RefreshResult, RpcResult,
            SubRefreshResult,
        },
    },
};

/// Something is not what the schema says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrong;

/// An object with known names, which come in lower case.
pub(crate) trait Fields: Default {
    /// Takes the value of a name; ignores a name it does not know.
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong>;
}

/// Decodes a body.
pub(crate) fn answer<T: Fields>(body: &Bytes) -> Result<Answer<T>, Failure> {
    let raw = std::str::from_utf8(body).map_err(|_not_text| Failure::Decode)?;
    let value = Value { raw, body };
    let answer = value.object::<Envelope<T>>();
    let envelope = answer.map_err(|Wrong| Failure::Decode)?;
    Ok(envelope.unwrap_or_default().0)
}

/// A value that was not looked into yet.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    raw: &'a str,
    body: &'a Bytes,
}

impl<'a> Value<'a> {
    /// A text, number or flag; `null` is its zero.
    fn plain<T: DeserializeOwned + Default>(&self) -> Result<T, Wrong> {
        let value: Option<T> = serde_json::from_str(self.raw).map_err(|_wrong| Wrong)?;
        Ok(value.unwrap_or_default())
    }

    /// Any value as it is written, `null` included. Keeps the body alive.
    fn payload(&self) -> Bytes {
        self.body.slice_ref(self.raw.as_bytes())
    }

    /// The same for what is kept long.
    fn copy(&self) -> Bytes {
        Bytes::copy_from_slice(self.raw.as_bytes())
    }

    /// An object; `None` for `null`.
    fn object<T: Fields>(&self) -> Result<Option<T>, Wrong> {
        let mut object = T::default();
        let there = self.each(|name, value| {
            let lower = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Cow::Owned(name.to_ascii_lowercase())
            } else {
                Cow::Borrowed(name)
            };
            object.field(&lower, value)
        })?;
        Ok(there.then_some(object))
    }

    /// Visits the members of an object; false for `null`.
    fn each(&self, visit: impl FnMut(&str, Self) -> Result<(), Wrong>) -> Result<bool, Wrong> {
        let mut source = serde_json::Deserializer::from_str(self.raw);
        let members = Members {
            body: self.body,
            visit,
        };
        let there = source.deserialize_any(members).map_err(|_wrong| Wrong)?;
        source.end().map_err(|_more| Wrong)?;
        Ok(there)
    }

    /// A list of texts, in which `null` is the empty one.
    fn texts(&self) -> Result<Vec<String>, Wrong> {
        let all: Vec<Option<String>> = self.plain()?;
        Ok(all.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Texts by name.
    fn map(&self) -> Result<BTreeMap<String, String>, Wrong> {
        let all: BTreeMap<String, Option<String>> = self.plain()?;
        let all = all.into_iter();
        Ok(all
            .map(|(name, text)| (name, text.unwrap_or_default()))
            .collect())
    }

    /// A flag in an object of its own.
    fn flag(&self) -> Result<Option<bool>, Wrong> {
        Ok(self.object::<Flag>()?.map(|flag| flag.0))
    }
}

struct Members<'a, F> {
    body: &'a Bytes,
    visit: F,
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a, F> Visitor<'de> for Members<'a, F>
where
    F: FnMut(&str, Value<'a>) -> Result<(), Wrong>,
{
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<bool, A::Error> {
        while let Some((Name(name), raw)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            let value = Value {
                raw: raw.get(),
                body: self.body,
            };
            (self.visit)(&name, value).map_err(|Wrong| serde::de::Error::custom("wrong type"))?;
        }
        Ok(true)
    }
}

struct Envelope<T>(Answer<T>);

impl<T> Default for Envelope<T> {
    fn default() -> Self {
        Self(Answer {
            result: None,
            error: None,
            disconnect: None,
        })
    }
}

impl<T: Fields> Fields for Envelope<T> {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        match name {
            "result" => self.0.result = value.object()?,
            "error" => self.0.error = value.object::<ToError>()?.map(|error| error.0),
            "disconnect" => {
                self.0.disconnect = value.object::<ToDisconnect>()?.map(|why| why.0);
            }
            _ => {}
        }
        Ok(())
    }
}

struct ToError(ClientError);

impl Default for ToError {
    fn default() -> Self {
        Self(ClientError {
            code: 0,
            message: Cow::Borrowed(""),
            temporary: false,
        })
    }
}

impl Fields for ToError {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        match name {
            "code" => self.0.code = value.plain()?,
            "message" => self.0.message = value.plain::<String>()?.into(),
            "temporary" => self.0.temporary = value.plain()?,
            _ => {}
        }
        Ok(())
    }
}

struct ToDisconnect(Disconnect);

impl Default for ToDisconnect {
    fn default() -> Self {
        Self(Disconnect {
            code: 0,
            reason: Cow::Borrowed(""),
        })
    }
}

impl Fields for ToDisconnect {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        match name {
            "code" => self.0.code = value.plain()?,
            "reason" => self.0.reason = value.plain::<String>()?.into(),
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct Flag(bool);

impl Fields for Flag {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        if name == "value" {
            self.0 = value.plain()?;
        }
        Ok(())
    }
}

impl Fields for Override {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        match name {
            "presence" => self.presence = value.flag()?,
            "join_leave" => self.join_leave = value.flag()?,
            "force_recovery" => self.force_recovery = value.flag()?,
            "force_positioning" => self.force_positioning = value.flag()?,
            "force_push_join_leave" => self.force_push_join_leave = value.flag()?,
            _ => {}
        }
        Ok(())
    }
}

impl Fields for ConnectResult {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        match name {
            "user" => self.user = value.plain()?,
            "expire_at" => self.expire_at = value.plain()?,
            "info" => self.info.raw = Some(value.copy()),
            "b64info" => self.info.b64 = value.plain()?,
            "data" => self.data.raw = Some(value.payload()),
            "b64data" => self.data.b64 = value.plain()?,
            "channels" => self.channels = value.texts()?,
            "subs" => {
                value.each(|channel, options| {
                    let granted = options.object()?.unwrap_or_default();
                    self.subs.insert(channel.to_owned(), granted);
                    Ok(())
                })?;
            }
            "meta" => self.meta = Some(value.copy()),
            _ => {}
        }
        Ok(())
    }
}

impl Fields for Granted {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        match name {
            "expire_at" => self.expire_at = value.plain()?,
            "info" => self.info.raw = Some(value.copy()),
            "b64info" => self.info.b64 = value.plain()?,
            "data" => self.data.raw = Some(value.copy()),
            "b64data" => self.data.b64 = value.plain()?,
            "override" => self.overrides = value.object()?.unwrap_or_default(),
            "cache_recover" => self.cache_recover = value.plain()?,
            _ => {}
        }
        Ok(())
    }
}

impl Fields for RefreshResult {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        match name {
            "expired" => self.expired = value.plain()?,
            "expire_at" => self.expire_at = value.plain()?,
            "info" => self.info.raw = Some(value.copy()),
            "b64info" => self.info.b64 = value.plain()?,
            "meta" => self.meta = Some(value.copy()),
            _ => {}
        }
        Ok(())
    }
}

impl Fields for SubRefreshResult {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        if name == "meta" {
            return Ok(());
        }
        self.0.field(name, value)
    }
}

impl Fields for PublishResult {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        match name {
            "data" => self.data.raw = Some(value.payload()),
            "b64data" => self.data.b64 = value.plain()?,
            "skip_history" => self.skip_history = value.plain()?,
            "tags" => self.tags = value.map()?,
            "idempotency_key" => self.idempotency_key = value.plain()?,
            "delta" => self.delta = value.plain()?,
            "version" => self.version = value.plain()?,
            "version_epoch" => self.version_epoch = value.plain()?,
            _ => {}
        }
        Ok(())
    }
}

impl Fields for RpcResult {
    fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), Wrong> {
        match name {
            "data" => self.data.raw = Some(value.payload()),
            "b64data" => self.data.b64 = value.plain()?,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<T: Fields>(body: &'static str) -> Result<Answer<T>, Failure> {
        answer(&Bytes::from_static(body.as_bytes()))
    }

    fn refused<T: Fields + std::fmt::Debug>(body: &'static str) {
        let read = read::<T>(body);
        assert!(matches!(read, Err(Failure::Decode)), "{body}: {read:?}");
    }

    #[test]
    fn payloads_are_slices_of_the_body() {
        let body = Bytes::from_static(br#"{"result":{"data":{ "a" : [1] }}}"#);
        let result = answer::<RpcResult>(&body).unwrap().result.unwrap();
        let data = result.data.raw.unwrap();
        assert_eq!(data, r#"{ "a" : [1] }"#);
        assert!(body.as_ptr_range().contains(&data.as_ptr()));
    }

    #[test]
    fn names_match_in_any_case_and_unknown_ones_are_ignored() {
        let read = read::<ConnectResult>(r#"{"x":[{}],"RESULT":{"User":"u","y":1}}"#);
        assert_eq!(read.unwrap().result.unwrap().user, "u");
    }

    #[test]
    fn null_is_absence_except_for_payloads() {
        assert_eq!(read::<RpcResult>("null").unwrap().result, None);
        assert_eq!(
            read::<RpcResult>(r#"{"result":null}"#).unwrap().result,
            None
        );
        let read = read::<ConnectResult>(
            r#"{"result":{"user":null,"meta":null,"channels":[null],"subs":{"a":null}}}"#,
        );
        let result = read.unwrap().result.unwrap();
        assert_eq!(result.meta.unwrap(), "null");
        assert_eq!(result.channels, [""]);
        assert_eq!(result.subs["a"], Granted::default());
    }

    #[test]
    fn a_flag_without_value_is_off() {
        let read = read::<Granted>(r#"{"result":{"override":{"presence":{},"join_leave":null}}}"#);
        let overrides = read.unwrap().result.unwrap().overrides;
        assert_eq!(
            (overrides.presence, overrides.join_leave),
            (Some(false), None)
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for body in [
            "",
            "oops",
            "[]",
            "{} x",
            "1",
            r#"{"result":[]}"#,
            r#"{"result":"x"}"#,
            "{",
        ] {
            refused::<RpcResult>(body);
        }
        refused::<ConnectResult>(r#"{"result":{"user":1}}"#);
        refused::<ConnectResult>(r#"{"result":{"expire_at":"1"}}"#);
        refused::<Granted>(r#"{"result":{"override":[]}}"#);
        refused::<PublishResult>(r#"{"result":{"tags":["a"]}}"#);
        refused::<RpcResult>(r#"{"error":{"code":-1}}"#);
        refused::<RpcResult>(r#"{"error":{"code":"1000"}}"#);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let body = Bytes::from(bytes);
            drop(answer::<ConnectResult>(&body));
            drop(answer::<PublishResult>(&body));
        }
    }
}
