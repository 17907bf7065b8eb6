//! Whether a stream is still the one it was (engines.md 8.6 C): digests of the newest publications, and streams whose newest part
//! was given out anew.
//!
//! After a failover a master may lack the newest publications; their offsets are then given to others, in the same epoch. The same
//! offset with another content shows that. Positions past the last common offset name what no longer is: for a while nobody may
//! recover from them here.

use std::{
    collections::{HashMap, VecDeque, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::{Channel, Publication, StreamPosition};

/// Publications whose digests are remembered, a channel.
const REMEMBERED: usize = 64;
/// How long positions past a fork are refused. Who was told of the loss is back long before.
const REFUSED: Duration = Duration::from_secs(60);
/// Channels with such positions.
const FORKS: usize = 16_384;

/// Digests of the newest publications of a channel, by offset.
#[derive(Debug, Default)]
pub(super) struct Digests(VecDeque<(u64, u64)>);

impl Digests {
    /// A publication was passed on.
    pub(super) fn remember(&mut self, publication: &Publication) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((publication.offset, digest(publication)));
    }

    /// True when another publication was passed on with this offset.
    pub(super) fn contradict(&self, publication: &Publication) -> bool {
        let known = self
            .0
            .iter()
            .find(|(offset, _)| *offset == publication.offset);
        known.is_some_and(|(_, known)| *known != digest(publication))
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// Of what a node wrote; offset and epoch are given by the stream. Within one process, so any hash does.
fn digest(publication: &Publication) -> u64 {
    let mut hasher = DefaultHasher::new();
    publication.data.hash(&mut hasher);
    publication.time.hash(&mut hasher);
    publication.version.hash(&mut hasher);
    publication.tags.hash(&mut hasher);
    if let Some(info) = &publication.info {
        (info.user.as_str(), info.client.as_str()).hash(&mut hasher);
    }
    hasher.finish()
}

/// Streams whose newest part was given out anew, with the last position that is the same in both.
#[derive(Debug, Default)]
pub(super) struct Forks(Mutex<HashMap<Channel, (StreamPosition, Instant)>>);

impl Forks {
    pub(super) fn shared() -> Arc<Self> {
        Arc::default()
    }

    /// Everything past this position is not what it was.
    pub(super) fn found(&self, channel: &Channel, common: StreamPosition) {
        let mut forks = self.0.lock();
        if forks.len() >= FORKS {
            forks.retain(|_, (_, found)| found.elapsed() < REFUSED);
        }
        // With so many at once Redis has lost more than this table can tell of; the oldest epoch rule still holds.
        if forks.len() < FORKS {
            forks.insert(channel.clone(), (common, Instant::now()));
        }
    }

    /// False when a position names a publication that may have been replaced.
    pub(super) fn is_sound(&self, channel: &Channel, position: &StreamPosition) -> bool {
        let forks = self.0.lock();
        forks.get(channel).is_none_or(|(common, found)| {
            common.epoch != position.epoch
                || position.offset <= common.offset
                || found.elapsed() >= REFUSED
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(offset: u64, data: &'static str) -> Publication {
        Publication {
            offset,
            data: data.into(),
            ..Publication::default()
        }
    }

    #[test]
    fn another_content_of_a_known_offset_is_a_contradiction() {
        let mut digests = Digests::default();
        for offset in 1..=100 {
            digests.remember(&publication(offset, "a"));
        }
        assert!(!digests.contradict(&publication(90, "a")));
        assert!(digests.contradict(&publication(90, "b")));
        assert!(!digests.contradict(&publication(5, "b")), "forgotten");
        digests.forget();
        assert!(!digests.contradict(&publication(90, "b")));
    }

    #[tokio::test(start_paused = true)]
    async fn positions_past_a_fork_are_refused_for_a_minute() {
        let forks = Forks::default();
        let position = |offset, epoch: &str| StreamPosition {
            offset,
            epoch: epoch.into(),
        };
        let channel = Channel::from("c");
        forks.found(&channel, position(5, "e"));
        assert!(forks.is_sound(&channel, &position(5, "e")));
        assert!(!forks.is_sound(&channel, &position(6, "e")));
        assert!(forks.is_sound(&channel, &position(6, "f")));
        assert!(forks.is_sound(&Channel::from("d"), &position(6, "e")));
        tokio::time::advance(REFUSED).await;
        assert!(forks.is_sound(&channel, &position(6, "e")));
    }
}
