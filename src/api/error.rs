//! The numbered errors of the server API (server-api.md 6), and how each looks in transport error mode over HTTP.
//!
//! One of the two places where errors of the node change family; the gRPC side of the table is in `grpc`.

use axum::http::StatusCode;
use serde::Serialize;

use super::json;
use crate::node;

/// A failed command. The number and the text are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// 100: broker, engine, survey or another unexpected failure; the only one worth a retry.
    #[error("internal server error")]
    Internal,
    /// 102: the namespace of the channel is not configured.
    #[error("unknown channel")]
    UnknownChannel,
    /// 104: no such method, RPC method or command.
    #[error("not found")]
    NotFound,
    /// 107: a missing or malformed argument.
    #[error("bad request")]
    BadRequest,
    /// 108: the feature is off for the channel.
    #[error("not available")]
    NotAvailable,
    /// 112: the position belongs to another epoch.
    #[error("unrecoverable position")]
    UnrecoverablePosition,
}

impl Error {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Internal => 100,
            Self::UnknownChannel => 102,
            Self::NotFound => 104,
            Self::BadRequest => 107,
            Self::NotAvailable => 108,
            Self::UnrecoverablePosition => 112,
        }
    }

    /// Status in transport error mode.
    pub(super) const fn http_status(self) -> StatusCode {
        match self {
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UnknownChannel | Self::NotFound => StatusCode::NOT_FOUND,
            Self::BadRequest | Self::NotAvailable => StatusCode::BAD_REQUEST,
            Self::UnrecoverablePosition => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }
}

impl From<&node::Error> for Error {
    fn from(error: &node::Error) -> Self {
        match error {
            node::Error::UnknownChannel => Self::UnknownChannel,
            node::Error::BadRequest => Self::BadRequest,
            node::Error::NotAvailable => Self::NotAvailable,
            node::Error::UnrecoverablePosition => Self::UnrecoverablePosition,
            node::Error::Internal(_) | node::Error::Pattern(_) => Self::Internal,
        }
    }
}

/// An error as it is written.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct Failure {
    /// Number.
    #[prost(uint32, tag = "1")]
    #[serde(skip_serializing_if = "json::zero")]
    pub code: u32,
    /// Text.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
        }
    }
}
