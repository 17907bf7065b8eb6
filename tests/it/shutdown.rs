//! SIGTERM: everybody is told, what is owed arrives, and what comes back starts anew (client-protocol.md 4.13, 6.2).

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet, time::Instant};
use tonic::Code;

use crate::{
    harness::{Client, Close, Transport, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    who_has_not_connected_is_told = "the request carries the first commands" + sockjs,
    the_older_generation_is_told = "clients of the older generation never had them" + sockjs,
    what_comes_back_starts_anew,
);

/// Longest end of a server.
const GRACE: Duration = Duration::from_secs(10);

fn settings() -> Value {
    json!({
        "shutdown": {"timeout": "10s"},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true, "allow_publish_for_client": true,
            "history_size": 10, "history_ttl": "60s", "force_recovery": true,
        }},
    })
}

fn shutdown() -> Close {
    Close {
        code: 3001,
        reason: "shutdown".to_owned(),
        status: Code::Ok,
    }
}

/// Who listens, and who publishes.
const LISTENERS: usize = 44;
const PUBLISHERS: usize = 6;

/// What one client has lived through until its end.
#[derive(Debug)]
struct Life {
    /// Publications that came.
    seen: HashSet<String>,
    /// Publications whose reply came.
    answered: HashSet<String>,
    close: Close,
}

/// Listens until the end; tells when the first publication has come.
async fn listen(mut client: Client, ready: mpsc::Sender<()>) -> Life {
    client.subscribe(json!({"channel": "news"})).await;
    let mut seen = HashSet::new();
    let close = loop {
        match client.try_next().await {
            Ok(message) => {
                let data = message["push"]["pub"]["data"].as_str().unwrap();
                assert!(seen.insert(data.to_owned()), "{data} came twice");
                ready.try_send(()).ok();
            }
            Err(close) => break close,
        }
    };
    Life {
        seen,
        answered: HashSet::new(),
        close,
    }
}

/// Publishes until the end, one after the other.
async fn publish(mut client: Client, name: usize) -> Life {
    let mut answered = HashSet::new();
    let close = loop {
        let data = format!("{name}-{}", answered.len());
        let request = json!({"publish": {"channel": "news", "data": data}});
        client.request(request).await;
        match client.try_next().await {
            Ok(reply) => {
                assert_eq!(reply["publish"], json!({}), "{reply}");
                answered.insert(data);
            }
            Err(close) => break close,
        }
    };
    Life {
        seen: HashSet::new(),
        answered,
        close,
    }
}

#[tokio::test]
async fn everybody_is_told_under_load() {
    let mut server = server(settings()).await;
    let mut lives = JoinSet::new();
    let (mut waiting, transports) = (Vec::new(), Transport::ALL.iter().cycle());
    for (n, on) in transports.take(LISTENERS + PUBLISHERS).enumerate() {
        let client = on.user(&server, &n.to_string()).await;
        if n < LISTENERS {
            let (ready, came) = mpsc::channel(1);
            waiting.push(came);
            lives.spawn(listen(client, ready));
        } else {
            lives.spawn(publish(client, n));
        }
    }
    // Connections without a client must not keep the server.
    let idle = TcpStream::connect(server.http_target()).await.unwrap();
    let also_idle = Client::streams::<0>(&server).await;
    for came in &mut waiting {
        came.recv().await.unwrap();
    }
    let told = Instant::now();
    server.terminate();
    let lives = lives.join_all().await;
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
    assert!(told.elapsed() < GRACE, "{:?}", told.elapsed());
    let mut answered = HashSet::new();
    for life in &lives {
        assert_eq!(life.close, shutdown());
        answered.extend(&life.answered);
    }
    for life in &lives {
        // What was done was answered.
        let owed: Vec<_> = life
            .seen
            .iter()
            .filter(|one| !answered.contains(one))
            .collect();
        assert!(owed.is_empty(), "{owed:?}");
    }
    drop((idle, also_idle));
}

async fn who_has_not_connected_is_told(on: Transport) {
    let mut server = server(settings()).await;
    let mut client = on.open(&server).await;
    // Its session has begun when that of a later one has.
    on.user(&server, "alice").await.leave().await;
    server.terminate();
    client.closed(3001, "shutdown").await;
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
}

async fn the_older_generation_is_told(on: Transport) {
    let mut server = server(settings()).await;
    let mut client = on.open(&server).await;
    let token = Server::token(&json!({"sub": "alice"}));
    client.call(json!({"params": {"token": token}})).await;
    server.terminate();
    let reason = match on {
        Transport::Grpc => "shutdown",
        _ => r#"{"reason":"shutdown","reconnect":true}"#,
    };
    client.closed(3001, reason).await;
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
}

async fn what_comes_back_starts_anew(on: Transport) {
    let mut server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let before = client.subscribe(json!({"channel": "news"})).await;
    server.publish("news", &json!(1)).await;
    assert_eq!(client.push().await["pub"]["offset"], 1);
    server.terminate();
    client.closed(3001, "shutdown").await;
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
    server.restart().await;
    let mut client = on.user(&server, "alice").await;
    let epoch = &before["epoch"];
    let request = json!({"channel": "news", "recover": true, "offset": 1, "epoch": epoch});
    let mut result = client.subscribe(request).await;
    assert_ne!(result["epoch"].take(), *epoch);
    let expected =
        json!({"recoverable": true, "positioned": true, "was_recovering": true, "epoch": null});
    assert_eq!(result, expected);
    server.publish("news", &json!(2)).await;
    assert_eq!(client.push().await["pub"]["offset"], 1);
}

#[tokio::test]
async fn a_peer_that_does_not_listen_cannot_stop_the_end() {
    let mut settings = settings();
    settings["shutdown"]["timeout"] = json!("1s");
    let mut server = server(settings).await;
    let client = Transport::Json.user(&server, "alice").await;
    let told = Instant::now();
    server.terminate();
    // It never answers the close frame.
    let code = server.ended().await;
    assert!(code.is_some(), "ended by a signal");
    assert!(
        told.elapsed() < Duration::from_secs(4),
        "{:?}",
        told.elapsed()
    );
    drop(client);
}
