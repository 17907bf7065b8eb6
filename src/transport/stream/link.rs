//! The [`Link`] of a session whose output is the body of a response, and whose input, after what came with the request, is not on
//! this connection.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    model::{Disconnect, Encoding, Version},
    node::{Close, Inbound, Link, LinkTraits},
    protocol::{
        Push, PushBody, Reply, ReplyBody,
        frame::{self, PositionFormat, WireForm},
    },
    transport::{
        grpc::StreamScope,
        outlet::{LastWord, Outlet},
    },
};

/// What all links of an endpoint share.
#[derive(Clone, Debug)]
pub(in crate::transport) struct Settings {
    pub(in crate::transport) traits: LinkTraits,
    /// Longest time in which the peer takes nothing.
    pub(in crate::transport) write_timeout: Duration,
    /// Longest wait until the peer has taken the end.
    pub(in crate::transport) end_wait: Duration,
}

/// Whether a session got as far as saying anything: what it ended with if not.
type Begun = Result<(), Box<Close>>;

/// One session.
#[derive(Debug)]
pub(in crate::transport) struct StreamLink<W: LastWord> {
    first: Option<Inbound>,
    outlet: Outlet<W>,
    settings: Arc<Settings>,
    /// Longest time in which the peer takes nothing.
    write_timeout: Duration,
    /// How to get rid of an HTTP/2 stream whose peer does not read.
    scope: Option<StreamScope>,
    /// Who waits for the beginning; the link tells of the end by itself then.
    begun: Option<oneshot::Sender<Begun>>,
    tells: bool,
}

impl<W: LastWord> StreamLink<W> {
    /// A link that gives `first` to its session and everything of the session to `outlet`. To be made in the task that writes
    /// the response.
    pub(in crate::transport) fn new(
        first: Inbound,
        outlet: Outlet<W>,
        settings: Arc<Settings>,
    ) -> Self {
        Self {
            first: Some(first),
            outlet,
            write_timeout: settings.write_timeout,
            settings,
            scope: StreamScope::current(),
            begun: None,
            tells: false,
        }
    }

    /// Lets somebody wait until the session says something or ends. A session that ends before gets no disconnect push.
    pub(in crate::transport) fn watched(self, begun: oneshot::Sender<Begun>) -> Self {
        Self {
            begun: Some(begun),
            tells: true,
            ..self
        }
    }

    /// The disconnect push, where the session leaves it to the link.
    fn farewell(&self, disconnect: &Disconnect) -> Option<Bytes> {
        if !self.tells || disconnect.code == Disconnect::CONNECTION_CLOSED.code {
            return None;
        }
        let form = WireForm {
            version: Version::V2,
            encoding: Encoding::Json,
            positions: PositionFormat::Offset,
            framing: self.settings.traits.framing,
            bare: true,
        };
        let push = Push {
            channel: Default::default(),
            body: PushBody::Disconnect(disconnect.clone().cut()),
        };
        let body = ReplyBody::Push(push);
        frame::encode(form, &Reply { id: 0, body }).ok()
    }
}

impl<W: LastWord> Link for StreamLink<W> {
    fn traits(&self) -> LinkTraits {
        LinkTraits {
            close_carries_reason: self.tells,
            ..self.settings.traits
        }
    }

    fn be_patient(&mut self, longest: Duration) {
        self.write_timeout = self.write_timeout.max(longest);
    }

    fn recv(&mut self) -> impl Future<Output = Result<Inbound, Disconnect>> + Send {
        poll_fn(|cx| match self.first.take() {
            Some(first) => Poll::Ready(Ok(first)),
            None => self
                .outlet
                .poll_gone(cx)
                .map(|()| Err(Disconnect::CONNECTION_CLOSED)),
        })
    }

    async fn send(&mut self, batch: &mut Vec<Bytes>) -> Result<(), Disconnect> {
        if batch.is_empty() {
            return Ok(());
        }
        if let Some(begun) = self.begun.take()
            && begun.send(Ok(())).is_err()
        {
            return Err(Disconnect::WRITE_ERROR);
        }
        let sent = self.outlet.send(batch, self.write_timeout).await;
        batch.clear();
        sent.map_err(|_stuck| Disconnect::WRITE_ERROR)
    }

    async fn close(mut self, close: Close) {
        if let Some(begun) = self.begun.take() {
            // Who waited may be gone, and the body with it.
            drop(begun.send(Err(Box::new(close))));
            return;
        }
        let Settings {
            write_timeout,
            end_wait,
            ..
        } = *self.settings;
        if let Some(farewell) = self.farewell(&close.disconnect) {
            let sent = self.outlet.send(&mut vec![farewell], write_timeout).await;
            if sent.is_err() {
                tracing::trace!("stream was gone before its end");
            }
        }
        // A peer that reads has this at once; one that does not would keep stream and memory for as long as it likes.
        let ended = self.outlet.end(W::said(), write_timeout, end_wait).await;
        if ended.is_err()
            && let Some(scope) = self.scope
        {
            scope.abort();
        }
    }
}
