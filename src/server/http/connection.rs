//! One HTTP connection from its first byte to its last: protocol settings, the clock of the first request, age, and the
//! graceful end.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use axum::response::Response;
use http::Request;
use hyper::rt::Executor;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use prometheus::{IntCounter, IntCounterVec};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Metrics, Site, Visit, fault, headers,
    unending::{self, Handover},
};
use crate::{
    server::{entrance::Arrival, tls::Protocol},
    transport::{
        Lent, Tasks,
        grpc::{Config, ConnectionAge, StreamScope},
    },
};

/// Longest pause between two requests of a connection.
const IDLE: Duration = Duration::from_secs(75);
/// Head start of sessions before an aged connection is told to go.
const FAREWELL: Duration = Duration::from_millis(100);

/// Settings of HTTP/2 connections.
#[derive(Clone, Debug)]
pub(in crate::server) struct Http2 {
    max_concurrent_streams: u32,
    keepalive: Option<(Duration, Duration)>,
    max_age: Option<Duration>,
    errors: IntCounterVec,
    too_large: IntCounter,
}

/// Input of one stream, and of all streams of a connection, that nobody has read yet: a stream that stands still leaves room
/// for the others.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Output of one stream that waits for the socket, beyond a single message.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that were reset before they could be looked at; a client that cancels a burst of calls is not attacking.
const PENDING_RESETS: usize = 100;
/// Faults of a peer that cost it a stream each, before they cost it the connection.
const LOCAL_RESETS: usize = 1024;

/// What one peer may cost. Not set here because h2 leaves no choice or a good one: 100 empty DATA frames in a row, small DATA frames up to
/// half the connection's window, CONTINUATION frames by the limit of headers, 50 reset streams remembered for a second, one
/// answer to PING and SETTINGS waiting at a time.
macro_rules! http2_settings {
    ($builder:expr, $settings:expr) => {{
        let settings: &Http2 = $settings;
        $builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.max_concurrent_streams)
            .max_header_list_size(headers::ANNOUNCED)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(LOCAL_RESETS)
            .keep_alive_interval(settings.keepalive.map(|(every, _)| every))
            .keep_alive_timeout(settings.keepalive.map_or(IDLE, |(_, wait)| wait));
    }};
}

impl Http2 {
    /// Reads the settings.
    pub(in crate::server) fn new(config: &Config, metrics: &Metrics) -> Self {
        let given = |duration: Duration| Some(duration).filter(|duration| !duration.is_zero());
        Self {
            max_concurrent_streams: config.max_concurrent_streams,
            keepalive: given(config.keepalive_interval)
                .map(|every| (every, config.keepalive_timeout)),
            max_age: given(config.max_connection_age),
            errors: metrics.http2_errors.clone(),
            too_large: metrics.too_large.clone(),
        }
    }

    /// Longest time in which a peer takes nothing: that of an unanswered ping, on every listener.
    pub(in crate::server) fn unread(&self) -> Duration {
        self.keepalive.map_or(IDLE, |(every, wait)| every + wait)
    }

    /// Counts a connection that this side has ended for a fault of the peer.
    pub(in crate::server) fn count(&self, failure: Option<&Failure>) {
        if let Some(reason) = failure.and_then(fault::goaway) {
            self.errors.with_label_values(&[reason]).inc();
        }
    }

    /// The refusal of a request whose headers are too large, counted.
    pub(in crate::server) fn refusal<B>(&self, request: &Request<B>) -> Option<Response> {
        if !headers::too_large(request) {
            return None;
        }
        self.too_large.inc();
        Some(headers::refusal(request.headers()))
    }

    /// A builder of connections whose streams belong to somebody.
    pub(in crate::server) fn builder(
        &self,
        streams: Streams,
    ) -> hyper::server::conn::http2::Builder<Streams> {
        let mut builder = hyper::server::conn::http2::Builder::new(streams);
        http2_settings!(builder, self);
        builder
    }

    /// When a connection that begins now is too old, up to a tenth earlier or later than configured.
    pub(in crate::server) fn end_of_life(&self) -> Option<Instant> {
        let age = self.max_age?;
        Some(Instant::now() + age.mul_f64(rand::random_range(0.9..=1.1)))
    }
}

/// Executor of HTTP/2 streams: each is a task with an owner.
#[derive(Clone, Debug)]
pub(in crate::server) struct Streams(pub(in crate::server) Tasks);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        StreamScope::spawn(&self.0, stream);
    }
}

/// Whatever ends a connection from this side.
#[derive(Clone, Debug)]
pub(in crate::server) struct Limits {
    /// The server stops: finish what was begun.
    pub(in crate::server) stop: CancellationToken,
    /// Cancelled for the sessions of a connection that is too old.
    pub(in crate::server) aged: Option<CancellationToken>,
    /// A request was seen.
    pub(in crate::server) seen: Arc<AtomicBool>,
    /// A response that goes on without hyper.
    pub(super) handover: Handover,
}

impl Limits {
    pub(in crate::server) fn new(stop: &CancellationToken, ages: bool) -> Self {
        Self {
            stop: stop.child_token(),
            aged: ages.then(CancellationToken::new),
            seen: Arc::default(),
            handover: Handover::default(),
        }
    }

    /// Notes that a request came, and tells it of the connection's age.
    pub(in crate::server) fn mark<B>(&self, request: &mut Request<B>) {
        self.seen.store(true, Ordering::Relaxed);
        if let Some(aged) = &self.aged {
            request.extensions_mut().insert(ConnectionAge(aged.clone()));
        }
    }
}

/// A connection that can be asked to end.
pub(in crate::server) trait Graceful:
    Future<Output = Result<(), Self::Error>>
{
    type Error: Into<Failure>;

    fn graceful_shutdown(self: Pin<&mut Self>);
}

/// Why a connection ended.
pub(in crate::server) type Failure = Box<dyn std::error::Error + Send + Sync>;

macro_rules! graceful {
    ($connection:ty, $error:ty) => {
        impl<S: Duplex> Graceful for $connection {
            type Error = $error;

            fn graceful_shutdown(self: Pin<&mut Self>) {
                <$connection>::graceful_shutdown(self);
            }
        }
    };
}

graceful!(
    hyper::server::conn::http1::UpgradeableConnection<TokioIo<Lent<S>>, Visit>,
    hyper::Error
);
graceful!(
    auto::UpgradeableConnection<'_, TokioIo<Lent<S>>, Visit, Streams>,
    Failure
);

impl<I, S, B> Graceful for hyper::server::conn::http2::Connection<I, S, Streams>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Error = hyper::Error;

    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

/// Drives a connection to its end; which one it was is the peer's affair. Without patience the first request may come when
/// it likes: HTTP/2 has its own pings. Returns why it failed, if it did. A response that waits to go on without hyper is an end,
/// too.
pub(in crate::server) async fn drive<C>(
    connection: C,
    limits: &Limits,
    patience: Option<Duration>,
    end_of_life: Option<Instant>,
) -> Option<Failure>
where
    C: Graceful,
{
    let mut connection = pin!(connection);
    let (mut next, first) = match (patience, end_of_life) {
        (Some(patience), _) => (Some(Alarm::FirstRequest), Instant::now() + patience),
        (None, Some(at)) => (Some(Alarm::Age), at),
        (None, None) => (None, Instant::now()),
    };
    let mut alarm = pin!(sleep_until(first));
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Pending if limits.handover.waits() => Poll::Ready(Ok(())),
                polled => polled,
            }) => {
                let failure = ended.err().map(Into::into);
                if let Some(error) = &failure {
                    tracing::debug!(%error, "connection ended");
                }
                return failure;
            }
            () = limits.stop.cancelled(), if !stopping => {
                if patience.is_some() && !limits.seen.load(Ordering::Relaxed) {
                    next = Some(Alarm::Silence);
                    alarm.as_mut().reset(Instant::now() + FAREWELL);
                }
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = alarm.as_mut(), if next.is_some() => match next.take() {
                Some(Alarm::FirstRequest) if !limits.seen.load(Ordering::Relaxed) => {
                    next = Some(Alarm::Silence);
                    alarm.as_mut().reset(Instant::now() + FAREWELL);
                    connection.as_mut().graceful_shutdown();
                }
                Some(Alarm::Silence) => return None,
                Some(Alarm::FirstRequest) => {
                    if let Some(at) = end_of_life {
                        next = Some(Alarm::Age);
                        alarm.as_mut().reset(at);
                    }
                }
                Some(Alarm::Age) => {
                    limits.aged.iter().for_each(CancellationToken::cancel);
                    next = Some(Alarm::Farewell);
                    alarm.as_mut().reset(Instant::now() + FAREWELL);
                }
                Some(Alarm::Farewell) | None => connection.as_mut().graceful_shutdown(),
            },
        }
    }
}

/// What a connection waits for beside its peer, in this order.
enum Alarm {
    /// Something should have been asked by now.
    FirstRequest,
    /// Nothing was, and the peer was told to go: hyper would wait for its request.
    Silence,
    /// The connection is old: its sessions are told.
    Age,
    /// Then the peer itself is.
    Farewell,
}

/// A stream of bytes in both directions, with or without TLS.
pub(in crate::server) trait Duplex:
    AsyncRead + AsyncWrite + Unpin + Send + 'static
{
}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Duplex for S {}

/// Serves one connection of a site: HTTP/1 with upgrades, and HTTP/2 where the handshake agreed upon it or a plain port
/// offers it.
pub(in crate::server) async fn serve<S: Duplex>(
    stream: S,
    arrival: Arrival,
    site: Arc<Site>,
    streams: Tasks,
    stop: CancellationToken,
) {
    let end_of_life = site.http2.end_of_life().filter(|_| site.grpc.is_some());
    let limits = Limits::new(&stop, end_of_life.is_some());
    let lent = Lent::new(stream);
    let (patience, io) = (Some(site.patience), TokioIo::new(lent.clone()));
    let protocol = match arrival.protocol {
        Protocol::Unsaid if !site.finds_out() => Protocol::Http1,
        protocol => protocol,
    };
    let visit = Visit {
        site: site.clone(),
        arrival,
        limits: limits.clone(),
    };
    let failure = match protocol {
        Protocol::Http1 => {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new());
            builder
                .header_read_timeout(IDLE)
                .max_header_size(headers::LIMIT);
            let connection = builder.serve_connection(io, visit).with_upgrades();
            Box::pin(drive(connection, &limits, patience, None)).await
        }
        Protocol::Http2 => {
            let builder = site.http2.builder(Streams(streams));
            let connection = builder.serve_connection(io, visit);
            Box::pin(drive(connection, &limits, patience, end_of_life)).await
        }
        Protocol::Unsaid => {
            let mut builder = auto::Builder::new(Streams(streams));
            let mut http1 = builder.http1();
            http1.timer(TokioTimer::new());
            http1.header_read_timeout(IDLE).max_buf_size(headers::LIMIT);
            http2_settings!(builder.http2(), &site.http2);
            let connection = builder.serve_connection_with_upgrades(io, visit);
            Box::pin(drive(connection, &limits, patience, end_of_life)).await
        }
    };
    let speaks_http2 = !matches!(protocol, Protocol::Http1);
    site.http2.count(failure.as_ref().filter(|_| speaks_http2));
    if failure.is_some_and(|failure| fault::is_too_large(&failure)) {
        site.metrics.too_large();
    }
    if let Some(response) = limits.handover.take()
        && let Some(stream) = lent.take()
    {
        unending::serve(stream, response).await;
    }
}
