//! The batch of one connection: finished frames on their way to one write, and what they count for.

use bytes::Bytes;

use crate::model::{Broadcast, Watch};

/// The batch that is being put together.
pub(super) struct Outgoing {
    pub(super) batch: Vec<Bytes>,
    pub(super) bytes: usize,
    pub(super) publications: u64,
    pub(super) publication_bytes: usize,
    /// Bytes to give back to the mailbox when the batch is written.
    pub(super) taken: usize,
    /// The link has bytes of its own to write.
    pub(super) flush: bool,
    /// Events in the batch whose arrival is measured.
    watched: Vec<Watch>,
}

impl Outgoing {
    pub(super) const fn new() -> Self {
        Self {
            batch: Vec::new(),
            bytes: 0,
            publications: 0,
            publication_bytes: 0,
            taken: 0,
            flush: false,
            watched: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.batch.push(frame);
    }

    pub(super) fn push_publication(&mut self, frame: Bytes) {
        self.publications += 1;
        self.publication_bytes += frame.len();
        self.push(frame);
    }

    /// Holds an event until the batch is written, if somebody wants to know.
    pub(super) fn watch(&mut self, broadcast: &Broadcast) {
        self.watched.extend(broadcast.watch.clone());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty() && !self.flush
    }

    /// The batch has left: gives the memory of a burst back.
    pub(super) fn reset(&mut self) {
        self.batch.clear();
        if self.batch.capacity() > super::KEPT {
            self.batch = Vec::new();
        }
        self.unwatch();
        (
            self.bytes,
            self.publications,
            self.publication_bytes,
            self.flush,
        ) = (0, 0, 0, false);
    }
    /// Whatever was measured is not waited for by this connection any more.
    pub(super) fn unwatch(&mut self) {
        self.watched.clear();
        if self.watched.capacity() > super::KEPT {
            self.watched = Vec::new();
        }
    }
}
