//! The shortest way through everything: a token, a WebSocket, a subscription, a publish of the server API.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::support::Server;

#[tokio::test]
async fn what_the_api_publishes_reaches_a_subscriber() {
    let server = Server::start(json!({
        "channel": {"without_namespace": {"allow_subscribe_for_client": true}},
    }))
    .await;
    let (mut socket, _) = connect_async(server.ws_url()).await.unwrap();
    let token = Server::token(&json!({"sub": "alice"}));
    let connect = json!({"id": 1, "connect": {"token": token}});
    let subscribe = json!({"id": 2, "subscribe": {"channel": "news"}});
    let mut replies = Vec::new();
    for command in [connect, subscribe] {
        let text = Message::text(command.to_string());
        socket.send(text).await.unwrap();
    }
    while replies.len() < 2 {
        receive(&mut socket, &mut replies).await;
    }
    assert!(replies[0]["connect"]["client"].is_string(), "{replies:?}");
    assert_eq!(replies[1], json!({"id": 2, "subscribe": {}}));
    let params = json!({"channel": "news", "data": {"text": "hello"}});
    assert_eq!(server.api("publish", &params).await, json!({}));
    receive(&mut socket, &mut replies).await;
    let push = json!({"push": {"channel": "news", "pub": {"data": {"text": "hello"}}}});
    assert_eq!(replies[2], push);
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn receive(socket: &mut Socket, replies: &mut Vec<Value>) {
    let frame = timeout(Duration::from_secs(10), socket.next()).await;
    match frame {
        Ok(Some(Ok(Message::Text(text)))) => {
            replies.extend(
                text.lines()
                    .filter_map(|line| serde_json::from_str(line).ok()),
            );
        }
        other => panic!("unexpected {other:?}"),
    }
}
