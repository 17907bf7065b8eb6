//! The single-endpoint format of older client libraries (server-api.md 11): commands one after another in one body.

use serde::{
    Serialize,
    de::{Error as _, MapAccess},
};
use serde_json::value::RawValue;

use super::{
    Api, Error, Failure, Via, bad_request,
    json::{self, Fields, Place},
    method::{Answer, Call, Method, Outcome, UNSERVED},
};

/// Which method a command names. The default, an absent one, is publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Served(Method),
    /// A number nobody has, or a method that is not served: 104.
    Unserved,
}

impl Named {
    /// A known name in any letter case, or any integer.
    fn parse(raw: &str) -> Option<Self> {
        if let Ok(number) = raw.parse::<i64>() {
            let method = Method::ALL.iter().find(|m| m.legacy_number() == number);
            return Some(method.map_or(Self::Unserved, |method| Self::Served(*method)));
        }
        let name = json::text(raw)?;
        let served = Method::ALL
            .iter()
            .find(|m| m.name().eq_ignore_ascii_case(&name));
        if let Some(method) = served {
            return Some(Self::Served(*method));
        }
        UNSERVED
            .iter()
            .any(|(unserved, _)| unserved.eq_ignore_ascii_case(&name))
            .then_some(Self::Unserved)
    }
}

/// One command as it stands in the body.
#[derive(Debug)]
struct Command {
    id: u32,
    method: Named,
    /// The request, undecoded, as its type depends on a method that may come later; `None` when absent.
    params: Option<Box<RawValue>>,
}

impl Default for Command {
    fn default() -> Self {
        Self {
            id: 0,
            method: Named::Served(Method::Publish),
            params: None,
        }
    }
}

impl Fields for Command {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        values: &mut A,
    ) -> Result<bool, A::Error> {
        if name.eq_ignore_ascii_case("id") {
            values.next_value_seed(Place(&mut self.id))?;
        } else if name.eq_ignore_ascii_case("method") {
            let raw: &RawValue = values.next_value()?;
            self.method =
                Named::parse(raw.get()).ok_or_else(|| A::Error::custom("a method is expected"))?;
        } else if name.eq_ignore_ascii_case("params") {
            self.params = Some(values.next_value()?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// The answer to one command.
#[derive(Serialize)]
pub(super) struct Reply<'a> {
    #[serde(skip_serializing_if = "json::zero")]
    id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Outcome>,
}

impl<'a> Reply<'a> {
    /// A reply; `id` is 0 for the envelope of a single method.
    pub(super) fn new(id: u32, answer: &'a Answer) -> Self {
        Self {
            id,
            error: answer.as_ref().err().map(|error| (*error).into()),
            result: answer.as_ref().ok(),
        }
    }
}

/// Why a body has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The body, or one of its commands, is malformed. Commands before it were run.
    #[error(transparent)]
    Undecodable(json::Error),
    /// A result cannot be written as JSON.
    #[error("result is not JSON")]
    Unwritable,
}

impl Api {
    /// Runs the commands of a body in order; the replies are joined by line feeds.
    pub(super) async fn legacy(&self, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut rest = std::str::from_utf8(body)
            .map_err(|_not_text| Refusal::Undecodable(json::Error::Encoding))?;
        let mut out = Vec::new();
        loop {
            let (command, after) = next_command(rest).map_err(Refusal::Undecodable)?;
            rest = after;
            let id = command.id;
            let answer = self.legacy_command(command).await;
            if !out.is_empty() {
                out.push(b'\n');
            }
            serde_json::to_writer(&mut out, &Reply::new(id, &answer))
                .map_err(|_not_json| Refusal::Unwritable)?;
            if rest.is_empty() {
                return Ok(out);
            }
        }
    }

    async fn legacy_command(&self, command: Command) -> Answer {
        let Named::Served(method) = command.method else {
            return Err(Error::NotFound);
        };
        self.note(|span| span.set("method", method.name().to_ascii_uppercase()));
        let params = match &command.params {
            // Absent params are an empty object, and `info` does not look at its params at all.
            Some(params) if method != Method::Info => params.get(),
            _ => "{}",
        };
        let call = Call::from_json(method, params.as_bytes())
            .map_err(|error| bad_request(method, "", &error.to_string()))?;
        let answer = self.call(Via::Legacy, call).await;
        self.note_failure(&answer);
        answer
    }
}

/// Decodes the first command; what follows it is returned without leading white space.
fn next_command(text: &str) -> Result<(Command, &str), json::Error> {
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let raw = match documents.next() {
        Some(document) => document?.get(),
        // An empty body; let the decoder say so.
        None => "",
    };
    let rest = text[documents.byte_offset()..].trim_start_matches([' ', '\t', '\r', '\n']);
    if raw.starts_with('[') {
        return Err(serde_json::Error::custom("a command is expected").into());
    }
    Ok((json::decode_text(raw)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(raw: &str) -> Option<&'static str> {
        Named::parse(raw).map(|named| match named {
            Named::Served(method) => method.name(),
            Named::Unserved => "unserved",
        })
    }

    #[test]
    fn methods_by_name_and_number() {
        for (number, name) in [
            "publish",
            "broadcast",
            "unsubscribe",
            "disconnect",
            "presence",
            "presence_stats",
            "history",
            "history_remove",
            "channels",
            "info",
            "rpc",
            "subscribe",
            "refresh",
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(named(&number.to_string()), Some(name));
            assert_eq!(named(&format!("\"{name}\"")), Some(name));
            assert_eq!(named(&format!("\"{}\"", name.to_uppercase())), Some(name));
        }
        for unserved in [
            "13",
            "14",
            "39",
            "99",
            "-1",
            "\"connections\"",
            "\"Map_Publish\"",
        ] {
            assert_eq!(named(unserved), Some("unserved"), "{unserved}");
        }
        for unknown in [
            "\"\"",
            "\"4\"",
            "4.0",
            "1e1",
            "null",
            "\"batch\"",
            "\"nosuch\"",
            "true",
            "{}",
            "[]",
        ] {
            assert_eq!(named(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn commands_follow_one_another() {
        let body =
            "{\"id\":1,\"method\":\"info\"}{\"ID\":2}\n\t null  {\"method\":9,\"params\":[]} \n";
        let mut rest = body;
        let mut seen = Vec::new();
        while !rest.is_empty() {
            let (command, after) = next_command(rest).unwrap();
            seen.push((
                command.id,
                command.method,
                command.params.map(|p| p.get().to_owned()),
            ));
            rest = after;
        }
        let publish = Named::Served(Method::Publish);
        let info = Named::Served(Method::Info);
        assert_eq!(
            seen,
            [
                (1, info, None),
                (2, publish, None),
                (0, publish, None),
                (0, info, Some("[]".to_owned()))
            ]
        );
    }

    #[test]
    fn malformed_commands_are_refused() {
        for body in [
            "",
            " \n",
            "not json",
            "[]",
            "[{\"method\":\"info\"}]",
            "5",
            "\"x\"",
            "{\"id\":-1}",
            "{\"id\":\"1\"}",
            "{\"id\":4294967296}",
            "{\"id\":1.0}",
            "{\"method\":\"nosuch\"}",
            "{",
            "{]",
        ] {
            assert!(next_command(body).is_err(), "{body}");
        }
        assert_eq!(next_command("{\"id\":4294967295}").unwrap().0.id, u32::MAX);
        assert_eq!(next_command("{\"id\":null,\"x\":1}").unwrap().0.id, 0);
    }
}
