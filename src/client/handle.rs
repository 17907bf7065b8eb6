//! What an application holds: the client, its events, its subscriptions. Cheap to clone or to move; the connection itself
//! is owned by one task, which these handles only send to.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::{sync::DropGuard, task::TaskTracker};

use super::{Builder, Error, Event, SubscribeOptions, SubscriptionEvent, machine::SubscriptionId};
use crate::{
    model::{Channel, Encoding, StreamPosition},
    protocol::{
        HistoryRequest, HistoryResult, PresenceResult, PresenceStatsResult, PublishRequest,
        ReplyBody, Request, RpcRequest,
    },
};

/// Something a handle asks the connection's task for.
#[derive(Debug)]
pub(super) enum Ask {
    Connect,
    /// Answered when the transport is closed.
    Disconnect(oneshot::Sender<()>),
    Subscribe(Channel, Box<SubscribeOptions>, Answer<Feed>),
    Unsubscribe(Channel, SubscriptionId),
    Call(Request, Answer<ReplyBody>),
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// The receiving end of a new subscription.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) id: SubscriptionId,
    pub(super) events: mpsc::Receiver<SubscriptionEvent>,
    /// Dropped with the subscription, which ends it.
    pub(super) guard: DropGuard,
}

/// A connection to a gateway that keeps itself alive. Cloning is a reference count.
///
/// The connection ends when the last `Client` and the last [`Subscription`] are dropped, or with [`Client::close`].
/// Calls made while connecting wait, at most for the answer time limit. Dropping the future of a call gives up the answer,
/// not the command.
///
/// ```no_run
/// use centripetal::client::{Client, SubscribeOptions, SubscriptionEvent};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let (client, _) = Client::builder("grpc://127.0.0.1:8001").build()?;
/// client.connect().await?;
/// let mut news = client.subscribe("news", SubscribeOptions::new().recover()).await?;
/// client.publish("news", r#"{"text":"hello"}"#).await?;
/// while let Some(event) = news.next().await {
///     if let SubscriptionEvent::Publication(publication) = event {
///         println!("{}", String::from_utf8_lossy(&publication.data));
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) asks: mpsc::Sender<Ask>,
    /// One permit per call without an answer yet: callers wait here, not in a queue.
    pub(super) permits: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    pub(super) encoding: Encoding,
}

impl Client {
    /// Begins to describe a client of the gateway at `url`.
    ///
    /// `grpc://host:port` (port 8001 if none is given) and `grpcs://` (443) use the gRPC stream;
    /// `ws://` (80) and `wss://` (443) use the WebSocket at `/connection/websocket` unless the address has a path.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }

    /// Starts to connect and to stay connected. Returns at once; events tell what happens.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn connect(&self) -> Result<(), Error> {
        self.ask(Ask::Connect).await
    }

    /// Closes the connection after what was asked before has been written, and returns when it is closed.
    /// Subscriptions stay and come back with [`Client::connect`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn disconnect(&self) -> Result<(), Error> {
        let (done, closed) = oneshot::channel();
        self.ask(Ask::Disconnect(done)).await?;
        closed.await.map_err(closed_channel)
    }

    /// Disconnects, ends all subscriptions and waits for the connection's task, if this is the last handle.
    /// Other handles, subscriptions included, keep the task alive without a connection.
    pub async fn close(self) {
        let Self { asks, tasks, .. } = self.clone();
        drop(self.disconnect().await);
        drop(self);
        let last = asks.strong_count() == 1;
        drop(asks);
        if last {
            tasks.wait().await;
        }
    }

    /// Subscribes to a channel. Returns when the subscription is noted; it is established as soon as there is a connection,
    /// and restored after every loss until it is dropped or ends with [`SubscriptionEvent::Unsubscribed`].
    ///
    /// # Errors
    /// [`Error::AlreadySubscribed`], [`Error::Closed`], [`Error::NotJson`] for the data of the options.
    pub async fn subscribe(
        &self,
        channel: impl Into<Channel>,
        options: SubscribeOptions,
    ) -> Result<Subscription, Error> {
        let channel = channel.into();
        if !options.data.is_empty() {
            self.payload(options.data.clone())?;
        }
        let (answer, feed) = oneshot::channel();
        let ask = Ask::Subscribe(channel.clone(), Box::new(options), answer);
        self.ask(ask).await?;
        let Feed { id, events, guard } = feed.await.map_err(closed_channel)??;
        Ok(Subscription {
            channel,
            id,
            events,
            _guard: guard,
            client: self.clone(),
        })
    }

    /// Publishes into a channel; the payload must be JSON unless the channel takes binary data.
    ///
    /// # Errors
    /// The server's error (103 without permission), or the connection's.
    pub async fn publish(
        &self,
        channel: impl Into<Channel>,
        data: impl Into<Bytes>,
    ) -> Result<(), Error> {
        let request = Request::Publish(PublishRequest {
            channel: channel.into(),
            data: self.payload(data.into())?,
            kind: 0,
        });
        match self.call(request).await? {
            ReplyBody::Publish => Ok(()),
            _ => Err(Error::Protocol),
        }
    }

    /// Calls a method of the application behind the gateway.
    ///
    /// # Errors
    /// The server's error (108 without a handler), or the connection's.
    pub async fn rpc(
        &self,
        method: impl Into<String>,
        data: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        let request = Request::Rpc(RpcRequest {
            method: method.into(),
            data: self.payload(data.into())?,
        });
        match self.call(request).await? {
            ReplyBody::Rpc(data) => Ok(data),
            _ => Err(Error::Protocol),
        }
    }

    /// Reads the history of a channel: up to `limit` publications (0 for the position only, below 0 as many as the server
    /// allows) after `since` or, when `reverse`, before it and newest first.
    ///
    /// # Errors
    /// The server's error (108 without history, 112 when `since` is of another epoch), or the connection's.
    pub async fn history(
        &self,
        channel: impl Into<Channel>,
        limit: i32,
        since: Option<StreamPosition>,
        reverse: bool,
    ) -> Result<HistoryResult, Error> {
        let request = Request::History(HistoryRequest {
            channel: channel.into(),
            limit: Some(limit),
            since,
            reverse,
        });
        match self.call(request).await? {
            ReplyBody::History(result) => Ok(result),
            _ => Err(Error::Protocol),
        }
    }

    /// Who is in a channel.
    ///
    /// # Errors
    /// The server's error (108 without presence), or the connection's.
    pub async fn presence(&self, channel: impl Into<Channel>) -> Result<PresenceResult, Error> {
        match self.call(Request::Presence(channel.into())).await? {
            ReplyBody::Presence(result) => Ok(result),
            _ => Err(Error::Protocol),
        }
    }

    /// How many are in a channel.
    ///
    /// # Errors
    /// The server's error (108 without presence), or the connection's.
    pub async fn presence_stats(
        &self,
        channel: impl Into<Channel>,
    ) -> Result<PresenceStatsResult, Error> {
        let request = Request::PresenceStats(channel.into());
        match self.call(request).await? {
            ReplyBody::PresenceStats(result) => Ok(result),
            _ => Err(Error::Protocol),
        }
    }

    /// Sends a message that nobody answers. Returns when it is on its way; a server without a handler for it
    /// closes the connection (3508).
    ///
    /// # Errors
    /// The connection's.
    pub async fn send(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = self.payload(data.into())?;
        self.call(Request::Send(data)).await.map(drop)
    }

    /// Checks what would break a JSON connection; Protobuf carries any bytes.
    fn payload(&self, data: Bytes) -> Result<Bytes, Error> {
        if self.encoding == Encoding::Json && !is_json(&data) {
            return Err(Error::NotJson);
        }
        Ok(data)
    }

    async fn call(&self, request: Request) -> Result<ReplyBody, Error> {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(closed_channel)?;
        let (answer, reply) = oneshot::channel();
        self.ask(Ask::Call(request, answer)).await?;
        reply.await.map_err(closed_channel)?
    }

    async fn ask(&self, ask: Ask) -> Result<(), Error> {
        self.asks.send(ask).await.map_err(closed_channel)
    }
}

/// The other side is gone; what it says beyond that is nothing an application could use.
fn closed_channel<E>(_gone: E) -> Error {
    Error::Closed
}

pub(super) fn is_json(data: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

/// What happens to a connection, in order. A [`Stream`] of [`Event`]s.
///
/// Read it or drop it: when its queue is full, the client stops reading from the server.
#[derive(Debug)]
#[must_use = "events that nobody reads stop the client; drop what you do not want"]
pub struct Events {
    pub(super) events: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` when the client is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(cx)
    }
}

/// A subscription and what happens in it, in order. A [`Stream`] of [`SubscriptionEvent`]s.
///
/// Read it or drop it, which unsubscribes: when its queue is full, the client stops reading from the server, so that
/// nothing is lost. A task that awaits a call of the same client while its own queue is full waits for itself until the
/// answer time limit; use two tasks for that.
#[derive(Debug)]
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    channel: Channel,
    id: SubscriptionId,
    events: mpsc::Receiver<SubscriptionEvent>,
    _guard: DropGuard,
    client: Client,
}

impl Subscription {
    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The next event; `None` after the subscription ended. Cancel safe.
    pub async fn next(&mut self) -> Option<SubscriptionEvent> {
        self.events.recv().await
    }

    /// Publishes into the channel.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn publish(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        self.client.publish(self.channel.clone(), data).await
    }

    /// Ends the subscription. What arrived before can still be read; [`SubscriptionEvent::Unsubscribed`] is the last event.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn unsubscribe(&self) -> Result<(), Error> {
        let ask = Ask::Unsubscribe(self.channel.clone(), self.id);
        self.client.ask(ask).await
    }
}

impl Stream for Subscription {
    type Item = SubscriptionEvent;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<SubscriptionEvent>> {
        self.events.poll_recv(cx)
    }
}
