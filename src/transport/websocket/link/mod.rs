//! The [`Link`] over an upgraded connection: reads into memory that exists only while a message is incomplete, writes a whole
//! batch with as few system calls as it takes, and closes the way WebSocket wants it.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};
use tokio_tungstenite::tungstenite::protocol::frame::coding::Control;

use self::cursor::Cursor;
use super::{
    frame::{Discard, Incoming, Limits, Reader, close_frame, control},
    keepalive::{Due, Keepalive},
};
use crate::{
    model::{Direction, Disconnect, Version},
    node::{Close, Inbound, Link, LinkTraits},
    protocol::{
        ConnectRequest,
        frame::{self, Compression, Framing, Kind},
    },
    transport::{Metrics, close},
};

mod cursor;

/// Bytes taken from the socket at once; they live on the stack.
const CHUNK: usize = 8 * 1024;
/// Own control frames that may wait while complete frames of the peer are looked at.
const OWED_LIMIT: usize = 1024;
/// Longest wait for the peer's close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// What all links of an endpoint share.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) message_size_limit: usize,
    /// How to compress, and the longest message once decompressed; `None` where compression is off.
    pub(super) deflate: Option<(Compression, usize)>,
    pub(super) write_timeout: Duration,
    /// Period and patience of native pings, for peers that ask for them.
    pub(super) ping: (Duration, Duration),
    pub(super) metrics: Metrics,
    /// Name of the transport.
    pub(super) name: &'static str,
    /// Peers only listen.
    pub(super) uni: Option<Uni>,
}

/// What is particular about peers that only listen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uni {
    /// Several pushes become one message.
    pub(super) joins: bool,
    /// The end is not told by a push.
    pub(super) leaves_silently: bool,
    /// The end is not told by a close frame either.
    pub(super) drops: bool,
}

/// Messages joined into one.
const JOINED: usize = 16;

/// What a handshake has settled for its link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    /// Native pings instead of those of the application.
    pub(super) native_ping: bool,
    /// Messages may be compressed, if the endpoint can.
    pub(super) deflate: bool,
}

/// How far the closing has come.
#[derive(Debug)]
enum State {
    Open,
    /// The peer closed; this is the answer to give.
    PeerClosed(Bytes),
    /// A write failed, maybe in the middle of a frame: nothing more can be said.
    Broken,
}

/// One WebSocket connection after its handshake.
#[derive(Debug)]
pub(super) struct WebSocketLink<S> {
    io: S,
    reader: Reader,
    owed: BytesMut,
    terms: Terms,
    /// The connect request, where it came with the handshake.
    first: Option<Box<ConnectRequest>>,
    keepalive: Option<Keepalive>,
    state: State,
    /// Longest time in which the peer takes nothing.
    write_timeout: Duration,
    settings: Arc<Settings>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> WebSocketLink<S> {
    /// A link over a connection of which these bytes were read already.
    pub(super) fn new(io: S, read: &[u8], terms: Terms, settings: Arc<Settings>) -> Self {
        let deflate = settings.deflate.filter(|_| terms.deflate);
        let mut reader = Reader::new(Limits {
            message: settings.message_size_limit,
            inflated: deflate.map(|(_, limit)| limit),
        });
        if !read.is_empty() {
            reader.feed(read);
        }
        let (interval, patience) = settings.ping;
        Self {
            io,
            reader,
            owed: BytesMut::new(),
            terms,
            first: None,
            keepalive: terms.native_ping.then(|| Keepalive::v2(interval, patience)),
            state: State::Open,
            write_timeout: settings.write_timeout,
            settings,
        }
    }

    /// The connect request came with the handshake.
    pub(super) fn opened_by(self, first: Option<Box<ConnectRequest>>) -> Self {
        Self { first, ..self }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Inbound, Disconnect>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(Inbound::Connect(first)));
        }
        loop {
            match self.reader.next()? {
                Some(Incoming::Message(message, kind)) => {
                    return Poll::Ready(Ok(Inbound::Frame(message, kind)));
                }
                Some(Incoming::Ping(payload)) => control(Control::Pong, &payload, &mut self.owed),
                Some(Incoming::Pong) => {
                    self.keepalive.iter_mut().for_each(Keepalive::pong);
                }
                Some(Incoming::Close(code)) => {
                    let mut answer = BytesMut::new();
                    let code = code.map(u16::to_be_bytes);
                    control(
                        Control::Close,
                        code.as_ref().map_or(&[], |c| c),
                        &mut answer,
                    );
                    self.state = State::PeerClosed(answer.freeze());
                    return Poll::Ready(Err(Disconnect::CONNECTION_CLOSED));
                }
                None if !self.owed.is_empty() => return Poll::Ready(Ok(Inbound::Flush)),
                None => match ready!(self.poll_more(cx)) {
                    More::Bytes => {}
                    More::Ping => control(Control::Ping, b"", &mut self.owed),
                    More::End => return Poll::Ready(Err(Disconnect::CONNECTION_CLOSED)),
                },
            }
            if self.owed.len() > OWED_LIMIT {
                return Poll::Ready(Ok(Inbound::Flush));
            }
        }
    }

    /// Waits for bytes or for the keepalive.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<More> {
        if let Some(keepalive) = &mut self.keepalive
            && let Poll::Ready(due) = keepalive.poll(cx)
        {
            return Poll::Ready(match due {
                Due::Ping => More::Ping,
                Due::Gone => More::End,
            });
        }
        let reader = &mut self.reader;
        let read = ready!(poll_chunk(&mut self.io, cx, |bytes| reader.feed(bytes)));
        if !matches!(read, Ok(1..)) {
            return Poll::Ready(More::End);
        }
        self.keepalive.iter_mut().for_each(Keepalive::read);
        Poll::Ready(More::Bytes)
    }

    /// Makes one message of several, with line feeds between them.
    fn join(&self, batch: &mut Vec<Bytes>) {
        let deflate = self.settings.deflate.filter(|_| self.terms.deflate);
        let framing = deflate.map_or(Framing::WebSocket, |(compression, _)| {
            Framing::WebSocketDeflate(compression)
        });
        let joined = batch.chunks(JOINED);
        let joined = joined.map(|some| frame::message(framing, Kind::Text, &some.join(&b'\n')));
        *batch = joined.collect();
    }

    /// Writes all that fits without waiting and the rest within the time limit, which starts anew with each finished frame.
    async fn write(&mut self, batch: &[Bytes]) -> io::Result<()> {
        let mut cursor = Cursor::default();
        let now =
            poll_fn(|cx| Poll::Ready(cursor.poll_write(&mut self.io, batch, batch.len(), cx)));
        if let Poll::Ready(written) = now.await {
            return written;
        }
        // Rare, so its state is not part of every connection's future.
        Box::pin(self.write_slowly(batch, cursor)).await
    }

    async fn write_slowly(&mut self, batch: &[Bytes], mut cursor: Cursor) -> io::Result<()> {
        let limit = self.write_timeout;
        while cursor.frame < batch.len() {
            let goal = cursor.frame + 1;
            timeout(
                limit,
                poll_fn(|cx| cursor.poll_write(&mut self.io, batch, goal, cx)),
            )
            .await??;
        }
        timeout(limit, self.io.flush()).await?
    }

    /// Says goodbye and waits for the peer to do so.
    async fn close_handshake(&mut self, code: u32, frame: Bytes) {
        let owed = self.owed.split().freeze();
        if self.write(&[owed, frame]).await.is_err() {
            return;
        }
        self.settings.metrics.closed(self.settings.name, code);
        let mut discard = Discard::default();
        let rest = self.reader.take_rest();
        if discard.feed(&rest) {
            return;
        }
        drop(rest);
        let io = &mut self.io;
        let closed = poll_fn(|cx| {
            loop {
                let mut closed = false;
                let read = ready!(poll_chunk(io, cx, |bytes| closed = discard.feed(bytes)));
                if closed || !matches!(read, Ok(1..)) {
                    return Poll::Ready(());
                }
            }
        });
        // Whether the peer answered in time makes no difference to what follows.
        timeout(CLOSE_WAIT, closed).await.unwrap_or_default();
    }
}

/// What came instead of a complete frame.
enum More {
    Bytes,
    Ping,
    End,
}

/// Reads once; the memory for it is given up before anything is waited for.
fn poll_chunk<S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    let mut chunk = [MaybeUninit::uninit(); CHUNK];
    let mut chunk = ReadBuf::uninit(&mut chunk);
    ready!(Pin::new(io).poll_read(cx, &mut chunk))?;
    take(chunk.filled());
    Poll::Ready(Ok(chunk.filled().len()))
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Link for WebSocketLink<S> {
    fn traits(&self) -> LinkTraits {
        let plain = (Framing::WebSocket, self.settings.message_size_limit);
        let deflate = self.settings.deflate.filter(|_| self.terms.deflate);
        let (framing, message_size_limit) = deflate.map_or(plain, |(compression, limit)| {
            (Framing::WebSocketDeflate(compression), limit.max(plain.1))
        });
        let both = LinkTraits {
            framing,
            message_size_limit,
            close_carries_reason: true,
            discards_after_refusal: true,
            native_ping: self.terms.native_ping,
            direction: Direction::Both,
        };
        let Some(uni) = self.settings.uni else {
            return both;
        };
        LinkTraits {
            framing: if uni.joins { Framing::None } else { framing },
            close_carries_reason: uni.leaves_silently,
            // Here they come beside those of the application.
            native_ping: false,
            direction: Direction::Push,
            ..both
        }
    }

    fn decided(&mut self, version: Version) {
        if version == Version::V1 {
            self.keepalive = Some(Keepalive::v1());
        }
    }

    fn be_patient(&mut self, longest: Duration) {
        self.write_timeout = self.write_timeout.max(longest);
    }

    fn recv(&mut self) -> impl Future<Output = Result<Inbound, Disconnect>> + Send {
        poll_fn(|cx| self.poll_recv(cx))
    }

    async fn send(&mut self, batch: &mut Vec<Bytes>) -> Result<(), Disconnect> {
        if self.settings.uni.is_some_and(|uni| uni.joins) {
            self.join(batch);
        }
        if !self.owed.is_empty() {
            batch.insert(0, std::mem::take(&mut self.owed).freeze());
        }
        let written = self.write(batch).await;
        batch.clear();
        written.map_err(|error| {
            tracing::debug!(%error, "websocket write failed");
            self.state = State::Broken;
            Disconnect::WRITE_ERROR
        })
    }

    async fn close(mut self, close: Close) {
        let code = close.disconnect.code;
        self.write_timeout = self.settings.write_timeout;
        match std::mem::replace(&mut self.state, State::Broken) {
            State::PeerClosed(answer) => {
                // The peer waits for nothing but this, and may be gone already.
                self.write(&[answer]).await.unwrap_or_default();
            }
            State::Open if self.settings.uni.is_some_and(|uni| uni.drops) => return,
            State::Open if code != Disconnect::CONNECTION_CLOSED.code => {
                let reason = close::reason(close.version, &close.disconnect);
                if let Some(frame) = close_frame(code, &reason) {
                    Box::pin(self.close_handshake(code, frame)).await;
                }
            }
            State::Open => {}
            State::Broken => return,
        }
        // With a FIN of its own the last frame arrives even if unread bytes make the kernel reset the connection.
        let shutdown = timeout(self.settings.write_timeout, self.io.shutdown());
        if !matches!(shutdown.await, Ok(Ok(()))) {
            tracing::trace!("websocket connection was gone before its end");
        }
    }
}

#[cfg(test)]
mod secured;
#[cfg(test)]
mod tests;
