//! The position of one subscription in its stream: what is new, what is a duplicate, what is missing.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    client::Subscribed,
    model::{Publication, StreamPosition},
    protocol::{
        SubscribePush, SubscribeResult,
        delta::{self, Unfit},
        unquote,
    },
};

/// Longest payload that a delta may make.
const LIMIT: usize = delta::MAX_LENGTH;

/// What to do with a publication that arrived live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Hand it on.
    New,
    /// It was handed on before.
    Duplicate,
    /// Something before it is missing, or the stream is another one.
    Gap,
}

/// Position of one subscription.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    /// Missed publications can be asked for.
    recoverable: bool,
    /// Where the subscription is; `None` when the server does not track it.
    position: Option<StreamPosition>,
    /// Deltas were granted.
    deltas: Option<Deltas>,
}

/// What the next delta builds upon.
#[derive(Clone, Debug, Default)]
struct Deltas {
    /// Payloads come as JSON strings.
    quoted: bool,
    /// Payload of the last publication; kept through reconnects.
    base: Bytes,
}

impl Deltas {
    /// The publication with the payload that was published.
    fn read(&mut self, publication: &Publication) -> Result<Arc<Publication>, Unfit> {
        let data = if self.quoted && !publication.data.is_empty() {
            let text = unquote(&publication.data).ok_or(Unfit)?;
            Bytes::from(text.into_owned())
        } else {
            publication.data.clone()
        };
        self.base = if publication.delta {
            delta::decode(&self.base, &data, LIMIT)?.into()
        } else {
            data
        };
        Ok(Arc::new(Publication {
            data: self.base.clone(),
            delta: false,
            ..publication.clone()
        }))
    }
}

impl Stream {
    /// Begins after a position that the application knows.
    pub(super) fn since(position: StreamPosition) -> Self {
        Self {
            recoverable: true,
            position: Some(position),
            deltas: None,
        }
    }

    /// Where to recover from, if it makes sense to ask.
    pub(super) fn recovery(&self) -> Option<&StreamPosition> {
        self.position.as_ref().filter(|_| self.recoverable)
    }

    /// Drops what is known of the stream: the server declared it invalid.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes the answer to a subscribe: what to tell, and which publications to hand on after it.
    ///
    /// # Errors
    /// A delta among them does not fit.
    pub(super) fn begin(
        &mut self,
        result: SubscribeResult,
        json: bool,
    ) -> Result<(Subscribed, Vec<Arc<Publication>>), Unfit> {
        let start = StreamPosition {
            offset: result.offset,
            epoch: result.epoch.into(),
        };
        let base = self.deltas.take().map(|deltas| deltas.base);
        self.deltas = result.delta.then(|| Deltas {
            quoted: json,
            base: base.unwrap_or_default(),
        });
        let mut publications = result.publications;
        if let Some(deltas) = &mut self.deltas {
            let read = publications.into_iter().map(|one| deltas.read(&one));
            publications = read.collect::<Result<_, _>>()?;
        }
        if result.recovered {
            // The answer repeats the offset that was asked for; what is not above it was handed on before.
            publications.retain(|p| p.offset == 0 || p.offset > start.offset);
        }
        let tracked = result.positioned || result.recoverable;
        let end = publications.iter().map(|p| p.offset).max().unwrap_or(0);
        self.recoverable = result.recoverable;
        self.position = tracked.then(|| StreamPosition {
            offset: end.max(start.offset),
            epoch: start.epoch.clone(),
        });
        let told = Subscribed {
            recovered: result.recovered,
            was_recovering: result.was_recovering,
            missed: publications.len(),
            position: tracked.then_some(start),
            data: result.data,
        };
        Ok((told, publications))
    }

    /// Takes the announcement of a server-side subscription.
    pub(super) fn announced(&mut self, push: SubscribePush) -> Subscribed {
        let tracked = push.positioned || push.recoverable;
        self.recoverable = push.recoverable;
        self.position = tracked.then_some(push.position);
        Subscribed {
            position: self.position.clone(),
            data: push.data,
            ..Subscribed::default()
        }
    }

    /// Turns what came for a new publication into what was published. When a delta does not fit, the publication counts as
    /// not received.
    ///
    /// # Errors
    /// The delta does not fit.
    pub(super) fn read(
        &mut self,
        publication: Arc<Publication>,
    ) -> Result<Arc<Publication>, Unfit> {
        let Some(deltas) = &mut self.deltas else {
            return Ok(publication);
        };
        let offset = publication.offset;
        deltas.read(&publication).inspect_err(|_unfit| {
            if let Some(position) = self.position.as_mut().filter(|_| offset > 0) {
                position.offset = offset - 1;
            }
        })
    }

    /// Takes a live publication and moves the position when it is the next one.
    pub(super) fn accept(&mut self, publication: &Publication) -> Verdict {
        let Some(position) = self.position.as_mut().filter(|_| publication.offset > 0) else {
            return Verdict::New;
        };
        if position.epoch.is_empty() {
            // The stream was empty and unnamed when the subscription began (client-protocol.md 5.2).
            position.epoch = publication.epoch.clone();
        } else if !publication.epoch.is_empty() && publication.epoch != position.epoch {
            return Verdict::Gap;
        }
        if publication.offset <= position.offset {
            return Verdict::Duplicate;
        }
        if publication.offset > position.offset + 1 {
            return Verdict::Gap;
        }
        position.offset = publication.offset;
        Verdict::New
    }
}

#[cfg(test)]
mod tests;
