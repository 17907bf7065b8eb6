//! Publishing with and without history (engines.md 1.3 rules 1, 2 and 12).

use super::{
    Bytes, Publication, PublishOptions, PublishResult, Subject, accepted, all, kept, lived, member,
    numbered, tags,
};
use crate::model::Epoch;

pub(crate) async fn without_history_size_nothing_is_kept(subject: Subject) {
    nothing_is_kept(subject, lived(0, 60, 3600)).await;
}

pub(crate) async fn without_history_ttl_nothing_is_kept(subject: Subject) {
    nothing_is_kept(subject, lived(10, 0, 3600)).await;
}

async fn nothing_is_kept(mut subject: Subject, options: PublishOptions) {
    let channel = subject.channel().await;
    let result = subject.publish(&channel, numbered(1), &options).await;
    assert_eq!(result, PublishResult::default());
    let (publication, epoch) = subject.publication().await;
    assert_eq!((publication.offset, epoch), (0, Epoch::default()));
    assert_eq!(publication.data, "1");
    let history = subject.history(&channel, all()).await;
    assert_eq!(
        (history.publications.len(), history.position.offset),
        (0, 0)
    );
}

pub(crate) async fn a_position_given_by_the_caller_is_replaced(mut subject: Subject) {
    let channel = subject.channel().await;
    let given = Publication {
        offset: 77,
        epoch: Epoch::from("given"),
        ..numbered(1)
    };
    subject
        .publish(&channel, given.clone(), &PublishOptions::default())
        .await;
    let (publication, _) = subject.publication().await;
    assert_eq!(
        (publication.offset, publication.epoch.is_empty()),
        (0, true)
    );
    let result = subject.publish(&channel, given, &kept(10)).await;
    let (publication, _) = subject.publication().await;
    assert_eq!(publication.offset, 1);
    assert_eq!(publication.epoch, result.position.epoch);
}

pub(crate) async fn offsets_count_from_one_without_gap(mut subject: Subject) {
    let channel = subject.channel().await;
    let mut epochs = Vec::new();
    for number in 1..=20 {
        let result = subject.publish(&channel, numbered(number), &kept(5)).await;
        accepted(&result, number);
        let (publication, epoch) = subject.publication().await;
        assert_eq!(publication.offset, number);
        assert_eq!(publication.data, number.to_string());
        assert_eq!(epoch, result.position.epoch);
        epochs.push(epoch);
    }
    assert!(epochs.iter().all(|epoch| epoch == &epochs[0]));
    let letters = epochs[0].as_str();
    assert_eq!(letters.len(), 8);
    assert!(letters.bytes().all(|byte| byte.is_ascii_alphabetic()));
}

pub(crate) async fn only_the_first_publication_carries_the_epoch(mut subject: Subject) {
    let channel = subject.channel().await;
    subject.fill(&channel, 1..=2).await;
    let (first, epoch) = subject.publication().await;
    assert_eq!(first.epoch, epoch);
    let (second, epoch) = subject.publication().await;
    assert!(second.epoch.is_empty() && !epoch.is_empty());
    let read = subject.history(&channel, all()).await.publications;
    assert_eq!(read[0].epoch, epoch);
    assert!(read[1].epoch.is_empty());
}

pub(crate) async fn an_event_carries_the_whole_publication(mut subject: Subject) {
    let channel = subject.channel().await;
    let publication = Publication {
        data: Bytes::from_static(b"\x00\xff not text"),
        info: Some(member("client", "user")),
        tags: tags(),
        version: 3,
        time: 1_700_000_000_123,
        ..Publication::default()
    };
    for options in [PublishOptions::default(), kept(1)] {
        let result = subject
            .publish(&channel, publication.clone(), &options)
            .await;
        let (arrived, epoch) = subject.publication().await;
        assert_eq!(epoch, result.position.epoch);
        let expected = Publication {
            offset: result.position.offset,
            epoch,
            ..publication.clone()
        };
        assert_eq!(*arrived, expected);
    }
}

pub(crate) async fn channels_count_on_their_own(subject: Subject) {
    let (one, other) = (subject.channel().await, subject.channel().await);
    subject.fill(&one, 1..=3).await;
    let result = subject.publish(&other, numbered(1), &kept(5)).await;
    accepted(&result, 1);
    assert_ne!(result.position.epoch, subject.top(&one).await.epoch);
}

pub(crate) async fn a_publication_that_skips_history_takes_no_offset(mut subject: Subject) {
    let channel = subject.channel().await;
    subject.fill(&channel, 1..=1).await;
    let skipped = PublishOptions::default();
    accepted(&subject.publish(&channel, numbered(2), &skipped).await, 0);
    accepted(&subject.publish(&channel, numbered(3), &kept(9)).await, 2);
    let offsets = [1, 0, 2];
    for offset in offsets {
        assert_eq!(subject.publication().await.0.offset, offset);
    }
    assert_eq!(subject.offsets(&channel, all()).await, [1, 2]);
}

pub(crate) async fn a_stream_keeps_exactly_its_size(subject: Subject) {
    let channel = subject.channel().await;
    for number in 1..=7 {
        subject.publish(&channel, numbered(number), &kept(3)).await;
        let len = subject.offsets(&channel, all()).await.len() as u64;
        assert_eq!(len, number.min(3));
    }
    assert_eq!(subject.offsets(&channel, all()).await, [5, 6, 7]);
    // The size is that of the publish: a smaller one trims, a larger one keeps from now on.
    subject.publish(&channel, numbered(8), &kept(1)).await;
    assert_eq!(subject.offsets(&channel, all()).await, [8]);
    subject.publish(&channel, numbered(9), &kept(5)).await;
    assert_eq!(subject.offsets(&channel, all()).await, [8, 9]);
}
