//! Subscription streams (proxy.md 14): a call of the backend feeds one subscription of one client.

use serde_json::{Value, json};

use super::{Backend, Way, rpc};
use crate::{
    harness::{Client, Transport, eventually, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    a_stream_feeds_its_subscriber_alone,
    the_end_of_a_stream_ends_the_subscription,
    refusals_come_before_the_stream,
    clients_speak_into_their_stream,
    the_end_of_a_subscription_ends_its_stream,
);

fn settings(backend: &Backend) -> Value {
    let mut settings = backend.settings(Way::Grpc);
    settings["channel"]["proxy"]["subscribe_stream"]["timeout"] = json!("3s");
    let namespaces = settings["channel"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(
        json!({"name": "ticks", "subscribe_stream_proxy_enabled": true,
        "presence": true, "allow_presence_for_subscriber": true}),
    );
    namespaces.push(
        json!({"name": "talk", "subscribe_stream_proxy_enabled": true,
        "subscribe_stream_proxy_bidirectional": true}),
    );
    settings
}

async fn setup() -> (Backend, Server) {
    let backend = Backend::start().await;
    let server = server(settings(&backend)).await;
    (backend, server)
}

/// The next push must be this publication.
async fn publication(client: &mut Client, channel: &str, data: Value) {
    let push = client.push().await;
    assert_eq!(push["channel"], channel, "{push}");
    assert_eq!(push["pub"]["data"], data, "{push}");
    assert_eq!(push["pub"].get("offset"), None);
}

/// The next push must be the end of the subscription.
async fn ended(client: &mut Client, channel: &str, code: u32) {
    let push = client.push().await;
    assert_eq!(push["channel"], channel, "{push}");
    assert_eq!(push["unsubscribe"]["code"], code, "{push}");
}

async fn a_stream_feeds_its_subscriber_alone(on: Transport) {
    let (_backend, server) = setup().await;
    let mut ann = on.user(&server, "ann").await;
    let mut bob = on.user(&server, "bob").await;
    let result = ann
        .subscribe(json!({"channel": "ticks:all", "recoverable": true, "positioned": true}))
        .await;
    assert_eq!(result["data"], json!({"stream": true}));
    assert_eq!(result.get("recoverable"), None, "a stream has no past");
    publication(&mut ann, "ticks:all", json!(1)).await;
    bob.subscribe(json!({"channel": "ticks:all"})).await;
    // Each has a stream of its own, from its beginning.
    publication(&mut bob, "ticks:all", json!(1)).await;
    publication(&mut ann, "ticks:all", json!(2)).await;
    let presence = ann
        .call(json!({"presence": {"channel": "ticks:all"}}))
        .await;
    let present = presence["presence"]["presence"].as_object();
    assert_eq!(present.map(serde_json::Map::len), Some(2), "{presence}");
    let refused = json!({"publish": {"channel": "ticks:all", "data": 1}});
    assert_eq!(ann.refused(refused).await, 108, "one way only");
}

async fn the_end_of_a_stream_ends_the_subscription(on: Transport) {
    let (_backend, server) = setup().await;
    let mut client = on.user(&server, "ann").await;
    client.subscribe(json!({"channel": "ticks:3"})).await;
    for n in 1..=3 {
        publication(&mut client, "ticks:3", json!(n)).await;
    }
    ended(&mut client, "ticks:3", 2000).await;
    client.subscribe(json!({"channel": "ticks:broken"})).await;
    publication(&mut client, "ticks:broken", json!(1)).await;
    ended(&mut client, "ticks:broken", 2500).await;
    // The connection goes on, and so does the channel.
    client.subscribe(json!({"channel": "ticks:broken"})).await;
    publication(&mut client, "ticks:broken", json!(1)).await;
}

async fn refusals_come_before_the_stream(on: Transport) {
    let (_backend, server) = setup().await;
    let mut client = on.user(&server, "ann").await;
    let request = |channel: &str| json!({"subscribe": {"channel": channel}});
    assert_eq!(client.refused(request("ticks:refused")).await, 1403);
    assert_eq!(
        client.refused(request("ticks:headless")).await,
        100,
        "the first message must be an answer"
    );
    assert_eq!(client.refused(request("ticks:silent")).await, 100);
    let subscriptions = client.subscribe(json!({"channel": "ticks:1"})).await;
    assert_eq!(subscriptions["data"], json!({"stream": true}));
}

async fn clients_speak_into_their_stream(on: Transport) {
    let (backend, server) = setup().await;
    let mut client = on.user(&server, "ann").await;
    let refused = json!({"publish": {"channel": "talk:one", "data": 1}});
    assert_eq!(client.refused(refused).await, 108, "without a stream");
    client.subscribe(json!({"channel": "talk:one"})).await;
    for n in 0..3 {
        client.publish("talk:one", json!({"n": n})).await;
        publication(&mut client, "talk:one", json!({"n": n})).await;
    }
    let empty = json!({"publish": {"channel": "talk:one"}});
    assert_eq!(client.refused(empty).await, 107, "formats count as ever");
    client.publish("talk:one", json!("bye")).await;
    ended(&mut client, "talk:one", 2000).await;
    let over = || async { backend.asked("streams_ended").await == 1 };
    eventually("the stream is over", over).await;
}

async fn the_end_of_a_subscription_ends_its_stream(on: Transport) {
    let (backend, server) = setup().await;
    let mut client = on.user(&server, "ann").await;
    client.subscribe(json!({"channel": "ticks:all"})).await;
    client.subscribe(json!({"channel": "talk:one"})).await;
    let unsubscribe = json!({"unsubscribe": {"channel": "ticks:all"}});
    assert_eq!(client.call(unsubscribe).await, json!({"unsubscribe": {}}));
    let over = |count| {
        let backend = &backend;
        async move { backend.asked("streams_ended").await == count }
    };
    eventually("the unsubscribed stream is over", || over(1)).await;
    client.leave().await;
    eventually("the other one, too", || over(2)).await;
}

/// A client that does not read holds up its stream and nobody else's.
#[tokio::test]
async fn a_slow_client_holds_up_its_own_stream() {
    let backend = Backend::start().await;
    let mut settings = settings(&backend);
    // Nobody is closed for being slow while this test looks.
    settings["websocket"] = json!({"write_timeout": "60s"});
    let server = server(settings).await;
    let mut slow = Transport::Json.user(&server, "slow").await;
    slow.subscribe(json!({"channel": "ticks:endless"})).await;
    // The backend writes until every buffer on the way is full, and then no more.
    let mut last = backend.asked("ticks").await;
    let mut same = 0;
    let began = std::time::Duration::from_secs(30);
    let stood_still = tokio::time::timeout(began, async {
        while same < 10 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let now = backend.asked("ticks").await;
            same = if now == last && now > 0 { same + 1 } else { 0 };
            last = now;
        }
    });
    stood_still.await.unwrap();
    // 32 KiB each: sockets of this system hold some megabytes, not a backlog without bound.
    assert!(last < 2000, "{last} publications");
    assert!(server.memory() < 200 << 20);
    // Others on the same HTTP/2 connection to the backend are served.
    let mut other = Transport::Json.user(&server, "other").await;
    other.subscribe(json!({"channel": "ticks:3"})).await;
    for n in 1..=3 {
        publication(&mut other, "ticks:3", json!(n)).await;
    }
    assert_eq!(rpc(&mut other, "add", json!({})).await, json!({"sum": 0}));
    // Who reads again gets on.
    for _ in 0..50 {
        let push = slow.push().await;
        assert_eq!(push["channel"], "ticks:endless");
    }
    let goes_on = || async { backend.asked("ticks").await > last };
    eventually("the stream goes on", goes_on).await;
}
