//! Publishing: through the server API over HTTP or gRPC, or as a client, one publication or a batch a call.

use std::sync::Arc;

use bytes::Bytes;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use serde_json::Value;
use tonic::transport::Channel as Connection;

use super::{
    grpc,
    target::{Error, Session, Target},
};
use crate::{
    model::{Channel, Secret},
    protocol::{PublishRequest, Request},
};

/// Path of the gRPC API.
const SERVICE: [&str; 2] = [
    "/centrifugal.centrifugo.api.CentrifugoApi/Publish",
    "/centrifugal.centrifugo.api.CentrifugoApi/Batch",
];

/// Where and how publications go in.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// Server API over HTTP.
    Http { url: String, key: Secret },
    /// Server API over gRPC.
    Grpc { origin: String, key: Secret },
    /// As a client of the target.
    Client(Box<Target>),
}

impl Route {
    /// Reads `--api`; without it clients publish.
    pub(super) fn parse(api: Option<&str>, key: &str, target: &Target) -> Result<Self, Error> {
        let Some(api) = api else {
            return Ok(Self::Client(Box::new(target.clone())));
        };
        let key = Secret::from(key);
        match api.split_once("://") {
            Some(("http" | "https", _)) => Ok(Self::Http {
                url: api.trim_end_matches('/').to_owned(),
                key,
            }),
            Some(("grpc", at)) => Ok(Self::Grpc {
                origin: format!("http://{at}"),
                key,
            }),
            _ => Err(Error::Address(api.to_owned())),
        }
    }

    /// What the report calls it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http-api",
            Self::Grpc { .. } => "grpc-api",
            Self::Client(_) => "client",
        }
    }

    /// A publisher with a connection of its own.
    pub(super) async fn open(&self) -> Result<Publisher, Error> {
        Ok(match self {
            Self::Http { url, key } => {
                let client = reqwest::Client::builder()
                    .no_proxy()
                    .tcp_nodelay(true)
                    .build();
                let client = client.map_err(|error| Error::Api(error.to_string()))?;
                Publisher::Http(client, url.clone(), key.clone())
            }
            Self::Grpc { origin, key } => {
                let failed = |error: tonic::transport::Error| Error::Grpc(error.to_string());
                let endpoint = tonic::transport::Endpoint::from_shared(origin.clone());
                let endpoint = endpoint.map_err(failed)?.tcp_nodelay(true);
                Publisher::Grpc(endpoint.connect().await.map_err(failed)?, key.clone())
            }
            Self::Client(target) => Publisher::Client(target.open(None).await?),
        })
    }
}

/// One publication to make.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub(super) channel: Arc<str>,
    pub(super) payload: String,
}

/// Publishes, one call after another.
#[derive(Debug)]
pub(super) enum Publisher {
    Http(reqwest::Client, String, Secret),
    Grpc(Connection, Secret),
    Client(Session),
}

impl Publisher {
    /// Another that shares the connection where the protocol allows calls side by side.
    pub(super) fn beside(&self) -> Option<Self> {
        match self {
            Self::Grpc(connection, key) => Some(Self::Grpc(connection.clone(), key.clone())),
            Self::Http(..) | Self::Client(_) => None,
        }
    }

    /// Publishes all and waits for the answers; one that is refused fails the call.
    pub(super) async fn publish(&mut self, posts: Vec<Post>) -> Result<(), Error> {
        match self {
            Self::Http(client, url, key) => http(client, url, key, &posts).await,
            Self::Grpc(connection, key) => {
                let (path, message) = match &*posts {
                    [post] => (SERVICE[0], publish_message(post)),
                    _ => (SERVICE[1], batch_message(&posts)),
                };
                let request = tonic::Request::new(Bytes::from(message));
                let answer = grpc::call(connection.clone(), path, request, key.expose()).await?;
                refusal(&answer, posts.len() > 1)
            }
            Self::Client(session) => {
                let requests = posts.into_iter().map(|post| {
                    Request::Publish(PublishRequest {
                        channel: Channel::from(&*post.channel),
                        data: post.payload.into(),
                        kind: 0,
                    })
                });
                session.calls("publish", requests.collect()).await
            }
        }
    }
}

async fn http(
    client: &reqwest::Client,
    url: &str,
    key: &Secret,
    posts: &[Post],
) -> Result<(), Error> {
    let publish = |post: &Post| {
        let channel = Value::from(&*post.channel);
        format!(r#"{{"channel":{channel},"data":{}}}"#, post.payload)
    };
    let (method, body) = match posts {
        [post] => ("publish", publish(post)),
        posts => {
            let commands = posts
                .iter()
                .map(|post| format!(r#"{{"publish":{}}}"#, publish(post)));
            let commands = commands.collect::<Vec<_>>().join(",");
            ("batch", format!(r#"{{"commands":[{commands}]}}"#))
        }
    };
    let request = client
        .post(format!("{url}/{method}"))
        .header("x-api-key", key.expose())
        .header("content-type", "application/json")
        .body(body);
    let failed = |error: reqwest::Error| Error::Api(error.without_url().to_string());
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(failed)?;
    if !status.is_success() {
        let hint = if status.as_u16() == 401 {
            "; pass --api-key"
        } else {
            ""
        };
        return Err(Error::Api(format!("{status}{hint}")));
    }
    // The usual answer holds no error, and parsing it would cost more than sending.
    if memchr::memmem::find(&body, b"\"error\"").is_some() {
        return Err(Error::Api(String::from_utf8_lossy(&body).into_owned()));
    }
    Ok(())
}

/// Field 1 `channel` and 2 `data` of a `PublishRequest`.
fn publish_message(post: &Post) -> Vec<u8> {
    let mut message = Vec::with_capacity(post.payload.len() + post.channel.len() + 12);
    field(&mut message, 1, post.channel.as_bytes());
    field(&mut message, 2, post.payload.as_bytes());
    message
}

/// Field 1 `commands` of a `BatchRequest`, each with field 4 `publish`.
fn batch_message(posts: &[Post]) -> Vec<u8> {
    let mut message = Vec::new();
    for post in posts {
        let mut command = Vec::new();
        field(&mut command, 4, &publish_message(post));
        field(&mut message, 1, &command);
    }
    message
}

/// A field of Protobuf that has a length.
fn field(message: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    encode_key(number, WireType::LengthDelimited, message);
    encode_varint(bytes.len() as u64, message);
    message.extend_from_slice(bytes);
}

/// Field 1 `error` of a `PublishResponse`; of a batch, field 2 `error` of each reply in field 1.
fn refusal(answer: &[u8], batch: bool) -> Result<(), Error> {
    let refused = if batch {
        fields(answer).any(|(_, reply)| fields(reply).any(|(number, _)| number == 2))
    } else {
        fields(answer).any(|(number, _)| number == 1)
    };
    if refused {
        return Err(Error::Api("a publication was refused".to_owned()));
    }
    Ok(())
}

/// Numbers and bytes of the fields that have a length; the others are stepped over.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let (number, kind) = decode_key(&mut message).ok()?;
            if kind != WireType::LengthDelimited {
                let context = DecodeContext::default();
                skip_field(kind, number, &mut message, context).ok()?;
                continue;
            }
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            let (bytes, rest) = message.split_at_checked(length)?;
            message = rest;
            return Some((number, bytes));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_publication_is_seen() {
        let mut error = Vec::new();
        field(&mut error, 1, b"\x08\x66");
        assert!(refusal(&error, false).is_err());
        let (mut reply, mut batch) = (Vec::new(), Vec::new());
        field(&mut reply, 2, b"\x08\x66");
        field(&mut batch, 1, b"\x22\x00");
        assert!(refusal(&batch, true).is_ok());
        field(&mut batch, 1, &reply);
        assert!(refusal(&batch, true).is_err());
        assert!(refusal(b"\x12\x00", false).is_ok());
    }

    #[test]
    fn long_fields_are_read_back() {
        let mut message = vec![0x08, 0x96, 0x01];
        field(&mut message, 3, &[7; 300]);
        let found: Vec<_> = fields(&message).collect();
        assert_eq!(found, [(3, &[7; 300][..])]);
    }
}
