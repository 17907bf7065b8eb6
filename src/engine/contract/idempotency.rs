//! Idempotency keys (engines.md 1.3 rules 3 and 4, server-api.md 7.4).

use std::time::Duration;

use super::{
    Channel, PublishOptions, StreamPosition, Subject, Suppressed, accepted, all, kept, keyed,
    numbered, refused, versioned,
};

pub(crate) async fn a_second_publish_returns_the_first_position(mut subject: Subject) {
    let channel = subject.channel().await;
    let options = keyed("key", kept(10));
    let first = subject.publish(&channel, numbered(1), &options).await;
    accepted(&first, 1);
    subject.publish(&channel, numbered(2), &kept(10)).await;
    let second = subject.publish(&channel, numbered(3), &options).await;
    refused(&second, Suppressed::Idempotency, &first.position);
    subject.drain(2).await;
    subject.quiet(&channel).await;
    assert_eq!(subject.offsets(&channel, all()).await, [1, 2]);
}

pub(crate) async fn without_history_a_second_publish_is_suppressed_with_empty_position(
    mut subject: Subject,
) {
    let channel = subject.channel().await;
    let options = keyed("key", PublishOptions::default());
    accepted(&subject.publish(&channel, numbered(1), &options).await, 0);
    let second = subject.publish(&channel, numbered(2), &options).await;
    refused(&second, Suppressed::Idempotency, &StreamPosition::default());
    assert_eq!(subject.publication().await.0.data, "1");
    subject.quiet(&channel).await;
}

pub(crate) async fn scope_is_the_pair_of_channel_and_key(subject: Subject) {
    let prefix = subject.channel().await;
    let pairs = [
        (format!("{prefix}a_b"), "c"),
        (format!("{prefix}a"), "b_c"),
        (format!("{prefix}a_b"), "d"),
        (format!("{prefix}b"), "c"),
    ];
    for (channel, key) in &pairs {
        let channel = Channel::from(channel.as_str());
        let options = keyed(key, PublishOptions::default());
        accepted(&subject.publish(&channel, numbered(1), &options).await, 0);
    }
}

pub(crate) async fn life_counts_from_the_first_publish(subject: Subject) {
    let channel = subject.channel().await;
    let options = PublishOptions {
        idempotent_result_ttl: Duration::from_secs(4),
        ..keyed("key", kept(10))
    };
    let first = subject.publish(&channel, numbered(1), &options).await;
    subject.pass(2.5).await;
    let hit = subject.publish(&channel, numbered(2), &options).await;
    refused(&hit, Suppressed::Idempotency, &first.position);
    subject.pass(2.0).await;
    accepted(&subject.publish(&channel, numbered(3), &options).await, 2);
    let hit = subject.publish(&channel, numbered(4), &options).await;
    assert_eq!(hit.suppressed, Some(Suppressed::Idempotency));
    assert_eq!(hit.position.offset, 2);
}

pub(crate) async fn a_key_is_checked_before_the_version(subject: Subject) {
    let channel = subject.channel().await;
    let options = keyed("key", kept(10));
    let first = subject.publish(&channel, versioned(5), &options).await;
    subject.publish(&channel, versioned(6), &kept(10)).await;
    let second = subject.publish(&channel, versioned(5), &options).await;
    refused(&second, Suppressed::Idempotency, &first.position);
}

pub(crate) async fn a_publish_suppressed_by_version_leaves_no_mark(subject: Subject) {
    let channel = subject.channel().await;
    subject.publish(&channel, versioned(5), &kept(10)).await;
    let options = keyed("key", kept(10));
    let older = subject.publish(&channel, versioned(4), &options).await;
    assert_eq!(older.suppressed, Some(Suppressed::Version));
    accepted(&subject.publish(&channel, versioned(6), &options).await, 2);
}

pub(crate) async fn an_empty_key_is_no_key(subject: Subject) {
    let channel = subject.channel().await;
    let options = keyed("", kept(10));
    accepted(&subject.publish(&channel, numbered(1), &options).await, 1);
    accepted(&subject.publish(&channel, numbered(2), &options).await, 2);
}
