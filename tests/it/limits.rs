//! Bad input: the code of the specification, a counter, and nobody else notices (gateway.md 8; client-protocol.md 2, 3, 4).
//!
//! Errors and violations of commands that are well formed are in the modules of their behaviour; here they are seen from
//! the other side: what the server counts, and what it leaves alone.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tonic::Code;

use crate::{
    harness::{
        Bystander, Client, Close, HEX, Metric, Offer, Transport, delimited, eventually,
        on_every_transport, server, varint,
    },
    support::Server,
};

on_every_transport!(
    bytes_without_sense,
    half_a_message,
    a_message_over_the_limit = "the answer is an HTTP status",
    ten_megabytes = "the answer is an HTTP status",
    nesting_without_end,
    lengths_beyond_reason,
    text_that_is_no_utf8 = "a JSON string holds text",
    commands_nobody_knows,
    refused_commands_are_counted,
    violations_are_counted,
    wrong_credentials_are_counted,
    impatience_and_silence_are_counted = "the request carries the first commands",
    payloads_that_are_no_json,
    headers_without_end = "refused as on WebSocket, before any path is looked at",
    who_does_not_read_is_sent_away,
);

/// A server under attack, and somebody who must not notice.
struct Scene {
    server: Server,
    bystander: Bystander,
    /// Resident bytes before anything bad happened.
    memory: u64,
}

/// What a server may need more than before, for whatever reason; a kept message of [`ten_megabytes`] is seen in it.
const SPARE: u64 = 9_000_000;

impl Scene {
    async fn new() -> Self {
        let settings = json!({
            "client": {"channel_limit": 3},
            "prometheus": {"instrument_http_handlers": true},
            "channel": {
                "without_namespace": {"allow_subscribe_for_client": true},
                "namespaces": [{"name": "open", "allow_subscribe_for_client": true,
                    "allow_publish_for_client": true}, {"name": "closed"}],
            },
        });
        Self::with(settings).await
    }

    async fn with(settings: Value) -> Self {
        let server = server(settings).await;
        let bystander = Bystander::of(&server).await;
        let memory = server.memory();
        Self {
            server,
            bystander,
            memory,
        }
    }

    /// The counter of disconnects with this code.
    async fn disconnects(&self, code: u32) -> Metric<'_> {
        let code = code.to_string();
        let name = "centrifugo_client_num_server_disconnects";
        Metric::of(&self.server, name, &[("code", &code)]).await
    }

    /// What the misdeed does to its own connection, and to nothing else.
    async fn ends(
        &mut self,
        mut client: Client,
        close: &Close,
        misdeed: impl AsyncFnOnce(&mut Client),
    ) {
        let counted = self.disconnects(close.code).await;
        misdeed(&mut client).await;
        assert_eq!(&client.close().await, close);
        counted.increased().await;
        self.unharmed().await;
    }

    async fn unharmed(&mut self) {
        self.bystander.served(&self.server).await;
        assert!(self.server.alive(), "{}", self.server.log());
        let (most, server) = (self.memory + SPARE, &self.server);
        let kept = || async { server.memory() < most };
        eventually("the memory of bad input is given back", kept).await;
    }

    /// A connection that is, and one that is not connected yet.
    async fn both(&self, on: Transport) -> [Client; 2] {
        [
            on.open(&self.server).await,
            on.user(&self.server, "mallory").await,
        ]
    }
}

fn close(code: u32, reason: &str, status: Code) -> Close {
    Close {
        code,
        reason: reason.to_owned(),
        status,
    }
}

fn bad_request() -> Close {
    close(3501, "bad request", Code::Ok)
}

/// A bad request because nothing could be decoded: gRPC has a status for it.
fn undecodable(on: Transport) -> Close {
    match on {
        Transport::Grpc => close(3501, "bad request", Code::InvalidArgument),
        _ => bad_request(),
    }
}

async fn bytes_without_sense(on: Transport) {
    let mut scene = Scene::new().await;
    let samples: &[&[u8]] = match on {
        Transport::Protobuf | Transport::HttpStreamProtobuf => {
            &[b"\x02\xff\xff", b"\x01\x07", b"\x03\x0a\x01\x01", b"hello"]
        }
        Transport::Grpc => &[b"\xff\xff", b"\x07", b"\x0a\x01\x01", b"hello"],
        _ => &[
            b"hello",
            b"[]",
            b"1",
            b"\n{}",
            b" ",
            b"{}{}",
            b"{\"id\":-1}",
            b"{\"id\":1.5}",
        ],
    };
    for sample in samples {
        for client in scene.both(on).await {
            let misdeed = async |client: &mut Client| client.raw(*sample).await;
            scene.ends(client, &undecodable(on), misdeed).await;
        }
    }
    // Nothing in Protobuf is nothing to post.
    if ![Transport::Grpc, Transport::HttpStreamProtobuf].contains(&on) {
        for client in scene.both(on).await {
            let nothing = async |client: &mut Client| client.raw("").await;
            scene.ends(client, &bad_request(), nothing).await;
        }
    }
}

async fn half_a_message(on: Transport) {
    let mut scene = Scene::new().await;
    // {"id":2,"subscribe":{"channel":"news"}}, without its end.
    let half: &[u8] = match on {
        Transport::Protobuf | Transport::HttpStreamProtobuf => b"\x0a\x08\x02\x2a\x06\x0a\x04ne",
        Transport::Grpc => b"\x08\x02\x2a\x06\x0a\x04ne",
        _ => br#"{"id":2,"subscribe":{"chan"#,
    };
    for client in scene.both(on).await {
        let misdeed = async |client: &mut Client| client.raw(half).await;
        scene.ends(client, &undecodable(on), misdeed).await;
    }
}

/// A message of so many bytes that would be fine if it were smaller.
async fn too_large(on: Transport, size: usize) {
    let mut scene = Scene::new().await;
    for client in scene.both(on).await {
        let (counter, labels, end) = match on {
            Transport::Grpc => {
                let name = "centrifugo_client_num_server_disconnects";
                (
                    name,
                    ("code", "3501"),
                    close(3501, "bad request", Code::ResourceExhausted),
                )
            }
            _ => {
                let name = "centrifugo_transport_outgoing_close_count";
                (name, ("code", "1009"), close(1009, "", Code::Ok))
            }
        };
        let counted = Metric::of(&scene.server, counter, &[labels]).await;
        let mut client = client;
        let padding = "x".repeat(size);
        let json = format!(r#"{{"id":7,"rpc":{{"data":"{padding}"}}}}"#);
        // Field 13, rpc, with field 1, data.
        let body = [b"\x0a".to_vec(), delimited(padding.as_bytes())].concat();
        let protobuf = [b"\x08\x07\x6a".to_vec(), delimited(&body)].concat();
        client.raw_command(json.as_bytes(), &protobuf).await;
        let mut found = client.close().await;
        if end.reason.is_empty() {
            found.reason.clear();
        }
        assert_eq!(found, end);
        counted.increased().await;
        drop(counted);
        scene.unharmed().await;
    }
}

async fn a_message_over_the_limit(on: Transport) {
    too_large(on, 65_536).await;
}

async fn ten_megabytes(on: Transport) {
    too_large(on, 10_000_000).await;
}

async fn nesting_without_end(on: Transport) {
    const DEPTH: usize = 10_000;
    let mut scene = Scene::new().await;
    let (open, end) = ("[".repeat(DEPTH), "]".repeat(DEPTH));
    let payload = format!("{open}{end}");
    let mut client = on.user(&scene.server, "mallory").await;
    client.subscribe(json!({"channel": "open:x"})).await;
    client.publish_unseen("open:x", payload.as_bytes()).await;
    let mut passed = false;
    for _ in 0..2 {
        let message = client.next_raw().await;
        passed |= message
            .windows(payload.len())
            .any(|part| part == payload.as_bytes());
    }
    assert!(passed, "a payload is not looked into");
    let json = format!(r#"{{"id":9,"subscribe":{{"channel":"x","tf":{payload}}}}}"#);
    // Field 13 of a subscribe request is a filter whose field 6 holds filters.
    let mut filter = Vec::new();
    for _ in 0..DEPTH {
        filter = [b"\x32".to_vec(), delimited(&filter)].concat();
    }
    let request = [b"\x0a\x01x\x6a".to_vec(), delimited(&filter)].concat();
    let protobuf = [b"\x08\x09\x2a".to_vec(), delimited(&request)].concat();
    if on.is_json() {
        let misdeed = async |client: &mut Client| client.raw(json).await;
        scene.ends(client, &bad_request(), misdeed).await;
    } else {
        // Skipped by its length, so the depth costs nothing; filters are not allowed in this channel.
        client.raw_command(b"", &protobuf).await;
        let reply = client.answer(9).await;
        assert_eq!(reply["error"]["code"], 107, "{reply}");
        scene.unharmed().await;
    }
}

async fn lengths_beyond_reason(on: Transport) {
    let mut scene = Scene::new().await;
    let huge = varint(1 << 62);
    let endless = vec![0xff; 11];
    for length in [huge, varint(u64::MAX), varint(1 << 31), endless] {
        for client in scene.both(on).await {
            let bytes = match on {
                _ if on.is_json() => format!("{{\"id\":{}}}", "9".repeat(30)).into_bytes(),
                Transport::Grpc => [&b"\x08\x01\x22"[..], &length, b"\x0a"].concat(),
                // The length of the message, then of its field 4, connect.
                _ => [&length, &b"\x22\x00"[..]].concat(),
            };
            let misdeed = async |client: &mut Client| client.raw(bytes).await;
            scene.ends(client, &undecodable(on), misdeed).await;
        }
    }
}

async fn text_that_is_no_utf8(on: Transport) {
    let mut scene = Scene::new().await;
    let mut client = on.user(&scene.server, "mallory").await;
    let json = b"{\"id\":7,\"subscribe\":{\"channel\":\"n\xffws\"}}";
    let protobuf = b"\x08\x07\x2a\x06\x0a\x04n\xffws";
    client.raw_command(json, protobuf).await;
    let reply = client.answer(7).await;
    assert_eq!(reply["error"]["code"], 107, "{reply}");
    if on == Transport::Json {
        let bytes = b"{\"id\":8,\"publish\":{\"channel\":\"open:x\",\"data\":\"\xff\"}}";
        let misdeed = async |client: &mut Client| client.raw(&bytes[..]).await;
        scene.ends(client, &bad_request(), misdeed).await;
    }
    scene.unharmed().await;
}

async fn commands_nobody_knows(on: Transport) {
    let mut scene = Scene::new().await;
    // Fields 99 and 11, ping, which is not a command.
    let samples: [(&[u8], &[u8]); 3] = [
        (br#"{"id":7,"dance":{}}"#, b"\x08\x07\x9a\x06\x00"),
        (br#"{"id":7,"ping":{}}"#, b"\x08\x07\x5a\x00"),
        (br#"{"id":7}"#, b"\x08\x07"),
    ];
    for (json, protobuf) in samples {
        let client = on.user(&scene.server, "mallory").await;
        let misdeed = async |client: &mut Client| client.raw_command(json, protobuf).await;
        scene.ends(client, &bad_request(), misdeed).await;
    }
}

async fn refused_commands_are_counted(on: Transport) {
    let mut scene = Scene::new().await;
    let mut client = on.user(&scene.server, "mallory").await;
    for channel in ["a", "b"] {
        client.subscribe(json!({"channel": channel})).await;
    }
    let long = "n".repeat(256);
    for (command, request, code) in [
        ("subscribe", json!({"channel": "a"}), 105),
        ("subscribe", json!({"channel": "unknown:x"}), 102),
        ("subscribe", json!({"channel": long}), 107),
        ("subscribe", json!({"channel": "näws"}), 107),
        ("subscribe", json!({"channel": "closed:x"}), 103),
        ("publish", json!({"channel": "closed:x", "data": 1}), 103),
        ("presence", json!({"channel": "a"}), 108),
        ("rpc", json!({"method": "m", "data": 1}), 108),
    ] {
        let labels = [("method", command), ("code", &code.to_string())];
        let name = "centrifugo_client_num_reply_errors";
        let counted = Metric::of(&scene.server, name, &labels).await;
        assert_eq!(client.refused(json!({command: request})).await, code);
        counted.increased().await;
    }
    client.subscribe(json!({"channel": "c"})).await;
    let labels = [("method", "subscribe"), ("code", "106")];
    let counted = Metric::of(&scene.server, "centrifugo_client_num_reply_errors", &labels).await;
    assert_eq!(
        client.refused(json!({"subscribe": {"channel": "d"}})).await,
        106
    );
    counted.increased().await;
    drop(counted);
    scene.unharmed().await;
}

async fn violations_are_counted(on: Transport) {
    let mut scene = Scene::new().await;
    let token = Server::token(&json!({"sub": "mallory"}));
    let early = on.open(&scene.server).await;
    let command = json!({"id": 1, "subscribe": {"channel": "a"}});
    let misdeed = async |client: &mut Client| client.send(command).await;
    scene.ends(early, &bad_request(), misdeed).await;
    for command in [
        json!({"id": 2, "connect": {"token": token}}),
        // Without an id this is the answer to a ping, and there was none.
        json!({"subscribe": {"channel": "a"}}),
        json!({}),
        json!({"id": 2, "subscribe": {"channel": ""}}),
        json!({"id": 2, "publish": {"data": 1}}),
    ] {
        let client = on.user(&scene.server, "mallory").await;
        let misdeed = async |client: &mut Client| client.send(command).await;
        scene.ends(client, &bad_request(), misdeed).await;
    }
}

async fn wrong_credentials_are_counted(on: Transport) {
    let mut scene = Scene::new().await;
    let good = Server::token(&json!({"sub": "mallory"}));
    let claims = good.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"JWT"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let invalid = close(3500, "invalid token", Code::Ok);
    let name = "centripetal_tokens_rejected_total";
    let before = Metric::of(&scene.server, name, &[("kind", "jwt")])
        .await
        .before;
    for token in [&none, "x", &format!("{good}x")] {
        let client = on.open(&scene.server).await;
        let command = json!({"id": 1, "connect": {"token": token}});
        let misdeed = async |client: &mut Client| client.send(command).await;
        scene.ends(client, &invalid, misdeed).await;
    }
    let client = on.user(&scene.server, "mallory").await;
    let token = Server::token(&json!({"sub": "alice", "channel": "$x"}));
    let command = json!({"id": 2, "subscribe": {"channel": "$x", "token": token}});
    let misdeed = async |client: &mut Client| client.send(command).await;
    scene.ends(client, &invalid, misdeed).await;
    let after = Metric::of(&scene.server, name, &[("kind", "jwt")])
        .await
        .before;
    assert!(after >= before + 4.0, "{before} {after}");
    let log = scene.server.log();
    assert!(log.contains("invalid connection token"), "{log}");
    assert!(!log.contains(claims), "tokens are not for logs: {log}");
}

async fn impatience_and_silence_are_counted(on: Transport) {
    let settings = json!({
        "client": {"stale_close_delay": "300ms", "ping_interval": "1s", "pong_timeout": "300ms"},
        "channel": {"without_namespace": {"allow_subscribe_for_client": true}},
    });
    let server = server(settings).await;
    let name = "centrifugo_client_num_server_disconnects";
    let stale = Metric::of(&server, name, &[("code", "3502")]).await;
    let mute = Metric::of(&server, name, &[("code", "3012")]).await;
    on.open(&server).await.closed(3502, "stale").await;
    on.user(&server, "mallory")
        .await
        .closed(3012, "no pong")
        .await;
    stale.increased().await;
    mute.increased().await;
}

async fn payloads_that_are_no_json(on: Transport) {
    let mut scene = Scene::new().await;
    match on {
        _ if on.is_json() => {
            for data in ["nope", "{a:1}", "[1,]", "01", "\"\u{1}\"", "\"\\x\""] {
                let client = on.user(&scene.server, "mallory").await;
                let text = format!(r#"{{"id":2,"publish":{{"channel":"open:x","data":{data}}}}}"#);
                let misdeed = async |client: &mut Client| client.raw(text).await;
                scene.ends(client, &bad_request(), misdeed).await;
            }
        }
        // A page in the same channel cannot be told, so it is sent away; the others stay.
        _ => {
            let mut page = Transport::Json.user(&scene.server, "page").await;
            page.subscribe(json!({"channel": "open:x"})).await;
            let mut publisher = on.user(&scene.server, "mallory").await;
            publisher.subscribe(json!({"channel": "open:x"})).await;
            let end = close(3506, "inappropriate protocol", Code::Ok);
            let misdeed = async |_: &mut Client| {
                publisher.publish("open:x", json!({HEX: "00ff"})).await;
            };
            scene.ends(page, &end, misdeed).await;
            assert_eq!(publisher.push().await["pub"]["data"], json!({HEX: "00ff"}));
        }
    }
}

async fn headers_without_end(on: Transport) {
    let mut scene = Scene::new().await;
    let large = "x".repeat(20_000);
    let headers = [("x-large", &*large)];
    let name = "centripetal_http_headers_too_large_total";
    let counter = Metric::of(&scene.server, name, &[]).await;
    if on == Transport::Grpc {
        let refused = match on.open_with(&scene.server, &headers).await {
            Ok(mut client) => client.close().await,
            Err(refused) => refused,
        };
        let told = close(0, "", Code::ResourceExhausted);
        assert_eq!(refused, told);
    } else {
        let offer = Offer {
            query: "",
            headers: &headers,
        };
        assert_eq!(offer.refused(&scene.server).await, 431);
    }
    counter.increased().await;
    scene.unharmed().await;
}

async fn who_does_not_read_is_sent_away(on: Transport) {
    let settings = json!({
        "client": {"queue_max_size": 300_000},
        "websocket": {"write_timeout": "3s"},
        "channel": {"without_namespace": {"allow_subscribe_for_client": true}},
    });
    let mut scene = Scene::with(settings).await;
    let mut lazy = on.user(&scene.server, "lazy").await;
    let mut eager = on.user(&scene.server, "eager").await;
    for client in [&mut lazy, &mut eager] {
        client.subscribe(json!({"channel": "news"})).await;
    }
    let data = json!("x".repeat(100_000));
    let slow = scene.disconnects(3008).await;
    // What the system and the transport buffer comes on top.
    for n in 0.. {
        assert!(n < 1000, "100 MB for somebody who does not read");
        scene.server.publish("news", &data).await;
        assert_eq!(eager.push().await["pub"]["data"], data);
        if n % 5 == 4 && slow.value().await > slow.before {
            break;
        }
    }
    drop(slow);
    let end = lazy.close().await;
    assert!([0, 3008].contains(&end.code), "{end:?}");
    scene.unharmed().await;
}

#[tokio::test]
async fn frames_against_the_rules() {
    let mut scene = Scene::new().await;
    let mask = [1, 2, 3, 4];
    let masked = |first: u8| [&[first, 0x80][..], &mask].concat();
    for bytes in [
        // Unmasked, a reserved bit, an unknown opcode, a continuation of nothing, a ping in parts.
        vec![0x81, 0x02, b'{', b'}'],
        masked(0xc1),
        masked(0x83),
        masked(0x80),
        masked(0x09),
    ] {
        let client = Transport::Json.user(&scene.server, "mallory").await;
        let name = "centrifugo_transport_outgoing_close_count";
        let counted = Metric::of(&scene.server, name, &[("code", "1002")]).await;
        let mut client = client;
        client.below(&bytes).await;
        assert_eq!(client.close().await.code, 1002, "{bytes:x?}");
        counted.increased().await;
        drop(counted);
        scene.unharmed().await;
    }
}

#[tokio::test]
async fn strangers_at_the_door() {
    let mut scene = Scene::new().await;
    let requests = "centrifugo_node_incoming_http_requests_total";
    for (headers, status) in [
        (
            [("origin", "https://elsewhere.example")],
            StatusCode::FORBIDDEN,
        ),
        ([("sec-websocket-version", "12")], StatusCode::BAD_REQUEST),
    ] {
        let labels = [("status", status.as_str())];
        let counted = Metric::of(&scene.server, requests, &labels).await;
        let offer = Offer {
            query: "",
            headers: &headers,
        };
        assert_eq!(offer.refused(&scene.server).await, status.as_u16());
        counted.increased().await;
    }
    let offer = Offer {
        query: "",
        headers: &[("sec-websocket-protocol", "unknown")],
    };
    assert_eq!(offer.tried(&scene.server).await, (None, false));
    scene.unharmed().await;
}

#[tokio::test]
async fn calls_against_the_rules() {
    let settings = json!({
        "prometheus": {"instrument_http_handlers": true},
        "centripetal": {"api": {"max_request_body_size": 1000}},
        "channel": {"without_namespace": {"allow_subscribe_for_client": true}},
    });
    let mut scene = Scene::with(settings).await;
    let good = Some(Server::API_KEY);
    let body = json!({"channel": "news", "data": 1}).to_string();
    let large = json!({"channel": "news", "data": "x".repeat(1000)}).to_string();
    for (path, key, body, status) in [
        ("/api/publish", None, &*body, StatusCode::UNAUTHORIZED),
        (
            "/api/publish",
            Some("wrong"),
            &body,
            StatusCode::UNAUTHORIZED,
        ),
        ("/api/publish", good, "", StatusCode::BAD_REQUEST),
        ("/api/publish", good, "[1]", StatusCode::BAD_REQUEST),
        ("/api/publish", good, "{} x", StatusCode::BAD_REQUEST),
        ("/api/publish", good, &large, StatusCode::PAYLOAD_TOO_LARGE),
        ("/api/dance", good, &body, StatusCode::NOT_FOUND),
    ] {
        let requests = "centrifugo_node_incoming_http_requests_total";
        let labels = [("path", path), ("status", status.as_str())];
        let counted = Metric::of(&scene.server, requests, &labels).await;
        let (found, _) = scene.server.post(path, key, body.to_owned()).await;
        assert_eq!(found, status, "{path} {body}");
        if status != StatusCode::NOT_FOUND {
            counted.increased().await;
        }
    }
    let (status, _) = scene.server.get("/api/publish").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    for (body, code) in [
        (json!({"channel": "unknown:x", "data": 1}), 102),
        (json!({"channel": "", "data": 1}), 107),
        (json!({"channel": "news"}), 107),
        (json!({"channel": "news", "b64data": "!"}), 107),
    ] {
        let errors = "centrifugo_api_command_errors_total";
        let labels = [("method", "publish"), ("error", &code.to_string())];
        let counted = Metric::of(&scene.server, errors, &labels).await;
        let (status, text) = scene
            .server
            .post("/api/publish", good, body.to_string())
            .await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (status, &answer["error"]["code"]),
            (StatusCode::OK, &json!(code))
        );
        counted.increased().await;
    }
    scene.unharmed().await;
}

#[tokio::test]
async fn many_of_one_kind_are_one_line_a_second() {
    let server = server(json!({})).await;
    let begun = tokio::time::Instant::now();
    for _ in 0..40 {
        let mut client = Transport::Json.open(&server).await;
        client.raw("no command").await;
        client.closed(3501, "bad request").await;
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    let lines = server.log().matches("closing client connection").count();
    assert!(
        (1..=seconds + 1).contains(&lines),
        "{lines} lines in {seconds} s"
    );
}
