//! Publications in Redis: appending, spreading and reading.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Value, cmd};

use super::{
    Failure, Place, Redis,
    link::Road,
    scripts::{self, Invocation},
    value,
};
use crate::{
    engine::{
        Broker, Error, History, HistoryQuery, PublishOptions, PublishResult, Suppressed, new_epoch,
        wire::{publication, pushed},
    },
    model::{Channel, ChannelEvent, Publication, StreamPosition},
};

impl Redis {
    /// Without history: nothing is kept but, with a key, the mark that it was seen.
    async fn publish_unkept(
        &self,
        place: &Place,
        channel: &Channel,
        payload: Vec<u8>,
        options: &PublishOptions,
    ) -> Result<PublishResult, Error> {
        let name = place.names.client(channel);
        let Some((key, ttl)) = options.idempotency() else {
            spread(place, channel, &payload).await?;
            return Ok(PublishResult::default());
        };
        let invocation = Invocation {
            script: &scripts::PUBLISH_ONCE,
            keys: vec![place.names.result(channel, key)],
            arguments: vec![payload, name.into(), place.names.command(), seconds(ttl)],
        };
        outcome(self.call(place, &invocation).await?)
    }

    async fn publish_kept(
        &self,
        place: &Place,
        channel: &Channel,
        (payload, version): (Vec<u8>, u64),
        options: &PublishOptions,
    ) -> Result<PublishResult, Error> {
        let names = &place.names;
        let (key, result_ttl) = match options.idempotency() {
            Some((key, ttl)) => (key, seconds(ttl)),
            None => ("", Vec::new()),
        };
        let script = if names.lists() {
            &scripts::PUBLISH_LIST
        } else {
            &scripts::PUBLISH_STREAM
        };
        let invocation = Invocation {
            script,
            keys: vec![
                names.history(channel),
                names.meta(channel),
                names.result(channel, key),
            ],
            arguments: vec![
                payload,
                text(count(options.history_size)),
                seconds(options.ttl()),
                names.client(channel).into(),
                seconds(options.meta_ttl()),
                new_epoch().as_str().into(),
                names.command(),
                result_ttl,
                text(version),
                options.version_epoch.clone().into(),
                // Lists have no deltas (engines.md 3.5).
                flag(options.use_delta && !names.lists()),
            ],
        };
        outcome(self.call(place, &invocation).await?)
    }

    async fn read_stream(
        &self,
        place: &Place,
        channel: &Channel,
        query: &HistoryQuery,
    ) -> Result<History, Error> {
        let since = query.since.as_ref().map(|since| since.offset);
        let from = match since {
            None => 0,
            Some(since) if query.reverse => since.saturating_sub(1),
            Some(since) => since.saturating_add(1),
        };
        let nothing = query.limit == Some(0) || (query.reverse && since == Some(1));
        let invocation = Invocation {
            script: &scripts::HISTORY_STREAM,
            keys: vec![place.names.history(channel), place.names.meta(channel)],
            arguments: vec![
                flag(!nothing),
                text(from),
                text(count(query.limit.unwrap_or(0))),
                flag(query.reverse),
                seconds(query.meta_ttl()),
                new_epoch().as_str().into(),
            ],
        };
        let (position, kept) = read(self.call(place, &invocation).await?)?;
        check_epoch(query, &position)?;
        let entries = value::entries(kept).ok_or(Failure::Odd("history"))?;
        let mut publications = Vec::with_capacity(entries.len());
        for (offset, content) in entries {
            // What lies above the top belongs to a life of the stream whose position was lost.
            if offset <= position.offset {
                publications.push(kept_publication(content, offset, &position)?);
            }
        }
        Ok(History {
            publications,
            position,
        })
    }

    async fn read_list(
        &self,
        place: &Place,
        channel: &Channel,
        query: &HistoryQuery,
    ) -> Result<History, Error> {
        let invocation = Invocation {
            script: &scripts::HISTORY_LIST,
            keys: vec![place.names.history(channel), place.names.meta(channel)],
            arguments: vec![
                flag(query.limit != Some(0)),
                seconds(query.meta_ttl()),
                new_epoch().as_str().into(),
            ],
        };
        let (position, kept) = read(self.call(place, &invocation).await?)?;
        check_epoch(query, &position)?;
        let elements = value::list(kept).ok_or(Failure::Odd("history"))?;
        let mut publications = Vec::with_capacity(elements.len());
        for element in elements {
            let element = value::bytes(element).ok_or(Failure::Odd("history"))?;
            match pushed::decode(&element) {
                Ok(ChannelEvent::Publication(publication, epoch))
                    if epoch == position.epoch && publication.offset <= position.offset =>
                {
                    publications.push(publication);
                }
                _ => {
                    tracing::warn!(%channel, "an element of the list is no publication of this stream")
                }
            }
        }
        select(&mut publications, query);
        Ok(History {
            publications,
            position,
        })
    }
}

impl Redis {
    /// Tells the sequencer what was read. False when a subscriber cannot begin there.
    async fn observed(
        &self,
        channel: &Channel,
        read: &Result<History, Error>,
    ) -> Result<bool, Error> {
        let (Ok(History { position: top, .. }) | Err(Error::UnrecoverablePosition(top))) = read
        else {
            return Ok(true);
        };
        match &self.at(channel)?.sequencer {
            Some(sequencer) => sequencer.observed(channel, top.clone()).await,
            None => Ok(true),
        }
    }

    /// Whether what follows a position follows something else than it did.
    fn is_unsound(&self, channel: &Channel, query: &HistoryQuery) -> Result<bool, Error> {
        let sequencer = self.at(channel)?.sequencer.as_ref();
        let asked = sequencer.zip(query.since.as_ref());
        Ok(asked.is_some_and(|(sequencer, since)| !sequencer.is_sound(channel, since)))
    }

    /// Reads history, whatever was passed on of it.
    pub(super) async fn read(
        &self,
        channel: &Channel,
        query: &HistoryQuery,
    ) -> Result<History, Error> {
        let place = self.at(channel)?;
        query.validate()?;
        place.names.permit(channel, true)?;
        if place.names.lists() {
            self.read_list(place, channel, query).await
        } else {
            self.read_stream(place, channel, query).await
        }
    }
}

#[async_trait]
impl Broker for Redis {
    async fn subscribe(&self, channel: &Channel) -> Result<(), Error> {
        let place = self.at(channel)?;
        place.names.permit(channel, false)?;
        let listener = place.listener(channel)?;
        let sequencer = place.sequencer.as_ref().ok_or(Error::Closed)?;
        sequencer.subscribed(channel).await?;
        let name = place.names.client(channel);
        let done = listener.subscribe(name.clone()).await;
        if done.is_err() && !listener.wants(&name) {
            sequencer.unsubscribed(channel).await?;
        }
        Ok(done?)
    }

    async fn unsubscribe(&self, channel: &Channel) -> Result<(), Error> {
        let place = self.at(channel)?;
        let listener = place.listener(channel)?;
        let done = listener.unsubscribe(place.names.client(channel)).await;
        if let Some(sequencer) = &place.sequencer {
            sequencer.unsubscribed(channel).await?;
        }
        Ok(done?)
    }

    async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
    ) -> Result<PublishResult, Error> {
        let place = self.at(channel)?;
        place.names.permit(channel, options.has_history())?;
        let payload = publication::encode(&publication);
        if options.has_history() {
            let versioned = (payload, publication.version);
            return self.publish_kept(place, channel, versioned, options).await;
        }
        self.publish_unkept(place, channel, payload, options).await
    }

    async fn announce(&self, channel: &Channel, event: ChannelEvent) -> Result<(), Error> {
        let place = self.at(channel)?;
        let payload = match event {
            ChannelEvent::Join(info) => pushed::join(&info),
            ChannelEvent::Leave(info) => pushed::leave(&info),
            // Publications have a way of their own, and what this node has lost concerns no other.
            ChannelEvent::Publication(..) | ChannelEvent::InsufficientState(_) => return Ok(()),
        };
        spread(place, channel, &payload).await
    }

    async fn history(&self, channel: &Channel, query: &HistoryQuery) -> Result<History, Error> {
        let unsound = self.is_unsound(channel, query)?;
        let mut read = self.read(channel, query).await;
        if matches!(read, Err(Error::Redis(Failure::Lost(_)))) {
            // The connection was dead since before. Reading changes nothing, so it may be done again.
            read = self.read(channel, query).await;
        }
        if unsound && let Ok(History { position, .. }) = read {
            read = Err(Error::UnrecoverablePosition(position));
        }
        if self.observed(channel, &read).await? {
            return read;
        }
        // Publications after it have passed already, so a subscriber who begins there would miss them.
        let again = self.read(channel, query).await;
        self.observed(channel, &again).await?;
        again
    }

    async fn remove_history(&self, channel: &Channel, _meta_ttl: Duration) -> Result<(), Error> {
        let place = self.at(channel)?;
        place.names.permit(channel, true)?;
        let key = place.names.history(channel);
        let mut remove = cmd("DEL");
        remove.arg(&key);
        place.shard.ask(Road::Orders, &key, &remove).await?;
        Ok(())
    }

    async fn ready(&self) -> Result<(), Error> {
        self.answers().await
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        for place in &self.shards {
            place.shard.close().await;
        }
    }
}

/// Sends to whoever listens, without keeping anything. In a cluster the owner of the channel's keys sends, so the order is
/// that of publications with history.
async fn spread(place: &Place, channel: &Channel, payload: &[u8]) -> Result<(), Error> {
    let (key, name) = (place.names.meta(channel), place.names.client(channel));
    let mut publish = cmd(place.names.publish());
    publish.arg(&name).arg(payload);
    place.shard.ask(Road::Orders, &key, &publish).await?;
    Ok(())
}

/// The answer of a script that publishes.
fn outcome(answer: Value) -> Result<PublishResult, Error> {
    let odd = || Failure::Odd("publish");
    let parts = value::list(answer).ok_or_else(odd)?;
    let [offset, epoch, idempotent, versioned] =
        <[Value; 4]>::try_from(parts).map_err(|_why| odd())?;
    let position = value::position(offset, epoch).ok_or_else(odd)?;
    let set = |value: Value| value::number(value) == Some(1);
    let suppressed = if set(idempotent) {
        Some(Suppressed::Idempotency)
    } else if set(versioned) {
        Some(Suppressed::Version)
    } else {
        None
    };
    Ok(PublishResult {
        position,
        suppressed,
    })
}

/// The answer of a script that reads: position, and what is kept.
fn read(answer: Value) -> Result<(StreamPosition, Value), Error> {
    let odd = || Failure::Odd("history");
    let parts = value::list(answer).ok_or_else(odd)?;
    let [top, epoch, kept] = <[Value; 3]>::try_from(parts).map_err(|_why| odd())?;
    Ok((value::position(top, epoch).ok_or_else(odd)?, kept))
}

fn check_epoch(query: &HistoryQuery, position: &StreamPosition) -> Result<(), Error> {
    match &query.since {
        Some(since) if !since.epoch.is_empty() && since.epoch != position.epoch => {
            Err(Error::UnrecoverablePosition(position.clone()))
        }
        _ => Ok(()),
    }
}

fn kept_publication(
    content: Bytes,
    offset: u64,
    top: &StreamPosition,
) -> Result<Arc<Publication>, Error> {
    let position = StreamPosition {
        offset,
        epoch: top.epoch.clone(),
    };
    let decoded = publication::decode(content, position);
    let (publication, _) = decoded.map_err(|_malformed| Failure::Odd("history"))?;
    Ok(Arc::new(publication))
}

/// The asked part of a whole list, which comes newest first.
fn select(publications: &mut Vec<Arc<Publication>>, query: &HistoryQuery) {
    let since = query.since.as_ref().map(|since| since.offset);
    if !query.reverse {
        publications.reverse();
    }
    publications.retain(|publication| match since {
        None => true,
        Some(since) if query.reverse => publication.offset < since,
        Some(since) => publication.offset > since,
    });
    publications.truncate(query.limit.unwrap_or(usize::MAX));
}

/// Arguments of scripts are text.
fn text(number: impl Into<u64>) -> Vec<u8> {
    number.into().to_string().into_bytes()
}

/// A number of publications.
fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn seconds(duration: Duration) -> Vec<u8> {
    text(duration.as_secs())
}

fn flag(on: bool) -> Vec<u8> {
    if on { b"1".into() } else { b"0".into() }
}
