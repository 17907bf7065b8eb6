//! Which channels a node asks its engine for, and when it gives them up.

use futures_util::future::join_all;

use super::{bus::*, *};
use crate::{
    hub::{Mailbox, Subscriber},
    model::{SlowPolicy, SubscriptionKey, Version},
    protocol::frame::{PositionFormat, Style, WireForm},
};

fn subscriber(generation: u32) -> Subscriber {
    Subscriber {
        mailbox: Arc::new(Mailbox::new(1024)),
        key: SubscriptionKey {
            slot: 0,
            generation,
        },
        form: WireForm {
            version: Version::V2,
            encoding: Encoding::Json,
            positions: PositionFormat::Offset,
            framing: Framing::WebSocket,
            bare: false,
        },
        style: Style::default(),
        join_leave: false,
        filter: None,
        slow: SlowPolicy::default(),
        positioned: false,
    }
}

async fn join(node: &Node, channel: &str, subscriber: &Subscriber) -> Result<(), engine::Error> {
    let shared = &node.shared;
    let channel = Channel::from(channel);
    shared
        .interest
        .join(shared, &channel, subscriber.clone())
        .await
}

fn leave(node: &Node, channel: &str, subscriber: &Subscriber) {
    let channel = Channel::from(channel);
    node.shared
        .hub_leave(&channel, &subscriber.mailbox, subscriber.key);
    node.shared.interest.settle(&node.shared, &channel);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_channels_do_not_wait_for_each_other() {
    let (_bus, [(node, plug)]) = Bus::fleet().await;
    plug.faults.lock().delay = Duration::from_millis(100);
    let started = tokio::time::Instant::now();
    let joins = (0..10_000).map(|n| {
        let node = &node;
        async move { join(node, &format!("ch{n}"), &subscriber(n)).await }
    });
    let results = join_all(joins).await;
    assert!(results.iter().all(Result::is_ok));
    assert!(started.elapsed() < Duration::from_millis(200));
    assert_eq!(plug.count("subscribe"), 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_asked_for_once_and_everybody_waits_for_the_answer() {
    let (_bus, [(node, plug)]) = Bus::fleet().await;
    plug.faults.lock().delay = Duration::from_millis(100);
    let joins = (0..50).map(|n| {
        let (node, plug) = (&node, &plug);
        async move {
            join(node, "ch", &subscriber(n)).await.unwrap();
            assert!(plug.channels.lock().contains("ch"), "confirmed before");
        }
    });
    join_all(joins).await;
    assert_eq!(plug.count("subscribe"), 1);
    assert!(node.shared.interest.is_idle(), "no turn is left over");
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_given_up_a_second_after_its_last_subscriber_has_left() {
    let (_bus, [(node, plug)]) = Bus::fleet().await;
    let (one, other) = (subscriber(1), subscriber(2));
    join(&node, "ch", &one).await.unwrap();
    join(&node, "ch", &other).await.unwrap();
    leave(&node, "ch", &one);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(plug.count("unsubscribe"), 0, "one is still there");
    leave(&node, "ch", &other);
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(plug.count("unsubscribe"), 0, "too early");
    // Who comes back finds it.
    join(&node, "ch", &one).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((plug.count("subscribe"), plug.count("unsubscribe")), (1, 0));
    leave(&node, "ch", &one);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(plug.count("unsubscribe"), 1);
    assert!(plug.channels.lock().is_empty());
    join(&node, "ch", &one).await.unwrap();
    assert_eq!(plug.count("subscribe"), 2);
    assert!(node.shared.interest.is_idle());
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribe_that_fails_is_tried_again_until_somebody_comes() {
    let (_bus, [(node, plug)]) = Bus::fleet().await;
    let one = subscriber(1);
    join(&node, "ch", &one).await.unwrap();
    plug.faults.lock().failures = 3;
    leave(&node, "ch", &one);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(plug.count("unsubscribe"), 1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(plug.count("unsubscribe"), 2, "after half a second");
    // The engine may have done it: it is asked again.
    plug.faults.lock().failures = 0;
    join(&node, "ch", &one).await.unwrap();
    assert_eq!(plug.count("subscribe"), 2);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(plug.count("unsubscribe"), 2, "somebody is there");
    plug.faults.lock().failures = 4;
    leave(&node, "ch", &one);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(plug.count("unsubscribe"), 7, "the fifth succeeds");
    assert!(plug.channels.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subscribe_that_fails_or_is_given_up_leaves_nobody_deaf() {
    let (_bus, [(node, plug)]) = Bus::fleet().await;
    let (one, other) = (subscriber(1), subscriber(2));
    {
        let mut faults = plug.faults.lock();
        faults.delay = Duration::from_millis(100);
        faults.failures = 1;
    }
    // Both wait for the same answer; the first is refused, and the second asks for itself.
    let (first, second) = tokio::join!(join(&node, "ch", &one), join(&node, "ch", &other));
    assert!(first.is_err() && second.is_ok());
    assert_eq!(plug.count("subscribe"), 2);
    assert!(plug.channels.lock().contains("ch"));
    // A connection that ends meanwhile.
    let hasty = tokio::time::timeout(Duration::from_millis(10), join(&node, "ch2", &one));
    assert!(hasty.await.is_err());
    leave(&node, "ch2", &one);
    join(&node, "ch2", &other).await.unwrap();
    assert!(plug.channels.lock().contains("ch2"));
    assert!(node.shared.interest.is_idle());
}

#[tokio::test(start_paused = true)]
async fn the_engine_is_not_asked_to_forget_before_it_has_answered() {
    let (_bus, [(node, plug)]) = Bus::fleet().await;
    let one = subscriber(1);
    join(&node, "ch", &one).await.unwrap();
    leave(&node, "ch", &one);
    plug.faults.lock().delay = Duration::from_secs(2);
    until(|| plug.count("unsubscribe") == 1).await;
    // The unsubscribe is under way: a subscribe now must not be overtaken by it.
    join(&node, "ch", &one).await.unwrap();
    assert!(plug.channels.lock().contains("ch"));
    let asked: Vec<_> = plug.asked.lock().iter().map(|(what, _)| *what).collect();
    assert_eq!(asked, ["subscribe", "unsubscribe", "subscribe"]);
}
