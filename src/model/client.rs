//! Who is connected: identifiers, client info, credentials, and what a transport knows of its peer.

use std::{fmt, net::IpAddr, sync::Arc};

use bytes::Bytes;

use super::Disconnect;

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// True for the empty identifier.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

text_id! {
    /// Identifier of one connection, a UUID; visible to other clients.
    ClientId
}
text_id! {
    /// Identifier of a user; empty for anonymous connections.
    UserId
}
text_id! {
    /// Identifier of a node, a UUID.
    NodeId
}

/// What others see of a client in presence, joins, leaves and its publications (client-protocol.md 1.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// User of the connection, empty for anonymous.
    pub user: UserId,
    /// Connection identifier.
    pub client: ClientId,
    /// Info attached to the connection by its token or credentials; empty when there is none.
    pub conn_info: Bytes,
    /// Info attached to the subscription; empty when there is none.
    pub chan_info: Bytes,
}

/// A verified identity (gateway.md 2). An embedder may put one into the extensions of a request;
/// the interceptor does so for tokens and HMAC credentials found in metadata or headers.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// User of the connection, empty for anonymous.
    pub user: UserId,
    /// Expiration in Unix seconds; `None` never expires.
    pub expire_at: Option<i64>,
    /// Info other clients see as `conn_info`; empty for none. Must be JSON for JSON connections.
    pub info: Bytes,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Request extension: the name in the client's verified certificate (gateway.md 2, row 3). Put there by a listener that
/// verifies certificates and was told which name counts; an embedder's listener may do the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified(pub UserId);

/// Generation of the client protocol (client-protocol.md 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// `method` and `params` in, `result` out; the SDKs of 2018 to 2021.
    V1,
    /// One typed field per request and result; the SDKs of today.
    V2,
}

/// Encoding of the messages of a connection, fixed by its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encoding {
    /// JSON objects separated by line feeds.
    Json,
    /// Protobuf messages behind their length (none on gRPC).
    Protobuf,
}

/// Which way messages go on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Commands and pushes over the transport itself.
    #[default]
    Both,
    /// Pushes over the transport, commands by requests that name the session (client-protocol.md 3.5).
    Emulated,
    /// Pushes only, after one connect request (client-protocol.md 3.9).
    Push,
}

/// What a transport knows of the other end before the first command.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Name of the transport as in metrics and logs: `websocket`, `grpc`, …
    pub transport: &'static str,
    /// Encoding chosen by the handshake.
    pub encoding: Encoding,
    /// Protocol generation when the request named one; otherwise the first command decides.
    pub version: Option<Version>,
    /// Address of the peer, behind trusted proxies the one they report.
    pub address: Option<IpAddr>,
    /// Credentials found in the request by an interceptor or set by an embedder.
    pub credentials: Option<Credentials>,
    /// Its credentials were wrong: the connection is closed with this before anything is read.
    pub refused: Option<Disconnect>,
    /// Name in its verified certificate: the user, unless the connect command or the request has credentials.
    pub certified: Option<UserId>,
    /// User identifier from the header named by `client.user_id_http_header`, when present.
    pub user_header: Option<UserId>,
    /// Request headers or metadata kept for proxies; empty unless some proxy forwards them.
    pub headers: Arc<[(String, String)]>,
}
