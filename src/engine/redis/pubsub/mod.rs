//! A connection that listens: made, kept and made anew for ever, with everything that is wanted subscribed again.
//!
//! Owns what is wanted and one task. What arrives goes to an [`Ear`] one after another, in the order of the connection,
//! and while the ear waits nothing more is read: the network feels it, nothing is dropped. Whoever subscribes waits until
//! the server has confirmed.

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{Failure, link::Shard};

mod probe;
mod resp;
mod session;

use session::Session;

/// Wait between two attempts.
const PAUSE: Duration = Duration::from_millis(250);
/// Wishes that wait for the connection; more wait before the queue.
const WISHES: usize = 4096;

/// Who is told what arrives.
pub(super) trait Ear: Send + Sync + 'static {
    /// A message in a channel. While this waits, nothing more is read.
    fn hear(&self, channel: &Bytes, payload: Bytes) -> impl Future<Output = ()> + Send;

    /// The connection is there again with everything subscribed; messages in between are lost.
    fn restored(&self) -> impl Future<Output = ()> + Send;

    /// The connection was lost, or something on it failed; `what` is a label for metrics.
    fn failed(&self, what: &'static str, why: &Failure);
}

/// A wish to hear a channel or not to, answered when the server has confirmed.
#[derive(Debug)]
struct Wish {
    name: String,
    hear: bool,
    done: oneshot::Sender<Result<(), Failure>>,
}

/// Names that were asked for in one command, and who waits for them.
struct Asked {
    left: usize,
    waiting: Vec<oneshot::Sender<Result<(), Failure>>>,
}

/// The end that subscribes.
#[derive(Debug)]
pub(super) struct Listener {
    wanted: Arc<Mutex<HashSet<String>>>,
    /// The queue of the present connection; `None` while there is none.
    present: watch::Receiver<Option<mpsc::Sender<Wish>>>,
    limit: Duration,
}

/// What one listener listens to from the start, and what it proves to itself.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Channels that are always subscribed.
    pub(super) always: Vec<String>,
    /// The channel for the proof that the connection hears what is published; one of `always`, or none.
    pub(super) probe: Option<String>,
    /// Silence after which the proof is made.
    pub(super) silence: Duration,
    /// By sharded PUB/SUB, at the server that owns the slot of the probe.
    pub(super) sharded: bool,
}

impl Plan {
    /// The name whose slot decides which server of a cluster is listened to.
    fn key(&self) -> Option<&str> {
        self.probe.as_deref().filter(|_| self.sharded)
    }
}

impl Listener {
    /// The listener, and the future that keeps its connection until it is dropped.
    pub(super) fn new<E: Ear>(
        shard: &Arc<Shard>,
        plan: Plan,
        ear: Arc<E>,
        limit: Duration,
    ) -> (Self, impl Future<Output = ()> + Send + use<E>) {
        let wanted = Arc::new(Mutex::new(HashSet::new()));
        let (expose, present) = watch::channel(None);
        let listener = Self {
            wanted: Arc::clone(&wanted),
            present,
            limit,
        };
        let shard = Arc::clone(shard);
        let run = async move {
            let mut moved = shard.moved();
            for attempt in 0_usize.. {
                let session = Session {
                    shard: &shard,
                    plan: &plan,
                    wanted: &wanted,
                    expose: &expose,
                    ear: &*ear,
                };
                let (what, why) = session.run(attempt, moved.as_mut()).await;
                expose.send_replace(None);
                ear.failed(what, &why);
                shard.look_again().await;
                tokio::time::sleep(PAUSE).await;
            }
        };
        (listener, run)
    }

    /// Returns when the server delivers everything that is published from now on.
    ///
    /// # Errors
    /// The server refuses, or there is no connection within the time limit; the channel is not wanted then, unless it was
    /// before.
    pub(super) async fn subscribe(&self, name: String) -> Result<(), Failure> {
        let new = self.wanted.lock().insert(name.clone());
        let done = self.wish(name.clone(), true).await;
        if done.is_err() && new {
            self.wanted.lock().remove(&name);
        }
        done
    }

    /// Returns when the server has confirmed, at once while there is no connection.
    ///
    /// # Errors
    /// No answer within the time limit; the channel is not wanted any more nevertheless.
    pub(super) async fn unsubscribe(&self, name: String) -> Result<(), Failure> {
        self.wanted.lock().remove(&name);
        if self.present.borrow().is_none() {
            return Ok(());
        }
        self.wish(name, false).await
    }

    /// It is subscribed, or will be with the next connection.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.wanted.lock().contains(name)
    }

    /// Returns when the first connection is there.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        let mut present = self.present.clone();
        match timeout(self.limit, present.wait_for(Option::is_some)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Failure::Deaf),
        }
    }

    async fn wish(&self, name: String, hear: bool) -> Result<(), Failure> {
        let mut present = self.present.clone();
        let asked = async {
            let queue = match present.wait_for(Option::is_some).await {
                Ok(queue) => queue.clone().ok_or(Failure::Deaf)?,
                Err(_closed) => return Err(Failure::Deaf),
            };
            let (done, answer) = oneshot::channel();
            let wish = Wish { name, hear, done };
            queue.send(wish).await.map_err(|_gone| Failure::Deaf)?;
            answer.await.map_err(|_gone| Failure::Deaf)?
        };
        match timeout(self.limit, asked).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Failure::Deaf),
        }
    }
}

/// A name as the server wrote it.
pub(super) fn name(bytes: &Bytes) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
