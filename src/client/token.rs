//! Where new tokens come from.

use std::{error::Error as StdError, fmt, future::Future, pin::Pin, sync::Arc};

use crate::model::Channel;

/// What a token is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenRequest {
    /// A connection token.
    Connection,
    /// A subscription token of this channel.
    Subscription(Channel),
}

/// Why there is no token.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The user may not connect or subscribe: the client gives up.
    #[error("unauthorized")]
    Unauthorized,
    /// The source failed for now: the client tries again.
    #[error("token source failed")]
    Failed(#[source] Arc<dyn StdError + Send + Sync>),
}

impl TokenError {
    /// A failure that may pass.
    #[must_use]
    pub fn failed(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(source.into()))
    }
}

pub(super) type Fetch = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>>;

/// An asynchronous function that gives tokens. Cloning is a reference count.
#[derive(Clone)]
pub(super) struct TokenSource(Arc<dyn Fn(TokenRequest) -> Fetch + Send + Sync>);

impl TokenSource {
    pub(super) fn new<F, R>(source: F) -> Self
    where
        F: Fn(TokenRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(source(request))))
    }

    pub(super) fn fetch(&self, request: TokenRequest) -> Fetch {
        (self.0)(request)
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}
