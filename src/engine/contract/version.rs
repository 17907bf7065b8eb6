//! Versions (engines.md 1.3 rule 5, server-api.md 7.5).

use super::{
    PublishOptions, Subject, Suppressed, accepted, all, kept, lived, numbered, refused, versioned,
};

fn in_epoch(version_epoch: &str) -> PublishOptions {
    PublishOptions {
        version_epoch: version_epoch.to_owned(),
        ..kept(10)
    }
}

pub(crate) async fn an_equal_or_older_version_is_suppressed(mut subject: Subject) {
    let channel = subject.channel().await;
    accepted(&subject.publish(&channel, versioned(3), &kept(10)).await, 1);
    let top = subject.top(&channel).await;
    for version in [2, 3, 1] {
        let result = subject
            .publish(&channel, versioned(version), &kept(10))
            .await;
        refused(&result, Suppressed::Version, &top);
    }
    subject.drain(1).await;
    subject.quiet(&channel).await;
    // No hole: the next accepted publication has the next offset.
    accepted(&subject.publish(&channel, versioned(4), &kept(10)).await, 2);
    assert_eq!(subject.offsets(&channel, all()).await, [1, 2]);
}

pub(crate) async fn an_unversioned_publish_leaves_the_stored_pair(subject: Subject) {
    let channel = subject.channel().await;
    subject
        .publish(&channel, versioned(4), &in_epoch("e"))
        .await;
    accepted(&subject.publish(&channel, numbered(0), &kept(10)).await, 2);
    let top = subject.top(&channel).await;
    let result = subject
        .publish(&channel, versioned(4), &in_epoch("e"))
        .await;
    refused(&result, Suppressed::Version, &top);
    accepted(
        &subject
            .publish(&channel, versioned(1), &in_epoch("f"))
            .await,
        3,
    );
}

pub(crate) async fn another_version_epoch_begins_anew(subject: Subject) {
    let channel = subject.channel().await;
    accepted(
        &subject
            .publish(&channel, versioned(9), &in_epoch("a"))
            .await,
        1,
    );
    accepted(
        &subject
            .publish(&channel, versioned(1), &in_epoch("b"))
            .await,
        2,
    );
    let result = subject
        .publish(&channel, versioned(1), &in_epoch("b"))
        .await;
    assert_eq!(result.suppressed, Some(Suppressed::Version));
    // Only the last pair is kept.
    accepted(
        &subject
            .publish(&channel, versioned(9), &in_epoch("a"))
            .await,
        3,
    );
}

pub(crate) async fn an_empty_version_epoch_counts_in_any(subject: Subject) {
    let channel = subject.channel().await;
    subject
        .publish(&channel, versioned(5), &in_epoch("a"))
        .await;
    let result = subject.publish(&channel, versioned(5), &in_epoch("")).await;
    assert_eq!(result.suppressed, Some(Suppressed::Version));
    // Accepted, the empty epoch is the stored one: a named epoch differs from it.
    accepted(
        &subject.publish(&channel, versioned(6), &in_epoch("")).await,
        2,
    );
    accepted(
        &subject
            .publish(&channel, versioned(6), &in_epoch("a"))
            .await,
        3,
    );
}

pub(crate) async fn without_history_versions_are_not_compared(mut subject: Subject) {
    let channel = subject.channel().await;
    subject.publish(&channel, versioned(5), &kept(10)).await;
    let options = PublishOptions::default();
    accepted(&subject.publish(&channel, versioned(4), &options).await, 0);
    subject.drain(1).await;
    assert_eq!(subject.publication().await.0.version, 4);
    // And they are not stored.
    accepted(&subject.publish(&channel, versioned(9), &options).await, 0);
    accepted(&subject.publish(&channel, versioned(6), &kept(10)).await, 2);
}

pub(crate) async fn versions_are_exact_beyond_two_to_the_53(subject: Subject) {
    let channel = subject.channel().await;
    let large = 1 << 53;
    for (version, offset) in [(large, 1), (large + 1, 2), (u64::MAX - 1, 3), (u64::MAX, 4)] {
        let result = subject
            .publish(&channel, versioned(version), &kept(10))
            .await;
        accepted(&result, offset);
    }
    let result = subject
        .publish(&channel, versioned(u64::MAX - 1), &kept(10))
        .await;
    assert_eq!(result.suppressed, Some(Suppressed::Version));
}

pub(crate) async fn a_suppressed_publish_moves_no_deadline(subject: Subject) {
    let channel = subject.channel().await;
    let options = lived(10, 3, 60);
    subject.publish(&channel, versioned(5), &options).await;
    subject.pass(2.0).await;
    let result = subject.publish(&channel, versioned(5), &options).await;
    assert_eq!(result.suppressed, Some(Suppressed::Version));
    subject.pass(1.5).await;
    assert!(subject.offsets(&channel, all()).await.is_empty());
}

pub(crate) async fn the_version_outlives_the_publications(subject: Subject) {
    let channel = subject.channel().await;
    let options = lived(10, 1, 60);
    subject.publish(&channel, versioned(5), &options).await;
    subject.pass(1.5).await;
    let result = subject.publish(&channel, versioned(5), &options).await;
    assert_eq!(result.suppressed, Some(Suppressed::Version));
    let meta_ttl = options.history_meta_ttl;
    let broker = &subject.engine.broker;
    broker.remove_history(&channel, meta_ttl).await.unwrap();
    let result = subject.publish(&channel, versioned(5), &options).await;
    assert_eq!(result.suppressed, Some(Suppressed::Version));
    accepted(&subject.publish(&channel, versioned(6), &options).await, 2);
}
