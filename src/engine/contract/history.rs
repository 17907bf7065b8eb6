//! Reading history and the lives of streams (engines.md 1.3 rules 7 to 9, 1.5).

use std::time::Duration;

use super::{
    Epoch, HistoryQuery, PublishOptions, Subject, accepted, all, kept, lived, numbered, since,
    top_only,
};
use crate::engine::Error;

/// A stream of ten publications of which six to ten are kept.
async fn trimmed(subject: &Subject) -> (crate::model::Channel, Epoch) {
    let channel = subject.channel().await;
    for number in 1..=10 {
        subject.publish(&channel, numbered(number), &kept(5)).await;
    }
    let epoch = subject.top(&channel).await.epoch;
    (channel, epoch)
}

pub(crate) async fn reading_creates_the_stream(subject: Subject) {
    let channel = subject.channel().await;
    let position = subject.top(&channel).await;
    assert_eq!(position.offset, 0);
    assert!(!position.epoch.is_empty());
    assert_eq!(subject.top(&channel).await, position);
    let result = subject.publish(&channel, numbered(1), &kept(5)).await;
    accepted(&result, 1);
    assert_eq!(result.position.epoch, position.epoch);
}

pub(crate) async fn limit_zero_returns_the_position_only(subject: Subject) {
    let (channel, epoch) = trimmed(&subject).await;
    for reverse in [false, true] {
        let query = HistoryQuery {
            limit: Some(0),
            ..since(8, &epoch, reverse)
        };
        let history = subject.history(&channel, query).await;
        assert!(history.publications.is_empty());
        assert_eq!(history.position.offset, 10);
        assert_eq!(history.position.epoch, epoch);
    }
}

pub(crate) async fn without_since_forwards_is_oldest_first(subject: Subject) {
    let (channel, _) = trimmed(&subject).await;
    assert_eq!(subject.offsets(&channel, all()).await, [6, 7, 8, 9, 10]);
    assert_eq!(limited(&subject, &channel, all(), 2).await, [6, 7]);
}

pub(crate) async fn without_since_backwards_is_newest_first(subject: Subject) {
    let (channel, _) = trimmed(&subject).await;
    let backwards = HistoryQuery {
        reverse: true,
        ..all()
    };
    let offsets = subject.offsets(&channel, backwards.clone()).await;
    assert_eq!(offsets, [10, 9, 8, 7, 6]);
    assert_eq!(limited(&subject, &channel, backwards, 2).await, [10, 9]);
}

pub(crate) async fn since_forwards_begins_after_the_position(subject: Subject) {
    let (channel, epoch) = trimmed(&subject).await;
    for (offset, expected) in [
        (7, vec![8, 9, 10]),
        (9, vec![10]),
        (10, vec![]),
        (11, vec![]),
        (u64::MAX, vec![]),
    ] {
        let query = since(offset, &epoch, false);
        assert_eq!(subject.offsets(&channel, query).await, expected);
    }
    let query = since(7, &epoch, false);
    assert_eq!(limited(&subject, &channel, query, 2).await, [8, 9]);
}

pub(crate) async fn since_forwards_below_the_kept_part_begins_at_the_oldest(subject: Subject) {
    let (channel, epoch) = trimmed(&subject).await;
    for offset in [0, 3, 5] {
        let query = since(offset, &epoch, false);
        assert_eq!(subject.offsets(&channel, query).await, [6, 7, 8, 9, 10]);
    }
}

pub(crate) async fn since_backwards_begins_before_the_position(subject: Subject) {
    let (channel, epoch) = trimmed(&subject).await;
    for (offset, expected) in [
        (9, vec![8, 7, 6]),
        (7, vec![6]),
        (6, vec![]),
        (3, vec![]),
        (1, vec![]),
    ] {
        let query = since(offset, &epoch, true);
        assert_eq!(subject.offsets(&channel, query).await, expected);
    }
    let query = since(9, &epoch, true);
    assert_eq!(limited(&subject, &channel, query, 2).await, [8, 7]);
}

pub(crate) async fn since_backwards_above_the_top_begins_at_the_top(subject: Subject) {
    let (channel, epoch) = trimmed(&subject).await;
    for offset in [11, 12, 500, u64::MAX] {
        let query = since(offset, &epoch, true);
        assert_eq!(subject.offsets(&channel, query).await, [10, 9, 8, 7, 6]);
    }
}

pub(crate) async fn since_zero_backwards_is_refused(subject: Subject) {
    let (channel, epoch) = trimmed(&subject).await;
    for limit in [None, Some(0), Some(5)] {
        let query = HistoryQuery {
            limit,
            ..since(0, &epoch, true)
        };
        let refusal = subject.engine.broker.history(&channel, &query).await;
        assert!(matches!(refusal, Err(Error::BadQuery)));
    }
}

pub(crate) async fn another_epoch_is_refused_with_the_present_position(subject: Subject) {
    let (channel, epoch) = trimmed(&subject).await;
    for (reverse, limit) in [(false, None), (true, None), (false, Some(0))] {
        let query = HistoryQuery {
            limit,
            ..since(8, &Epoch::from("another"), reverse)
        };
        match subject.engine.broker.history(&channel, &query).await {
            Err(Error::UnrecoverablePosition(position)) => {
                assert_eq!((position.offset, &position.epoch), (10, &epoch));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

pub(crate) async fn an_empty_epoch_is_not_checked(subject: Subject) {
    let (channel, _) = trimmed(&subject).await;
    let none = Epoch::default();
    assert_eq!(
        subject.offsets(&channel, since(8, &none, false)).await,
        [9, 10]
    );
    assert_eq!(
        subject.offsets(&channel, since(8, &none, true)).await,
        [7, 6]
    );
}

pub(crate) async fn kept_publications_are_those_that_were_sent(mut subject: Subject) {
    let channel = subject.channel().await;
    subject.fill(&channel, 1..=3).await;
    let history = subject.history(&channel, all()).await;
    for kept in history.publications {
        assert_eq!(subject.publication().await.0, kept);
    }
}

pub(crate) async fn the_life_of_a_stream_slides_with_every_publish(subject: Subject) {
    let channel = subject.channel().await;
    let options = lived(10, 3, 60);
    for number in 1..=3 {
        subject.publish(&channel, numbered(number), &options).await;
        subject.pass(2.0).await;
    }
    // The first is six seconds old and still there: publications do not age one by one.
    assert_eq!(subject.offsets(&channel, all()).await, [1, 2, 3]);
    subject.pass(1.5).await;
    assert!(subject.offsets(&channel, all()).await.is_empty());
}

pub(crate) async fn expired_publications_keep_offset_and_epoch(subject: Subject) {
    let channel = subject.channel().await;
    let options = lived(10, 1, 60);
    subject.publish(&channel, numbered(1), &options).await;
    let before = subject.top(&channel).await;
    subject.pass(1.5).await;
    assert_eq!(subject.top(&channel).await, before);
    let query = since(1, &before.epoch, false);
    assert!(subject.offsets(&channel, query).await.is_empty());
    let result = subject.publish(&channel, numbered(2), &options).await;
    accepted(&result, 2);
    assert_eq!(result.position.epoch, before.epoch);
    assert_eq!(subject.offsets(&channel, all()).await, [2]);
}

pub(crate) async fn a_lost_position_begins_a_new_epoch(subject: Subject) {
    let channel = subject.channel().await;
    let options = lived(10, 1, 2);
    let before = subject.publish(&channel, numbered(1), &options).await;
    subject.pass(2.5).await;
    let after = subject.publish(&channel, numbered(2), &options).await;
    accepted(&after, 1);
    assert_ne!(after.position.epoch, before.position.epoch);
    assert_eq!(subject.offsets(&channel, all()).await, [1]);
}

pub(crate) async fn every_read_prolongs_the_position(subject: Subject) {
    let channel = subject.channel().await;
    let before = subject
        .publish(&channel, numbered(1), &lived(10, 1, 3))
        .await;
    let query = HistoryQuery {
        meta_ttl: Duration::from_secs(3),
        ..top_only()
    };
    for _ in 0..3 {
        subject.pass(2.0).await;
        let read = subject.history(&channel, query.clone()).await;
        assert_eq!(read.position, before.position);
    }
    subject.pass(3.5).await;
    let read = subject.history(&channel, query).await;
    assert_ne!(read.position.epoch, before.position.epoch);
    assert_eq!(read.position.offset, 0);
}

pub(crate) async fn removed_history_keeps_offset_and_epoch(subject: Subject) {
    let channel = subject.channel().await;
    subject.fill(&channel, 1..=3).await;
    let before = subject.top(&channel).await;
    let meta_ttl = Duration::from_secs(3600);
    let broker = &subject.engine.broker;
    broker.remove_history(&channel, meta_ttl).await.unwrap();
    let history = subject.history(&channel, all()).await;
    assert!(history.publications.is_empty());
    assert_eq!(history.position, before);
    let result = subject.publish(&channel, numbered(4), &kept(10)).await;
    accepted(&result, 4);
    // A channel without a stream has nothing to remove.
    let unknown = subject.channel().await;
    broker.remove_history(&unknown, meta_ttl).await.unwrap();
}

pub(crate) async fn lives_below_a_second_last_a_second(subject: Subject) {
    let channel = subject.channel().await;
    let options = PublishOptions {
        history_ttl: Duration::from_millis(300),
        ..lived(10, 0, 60)
    };
    subject.publish(&channel, numbered(1), &options).await;
    subject.pass(0.6).await;
    assert_eq!(subject.offsets(&channel, all()).await, [1]);
    subject.pass(1.0).await;
    assert!(subject.offsets(&channel, all()).await.is_empty());
}

async fn limited(
    subject: &Subject,
    channel: &crate::model::Channel,
    query: HistoryQuery,
    limit: usize,
) -> Vec<u64> {
    let query = HistoryQuery {
        limit: Some(limit),
        ..query
    };
    subject.offsets(channel, query).await
}
