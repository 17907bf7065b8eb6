//! The canonical stream: `/proto.Centrifuge/Communicate`, one [`crate::node::Link`] per call (gateway.md 1).
//!
//! Passes bytes through and ends streams with the right status; HTTP/2, TLS and listeners are `server`'s, identities the
//! interceptor's, everything else the node's. Embedders mount [`Communicate`] on a tonic or axum router of their own.

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use serde::Deserialize;
use tokio::{task::AbortHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status, Streaming,
    body::Body,
    codec::CompressionEncoding,
    server::{Grpc, NamedService, StreamingService},
};
use tower::Service;
use tracing::Instrument;

use self::{
    codec::Raw,
    link::{GrpcLink, Limits, Settings},
};
use super::{
    END_WAIT, PeerRules, Serve, Tasks,
    outlet::{LastWord, Messages, outlet},
};
use crate::model::{Encoding, Peer};

mod codec;
mod link;
mod routes;
mod status;
mod uni;

pub use routes::{Health, ReflectionError, Routes, is_grpc, reflection, routes};
pub use uni::{Consume, UniConfig, uni_routes};

const PATH: &str = "/proto.Centrifuge/Communicate";

/// Section `centripetal.grpc`.
#[derive(Clone, Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "configuration")]
pub struct Config {
    /// A listener of its own.
    pub enabled: bool,
    /// Listen host; empty for all interfaces.
    pub address: String,
    /// Listen port.
    pub port: u16,
    /// Also on the HTTP port.
    pub shared: bool,
    /// Also serve the server API.
    pub api: bool,
    /// Serve reflection.
    pub reflection: bool,
    /// Refuse streams without credentials.
    pub require_credentials: bool,
    /// Which name of a client certificate is the user; empty for none.
    pub identity: String,
    /// Compress responses for peers that offer it.
    pub compression: bool,
    /// Largest command, bytes.
    pub message_size_limit: usize,
    /// Streams of one connection.
    pub max_concurrent_streams: u32,
    /// Period of HTTP/2 pings.
    pub keepalive_interval: Duration,
    /// Longest wait for their answer.
    pub keepalive_timeout: Duration,
    /// Age at which a connection is asked to go; zero for never.
    pub max_connection_age: Duration,
}

/// Request extension: cancelled when the connection has reached its age. Its sessions end with 3011.
#[derive(Clone, Debug)]
pub struct ConnectionAge(pub CancellationToken);

tokio::task_local! {
    static SCOPE: StreamScope;
}

/// The task that writes one stream. With it a stream whose peer does not read can be reset; without it such a stream stays
/// until its connection ends.
#[derive(Clone, Debug, Default)]
pub struct StreamScope(Arc<OnceLock<AbortHandle>>);

impl StreamScope {
    /// Spawns the future of a stream so that its session finds the scope. For executors of HTTP/2 connections.
    pub fn spawn(tasks: &Tasks, stream: impl Future<Output = ()> + Send + 'static) {
        let scope = Self::default();
        let handle = tasks.spawn(SCOPE.scope(scope.clone(), stream));
        // Set once and here only.
        scope.0.get_or_init(|| handle);
    }

    pub(super) fn current() -> Option<Self> {
        SCOPE.try_with(Clone::clone).ok()
    }

    pub(super) fn abort(&self) {
        self.0.get().into_iter().for_each(AbortHandle::abort);
    }
}

impl LastWord for Status {
    fn said() -> Self {
        Self::ok("")
    }

    fn abandoned() -> Self {
        Self::unavailable("session ended")
    }
}

#[derive(Debug)]
struct Shared<S> {
    serve: S,
    settings: Arc<Settings>,
    compression: bool,
    peers: Arc<PeerRules>,
    tasks: Tasks,
}

/// The tower service of the stream.
#[derive(Debug)]
pub struct Communicate<S>(Arc<Shared<S>>);

impl<S> Clone for Communicate<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Serve> Communicate<S> {
    /// Puts the service together. A session whose peer takes nothing for `write_timeout` ends with 3009.
    #[must_use]
    pub fn new(
        serve: S,
        config: &Config,
        write_timeout: Duration,
        peers: Arc<PeerRules>,
        tasks: Tasks,
    ) -> Self {
        let settings = Arc::new(Settings {
            message_size_limit: config.message_size_limit,
            write_timeout,
            end_wait: END_WAIT,
        });
        Self(Arc::new(Shared {
            serve,
            settings,
            compression: config.compression,
            peers,
            tasks,
        }))
    }

    fn grpc(&self) -> Grpc<Raw> {
        let mut grpc = Grpc::new(Raw)
            .max_decoding_message_size(self.0.settings.message_size_limit)
            .max_encoding_message_size(usize::MAX);
        for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
            grpc = grpc.accept_compressed(encoding);
            if self.0.compression {
                grpc = grpc.send_compressed(encoding);
            }
        }
        grpc
    }

    /// Starts the session of a call and returns what it writes.
    fn open(&self, call: Call, commands: Streaming<Bytes>) -> Messages<Status> {
        let (outlet, messages) = outlet();
        let link = GrpcLink {
            commands,
            outlet,
            limits: call.limits,
            scope: StreamScope::current(),
            settings: self.0.settings.clone(),
            write_timeout: self.0.settings.write_timeout,
            failure: None,
        };
        let serve = self.0.serve.clone();
        // What a future captures keeps its place for as long as the session lives, so it captures a pointer.
        let start = Box::new((link, call.peer));
        let session = async move {
            let (link, peer) = *start;
            serve.serve(link, peer).await;
        };
        let span = tracing::debug_span!("connection", transport = "grpc");
        self.0.tasks.spawn(session.instrument(span));
        messages
    }
}

/// What the head of a call says.
#[derive(Debug)]
struct Call {
    peer: Peer,
    limits: Limits,
}

impl Call {
    fn new(peers: &PeerRules, headers: &HeaderMap, extensions: &http::Extensions) -> Self {
        let dialect = (Encoding::Protobuf, None);
        let age = extensions.get::<ConnectionAge>();
        Self {
            peer: peers.any("grpc", dialect, headers, extensions),
            limits: Limits {
                deadline: status::time_limit(headers).map(|limit| Box::pin(sleep(limit))),
                aged: age.map(|age| Box::pin(age.0.clone().cancelled_owned())),
            },
        }
    }
}

/// One call on its way through tonic.
struct Opening<S> {
    service: Communicate<S>,
    call: Option<Call>,
}

impl<S: Serve> StreamingService<Bytes> for Opening<S> {
    type Response = Bytes;
    type ResponseStream = Messages<Status>;
    type Future = std::future::Ready<Result<tonic::Response<Messages<Status>>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let messages = self
            .call
            .take()
            .map(|call| self.service.open(call, request.into_inner()));
        std::future::ready(
            messages
                .map(tonic::Response::new)
                .ok_or_else(|| Status::internal("")),
        )
    }
}

impl<S: Serve, B> Service<Request<B>> for Communicate<S>
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
            let call = Call::new(&service.0.peers, request.headers(), request.extensions());
            let mut grpc = service.grpc();
            let call = Some(call);
            Ok(grpc.streaming(Opening { service, call }, request).await)
        })
    }
}

impl<S> NamedService for Communicate<S> {
    const NAME: &'static str = "proto.Centrifuge";
}

#[cfg(test)]
mod tests;
