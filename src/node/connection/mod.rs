//! Drives one session over one link: the only client-side `select!`, and the only caller of `Link::send`.
//!
//! The loop carries out effects, feeds commands while the session takes them, writes everything that is ready in one batch, and
//! then waits. While a batch is being written nothing is read: the peer's own window is the backpressure.

mod ending;
mod feeds;
mod intake;
mod outgoing;

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::stream::FuturesUnordered;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};
use tracing::Instrument as _;

use self::{
    ending::Ending,
    feeds::Feeds,
    outgoing::{Delay, Outgoing},
};
use super::{
    Close, Inbound, Link, LinkTraits, Shared,
    dispatch::{Caller, Performed},
    emulation::{Letter, Letterbox, Seat},
    report::Report,
};
use crate::{
    hooks,
    hub::{Mail, Mailbox},
    model::{Broadcast, ChannelEvent, ClientError, ClientId, Direction, Disconnect, Now, Peer},
    protocol::{Commands, Decoder, frame},
    session::{Birth, Call, CallId, Effect, Effects, Session, Whole},
};

/// How long a refused V2 connection lingers, so that its client reads the error (client-protocol.md 3.2).
const LINGER: Duration = Duration::from_secs(5);

/// How long running calls may take once the end is decided: replies that are owed still arrive.
const OWED: Duration = Duration::from_secs(5);

/// A batch of this many bytes is written before more commands are fed.
const BATCH_BYTES: usize = 64 * 1024;

/// Places of a queue that are kept when it is empty: enough for a steady stream, while the memory of a burst is given back.
const KEPT: usize = 8;

type RunningCall = Pin<Box<dyn Future<Output = (CallId, Performed)> + Send>>;

/// Everything that one connection owns apart from its link.
struct Connection {
    shared: Arc<Shared>,
    started: Instant,
    traits: LinkTraits,
    session: Session,
    decoder: Decoder,
    /// Commands of the present frame that are not processed yet.
    rest: Option<Commands>,
    /// Who has posted that frame waits for this to be dropped.
    processing: Option<oneshot::Sender<()>>,
    /// Where frames of an emulated connection come in.
    seat: Option<Seat>,
    mailbox: Arc<Mailbox>,
    inbox: VecDeque<Mail>,
    peer: Arc<Peer>,
    calls: Option<FuturesUnordered<RunningCall>>,
    /// Sources of subscriptions; few connections have any.
    feeds: Option<Box<Feeds>>,
    effects: Effects,
    outgoing: Outgoing,
    delay: Delay,
    /// The link knows that its peer may read slowly.
    patient: bool,
    report: Report,
    ending: Option<Ending>,
    /// The end is decided, running calls are waited for until then.
    leaving: Option<(Disconnect, Instant)>,
    /// A refused connection ends then.
    linger: Option<Instant>,
    /// What the connect of a connection that only listens has failed with.
    error: Option<Box<ClientError>>,
}

/// Serves one connection until it ends. The future holds everything once: parts that are moved into an `async fn` would have
/// a second place in it, and connections are many.
pub(super) fn run<L: Link>(
    shared: Arc<Shared>,
    mut link: L,
    peer: Peer,
) -> impl Future<Output = ()> + Send {
    let client = ClientId::from(uuid::Uuid::new_v4().to_string());
    let span = tracing::debug_span!("connection", %client, transport = peer.transport);
    let refused = peer.refused.clone();
    let mut connection = Connection::new(shared, link.traits(), client, peer);
    if let Some(why) = refused {
        connection.session.close(why, &mut connection.effects);
    }
    let running = async move {
        connection.drive(&mut link).await;
        // Large and short: nothing of it belongs into the memory of a connection that lives.
        Box::pin(connection.finish(link)).await;
    };
    running.instrument(span)
}

impl Connection {
    fn new(shared: Arc<Shared>, traits: LinkTraits, client: ClientId, peer: Peer) -> Self {
        let config = Arc::clone(&shared.sessions.read());
        // As secret as it is hard to guess: 122 random bits.
        let session = (traits.direction != Direction::Both)
            .then(|| Arc::<str>::from(uuid::Uuid::new_v4().to_string()));
        let emulated = session
            .as_ref()
            .filter(|_| traits.direction == Direction::Emulated);
        let seat = emulated.map(|session| shared.emulated.open(session, peer.encoding));
        let birth = Birth {
            client,
            encoding: peer.encoding,
            framing: traits.framing,
            close_carries_reason: traits.close_carries_reason,
            native_ping: traits.native_ping,
            direction: traits.direction,
            session: session
                .clone()
                .map(|session| (session, shared.id().clone())),
            seed: rand::random(),
        };
        let mailbox = Arc::new(Mailbox::of(config.queue_max_size, session));
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
            started: Instant::now(),
            traits,
            session,
            decoder,
            rest: None,
            processing: None,
            seat,
            mailbox,
            inbox: VecDeque::new(),
            peer: Arc::new(peer),
            calls: None,
            feeds: None,
            effects: Effects::new(),
            outgoing: Outgoing::new(),
            delay: Delay::new(&shared.config.client),
            patient: false,
            report,
            ending: None,
            leaving: None,
            linger: None,
            error: None,
            shared,
        }
    }

    /// Works until the end is decided.
    async fn drive<L: Link>(&mut self, link: &mut L) {
        let addr = self.peer.address.map(tracing::field::display);
        tracing::debug!(addr, "client connection established");
        if let Some(version) = self.decoder.version() {
            link.decided(version);
        }
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            poll_fn(|cx| {
                self.advance(link, cx);
                Poll::Ready(())
            })
            .await;
            if !self.write(link).await {
                break;
            }
            if self.ending.is_some() {
                break;
            }
            self.wait(link, timer.as_mut()).await;
        }
    }

    /// Does everything that can be done without waiting, up to one batch.
    fn advance<L: Link>(&mut self, link: &mut L, cx: &mut Context<'_>) {
        while self.ending.is_none() && self.outgoing.bytes < BATCH_BYTES {
            self.carry_out();
            let progress =
                self.poll_call(cx) || self.poll_mail(cx) || self.poll_feeds(cx) || self.feed(link);
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
            Effect::Complete(whole) => self.complete(&whole),
            Effect::Call(id, call) => self.start(id, call),
            // Nobody can reach it any more, so it waits for its peer to go, or to be found stale.
            Effect::Refused if self.traits.direction == Direction::Emulated => self.rest = None,
            Effect::Unconnected(error) => self.error = Some(Box::new(error)),
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

    /// Writes a publication that is finished once for all who need it.
    fn complete(&mut self, whole: &Whole) {
        let Broadcast { channel, event, .. } = &*whole.broadcast;
        let ChannelEvent::Publication(publication, _) = event else {
            return;
        };
        let form = self.session.form();
        let made = whole
            .complete
            .get_or_make(|| frame::publication_as(form, whole.look, channel, publication).ok());
        match made {
            Some(bytes) => self.outgoing.push_publication(bytes),
            None => self
                .session
                .close(Disconnect::INAPPROPRIATE_PROTOCOL, &mut self.effects),
        }
    }

    fn start(&mut self, id: CallId, call: Call) {
        let upstream = match &call {
            Call::Publish { channel, .. } => self.upstream(channel),
            _ => None,
        };
        let caller = Caller {
            upstream,
            ..self.caller()
        };
        let running: RunningCall = match self.shared.spans.commands.clone() {
            Some(tracer) => {
                Box::pin(async move { (id, caller.perform_traced(tracer, call).await) })
            }
            None => Box::pin(async move { (id, caller.perform(call).await) }),
        };
        self.calls.get_or_insert_default().push(running);
    }

    fn caller(&self) -> Caller {
        Caller {
            shared: Arc::clone(&self.shared),
            client: self.client(Shared::now()),
            mailbox: Arc::clone(&self.mailbox),
            upstream: None,
        }
    }

    fn client(&self, now: Now) -> hooks::Client {
        hooks::Client {
            id: self.session.client().clone(),
            user: self.session.user().clone(),
            version: self.session.version(),
            peer: Arc::clone(&self.peer),
            meta: self.session.meta().clone(),
            emulated: Arc::clone(self.session.emulated()),
            now,
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
        let letters = self.seat.as_ref().map(|seat| Arc::clone(&seat.letters));
        let letters = letters.filter(|_| reading && self.session.is_connected());
        tokio::select! {
            biased;
            () = poll_fn(|cx| if self.poll_call(cx)
                || self.poll_mail(cx)
                || self.poll_feeds(cx)
                || self.leaving_is_due()
            {
                Poll::Ready(())
            } else {
                Poll::Pending
            }) => {}
            () = timer.as_mut(), if deadline.is_some() => self.time_passed(),
            letter = poll_fn(|cx| poll_letter(letters.as_deref(), cx)) => {
                self.rest = Some(self.decoder.frame(letter.frame));
                self.processing = Some(letter.processing);
            }
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
        [session, self.linger, leaving, self.outgoing.due]
            .into_iter()
            .flatten()
            .min()
    }
}

/// Takes a frame that was posted; never where nobody posts.
fn poll_letter(letters: Option<&Letterbox>, cx: &mut Context<'_>) -> Poll<Letter> {
    letters.map_or(Poll::Pending, |letters| letters.poll_take(cx))
}
