//! Questions as JSON objects, POSTed to one path each.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json, value::RawValue};

use crate::rules::{Answer, Chat, Granted, Question};

const KINDS: [&str; 6] = [
    "connect",
    "refresh",
    "subscribe",
    "publish",
    "sub_refresh",
    "rpc",
];

/// A path for every question.
pub(crate) fn router(chat: Arc<Chat>) -> Router {
    let router = KINDS.into_iter().fold(Router::new(), |router, kind| {
        let answer = async move |State(chat): State<Arc<Chat>>, headers: HeaderMap, body: Bytes| {
            respond(kind, &chat, &headers, &body).await
        };
        router.route(&format!("/{kind}"), post(answer))
    });
    router.with_state(chat)
}

async fn respond(kind: &'static str, chat: &Chat, headers: &HeaderMap, body: &[u8]) -> Response {
    let Some(question) = question(kind, headers, body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let binary = question.encoding == "binary";
    let answer = match chat.answer(question).await {
        Answer::Granted(granted) => json!({"result": result(*granted, binary)}),
        Answer::Nothing => json!({}),
        Answer::Error(code, message) => json!({"error": {"code": code, "message": message}}),
        Answer::Disconnect(code, reason) => {
            json!({"disconnect": {"code": code, "reason": reason}})
        }
        Answer::Forbidden => return StatusCode::FORBIDDEN.into_response(),
    };
    ([("content-type", "application/json")], answer.to_string()).into_response()
}

fn question(kind: &'static str, headers: &HeaderMap, body: &[u8]) -> Option<Question> {
    // The payload is looked at as it was sent.
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Payload<'a> {
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        b64data: String,
    }
    let payload: Payload<'_> = serde_json::from_slice(body).ok()?;
    let all: Value = serde_json::from_slice(body).ok()?;
    let text = |name: &str| all[name].as_str().unwrap_or_default().to_owned();
    let data = match payload.data {
        Some(data) => data.get().as_bytes().to_vec(),
        None => BASE64_STANDARD.decode(&payload.b64data).ok()?,
    };
    let channels = all["channels"].as_array().into_iter().flatten();
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let about = ["client", "transport", "protocol", "name", "version"];
    Some(Question {
        kind,
        user: text("user"),
        channel: text("channel"),
        method: text("method"),
        data,
        meta: all
            .get("meta")
            .map(|meta| meta.to_string().into_bytes())
            .unwrap_or_default(),
        channels: channels
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        headers: headers.collect(),
        encoding: text("encoding"),
        about: about.into_iter().map(|name| (name, text(name))).collect(),
    })
}

fn result(granted: Granted, binary: bool) -> Value {
    let mut result = Map::new();
    let mut put = |name: &str, value: Value| {
        result.insert(name.to_owned(), value);
    };
    if !granted.user.is_empty() {
        put("user", granted.user.into());
    }
    if granted.expired {
        put("expired", true.into());
    }
    if granted.expire_at != 0 {
        put("expire_at", granted.expire_at.into());
    }
    if let Some(info) = granted.info {
        put("info", info);
    }
    if let Some(meta) = granted.meta {
        put("meta", meta);
    }
    match granted.data {
        Some(data) if binary => put("b64data", BASE64_STANDARD.encode(data).into()),
        Some(data) => put("data", serde_json::from_slice(&data).unwrap_or_default()),
        None => {}
    }
    if !granted.channels.is_empty() {
        put("channels", granted.channels.into());
    }
    if let Some(presence) = granted.presence {
        put("override", json!({"presence": {"value": presence}}));
    }
    if !granted.tags.is_empty() {
        put("tags", json!(granted.tags));
    }
    result.into()
}
