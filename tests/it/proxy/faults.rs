//! A backend out of order (proxy.md 7): numbered errors, bounded calls and waiters, and back to work at once.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Backend, Way, on_all_proxies, on_both_ways, rpc};
use crate::{
    harness::{Client, Metric, Transport, eventually, server},
    support::{Server, free_ports},
};

on_both_ways!(
    a_backend_that_says_nothing_is_given_up,
    a_dead_backend_is_used_again_as_soon_as_it_is_back,
    an_answer_may_be_large_but_not_endless,
    calls_and_waiters_are_bounded,
    other_commands_go_on,
);

/// The failures of one reason.
async fn failures<'a>(server: &'a Server, kind: &str, reason: &str) -> Metric<'a> {
    let labels = [("type", kind), ("reason", reason)];
    Metric::of(server, "centripetal_proxy_failures_total", &labels).await
}

/// A call that fails with error 100, which is counted for this reason.
async fn fails(client: &mut Client, server: &Server, method: &str, reason: &str) {
    let failed = failures(server, "rpc", reason).await;
    let request = json!({"rpc": {"method": method, "data": {"bytes": 10_000_000}}});
    let reply = client.call(request).await;
    let expected = json!({"code": 100, "message": "internal server error", "temporary": true});
    assert_eq!(reply["error"], expected, "{method}: {reply}");
    let counted = failed.value().await - failed.before;
    assert!((counted - 1.0).abs() < f64::EPSILON, "{method}: {reason}");
}

async fn a_backend_that_says_nothing_is_given_up(way: Way) {
    let backend = Backend::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let mut settings = backend.settings(way);
    on_all_proxies(&mut settings, |proxy| {
        let http = format!("http://{address}/x");
        let grpc = format!("grpc://{address}");
        proxy["endpoint"] = json!(if way == Way::Http { http } else { grpc });
        proxy["timeout"] = json!("200ms");
    });
    let server = server(settings).await;
    let mut client = Transport::Json.open(&server).await;
    let failed = failures(&server, "connect", "timeout").await;
    let reply = client.call(json!({"connect": {}})).await;
    assert_eq!(reply["error"]["code"], 100);
    assert_eq!(reply["error"]["temporary"], true);
    failed.increased().await;
    let mut client = Transport::Json.user(&server, "ann").await;
    let request = json!({"rpc": {"method": "x"}});
    assert_eq!(client.refused(request).await, 100);
    let request = json!({"subscribe": {"channel": "rooms:one"}});
    assert_eq!(client.refused(request).await, 100);
    let request = json!({"publish": {"channel": "said:one", "data": 1}});
    assert_eq!(client.refused(request).await, 100);
}

async fn a_dead_backend_is_used_again_as_soon_as_it_is_back(way: Way) {
    let [port] = free_ports();
    let address = format!("127.0.0.1:{port}");
    let backend = Backend::start_at(&address).await;
    let server = server(backend.settings(way)).await;
    let mut client = Transport::Json.user(&server, "ann").await;
    rpc(&mut client, "add", json!({})).await;
    drop(backend);
    let gone = async || TcpStream::connect(&address).await.is_err();
    eventually("the backend is gone", || gone()).await;
    let failed = Metric::of(&server, "centripetal_proxy_failures_total", &[]).await;
    for _ in 0..5 {
        let request = json!({"rpc": {"method": "add", "data": {}}});
        assert_eq!(client.refused(request).await, 100);
    }
    let counted = failed.value().await - failed.before;
    assert!((counted - 5.0).abs() < f64::EPSILON);
    let _backend = Backend::start_at(&address).await;
    let sum = rpc(&mut client, "add", json!({"a": 1, "b": 1})).await;
    assert_eq!(sum, json!({"sum": 2}), "the very next call");
}

async fn an_answer_may_be_large_but_not_endless(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    let mut client = Transport::Json.user(&server, "ann").await;
    let large = rpc(&mut client, "export", json!({"bytes": 1_000_000})).await;
    assert_eq!(large.as_str().map(str::len), Some(1_000_000));
    fails(&mut client, &server, "export", "too_large").await;
}

async fn calls_and_waiters_are_bounded(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    settings["centripetal"]["proxy"] = json!({"concurrency": 1, "max_waiting": 1});
    let server = server(settings).await;
    let think = json!({"rpc": {"method": "think", "data": {"ms": 2000}}});
    let mut clients = Vec::new();
    for n in 0..3 {
        clients.push(Transport::Json.user(&server, &format!("u{n}")).await);
    }
    let running = Metric::of(&server, "centrifugo_proxy_inflight_requests", &[]).await;
    let waiting = Metric::of(&server, "centripetal_proxy_waiting_requests", &[]).await;
    let first = clients[0].request(think.clone()).await;
    running.increased().await;
    let second = clients[1].request(think).await;
    waiting.increased().await;
    fails(&mut clients[2], &server, "add", "busy").await;
    let most = running.value().await;
    assert!((most - 1.0).abs() < f64::EPSILON, "one at a time");
    for (client, id) in clients.iter_mut().zip([first, second]) {
        let reply = client.answer(id).await;
        assert_eq!(reply["rpc"]["data"]["thought"], 2000, "{reply}");
    }
    rpc(&mut clients[2], "add", json!({})).await;
    assert!(waiting.value().await.abs() < f64::EPSILON);
}

async fn other_commands_go_on(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    settings["client"]["concurrency"] = json!(4);
    let server = server(settings).await;
    let mut client = Transport::Json.user(&server, "ann").await;
    let think = json!({"rpc": {"method": "think", "data": {"ms": 1000}}});
    let slow = client.request(think).await;
    client.subscribe(json!({"channel": "open:one"})).await;
    client.publish("open:one", json!("meanwhile")).await;
    let push = client.push().await;
    assert_eq!(push["pub"]["data"], "meanwhile", "before the slow answer");
    assert_eq!(client.answer(slow).await["rpc"]["data"]["thought"], 1000);
}

/// Answers every connection with what stands under the path of its request, and closes it.
async fn broken_http(listener: TcpListener) {
    let mut running = JoinSet::new();
    while let Ok((mut socket, _)) = listener.accept().await {
        running.spawn(async move {
            let mut head = vec![0; 4096];
            let read = socket.read(&mut head).await.unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let written = socket.write_all(&broken_answer(path)).await;
            drop(written);
        });
    }
}

fn broken_answer(path: &str) -> Vec<u8> {
    let ok = |kind: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let json = "application/json";
    match path {
        "/status" => "HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
        "/redirect" => {
            "HTTP/1.1 307 Elsewhere\r\nlocation: /unknown\r\ncontent-length: 0\r\n\r\n".to_owned()
        }
        "/half" => ok(json, r#"{"result":{"data":1}}"#).replace("length: 21", "length: 210"),
        "/cut" => "HTTP/1.1 200 OK\r\ncontent-le".to_owned(),
        "/html" => ok("text/html", "<html>not found</html>"),
        "/type" => ok(json, r#"{"result":{"data":1,"b64data":5}}"#),
        "/list" => ok(json, "[]"),
        "/empty" => ok(json, ""),
        "/zip" => ok("application/json\r\ncontent-encoding: gzip", "{}"),
        "/endless" => format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
            "10000\r\n".to_owned() + &"x".repeat(0x10000) + "\r\n"
        )
        .repeat(1),
        // A content type says nothing, and unknown fields mean nothing.
        _ => ok(
            "text/plain",
            r#"{"result":{"data":{"a":1},"x":[{}]},"more":true}"#,
        ),
    }
    .into_bytes()
}

#[tokio::test]
async fn broken_answers_are_counted_by_reason() {
    let backend = Backend::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut broken = JoinSet::new();
    broken.spawn(broken_http(listener));
    let cases = [
        ("status", "status"),
        ("redirect", "status"),
        ("half", "broken"),
        ("cut", "broken"),
        ("endless", "broken"),
        ("html", "decode"),
        ("type", "decode"),
        ("list", "decode"),
        ("empty", "decode"),
        ("zip", "decode"),
    ];
    let mut settings = backend.settings(Way::Http);
    let names = cases.iter().map(|(name, _)| *name).chain(["unknown"]);
    let proxies: Vec<Value> = names
        .clone()
        .map(|name| json!({"name": name, "endpoint": format!("http://{address}/{name}"), "timeout": "10s"}))
        .collect();
    settings["proxies"] = json!(proxies);
    settings["rpc"]["namespaces"] = names
        .map(|name| json!({"name": name, "proxy_enabled": true, "proxy_name": name}))
        .collect();
    let server = server(settings).await;
    let mut client = Transport::Json.user(&server, "ann").await;
    for (name, reason) in cases {
        fails(&mut client, &server, &format!("{name}:x"), reason).await;
    }
    let data = rpc(&mut client, "unknown:x", json!({})).await;
    assert_eq!(data, json!({"a": 1}));
    // Failures of one are nothing to another.
    assert_eq!(rpc(&mut client, "add", json!({})).await, json!({"sum": 0}));
    tokio::time::timeout(Duration::from_secs(10), broken.shutdown())
        .await
        .unwrap();
}
