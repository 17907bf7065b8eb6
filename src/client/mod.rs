//! The Rust client over gRPC and WebSocket: stays connected, subscribes again, recovers what was missed.
//!
//! [`Client`] is a cheap handle, [`Subscription`] and [`Events`] are streams; one task owns the connection and everything
//! about it. What to do when is decided by a pure state machine, how bytes travel by a transport; this file is the task
//! between them. Knows `protocol` and `model` only, never a server module.
//!
//! Every queue has a bound and nothing is ever dropped in silence: an application that does not read its events makes the
//! client stop reading from the server, which then closes the connection as slow; the client recovers what it can and tells
//! with [`Subscribed::recovered`] when it could not.

use std::{collections::VecDeque, future::Future, pin::Pin, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

mod desk;
mod error;
mod event;
mod handle;
mod machine;
mod options;
#[cfg(test)]
mod tests;
mod token;
mod transport;
mod wire;

use desk::{Desk, Told, tell};
pub use error::{BuildError, Error};
pub use event::{Event, Subscribed, SubscriptionEvent};
use handle::Ask;
pub use handle::{Client, Events, Subscription};
use machine::{Closing, Effect, Loss, Machine, SubscriptionId, Ticket};
use options::Limits;
pub use options::{Builder, SubscribeOptions};
use token::TokenSource;
pub use token::{TokenError, TokenRequest};
#[cfg(test)]
pub(crate) use transport::tests::server as little_server;
pub(crate) use transport::{Address, Opaque, Scheme};
use transport::{Connector, Opened, Receiving, Sending};

use crate::{
    model::Channel,
    protocol::{Command, Reply},
};

/// How long a polite close waits for the other side.
const FAREWELL: Duration = Duration::from_secs(1);

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What woke the task.
enum Step<C: Connector> {
    Ask(Option<Ask>),
    Opened(Opened<C>),
    Received(Result<Vec<Reply>, Loss>),
    Sent(Result<(), Loss>),
    Token(Ticket, Result<String, TokenError>),
    Dropped(Channel, SubscriptionId),
    Told,
    Expired,
}

/// Both halves of a transport, or one that is being opened.
struct Line<C: Connector> {
    connector: C,
    opening: Option<Pending<Opened<C>>>,
    sending: Option<C::Sending>,
    receiving: Option<C::Receiving>,
    outbox: VecDeque<Command>,
}

/// The task that owns a connection.
struct Connection<C: Connector> {
    machine: Machine,
    desk: Desk,
    line: Line<C>,
    source: Option<TokenSource>,
    tokens: FuturesUnordered<Pending<(Ticket, Result<String, TokenError>)>>,
    limits: Limits,
}

impl<C: Connector> Connection<C> {
    fn new(
        machine: Machine,
        connector: C,
        source: Option<TokenSource>,
        limits: Limits,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            machine,
            desk: Desk::new(events),
            line: Line {
                connector,
                opening: None,
                sending: None,
                receiving: None,
                outbox: VecDeque::new(),
            },
            source,
            tokens: FuturesUnordered::new(),
            limits,
        }
    }

    /// Runs until the last handle is dropped.
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut effects = Vec::new();
        loop {
            let step = self.step(&mut asks).await;
            if matches!(step, Step::Ask(None)) {
                break;
            }
            let now = Instant::now().into_std();
            let done = self.take(now, step, &mut effects);
            self.carry_out(&mut effects).await;
            if let Some(done) = done {
                // Nobody may be waiting any more.
                done.send(()).ok();
            }
        }
        self.machine.disconnect(&mut effects);
        self.carry_out(&mut effects).await;
    }

    /// Waits for the next thing to happen. Every branch is cancel safe: halves and queues keep what they hold.
    async fn step(&mut self, asks: &mut mpsc::Receiver<Ask>) -> Step<C> {
        let deadline = self.machine.deadline();
        let Line {
            opening,
            sending,
            receiving,
            outbox,
            ..
        } = &mut self.line;
        let writing = !outbox.is_empty() || sending.as_ref().is_some_and(|s| !s.is_flushed());
        let listening = self.desk.backlog.len() < self.limits.events;
        let taking = outbox.len() < self.limits.calls;
        let Desk {
            events,
            subscriptions,
            dropped,
            backlog,
            ..
        } = &mut self.desk;
        tokio::select! {
            ask = asks.recv(), if taking => Step::Ask(ask),
            opened = present(opening.as_mut()), if opening.is_some() => Step::Opened(opened),
            received = receive(receiving.as_mut()), if listening => Step::Received(received),
            sent = send(sending.as_mut(), outbox), if writing => Step::Sent(sent),
            Some((ticket, token)) = self.tokens.next() => Step::Token(ticket, token),
            Some((channel, id)) = dropped.next() => Step::Dropped(channel, id),
            () = tell(backlog, events, subscriptions) => Step::Told,
            () = expire(deadline) => Step::Expired,
        }
    }
}

impl<C: Connector> Connection<C> {
    /// Hands what happened to the machine. Returns whom to tell when its effects are carried out.
    fn take(
        &mut self,
        now: std::time::Instant,
        step: Step<C>,
        out: &mut Vec<Effect>,
    ) -> Option<oneshot::Sender<()>> {
        match step {
            Step::Ask(Some(ask)) => return self.asked(now, ask, out),
            Step::Ask(None) | Step::Sent(Ok(())) | Step::Told => {}
            Step::Opened(opened) => {
                self.line.opening = None;
                match opened {
                    Ok((sending, receiving)) => {
                        self.line.sending = Some(sending);
                        self.line.receiving = Some(receiving);
                        self.machine.opened(now, out);
                    }
                    Err(error) => self.machine.open_failed(now, error, out),
                }
            }
            Step::Received(Ok(replies)) => {
                for reply in replies {
                    self.machine.reply(now, reply, out);
                }
            }
            Step::Received(Err(loss)) | Step::Sent(Err(loss)) => {
                self.line.drop_at_once();
                self.machine.lost(now, loss, out);
            }
            Step::Token(ticket, token) => self.machine.token(now, ticket, token, out),
            Step::Dropped(channel, id) => {
                self.desk.subscriptions.remove(&id);
                self.machine.unsubscribe(now, &channel, id, out);
            }
            Step::Expired => self.machine.expired(now, out),
        }
        None
    }

    fn asked(
        &mut self,
        now: std::time::Instant,
        ask: Ask,
        out: &mut Vec<Effect>,
    ) -> Option<oneshot::Sender<()>> {
        match ask {
            Ask::Connect => self.machine.connect(now, out),
            Ask::Disconnect(done) => {
                self.machine.disconnect(out);
                return Some(done);
            }
            Ask::Subscribe(channel, options, answer) => {
                let feed = self
                    .machine
                    .subscribe(now, channel.clone(), *options, out)
                    .map(|id| self.desk.open(channel, id, self.limits.events));
                // A caller that went away drops the feed, which ends the subscription.
                drop(answer.send(feed));
            }
            Ask::Unsubscribe(channel, id) => self.machine.unsubscribe(now, &channel, id, out),
            Ask::Call(request, answer) => {
                let id = self.desk.note(answer);
                self.machine.call(now, id, request, out);
            }
        }
        None
    }

    async fn carry_out(&mut self, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Open => self.line.open(),
                Effect::Close(Closing::Abrupt) => self.line.drop_at_once(),
                Effect::Close(Closing::Polite) => self.line.hang_up().await,
                Effect::Send(command) => self.line.outbox.push_back(command),
                Effect::FetchToken(ticket, request) => {
                    let source = self.source.clone();
                    self.tokens.push(Box::pin(async move {
                        let token = match source {
                            Some(source) => source.fetch(request).await,
                            None => Err(TokenError::Unauthorized),
                        };
                        (ticket, token)
                    }));
                }
                Effect::Emit(event) => self.desk.tell(Told::Connection(event)),
                Effect::EmitTo(id, event) => self.desk.tell(Told::Subscription(id, event)),
                Effect::Complete(id, result) => self.desk.complete(id, result),
            }
        }
    }
}

impl<C: Connector> Line<C> {
    fn open(&mut self) {
        self.opening = Some(Box::pin(self.connector.open()));
    }

    fn drop_at_once(&mut self) {
        self.opening = None;
        self.sending = None;
        self.receiving = None;
        self.outbox.clear();
    }

    /// Writes what waits, says good-bye and waits for the other side to do the same, but not for long.
    async fn hang_up(&mut self) {
        if let (Some(mut sending), Some(mut receiving)) =
            (self.sending.take(), self.receiving.take())
        {
            let farewell = async {
                if sending.send(&mut self.outbox).await.is_ok() {
                    sending.finish().await;
                    while receiving.receive().await.is_ok() {}
                }
            };
            // A peer that does not answer is left behind.
            drop(timeout(FAREWELL, farewell).await);
        }
        self.drop_at_once();
    }
}

async fn present<T>(future: Option<&mut Pending<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn receive<R: Receiving>(half: Option<&mut R>) -> Result<Vec<Reply>, Loss> {
    match half {
        Some(half) => half.receive().await,
        None => std::future::pending().await,
    }
}

async fn send<S: Sending>(
    half: Option<&mut S>,
    outbox: &mut VecDeque<Command>,
) -> Result<(), Loss> {
    match half {
        Some(half) => half.send(outbox).await,
        None => std::future::pending().await,
    }
}

async fn expire(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(at) => sleep_until(Instant::from_std(at)).await,
        None => std::future::pending().await,
    }
}
