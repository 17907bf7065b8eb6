//! Many publishers at once (engines.md 1.3 rules 2 and 11, 1.6); meant for a runtime with several threads.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::{Subject, Suppressed, all, kept, keyed, numbered};

const PUBLISHERS: u64 = 16;
const EACH: u64 = 200;

pub(crate) async fn concurrent_publishers_make_one_gapless_sequence_of_events(
    mut subject: Subject,
) {
    let channels = [subject.channel().await, subject.channel().await];
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let (broker, channels) = (subject.engine.broker.clone(), channels.clone());
        publishers.spawn(async move {
            let mut last = [0, 0];
            for number in 0..EACH {
                let which = usize::from(number % 2 == 1);
                let publication = numbered(publisher * EACH + number);
                let channel = &channels[which];
                let result = broker
                    .publish(channel, publication, &kept(7))
                    .await
                    .unwrap();
                // A publish issued after the previous one returned gets a larger offset.
                assert!(result.position.offset > last[which]);
                last[which] = result.position.offset;
            }
        });
    }
    let mut next = [1, 1];
    let mut payloads = BTreeSet::new();
    for _ in 0..PUBLISHERS * EACH {
        let (channel, event) = subject.event().await;
        let super::ChannelEvent::Publication(publication, _) = event else {
            panic!("unexpected {event:?}");
        };
        let which = usize::from(channel == channels[1]);
        assert_eq!(publication.offset, next[which]);
        next[which] += 1;
        payloads.insert(publication.data.clone());
    }
    while let Some(publisher) = publishers.join_next().await {
        publisher.unwrap();
    }
    assert_eq!(payloads.len() as u64, PUBLISHERS * EACH);
    let total = PUBLISHERS * EACH / 2;
    assert_eq!(subject.top(&channels[0]).await.offset, total);
    let newest: Vec<u64> = (total - 6..=total).collect();
    assert_eq!(subject.offsets(&channels[0], all()).await, newest);
}

pub(crate) async fn one_of_many_concurrent_publishes_with_a_key_is_accepted(mut subject: Subject) {
    let channel = subject.channel().await;
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        let (broker, channel) = (subject.engine.broker.clone(), channel.clone());
        publishers.spawn(async move {
            let options = keyed("key", kept(10));
            let result = broker.publish(&channel, numbered(number), &options).await;
            result.unwrap()
        });
    }
    let mut accepted = 0;
    while let Some(result) = publishers.join_next().await {
        let result = result.unwrap();
        assert_eq!(result.position.offset, 1);
        match result.suppressed {
            None => accepted += 1,
            Some(why) => assert_eq!(why, Suppressed::Idempotency),
        }
    }
    assert_eq!(accepted, 1);
    subject.drain(1).await;
    subject.quiet(&channel).await;
}
