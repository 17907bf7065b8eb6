//! What every engine owes a node (engines.md 1.3 to 1.7), as tests over a constructor.
//!
//! Written once: an engine's own tests name a function that opens a [`Subject`] and the groups it serves, see
//! [`engine_contract`]. Nothing here knows which engine it is looking at.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::{FutureExt as _, select_all};

use super::{
    Engine, Event, EventReceiver, History, HistoryQuery, PublishOptions, PublishResult, Suppressed,
};
use crate::model::{Channel, ChannelEvent, ClientInfo, Epoch, Publication, StreamPosition, UserId};

pub(crate) mod announce;
pub(crate) mod concurrency;
pub(crate) mod history;
pub(crate) mod idempotency;
pub(crate) mod lifecycle;
pub(crate) mod model;
pub(crate) mod presence;
pub(crate) mod publish;
pub(crate) mod version;

/// How time goes by for the engine under test.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// Tokio's paused clock, moved by hand.
    Paused,
    /// The clock of the wall, for engines whose lives are counted by another process.
    Real,
}

/// An engine under test and the other end of its event queues.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) engine: Engine,
    pub(crate) events: Vec<EventReceiver>,
    pub(crate) clock: Clock,
}

impl Subject {
    /// Lets time go by.
    async fn pass(&self, seconds: f64) {
        let duration = Duration::from_secs_f64(seconds);
        match self.clock {
            Clock::Paused => tokio::time::advance(duration).await,
            Clock::Real => tokio::time::sleep(duration).await,
        }
    }

    /// A subscribed channel nobody else uses.
    async fn channel(&self) -> Channel {
        let channel = Channel::from(format!("contract:{}", uuid::Uuid::new_v4()));
        self.subscribe(&channel).await;
        channel
    }

    async fn subscribe(&self, channel: &Channel) {
        self.engine.broker.subscribe(channel).await.unwrap();
    }

    async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
    ) -> PublishResult {
        let broker = &self.engine.broker;
        broker.publish(channel, publication, options).await.unwrap()
    }

    /// Publishes payloads `from` to `to`.
    async fn fill(&self, channel: &Channel, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.publish(channel, numbered(number), &kept(100)).await;
        }
    }

    async fn history(&self, channel: &Channel, query: HistoryQuery) -> History {
        self.engine.broker.history(channel, &query).await.unwrap()
    }

    async fn top(&self, channel: &Channel) -> StreamPosition {
        let history = self.history(channel, top_only()).await;
        assert!(history.publications.is_empty());
        history.position
    }

    /// Offsets of what a query returns.
    async fn offsets(&self, channel: &Channel, query: HistoryQuery) -> Vec<u64> {
        let history = self.history(channel, query).await;
        history.publications.iter().map(|p| p.offset).collect()
    }

    /// The next event of any pump.
    async fn event(&mut self) -> (Channel, ChannelEvent) {
        let next = select_all(self.events.iter_mut().map(|events| events.recv().boxed()));
        let (event, ..) = tokio::time::timeout(Duration::from_secs(5), next)
            .await
            .expect("an event within five seconds");
        match event.expect("an open event queue") {
            Event::Channel(channel, event) | Event::Late(channel, event) => (channel, event),
            Event::Control(from, command) => panic!("unexpected {command:?} of {from}"),
        }
    }

    /// The next publication and the epoch it belongs to.
    async fn publication(&mut self) -> (Arc<Publication>, Epoch) {
        match self.event().await.1 {
            ChannelEvent::Publication(publication, epoch) => (publication, epoch),
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Fails when the channel has an event on its way: a marker sent now must be the next.
    async fn quiet(&mut self, channel: &Channel) {
        let marker = numbered(u64::MAX);
        self.publish(channel, marker.clone(), &PublishOptions::default())
            .await;
        assert_eq!(self.publication().await.0.data, marker.data);
    }

    async fn drain(&mut self, count: usize) {
        for _ in 0..count {
            self.publication().await;
        }
    }
}

/// A publication whose payload is a number.
fn numbered(number: u64) -> Publication {
    Publication {
        data: Bytes::from(number.to_string()),
        ..Publication::default()
    }
}

/// A publication with a version.
fn versioned(version: u64) -> Publication {
    Publication {
        version,
        ..numbered(version)
    }
}

/// History of so many publications for a minute, position for an hour.
fn kept(history_size: usize) -> PublishOptions {
    lived(history_size, 60, 3600)
}

/// History with the lives given in seconds.
fn lived(history_size: usize, ttl: u64, meta_ttl: u64) -> PublishOptions {
    PublishOptions {
        history_size,
        history_ttl: Duration::from_secs(ttl),
        history_meta_ttl: Duration::from_secs(meta_ttl),
        ..PublishOptions::default()
    }
}

/// These options with an idempotency key.
fn keyed(key: &str, options: PublishOptions) -> PublishOptions {
    PublishOptions {
        idempotency_key: Some(key.to_owned()),
        ..options
    }
}

/// Everything that is kept, oldest first.
fn all() -> HistoryQuery {
    HistoryQuery {
        meta_ttl: Duration::from_secs(3600),
        ..HistoryQuery::default()
    }
}

fn top_only() -> HistoryQuery {
    HistoryQuery {
        limit: Some(0),
        ..all()
    }
}

fn since(offset: u64, epoch: &Epoch, reverse: bool) -> HistoryQuery {
    HistoryQuery {
        since: Some(StreamPosition {
            offset,
            epoch: epoch.clone(),
        }),
        reverse,
        ..all()
    }
}

fn accepted(result: &PublishResult, offset: u64) {
    assert_eq!(result.suppressed, None);
    assert_eq!(result.position.offset, offset);
    assert_eq!(result.position.epoch.is_empty(), offset == 0);
}

fn refused(result: &PublishResult, why: Suppressed, position: &StreamPosition) {
    assert_eq!(result.suppressed, Some(why));
    assert_eq!(&result.position, position);
}

fn member(client: &str, user: &str) -> Arc<ClientInfo> {
    Arc::new(ClientInfo {
        user: UserId::from(user),
        client: client.into(),
        conn_info: Bytes::from_static(b"{\"name\":\"x\"}"),
        chan_info: Bytes::from_static(b"[1]"),
    })
}

fn tags() -> crate::model::Tags {
    Some(Arc::new(BTreeMap::from([("k".into(), "v".into())])))
}

/// Instantiates groups of the contract for one engine.
///
/// `open` is the absolute path of an `async fn() -> Subject`; the attribute is put on every test:
/// `engine_contract!(crate::engine::memory::tests::open, tokio::test(start_paused = true), publish, history);`
macro_rules! engine_contract {
    ($open:path, $attribute:meta, $($group:ident),+ $(,)?) => {
        $( $crate::engine::contract::engine_contract!(@$group $open, $attribute); )+
    };
    (@publish $open:path, $attribute:meta) => {
        $crate::engine::contract::engine_contract!(@tests publish, $open, $attribute,
            without_history_size_nothing_is_kept,
            without_history_ttl_nothing_is_kept,
            a_position_given_by_the_caller_is_replaced,
            offsets_count_from_one_without_gap,
            only_the_first_publication_carries_the_epoch,
            an_event_carries_the_whole_publication,
            channels_count_on_their_own,
            a_publication_that_skips_history_takes_no_offset,
            a_stream_keeps_exactly_its_size,
        );
    };
    (@idempotency $open:path, $attribute:meta) => {
        $crate::engine::contract::engine_contract!(@tests idempotency, $open, $attribute,
            a_second_publish_returns_the_first_position,
            without_history_a_second_publish_is_suppressed_with_empty_position,
            scope_is_the_pair_of_channel_and_key,
            life_counts_from_the_first_publish,
            a_key_is_checked_before_the_version,
            a_publish_suppressed_by_version_leaves_no_mark,
            an_empty_key_is_no_key,
        );
    };
    (@version $open:path, $attribute:meta) => {
        $crate::engine::contract::engine_contract!(@tests version, $open, $attribute,
            an_equal_or_older_version_is_suppressed,
            an_unversioned_publish_leaves_the_stored_pair,
            another_version_epoch_begins_anew,
            an_empty_version_epoch_counts_in_any,
            without_history_versions_are_not_compared,
            versions_are_exact_beyond_two_to_the_53,
            a_suppressed_publish_moves_no_deadline,
            the_version_outlives_the_publications,
        );
    };
    (@history $open:path, $attribute:meta) => {
        $crate::engine::contract::engine_contract!(@tests history, $open, $attribute,
            reading_creates_the_stream,
            limit_zero_returns_the_position_only,
            without_since_forwards_is_oldest_first,
            without_since_backwards_is_newest_first,
            since_forwards_begins_after_the_position,
            since_forwards_below_the_kept_part_begins_at_the_oldest,
            since_backwards_begins_before_the_position,
            since_backwards_above_the_top_begins_at_the_top,
            since_zero_backwards_is_refused,
            another_epoch_is_refused_with_the_present_position,
            an_empty_epoch_is_not_checked,
            kept_publications_are_those_that_were_sent,
            the_life_of_a_stream_slides_with_every_publish,
            expired_publications_keep_offset_and_epoch,
            a_lost_position_begins_a_new_epoch,
            every_read_prolongs_the_position,
            removed_history_keeps_offset_and_epoch,
            lives_below_a_second_last_a_second,
        );
    };
    (@announce $open:path, $attribute:meta) => {
        $crate::engine::contract::engine_contract!(@tests announce, $open, $attribute,
            joins_and_leaves_arrive_in_order_with_publications,
            joins_and_leaves_are_never_kept,
        );
    };
    (@presence $open:path, $attribute:meta) => {
        $crate::engine::contract::engine_contract!(@tests presence, $open, $attribute,
            an_unknown_channel_is_empty,
            entries_are_keyed_by_connection,
            adding_again_replaces_the_entry,
            removing_takes_out_one_entry,
            users_are_distinct_and_the_empty_user_counts,
            channels_have_their_own_presence,
        );
    };
    (@lifecycle $open:path, $attribute:meta) => {
        $crate::engine::contract::engine_contract!(@tests lifecycle, $open, $attribute,
            subscribing_and_unsubscribing_may_be_repeated,
            a_control_command_does_not_come_back,
            a_closed_engine_refuses_everything,
        );
    };
    (@concurrency $open:path, $attribute:meta) => {
        $crate::engine::contract::engine_contract!(@tests concurrency, $open, $attribute,
            concurrent_publishers_make_one_gapless_sequence_of_events,
            one_of_many_concurrent_publishes_with_a_key_is_accepted,
        );
    };
    (@tests $group:ident, $open:path, $attribute:meta, $($name:ident),+ $(,)?) => {
        mod $group {
            $(
                #[$attribute]
                async fn $name() {
                    $crate::engine::contract::$group::$name($open().await).await;
                }
            )+
        }
    };
}
pub(crate) use engine_contract;
