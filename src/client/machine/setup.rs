//! What a machine is given: time limits, an introduction, randomness; and the codes that no server sends.

use std::time::Duration;

use bytes::Bytes;

use super::{super::Error, Backoff};
use crate::model::Secret;

/// The client must drop all state and positions (client-protocol.md 6.2).
pub(super) const STATE_INVALIDATED: u32 = 3014;

/// Why a client connects or ends that is no code of the server (as the official SDKs number them).
pub(super) mod local {
    pub(in super::super) const CALLED: u32 = 0;
    pub(in super::super) const TRANSPORT_CLOSED: u32 = 1;
    pub(in super::super) const UNAUTHORIZED: u32 = 1;
    pub(in super::super) const NO_PING: u32 = 2;
    pub(in super::super) const BAD_PROTOCOL: u32 = 2;
    pub(in super::super) const SUBSCRIBE_TIMEOUT: u32 = 3;
    pub(in super::super) const MESSAGE_TOO_LARGE: u32 = 3;
    pub(in super::super) const UNSUBSCRIBE_ERROR: u32 = 4;
}

/// Time limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Between attempts to connect, and to subscribe.
    pub(crate) backoff: Backoff,
    /// Until a command must be answered.
    pub(crate) answer: Duration,
    /// Until a transport must be open.
    pub(crate) open: Duration,
    /// Silence allowed beyond the ping interval.
    pub(crate) silence: Duration,
}

/// What a client tells of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Introduction {
    pub(crate) token: Option<Secret>,
    /// There is a token source to ask.
    pub(crate) token_source: bool,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) data: Bytes,
    /// The connection speaks JSON, where payloads of subscriptions with deltas are strings.
    pub(crate) json: bool,
}

/// A source of random numbers of [0, 1).
pub(crate) type Random = Box<dyn FnMut() -> f64 + Send>;

/// Why a transport is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loss {
    /// Disconnect code of the server; 0 when there was none.
    pub(crate) code: u32,
    /// Human text.
    pub(crate) reason: String,
    /// What the transport says about it.
    pub(crate) error: Option<Error>,
}

impl Loss {
    /// The transport failed without a word of the server.
    pub(crate) fn of(error: Error) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }
}
