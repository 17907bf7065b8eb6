//! The [`Link`] over one gRPC stream. Many of them share a connection; ending one never disturbs another.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, Streaming};

use super::{
    StreamScope,
    status::{Failure, failure, last},
};
use crate::{
    model::{Direction, Disconnect},
    node::{Close, Inbound, Link, LinkTraits},
    protocol::frame::{Framing, Kind},
    transport::outlet::Outlet,
};

/// What all links of a service share.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) message_size_limit: usize,
    pub(super) write_timeout: Duration,
    /// Longest wait until the peer has taken the end of a stream.
    pub(super) end_wait: Duration,
}

/// What ends a stream from outside, where it is set at all.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// The deadline the peer has set.
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
    /// The connection has become too old.
    pub(super) aged: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// One stream.
#[derive(Debug)]
pub(super) struct GrpcLink {
    pub(super) commands: Streaming<Bytes>,
    pub(super) outlet: Outlet<Status>,
    pub(super) limits: Limits,
    pub(super) scope: Option<StreamScope>,
    pub(super) settings: Arc<Settings>,
    /// Longest time in which the peer takes nothing.
    pub(super) write_timeout: Duration,
    pub(super) failure: Option<Failure>,
}

impl GrpcLink {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Inbound, Disconnect>> {
        if let Some(deadline) = &mut self.limits.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            self.failure = Some(Failure::Deadline);
            return Poll::Ready(Err(Disconnect::CONNECTION_CLOSED));
        }
        if let Some(aged) = &mut self.limits.aged
            && aged.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(Disconnect::FORCE_RECONNECT));
        }
        Poll::Ready(match ready!(Pin::new(&mut self.commands).poll_next(cx)) {
            Some(Ok(command)) => Ok(Inbound::Frame(command, Kind::Binary)),
            None => Err(Disconnect::CONNECTION_CLOSED),
            Some(Err(status)) => {
                self.failure = failure(&status);
                Err(match self.failure {
                    Some(_) => Disconnect::BAD_REQUEST,
                    None => Disconnect::CONNECTION_CLOSED,
                })
            }
        })
    }
}

impl Link for GrpcLink {
    fn traits(&self) -> LinkTraits {
        LinkTraits {
            framing: Framing::None,
            message_size_limit: self.settings.message_size_limit,
            close_carries_reason: false,
            discards_after_refusal: false,
            native_ping: false,
            direction: Direction::Both,
        }
    }

    fn be_patient(&mut self, longest: Duration) {
        self.write_timeout = self.write_timeout.max(longest);
    }

    fn recv(&mut self) -> impl Future<Output = Result<Inbound, Disconnect>> + Send {
        poll_fn(|cx| self.poll_recv(cx))
    }

    async fn send(&mut self, batch: &mut Vec<Bytes>) -> Result<(), Disconnect> {
        if batch.is_empty() {
            return Ok(());
        }
        let sent = self.outlet.send(batch, self.write_timeout).await;
        batch.clear();
        sent.map_err(|_stuck| Disconnect::WRITE_ERROR)
    }

    async fn close(self, close: Close) {
        let word = last(&close, self.failure);
        // A peer that reads has this at once; one that does not would keep stream and memory for as long as it likes.
        let Settings {
            write_timeout,
            end_wait,
            ..
        } = *self.settings;
        let ended = self.outlet.end(word, write_timeout, end_wait).await;
        if ended.is_err()
            && let Some(scope) = self.scope
        {
            scope.abort();
        }
    }
}
