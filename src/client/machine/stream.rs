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
    fn read(&mut self, publication: Arc<Publication>) -> Result<Arc<Publication>, Unfit> {
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
            ..(*publication).clone()
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
            let read = publications.into_iter().map(|one| deltas.read(one));
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
        deltas.read(publication).inspect_err(|_unfit| {
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
mod tests {
    use super::*;

    fn publication(offset: u64, epoch: &str) -> Publication {
        Publication {
            offset,
            epoch: epoch.into(),
            ..Publication::default()
        }
    }

    fn at(offset: u64, epoch: &str) -> Stream {
        Stream::since(StreamPosition {
            offset,
            epoch: epoch.into(),
        })
    }

    #[test]
    fn next_is_new_older_is_duplicate_later_is_gap() {
        let mut stream = at(4, "e");
        assert_eq!(stream.accept(&publication(5, "")), Verdict::New);
        assert_eq!(stream.accept(&publication(5, "")), Verdict::Duplicate);
        assert_eq!(stream.accept(&publication(7, "")), Verdict::Gap);
        assert_eq!(stream.accept(&publication(6, "")), Verdict::New);
        assert_eq!(stream.recovery().map(|p| p.offset), Some(6));
    }

    #[test]
    fn first_publication_names_the_epoch_of_an_unknown_stream() {
        let mut stream = at(0, "");
        assert_eq!(stream.accept(&publication(1, "fresh")), Verdict::New);
        assert_eq!(stream.recovery().unwrap().epoch, "fresh".into());
        assert_eq!(stream.accept(&publication(1, "other")), Verdict::Gap);
    }

    #[test]
    fn publications_outside_history_do_not_move_the_position() {
        let mut stream = at(4, "e");
        assert_eq!(stream.accept(&publication(0, "")), Verdict::New);
        assert_eq!(stream.recovery().map(|p| p.offset), Some(4));
    }

    #[test]
    fn untracked_streams_hand_on_everything() {
        let mut stream = Stream::default();
        for offset in [9, 9, 2] {
            assert_eq!(stream.accept(&publication(offset, "")), Verdict::New);
        }
        assert_eq!(stream.recovery(), None);
    }

    #[test]
    fn recovered_answer_leaves_out_what_was_seen() {
        let mut stream = at(4, "e");
        let (told, publications) = stream
            .begin(
                SubscribeResult {
                    recoverable: true,
                    recovered: true,
                    was_recovering: true,
                    epoch: "e".to_owned(),
                    offset: 4,
                    publications: vec![
                        Arc::new(publication(4, "")),
                        Arc::new(publication(5, "")),
                        Arc::new(publication(6, "")),
                    ],
                    ..SubscribeResult::default()
                },
                false,
            )
            .unwrap();
        assert_eq!(
            publications.iter().map(|p| p.offset).collect::<Vec<_>>(),
            [5, 6]
        );
        assert_eq!((told.missed, told.recovered), (2, true));
        assert_eq!(stream.recovery().map(|p| p.offset), Some(6));
    }

    #[test]
    fn unrecovered_answer_hands_on_what_the_server_adds() {
        let mut stream = at(4, "old");
        let (told, publications) = stream
            .begin(
                SubscribeResult {
                    recoverable: true,
                    was_recovering: true,
                    epoch: "new".to_owned(),
                    offset: 2,
                    publications: vec![Arc::new(publication(2, ""))],
                    ..SubscribeResult::default()
                },
                false,
            )
            .unwrap();
        assert_eq!((told.recovered, publications.len()), (false, 1));
        assert_eq!(stream.accept(&publication(3, "")), Verdict::New);
    }

    fn sent(offset: u64, data: &'static str, delta: bool) -> Arc<Publication> {
        Arc::new(Publication {
            data: Bytes::from_static(data.as_bytes()),
            delta,
            ..publication(offset, "")
        })
    }

    #[test]
    fn deltas_become_what_was_published() {
        const BASE: &str = r#"{"id":1,"name":"AAPL","price":100,"note":"unchanged text here"}"#;
        let quoted =
            r#""{\"id\":1,\"name\":\"AAPL\",\"price\":100,\"note\":\"unchanged text here\"}""#;
        let patch = r#""~\nW@0,V:1,\"note\":\"unchanged text here\"}2xVqgY;""#;
        let mut stream = Stream::default();
        let granted = || SubscribeResult {
            positioned: true,
            recoverable: true,
            delta: true,
            ..SubscribeResult::default()
        };
        let (_, none) = stream.begin(granted(), true).unwrap();
        assert!(none.is_empty());
        let take = |stream: &mut Stream, offset, data, delta| {
            let publication = sent(offset, data, delta);
            assert_eq!(stream.accept(&publication), Verdict::New);
            stream.read(publication).map(|read| read.data.clone())
        };
        assert_eq!(take(&mut stream, 1, quoted, false).unwrap(), BASE);
        let next = BASE.replace("100", "101");
        assert_eq!(take(&mut stream, 2, patch, true).unwrap(), next);
        // One that does not fit counts as not received, and is recovered from there.
        assert_eq!(take(&mut stream, 3, patch, true), Err(Unfit));
        assert_eq!(stream.recovery().map(|position| position.offset), Some(2));
        // The payload before is kept through a reconnect without anything missed.
        let again = SubscribeResult {
            recovered: true,
            offset: 2,
            ..granted()
        };
        stream.begin(again, true).unwrap();
        assert_eq!(stream.deltas.as_ref().unwrap().base, next);
    }
}
