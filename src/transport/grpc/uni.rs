//! The stream of clients that only listen (server-api.md 17): one connect request, then pushes, one a message.
//!
//! Served on a listener of its own; what a request may do is the node's.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use serde::Deserialize;
use tonic::{
    Code, Status,
    body::Body,
    codec::CompressionEncoding,
    server::{Grpc, NamedService, ServerStreamingService},
};
use tower::Service;
use tracing::Instrument as _;

use super::codec::Raw;
use crate::{
    model::{Direction, Encoding, Peer, Version},
    node::{Inbound, LinkTraits},
    protocol::{decode_connect_request, frame::Framing},
    transport::{
        END_WAIT, PeerRules, Serve, Tasks,
        outlet::{Messages, outlet},
        stream::{Settings, StreamLink},
    },
};

const PATH: &str = "/centrifugal.centrifugo.unistream.CentrifugoUniStream/Consume";
/// Largest request unless configured.
const REQUEST: usize = 4 * 1024 * 1024;

/// Section `uni_grpc`.
#[derive(Clone, Debug, Deserialize)]
pub struct UniConfig {
    /// Switched on.
    pub enabled: bool,
    /// Listen host.
    pub address: String,
    /// Listen port.
    pub port: u16,
    /// Largest request, bytes; 0 means 4 MiB.
    pub max_receive_message_size: usize,
}

#[derive(Debug)]
struct Shared<S> {
    serve: S,
    request_limit: usize,
    settings: Arc<Settings>,
    peers: Arc<PeerRules>,
    tasks: Tasks,
}

/// The tower service of the stream.
#[derive(Debug)]
pub struct Consume<S>(Arc<Shared<S>>);

impl<S> Clone for Consume<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Serve> Consume<S> {
    /// Puts the service together. A session whose peer takes nothing for `write_timeout` ends with 3009.
    #[must_use]
    pub fn new(
        serve: S,
        config: &UniConfig,
        write_timeout: Duration,
        peers: Arc<PeerRules>,
        tasks: Tasks,
    ) -> Self {
        let request_limit = match config.max_receive_message_size {
            0 => REQUEST,
            limit => limit,
        };
        let settings = Settings {
            traits: LinkTraits {
                framing: Framing::None,
                message_size_limit: request_limit,
                close_carries_reason: false,
                discards_after_refusal: true,
                native_ping: false,
                direction: Direction::Push,
            },
            write_timeout,
            end_wait: END_WAIT,
        };
        Self(Arc::new(Shared {
            serve,
            request_limit,
            settings: Arc::new(settings),
            peers,
            tasks,
        }))
    }

    /// Starts the session of a call and returns what it writes.
    fn open(&self, peer: Peer, request: &Bytes) -> Result<Messages<Status>, Status> {
        let connect = decode_connect_request(Encoding::Protobuf, request);
        let connect = connect.map_err(|malformed| Status::internal(malformed.to_string()))?;
        let (outlet, messages) = outlet();
        let first = Inbound::Connect(Box::new(connect));
        let link = StreamLink::new(first, outlet, self.0.settings.clone());
        let serve = self.0.serve.clone();
        // What a future captures keeps its place for as long as the session lives, so it captures a pointer.
        let start = Box::new((link, peer));
        let session = async move {
            let (link, peer) = *start;
            serve.serve(link, peer).await;
        };
        let span = tracing::debug_span!("connection", transport = "uni_grpc");
        self.0.tasks.spawn(session.instrument(span));
        Ok(messages)
    }
}

/// One call on its way through tonic.
struct Opening<S> {
    service: Consume<S>,
    peer: Option<Peer>,
}

impl<S: Serve> ServerStreamingService<Bytes> for Opening<S> {
    type Response = Bytes;
    type ResponseStream = Messages<Status>;
    type Future = std::future::Ready<Result<tonic::Response<Messages<Status>>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let peer = self.peer.take().ok_or_else(|| Status::internal(""));
        let messages = peer.and_then(|peer| self.service.open(peer, request.get_ref()));
        std::future::ready(messages.map(tonic::Response::new))
    }
}

impl<S: Serve, B> Service<Request<B>> for Consume<S>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("").into_http());
            }
            let dialect = (Encoding::Protobuf, Some(Version::V2));
            let (headers, extensions) = (request.headers(), request.extensions());
            let peer = Some(
                service
                    .0
                    .peers
                    .any("uni_grpc", dialect, headers, extensions),
            );
            let mut grpc = Grpc::new(Raw)
                .max_decoding_message_size(service.0.request_limit)
                .max_encoding_message_size(usize::MAX)
                .accept_compressed(CompressionEncoding::Gzip);
            let response = grpc
                .server_streaming(Opening { service, peer }, request)
                .await;
            Ok(exhausted(response))
        })
    }
}

/// A request over the limit is RESOURCE_EXHAUSTED, where tonic says OUT_OF_RANGE.
fn exhausted(response: Response<Body>) -> Response<Body> {
    let status = Status::from_header_map(response.headers());
    match status {
        Some(status) if status.code() == Code::OutOfRange => {
            Status::resource_exhausted("message too large").into_http()
        }
        _ => response,
    }
}

impl<S> NamedService for Consume<S> {
    const NAME: &'static str = "centrifugal.centrifugo.unistream.CentrifugoUniStream";
}

/// Everything that listener serves: the stream, behind whatever is put in front of it, and UNIMPLEMENTED for the rest.
pub fn uni_routes<C>(consume: C) -> Router
where
    C: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    C::Response: axum::response::IntoResponse,
    C::Future: Send + 'static,
{
    tonic::service::Routes::new(consume).into_axum_router()
}
