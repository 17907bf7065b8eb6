//! Both transports against little servers.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    client::{Client, Error, Event, SubscribeOptions, SubscriptionEvent},
    model::Encoding,
};

pub(crate) mod server;

use server::{certificates, grpc_server, listen, websocket_server, wss_server};

/// Subscribes and receives what it publishes.
async fn hear_oneself(client: &Client) {
    let mut news = client
        .subscribe("news", SubscribeOptions::new())
        .await
        .unwrap();
    let first = news.next().await;
    assert!(matches!(first, Some(SubscriptionEvent::Subscribed(_))));
    for n in 0..200 {
        news.publish(format!("{n}")).await.unwrap();
        let Some(SubscriptionEvent::Publication(publication)) = news.next().await else {
            panic!("no publication");
        };
        assert_eq!(publication.data, n.to_string());
    }
}

/// Everything a client does, over one transport.
async fn converse(client: Client) {
    client.connect().await.unwrap();
    hear_oneself(&client).await;
    let large = format!("\"{}\"", "x".repeat(60_000));
    assert_eq!(client.rpc("echo", large.clone()).await.unwrap(), large);
    // Closed by the server: once so that the client comes back, once for good.
    let lost = client.rpc("3001", "1").await;
    assert!(matches!(lost, Err(Error::ConnectionLost)), "{lost:?}");
    assert_eq!(client.rpc("echo", "2").await.unwrap(), "2");
    client.disconnect().await.unwrap();
    assert!(matches!(
        client.rpc("echo", "3").await,
        Err(Error::NotConnected)
    ));
}

async fn ends_with(url: &str, token: &str, rpc: Option<&str>) -> (u32, String) {
    let (client, mut events) = Client::builder(url).token(token).build().unwrap();
    client.connect().await.unwrap();
    if let Some(method) = rpc {
        client.rpc(method, "1").await.ok();
    }
    loop {
        match events.next().await.expect("an event") {
            Event::Disconnected { code, reason } => return (code, reason),
            Event::Connecting { code, .. } => assert_eq!(code, 0),
            _ => {}
        }
    }
}

fn quick(url: String) -> crate::client::Builder {
    let delay = Duration::from_millis(1);
    Client::builder(url).reconnect_delay(delay, delay)
}

#[tokio::test]
async fn grpc_carries_everything() {
    let mut tasks = JoinSet::new();
    let address = grpc_server(&mut tasks, None).await;
    let (client, _) = quick(format!("grpc://{address}")).build().unwrap();
    converse(client).await;
}

#[tokio::test]
async fn grpc_reads_why_the_stream_ended() {
    let mut tasks = JoinSet::new();
    let address = grpc_server(&mut tasks, None).await;
    let url = format!("grpc://{address}");
    let told = |code| (code, "told so".to_owned());
    assert_eq!(ends_with(&url, "", Some("3503")).await, told(3503));
    assert_eq!(ends_with(&url, "", Some("4501")).await, told(4501));
    assert_eq!(ends_with(&url, "wrong", None).await, told(3500));
}

#[tokio::test]
async fn websocket_carries_everything_in_both_encodings() {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let mut tasks = JoinSet::new();
        let address = websocket_server(&mut tasks, encoding).await;
        let builder = quick(format!("ws://{address}"));
        let builder = if encoding == Encoding::Json {
            builder.json()
        } else {
            builder
        };
        let (client, _) = builder.build().unwrap();
        converse(client).await;
    }
}

#[tokio::test]
async fn websocket_reads_the_close_frame() {
    let mut tasks = JoinSet::new();
    let address = websocket_server(&mut tasks, Encoding::Protobuf).await;
    let url = format!("ws://{address}");
    let told = |code| (code, "told so".to_owned());
    assert_eq!(ends_with(&url, "", Some("3503")).await, told(3503));
    assert_eq!(ends_with(&url, "wrong", None).await, told(3500));
}

#[tokio::test]
async fn json_refuses_payloads_that_are_no_json() {
    let mut tasks = JoinSet::new();
    let address = websocket_server(&mut tasks, Encoding::Json).await;
    let (client, _) = quick(format!("ws://{address}")).json().build().unwrap();
    client.connect().await.unwrap();
    for refused in [
        client.publish("news", "{").await.err(),
        client.rpc("echo", "").await.err(),
        client.send("x").await.err(),
    ] {
        assert!(matches!(refused, Some(Error::NotJson)), "{refused:?}");
    }
    assert_eq!(
        client.rpc("echo", "2").await.unwrap(),
        "2",
        "the connection is untouched"
    );
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    let (listener, address) = listen().await;
    drop(listener);
    for scheme in ["grpc", "ws"] {
        let (client, mut events) = quick(format!("{scheme}://{address}")).build().unwrap();
        client.connect().await.unwrap();
        assert!(matches!(
            events.next().await,
            Some(Event::Connecting { .. })
        ));
        let failed = events.next().await;
        assert!(
            matches!(&failed, Some(Event::Error(error)) if error.is_refused()),
            "{failed:?}"
        );
    }
}

#[tokio::test]
async fn own_authorities_are_trusted_over_tls() {
    let certificates = certificates();
    let path = std::env::temp_dir().join(format!("centripetal-ca-{}.pem", uuid::Uuid::new_v4()));
    std::fs::write(&path, &certificates.authority).unwrap();
    let mut tasks = JoinSet::new();
    let grpc = grpc_server(&mut tasks, Some(&certificates)).await;
    let websocket = wss_server(&mut tasks, &certificates).await;
    for url in [format!("grpcs://{grpc}"), format!("wss://{websocket}")] {
        let trusting = quick(url.clone()).ca_file(&path).unwrap();
        let (client, _) = trusting.build().unwrap();
        client.connect().await.unwrap();
        assert_eq!(client.rpc("echo", "1").await.unwrap(), "1", "{url}");

        let (client, mut events) = quick(url.clone()).build().unwrap();
        client.connect().await.unwrap();
        assert!(matches!(
            events.next().await,
            Some(Event::Connecting { .. })
        ));
        let failed = events.next().await;
        assert!(
            matches!(failed, Some(Event::Error(Error::Transport(_)))),
            "{url} {failed:?}"
        );
    }
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn files_without_authorities_are_refused() {
    assert!(
        Client::builder("wss://h")
            .ca_file("/does/not/exist")
            .is_err()
    );
    let path = std::env::temp_dir().join(format!("centripetal-ca-{}.pem", uuid::Uuid::new_v4()));
    std::fs::write(&path, "nothing").unwrap();
    for url in ["wss://h", "grpcs://h"] {
        let built = Client::builder(url).ca_file(&path).unwrap().build();
        assert!(
            matches!(built, Err(crate::client::BuildError::Authorities(_))),
            "{url}"
        );
    }
    std::fs::remove_file(&path).unwrap();
}
