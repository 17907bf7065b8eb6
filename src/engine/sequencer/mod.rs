//! The sequencer of a networked engine: between its PUB/SUB reader and the event queue, it repairs what PUB/SUB has lost.
//!
//! Owns one [`sequence::Sequence`] per subscribed channel with a stream, and everything they wait for: reads of history, the
//! sweep over the tops of all streams after every (re)connect and every ten seconds. Knows no Redis: an engine gives a
//! [`Source`], tells what arrives and which channels it listens to, and runs the returned future on a task of its own. What
//! cannot be repaired becomes [`ChannelEvent::InsufficientState`]; nothing is dropped in silence. Called by networked engines only.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Error, EventSender, History};
use crate::model::{Channel, ChannelEvent, StreamPosition};

mod identity;
mod lane;
mod metrics;
mod reads;
mod reason;
mod sequence;
#[cfg(test)]
mod tests;

use identity::Forks;
pub(crate) use metrics::Metrics;

/// What the reader has given and a lane has not looked at yet.
const QUEUE: usize = 4096;
/// Reads of history at a time, over all lanes of a sequencer.
const REPAIRS: usize = 256;

/// Where missing publications and tops are read.
pub(crate) trait Source: Send + Sync + 'static {
    /// The publications after a position, oldest first, and the top; of a stream with another epoch, its top.
    fn history(
        &self,
        channel: &Channel,
        since: &StreamPosition,
        limit: usize,
    ) -> impl Future<Output = Result<History, Error>> + Send;

    /// The tops of these streams in this order, without creating any; `None` where there is no stream.
    fn tops(
        &self,
        channels: &[Channel],
    ) -> impl Future<Output = Result<Vec<Option<StreamPosition>>, Error>> + Send;
}

/// Something a lane is told.
#[derive(Debug)]
enum Input {
    /// Something arrived by PUB/SUB.
    Event(Channel, ChannelEvent),
    /// The channel will be listened to.
    Subscribed(Channel),
    /// It is not listened to any more.
    Unsubscribed(Channel),
    /// A subscriber read this top; answered with whether it may be used.
    Observed(Channel, StreamPosition, oneshot::Sender<bool>),
    /// PUB/SUB is there again: all tops have to be compared.
    Reconnected(Arc<Return>),
}

/// One return of PUB/SUB, over when every lane has compared its tops.
#[derive(Debug)]
struct Return {
    open: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Return {
    /// A lane is done.
    fn checked(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.metrics.reconnects.inc();
        }
    }
}

/// The engine's end. Dropping the last clone ends the sequencer.
#[derive(Clone, Debug)]
pub(crate) struct Sequencer {
    lanes: Arc<[mpsc::Sender<Input>]>,
    hasher: RandomState,
    forks: Arc<Forks>,
    metrics: Arc<Metrics>,
}

/// Opens a sequencer with so many lanes (a channel is always in the same one); the future runs them until the engine's end is
/// dropped or the node is gone.
pub(crate) fn sequencer<S: Source>(
    lanes: usize,
    source: &Arc<S>,
    events: &EventSender,
    metrics: &Arc<Metrics>,
) -> (Sequencer, impl Future<Output = ()> + Send + use<S>) {
    let permits = Arc::new(Semaphore::new(REPAIRS));
    let forks = Forks::shared();
    let mut senders = Vec::new();
    let mut running = Vec::new();
    for _ in 0..lanes.max(1) {
        let (sender, inputs) = mpsc::channel(QUEUE);
        senders.push(sender);
        let reads = reads::Reads::new(Arc::clone(source), Arc::clone(&permits));
        running.push(
            lane::Lane::new(
                reads,
                events.clone(),
                (Arc::clone(&forks), Arc::clone(metrics)),
            )
            .run(inputs),
        );
    }
    let run = async {
        futures_util::future::join_all(running).await;
    };
    let handle = Sequencer {
        lanes: senders.into(),
        hasher: RandomState::new(),
        forks,
        metrics: Arc::clone(metrics),
    };
    (handle, run)
}

impl Sequencer {
    /// Something arrived by PUB/SUB. Waits while the node is behind, so that the network feels it.
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is gone.
    pub(crate) async fn event(&self, channel: Channel, event: ChannelEvent) -> Result<(), Error> {
        let lane = self.lane(&channel);
        self.tell(lane, Input::Event(channel, event)).await
    }

    /// A channel is about to be listened to; said before the network is. Changes nothing when it is already.
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is gone.
    pub(crate) async fn subscribed(&self, channel: &Channel) -> Result<(), Error> {
        self.tell(self.lane(channel), Input::Subscribed(channel.clone()))
            .await
    }

    /// A channel is not listened to any more; said after the network has been told.
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is gone.
    pub(crate) async fn unsubscribed(&self, channel: &Channel) -> Result<(), Error> {
        self.tell(self.lane(channel), Input::Unsubscribed(channel.clone()))
            .await
    }

    /// A subscriber read this top. False when publications after it may already have passed unseen: it has to be read again.
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is gone.
    pub(crate) async fn observed(
        &self,
        channel: &Channel,
        top: StreamPosition,
    ) -> Result<bool, Error> {
        let (answer, answered) = oneshot::channel();
        let input = Input::Observed(channel.clone(), top, answer);
        self.tell(self.lane(channel), input).await?;
        answered.await.map_err(|_gone| Error::Closed)
    }

    /// False when a position names a publication that may have been replaced by another: nobody recovers from it.
    pub(crate) fn is_sound(&self, channel: &Channel, position: &StreamPosition) -> bool {
        self.forks.is_sound(channel, position)
    }

    /// PUB/SUB is there again and all channels are listened to: the tops of all streams are compared now.
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is gone.
    pub(crate) async fn reconnected(&self) -> Result<(), Error> {
        let again = Arc::new(Return {
            open: AtomicUsize::new(self.lanes.len()),
            metrics: Arc::clone(&self.metrics),
        });
        for lane in self.lanes.iter() {
            let input = Input::Reconnected(Arc::clone(&again));
            self.tell(lane, input).await?;
        }
        Ok(())
    }

    fn lane(&self, channel: &Channel) -> &mpsc::Sender<Input> {
        let lanes = self.lanes.len() as u64;
        let lane = usize::try_from(self.hasher.hash_one(channel) % lanes).unwrap_or(0);
        &self.lanes[lane]
    }

    async fn tell(&self, lane: &mpsc::Sender<Input>, input: Input) -> Result<(), Error> {
        lane.send(input).await.map_err(|_gone| Error::Closed)
    }
}
