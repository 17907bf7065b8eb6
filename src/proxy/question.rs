//! A question to the backend, before it has a form (proxy.md 2, 8 to 14).

use bytes::Bytes;

use crate::{
    hooks::Client,
    model::{Channel, Encoding},
};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// May it connect?
    Connect,
    /// May an expired connection go on?
    Refresh,
    /// May it subscribe?
    Subscribe,
    /// May it publish?
    Publish,
    /// May an expired subscription go on?
    SubRefresh,
    /// Feed a subscription.
    SubscribeStream,
    /// Answer a call.
    Rpc,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::Connect,
        Self::Refresh,
        Self::Subscribe,
        Self::Publish,
        Self::SubRefresh,
        Self::SubscribeStream,
        Self::Rpc,
    ];

    /// Those that named proxies answer, each with a default proxy of its own.
    pub(super) const SHARED: [Self; 5] = [
        Self::Subscribe,
        Self::Publish,
        Self::SubRefresh,
        Self::SubscribeStream,
        Self::Rpc,
    ];

    /// Label value and word of log lines.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Refresh => "refresh",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::SubRefresh => "sub_refresh",
            Self::SubscribeStream => "subscribe_stream",
            Self::Rpc => "rpc",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// A question about one connection. Fields that its kind does not have stay empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The connection.
    pub(crate) client: &'a Client,
    /// Emulated headers it brought.
    pub(crate) emulated: &'a [(String, String)],
    /// Payload of the command; empty for none.
    pub(crate) data: &'a Bytes,
    /// Channel.
    pub(crate) channel: &'a str,
    /// Method of a call.
    pub(crate) method: &'a str,
    /// What the connect command says of the client.
    pub(crate) introduction: Introduction<'a>,
}

/// What a connect command says of the client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Introduction<'a> {
    /// SDK or application name.
    pub(crate) name: &'a str,
    /// Application version.
    pub(crate) version: &'a str,
    /// Channels it asks for.
    pub(crate) channels: &'a [Channel],
}

impl<'a> Question<'a> {
    /// About this connection, with a payload.
    #[must_use]
    pub(crate) fn about(client: &'a Client, data: &'a Bytes) -> Self {
        Self {
            client,
            emulated: &client.emulated,
            data,
            channel: "",
            method: "",
            introduction: Introduction::default(),
        }
    }

    /// The protocol of the connection, as backends know it.
    pub(super) fn protocol(&self) -> &'static str {
        match self.client.peer.encoding {
            Encoding::Json => "json",
            Encoding::Protobuf => "protobuf",
        }
    }
}

/// How payloads are carried, which is up to the proxy's options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carriage {
    /// Payloads are base64.
    pub(super) binary: bool,
    /// The connection's meta goes along.
    pub(super) meta: bool,
}

impl Carriage {
    pub(super) const fn encoding(self) -> &'static str {
        if self.binary { "binary" } else { "json" }
    }
}
