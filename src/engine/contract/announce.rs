//! Joins and leaves (engines.md 1.4 and 1.6).

use super::{ChannelEvent, PublishOptions, Subject, all, kept, member, numbered};

pub(crate) async fn joins_and_leaves_arrive_in_order_with_publications(mut subject: Subject) {
    let channel = subject.channel().await;
    let info = member("client", "user");
    let join = ChannelEvent::Join(info.clone());
    let leave = ChannelEvent::Leave(info);
    let broker = subject.engine.broker.clone();
    for _ in 0..10 {
        broker.announce(&channel, join.clone()).await.unwrap();
        subject.publish(&channel, numbered(1), &kept(5)).await;
        broker.announce(&channel, leave.clone()).await.unwrap();
        let options = PublishOptions::default();
        subject.publish(&channel, numbered(2), &options).await;
    }
    for _ in 0..10 {
        let mut seen = Vec::new();
        for _ in 0..4 {
            let (from, event) = subject.event().await;
            assert_eq!(from, channel);
            seen.push(match event {
                ChannelEvent::Publication(publication, _) => Err(publication.data.clone()),
                event => Ok(event),
            });
        }
        let expected = [
            Ok(join.clone()),
            Err("1".into()),
            Ok(leave.clone()),
            Err("2".into()),
        ];
        assert_eq!(seen, expected);
    }
}

pub(crate) async fn joins_and_leaves_are_never_kept(subject: Subject) {
    let channel = subject.channel().await;
    subject.fill(&channel, 1..=1).await;
    let broker = &subject.engine.broker;
    let join = ChannelEvent::Join(member("client", "user"));
    broker.announce(&channel, join).await.unwrap();
    let history = subject.history(&channel, all()).await;
    assert_eq!(history.publications.len(), 1);
    assert_eq!(history.position.offset, 1);
}
