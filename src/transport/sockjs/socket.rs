//! SockJS over WebSocket: the frames of the one inside the messages of the other.
//!
//! A link around a link. The handshake, the limits and the bytes are the WebSocket's; this adds the first frame, heartbeats,
//! arrays, and an end that is a message instead of a close frame.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use super::{
    framing,
    payload::{Frame, frames},
};
use crate::{
    model::{Direction, Disconnect, Encoding, Peer, Version},
    node::{Close, Inbound, Link, LinkTraits},
    protocol::frame::{self, Framing, Kind},
    transport::{Metrics, Serve},
};

/// Serves WebSocket links as SockJS.
#[derive(Clone, Debug)]
pub(super) struct Framed<S> {
    pub(super) serve: S,
    pub(super) heartbeat: Option<Duration>,
    pub(super) closes: Metrics,
}

impl<S: Serve> Serve for Framed<S> {
    fn serve<L: Link>(&self, link: L, peer: Peer) -> impl Future<Output = ()> + Send {
        let link = SocketLink {
            inner: link,
            state: State {
                frames: VecDeque::new(),
                owed: Some(framing::OPEN),
                beat: self.heartbeat.map(|every| (every, Box::pin(sleep(every)))),
                version: None,
                broken: false,
            },
            closes: self.closes.clone(),
        };
        let peer = Peer {
            transport: "sockjs",
            encoding: Encoding::Json,
            ..peer
        };
        self.serve.serve(link, peer)
    }
}

/// One connection.
#[derive(Debug)]
struct SocketLink<L> {
    inner: L,
    state: State,
    closes: Metrics,
}

#[derive(Debug)]
struct State {
    /// Frames of the last message that were not taken yet; the limit of messages is theirs.
    frames: VecDeque<Bytes>,
    /// A frame that leaves before everything else.
    owed: Option<&'static [u8]>,
    /// Heartbeats, until the client turns out to speak the newer generation.
    beat: Option<(Duration, Pin<Box<Sleep>>)>,
    version: Option<Version>,
    /// A write failed, maybe in the middle of a message.
    broken: bool,
}

/// A whole text message around a frame.
fn message(frame: &[u8]) -> Bytes {
    frame::message(Framing::WebSocket, Kind::Text, frame)
}

impl State {
    fn poll_beat(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((every, timer)) = &mut self.beat else {
            return Poll::Pending;
        };
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        timer.as_mut().reset(Instant::now() + *every);
        self.owed.get_or_insert(framing::HEARTBEAT);
        Poll::Ready(())
    }

    /// Takes a message of the client apart. One that is no array of strings ends the connection without a word.
    fn take_in(&mut self, message: &[u8]) -> Result<(), Disconnect> {
        for frame in frames(message).or(Err(Disconnect::CONNECTION_CLOSED))? {
            match frame {
                Frame::Text(text) => self.frames.push_back(text),
                Frame::NoText => return Err(Disconnect::CONNECTION_CLOSED),
            }
        }
        Ok(())
    }
}

impl<L: Link> Link for SocketLink<L> {
    fn traits(&self) -> LinkTraits {
        LinkTraits {
            framing: Framing::SockJs,
            message_size_limit: self.inner.traits().message_size_limit,
            close_carries_reason: true,
            discards_after_refusal: true,
            native_ping: false,
            direction: Direction::Both,
        }
    }

    fn decided(&mut self, version: Version) {
        self.state.version = Some(version);
        if version == Version::V2 {
            self.state.beat = None;
        }
    }

    async fn recv(&mut self) -> Result<Inbound, Disconnect> {
        loop {
            if self.state.owed.is_some() {
                return Ok(Inbound::Flush);
            }
            if let Some(frame) = self.state.frames.pop_front() {
                return Ok(Inbound::Frame(frame, Kind::Text));
            }
            let state = &mut self.state;
            let mut inner = pin!(self.inner.recv());
            let received = poll_fn(|cx| match state.poll_beat(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(Inbound::Flush)),
                Poll::Pending => inner.as_mut().poll(cx),
            });
            match received.await? {
                Inbound::Frame(message, _) => self.state.take_in(&message)?,
                other => return Ok(other),
            }
        }
    }

    async fn send(&mut self, batch: &mut Vec<Bytes>) -> Result<(), Disconnect> {
        let mut messages: Vec<Bytes> = self.state.owed.take().map(message).into_iter().collect();
        if !batch.is_empty() {
            messages.push(message(&framing::array(batch)));
            batch.clear();
        }
        let sent = self.inner.send(&mut messages).await;
        self.state.broken |= sent.is_err();
        sent
    }

    async fn close(mut self, close: Close) {
        let code = close.disconnect.code;
        // Codes below 3000 are WebSocket's own; 3000 is not told.
        if code <= Disconnect::CONNECTION_CLOSED.code || self.state.broken {
            return self.inner.close(close).await;
        }
        let last = framing::closed(self.state.version, &close.disconnect);
        let owed = self.state.owed.take().map(message);
        let mut messages: Vec<Bytes> = owed.into_iter().chain([message(&last)]).collect();
        if self.inner.send(&mut messages).await.is_ok() {
            self.closes.closed("sockjs", code);
        }
        let disconnect = Disconnect::CONNECTION_CLOSED;
        self.inner
            .close(Close {
                disconnect,
                ..close
            })
            .await;
    }
}
