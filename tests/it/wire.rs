//! One behaviour in three forms: dialects, frames, and bytes that nobody touches (client-protocol.md 1.2, 1.8–1.11, 2, 3;
//! gateway.md 1, 3).

use serde_json::{Value, json};
use tonic::Code;

use crate::{
    harness::{Client, Close, Offer, Transport, now, on_every_transport, server, unhex},
    support::Server,
};

on_every_transport!(
    the_smallest_connects,
    the_older_generation_is_spoken = "clients of the older generation never had them" + sockjs,
    the_older_generation_can_try_again = "clients of the older generation never had them" + sockjs,
    the_older_generation_knows_ends = "clients of the older generation never had them" + sockjs,
    many_replies_share_frames,
    payloads_are_untouched,
);

/// Everybody may do everything, and everything is kept.
fn settings() -> Value {
    json!({
        "client": {"allow_anonymous_connect_without_token": true},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
            "allow_publish_for_client": true, "allow_publish_for_anonymous": true,
            "presence": true, "allow_presence_for_client": true, "allow_presence_for_anonymous": true,
            "join_leave": true, "history_size": 100, "history_ttl": "60s", "allow_recovery": true,
            "allow_history_for_client": true, "allow_history_for_anonymous": true,
        }},
    })
}

async fn the_smallest_connects(on: Transport) {
    let server = server(settings()).await;
    let mut newer = on.open(&server).await;
    newer
        .raw_command(br#"{"id":1,"connect":{}}"#, &unhex("0801 2200"))
        .await;
    let reply = newer.next().await;
    assert_eq!(
        (&reply["id"], &reply["connect"]["ping"]),
        (&json!(1), &json!(300)),
        "{reply}"
    );
    if on.is_emulated() {
        // Clients of the older generation never had them.
        return;
    }
    let mut older = on.open(&server).await;
    older.speak_older();
    older.raw_command(br#"{"id":1}"#, &unhex("0801")).await;
    let reply = older.next().await;
    let result = reply["result"].as_object().unwrap();
    assert_eq!(reply["id"], 1);
    let mut keys: Vec<_> = result.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["client", "version"], "{reply}");
}

/// Connects in the older generation.
async fn older(on: Transport, server: &Server, params: Value) -> Client {
    let mut client = on.open(server).await;
    let reply = client.call(json!({"params": params})).await;
    let Some(id) = reply["result"]["client"].as_str() else {
        panic!("not connected: {reply}");
    };
    client.id = id.to_owned();
    client
}

async fn the_older_generation_is_spoken(on: Transport) {
    let server = server(settings()).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let mut client = older(on, &server, json!({"token": token, "name": "it"})).await;
    let subscribe = json!({"method": 1, "params": {"channel": "news"}});
    assert_eq!(client.call(subscribe.clone()).await, json!({"result": {}}));
    let twice = json!({"error": {"code": 105, "message": "already subscribed"}});
    assert_eq!(client.call(subscribe).await, twice);
    let publish = json!({"method": 3, "params": {"channel": "news", "data": {"a": 1}}});
    assert_eq!(client.call(publish).await, json!({"result": {}}));
    let info = json!({"user": "alice", "client": client.id});
    let publication = json!({"data": {"a": 1}, "offset": 1, "info": info});
    let push = json!({"result": {"channel": "news", "data": publication}});
    assert_eq!(client.next().await, push);
    let channel = json!({"channel": "news"});
    let reply = client.call(json!({"method": 4, "params": channel})).await;
    let presence = json!({client.id.as_str(): {"user": "alice", "client": client.id}});
    assert_eq!(reply, json!({"result": {"presence": presence}}));
    let reply = client.call(json!({"method": 5, "params": channel})).await;
    assert_eq!(reply, json!({"result": {"num_clients": 1, "num_users": 1}}));
    // Without a limit there is all of it.
    let reply = client.call(json!({"method": 6, "params": channel})).await;
    let result = &reply["result"];
    assert_eq!(
        (&result["publications"], &result["offset"]),
        (&json!([publication]), &json!(1))
    );
    assert_eq!(client.call(json!({"method": 7})).await, json!({}), "a pong");
    let unknown = json!({"error": {"code": 104, "message": "method not found"}});
    assert_eq!(client.call(json!({"method": 99})).await, unknown);
    let rpc = json!({"error": {"code": 108, "message": "not available"}});
    assert_eq!(
        client
            .call(json!({"method": 9, "params": {"data": 1}}))
            .await,
        rpc
    );
    client
        .send(json!({"method": 8, "params": {"data": 1}}))
        .await;
    let refresh = json!({"method": 10, "params": {"token": token}});
    let expected = json!({"client": client.id, "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(client.call(refresh).await, json!({"result": expected}));
    let leave = json!({"method": 2, "params": channel});
    assert_eq!(client.call(leave).await, json!({"result": {}}));
}

async fn the_older_generation_can_try_again(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.open(&server).await;
    let expired = Server::token(&json!({"sub": "alice", "exp": now() - 1}));
    let reply = client.call(json!({"params": {"token": expired}})).await;
    let expected = json!({"error": {"code": 109, "message": "token expired"}});
    assert_eq!(reply, expected);
    let good = Server::token(&json!({"sub": "alice"}));
    let reply = client.call(json!({"params": {"token": good}})).await;
    assert!(reply["result"]["client"].is_string(), "{reply}");
}

async fn the_older_generation_knows_ends(on: Transport) {
    let server = server(settings()).await;
    let told = |code: u32, reason: &str, reconnect: bool| match on {
        Transport::Grpc => (code, reason.to_owned()),
        _ => {
            let reason = format!(r#"{{"reason":"{reason}","reconnect":{reconnect}}}"#);
            (code, reason)
        }
    };
    for command in [
        json!({"id": 2, "params": {}}),
        json!({"method": 1, "params": {"channel": "news"}}),
        json!({"id": 2, "method": 1, "params": {}}),
        json!({"id": 2, "method": 3, "params": {"channel": "news"}}),
    ] {
        let mut client = older(on, &server, json!({})).await;
        client.send(command).await;
        let (code, reason) = told(3501, "bad request", false);
        client.closed(code, &reason).await;
    }
    let token = Server::token(&json!({"sub": "alice"}));
    for (code, reason, reconnect) in [
        (4000, "come back", true),
        (4999, "stay \\\"away\\\"", false),
    ] {
        let mut client = older(on, &server, json!({"token": token})).await;
        let plain = reason.replace('\\', "");
        let why = json!({"code": code, "reason": plain});
        server
            .api("disconnect", &json!({"user": "alice", "disconnect": why}))
            .await;
        let (code, mut text) = told(code, reason, reconnect);
        if on == Transport::Grpc {
            text = plain;
        }
        client.closed(code, &text).await;
    }
}

async fn many_replies_share_frames(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.connect(&server, json!({})).await;
    client.subscribe(json!({"channel": "news"})).await;
    let commands: Vec<_> = (2..102)
        .map(|id| json!({"id": id, "publish": {"channel": "news", "data": id}}))
        .collect();
    client.send_all(&commands).await;
    let (mut replies, mut pushes) = (Vec::new(), Vec::new());
    while replies.len() + pushes.len() < 200 {
        let message = client.next().await;
        match message["id"].as_u64() {
            Some(id) => replies.push(id),
            None => pushes.push(message["push"]["pub"]["data"].as_u64().unwrap()),
        }
    }
    let expected: Vec<u64> = (2..102).collect();
    assert_eq!((&replies, &pushes), (&expected, &expected));
}

/// Payloads that a parser on the way would change.
const PAYLOADS: [&str; 4] = [
    r#"{ "b" : [1,  2.50, 1e3], "a":"\u00e9é<&>\u2028" , "a":-0}"#,
    "12345678901234567890.000",
    r#""\ud83d\ude00 \/ ""#,
    "null",
];

async fn payloads_are_untouched(on: Transport) {
    let server = server(settings()).await;
    let mut publisher = on.connect(&server, json!({})).await;
    let mut watchers = Vec::new();
    for transport in Transport::ALL {
        let mut watcher = transport.connect(&server, json!({})).await;
        watcher.subscribe(json!({"channel": "news"})).await;
        watchers.push(watcher);
    }
    for payload in PAYLOADS {
        publisher.publish_bytes("news", payload.as_bytes()).await;
        for watcher in &mut watchers {
            let message = watcher.next_raw().await;
            let found = message
                .windows(payload.len())
                .any(|part| part == payload.as_bytes());
            assert!(found, "{payload} in {}", String::from_utf8_lossy(&message));
        }
    }
    let reply = publisher
        .call(json!({"history": {"channel": "news", "limit": -1}}))
        .await;
    let publications = reply["history"]["publications"].as_array().unwrap();
    assert_eq!(publications.len(), PAYLOADS.len());
}

/// Commands in their order, each behind the number of pushes it brings.
const SCRIPT: &str = r#"
0 {"connect": {"token": "TOKEN", "data": {"a": 1}, "subs": {"server": {}}}}
1 {"subscribe": {"channel": "news", "recoverable": true, "join_leave": true}}
0 {"subscribe": {"channel": "news"}}
0 {"subscribe": {"channel": "$private"}}
1 {"publish": {"channel": "news", "data": {"text": "ä<>", "n": [1, 2.5, null]}}}
0 {"publish": {"channel": "unknown:x", "data": 1}}
1 {"publish": {"channel": "server", "data": "to the server side"}}
0 {"presence": {"channel": "news"}}
0 {"presence_stats": {"channel": "news"}}
0 {"history": {"channel": "news", "limit": 10}}
0 {"history": {"channel": "empty", "limit": 10}}
0 {"history": {"channel": "news", "limit": 1, "since": {"offset": 0, "epoch": "x"}}}
0 {"rpc": {"method": "m", "data": {}}}
0 {"refresh": {"token": "TOKEN"}}
0 {"sub_refresh": {"channel": "other", "token": "x"}}
0 {"unsubscribe": {"channel": "news"}}
0 {"subscribe": {"channel": "news", "recover": true, "offset": 0}}
0 {"subscribe": {"channel": "fresh", "recover": true, "offset": 7, "epoch": "x"}}
"#;

/// Calls of the server API, each of which brings one push.
const CALLS: [(&str, &str); 4] = [
    (
        "publish",
        r#"{"channel": "news", "data": {"x": 1}, "tags": {"k": "v"}}"#,
    ),
    ("unsubscribe", r#"{"channel": "news", "user": "alice"}"#),
    (
        "subscribe",
        r#"{"channel": "more", "user": "alice", "data": [1]}"#,
    ),
    ("refresh", r#"{"user": "alice"}"#),
];

/// What a session says to the script, with what differs by chance left out.
async fn transcript(on: Transport) -> Vec<Value> {
    let server = server(settings()).await;
    let token = Server::token(&json!({"sub": "alice", "info": {"name": "Alice"}}));
    let script = SCRIPT.replace("TOKEN", &token);
    let mut client = on.open(&server).await;
    let mut seen = Vec::new();
    for line in script.trim().lines() {
        let (pushes, request) = line.split_once(' ').unwrap();
        seen.push(client.call(serde_json::from_str(request).unwrap()).await);
        for _ in 0..pushes.parse().unwrap() {
            seen.push(client.next().await);
        }
    }
    for (method, params) in CALLS {
        server
            .api(method, &serde_json::from_str(params).unwrap())
            .await;
        seen.push(client.next().await);
    }
    client.request(json!({"send": {"data": 1}})).await;
    let close = client.close().await;
    seen.push(json!([close.code, close.reason]));
    let id = seen[0]["connect"]["client"].as_str().unwrap();
    normalised(&seen, id)
}

/// The values without client ids and epochs, which are drawn by lot.
fn normalised(seen: &[Value], client: &str) -> Vec<Value> {
    fn walk(value: &mut Value, client: &str) {
        match value {
            Value::Object(object) => {
                for (key, value) in object.iter_mut() {
                    if key == "epoch" {
                        *value = json!("<epoch>");
                    }
                    walk(value, client);
                }
                if let Some(value) = object.remove(client) {
                    object.insert("<client>".to_owned(), value);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| walk(value, client)),
            Value::String(text) if text == client => *value = json!("<client>"),
            _ => {}
        }
    }
    let mut seen = seen.to_vec();
    seen.iter_mut().for_each(|value| walk(value, client));
    seen
}

#[tokio::test]
async fn all_transports_say_the_same() {
    let [grpc, json, protobuf] = Transport::ALL.map(transcript);
    let (grpc, json, protobuf) = tokio::join!(Box::pin(grpc), Box::pin(json), Box::pin(protobuf));
    assert_eq!(grpc.len(), 26, "{grpc:#?}");
    assert_eq!(grpc, protobuf);
    assert_eq!(grpc, json);
}

#[tokio::test]
async fn services_and_browsers_meet_in_one_channel() {
    let server = server(settings()).await;
    let mut clients = Vec::new();
    let join = json!({"channel": "room", "join_leave": true});
    for (user, on) in ["service", "page", "app"].into_iter().zip(Transport::ALL) {
        let mut client = on.user(&server, user).await;
        client.subscribe(join.clone()).await;
        let info = json!({"user": user, "client": client.id});
        let push = json!({"channel": "room", "join": {"info": info}});
        assert_eq!(client.push().await, push, "the own join");
        for other in &mut clients {
            let other: &mut Client = other;
            assert_eq!(other.push().await, push);
        }
        clients.push(client);
    }
    for publisher in 0..clients.len() {
        let payload = format!(r#"{{ "from" : {publisher} }}"#);
        clients[publisher]
            .publish_bytes("room", payload.as_bytes())
            .await;
        let mut seen = Vec::new();
        for client in &mut clients {
            seen.push(client.push().await);
        }
        assert_eq!(seen[0]["pub"]["data"]["from"], publisher);
        assert_eq!(seen[0]["pub"]["offset"], publisher + 1);
        assert!(seen.iter().all(|push| push == &seen[0]), "{seen:?}");
    }
    while let Some(mut client) = clients.pop() {
        client
            .call(json!({"unsubscribe": {"channel": "room"}}))
            .await;
        for other in &mut clients {
            let push = other.push().await;
            assert_eq!(push["leave"]["info"]["client"], client.id);
        }
    }
}

#[tokio::test]
async fn line_breaks_leave_the_payload_only_where_they_separate_messages() {
    let server = server(settings()).await;
    let mut watchers = Vec::new();
    for on in Transport::ALL {
        let mut watcher = on.connect(&server, json!({})).await;
        watcher.subscribe(json!({"channel": "news"})).await;
        watchers.push(watcher);
    }
    let mut publisher = Transport::Grpc.connect(&server, json!({})).await;
    publisher.publish_bytes("news", b"{\n\"a\":\n1}").await;
    for mut watcher in watchers {
        let is_json = watcher.next_raw().await.first() == Some(&b'{');
        publisher.publish_bytes("news", b"[\n1]").await;
        let message = watcher.next_raw().await;
        let expected: &[u8] = if is_json { b"[1]" } else { b"[\n1]" };
        assert!(message.windows(expected.len()).any(|part| part == expected));
    }
}

#[tokio::test]
async fn streams_of_one_connection_do_not_disturb_each_other() {
    let server = server(settings()).await;
    let [mut first, mut second, third] = Client::streams(&server).await;
    for client in [&mut first, &mut second] {
        client.connect(json!({})).await;
        client.subscribe(json!({"channel": "news"})).await;
    }
    drop(third);
    first.raw(b"\xff\xff".as_slice()).await;
    assert_eq!(first.close().await.status, Code::InvalidArgument);
    server.publish("news", &json!(1)).await;
    assert_eq!(second.push().await["pub"]["data"], 1);
}

#[tokio::test]
async fn a_stream_closed_by_half_gets_the_replies_it_is_owed() {
    let server = server(settings()).await;
    let mut client = Transport::Grpc.connect(&server, json!({})).await;
    for n in 0..20 {
        client
            .request(json!({"publish": {"channel": "news", "data": n}}))
            .await;
    }
    client.half_close();
    for id in 2..22 {
        assert_eq!(client.answer(id).await, json!({"publish": {}}));
    }
    assert_eq!(
        client.close().await,
        Close {
            code: 0,
            reason: String::new(),
            status: Code::Ok,
        }
    );
}

#[tokio::test]
async fn a_deadline_ends_the_session() {
    let server = server(settings()).await;
    let mut watcher = Transport::Json.user(&server, "alice").await;
    watcher
        .subscribe(json!({"channel": "news", "join_leave": true}))
        .await;
    watcher.push().await;
    let headers = [("grpc-timeout", "400m")];
    let mut client = Transport::Grpc.open_with(&server, &headers).await.unwrap();
    client.connect(json!({})).await;
    client.subscribe(json!({"channel": "news"})).await;
    let about =
        |what: &str| json!({"channel": "news", what: {"info": {"user": "", "client": client.id}}});
    let (joined, left) = (about("join"), about("leave"));
    assert_eq!(watcher.push().await, joined);
    assert_eq!(watcher.push().await, left);
    assert_eq!(client.close().await.status, Code::DeadlineExceeded);
    assert_eq!(watcher.so_far().await, Vec::<Value>::new(), "told once");
}

#[tokio::test]
async fn queries_and_subprotocols_choose_the_encoding() {
    let server = server(settings()).await;
    for (query, offered, chosen, protobuf) in [
        ("", "", None, false),
        ("format=protobuf", "", None, true),
        ("cf_protocol=protobuf", "", None, true),
        ("", "centrifuge-protobuf", Some("centrifuge-protobuf"), true),
        (
            "",
            "unknown, centrifuge-json",
            Some("centrifuge-json"),
            false,
        ),
        (
            "format=protobuf",
            "centrifuge-json",
            Some("centrifuge-json"),
            true,
        ),
        ("", "unknown", None, false),
    ] {
        let header = [("sec-websocket-protocol", offered)];
        let headers = if offered.is_empty() { &[][..] } else { &header };
        let offer = Offer { query, headers };
        let (found, is_protobuf) = offer.tried(&server).await;
        assert_eq!(
            (found.as_deref(), is_protobuf),
            (chosen, protobuf),
            "{offer:?}"
        );
    }
    let offer = Offer {
        query: "cf_protocol_version=v3",
        headers: &[],
    };
    assert_eq!(offer.refused(&server).await, 400);
}
