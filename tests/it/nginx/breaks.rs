//! Streams that the directives of a first attempt break, and the shipped file does not (gateway.md 4). Each test shows the
//! break first, so that it is known to see it.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::{front, settings};
use crate::{
    harness::{Client, Metric, Transport, on_every_transport, server},
    support::{Nginx, Server},
};

on_every_transport!(silence_of_ten_minutes_ends_nothing);

/// Size of one publication, below the limit of a command.
const PAYLOAD: usize = 60_000;

/// More than 16 MiB of request bytes.
pub(crate) const MESSAGES: usize = 300;

pub(crate) fn token() -> Value {
    json!({"token": Server::token(&json!({"sub": "alice"}))})
}

/// Publishes until everything was answered or the stream has ended, and returns how many answers came.
pub(crate) async fn pour(client: &mut Client) -> usize {
    let payload = json!("x".repeat(PAYLOAD)).to_string();
    for answered in 0..MESSAGES {
        let id = client.publish_unseen("news", payload.as_bytes()).await;
        match client.try_next().await {
            Ok(reply) => assert_eq!(reply, json!({"id": id, "publish": {}})),
            Err(_) => return answered,
        }
    }
    MESSAGES
}

#[tokio::test]
async fn a_stream_carries_more_than_16_mib_of_requests() {
    let server = server(settings()).await;
    let mut answered = Vec::new();
    for file in [Nginx::BARE, Nginx::SHIPPED] {
        let Some(nginx) = Nginx::start(file, &server).await else {
            return;
        };
        let mut client = Transport::Grpc.through(&front(&nginx)).await;
        client.connect(token()).await;
        answered.push(pour(&mut client).await);
    }
    const { assert!(MESSAGES * PAYLOAD > 16 << 20) };
    assert!(answered[0] * PAYLOAD < 2 << 20, "{answered:?}");
    assert_eq!(answered[1], MESSAGES);
}

/// A minute of the files is a second of these tests: the defaults that the first attempt relies on, spelled out.
const SCALED_BARE: [(&str, &str); 2] = [
    (
        "grpc_pass ",
        "grpc_read_timeout 1s; grpc_send_timeout 1s; grpc_pass ",
    ),
    (
        "proxy_pass ",
        "proxy_read_timeout 1s; proxy_send_timeout 1s; proxy_pass ",
    ),
];
const SCALED_SHIPPED: [(&str, &str); 5] = [
    ("grpc_read_timeout     1h;", "grpc_read_timeout     60s;"),
    ("grpc_send_timeout     1h;", "grpc_send_timeout     60s;"),
    ("client_body_timeout  1h;", "client_body_timeout  60s;"),
    ("proxy_read_timeout    1h;", "proxy_read_timeout    60s;"),
    ("proxy_send_timeout    1h;", "proxy_send_timeout    60s;"),
];

/// The pings of 25 s, scaled, and how many of them fill ten minutes.
const PING: &str = "416ms";
const PINGS: u32 = 24;

/// A server that pings so often and expects no answer, so that clients are as silent as they can be.
async fn pinging(interval: &str) -> Server {
    let mut settings = settings();
    settings["client"]["ping_interval"] = json!(interval);
    settings["client"]["pong_timeout"] = json!("-1s");
    server(settings).await
}

async fn connected(on: Transport, nginx: &Nginx) -> Client {
    let mut client = on.through(&front(nginx)).await;
    client.connect(token()).await;
    client
}

/// Waits for an end about which the node has said nothing.
async fn broken(client: &mut Client) {
    let close = client.close().await;
    assert_eq!((close.code, &*close.reason), (0, ""), "{close:?}");
}

async fn silence_of_ten_minutes_ends_nothing(on: Transport) {
    // The bare file has no paths but those of the first three.
    if Transport::ALL.contains(&on) {
        let silent = pinging("-1s").await;
        let Some(nginx) = Nginx::changed(Nginx::BARE, &silent, &SCALED_BARE).await else {
            return;
        };
        broken(&mut connected(on, &nginx).await).await;
    }
    let pinging = pinging(PING).await;
    let shipped = Nginx::changed(Nginx::SHIPPED, &pinging, &SCALED_SHIPPED).await;
    let Some(nginx) = shipped else {
        return;
    };
    let mut client = connected(on, &nginx).await;
    for ping in 0..PINGS {
        assert_eq!(client.next().await, json!({}), "ping {ping}");
    }
    client.subscribe(json!({"channel": "news"})).await;
}

/// Silence on both sides runs into another time-out as well, which counts for the request's bytes.
#[tokio::test]
async fn a_time_out_of_the_request_ends_a_silent_stream() {
    let server = pinging("-1s").await;
    let scaled = [("grpc_pass ", "client_body_timeout 1s; grpc_pass ")];
    let Some(nginx) = Nginx::changed(Nginx::BARE, &server, &scaled).await else {
        return;
    };
    broken(&mut connected(Transport::Grpc, &nginx).await).await;
}

/// More than the 128 streams of a connection that nginx takes by itself.
const DEFAULT_STREAMS: u32 = 128;
const STREAMS: u32 = 600;

#[tokio::test]
async fn one_connection_carries_600_streams() {
    let server = server(settings()).await;
    let Some(nginx) = Nginx::start(Nginx::BARE, &server).await else {
        return;
    };
    let channel = front(&nginx).channel().await;
    let mut clients = streams(&channel, DEFAULT_STREAMS).await;
    // One more is not even begun, however much happens beside it, until another has ended.
    let mut stalled = Client::early(&channel).await;
    let connect = stalled.request(json!({"connect": token()})).await;
    for client in &mut clients {
        assert!(client.so_far().await.is_empty());
    }
    let begun = Metric::of(&server, "centrifugo_client_connections_inflight", &[]).await;
    assert_eq!(begun.before, f64::from(DEFAULT_STREAMS));
    clients.pop().unwrap().leave().await;
    let reply = stalled.answer(connect).await;
    assert!(reply["connect"]["client"].is_string(), "{reply}");

    let nginx = Nginx::start(Nginx::SHIPPED, &server).await.unwrap();
    let channel = front(&nginx).channel().await;
    many_streams_receive(&channel, &server).await;
}

/// So many streams of one connection get one message.
pub(crate) async fn many_streams_receive(channel: &Channel, server: &Server) {
    let mut clients = streams(channel, STREAMS).await;
    let subscribed = clients.iter_mut().map(|client| async {
        client.subscribe(json!({"channel": "all"})).await;
    });
    join_all(subscribed).await;
    server.publish("all", &json!("everybody")).await;
    let received = clients.iter_mut().map(|client| async {
        assert_eq!(client.push().await["pub"]["data"], json!("everybody"));
    });
    join_all(received).await;
}

/// Connected clients, each a stream of this connection.
async fn streams(channel: &Channel, count: u32) -> Vec<Client> {
    let connecting = (0..count).map(|_| async {
        let mut client = Client::early(channel).await;
        client.connect(token()).await;
        client
    });
    join_all(connecting).await
}
