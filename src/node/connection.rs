//! Drives one session over one link: the only client-side `select!`, and the only caller of `Link::send`.
//!
//! The loop carries out effects, feeds commands while the session takes them, writes everything that is ready in one batch, and
//! then waits. While a batch is being written nothing is read: the peer's own window is the backpressure.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::Instrument as _;

use super::{Close, Inbound, Link, LinkTraits, Shared, dispatch::Caller, report::Report};
use crate::{
    hooks,
    hub::{Mail, Mailbox},
    model::{ClientId, Disconnect, Now, Peer},
    protocol::{Commands, Decoder, Request, frame},
    session::{Birth, Call, CallId, Effect, Effects, Leave, Outcome, Session},
};

/// How long a refused V2 connection lingers, so that its client reads the error (client-protocol.md 3.2).
const LINGER: Duration = Duration::from_secs(5);

/// How long running calls may take once the end is decided: replies that are owed still arrive.
const OWED: Duration = Duration::from_secs(5);

/// A batch of this many bytes is written before more commands are fed.
const BATCH_BYTES: usize = 64 * 1024;

type RunningCall = Pin<Box<dyn Future<Output = (CallId, Outcome)> + Send>>;

/// The end of a connection, decided.
#[derive(Debug)]
struct Ending {
    disconnect: Disconnect,
    undecodable: bool,
}

/// Everything that one connection owns apart from its link.
struct Connection {
    shared: Arc<Shared>,
    traits: LinkTraits,
    session: Session,
    decoder: Decoder,
    /// Commands of the present frame that are not processed yet.
    rest: Option<Commands>,
    mailbox: Arc<Mailbox>,
    inbox: VecDeque<Mail>,
    peer: Arc<Peer>,
    calls: Option<FuturesUnordered<RunningCall>>,
    effects: Effects,
    outgoing: Outgoing,
    report: Report,
    ending: Option<Ending>,
    /// The end is decided, running calls are waited for until then.
    leaving: Option<(Disconnect, Instant)>,
    /// A refused connection ends then.
    linger: Option<Instant>,
}

/// The batch that is being put together.
struct Outgoing {
    batch: Vec<Bytes>,
    bytes: usize,
    publications: u64,
    publication_bytes: usize,
    /// Bytes to give back to the mailbox when the batch is written.
    taken: usize,
    /// The link has bytes of its own to write.
    flush: bool,
}

/// Serves one connection until it ends.
pub(super) async fn run<L: Link>(shared: Arc<Shared>, link: L, peer: Peer) {
    let client = ClientId::from(uuid::Uuid::new_v4().to_string());
    let span = tracing::debug_span!("connection", %client, transport = peer.transport);
    let refused = peer.refused.clone();
    let mut connection = Connection::new(shared, link.traits(), client, peer);
    if let Some(why) = refused {
        connection.session.close(why, &mut connection.effects);
    }
    connection.drive(link).instrument(span).await;
}

impl Connection {
    fn new(shared: Arc<Shared>, traits: LinkTraits, client: ClientId, peer: Peer) -> Self {
        let config = Arc::clone(&shared.sessions.read());
        let birth = Birth {
            client,
            encoding: peer.encoding,
            framing: traits.framing,
            close_carries_reason: traits.close_carries_reason,
            native_ping: traits.native_ping,
            seed: rand::random(),
        };
        let mailbox = Arc::new(Mailbox::new(config.queue_max_size));
        shared.open(&mailbox);
        let decoder = Decoder::new(
            peer.encoding,
            peer.version,
            traits.framing,
            traits.message_size_limit,
        );
        let mut session = Session::new(config, birth, Shared::now());
        if let Some(version) = decoder.version() {
            session.decided(version);
        }
        let report = Report::new(Arc::clone(&shared), peer.transport);
        Self {
            traits,
            session,
            decoder,
            rest: None,
            mailbox,
            inbox: VecDeque::new(),
            peer: Arc::new(peer),
            calls: None,
            effects: Effects::new(),
            outgoing: Outgoing::new(),
            report,
            ending: None,
            leaving: None,
            linger: None,
            shared,
        }
    }

    async fn drive<L: Link>(mut self, mut link: L) {
        tracing::debug!("client connection established");
        let started = Instant::now();
        if let Some(version) = self.decoder.version() {
            link.decided(version);
        }
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            poll_fn(|cx| Poll::Ready(self.advance(&mut link, cx))).await;
            if !self.write(&mut link).await {
                break;
            }
            if self.ending.is_some() {
                break;
            }
            self.wait(&mut link, timer.as_mut()).await;
        }
        self.finish(link).await;
        tracing::debug!(duration = ?started.elapsed(), "client connection completed");
    }

    /// Does everything that can be done without waiting, up to one batch.
    fn advance<L: Link>(&mut self, link: &mut L, cx: &mut Context<'_>) {
        while self.ending.is_none() && self.outgoing.bytes < BATCH_BYTES {
            self.carry_out();
            let progress = self.poll_call(cx) || self.poll_mail(cx) || self.feed(link);
            if !progress && self.effects.is_empty() {
                break;
            }
        }
        self.carry_out();
        let owed = self.session.is_waiting()
            && self
                .leaving
                .as_ref()
                .is_some_and(|(_, until)| Instant::now() < *until);
        if !owed && let Some((why, _)) = self.leaving.take() {
            self.session.close(why, &mut self.effects);
            self.carry_out();
        }
    }

    /// Carries out effects in order; those that follow from them, too.
    fn carry_out(&mut self) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                self.carry_out_one(effect);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Reply(reply) => match frame::encode(self.session.form(), &reply) {
                Ok(bytes) => {
                    self.report.replied(&reply, &self.session, bytes.len());
                    self.outgoing.push(bytes);
                }
                Err(frame::Inappropriate) => {
                    self.session
                        .close(Disconnect::INAPPROPRIATE_PROTOCOL, &mut self.effects);
                }
            },
            Effect::Frame(bytes) => self.outgoing.push_publication(bytes),
            Effect::Call(id, call) => self.start(id, call),
            Effect::Refused => {
                self.linger = Some(Instant::now() + LINGER);
                if self.traits.discards_after_refusal {
                    self.rest = None;
                }
            }
            Effect::Close(disconnect) => {
                self.ending.get_or_insert(Ending {
                    disconnect,
                    undecodable: false,
                });
            }
        }
    }

    fn start(&mut self, id: CallId, call: Call) {
        let caller = Caller {
            shared: Arc::clone(&self.shared),
            client: self.client(Shared::now()),
            mailbox: Arc::clone(&self.mailbox),
        };
        let running: RunningCall = Box::pin(async move { (id, caller.perform(call).await) });
        self.calls.get_or_insert_default().push(running);
    }

    fn client(&self, now: Now) -> hooks::Client {
        hooks::Client {
            id: self.session.client().clone(),
            user: self.session.user().clone(),
            version: self.session.version(),
            peer: Arc::clone(&self.peer),
            meta: self.session.meta().clone(),
            now,
        }
    }

    /// Takes the outcome of a call that has ended.
    fn poll_call(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(calls) = &mut self.calls else {
            return false;
        };
        match Pin::new(calls).poll_next(cx) {
            Poll::Ready(Some((id, outcome))) => {
                self.report.ended(&outcome);
                self.session
                    .completed(Shared::now(), id, outcome, &mut self.effects);
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
    fn poll_mail(&mut self, cx: &mut Context<'_>) -> bool {
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
                Mail::Delivery(delivery) => self.session.delivery(now, delivery, &mut self.effects),
                Mail::Subscribe(command) => self
                    .session
                    .subscribe_server_side(command, &mut self.effects),
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
        // The queue's memory is reused, but a burst must not keep it.
        if inbox.capacity() <= 64 {
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
    fn feed<L: Link>(&mut self, link: &mut L) -> bool {
        if !self.session.ready() || self.leaving.is_some() {
            return false;
        }
        let Some(commands) = &mut self.rest else {
            return false;
        };
        let undecided = self.decoder.version().is_none();
        let Some(next) = commands.next(&mut self.decoder) else {
            self.rest = None;
            return false;
        };
        if undecided && let Some(version) = self.decoder.version() {
            self.session.decided(version);
            link.decided(version);
        }
        match next {
            Ok(command) => {
                self.report.received(&command);
                if let Request::Connect(connect) = &command.request {
                    self.report.named(connect);
                }
                self.session
                    .command(Shared::now(), command, &mut self.effects);
            }
            Err(_malformed) => self.malformed(),
        }
        true
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

    /// Writes the batch; false when the link is broken or the end allows no more writing.
    async fn write<L: Link>(&mut self, link: &mut L) -> bool {
        let silent = |ending: &Ending| ending.disconnect == Disconnect::SLOW;
        if self.ending.as_ref().is_some_and(silent) {
            return false;
        }
        self.report.published(&self.outgoing);
        if self.outgoing.is_empty() {
            self.settle_mailbox();
            return true;
        }
        let sent = link.send(&mut self.outgoing.batch).await;
        self.outgoing.reset();
        self.settle_mailbox();
        if let Err(why) = sent {
            self.session.abort(why.clone(), &mut self.effects);
            self.carry_out();
            self.ending = Some(Ending {
                disconnect: why,
                undecodable: false,
            });
            return false;
        }
        true
    }

    fn settle_mailbox(&mut self) {
        if self.outgoing.taken > 0 {
            self.mailbox
                .written(std::mem::take(&mut self.outgoing.taken));
        }
    }

    /// Waits for the next thing to happen. Every branch is cancel safe: polling a call or the mailbox takes nothing unless it is
    /// ready, `Link::recv` promises it, and a timer is only read.
    async fn wait<L: Link>(&mut self, link: &mut L, mut timer: Pin<&mut Sleep>) {
        let deadline = self.deadline();
        if let Some(at) = deadline {
            timer.as_mut().reset(at);
        }
        let reading = self.rest.is_none()
            && self.leaving.is_none()
            && (self.session.ready() || self.linger.is_some());
        tokio::select! {
            biased;
            () = poll_fn(|cx| if self.poll_call(cx) || self.poll_mail(cx) || self.leaving_is_due() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }) => {}
            () = timer.as_mut(), if deadline.is_some() => self.time_passed(),
            inbound = link.recv(), if reading => self.arrived(inbound),
        }
    }

    fn leaving_is_due(&self) -> bool {
        self.leaving
            .as_ref()
            .is_some_and(|(_, until)| !self.session.is_waiting() || *until <= Instant::now())
    }

    fn deadline(&self) -> Option<Instant> {
        let session = self.session.deadline().map(Instant::from_std);
        let leaving = self.leaving.as_ref().map(|(_, until)| *until);
        [session, self.linger, leaving].into_iter().flatten().min()
    }

    fn time_passed(&mut self) {
        if self.linger.is_some_and(|at| at <= Instant::now()) {
            return self
                .session
                .abort(Disconnect::CONNECTION_CLOSED, &mut self.effects);
        }
        self.session.expired(Shared::now(), &mut self.effects);
    }

    fn arrived(&mut self, inbound: Result<Inbound, Disconnect>) {
        match inbound {
            Ok(Inbound::Frame(_))
                if self.linger.is_some() && self.traits.discards_after_refusal => {}
            Ok(Inbound::Frame(frame)) => self.rest = Some(self.decoder.frame(frame)),
            Ok(Inbound::Flush) => self.outgoing.flush = true,
            // The transport itself could not make a frame of what came.
            Err(why) if why == Disconnect::BAD_REQUEST => self.malformed(),
            Err(why) => self.leave_with(why),
        }
    }

    /// Deregisters, tells the peer, and undoes the subscriptions while the transport closes.
    async fn finish<L: Link>(mut self, link: L) {
        let Ending {
            disconnect,
            undecodable,
        } = self.ending.take().unwrap_or(Ending {
            disconnect: Disconnect::CONNECTION_CLOSED,
            undecodable: false,
        });
        self.calls = None;
        self.shared
            .connections
            .remove(self.session.user(), self.session.client());
        self.mailbox.close(disconnect.clone());
        self.report.closed(&disconnect, &self.session);
        let close = Close {
            disconnect,
            version: self.session.version(),
            undecodable,
        };
        let leaves = self.session.leave_all();
        let caller = Caller {
            shared: Arc::clone(&self.shared),
            client: self.client(Shared::now()),
            mailbox: Arc::clone(&self.mailbox),
        };
        let (shared, mailbox) = (Arc::clone(&self.shared), Arc::clone(&self.mailbox));
        drop(self);
        tokio::join!(link.close(close), leave_all(caller, leaves));
        shared.closed(&mailbox);
    }
}

async fn leave_all(caller: Caller, leaves: Vec<Leave>) {
    for leave in leaves {
        caller.leave(leave).await;
    }
}

impl Outgoing {
    const fn new() -> Self {
        Self {
            batch: Vec::new(),
            bytes: 0,
            publications: 0,
            publication_bytes: 0,
            taken: 0,
            flush: false,
        }
    }

    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.batch.push(frame);
    }

    fn push_publication(&mut self, frame: Bytes) {
        self.publications += 1;
        self.publication_bytes += frame.len();
        self.push(frame);
    }

    fn is_empty(&self) -> bool {
        self.batch.is_empty() && !self.flush
    }

    /// The batch has left: gives the memory of a burst back.
    fn reset(&mut self) {
        self.batch.clear();
        if self.batch.capacity() > 64 {
            self.batch = Vec::new();
        }
        (
            self.bytes,
            self.publications,
            self.publication_bytes,
            self.flush,
        ) = (0, 0, 0, false);
    }
}

/// Publications of a batch, for the counters.
pub(super) trait Published {
    /// Number and bytes.
    fn published(&self) -> (u64, usize);
}

impl Published for Outgoing {
    fn published(&self) -> (u64, usize) {
        (self.publications, self.publication_bytes)
    }
}
