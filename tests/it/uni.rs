//! Clients that only listen (client-protocol.md 3.9; server-api.md 17), in the words of simple programs: a WebSocket, a request,
//! a browser's EventSource, a stub generated from the schema.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

use crate::{
    harness::{Metric, eventually, server},
    support::{Server, free_ports, sdk_python},
};

const PATIENCE: Duration = Duration::from_secs(10);

fn settings() -> Value {
    json!({
        "client": {"allowed_origins": ["http://app.example.com"]},
        "uni_websocket": {"enabled": true},
        "uni_sse": {"enabled": true},
        "uni_http_stream": {"enabled": true},
        "channel": {"namespaces": [{"name": "open", "history_size": 10, "history_ttl": "60s",
            "force_recovery": true, "presence": true, "join_leave": true}]},
    })
}

/// A connect request of a user with a server-side subscription.
fn listening(user: &str) -> Value {
    json!({"token": Server::token(&json!({"sub": user, "channels": ["open:news"]}))})
}

/// A streamed answer.
struct Listener {
    response: Response,
    rest: String,
}

impl Listener {
    async fn ask(server: &Server, method: Method, path: &str, body: String) -> Self {
        let url = format!("http://{}{path}", server.http_target());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.request(method, url).body(body).send().await.unwrap();
        let rest = String::new();
        Self { response, rest }
    }

    /// The next push; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            for end in ["\n\n", "\n"] {
                let text = self.rest.trim_start_matches("\r\n");
                if end == "\n" && text.starts_with("data: ") {
                    continue;
                }
                if let Some((message, rest)) = text.split_once(end) {
                    let message = message.trim_start_matches("data: ");
                    let push = serde_json::from_str(message).unwrap();
                    self.rest = rest.to_owned();
                    return Some(push);
                }
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.unwrap();
            let chunk = chunk.unwrap()?;
            self.rest += std::str::from_utf8(&chunk).unwrap();
        }
    }

    async fn push(&mut self) -> Value {
        self.next().await.expect("a push")
    }
}

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn socket(server: &Server, query: &str) -> Socket {
    let path = "/connection/uni_websocket";
    let url = format!("ws://{}{path}?{query}", server.http_target());
    connect_async(url).await.unwrap().0
}

async fn message(socket: &mut Socket) -> Value {
    loop {
        match timeout(PATIENCE, socket.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("no push but {other:?}"),
        }
    }
}

/// What every listener sees of the same story, from its connect push on.
async fn story(server: &Server, user: &str, mut next: impl AsyncFnMut() -> Value) {
    let connect = next().await["connect"].take();
    assert!(connect["client"].is_string() && connect["session"].is_string());
    let quiet = connect.get("pong").is_none() && connect.get("node").is_none();
    assert!(quiet, "{connect}");
    assert_eq!(connect["subs"]["open:news"]["positioned"], true);
    let data = json!({"channel": "open:news", "data": {"n": 1}});
    server.api("publish", &data).await;
    let push = next().await;
    assert_eq!(push["channel"], "open:news");
    assert_eq!(push["pub"]["data"], json!({"n": 1}));
    let here = json!({"user": user, "channel": "open:more", "session": connect["session"]});
    server.api("subscribe", &here).await;
    assert!(next().await["subscribe"].is_object());
    server.api("unsubscribe", &here).await;
    assert_eq!(next().await["unsubscribe"]["code"], 2000);
    let refresh = json!({"user": user, "expire_at": crate::harness::now() + 100});
    server.api("refresh", &refresh).await;
    assert_eq!(next().await["refresh"]["expires"], true);
    let other = json!({"user": user, "session": "another"});
    server.api("disconnect", &other).await;
    server.api("disconnect", &json!({"user": user})).await;
    let end = json!({"disconnect": {"code": 3503, "reason": "force disconnect"}});
    assert_eq!(next().await, end);
}

#[tokio::test]
async fn a_request_listens_to_http_and_events() {
    let server = server(settings()).await;
    let post = |path| Listener::ask(&server, Method::POST, path, listening("alice").to_string());
    for path in ["/connection/uni_http_stream", "/connection/uni_sse"] {
        let mut listener = post(path).await;
        let headers = listener.response.headers();
        assert_eq!(headers["x-accel-buffering"], "no");
        story(&server, "alice", async || listener.push().await).await;
        assert_eq!(listener.next().await, None);
    }
    let query = listening("alice").to_string();
    let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let path = format!("/connection/uni_sse?cf_connect={query}");
    let mut listener = Listener::ask(&server, Method::GET, &path, String::new()).await;
    story(&server, "alice", async || listener.push().await).await;
}

#[tokio::test]
async fn a_websocket_listens_and_may_say_what_it_likes() {
    let server = server(settings()).await;
    let query = listening("alice").to_string();
    let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for query in [String::new(), format!("cf_connect={query}")] {
        let mut socket = socket(&server, &query).await;
        if query.is_empty() {
            let request = Message::text(listening("alice").to_string());
            socket.send(request).await.unwrap();
        }
        for noise in ["{}", "garbage", ""] {
            socket.send(Message::text(noise)).await.unwrap();
        }
        story(&server, "alice", async || message(&mut socket).await).await;
        let close = timeout(PATIENCE, socket.next()).await.unwrap();
        let Some(Ok(Message::Close(Some(close)))) = close else {
            panic!("no close but {close:?}");
        };
        assert_eq!(close.code, CloseCode::from(3503));
    }
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed() {
    let server = server(settings()).await;
    let path = "/connection/uni_sse";
    let body = listening("alice");
    let mut first = Listener::ask(&server, Method::POST, path, body.to_string()).await;
    let connect = first.push().await["connect"].take();
    let epoch = connect["subs"]["open:news"]["epoch"].clone();
    drop(first);
    for n in 1..=3 {
        let data = json!({"channel": "open:news", "data": n});
        server.api("publish", &data).await;
    }
    let mut body = body;
    body["subs"] = json!({"open:news": {"recover": true, "epoch": epoch, "offset": 1}});
    let mut second = Listener::ask(&server, Method::POST, path, body.to_string()).await;
    let sub = second.push().await["connect"]["subs"]["open:news"].take();
    assert_eq!(sub["recovered"], true, "{sub}");
    assert_eq!(sub["publications"].as_array().unwrap().len(), 2, "{sub}");
}

#[tokio::test]
async fn who_leaves_is_counted_out() {
    let server = server(settings()).await;
    let path = "/connection/uni_http_stream";
    let body = listening("alice").to_string();
    let mut listener = Listener::ask(&server, Method::POST, path, body).await;
    listener.push().await;
    let labels = [("transport", "uni_http_stream")];
    let name = "centrifugo_client_connections_inflight";
    let inflight = Metric::of(&server, name, &labels).await;
    assert!((inflight.before - 1.0).abs() < 0.1);
    drop(listener);
    eventually("nobody is there", || async { inflight.value().await < 0.1 }).await;
}

#[tokio::test]
async fn a_stub_of_the_schema_listens_to_grpc() {
    let Some(program) = sdk_python("tests/sdk/python/uni_grpc.py") else {
        return;
    };
    let [port] = free_ports();
    let mut settings = settings();
    settings["uni_grpc"] = json!({"enabled": true, "address": "127.0.0.1", "port": port});
    let server = server(settings).await;
    let target = format!("127.0.0.1:{port}");
    let output = program.run(&server, &[&target]).await;
    assert!(output.contains("checks passed"), "{output}");
}
