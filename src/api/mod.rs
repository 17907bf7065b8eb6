//! Server API: typed requests, node calls, typed responses (server-api.md 1 to 9, 11).
//!
//! [`Api`] has one method per API method; each checks its arguments in the order of its section and asks the node.
//! `http` (single methods, batch, legacy) and `grpc` are adapters: they check the key, decode into [`request`]s, run
//! them through [`Api::call`] and encode [`result`]s. Decides nothing about channels or connections, opens no listener.

use std::sync::Arc;

use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    model::{Channel, ClientId, Target, UserId},
    node::{self, Node},
    trace::{Span, Tracer},
};

pub mod admin;
mod batch;
mod channels;
mod connections;
mod error;
mod forged;
pub mod grpc;
pub mod http;
mod json;
mod key;
mod legacy;
mod method;
mod metrics;
mod publish;
pub mod request;
pub mod result;

pub use error::{Error, Failure};
pub use grpc::GrpcConfig;
pub use http::HttpConfig;
pub use method::{Call, Method, Outcome};
pub use metrics::Metrics;

/// Options of the API itself, `centripetal.api.*` (config.md 11).
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Config {
    /// Largest request body over HTTP, bytes; 0 for no limit.
    pub max_request_body_size: usize,
    /// Refuse an unsubscribe without channel.
    pub strict_unsubscribe: bool,
}

/// How errors are told, `error_mode` of `http_api` and `grpc_api` (server-api.md 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ErrorMode {
    /// Inside the response, whose status says success.
    #[default]
    #[serde(rename = "")]
    Response,
    /// As a failure of the transport.
    #[serde(rename = "transport")]
    Transport,
}

impl ErrorMode {
    /// The mode of one request, which may ask for transport errors by header or metadata.
    fn or_asked(self, asked: Option<&[u8]>) -> Self {
        match asked {
            Some(b"transport") => Self::Transport,
            _ => self,
        }
    }
}

/// Name of the header and metadata key that asks for transport errors.
const ERROR_MODE: &str = "x-centrifugo-error-mode";

/// The way a command came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// HTTP, a single method or a batch.
    Http,
    /// HTTP in the legacy format; failures are not counted.
    Legacy,
    /// gRPC, a single method or a batch.
    Grpc,
}

impl Via {
    /// Label values of metrics.
    const PROTOCOLS: [&str; 2] = ["http", "grpc"];

    const fn index(self) -> usize {
        match self {
            Self::Http | Self::Legacy => 0,
            Self::Grpc => 1,
        }
    }

    const fn protocol(self) -> &'static str {
        Self::PROTOCOLS[self.index()]
    }
}

/// The server API of a node. Cloning is a reference count.
#[derive(Clone, Debug)]
pub struct Api {
    shared: Arc<Shared>,
    /// Set when requests run inside of spans.
    tracer: Option<Tracer>,
}

#[derive(Debug)]
struct Shared {
    node: Node,
    config: Config,
    metrics: Metrics,
    /// Cancelled with the first step of the drain.
    stopping: CancellationToken,
}

impl Api {
    /// The API of a node. `stopping` is cancelled when the node begins to shut down.
    #[must_use]
    pub fn new(node: Node, config: Config, metrics: Metrics, stopping: CancellationToken) -> Self {
        Self {
            shared: Arc::new(Shared {
                node,
                config,
                metrics,
                stopping,
            }),
            tracer: None,
        }
    }

    /// The same API, writing what is asked into the spans that its requests run inside of.
    #[must_use]
    pub fn traced(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// Writes into the span of the request, if there is one.
    fn note(&self, write: impl FnOnce(&Span)) {
        if let Some(tracer) = &self.tracer {
            write(&tracer.present());
        }
    }

    /// Says in the span that the request failed. Commands of a batch fail without that.
    fn note_failure(&self, answer: &Result<Outcome, Error>) {
        if let Err(error) = answer {
            self.note(|span| span.fail(format!("{}: {error}", error.code())));
        }
    }

    /// Runs a command, with its metrics and its span.
    ///
    /// # Errors
    /// What the method of the command answers.
    pub async fn call(&self, via: Via, call: Call) -> Result<Outcome, Error> {
        let method = call.method();
        let span = tracing::debug_span!("api", protocol = via.protocol(), method = method.name());
        self.note(|span| describe(span, &call));
        let started = Instant::now();
        let answer = call.run(self).instrument(span).await;
        let metrics = &self.shared.metrics;
        metrics.took(via, method, started.elapsed());
        match &answer {
            Err(error) => metrics.failed(via, method.name(), &error.code().to_string()),
            Ok(Outcome::Broadcast(result)) => {
                for failure in result.responses.iter().filter_map(|r| r.error.as_ref()) {
                    metrics.failed(via, metrics::BROADCAST_PUBLISH, &failure.code.to_string());
                }
            }
            Ok(_) => {}
        }
        answer
    }

    fn node(&self) -> &Node {
        &self.shared.node
    }
}

/// What a command is about.
fn describe(span: &Span, call: &Call) {
    match call {
        Call::Publish(request) => span.set("centrifugo.channel", request.channel.clone()),
        Call::Broadcast(request) => {
            let channels = i64::try_from(request.channels.len()).unwrap_or(i64::MAX);
            span.set("centrifugo.num_channels", channels);
        }
        _ => {}
    }
}

/// An argument is missing or malformed: one line for the operator, 107 for the caller.
fn bad_request(method: Method, channel: &str, error: &str) -> Error {
    let channel = (!channel.is_empty()).then_some(channel);
    tracing::error!(error, channel, "bad {} request", method.name());
    Error::BadRequest
}

/// The name of a required channel.
fn required(method: Method, channel: String) -> Result<Channel, Error> {
    if channel.is_empty() {
        return Err(bad_request(method, "", "channel is required"));
    }
    Ok(Channel::from(channel))
}

/// The node could not do it: failures and switched-off features are worth a line, the rest is the caller's business.
fn refused(method: Method, channel: &Channel, error: &node::Error) -> Error {
    match error {
        node::Error::Internal(cause) => {
            let cause = cause.as_ref().map(tracing::field::display);
            match method {
                Method::Presence => {
                    tracing::error!(error = cause, %channel, "error getting presence for channel");
                }
                Method::History => {
                    tracing::error!(error = cause, %channel, "error getting history for channel");
                }
                _ => tracing::error!(error = cause, %channel, "error in {}", method.name()),
            }
        }
        node::Error::Pattern(error) => tracing::error!(%error, "error in {}", method.name()),
        node::Error::NotAvailable => {
            tracing::warn!(%channel, "{} is not enabled for channel", method.name());
        }
        node::Error::BadRequest => return bad_request(method, channel.as_str(), "bad argument"),
        node::Error::UnknownChannel | node::Error::UnrecoverablePosition => {}
    }
    Error::from(error)
}

/// The connections a request is for; empty conditions do not count, save for the user.
fn target(user: String, client: String, session: String) -> Target {
    Target {
        user: UserId::from(user),
        client: (!client.is_empty()).then(|| ClientId::from(client)),
        session: (!session.is_empty()).then_some(session),
        ..Target::default()
    }
}

#[cfg(test)]
mod tests;
