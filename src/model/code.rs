//! The numbered answers a client can see: errors, disconnects, unsubscribes (client-protocol.md 6).

use std::borrow::Cow;

/// Error of one command; the connection goes on (client-protocol.md 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// Number, never 0.
    pub code: u32,
    /// Human text, never empty.
    pub message: Cow<'static, str>,
    /// A later retry makes sense.
    pub temporary: bool,
}

impl ClientError {
    /// 100: something failed on the server.
    pub const INTERNAL: Self = Self::fixed(100, "internal server error", true);
    /// 101: the application refused.
    pub const UNAUTHORIZED: Self = Self::fixed(101, "unauthorized", false);
    /// 102: the namespace of the channel does not exist.
    pub const UNKNOWN_CHANNEL: Self = Self::fixed(102, "unknown channel", false);
    /// 103: not allowed.
    pub const PERMISSION_DENIED: Self = Self::fixed(103, "permission denied", false);
    /// 104: no such method.
    pub const METHOD_NOT_FOUND: Self = Self::fixed(104, "method not found", false);
    /// 105: the channel is subscribed already, or about to be.
    pub const ALREADY_SUBSCRIBED: Self = Self::fixed(105, "already subscribed", false);
    /// 106: too many channels.
    pub const LIMIT_EXCEEDED: Self = Self::fixed(106, "limit exceeded", false);
    /// 107: a parameter is malformed.
    pub const BAD_REQUEST: Self = Self::fixed(107, "bad request", false);
    /// 108: the feature is off.
    pub const NOT_AVAILABLE: Self = Self::fixed(108, "not available", false);
    /// 109: the token has expired, a new one is wanted.
    pub const TOKEN_EXPIRED: Self = Self::fixed(109, "token expired", false);
    /// 110: the expiration has passed already.
    pub const EXPIRED: Self = Self::fixed(110, "expired", false);
    /// 111: rate limit.
    pub const TOO_MANY_REQUESTS: Self = Self::fixed(111, "too many requests", true);
    /// 112: the stream cannot be continued from the given position.
    pub const UNRECOVERABLE_POSITION: Self = Self::fixed(112, "unrecoverable position", false);
    /// 113: a page of the same channel is being read.
    pub const CONCURRENT_PAGINATION: Self = Self::fixed(113, "concurrent pagination", true);

    const fn fixed(code: u32, message: &'static str, temporary: bool) -> Self {
        Self {
            code,
            message: Cow::Borrowed(message),
            temporary,
        }
    }
}

/// Reason to close a connection (client-protocol.md 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Number as seen by SDKs.
    pub code: u32,
    /// Human text.
    pub reason: Cow<'static, str>,
}

impl Disconnect {
    /// 3000: the peer went away; never sent.
    pub const CONNECTION_CLOSED: Self = Self::fixed(3000, "connection closed");
    /// 3001: this node stops.
    pub const SHUTDOWN: Self = Self::fixed(3001, "shutdown");
    /// 3004: something failed on the server.
    pub const SERVER_ERROR: Self = Self::fixed(3004, "internal server error");
    /// 3005: the token ran out and was not refreshed.
    pub const EXPIRED: Self = Self::fixed(3005, "connection expired");
    /// 3006: a server-side (or V1) subscription ran out.
    pub const SUBSCRIPTION_EXPIRED: Self = Self::fixed(3006, "subscription expired");
    /// 3008: the peer does not read fast enough.
    pub const SLOW: Self = Self::fixed(3008, "slow");
    /// 3009: writing failed or took too long.
    pub const WRITE_ERROR: Self = Self::fixed(3009, "write error");
    /// 3010: a position was lost.
    pub const INSUFFICIENT_STATE: Self = Self::fixed(3010, "insufficient state");
    /// 3011: asked to reconnect.
    pub const FORCE_RECONNECT: Self = Self::fixed(3011, "force reconnect");
    /// 3012: a ping was not answered.
    pub const NO_PONG: Self = Self::fixed(3012, "no pong");
    /// 3013: rate limit.
    pub const TOO_MANY_REQUESTS: Self = Self::fixed(3013, "too many requests");
    /// 3500: the token or the credentials are wrong.
    pub const INVALID_TOKEN: Self = Self::fixed(3500, "invalid token");
    /// 3501: the protocol was violated.
    pub const BAD_REQUEST: Self = Self::fixed(3501, "bad request");
    /// 3502: not connected in time.
    pub const STALE: Self = Self::fixed(3502, "stale");
    /// 3503: closed by the server API.
    pub const FORCE_DISCONNECT: Self = Self::fixed(3503, "force disconnect");
    /// 3504: too many connections of the user.
    pub const CONNECTION_LIMIT: Self = Self::fixed(3504, "connection limit");
    /// 3505: too many server-side channels.
    pub const CHANNEL_LIMIT: Self = Self::fixed(3505, "channel limit");
    /// 3506: a payload cannot be written in the encoding of the connection.
    pub const INAPPROPRIATE_PROTOCOL: Self = Self::fixed(3506, "inappropriate protocol");
    /// 3507: refused.
    pub const PERMISSION_DENIED: Self = Self::fixed(3507, "permission denied");
    /// 3508: a message was sent and nobody handles it.
    pub const NOT_AVAILABLE: Self = Self::fixed(3508, "not available");
    /// 3509: too many errors.
    pub const TOO_MANY_ERRORS: Self = Self::fixed(3509, "too many errors");

    const fn fixed(code: u32, reason: &'static str) -> Self {
        Self {
            code,
            reason: Cow::Borrowed(reason),
        }
    }

    /// The same with a reason that every transport can carry: at most 123 bytes, cut between two characters
    /// (client-protocol.md 6.2).
    #[must_use]
    pub fn cut(mut self) -> Self {
        let end = self.reason.floor_char_boundary(123);
        if end < self.reason.len() {
            self.reason.to_mut().truncate(end);
        }
        self
    }

    /// True when an SDK may connect again by itself: below 3500, 4000–4499, 5000 and above.
    #[must_use]
    pub const fn reconnect(&self) -> bool {
        self.code < 3500 || (self.code >= 4000 && self.code < 4500) || self.code >= 5000
    }
}

/// Reason to end one subscription (client-protocol.md 6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Below 2500 the subscription ends, from 2500 on the SDK subscribes again.
    pub code: u32,
    /// Human text.
    pub reason: Cow<'static, str>,
}

impl Unsubscribe {
    /// 2000: ended by the server API.
    pub const SERVER: Self = Self::fixed(2000, "server unsubscribe");
    /// 2500: the position was lost; subscribe again with recovery.
    pub const INSUFFICIENT_STATE: Self = Self::fixed(2500, "insufficient state");
    /// 2501: not refreshed in time; subscribe again with a new token.
    pub const EXPIRED: Self = Self::fixed(2501, "subscription expired");

    const fn fixed(code: u32, reason: &'static str) -> Self {
        Self {
            code,
            reason: Cow::Borrowed(reason),
        }
    }
}

/// Put into the extensions of a request whose credentials are wrong, by whoever looked at them (gateway.md 2).
/// The transport completes its handshake and closes with this, because SDKs cannot see an HTTP status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Disconnect);

/// How a question of a client is refused: an error reply, or the end of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The command fails, the connection goes on.
    Error(ClientError),
    /// The connection is closed.
    Disconnect(Disconnect),
}

impl From<ClientError> for Rejection {
    fn from(error: ClientError) -> Self {
        Self::Error(error)
    }
}

impl From<Disconnect> for Rejection {
    fn from(disconnect: Disconnect) -> Self {
        Self::Disconnect(disconnect)
    }
}
