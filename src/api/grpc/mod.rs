//! The server API over gRPC (server-api.md 2.2, 5, 6): one tower service for all methods of the table.
//!
//! Written against the codec layer of tonic instead of generated stubs: requests decode straight into the types of
//! this module, all methods share one road, and unknown, unserved and undecodable calls get the answers of the
//! reference. Which listener serves it, TLS, reflection and health are the server's business.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::{self, HeaderMap, HeaderValue};
use bytes::{Buf as _, Bytes};
use prost::Message as _;
use serde::Deserialize;
use tonic::{
    Code, Status,
    body::Body,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, NamedService},
};

use super::{
    Api, ERROR_MODE, Error, ErrorMode, Failure, Via,
    batch::BatchRequest,
    key,
    method::{Answer, Call, Method, UNSERVED, encode_batch, encode_response},
};
use crate::model::Secret;

/// Name of the service.
const NAME: &str = "centrifugal.centrifugo.api.CentrifugoApi";
/// Largest request when `max_receive_message_size` is 0.
const DEFAULT_LIMIT: usize = 4 * 1024 * 1024;

/// Options `grpc_api.*` (config.md 8.14), save for its TLS table, which belongs to the listener.
#[derive(Clone, Debug, Deserialize)]
pub struct GrpcConfig {
    /// Open the listener; whoever serves looks at it.
    pub enabled: bool,
    /// How errors are told.
    pub error_mode: ErrorMode,
    /// Listen host; whoever serves looks at it.
    pub address: String,
    /// Listen port; whoever serves looks at it.
    pub port: u16,
    /// Key; without one every caller is accepted.
    pub key: Secret,
    /// Serve reflection; whoever serves looks at it.
    pub reflection: bool,
    /// Largest request, bytes; 0 for 4 MiB.
    pub max_receive_message_size: usize,
}

/// The service for one listener. `GrpcConfig::key` alone guards it; an empty one accepts every caller.
#[must_use]
pub fn service(api: Api, config: &GrpcConfig) -> Service {
    let limit = match config.max_receive_message_size {
        0 => DEFAULT_LIMIT,
        limit => limit,
    };
    Service {
        shared: Arc::new(Shared {
            api,
            key: config.key.clone(),
            error_mode: config.error_mode,
            limit,
        }),
    }
}

/// The tower service. Cloning is a reference count.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    api: Api,
    key: Secret,
    error_mode: ErrorMode,
    limit: usize,
}

impl NamedService for Service {
    const NAME: &'static str = NAME;
}

type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl<B> tower::Service<http::Request<B>> for Service
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> ResponseFuture {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok(shared.serve(request).await) })
    }
}

/// What a path stands for.
#[derive(Clone, Copy, Debug)]
enum Endpoint {
    Single(Method),
    Batch,
}

impl Endpoint {
    fn find(name: &str) -> Option<Self> {
        if name == "Batch" {
            return Some(Self::Batch);
        }
        let served = Method::ALL.iter().find(|method| method.rpc_name() == name);
        served.map(|method| Self::Single(*method))
    }
}

/// The full name of a method of the protocol, of a path that has one.
#[must_use]
pub fn known(path: &str) -> Option<&str> {
    let full = path.strip_prefix('/')?;
    let name = full.strip_prefix(NAME)?.strip_prefix('/')?;
    (Endpoint::find(name).is_some() || is_unserved(name)).then_some(full)
}

/// True for methods that exist in the protocol only.
fn is_unserved(name: &str) -> bool {
    UNSERVED.iter().any(|(_, rpc_name)| *rpc_name == name)
}

impl Shared {
    async fn serve<B>(self: Arc<Self>, request: http::Request<B>) -> http::Response<Body>
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let path = request.uri().path();
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        let endpoint = Endpoint::find(name);
        // The key belongs to known methods: an unknown one is told so without it.
        if endpoint.is_none() && !is_unserved(name) {
            let text = format!("unknown method {name} for service {NAME}");
            return Status::unimplemented(text).into_http();
        }
        if !self.key.is_empty() && !key::grpc(&self.key, request.headers()) {
            return Status::unauthenticated("unauthenticated").into_http();
        }
        let Some(endpoint) = endpoint else {
            let text = format!("method {name} not implemented");
            self.api.note(|span| span.fail(text.clone()));
            return Status::unimplemented(text).into_http();
        };
        let asked = request.headers().get(ERROR_MODE).map(HeaderValue::as_bytes);
        let mode = self.error_mode.or_asked(asked);
        let limit = self.limit;
        let run = tower::service_fn(move |request: tonic::Request<Bytes>| {
            let shared = Arc::clone(&self);
            async move { shared.run(endpoint, mode, request.into_inner()).await }
        });
        let response = Grpc::new(Messages)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(limit)
            .unary(run, request)
            .await;
        with_limit_status(response)
    }

    async fn run(
        &self,
        endpoint: Endpoint,
        mode: ErrorMode,
        body: Bytes,
    ) -> Result<tonic::Response<Reply>, Status> {
        let reply = match endpoint {
            Endpoint::Single(method) => {
                let call = Call::from_protobuf(method, body).map_err(undecodable)?;
                let answer = self.api.call(Via::Grpc, call).await;
                self.api.note_failure(&answer);
                if let (Err(error), ErrorMode::Transport) = (&answer, mode) {
                    return Err(status(*error));
                }
                Reply::Single(answer)
            }
            Endpoint::Batch => {
                let request = BatchRequest::decode(body).map_err(undecodable)?;
                Reply::Batch(self.api.batch(Via::Grpc, request.into()).await)
            }
        };
        Ok(tonic::Response::new(reply))
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err asks for"
)]
fn undecodable(error: prost::DecodeError) -> Status {
    tracing::error!(%error, "error decoding API request");
    Status::internal(format!("grpc: error unmarshalling request: {error}"))
}

/// tonic says OUT_OF_RANGE for a message over the limit; the reference says RESOURCE_EXHAUSTED. The API's own
/// OUT_OF_RANGE (error 112) carries details, which tells them apart.
fn with_limit_status(response: http::Response<Body>) -> http::Response<Body> {
    let headers: &HeaderMap = response.headers();
    let out_of_range = i32::from(Code::OutOfRange).to_string();
    let matches = headers
        .get(Status::GRPC_STATUS)
        .is_some_and(|code| *code == *out_of_range)
        && !headers.contains_key("grpc-status-details-bin");
    if !matches {
        return response;
    }
    let text = Status::from_header_map(headers).map_or_else(String::new, |status| {
        let mut sizes = status
            .message()
            .split(|c: char| !c.is_ascii_digit())
            .filter(|number| !number.is_empty());
        match (sizes.next(), sizes.next()) {
            (Some(found), Some(limit)) => format!(" ({found} vs. {limit})"),
            _ => String::new(),
        }
    });
    let text = format!("grpc: received message larger than max{text}");
    Status::resource_exhausted(text).into_http()
}

/// `google.rpc.Status`, the form in which gRPC carries details.
#[derive(Clone, PartialEq, prost::Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// An API error as a gRPC status (server-api.md 6).
fn status(error: Error) -> Status {
    let code = match error {
        Error::Internal => Code::Internal,
        Error::UnknownChannel | Error::NotFound => Code::NotFound,
        Error::BadRequest | Error::NotAvailable => Code::InvalidArgument,
        Error::UnrecoverablePosition => Code::OutOfRange,
    };
    let failure = Failure::from(error);
    let details = Details {
        code: code.into(),
        message: failure.message.clone(),
        details: vec![Any {
            type_url: "type.googleapis.com/centrifugal.centrifugo.api.Error".to_owned(),
            value: failure.encode_to_vec(),
        }],
    };
    Status::with_details(code, failure.message, details.encode_to_vec().into())
}

/// An answer on its way out.
enum Reply {
    Single(Answer),
    Batch(Vec<Answer>),
}

/// Bytes in, replies out: which message the bytes are is known further up.
struct Messages;

impl Codec for Messages {
    type Encode = Reply;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Messages {
    type Item = Reply;
    type Error = Status;

    fn encode(&mut self, reply: Reply, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match reply {
            Reply::Single(answer) => encode_response(&answer, out),
            Reply::Batch(answers) => encode_batch(&answers, out),
        }
        .map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Messages {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}

#[cfg(test)]
mod tests;
