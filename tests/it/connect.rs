//! How a connection begins, goes on and ends (client-protocol.md 4.2–4.4, 4.9, 4.10; tokens.md 7).

use serde_json::{Value, json};

use crate::{
    harness::{Client, Close, Transport, now, on_every_listener, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    a_token_connects,
    credentials_are_needed,
    anonymous_connections_can_be_allowed,
    wrong_tokens_are_refused,
    an_expired_token_is_an_error,
    a_failed_connection_is_of_no_use,
    a_failed_connection_is_ended = "it stays until its stale timer",
    only_one_connect,
    connect_comes_first,
    silence_is_stale = "the request carries the first commands" + sockjs,
    a_connection_expires,
    a_connection_is_refreshed,
    a_refresh_can_end_a_connection,
    pings_are_answered,
    a_missing_pong_ends,
    a_pong_needs_a_ping,
    pings_can_be_switched_off,
    a_user_has_so_many_connections,
    the_time_is_told_when_asked_for,
    the_peer_may_leave,
);

on_every_listener!(
    credentials_are_needed,
    anonymous_connections_can_be_allowed,
    wrong_tokens_are_refused,
    a_connection_expires,
    pings_can_be_switched_off,
    the_time_is_told_when_asked_for,
);

/// A token of this user that ends in so many seconds.
fn token(user: &str, seconds: i64) -> Value {
    json!(Server::token(&json!({"sub": user, "exp": now() + seconds})))
}

async fn a_token_connects(on: Transport) {
    let server = Server::start(json!({})).await;
    let mut client = on.open(&server).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let mut result = client.connect(json!({"token": token, "name": "it"})).await;
    assert_eq!(client.id.len(), 36, "{result}");
    if on.is_emulated() {
        // Where commands have to go.
        for place in ["session", "node"] {
            let place = result.as_object_mut().unwrap().remove(place);
            assert_eq!(place.unwrap().as_str().unwrap().len(), 36);
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let expected = json!({"client": client.id, "version": version, "ping": 25, "pong": true});
    assert_eq!(result, expected);
}

async fn credentials_are_needed(on: Transport) {
    let server = server(json!({})).await;
    for request in [json!({}), json!({"token": ""}), json!({"data": {"a": 1}})] {
        let mut client = on.open(&server).await;
        client.request(json!({"connect": request})).await;
        client.closed(3501, "bad request").await;
    }
}

async fn anonymous_connections_can_be_allowed(on: Transport) {
    let settings = json!({"client": {
        "allow_anonymous_connect_without_token": true,
        "disallow_anonymous_connection_tokens": true,
    }});
    let server = server(settings).await;
    let client = on.connect(&server, json!({})).await;
    assert!(!client.id.is_empty());
    // A token without a user is another matter.
    let mut client = on.open(&server).await;
    let token = Server::token(&json!({}));
    client.request(json!({"connect": {"token": token}})).await;
    client.closed(3507, "permission denied").await;
}

async fn wrong_tokens_are_refused(on: Transport) {
    let server = server(json!({})).await;
    let good = Server::token(&json!({"sub": "alice"}));
    let (signed, _) = good.rsplit_once('.').unwrap();
    // {"alg":"none","typ":"JWT"}, the same claims.
    let claims = signed.split('.').next_back().unwrap();
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let with_channel = Server::token(&json!({"sub": "alice", "channel": "news"}));
    let number = Server::token(&json!({"sub": 42}));
    for token in [
        "x",
        "a.b.c",
        &format!("{signed}.AAAA"),
        &none,
        &with_channel,
        &number,
    ] {
        let mut client = on.open(&server).await;
        client.request(json!({"connect": {"token": token}})).await;
        client.closed(3500, "invalid token").await;
    }
}

async fn an_expired_token_is_an_error(on: Transport) {
    let server = server(json!({})).await;
    let error = |code: u32, message: &str| json!({"error": {"code": code, "message": message}});
    let mut client = on.open(&server).await;
    let reply = client
        .call(json!({"connect": {"token": token("alice", 0)}}))
        .await;
    assert_eq!(reply, error(109, "token expired"));
    let claims = json!({"sub": "alice", "nbf": now() + 60});
    let mut client = on.open(&server).await;
    let reply = client
        .call(json!({"connect": {"token": Server::token(&claims)}}))
        .await;
    assert_eq!(reply, error(109, "token expired"));
    let claims = json!({"sub": "alice", "exp": now() + 60, "expire_at": now() - 1});
    let mut client = on.open(&server).await;
    let reply = client
        .call(json!({"connect": {"token": Server::token(&claims)}}))
        .await;
    assert_eq!(reply, error(110, "expired"));
}

async fn a_failed_connection_is_of_no_use(on: Transport) {
    let server = server(json!({"client": {"stale_close_delay": "500ms"}})).await;
    let mut client = on.open(&server).await;
    let reply = client
        .call(json!({"connect": {"token": token("alice", -1)}}))
        .await;
    assert_eq!(reply["error"]["code"], 109);
    let good = Server::token(&json!({"sub": "alice"}));
    client.request(json!({"connect": {"token": good}})).await;
    match on {
        Transport::Grpc => client.closed(3501, "bad request").await,
        // Input is discarded until the stale timer fires.
        _ => client.closed(3502, "stale").await,
    }
}

async fn a_failed_connection_is_ended(on: Transport) {
    let server = server(json!({})).await;
    let mut client = on.open(&server).await;
    let reply = client
        .call(json!({"connect": {"token": token("alice", -1)}}))
        .await;
    assert_eq!(reply["error"]["code"], 109);
    let Close { code, .. } = client.close().await;
    assert_eq!(code, 0, "within five seconds, without a word");
}

async fn only_one_connect(on: Transport) {
    let server = server(json!({})).await;
    let mut client = on.user(&server, "alice").await;
    let good = Server::token(&json!({"sub": "alice"}));
    client.request(json!({"connect": {"token": good}})).await;
    client.closed(3501, "bad request").await;
}

async fn connect_comes_first(on: Transport) {
    let server = server(json!({})).await;
    for request in [
        json!({"subscribe": {"channel": "news"}}),
        json!({"publish": {"channel": "news", "data": 1}}),
        json!({"rpc": {"data": 1, "method": "m"}}),
        json!({"refresh": {"token": "x"}}),
        json!({"ping": {}}),
        json!({"send": {"data": 1}}),
    ] {
        let mut client = on.open(&server).await;
        client.request(request).await;
        client.closed(3501, "bad request").await;
    }
}

async fn silence_is_stale(on: Transport) {
    let server = server(json!({"client": {"stale_close_delay": "200ms"}})).await;
    let mut client = on.open(&server).await;
    client.closed(3502, "stale").await;
    // Who has connected may be silent.
    let mut client = on.user(&server, "alice").await;
    on.open(&server).await.closed(3502, "stale").await;
    assert_eq!(client.so_far().await, Vec::<Value>::new());
}

async fn a_connection_expires(on: Transport) {
    let server = server(json!({"client": {"expired_close_delay": "100ms"}})).await;
    let mut client = on.open(&server).await;
    let result = client.connect(json!({"token": token("alice", 2)})).await;
    assert_eq!(result["expires"], true);
    let ttl = result["ttl"].as_u64().unwrap();
    assert!((1..=2).contains(&ttl), "{result}");
    client.closed(3005, "connection expired").await;
}

async fn a_connection_is_refreshed(on: Transport) {
    let server = server(json!({"client": {"expired_close_delay": "100ms"}})).await;
    let mut client = on
        .connect(&server, json!({"token": token("alice", 2)}))
        .await;
    let mut reply = client
        .call(json!({"refresh": {"token": token("alice", 3600)}}))
        .await;
    let ttl = reply["refresh"]["ttl"].take();
    assert!((3590..=3600).contains(&ttl.as_u64().unwrap()), "{ttl}");
    let expected = json!({"client": client.id, "expires": true, "ttl": null});
    assert_eq!(reply["refresh"], expected);
    let forever = Server::token(&json!({"sub": "alice"}));
    let reply = client.call(json!({"refresh": {"token": forever}})).await;
    assert_eq!(reply["refresh"], json!({"client": client.id}));
    // The first token is long over when another one that ends as soon has been seen to end.
    let mut other = on.connect(&server, json!({"token": token("bob", 2)})).await;
    other.closed(3005, "connection expired").await;
    assert_eq!(client.so_far().await, Vec::<Value>::new());
}

async fn a_refresh_can_end_a_connection(on: Transport) {
    let settings = json!({"channel": {"without_namespace": {}}});
    let server = server(settings).await;
    let channels = json!({"sub": "alice", "channels": ["a", "b"]});
    for (token, code, reason) in [
        (json!(""), 3501, "bad request"),
        (json!("x"), 3500, "invalid token"),
        (token("bob", 60), 3500, "invalid token"),
        (token("alice", -1), 3005, "connection expired"),
        (token("alice", 60), 3010, "insufficient state"),
    ] {
        let first = Server::token(&channels);
        let mut client = on.connect(&server, json!({"token": first})).await;
        client.request(json!({"refresh": {"token": token}})).await;
        client.closed(code, reason).await;
    }
    let mut client = on.user(&server, "alice").await;
    let passed = json!({"sub": "alice", "exp": now() + 60, "expire_at": now() - 1});
    let passed = Server::token(&passed);
    assert_eq!(
        client.refused(json!({"refresh": {"token": passed}})).await,
        110
    );
}

fn fast_pings() -> Value {
    json!({"client": {"ping_interval": "1s", "pong_timeout": "500ms"}})
}

async fn ping(client: &mut Client) {
    assert_eq!(client.next().await, json!({}), "a ping");
}

async fn pings_are_answered(on: Transport) {
    let server = server(fast_pings()).await;
    let mut client = on.open(&server).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let result = client.connect(json!({"token": token})).await;
    assert_eq!(
        (&result["ping"], &result["pong"]),
        (&json!(1), &json!(true))
    );
    for _ in 0..2 {
        ping(&mut client).await;
        client.send(json!({})).await;
    }
    assert_eq!(client.so_far().await, Vec::<Value>::new());
    // The second pong for one ping.
    client.send(json!({})).await;
    client.closed(3501, "bad request").await;
}

async fn a_missing_pong_ends(on: Transport) {
    let server = server(fast_pings()).await;
    let mut client = on.user(&server, "alice").await;
    ping(&mut client).await;
    client.closed(3012, "no pong").await;
}

async fn a_pong_needs_a_ping(on: Transport) {
    let server = server(json!({})).await;
    let mut client = on.user(&server, "alice").await;
    client.send(json!({})).await;
    client.closed(3501, "bad request").await;
}

async fn pings_can_be_switched_off(on: Transport) {
    let server = server(json!({"client": {"ping_interval": "-1s", "pong_timeout": "-1s"}})).await;
    let mut client = on.open(&server).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let mut result = client.connect(json!({"token": token})).await;
    let result = result.as_object_mut().unwrap();
    assert_eq!((result.get("ping"), result.get("pong")), (None, None));
}

async fn a_user_has_so_many_connections(on: Transport) {
    let server = server(json!({"client": {"user_connection_limit": 2}})).await;
    let mut kept = [
        on.user(&server, "alice").await,
        on.user(&server, "alice").await,
    ];
    let mut third = on.open(&server).await;
    let token = Server::token(&json!({"sub": "alice"}));
    third.request(json!({"connect": {"token": token}})).await;
    third.closed(3504, "connection limit").await;
    on.user(&server, "bob").await;
    for client in &mut kept {
        assert_eq!(client.so_far().await, Vec::<Value>::new());
    }
}

async fn the_time_is_told_when_asked_for(on: Transport) {
    let server = server(json!({"client": {"connect_include_server_time": true}})).await;
    let mut client = on.open(&server).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let result = client.connect(json!({"token": token})).await;
    let time = result["time"].as_i64().unwrap();
    assert!((time / 1000 - now()).abs() < 60, "{time}");
}

async fn the_peer_may_leave(on: Transport) {
    let settings = json!({"channel": {"without_namespace": {
        "presence": true, "allow_presence_for_client": true, "allow_subscribe_for_client": true,
        "join_leave": true, "force_push_join_leave": true,
    }}});
    let server = server(settings).await;
    let mut stays = on.user(&server, "alice").await;
    stays.subscribe(json!({"channel": "news"})).await;
    let own = stays.push().await;
    assert_eq!(own["join"]["info"]["client"], stays.id);
    let mut leaves = on.user(&server, "bob").await;
    leaves.subscribe(json!({"channel": "news"})).await;
    let info = json!({"user": "bob", "client": leaves.id});
    let of = |what: &str| json!({"channel": "news", what: {"info": info}});
    assert_eq!(stays.push().await, of("join"));
    leaves.leave().await;
    assert_eq!(stays.push().await, of("leave"));
    let reply = stays.call(json!({"presence": {"channel": "news"}})).await;
    let expected = json!({stays.id.as_str(): {"user": "alice", "client": stays.id}});
    assert_eq!(reply["presence"]["presence"], expected);
}
