//! What can go wrong between this process and Redis, in words that say what to do.

use std::{sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::address::AddressError;

/// Longest part of an answer of Redis that is repeated.
const DETAIL_MAX: usize = 200;

/// Redis did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// An address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No connection could be made.
    #[error("cannot connect to Redis at {address}: {why}")]
    Connect {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
    /// User or password is wrong.
    #[error(
        "Redis at {address} refuses user or password: {why}; check user and password of the Redis section"
    )]
    Login {
        /// Where.
        address: String,
        /// What Redis says.
        why: String,
    },
    /// No answer within the time limit. What was asked may have been done.
    #[error("no answer from Redis within {0:?}; what was asked may have been done")]
    Timeout(Duration),
    /// The connection ended before the answer. What was asked may have been done.
    #[error("connection to Redis lost: {0}; what was asked may have been done")]
    Lost(String),
    /// Redis is out of memory.
    #[error("Redis is out of memory and refuses to write; raise its maxmemory")]
    OutOfMemory,
    /// Redis says no.
    #[error("Redis refuses: {0}")]
    Refused(String),
    /// An answer nobody expects.
    #[error("unexpected answer from Redis to {0}")]
    Odd(&'static str),
    /// The connection for PUB/SUB is being made anew.
    #[error("the connection to Redis for PUB/SUB is not there at present")]
    Deaf,
    /// No sentinel knows a master.
    #[error("no sentinel knows a master called {0}; check sentinel_master_name and the sentinels")]
    NoMaster(String),
    /// TLS settings cannot be used.
    #[error("TLS to Redis: {0}")]
    Tls(String),
    /// An option that this server cannot serve.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A metric has a name that is taken.
    #[error("cannot register metrics: {0}")]
    Metrics(Arc<prometheus::Error>),
}

impl From<prometheus::Error> for Failure {
    fn from(error: prometheus::Error) -> Self {
        Self::Metrics(Arc::new(error))
    }
}

impl Failure {
    /// A failed command.
    pub(super) fn of_command(error: &RedisError, limit: Duration) -> Self {
        if error.is_timeout() {
            return Self::Timeout(limit);
        }
        if lost(error) {
            return Self::Lost(detail(error));
        }
        if error.code() == Some("OOM") {
            return Self::OutOfMemory;
        }
        Self::Refused(detail(error))
    }

    /// A connection that could not be made.
    pub(super) fn of_greeting(error: &RedisError, address: String) -> Self {
        let why = detail(error);
        let refused = matches!(error.kind(), ErrorKind::AuthenticationFailed)
            || matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM"));
        if refused {
            Self::Login { address, why }
        } else {
            Self::Connect { address, why }
        }
    }
}

/// Whether the connection is of no use any more.
pub(super) fn lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error()
}

/// Whether a server has become a replica, or is not ready to serve: its master has to be looked for.
pub(super) fn demoted(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    )
}

/// What Redis says. Its answer to an unknown command repeats arguments, which are payloads: those are cut off.
pub(super) fn detail(error: &RedisError) -> String {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    let text = text.split(", with args").next().unwrap_or_default();
    text.chars().take(DETAIL_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: &str, detail: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
    }

    #[test]
    fn arguments_are_not_repeated() {
        let error = told(
            "ERR",
            "unknown command 'X', with args beginning with: 'payload'",
        );
        assert_eq!(detail(&error), "ERR unknown command 'X'");
        assert!(detail(&told("ERR", &"x".repeat(1000))).len() <= DETAIL_MAX);
    }

    #[test]
    fn answers_become_what_to_do() {
        let limit = Duration::from_secs(4);
        assert!(matches!(
            Failure::of_command(&told("OOM", "command not allowed"), limit),
            Failure::OutOfMemory
        ));
        assert!(matches!(
            Failure::of_greeting(&told("WRONGPASS", "invalid"), "x".to_owned()),
            Failure::Login { .. }
        ));
    }
}
