//! How a client and its subscriptions are described before they exist.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::{
    BuildError, Client, Connection, Events, TokenError, TokenRequest,
    handle::is_json,
    machine::{Backoff, Introduction, Machine, Random, Timing},
    token::TokenSource,
    transport::{Address, Authorities, Connector, Network},
};
use crate::model::{Encoding, Secret, StreamPosition};

/// What a subscription should be able to do. The server may grant more or less.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
#[must_use]
pub struct SubscribeOptions {
    pub(super) recover: bool,
    pub(super) positioned: bool,
    pub(super) join_leave: bool,
    pub(super) deltas: bool,
    pub(super) token: SubscriptionToken,
    pub(super) since: Option<StreamPosition>,
    pub(super) data: Bytes,
}

/// The token to subscribe with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum SubscriptionToken {
    /// The channel needs none.
    #[default]
    None,
    Known(Secret),
    /// The token source is to be asked.
    FromSource,
}

impl SubscribeOptions {
    /// A plain subscription.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for what was missed after every loss of the connection.
    pub const fn recover(mut self) -> Self {
        self.recover = true;
        self
    }

    /// Asks the server to watch for gaps.
    pub const fn positioned(mut self) -> Self {
        self.positioned = true;
        self
    }

    /// Asks for joins and leaves.
    pub const fn join_leave(mut self) -> Self {
        self.join_leave = true;
        self
    }

    /// Asks for deltas: what a publication has in common with the one before is not sent again. What arrives are whole
    /// payloads as ever. Needs [`SubscribeOptions::recover`] or [`SubscribeOptions::positioned`] to have an effect.
    pub const fn deltas(mut self) -> Self {
        self.deltas = true;
        self
    }

    /// A subscription token. When it expires, the client's token source is asked for another one, if there is one.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = SubscriptionToken::Known(Secret::from(token.into()));
        self
    }

    /// Asks the client's token source for the subscription token.
    pub fn token_from_source(mut self) -> Self {
        self.token = SubscriptionToken::FromSource;
        self
    }

    /// Begins with what was published after this position.
    pub fn since(mut self, position: StreamPosition) -> Self {
        self.since = Some(position);
        self
    }

    /// Data for the application's subscribe handler.
    pub fn data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = data.into();
        self
    }
}

/// Bounds of a client's queues; none of them ever drops anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Events per subscription, and of the connection, that the application has not taken yet. Full: the client stops reading.
    pub(super) events: usize,
    /// Calls without an answer, and commands not written yet. Full: callers wait.
    pub(super) calls: usize,
}

/// Describes a client; [`Builder::build`] makes it.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    url: String,
    encoding: Encoding,
    authorities: Option<Authorities>,
    introduction: Introduction,
    source: Option<TokenSource>,
    timing: Timing,
    limits: Limits,
    message_size_limit: usize,
}

impl Builder {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            encoding: Encoding::Protobuf,
            authorities: None,
            introduction: Introduction {
                name: "rust".to_owned(),
                ..Introduction::default()
            },
            source: None,
            timing: Timing {
                backoff: Backoff {
                    min: Duration::from_millis(500),
                    max: Duration::from_secs(20),
                },
                answer: Duration::from_secs(5),
                open: Duration::from_secs(5),
                silence: Duration::from_secs(10),
            },
            limits: Limits {
                events: 256,
                calls: 1024,
            },
            message_size_limit: 16 << 20,
        }
    }

    /// The connection token to begin with.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.introduction.token = Some(Secret::from(token.into()));
        self
    }

    /// An asynchronous function that gives tokens: before the first connect when there is no [`Builder::token`],
    /// shortly before a token ends, and when the server says that one has ended.
    ///
    /// ```no_run
    /// use centripetal::client::{Client, TokenError, TokenRequest};
    ///
    /// # async fn ask_backend(_: TokenRequest) -> Result<String, std::io::Error> { Ok(String::new()) }
    /// # fn example() -> Result<(), centripetal::client::BuildError> {
    /// let (client, events) = Client::builder("wss://example.com")
    ///     .token_source(|request| async move {
    ///         ask_backend(request).await.map_err(TokenError::failed)
    ///     })
    ///     .build()?;
    /// # drop((client, events));
    /// # Ok(())
    /// # }
    /// ```
    pub fn token_source<F, R>(mut self, source: F) -> Self
    where
        F: Fn(TokenRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        self.introduction.token_source = true;
        self.source = Some(TokenSource::new(source));
        self
    }

    /// Name of the application, for the server's statistics.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.introduction.name = name.into();
        self
    }

    /// Version of the application.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.introduction.version = version.into();
        self
    }

    /// Data for the application's connect handler.
    pub fn data(mut self, data: impl Into<Bytes>) -> Self {
        self.introduction.data = data.into();
        self
    }

    /// Speaks JSON instead of Protobuf. WebSocket only.
    pub const fn json(mut self) -> Self {
        self.encoding = Encoding::Json;
        self
    }

    /// Trusts the certificate authorities of a PEM file in addition to those of the operating system.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Result<Self, BuildError> {
        let pem = std::fs::read(path).map_err(|e| BuildError::Authorities(Arc::new(e)))?;
        self.authorities = Some(Authorities::new(pem));
        Ok(self)
    }

    /// Shortest and longest wait between attempts to connect (500 ms and 20 s), with full jitter.
    pub const fn reconnect_delay(mut self, min: Duration, max: Duration) -> Self {
        self.timing.backoff = Backoff { min, max };
        self
    }

    /// Time limit of every answer (5 s).
    pub const fn answer_timeout(mut self, limit: Duration) -> Self {
        self.timing.answer = limit;
        self
    }

    /// Time limit to open a connection (5 s).
    pub const fn open_timeout(mut self, limit: Duration) -> Self {
        self.timing.open = limit;
        self
    }

    /// Silence allowed beyond the server's ping interval (10 s).
    pub const fn silence_limit(mut self, limit: Duration) -> Self {
        self.timing.silence = limit;
        self
    }

    /// Events that may wait for the application, per subscription and for the connection (256).
    /// When as many wait, the client stops reading from the server.
    pub const fn event_queue(mut self, events: usize) -> Self {
        self.limits.events = events;
        self
    }

    /// Calls that may wait for an answer (1024). When as many wait, further callers wait for their turn.
    pub const fn call_limit(mut self, calls: usize) -> Self {
        self.limits.calls = calls;
        self
    }

    /// Largest message accepted from the server, bytes (16 MiB).
    pub const fn message_size_limit(mut self, bytes: usize) -> Self {
        self.message_size_limit = bytes;
        self
    }

    /// Makes the client, disconnected, and the stream of its events. Drop the events if you do not want them.
    ///
    /// # Errors
    /// When the address, the certificate authorities or a limit cannot be used, or outside of a tokio runtime.
    pub fn build(self) -> Result<(Client, Events), BuildError> {
        let address = Address::parse(&self.url, self.encoding)?;
        let data = &self.introduction.data;
        if self.encoding == Encoding::Json && !data.is_empty() && !is_json(data) {
            return Err(BuildError::NotJson);
        }
        let limit = self.message_size_limit;
        let network = Network::new(address, self.authorities.as_ref(), limit)?;
        let introduction = Introduction {
            json: self.encoding == Encoding::Json,
            ..self.introduction
        };
        let machine = Machine::new(self.timing, introduction, random());
        let (mut client, events) = start(machine, network, self.source, self.limits)?;
        client.encoding = self.encoding;
        Ok((client, events))
    }
}

/// Starts the task of a connection.
pub(super) fn start<C: Connector>(
    machine: Machine,
    connector: C,
    source: Option<TokenSource>,
    limits: Limits,
) -> Result<(Client, Events), BuildError> {
    if limits.events == 0 || limits.calls == 0 {
        return Err(BuildError::Limits);
    }
    let runtime = Handle::try_current().map_err(BuildError::Runtime)?;
    let (asks, inbox) = mpsc::channel(limits.calls.min(QUEUE));
    let (tell, events) = mpsc::channel(limits.events);
    let connection = Connection::new(machine, connector, source, limits, tell);
    let tasks = TaskTracker::new();
    let span = tracing::debug_span!("client");
    tasks.spawn_on(connection.run(inbox).instrument(span), &runtime);
    tasks.close();
    let client = Client {
        asks,
        permits: Arc::new(Semaphore::new(limits.calls.min(Semaphore::MAX_PERMITS))),
        tasks,
        encoding: Encoding::Protobuf,
    };
    Ok((client, Events { events }))
}

/// Room between handles and the connection's task; calls are bounded before they come here.
const QUEUE: usize = 64;

fn random() -> Random {
    use rand::RngExt as _;
    Box::new(|| rand::rng().random_range(0.0..1.0))
}
