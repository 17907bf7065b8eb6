//! What can go wrong for an application, and what stops a client from being built.

use std::{error::Error as StdError, sync::Arc};

use crate::model::{Channel, ClientError};

use super::token::TokenError;

/// A failed call, attempt to connect or subscription.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered with an error.
    #[error("error {}: {}", .0.code, .0.message)]
    Server(ClientError),
    /// The server closed the connection instead of answering the connect command.
    #[error("server closed the connection: {reason} ({code})")]
    Disconnected {
        /// Disconnect code.
        code: u32,
        /// Human text.
        reason: String,
    },
    /// The server did not answer in time; whether it carried out the command is unknown.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke before the answer came; whether the server carried out the command is unknown.
    #[error("connection lost before the answer")]
    ConnectionLost,
    /// The client is disconnected and does not try to connect.
    #[error("not connected")]
    NotConnected,
    /// The client has been closed.
    #[error("client is closed")]
    Closed,
    /// The channel has a subscription of this client already.
    #[error("already subscribed to {0}")]
    AlreadySubscribed(Channel),
    /// The server cannot be reached, or the connection broke.
    #[error("transport failed")]
    Transport(#[source] Arc<dyn StdError + Send + Sync>),
    /// The token source failed.
    #[error("no token")]
    Token(#[source] TokenError),
    /// The connection speaks JSON and the payload is not JSON; nothing was sent.
    #[error("payload is not json")]
    NotJson,
    /// The server sent something that does not fit the protocol.
    #[error("malformed answer")]
    Protocol,
}

impl Error {
    /// Wraps the failure of a transport.
    pub(super) fn transport(source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Transport(Arc::new(source))
    }

    /// True when nothing listens at the address.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let Self::Transport(source) = self else {
            return false;
        };
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&**source);
        while let Some(error) = cause {
            let refused = error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused);
            if refused {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// True when the same command may succeed later: the server said so, or nobody answered.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Server(error) => error.temporary || error.code < 100,
            Self::Timeout | Self::ConnectionLost | Self::Transport(_) => true,
            _ => false,
        }
    }
}

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The address cannot be read.
    #[error("invalid address")]
    Url(#[source] http::uri::InvalidUri),
    /// The address has no host, or a scheme other than `grpc`, `grpcs`, `ws` and `wss`.
    #[error("address must look like grpc://host:port, grpcs://…, ws://… or wss://…")]
    Scheme,
    /// gRPC carries Protobuf only.
    #[error("grpc has no json encoding")]
    Encoding,
    /// The connection is to speak JSON and the data for the connect handler is not JSON.
    #[error("data is not json")]
    NotJson,
    /// The file with certificate authorities cannot be used.
    #[error("certificate authorities cannot be used")]
    Authorities(#[source] Arc<dyn StdError + Send + Sync>),
    /// A queue setting is zero.
    #[error("a queue needs room for at least one element")]
    Limits,
    /// There is no tokio runtime to run the connection on.
    #[error("no tokio runtime")]
    Runtime(#[source] tokio::runtime::TryCurrentError),
}
