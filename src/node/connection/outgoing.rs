//! The batch of one connection: finished frames on their way to one write, and what they count for.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{Connection, Ending, Link};
use crate::{
    hub::Mailbox,
    model::{Broadcast, Disconnect, Watch},
    node::config::ClientConfig,
};

/// How long a peer that takes nothing may hold up the end of its session.
const FAREWELL: Duration = Duration::from_secs(1);

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
    /// What is here waits for more until then.
    pub(super) due: Option<Instant>,
}

/// How long a batch waits for more, and for how many messages (`write_delay`, `max_messages_in_frame`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Delay {
    time: Duration,
    messages: usize,
}

impl Delay {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let messages = match config.max_messages_in_frame {
            0 => 16,
            any => usize::try_from(any).unwrap_or(usize::MAX),
        };
        Self {
            time: config.write_delay,
            messages,
        }
    }
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
            due: None,
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

    /// The batch may wait for more: it is small, young, and nothing hurries.
    pub(super) fn waits(&mut self, delay: Delay) -> bool {
        let full = self.batch.len() >= delay.messages || self.bytes >= super::BATCH_BYTES;
        if delay.time.is_zero() || full || self.flush || self.batch.is_empty() {
            return false;
        }
        let now = Instant::now();
        *self.due.get_or_insert(now + delay.time) > now
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty() && !self.flush
    }

    /// The batch has left: gives the memory of a burst back.
    pub(super) fn reset(&mut self) {
        self.due = None;
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

/// A write that may take long ends early when the queue runs over, and soon when the session is to end.
async fn patiently(
    send: impl Future<Output = Result<(), Disconnect>>,
    mailbox: &Arc<Mailbox>,
) -> Result<(), Disconnect> {
    let mut send = pin!(send);
    let mut closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(sent) = send.as_mut().poll(cx) {
            return Poll::Ready(sent);
        }
        // Rare, so it is not part of every connection's future.
        let closing = closing.get_or_insert_with(|| Box::pin(closing_of(Arc::clone(mailbox))));
        closing
            .as_mut()
            .poll(cx)
            .map(|()| Err(Disconnect::WRITE_ERROR))
    })
    .await
}

async fn closing_of(mailbox: Arc<Mailbox>) {
    poll_fn(|cx| mailbox.poll_closed(cx)).await;
    if !mailbox.overflowed() {
        sleep(FAREWELL).await;
    }
}

impl Connection {
    /// Writes the batch; false when the link is broken or the end allows no more writing.
    pub(super) async fn write<L: Link>(&mut self, link: &mut L) -> bool {
        let silent = |ending: &Ending| ending.disconnect == Disconnect::SLOW;
        if self.ending.as_ref().is_some_and(silent) {
            return false;
        }
        if self.ending.is_none() && self.outgoing.waits(self.delay) {
            return true;
        }
        let (publications, bytes) = (self.outgoing.publications, self.outgoing.publication_bytes);
        self.report.published(publications, bytes);
        if self.outgoing.is_empty() {
            self.outgoing.unwatch();
            self.settle_mailbox();
            return true;
        }
        if !self.patient && self.mailbox.is_lenient() {
            self.patient = true;
            link.be_patient(self.session.patience());
        }
        let sent = if self.patient {
            let began = Instant::now();
            let sent = patiently(link.send(&mut self.outgoing.batch), &self.mailbox).await;
            self.session.stalled(began.elapsed());
            sent
        } else {
            link.send(&mut self.outgoing.batch).await
        };
        self.outgoing.reset();
        self.settle_mailbox();
        if let Err(why) = sent {
            // Who takes nothing while the queue runs over reads too slowly, and that is what operators look for.
            let why = if self.mailbox.overflowed() {
                Disconnect::SLOW
            } else {
                why
            };
            self.session.abort(why.clone(), &mut self.effects);
            self.carry_out();
            self.ending = Some(Ending {
                disconnect: why,
                undecodable: false,
            });
            return false;
        }
        true
    }

    fn settle_mailbox(&mut self) {
        if self.outgoing.taken > 0 {
            self.mailbox
                .written(std::mem::take(&mut self.outgoing.taken));
        }
    }
}
