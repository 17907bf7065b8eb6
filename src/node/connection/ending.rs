//! The end of a connection: deregistering, the close, and leaving all channels meanwhile.

use std::sync::Arc;

use futures_util::stream::StreamExt as _;

use super::{Caller, Close, Connection, Link};
use crate::{model::Disconnect, session::Leave};

/// Channels a connection leaves at a time at its end.
const LEAVES: usize = 16;

/// The end of a connection, decided.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) disconnect: Disconnect,
    pub(super) undecodable: bool,
}

impl Connection {
    /// Deregisters, tells the peer, and undoes the subscriptions while the transport closes.
    pub(super) async fn finish<L: Link>(mut self, link: L) {
        let Ending {
            disconnect,
            undecodable,
        } = self.ending.take().unwrap_or(Ending {
            disconnect: Disconnect::CONNECTION_CLOSED,
            undecodable: false,
        });
        self.calls = None;
        self.shared
            .connections
            .remove(self.session.user(), self.session.client());
        self.mailbox.close(disconnect.clone());
        self.report.closed(&disconnect, &self.session);
        let close = Close {
            disconnect,
            version: self.session.version(),
            undecodable,
            error: self.error.take().map(|error| *error),
        };
        let leaves = self.session.leave_all();
        let caller = self.caller();
        let (shared, mailbox) = (Arc::clone(&self.shared), Arc::clone(&self.mailbox));
        let started = self.started;
        drop(self);
        tokio::join!(link.close(close), leave_all(caller, leaves));
        shared.closed(&mailbox);
        tracing::debug!(duration = ?started.elapsed(), "client connection completed");
    }
}

async fn leave_all(caller: Caller, leaves: Vec<Leave>) {
    futures_util::stream::iter(leaves)
        .for_each_concurrent(LEAVES, |leave| caller.leave(leave))
        .await;
}
