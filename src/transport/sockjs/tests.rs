//! The endpoint alone, over real HTTP connections: paths, headers, refusals, both framings of the WebSocket.

use std::net::{Ipv4Addr, SocketAddr};

use axum::middleware::Next;
use futures_util::{SinkExt, StreamExt};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use prometheus::Registry;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};

use super::*;
use crate::{
    model::Encoding,
    transport::{TrustedProxies, testing::Echo},
};

struct Server {
    echo: Echo,
    address: SocketAddr,
    registry: Registry,
    _tasks: Tasks,
}

async fn start() -> Server {
    start_with(|config| config.raw_websocket = true).await
}

async fn start_with(change: impl FnOnce(&mut Config)) -> Server {
    let (echo, tasks, registry) = (Echo::default(), Tasks::default(), Registry::new());
    let router = router(change, (echo.clone(), tasks.clone()), &registry);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = tasks.clone();
    tasks.spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(router.clone());
            connections.spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new();
                let connection = connection.serve_connection(TokioIo::new(socket), service);
                drop(connection.with_upgrades().await);
            });
        }
    });
    Server {
        echo,
        address,
        registry,
        _tasks: tasks,
    }
}

/// An endpoint that marks what it takes for new connections.
fn router(
    change: impl FnOnce(&mut Config),
    (echo, tasks): (Echo, Tasks),
    registry: &Registry,
) -> Router {
    let mut config = Config {
        enabled: true,
        handler_prefix: "/s".to_owned(),
        url: "https://cdn.example.com/s.js".to_owned(),
        heartbeat_delay: Duration::from_secs(25),
        raw_websocket: false,
    };
    change(&mut config);
    let client = ClientConfig {
        allowed_origins: vec!["http://app.example.com".to_owned()],
        ping_interval: None,
        pong_timeout: None,
        stale_close_delay: Duration::from_secs(10),
        user_id_http_header: String::new(),
    };
    let endpoint = Endpoint::new(Parts {
        serve: echo,
        config: &config,
        websocket: &limits(),
        client: &client,
        origins: Arc::new(Origins::new(&client.allowed_origins).unwrap()),
        peers: Arc::new(PeerRules {
            trusted: TrustedProxies::default(),
            user_header: None,
            kept: Vec::new(),
        }),
        tasks,
        closes: super::super::Metrics::new(registry, "centrifugo").unwrap(),
        metrics: Metrics::new(registry).unwrap(),
    });
    let marked = axum::middleware::from_fn(async |request: Request, next: Next| {
        let mut response = next.run(request).await;
        let mark = http::HeaderValue::from_static("yes");
        response.headers_mut().insert("x-opening", mark);
        response
    });
    endpoint.into_router(|opening| opening.layer(marked))
}

fn limits() -> websocket::Config {
    websocket::Config {
        disabled: false,
        handler_prefix: String::new(),
        compression: false,
        compression_min_size: 0,
        compression_level: 1,
        write_timeout: Duration::from_secs(1),
        message_size_limit: 1000,
        decompressed_message_size_limit: 0,
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line == header)
    }
}

/// An answer that is read piece by piece.
struct Open {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Open {
    async fn until(&mut self, text: &str) -> String {
        loop {
            let read = String::from_utf8_lossy(&self.read).into_owned();
            if read.contains(text) {
                return read;
            }
            assert_ne!(
                self.socket.read_buf(&mut self.read).await.unwrap(),
                0,
                "{read}"
            );
        }
    }

    /// Everything, up to the end of the connection.
    async fn rest(mut self) -> String {
        self.socket.read_to_end(&mut self.read).await.unwrap();
        String::from_utf8(self.read).unwrap()
    }
}

impl Server {
    async fn open(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Open {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        socket.write_all(request.as_bytes()).await.unwrap();
        let read = Vec::new();
        Open { socket, read }
    }

    async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let answer = self.open(method, target, headers, body).await.rest().await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head[9..12].parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[], "").await
    }

    async fn post(&self, target: &str, body: &str) -> Answer {
        self.ask("POST", target, &[], body).await
    }

    /// How often a reason was counted.
    #[expect(clippy::cast_possible_truncation, reason = "few are counted")]
    fn refused(&self, reason: &str) -> u64 {
        let families = self.registry.gather();
        let family = families
            .iter()
            .find(|f| f.name() == "centripetal_sockjs_refused_total");
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        let of = metrics
            .iter()
            .filter(|m| m.get_label()[0].value() == reason);
        of.map(|metric| metric.get_counter().get_value() as u64)
            .sum()
    }
}

#[tokio::test]
async fn the_prefix_is_a_tree() {
    let server = start().await;
    assert_eq!(server.get("/s/").await.body, "Welcome to SockJS!\n");
    let moved = server.get("/s").await;
    assert_eq!((moved.status, moved.has("location: /s/")), (301, true));
    for path in [
        "/s/nothing",
        "/s/a.b/k/xhr",
        "/s/a/k/xhr/",
        "/s/iframe-A.html",
        "/other",
    ] {
        let answer = server.post(path, "").await;
        assert_eq!(
            (answer.status, &*answer.body),
            (404, "404 page not found\n"),
            "{path}"
        );
    }
    for (method, path, allow) in [
        ("POST", "/s/info", "OPTIONS, GET"),
        ("GET", "/s/a/k/xhr", "POST, OPTIONS"),
        ("POST", "/s/a/k/eventsource", "GET"),
        ("POST", "/s/a/k/websocket", "GET"),
    ] {
        let answer = server.ask(method, path, &[], "").await;
        assert_eq!(answer.status, 405);
        assert!(answer.has(&format!("allow: {allow}")), "{}", answer.head);
    }
}

#[tokio::test]
async fn the_info_is_random_and_says_what_there_is() {
    let server = start().await;
    let info = server.get("/s/info").await;
    let known: serde_json::Value = serde_json::from_str(&info.body).unwrap();
    assert_eq!(known["websocket"], true);
    assert_eq!(known["cookie_needed"], false);
    assert_eq!(known["origins"], serde_json::json!(["*:*"]));
    assert!(known["entropy"].as_u64().unwrap() < 1 << 31);
    assert!(
        info.body.ends_with("}\n") && info.has("content-type: application/json; charset=UTF-8")
    );
    assert_ne!(server.get("/s/info").await.body, info.body);
    let unknown = server.get("/s/info?cf_protocol_version=v3").await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn cors_names_who_asks() {
    let server = start().await;
    let ask = async |method: &str, origin: Option<&str>| {
        let origin = origin.map(|origin| ("Origin", origin));
        let headers: Vec<_> = origin.into_iter().collect();
        server.ask(method, "/s/info", &headers, "").await
    };
    let plain = ask("GET", None).await;
    assert!(plain.has("access-control-allow-origin: *"));
    assert!(plain.has("access-control-allow-credentials: true"));
    let own = ask("GET", Some("http://app.example.com")).await;
    assert!(own.has("access-control-allow-origin: http://app.example.com"));
    for origin in ["http://evil.example.org", "null"] {
        for method in ["GET", "OPTIONS"] {
            let foreign = ask(method, Some(origin)).await;
            assert!(foreign.status < 300 && !foreign.head.contains("access-control-allow-origin"));
        }
    }
    let preflight = ask("OPTIONS", Some("http://app.example.com")).await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.has("access-control-allow-methods: OPTIONS, GET"));
    assert!(preflight.has("cache-control: public, max-age=31536000"));
}

#[tokio::test]
async fn the_iframe_page_is_kept_by_browsers() {
    let server = start().await;
    let page = server.get("/s/iframe-1.2.html?t=1").await;
    assert!(page.body.contains("src=\"https://cdn.example.com/s.js\""));
    assert!(!page.head.contains("access-control-allow-origin"));
    let etag = page
        .head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap();
    let known = server
        .ask("GET", "/s/iframe.html", &[("If-None-Match", etag)], "")
        .await;
    assert_eq!((known.status, &*known.body), (304, ""));
    let other = server
        .ask("GET", "/s/iframe.html", &[("If-None-Match", "x")], "")
        .await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_session_goes_on_from_poll_to_poll() {
    let server = start().await;
    assert_eq!(server.post("/s/0/k/xhr", "").await.body, "o\n");
    let sent = server.post("/s/1/k/xhr_send", "[\"hello\",\"you\"]").await;
    assert_eq!((sent.status, sent.head.contains("x-opening")), (204, false));
    let mut heard = server.post("/s/2/k/xhr", "").await;
    assert!(!heard.head.contains("x-opening"), "it was there");
    if heard.body == "a[\"hello\"]\n" {
        heard = server.post("/s/2/k/xhr", "").await;
        assert_eq!(heard.body, "a[\"you\"]\n");
    } else {
        assert_eq!(heard.body, "a[\"hello\",\"you\"]\n");
    }
    let peer = server.echo.peers.lock()[0].clone();
    assert_eq!((peer.transport, peer.encoding), ("sockjs", Encoding::Json));
    server.post("/s/0/k/xhr_send", "[\"close 4001 bye\"]").await;
    let end = "c[4001,\"{\\\"reason\\\":\\\"bye\\\",\\\"reconnect\\\":true}\"]\n";
    for _ in 0..2 {
        assert_eq!(server.post("/s/0/k/xhr", "").await.body, end);
    }
    let late = server.post("/s/0/k/xhr_send", "[\"x\"]").await;
    assert_eq!(
        (late.status, &*late.body),
        (500, "sockjs: session not in open state\n")
    );
}

#[tokio::test]
async fn sessions_are_known_by_name_alone() {
    let server = start().await;
    let unknown = server.post("/s/0/nobody/xhr_send", "[\"x\"]").await;
    assert_eq!(
        (unknown.status, &*unknown.body),
        (404, "404 page not found\n")
    );
    let opened = server.post("/s/0/k/xhr?cf_protocol_version=v2", "").await;
    assert!(opened.has("x-opening: yes"));
    assert_eq!(server.echo.peers.lock()[0].version, Some(Version::V2));
}

#[tokio::test]
async fn payloads_are_judged_before_sessions() {
    let server = start().await;
    let mut stream = server.open("POST", "/s/0/k/xhr_streaming", &[], "").await;
    stream.until("o\n").await;
    for (session, payload, status, text) in [
        ("nobody", "{", 400, "Broken JSON encoding."),
        ("k", "", 400, "Payload expected."),
        ("k", "[\"x", 400, "Broken JSON encoding."),
        ("k", "[]", 204, ""),
        ("k", "null", 204, ""),
        ("k", "{\"a\":1}", 204, ""),
        ("k", "\"x\"", 204, ""),
    ] {
        let answer = server
            .post(&format!("/s/0/{session}/xhr_send"), payload)
            .await;
        assert_eq!((answer.status, &*answer.body), (status, text), "{payload}");
    }
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    for (payload, status, text) in [
        ("d=%5B%22form%22%5D", 200, "ok"),
        ("d=", 400, "Payload expected.\n"),
        ("e=1", 400, "Payload expected.\n"),
        ("d=%5B", 400, "Broken JSON encoding.\n"),
    ] {
        let answer = server
            .ask("POST", "/s/0/k/jsonp_send", &form, payload)
            .await;
        assert_eq!((answer.status, &*answer.body), (status, text), "{payload}");
    }
    let raw = server.post("/s/0/k/jsonp_send", "[\"raw\"]").await;
    assert_eq!(raw.body, "ok");
    let object = server.post("/s/0/k/jsonp_send", "{}").await;
    assert_eq!(object.status, 400);
    stream.until("a[\"form\"]").await;
    stream.until("a[\"raw\"]").await;
}

#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let server = start().await;
    let mut stream = server.open("POST", "/s/0/k/xhr_streaming", &[], "").await;
    stream.until("o\n").await;
    let payload = format!("[\"{}\"]", "x".repeat(1000));
    let answer = server.post("/s/0/k/xhr_send", &payload).await;
    assert_eq!((answer.status, &*answer.body), (413, ""));
    assert!(answer.has("connection: close") && answer.has("access-control-allow-origin: *"));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let escaped = format!("d=%5B%22{}%22%5D", "%78".repeat(900));
    let fits = server
        .ask("POST", "/s/0/k/jsonp_send", &form, &escaped)
        .await;
    assert_eq!(fits.status, 200, "only what it means is measured");
    let escaped = format!("d=%5B%22{}%22%5D", "x".repeat(1000));
    let large = server
        .ask("POST", "/s/0/k/jsonp_send", &form, &escaped)
        .await;
    assert_eq!(large.status, 413);
    assert_eq!(server.refused("too_large"), 2);
    stream.until("a[\"xxx").await;
}

#[tokio::test]
async fn nobody_sends_for_a_user_from_another_origin() {
    let server = start().await;
    let mut stream = server.open("POST", "/s/0/k/xhr_streaming", &[], "").await;
    stream.until("o\n").await;
    let evil = [
        ("Origin", "http://evil.example.org"),
        ("Content-Type", "text/plain"),
    ];
    for (leg, status) in [("xhr_send", 204), ("jsonp_send", 200)] {
        let answer = server
            .ask("POST", &format!("/s/0/k/{leg}"), &evil, "[\"evil\"]")
            .await;
        assert_eq!(answer.status, status);
        assert!(!answer.head.contains("access-control-allow-origin"));
    }
    assert_eq!(server.refused("origin"), 2);
    let own = [("Origin", "http://app.example.com")];
    server
        .ask("POST", "/s/0/k/xhr_send", &own, "[\"good\"]")
        .await;
    let heard = stream.until("a[\"good\"]").await;
    assert!(!heard.contains("evil"), "{heard}");
}

#[tokio::test]
async fn a_second_receiver_is_turned_away_on_every_transport() {
    let server = start().await;
    let mut stream = server.open("POST", "/s/0/k/xhr_streaming", &[], "").await;
    stream.until("o\n").await;
    for (method, leg) in [
        ("POST", "xhr"),
        ("POST", "xhr_streaming"),
        ("GET", "eventsource"),
        ("GET", "htmlfile?c=x"),
        ("GET", "jsonp?c=x"),
    ] {
        let answer = server.ask(method, &format!("/s/0/k/{leg}"), &[], "").await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("c[2010,"), "{leg}: {}", answer.body);
        assert!(answer.body.contains("Another connection still open"));
    }
    assert_eq!(server.refused("second_receiver"), 5);
    server.post("/s/0/k/xhr_send", "[\"still here\"]").await;
    stream.until("a[\"still here\"]").await;
}

#[tokio::test]
async fn a_streamed_answer_ends_when_it_is_long_and_the_session_goes_on() {
    let server = start().await;
    let mut stream = server.open("POST", "/s/0/k/xhr_streaming", &[], "").await;
    stream.until("o\n").await;
    server.post("/s/0/k/xhr_send", "[\"flood 3 50000\"]").await;
    let heard = stream.rest().await;
    let messages = heard.matches(&"x".repeat(50000)).count();
    assert_eq!(messages, 3);
    server.post("/s/0/k/xhr_send", "[\"kept\"]").await;
    let mut next = server.open("POST", "/s/0/k/xhr_streaming", &[], "").await;
    let heard = next.until("a[\"kept\"]").await;
    assert!(!heard.contains("o\n"), "{heard}");
}

#[tokio::test]
async fn lost_receivers_end_their_sessions() {
    let server = start().await;
    let mut stream = server.open("POST", "/s/0/k/xhr_streaming", &[], "").await;
    stream.until("o\n").await;
    drop(stream);
    server.echo.ended(1).await;
    assert_eq!(server.post("/s/0/k/xhr_send", "[\"x\"]").await.status, 404);
    assert_eq!(server.post("/s/0/k/xhr", "").await.body, "o\n");
    let poll = server.open("POST", "/s/0/k/xhr", &[], "").await;
    drop(poll);
    server.echo.ended(2).await;
    assert_eq!(server.post("/s/0/k/xhr_send", "[\"x\"]").await.status, 404);
}

#[tokio::test]
async fn callbacks_are_harmless() {
    let server = start().await;
    for (target, status, text) in [
        ("/s/0/a/jsonp", 500, "\"callback\" parameter required\n"),
        (
            "/s/0/a/htmlfile?c=",
            400,
            "\"callback\" parameter required\n",
        ),
        (
            "/s/0/a/jsonp?c=a%3Cb",
            400,
            "invalid character in \"callback\" parameter\n",
        ),
        (
            "/s/0/a/htmlfile?c=a-b",
            400,
            "invalid character in \"callback\" parameter\n",
        ),
        (
            "/s/0/a/jsonp?c=%C3%A9",
            400,
            "invalid character in \"callback\" parameter\n",
        ),
    ] {
        let answer = server.get(target).await;
        assert_eq!((answer.status, &*answer.body), (status, text), "{target}");
    }
    let called = server.get("/s/0/a/jsonp?c=cb%2Ex").await;
    assert!(
        called.body.contains("/**/cb.x(\"o\");\r\n"),
        "{}",
        called.body
    );
    assert!(
        server.echo.peers.lock().len() == 1,
        "the others opened nothing"
    );
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

impl Server {
    async fn socket(
        &self,
        target: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<Socket, u16> {
        let url = format!("ws://{}{target}", self.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let value = http::HeaderValue::from_static(value);
            request.headers_mut().insert(*name, value);
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }
}

async fn text(socket: &mut Socket) -> Option<String> {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => Some(text.as_str().to_owned()),
        Some(Ok(other)) => panic!("{other:?}"),
        Some(Err(_)) | None => None,
    }
}

#[tokio::test]
async fn a_websocket_speaks_arrays() {
    let server = start().await;
    let target = "/s/0/k/websocket?format=protobuf&cf_ws_frame_ping_pong=true";
    let mut socket = server.socket(target, &[]).await.unwrap();
    assert_eq!(text(&mut socket).await.unwrap(), "o");
    socket.send("[\"hello\",\"you\"]".into()).await.unwrap();
    assert_eq!(text(&mut socket).await.unwrap(), "a[\"hello\"]");
    assert_eq!(text(&mut socket).await.unwrap(), "a[\"you\"]");
    socket.send("[]".into()).await.unwrap();
    socket.send("[\"close 4001 bye\"]".into()).await.unwrap();
    let end = "c[4001,\"{\\\"reason\\\":\\\"bye\\\",\\\"reconnect\\\":true}\"]";
    assert_eq!(text(&mut socket).await.unwrap(), end);
    assert_eq!(text(&mut socket).await, None, "no close frame follows");
    let peer = server.echo.peers.lock()[0].clone();
    assert_eq!((peer.transport, peer.encoding), ("sockjs", Encoding::Json));
}

#[tokio::test]
async fn other_messages_end_a_websocket_without_a_word() {
    let server = start().await;
    for message in ["", "{not json", "\"x\"", "{\"a\":1}", "[1]", "[\"x\",null]"] {
        let mut socket = server.socket("/s/0/k/websocket", &[]).await.unwrap();
        assert_eq!(text(&mut socket).await.unwrap(), "o");
        socket.send(message.into()).await.unwrap();
        assert_eq!(text(&mut socket).await, None, "{message}");
    }
    let mut socket = server.socket("/s/0/k/websocket", &[]).await.unwrap();
    text(&mut socket).await;
    let large = format!("[\"{}\"]", "x".repeat(1000));
    socket.send(large.into()).await.unwrap();
    match socket.next().await {
        Some(Ok(Message::Close(Some(close)))) => assert_eq!(u16::from(close.code), 1009),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_websocket_beats_until_the_generation_has_pings_of_its_own() {
    let server = start_with(|config| config.heartbeat_delay = Duration::from_millis(20)).await;
    let mut socket = server.socket("/s/0/k/websocket", &[]).await.unwrap();
    for expected in ["o", "h", "h"] {
        assert_eq!(text(&mut socket).await.unwrap(), expected);
    }
    let mut poll = server.open("POST", "/s/0/k/xhr_streaming", &[], "").await;
    poll.until("h\n").await;
    let quiet = start_with(|config| config.heartbeat_delay = Duration::ZERO).await;
    let mut socket = quiet.socket("/s/0/k/websocket", &[]).await.unwrap();
    assert_eq!(text(&mut socket).await.unwrap(), "o");
    socket.send("[\"x\"]".into()).await.unwrap();
    assert_eq!(text(&mut socket).await.unwrap(), "a[\"x\"]");
}

#[tokio::test]
async fn handshakes_are_refused_as_on_the_websocket_endpoint() {
    let server = start().await;
    let evil = [("origin", "http://evil.example.org")];
    assert_eq!(
        server.socket("/s/0/k/websocket", &evil).await.unwrap_err(),
        403
    );
    let version = "/s/0/k/websocket?cf_protocol_version=v3";
    assert_eq!(server.socket(version, &[]).await.unwrap_err(), 400);
    assert_eq!(server.get("/s/0/k/websocket").await.status, 400);
}

#[tokio::test]
async fn the_raw_websocket_has_no_framing_and_has_to_be_wanted() {
    let server = start().await;
    let mut socket = server.socket("/s/websocket", &[]).await.unwrap();
    socket.send("hello".into()).await.unwrap();
    assert_eq!(text(&mut socket).await.unwrap(), "hello");
    let without = start_with(|_| {}).await;
    assert_eq!(without.socket("/s/websocket", &[]).await.unwrap_err(), 404);
}
