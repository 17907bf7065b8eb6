//! Connections of the gRPC listener: HTTP/2 with prior knowledge and nothing else.

use std::{
    convert::Infallible,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body};
use futures_util::future::{Either, Ready, ready};
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt, util::Oneshot};

use super::{
    entrance::Arrival,
    http::{Duplex, Http2, Limits, Streams, drive},
};
use crate::transport::Tasks;

/// First bytes of every HTTP/2 connection.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest time a peer that speaks something else may go on.
const DRAIN: Duration = Duration::from_secs(1);

/// What a gRPC listener serves.
#[derive(Debug)]
pub(super) struct GrpcSite {
    /// Services.
    pub(super) router: Router,
    /// Settings of connections.
    pub(super) http2: Http2,
    /// Longest wait for the preface.
    pub(super) patience: Duration,
}

/// Serves one connection.
pub(super) async fn serve<S: Duplex>(
    mut socket: S,
    arrival: Arrival,
    site: Arc<GrpcSite>,
    streams: Tasks,
    stop: CancellationToken,
) {
    let greeting = timeout(site.patience, preface(&mut socket));
    match stop.run_until_cancelled(greeting).await {
        Some(Ok(Ok(true))) => {}
        Some(Ok(Ok(false))) => return refuse(socket).await,
        Some(Ok(Err(_)) | Err(_)) | None => return,
    }
    let end_of_life = site.http2.end_of_life();
    let limits = Limits::new(&stop, end_of_life.is_some());
    let visit = Visit {
        site: site.clone(),
        arrival,
        limits: limits.clone(),
    };
    let socket = TokioIo::new(Rewound {
        read: PREFACE,
        socket,
    });
    let connection = site
        .http2
        .builder(Streams(streams))
        .serve_connection(socket, visit);
    let failure = Box::pin(drive(connection, &limits, None, end_of_life)).await;
    site.http2.count(failure.as_ref());
}

/// Reads as far as the preface goes; false at the first byte that is none of it.
async fn preface<S: Duplex>(socket: &mut S) -> io::Result<bool> {
    let mut seen = 0;
    let mut bytes = [0; PREFACE.len()];
    while seen < bytes.len() {
        let read = socket.read(&mut bytes[seen..]).await?;
        if read == 0 || bytes[..seen + read] != PREFACE[..seen + read] {
            return Ok(false);
        }
        seen += read;
    }
    Ok(true)
}

/// Ends a connection that speaks something else, reading what is under way so that the end is seen and not a reset.
async fn refuse<S: Duplex>(mut socket: S) {
    let rest = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    };
    if let Ok(Ok(bytes)) = timeout(DRAIN, rest).await {
        tracing::debug!(bytes, "connection without HTTP/2 preface");
    }
}

/// One connection's view of the services.
#[derive(Clone, Debug)]
struct Visit {
    site: Arc<GrpcSite>,
    arrival: Arrival,
    limits: Limits,
}

impl hyper::service::Service<Request<Incoming>> for Visit {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future =
        Either<Ready<Result<Self::Response, Infallible>>, Oneshot<Router, Request<Incoming>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(refusal) = self.site.http2.refusal(&request) {
            return Either::Left(ready(Ok(refusal)));
        }
        self.limits.mark(&mut request);
        self.arrival.mark(request.extensions_mut());
        Either::Right(self.site.router.clone().oneshot(request))
    }
}

/// A socket of which some bytes were read already; they are read again.
#[derive(Debug)]
struct Rewound<S> {
    read: &'static [u8],
    socket: S,
}

impl<S: Duplex> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, out);
        }
        let (now, later) = self.read.split_at(self.read.len().min(out.remaining()));
        out.put_slice(now);
        self.read = later;
        Poll::Ready(Ok(()))
    }
}

impl<S: Duplex> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
