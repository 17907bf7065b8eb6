//! The machine alone, with virtual time: what is told, written and waited for, row by row of client-protocol.md 6 and 7.1.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    super::{SubscribeOptions, SubscriptionEvent, TokenError, TokenRequest},
    Backoff, CallId, Closing, Effect, Introduction, Loss, Machine, SubscriptionId, Ticket, Timing,
};
use crate::{
    client::{Error, Event, Subscribed},
    model::{Channel, ClientError, Disconnect, Publication, Secret, StreamPosition, Unsubscribe},
    protocol::{
        Command, ConnectRequest, ConnectResult, Push, PushBody, RefreshResult, Reply, ReplyBody,
        Request, SubRefreshResult, SubscribePush, SubscribeRequest, SubscribeResult,
    },
};

mod connection;
mod law;
mod subscription;
mod token;

const SECOND: Duration = Duration::from_secs(1);

fn timing() -> Timing {
    Timing {
        backoff: Backoff {
            min: SECOND / 2,
            max: 20 * SECOND,
        },
        answer: 5 * SECOND,
        open: 5 * SECOND,
        silence: 10 * SECOND,
    }
}

/// A machine, its clock, and what it did since somebody looked.
struct Bench {
    machine: Machine,
    now: Instant,
    effects: Vec<Effect>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Introduction::default())
    }

    fn with_token_source() -> Self {
        Self::with(Introduction {
            token: Some(Secret::from("first")),
            token_source: true,
            ..Introduction::default()
        })
    }

    /// Jitter is one half, always.
    fn with(introduction: Introduction) -> Self {
        Self {
            machine: Machine::new(timing(), introduction, Box::new(|| 0.5)),
            now: tokio::time::Instant::now().into_std(),
            effects: Vec::new(),
        }
    }

    /// Connected, with nothing left to look at.
    fn connected(mut self) -> Self {
        self.connect_with(ConnectResult::default());
        self.effects.clear();
        self
    }

    fn connect_with(&mut self, result: ConnectResult) {
        self.machine.connect(self.now, &mut self.effects);
        self.open();
        self.accept(result);
    }

    fn open(&mut self) {
        self.machine.opened(self.now, &mut self.effects);
    }

    /// Answers the connect command.
    fn accept(&mut self, result: ConnectResult) {
        let (id, _) = self.sent_connect();
        self.reply(id, ReplyBody::Connect(Box::new(result)));
    }

    /// Lets the back-off pass, opens and accepts.
    fn come_back(&mut self) {
        self.pass(20 * SECOND);
        self.open();
        self.accept(ConnectResult::default());
    }

    fn refuse(&mut self, id: u32, error: ClientError) {
        self.reply(id, ReplyBody::Error(error));
    }

    fn reply(&mut self, id: u32, body: ReplyBody) {
        self.machine
            .reply(self.now, Reply { id, body }, &mut self.effects);
    }

    fn push(&mut self, channel: &str, body: PushBody) {
        let channel = channel.into();
        self.reply(0, ReplyBody::Push(Push { channel, body }));
    }

    fn publish(&mut self, channel: &str, offset: u64) {
        let publication = publication(offset);
        self.push(channel, PushBody::Publication(publication.into()));
    }

    fn lose(&mut self, code: u32) {
        let loss = Loss {
            code,
            reason: "why".to_owned(),
            error: None,
        };
        self.machine.lost(self.now, loss, &mut self.effects);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.machine.expired(self.now, &mut self.effects);
    }

    /// Time until the next deadline.
    fn next(&self) -> Option<Duration> {
        self.machine
            .deadline()
            .map(|at| at.saturating_duration_since(self.now))
    }

    fn subscribe(&mut self, channel: &str, options: SubscribeOptions) -> SubscriptionId {
        self.machine
            .subscribe(self.now, channel.into(), options, &mut self.effects)
            .unwrap()
    }

    fn unsubscribe(&mut self, channel: &str, id: SubscriptionId) {
        let channel = Channel::from(channel);
        self.machine
            .unsubscribe(self.now, &channel, id, &mut self.effects);
    }

    fn call(&mut self, id: u64, request: Request) {
        self.machine
            .call(self.now, CallId(id), request, &mut self.effects);
    }

    fn token(&mut self, ticket: Ticket, token: Result<&str, TokenError>) {
        let token = token.map(str::to_owned);
        self.machine
            .token(self.now, ticket, token, &mut self.effects);
    }

    /// What happened since the last look.
    fn look(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn sent(&self) -> Vec<&Command> {
        let sends = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send(command) => Some(command),
            _ => None,
        });
        sends.collect()
    }

    /// The last connect command, taken.
    fn sent_connect(&mut self) -> (u32, ConnectRequest) {
        self.take_sent(|request| match request {
            Request::Connect(connect) => Some(*connect),
            _ => None,
        })
    }

    /// The last subscribe command, taken.
    fn sent_subscribe(&mut self) -> (u32, SubscribeRequest) {
        self.take_sent(|request| match request {
            Request::Subscribe(subscribe) => Some(*subscribe),
            _ => None,
        })
    }

    fn take_sent<T>(&mut self, pick: impl Fn(Request) -> Option<T>) -> (u32, T) {
        let (id, found) = self
            .sent()
            .into_iter()
            .rev()
            .find_map(|command| pick(command.request.clone()).map(|found| (command.id, found)))
            .expect("no such command was sent");
        self.effects
            .retain(|effect| !matches!(effect, Effect::Send(command) if command.id == id));
        (id, found)
    }

    /// What was told of one subscription.
    fn told(&self, id: SubscriptionId) -> Vec<String> {
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::EmitTo(to, event) if *to == id => Some(text(event)),
            _ => None,
        });
        told.collect()
    }

    /// What was told of the connection.
    fn heard(&self) -> Vec<String> {
        let heard = self.effects.iter().filter_map(|effect| match effect {
            Effect::Emit(event) => Some(match event {
                Event::Connecting { code, reason } => format!("connecting {code} {reason}"),
                Event::Connected { .. } => "connected".to_owned(),
                Event::Disconnected { code, reason } => format!("disconnected {code} {reason}"),
                Event::Message(data) => format!("message {}", String::from_utf8_lossy(data)),
                Event::Channel { channel, event } => format!("{channel} {}", text(event)),
                Event::Error(error) => format!("failed: {error}"),
            }),
            _ => None,
        });
        heard.collect()
    }

    fn tickets(&self) -> Vec<(Ticket, TokenRequest)> {
        let tickets = self.effects.iter().filter_map(|effect| match effect {
            Effect::FetchToken(ticket, request) => Some((*ticket, request.clone())),
            _ => None,
        });
        tickets.collect()
    }

    /// The one open request for a token.
    fn ticket(&mut self) -> Ticket {
        let tickets = self.tickets();
        assert_eq!(tickets.len(), 1, "{tickets:?}");
        self.effects.clear();
        tickets[0].0
    }

    fn completed(&self) -> Vec<(u64, Result<ReplyBody, Error>)> {
        let completed = self.effects.iter().filter_map(|effect| match effect {
            Effect::Complete(CallId(id), result) => Some((*id, result.clone())),
            _ => None,
        });
        completed.collect()
    }

    fn opens(&self) -> usize {
        let is_open = |effect: &&Effect| matches!(effect, Effect::Open);
        self.effects.iter().filter(is_open).count()
    }

    fn closes(&self) -> Vec<Closing> {
        let closes = self.effects.iter().filter_map(|effect| match effect {
            Effect::Close(how) => Some(*how),
            _ => None,
        });
        closes.collect()
    }
}

fn text(event: &SubscriptionEvent) -> String {
    match event {
        SubscriptionEvent::Subscribing { code, .. } => format!("subscribing {code}"),
        SubscriptionEvent::Subscribed(Subscribed {
            recovered,
            was_recovering,
            missed,
            position,
            ..
        }) => {
            let offset = position.as_ref().map(|p| p.offset);
            format!("subscribed {offset:?} {was_recovering} {recovered} {missed}")
        }
        SubscriptionEvent::Publication(publication) => {
            format!("publication {}", publication.offset)
        }
        SubscriptionEvent::Join(info) => format!("join {}", info.user),
        SubscriptionEvent::Leave(info) => format!("leave {}", info.user),
        SubscriptionEvent::Unsubscribed { code, reason } => format!("unsubscribed {code} {reason}"),
        SubscriptionEvent::Error(error) => format!("failed: {error}"),
    }
}

fn publication(offset: u64) -> Publication {
    Publication {
        offset,
        data: Bytes::from(offset.to_string()),
        ..Publication::default()
    }
}

/// A result with recovery on, at this position.
fn recoverable(offset: u64, epoch: &str) -> SubscribeResult {
    SubscribeResult {
        recoverable: true,
        positioned: true,
        offset,
        epoch: epoch.to_owned(),
        ..SubscribeResult::default()
    }
}

fn subscribed(result: SubscribeResult) -> ReplyBody {
    ReplyBody::Subscribe(Box::new(result))
}
