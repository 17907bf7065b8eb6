//! The sequence alone, by example and by law, and the lanes with a stream that is read slowly or not at all.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    reason::Reason,
    sequence::{HELD, HELD_BYTES, READ, Sequence, Step, Ticket},
};
use crate::{
    engine::History,
    model::{ChannelEvent, Epoch, Publication, StreamPosition},
};

mod examples;
mod lanes;
mod law;

fn publication(offset: u64) -> Arc<Publication> {
    Arc::new(Publication {
        offset,
        data: Bytes::from(offset.to_string()),
        ..Publication::default()
    })
}

fn position(offset: u64, epoch: &str) -> StreamPosition {
    StreamPosition {
        offset,
        epoch: Epoch::from(epoch),
    }
}

fn history(offsets: impl IntoIterator<Item = u64>, top: StreamPosition) -> History {
    History {
        publications: offsets.into_iter().map(publication).collect(),
        position: top,
    }
}
