//! What comes in: outcomes of calls, mail from others, commands of the peer, time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::Stream;
use tokio::time::Instant;

use super::{Connection, Inbound, KEPT, Link, OWED, Performed, Shared};
use crate::{
    hub::Mail,
    model::Disconnect,
    protocol::{self, ConnectRequest, Request, frame},
};

impl Connection {
    /// Takes the outcome of a call that has ended.
    pub(super) fn poll_call(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(calls) = &mut self.calls else {
            return false;
        };
        match Pin::new(calls).poll_next(cx) {
            Poll::Ready(Some((id, performed))) => {
                let Performed { outcome, feed } = performed;
                tracing::trace!(call = id.0, "call ended");
                let subscription = self.session.subscribing(id);
                self.session
                    .completed(Shared::now(), id, outcome, &mut self.effects);
                if let (Some(key), Some(feed)) = (subscription, feed) {
                    self.feeds.get_or_insert_default().add(key, feed);
                }
                true
            }
            Poll::Ready(None) => {
                self.calls = None;
                false
            }
            Poll::Pending => false,
        }
    }

    /// Takes what others left in the mailbox.
    pub(super) fn poll_mail(&mut self, cx: &mut Context<'_>) -> bool {
        if self.leaving.is_some() {
            return false;
        }
        match self.mailbox.poll_take(cx, &mut self.inbox) {
            Poll::Ready(Ok(())) => {
                self.read_mail();
                true
            }
            Poll::Ready(Err(why)) => {
                self.leave_with(why);
                false
            }
            Poll::Pending => false,
        }
    }

    fn read_mail(&mut self) {
        let now = Shared::now();
        let mut inbox = std::mem::take(&mut self.inbox);
        for mail in inbox.drain(..) {
            self.outgoing.taken += mail.cost();
            match mail {
                Mail::Delivery(delivery) => {
                    self.outgoing.watch(&delivery.broadcast);
                    self.session.delivery(now, delivery, &mut self.effects);
                }
                Mail::Behind(key) => self.session.fell_behind(key, &mut self.effects),
                Mail::Subscribe(command) => self
                    .session
                    .subscribe_server_side(*command, &mut self.effects),
                Mail::Unsubscribe(channel, why) => {
                    self.session
                        .unsubscribe_server_side(now, &channel, why, &mut self.effects);
                }
                Mail::Refresh(refresh) => {
                    self.session
                        .refresh_server_side(now, *refresh, &mut self.effects)
                }
            }
        }
        if inbox.capacity() <= KEPT {
            self.inbox = inbox;
        }
    }

    /// Somebody else decided the end: replies that are owed come first, except to a reader that is too slow.
    fn leave_with(&mut self, why: Disconnect) {
        let wait = if why == Disconnect::SLOW {
            Duration::ZERO
        } else {
            OWED
        };
        self.leaving.get_or_insert((why, Instant::now() + wait));
    }

    /// Gives the session the next command of the present frame.
    pub(super) fn feed<L: Link>(&mut self, link: &mut L) -> bool {
        if !self.session.ready() || self.leaving.is_some() {
            return false;
        }
        let Some(commands) = &mut self.rest else {
            return false;
        };
        let undecided = self.decoder.version().is_none();
        let before = commands.taken();
        let next = commands.next(&mut self.decoder);
        let last = commands.is_done();
        let Some(next) = next else {
            self.rest = None;
            return false;
        };
        let bytes = commands.taken() - before;
        if undecided && let Some(version) = self.decoder.version() {
            self.session.decided(version);
            link.decided(version);
        }
        match next {
            Ok(command) => {
                let unanswered = self.report.received(&command, bytes);
                if let Request::Connect(connect) = &command.request {
                    self.report.named(connect);
                }
                self.session
                    .command(Shared::now(), command, &mut self.effects);
                if let Some((kind, began)) = unanswered {
                    self.report.took(kind, began.elapsed());
                }
            }
            Err(_malformed) => self.malformed(),
        }
        if last {
            self.processing = None;
        }
        true
    }

    /// The connect request of a connection that only listens.
    fn open(&mut self, request: ConnectRequest, bytes: usize) {
        self.report.named(&request);
        self.report.asked_to_connect(bytes);
        self.session.open(request, &mut self.effects);
    }

    /// A frame of a connection that only listens is its connect request, as long as there was none.
    fn opening_frame(&mut self, frame: &Bytes) {
        if self.session.is_connected() {
            return;
        }
        let bytes = frame.len();
        match protocol::decode_connect_request(self.peer.encoding, frame) {
            Ok(request) => self.open(request, bytes),
            Err(_malformed) => self
                .session
                .abort(Disconnect::BAD_REQUEST, &mut self.effects),
        }
    }

    /// A frame could not be decoded. gRPC says so by its status, the others by the close.
    fn malformed(&mut self) {
        self.rest = None;
        if self.traits.framing == frame::Framing::None {
            self.session
                .abort(Disconnect::BAD_REQUEST, &mut self.effects);
        } else {
            self.session
                .close(Disconnect::BAD_REQUEST, &mut self.effects);
        }
        self.carry_out();
        if let Some(ending) = &mut self.ending {
            ending.undecodable = true;
        }
    }

    pub(super) fn time_passed(&mut self) {
        if self.linger.is_some_and(|at| at <= Instant::now()) {
            return self
                .session
                .abort(Disconnect::CONNECTION_CLOSED, &mut self.effects);
        }
        self.session.expired(Shared::now(), &mut self.effects);
    }

    pub(super) fn arrived(&mut self, inbound: Result<Inbound, Disconnect>) {
        match inbound {
            Ok(Inbound::Frame(..))
                if self.linger.is_some() && self.traits.discards_after_refusal => {}
            Ok(Inbound::Frame(frame, _)) if self.session.is_unidirectional() => {
                self.opening_frame(&frame);
            }
            Ok(Inbound::Connect(request)) => self.open(*request, 0),
            Ok(Inbound::Frame(frame, _)) => self.rest = Some(self.decoder.frame(frame)),
            Ok(Inbound::Flush) => self.outgoing.flush = true,
            // The transport itself could not make a frame of what came.
            Err(why) if why == Disconnect::BAD_REQUEST => self.malformed(),
            Err(why) => self.leave_with(why),
        }
    }
}
