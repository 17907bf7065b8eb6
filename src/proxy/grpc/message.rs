//! Between the generated messages and our own questions and answers.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use super::Unary;
use crate::{
    model::{ClientError, Disconnect},
    pb::proxy as pb,
    proxy::{
        answer::{
            Answer, ConnectResult, Granted, Override, PublishResult, RefreshResult, RpcResult,
            SubRefreshResult, Twin,
        },
        question::{Carriage, Question},
    },
};

/// Payload and its base64 twin of a question.
fn payload(data: &Bytes, carriage: Carriage) -> (Bytes, String) {
    if carriage.binary {
        (Bytes::new(), BASE64_STANDARD.encode(data))
    } else {
        (data.clone(), String::new())
    }
}

fn meta(question: &Question<'_>, carriage: Carriage) -> Bytes {
    if carriage.meta {
        question.client.meta.clone()
    } else {
        Bytes::new()
    }
}

/// A message about a connection, with the fields that every question has.
macro_rules! about {
    ($message:ident, $question:expr, $carriage:expr, { $($field:ident: $value:expr),* $(,)? }) => {
        pb::$message {
            client: $question.client.id.as_str().to_owned(),
            transport: $question.client.peer.transport.to_owned(),
            protocol: $question.protocol().to_owned(),
            encoding: $carriage.encoding().to_owned(),
            $($field: $value,)*
        }
    };
}

/// One row: our result, messages, method, and how the question is written.
macro_rules! unary {
    ($result:ty, $request:ident, $response:ident, $method:literal,
        |$question:ident, $carriage:ident| $message:expr) => {
        impl Unary for $result {
            type Request = pb::$request;
            type Response = pb::$response;
            const PATH: &'static str =
                concat!("/centrifugal.centrifugo.proxy.CentrifugoProxy/", $method);
            fn request($question: &Question<'_>, $carriage: Carriage) -> pb::$request {
                $message
            }
        }

        impl From<pb::$response> for Answer<$result> {
            fn from(response: pb::$response) -> Self {
                Self {
                    result: response.result.map(Into::into),
                    error: response.error.map(error),
                    disconnect: response.disconnect.map(disconnect),
                }
            }
        }
    };
}

unary!(
    ConnectResult,
    ConnectRequest,
    ConnectResponse,
    "Connect",
    |question, carriage| {
        let (data, b64data) = payload(question.data, carriage);
        let said = &question.introduction;
        let channels = said.channels.iter().map(ToString::to_string);
        about!(ConnectRequest, question, carriage, {
            data: data,
            b64data: b64data,
            name: said.name.to_owned(),
            version: said.version.to_owned(),
            channels: channels.collect(),
        })
    }
);

unary!(
    RefreshResult,
    RefreshRequest,
    RefreshResponse,
    "Refresh",
    |question, carriage| {
        about!(RefreshRequest, question, carriage, {
            labels: HashMap::new(),
        user: question.client.user.to_string(),
            meta: meta(question, carriage),
        })
    }
);

unary!(
    Granted,
    SubscribeRequest,
    SubscribeResponse,
    "Subscribe",
    |question, carriage| {
        let (data, b64data) = payload(question.data, carriage);
        about!(SubscribeRequest, question, carriage, {
            token: String::new(),
        labels: HashMap::new(),
        user: question.client.user.to_string(),
            channel: question.channel.to_owned(),
            meta: meta(question, carriage),
            data: data,
            b64data: b64data,
        })
    }
);

unary!(
    PublishResult,
    PublishRequest,
    PublishResponse,
    "Publish",
    |question, carriage| {
        let (data, b64data) = payload(question.data, carriage);
        about!(PublishRequest, question, carriage, {
            labels: HashMap::new(),
        user: question.client.user.to_string(),
            channel: question.channel.to_owned(),
            data: data,
            b64data: b64data,
            meta: meta(question, carriage),
        })
    }
);

unary!(
    RpcResult,
    RpcRequest,
    RpcResponse,
    "RPC",
    |question, carriage| {
        let (data, b64data) = payload(question.data, carriage);
        about!(RpcRequest, question, carriage, {
            labels: HashMap::new(),
        user: question.client.user.to_string(),
            method: question.method.to_owned(),
            data: data,
            b64data: b64data,
            meta: meta(question, carriage),
        })
    }
);

unary!(
    SubRefreshResult,
    SubRefreshRequest,
    SubRefreshResponse,
    "SubRefresh",
    |question, carriage| {
        about!(SubRefreshRequest, question, carriage, {
            labels: HashMap::new(),
        user: question.client.user.to_string(),
            channel: question.channel.to_owned(),
            meta: meta(question, carriage),
        })
    }
);

fn error(error: pb::Error) -> ClientError {
    ClientError {
        code: error.code,
        message: error.message.into(),
        temporary: error.temporary,
    }
}

fn disconnect(disconnect: pb::Disconnect) -> Disconnect {
    Disconnect {
        code: disconnect.code,
        reason: disconnect.reason.into(),
    }
}

fn given(raw: Bytes) -> Option<Bytes> {
    (!raw.is_empty()).then_some(raw)
}

/// What is kept long must not keep the message it came in.
fn kept(raw: &Bytes, b64: String) -> Twin {
    Twin {
        raw: given(Bytes::copy_from_slice(raw)),
        b64,
    }
}

fn twin(raw: Bytes, b64: String) -> Twin {
    Twin {
        raw: given(raw),
        b64,
    }
}

impl From<pb::ConnectResult> for ConnectResult {
    fn from(result: pb::ConnectResult) -> Self {
        let subs = result.subs.into_iter();
        Self {
            user: result.user,
            expire_at: result.expire_at,
            info: kept(&result.info, result.b64info),
            data: twin(result.data, result.b64data),
            channels: result.channels,
            subs: subs.map(|(name, sub)| (name, sub.into())).collect(),
            meta: given(Bytes::copy_from_slice(&result.meta)),
        }
    }
}

impl From<pb::SubscribeOptions> for Granted {
    fn from(options: pb::SubscribeOptions) -> Self {
        Self {
            expire_at: options.expire_at,
            info: kept(&options.info, options.b64info),
            data: kept(&options.data, options.b64data),
            overrides: overrides(options.r#override),
            cache_recover: options.cache_recover,
        }
    }
}

impl From<pb::SubscribeResult> for Granted {
    fn from(result: pb::SubscribeResult) -> Self {
        Self {
            expire_at: result.expire_at,
            info: kept(&result.info, result.b64info),
            data: kept(&result.data, result.b64data),
            overrides: overrides(result.r#override),
            cache_recover: false,
        }
    }
}

fn overrides(given: Option<pb::SubscribeOptionOverride>) -> Override {
    let Some(given) = given else {
        return Override::default();
    };
    let value = |flag: Option<pb::BoolValue>| flag.map(|flag| flag.value);
    Override {
        presence: value(given.presence),
        join_leave: value(given.join_leave),
        force_recovery: value(given.force_recovery),
        force_positioning: value(given.force_positioning),
        force_push_join_leave: value(given.force_push_join_leave),
    }
}

impl From<pb::RefreshResult> for RefreshResult {
    fn from(result: pb::RefreshResult) -> Self {
        Self {
            expired: result.expired,
            expire_at: result.expire_at,
            info: kept(&result.info, result.b64info),
            meta: given(Bytes::copy_from_slice(&result.meta)),
        }
    }
}

impl From<pb::SubRefreshResult> for SubRefreshResult {
    fn from(result: pb::SubRefreshResult) -> Self {
        Self(RefreshResult {
            expired: result.expired,
            expire_at: result.expire_at,
            info: kept(&result.info, result.b64info),
            meta: None,
        })
    }
}

impl From<pb::PublishResult> for PublishResult {
    fn from(result: pb::PublishResult) -> Self {
        Self {
            data: twin(result.data, result.b64data),
            skip_history: result.skip_history,
            tags: sorted(result.tags),
            idempotency_key: result.idempotency_key,
            delta: result.delta,
            version: result.version,
            version_epoch: result.version_epoch,
        }
    }
}

impl From<pb::RpcResult> for RpcResult {
    fn from(result: pb::RpcResult) -> Self {
        Self {
            data: twin(result.data, result.b64data),
        }
    }
}

/// Tags in the form of a publication.
pub(super) fn sorted(tags: HashMap<String, String>) -> BTreeMap<String, String> {
    tags.into_iter().collect()
}
