//! The way back of HTTP stream and SSE (client-protocol.md 3.5): a request carries a frame of commands and names node and session.
//!
//! Replies come on the stream. That the session is known is not told: the answer is the same.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::is_octets;
use crate::{
    model::Encoding,
    node::{EmulationError, Node},
    protocol::decode_emulation_request,
    transport::{
        Origins,
        stream::{Rules, empty, guard, read_body},
    },
};

/// Section `emulation`.
#[derive(Clone, Debug, Deserialize)]
pub struct EmulationConfig {
    /// Path.
    pub handler_prefix: String,
    /// Longest body, bytes.
    pub max_request_body_size: usize,
}

#[derive(Debug)]
struct Endpoint {
    node: Node,
    body_limit: usize,
    patience: Duration,
}

/// The endpoint of frames. A body has to be complete within `patience`.
pub fn emulation(
    node: Node,
    config: &EmulationConfig,
    patience: Duration,
    origins: Arc<Origins>,
) -> Router {
    let endpoint = Endpoint {
        node,
        body_limit: config.max_request_body_size,
        patience,
    };
    let handler = Router::new()
        .fallback(handle)
        .with_state(Arc::new(endpoint));
    let rules = Rules {
        origins,
        methods: &[Method::POST],
        preflight: true,
    };
    guard(handler, rules)
}

async fn handle(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let encoding = if is_octets(&request.headers) {
        Encoding::Protobuf
    } else {
        Encoding::Json
    };
    let body = match read_body(body, endpoint.body_limit, endpoint.patience).await {
        Ok(body) => body,
        Err(why) => return why.response(request.version),
    };
    let frame = match decode_emulation_request(encoding, &body) {
        Ok(frame) => frame,
        Err(error) => {
            tracing::info!(%error, "can't unmarshal emulation request");
            return empty(StatusCode::BAD_REQUEST);
        }
    };
    let Err(error) = endpoint.node.emulate(frame).await else {
        return empty(StatusCode::NO_CONTENT);
    };
    tracing::debug!(%error, "emulation request not delivered");
    empty(match error {
        EmulationError::UnknownNode => StatusCode::NOT_FOUND,
        EmulationError::Undelivered => StatusCode::INTERNAL_SERVER_ERROR,
    })
}
