//! Presence (engines.md 1.7).

use super::{Arc, Channel, ClientInfo, Subject, member};
use crate::{engine::PresenceStats, model::ClientId};

async fn add(subject: &Subject, channel: &Channel, info: &Arc<ClientInfo>) {
    subject.engine.presence.add(channel, info).await.unwrap();
}

async fn remove(subject: &Subject, channel: &Channel, client: &str) {
    let client = ClientId::from(client);
    let presence = &subject.engine.presence;
    presence.remove(channel, &client).await.unwrap();
}

async fn stats(subject: &Subject, channel: &Channel) -> (usize, usize) {
    let stats = subject.engine.presence.stats(channel).await.unwrap();
    (stats.clients, stats.users)
}

async fn list(subject: &Subject, channel: &Channel) -> Vec<Arc<ClientInfo>> {
    let entries = subject.engine.presence.list(channel).await.unwrap();
    for (client, info) in &entries {
        assert_eq!(client, &info.client);
    }
    entries.into_values().collect()
}

pub(crate) async fn an_unknown_channel_is_empty(subject: Subject) {
    let channel = subject.channel().await;
    assert!(list(&subject, &channel).await.is_empty());
    let numbers = subject.engine.presence.stats(&channel).await.unwrap();
    assert_eq!(numbers, PresenceStats::default());
    remove(&subject, &channel, "nobody").await;
}

pub(crate) async fn entries_are_keyed_by_connection(subject: Subject) {
    let channel = subject.channel().await;
    let (one, two) = (member("1", "user"), member("2", "user"));
    add(&subject, &channel, &one).await;
    add(&subject, &channel, &two).await;
    assert_eq!(list(&subject, &channel).await, [one, two]);
    assert_eq!(stats(&subject, &channel).await, (2, 1));
}

pub(crate) async fn adding_again_replaces_the_entry(subject: Subject) {
    let channel = subject.channel().await;
    add(&subject, &channel, &member("1", "user")).await;
    add(&subject, &channel, &member("1", "user")).await;
    assert_eq!(stats(&subject, &channel).await, (1, 1));
    let changed = member("1", "other");
    add(&subject, &channel, &changed).await;
    assert_eq!(list(&subject, &channel).await, [changed]);
    assert_eq!(stats(&subject, &channel).await, (1, 1));
}

pub(crate) async fn removing_takes_out_one_entry(subject: Subject) {
    let channel = subject.channel().await;
    let (one, two) = (member("1", "user"), member("2", "user"));
    add(&subject, &channel, &one).await;
    add(&subject, &channel, &two).await;
    remove(&subject, &channel, "1").await;
    remove(&subject, &channel, "1").await;
    assert_eq!(list(&subject, &channel).await, [two]);
    assert_eq!(stats(&subject, &channel).await, (1, 1));
    remove(&subject, &channel, "2").await;
    assert_eq!(stats(&subject, &channel).await, (0, 0));
}

pub(crate) async fn users_are_distinct_and_the_empty_user_counts(subject: Subject) {
    let channel = subject.channel().await;
    for (client, user) in [("1", "a"), ("2", "a"), ("3", ""), ("4", ""), ("5", "b")] {
        add(&subject, &channel, &member(client, user)).await;
    }
    assert_eq!(stats(&subject, &channel).await, (5, 3));
    remove(&subject, &channel, "3").await;
    assert_eq!(stats(&subject, &channel).await, (4, 3));
    remove(&subject, &channel, "4").await;
    assert_eq!(stats(&subject, &channel).await, (3, 2));
}

pub(crate) async fn channels_have_their_own_presence(subject: Subject) {
    let (one, other) = (subject.channel().await, subject.channel().await);
    add(&subject, &one, &member("1", "user")).await;
    remove(&subject, &other, "1").await;
    assert_eq!(stats(&subject, &one).await, (1, 1));
    assert_eq!(stats(&subject, &other).await, (0, 0));
}
