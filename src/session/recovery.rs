//! Merge of what history holds with what arrived live meanwhile, and the decision whether a recovery succeeded.
//!
//! The rule that makes loss impossible (client-protocol.md 5.5, engines.md 1.9): a subscription is registered before its history
//! is read, everything that arrives in between is held, and only a sequence without a hole is ever accepted.

use std::sync::Arc;

use super::effects::Joined;
use crate::model::{ChannelEvent, Delivery, Epoch, Publication, RecoveryMode, StreamPosition};

/// A publication is missing between two others; the client's state cannot be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap;

/// The position a new subscription starts from, and what it missed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settled {
    /// Everything after the asked position is there.
    pub(crate) recovered: bool,
    /// Missed publications, ascending; empty unless recovered.
    pub(crate) publications: Vec<Arc<Publication>>,
    /// The newest publication known; live delivery continues after it.
    pub(crate) position: StreamPosition,
}

/// Decides on a recovery from `asked` (`None`: start at the top) and merges held publications.
pub(crate) fn settle(
    asked: Option<&StreamPosition>,
    mode: RecoveryMode,
    joined: Joined,
    held: &[Delivery],
) -> Result<Settled, Gap> {
    let Joined {
        mut publications,
        top,
        ..
    } = joined;
    let recovered = asked.is_some_and(|asked| match mode {
        RecoveryMode::Stream => is_complete(asked, &publications, &top),
        RecoveryMode::Cache => is_newest(asked, &publications, &top),
    });
    let has_newest = mode == RecoveryMode::Cache && asked.is_some_and(|asked| is_at(asked, &top));
    if !recovered || has_newest {
        publications.clear();
    }
    let mut position = top;
    for (publication, epoch, skipped) in live_publications(held) {
        match follows(&position, (publication, skipped), epoch)? {
            Step::Known => {}
            Step::Next => {
                position.offset = publication.offset;
                if position.epoch.is_empty() {
                    position.epoch = epoch.clone();
                }
                if recovered {
                    publications.push(Arc::clone(publication));
                }
            }
        }
    }
    Ok(Settled {
        recovered,
        publications,
        position,
    })
}

/// True when `publications` are all there is between `asked` and `top`.
fn is_complete(
    asked: &StreamPosition,
    publications: &[Arc<Publication>],
    top: &StreamPosition,
) -> bool {
    if !asked.epoch.is_empty() && asked.epoch != top.epoch {
        return false;
    }
    let expected = (asked.offset + 1..)
        .zip(publications)
        .all(|(offset, publication)| publication.offset == offset);
    let reached = publications.last().map_or(asked.offset, |last| last.offset);
    expected && reached == top.offset
}

/// The client stands where the stream ends.
fn is_at(asked: &StreamPosition, top: &StreamPosition) -> bool {
    top.offset > 0 && asked == top
}

/// True when `publications` holds the newest one of the stream, or the client does.
fn is_newest(
    asked: &StreamPosition,
    publications: &[Arc<Publication>],
    top: &StreamPosition,
) -> bool {
    match publications.last() {
        Some(newest) => newest.offset == top.offset,
        None => is_at(asked, top),
    }
}

fn live_publications(held: &[Delivery]) -> Vec<(&Arc<Publication>, &Epoch, u64)> {
    let mut live: Vec<_> = held
        .iter()
        .filter_map(|delivery| match &delivery.broadcast.event {
            ChannelEvent::Publication(publication, epoch) if publication.offset > 0 => {
                Some((publication, epoch, delivery.skipped))
            }
            ChannelEvent::Publication(..)
            | ChannelEvent::Join(_)
            | ChannelEvent::Leave(_)
            | ChannelEvent::InsufficientState(_) => None,
        })
        .collect();
    live.sort_by_key(|(publication, ..)| publication.offset);
    live
}

/// Where a publication stands relative to a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// At or before it: seen already.
    Known,
    /// The very next.
    Next,
}

/// The live rule of engines.md 1.10 for a publication of a stream (offset above 0). What a filter kept back right before it is
/// not missing.
pub(crate) fn follows(
    position: &StreamPosition,
    (publication, skipped): (&Publication, u64),
    epoch: &Epoch,
) -> Result<Step, Gap> {
    if !position.epoch.is_empty() && *epoch != position.epoch {
        return Err(Gap);
    }
    if publication.offset <= position.offset {
        Ok(Step::Known)
    } else if publication.offset - position.offset <= skipped.saturating_add(1) {
        Ok(Step::Next)
    } else {
        Err(Gap)
    }
}
