//! The questions a node asks its owner: who is this, may they, what shall I answer.
//!
//! No behaviour here. [`crate::policy`] is the standard answer; an embedder may bring another.
//! Every question carries the [`Client`] it is about. A refusal is a [`Rejection`]: an error reply or a disconnect.

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::model::{
    Channel, ChannelOptions, ClientError, ClientId, Disconnect, Now, Peer, Rejection,
    SubscribeOptions, Tags, UserId, Version,
};

/// The connection a question is about.
#[derive(Clone, Debug)]
pub struct Client {
    /// Connection identifier.
    pub id: ClientId,
    /// User, empty before connect and for anonymous connections.
    pub user: UserId,
    /// Generation of the protocol the connection speaks.
    pub version: Version,
    /// What the transport knows of it.
    pub peer: Arc<Peer>,
    /// Connection meta from the token or the connect proxy; empty for none. Never sent to clients.
    pub meta: Bytes,
    /// Emulated headers that [`ConnectAnswer::headers`] kept.
    pub emulated: Headers,
    /// When the question is asked.
    pub now: Now,
}

/// Names and values, shared.
pub type Headers = Arc<[(String, String)]>;

/// The connect command, as the owner sees it.
#[derive(Clone, Debug, Default)]
pub struct ConnectQuestion {
    /// Connection token; empty when none was given.
    pub token: String,
    /// Custom data of the client.
    pub data: Bytes,
    /// SDK or application name.
    pub name: String,
    /// Application version.
    pub version: String,
    /// Emulated request headers.
    pub headers: BTreeMap<String, String>,
    /// Channels the client asks to be subscribed to by the server.
    pub channels: Vec<Channel>,
}

/// Credentials and server-side subscriptions of a connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectAnswer {
    /// User; empty for anonymous.
    pub user: UserId,
    /// Expiration in Unix seconds; `None` never expires.
    pub expire_at: Option<i64>,
    /// Whether the server refreshes the connection itself; the client is then not told of an expiration.
    pub server_side_refresh: bool,
    /// Connection info; empty for none.
    pub info: Bytes,
    /// Connection meta; empty for none.
    pub meta: Bytes,
    /// Custom data of the connect reply; empty for none.
    pub data: Bytes,
    /// Emulated headers to keep for later questions ([`Client::emulated`]).
    pub headers: Headers,
    /// Server-side subscriptions.
    pub channels: BTreeMap<Channel, SubscribeOptions>,
    /// The user's personal channel when only one connection of the user may live (`single_connection`):
    /// if its presence shows another client, the user's other connections are closed with 3504.
    pub single_connection: Option<Channel>,
}

/// The subscribe command, as the owner sees it.
#[derive(Clone, Debug)]
pub struct SubscribeQuestion {
    /// Channel to subscribe.
    pub channel: Channel,
    /// Subscription token; empty when none was given.
    pub token: String,
    /// Custom data of the client.
    pub data: Bytes,
    /// `type` of the request: 0 stream, 1–3 map, 4 shared poll.
    pub kind: i32,
    /// The client asks for positioning.
    pub positioned: bool,
    /// The client asks for recovery.
    pub recoverable: bool,
    /// The client asks for joins and leaves.
    pub join_leave: bool,
}

/// A permission to subscribe.
#[derive(Debug, Default)]
pub struct SubscribeAnswer {
    /// Granted options.
    pub options: SubscribeOptions,
    /// A source of publications for this subscription alone, beside those of the channel.
    pub feed: Option<Feed>,
}

impl From<SubscribeOptions> for SubscribeAnswer {
    fn from(options: SubscribeOptions) -> Self {
        Self {
            options,
            feed: None,
        }
    }
}

/// A stream of publications for one subscription of one connection. It is read only while the connection can write;
/// dropping it ends it.
pub struct Feed {
    /// Publications in order. The end without an error is the wish of the source, an error is a failure on the way.
    pub publications: Pin<Box<dyn Stream<Item = Result<Fed, FeedLost>> + Send>>,
    /// Takes what the client publishes; without it the client cannot.
    pub upstream: Option<Arc<dyn Upstream>>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// One publication of a [`Feed`].
#[derive(Clone, Debug, Default)]
pub struct Fed {
    /// Payload.
    pub data: Bytes,
    /// Tags.
    pub tags: Tags,
}

/// A [`Feed`] broke; the client is told to subscribe again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream of publications broke")]
pub struct FeedLost;

/// The way from a client to the source of its [`Feed`].
#[async_trait]
pub trait Upstream: Send + Sync + fmt::Debug {
    /// Hands a publication over. Waits as long as the source is slow, within a limit of its own.
    async fn send(&self, data: Bytes) -> Result<(), Rejection>;
}

/// A permission to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishAnswer {
    /// Into the channel.
    Channel(Box<Publish>),
    /// To the [`Feed`] of the client's subscription; 108 when it has none.
    Upstream(Bytes),
}

/// What is published into a channel for a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// Payload.
    pub data: Bytes,
    /// Tags.
    pub tags: Tags,
    /// Do not keep it in history.
    pub skip_history: bool,
    /// Idempotency key; empty for none.
    pub idempotency_key: String,
    /// Version; 0 for none.
    pub version: u64,
    /// Epoch the version counts in.
    pub version_epoch: String,
    /// Send deltas to those subscribers who negotiated them.
    pub delta: bool,
    /// The publisher does not get it back.
    pub exclude_publisher: bool,
}

impl From<Bytes> for PublishAnswer {
    fn from(data: Bytes) -> Self {
        Self::Channel(Box::new(Publish {
            data,
            ..Publish::default()
        }))
    }
}

/// What a client wants to read of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Presence or its statistics.
    Presence,
    /// History.
    History,
}

/// New expiration of a connection.
#[derive(Clone, Debug, Default)]
pub struct RefreshAnswer {
    /// Expiration in Unix seconds; `None` never expires.
    pub expire_at: Option<i64>,
    /// Replaces the connection info when not empty.
    pub info: Bytes,
    /// Replaces the connection meta when given.
    pub meta: Option<Bytes>,
    /// Server-side channels the new token names; `None` when it does not speak of channels.
    /// If they differ from those of the connection's token it is closed with 3010 (tokens.md 7.2).
    pub channels: Option<Vec<Channel>>,
}

/// New expiration of a subscription.
#[derive(Clone, Debug, Default)]
pub struct SubRefreshAnswer {
    /// The channel it is for: that of the command, or of the token when the command named none.
    pub channel: Channel,
    /// Expiration in Unix seconds; `None` never expires.
    pub expire_at: Option<i64>,
    /// Replaces the channel info, also when empty.
    pub info: Bytes,
}

/// The owner of a node. Methods are called from connection tasks, many at a time; they must be cancel safe.
///
/// A method that is not implemented asks [`Hooks::standard`], so that a program adds its own rules on top of the policy it was
/// given. Without a standard owner such a question is refused.
#[async_trait]
pub trait Hooks: Send + Sync + 'static {
    /// Who answers what this owner does not answer itself.
    fn standard(&self) -> Option<&dyn Hooks> {
        None
    }

    /// Options of a channel.
    ///
    /// # Errors
    /// [`ClientError::UNKNOWN_CHANNEL`] when its namespace does not exist.
    fn channel(&self, channel: &Channel) -> Result<Arc<ChannelOptions>, ClientError> {
        match self.standard() {
            Some(standard) => standard.channel(channel),
            None => Err(ClientError::UNKNOWN_CHANNEL),
        }
    }

    /// May this connection connect, and as whom? (tokens.md 1, 7.1)
    async fn connect(
        &self,
        client: &Client,
        question: ConnectQuestion,
    ) -> Result<ConnectAnswer, Rejection> {
        match self.standard() {
            Some(standard) => standard.connect(client, question).await,
            None => Err(Disconnect::NOT_AVAILABLE.into()),
        }
    }

    /// May it subscribe, and with which options? (tokens.md 8.1)
    async fn subscribe(
        &self,
        client: &Client,
        question: SubscribeQuestion,
    ) -> Result<SubscribeAnswer, Rejection> {
        match self.standard() {
            Some(standard) => standard.subscribe(client, question).await,
            None => Err(ClientError::PERMISSION_DENIED.into()),
        }
    }

    /// May it publish these bytes? The answer is what is published (tokens.md 8.2).
    async fn publish(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
        data: Bytes,
    ) -> Result<PublishAnswer, Rejection> {
        match self.standard() {
            Some(standard) => standard.publish(client, channel, subscribed, data).await,
            None => Err(ClientError::PERMISSION_DENIED.into()),
        }
    }

    /// May it read presence or history? (tokens.md 8.2)
    async fn read(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
        what: Read,
    ) -> Result<(), Rejection> {
        match self.standard() {
            Some(standard) => standard.read(client, channel, subscribed, what).await,
            None => Err(ClientError::PERMISSION_DENIED.into()),
        }
    }

    /// Answers a remote call; 108 when there is no handler at all, 104 when the method is unknown.
    async fn rpc(&self, client: &Client, method: &str, data: Bytes) -> Result<Bytes, Rejection> {
        match self.standard() {
            Some(standard) => standard.rpc(client, method, data).await,
            None => Err(ClientError::NOT_AVAILABLE.into()),
        }
    }

    /// Takes a message that wants no answer; [`Disconnect::NOT_AVAILABLE`] without a handler.
    async fn message(&self, client: &Client, data: Bytes) -> Result<(), Rejection> {
        match self.standard() {
            Some(standard) => standard.message(client, data).await,
            None => Err(Disconnect::NOT_AVAILABLE.into()),
        }
    }

    /// Checks a new connection token (tokens.md 7.2).
    async fn refresh(&self, client: &Client, token: &str) -> Result<RefreshAnswer, Rejection> {
        match self.standard() {
            Some(standard) => standard.refresh(client, token).await,
            None => Err(Disconnect::NOT_AVAILABLE.into()),
        }
    }

    /// Checks a new subscription token; the channel may be empty (client-protocol.md 4.11).
    async fn sub_refresh(
        &self,
        client: &Client,
        channel: &Channel,
        token: &str,
    ) -> Result<SubRefreshAnswer, Rejection> {
        match self.standard() {
            Some(standard) => standard.sub_refresh(client, channel, token).await,
            None => Err(Disconnect::NOT_AVAILABLE.into()),
        }
    }

    /// A connection that the server refreshes ([`ConnectAnswer::server_side_refresh`]) has expired: may it go on?
    /// A refusal is a disconnect; an error counts as [`Disconnect::SERVER_ERROR`]. `channels` of the answer is not looked at.
    async fn renew(&self, client: &Client) -> Result<RefreshAnswer, Rejection> {
        match self.standard() {
            Some(standard) => standard.renew(client).await,
            None => Err(Disconnect::EXPIRED.into()),
        }
    }

    /// A subscription that the server refreshes ([`SubscribeOptions::server_side_refresh`]) has expired: may it go on?
    /// `None` ends it; so does a refusal, unless it is a disconnect. Its info is replaced when that of the answer is not empty.
    async fn sub_renew(
        &self,
        client: &Client,
        channel: &Channel,
    ) -> Result<Option<SubRefreshAnswer>, Rejection> {
        match self.standard() {
            Some(standard) => standard.sub_renew(client, channel).await,
            None => Ok(None),
        }
    }
}
