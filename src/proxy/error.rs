//! What can go wrong: options that cannot be used, and backends that do not answer as they should.

use super::TlsError;

/// Why proxies cannot be made. Every one of these stops the start.
#[derive(Debug, thiserror::Error)]
#[error("in {place}: {why}")]
pub struct Unusable {
    pub(super) place: String,
    pub(super) why: Error,
}

/// What is wrong with one proxy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No address.
    #[error("endpoint not set")]
    NoEndpoint,
    /// Not an address.
    #[error("endpoint is not an address")]
    Address,
    /// The time limit is zero.
    #[error("timeout not set")]
    NoTimeout,
    /// No header can be called so.
    #[error("{0:?} cannot be the name of a header")]
    Name(String),
    /// A constant header has a value that cannot be sent; it is not shown.
    #[error("the value of header {0:?} cannot be sent")]
    Value(String),
    /// TLS options.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
}

/// Why proxies are not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The options of one.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// A metric is registered already.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// The backend did not answer as it should (proxy.md 7). The client learns nothing of it but error 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// All places are taken, and all places to wait as well, or the turn did not come in time.
    #[error("too many questions at a time, see centripetal.proxy.concurrency")]
    Busy,
    /// No answer in time.
    #[error("no answer within the timeout")]
    Timeout,
    /// No connection.
    #[error("the backend cannot be reached")]
    Connect,
    /// The connection broke before the answer was complete.
    #[error("the connection to the backend broke")]
    Broken,
    /// An HTTP status other than 200.
    #[error("the backend answered with HTTP status {0}")]
    Status(u16),
    /// A gRPC status other than OK.
    #[error("the backend answered with gRPC status {0}")]
    Grpc(i32),
    /// The answer is longer than allowed.
    #[error("the answer is larger than centripetal.proxy.max_response_size")]
    TooLarge,
    /// The answer cannot be understood.
    #[error("the answer cannot be decoded")]
    Decode,
    /// The question cannot be written: a payload is not JSON.
    #[error("a payload is not JSON; use binary_encoding")]
    Encode,
}

impl Failure {
    /// Label values.
    pub(super) const REASONS: [&'static str; 9] = [
        "busy",
        "timeout",
        "connect",
        "broken",
        "status",
        "grpc_status",
        "too_large",
        "decode",
        "encode",
    ];

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Busy => 0,
            Self::Timeout => 1,
            Self::Connect => 2,
            Self::Broken => 3,
            Self::Status(_) => 4,
            Self::Grpc(_) => 5,
            Self::TooLarge => 6,
            Self::Decode => 7,
            Self::Encode => 8,
        }
    }
}
