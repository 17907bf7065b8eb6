//! What a backend does to connections over the server API (server-api.md 7.8, 8.3–8.6; client-protocol.md 4.8).

use serde_json::{Value, json};

use crate::{
    harness::{Metric, Transport, now, on_every_listener, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    channels_come_with_the_connection,
    wishes_at_connect_are_granted_or_skipped,
    a_personal_channel_comes_with_the_user,
    only_the_newest_connection_stays,
    a_backend_subscribes_and_unsubscribes,
    a_backend_subscribes_anew,
    a_subscription_of_the_backend_expires,
    too_many_channels_end_the_connection,
    a_backend_disconnects,
    a_backend_tells_the_code,
    a_backend_spares_some,
    a_backend_refreshes,
);

on_every_listener!(
    wishes_at_connect_are_granted_or_skipped,
    a_subscription_of_the_backend_expires,
    a_backend_tells_the_code,
    a_backend_refreshes,
);

fn settings() -> Value {
    json!({"channel": {
        "without_namespace": {"allow_subscribe_for_client": true},
        "namespaces": [
            {"name": "closed"},
            {"name": "full", "presence": true, "join_leave": true, "force_push_join_leave": true,
                "history_size": 10, "history_ttl": "60s", "force_recovery": true},
            {"name": "personal", "presence": true, "allow_presence_for_subscriber": true},
        ],
    }})
}

async fn channels_come_with_the_connection(on: Transport) {
    let server = server(settings()).await;
    let subs = json!({"closed:x": {"data": {"hello": 1}, "info": 7}, "news": {}});
    for (claims, expected) in [
        (
            json!({"channels": ["a", "closed:b"]}),
            json!({"a": {}, "closed:b": {}}),
        ),
        (json!({"channels": ["a"], "subs": {}}), json!({"a": {}})),
        (
            json!({"channels": ["a"], "subs": subs}),
            json!({"closed:x": {"data": {"hello": 1}}, "news": {}}),
        ),
    ] {
        let mut claims = claims;
        claims["sub"] = json!("alice");
        let mut client = on.open(&server).await;
        let result = client
            .connect(json!({"token": Server::token(&claims)}))
            .await;
        assert_eq!(result["subs"], expected, "{claims}");
        for channel in expected.as_object().unwrap().keys() {
            server.publish(channel, &json!(1)).await;
            let push = json!({"channel": channel, "pub": {"data": 1}});
            assert_eq!(client.push().await, push);
            let again = json!({"subscribe": {"channel": channel}});
            assert_eq!(client.refused(again).await, 105);
        }
    }
    let claims = json!({"sub": "alice", "channels": ["unknown:x"]});
    let mut client = on.open(&server).await;
    let request = json!({"connect": {"token": Server::token(&claims)}});
    assert_eq!(client.refused(request).await, 102);
}

async fn wishes_at_connect_are_granted_or_skipped(on: Transport) {
    let mut settings = settings();
    settings["client"] = json!({"channel_limit": 2});
    let server = server(settings).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let wishes = json!({"news": {}, "closed:x": {}, "$private": {}, "näws": {}});
    let mut client = on.open(&server).await;
    let result = client
        .connect(json!({"token": token, "subs": wishes}))
        .await;
    assert_eq!(result["subs"], json!({"news": {}}));
    for (wishes, code, reason) in [
        (json!({"unknown:x": {}}), 3501, "bad request"),
        (json!({"a": {}, "b": {}, "c": {}}), 3505, "channel limit"),
    ] {
        let mut client = on.open(&server).await;
        let request = json!({"token": token, "subs": wishes});
        client.request(json!({"connect": request})).await;
        client.closed(code, reason).await;
    }
}

fn personal(single: bool) -> Value {
    let mut settings = settings();
    settings["client"] = json!({"subscribe_to_user_personal_channel": {
        "enabled": true, "personal_channel_namespace": "personal", "single_connection": single,
    }});
    settings
}

async fn a_personal_channel_comes_with_the_user(on: Transport) {
    let server = server(personal(false)).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let mut client = on.open(&server).await;
    let result = client.connect(json!({"token": token})).await;
    assert_eq!(result["subs"], json!({"personal:#alice": {}}));
    server.publish("personal:#alice", &json!("you")).await;
    assert_eq!(client.push().await["pub"]["data"], "you");
    // It can be left like any other.
    client
        .call(json!({"unsubscribe": {"channel": "personal:#alice"}}))
        .await;
    server.publish("personal:#alice", &json!("you")).await;
    assert_eq!(client.so_far().await, Vec::<Value>::new());
}

async fn only_the_newest_connection_stays(on: Transport) {
    let server = server(personal(true)).await;
    let mut first = on.user(&server, "alice").await;
    let mut other = on.user(&server, "bob").await;
    let mut second = on.user(&server, "alice").await;
    first.closed(3504, "connection limit").await;
    for client in [&mut other, &mut second] {
        assert_eq!(client.so_far().await, Vec::<Value>::new());
    }
}

async fn a_backend_subscribes_and_unsubscribes(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let mut other = on.user(&server, "bob").await;
    let epoch = server.publish("full:x", &json!(1)).await["epoch"].take();
    let params = json!({"channel": "full:x", "user": "alice", "data": {"hello": 1}, "info": 7});
    assert_eq!(server.api("subscribe", &params).await, json!({}));
    let subscribe = json!({"recoverable": true, "positioned": true, "epoch": epoch,
        "offset": 1, "data": {"hello": 1}});
    let push = json!({"channel": "full:x", "subscribe": subscribe});
    assert_eq!(client.push().await, push);
    let info = json!({"user": "alice", "client": client.id, "chan_info": 7});
    let push = json!({"channel": "full:x", "join": {"info": info}});
    assert_eq!(client.push().await, push);
    server.publish("full:x", &json!(2)).await;
    assert_eq!(client.push().await["pub"], json!({"data": 2, "offset": 2}));
    let counter = "centrifugo_client_num_server_unsubscribes";
    let counted = Metric::of(&server, counter, &[("code", "2000")]).await;
    let params = json!({"channel": "full:x", "user": "alice"});
    // Told every time, subscribed or not.
    for _ in 0..2 {
        assert_eq!(server.api("unsubscribe", &params).await, json!({}));
        let told = json!({"code": 2000, "reason": "server unsubscribe"});
        let push = json!({"channel": "full:x", "unsubscribe": told});
        assert_eq!(client.push().await, push);
    }
    counted.increased().await;
    server.publish("full:x", &json!(3)).await;
    for client in [&mut client, &mut other] {
        assert_eq!(client.so_far().await, Vec::<Value>::new());
    }
}

async fn a_backend_subscribes_anew(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    client.subscribe(json!({"channel": "news"})).await;
    let params = json!({"channel": "news", "user": "alice", "client": client.id, "data": 1});
    server.api("subscribe", &params).await;
    let push = json!({"channel": "news", "subscribe": {"data": 1}});
    assert_eq!(client.push().await, push);
    let elsewhere = json!({"channel": "news", "user": "alice", "client": "another"});
    server.api("subscribe", &elsewhere).await;
    server.publish("news", &json!(1)).await;
    let push = json!({"channel": "news", "pub": {"data": 1}});
    assert_eq!(client.push().await, push);
    assert_eq!(client.so_far().await, Vec::<Value>::new(), "once only");
}

async fn a_subscription_of_the_backend_expires(on: Transport) {
    let mut settings = settings();
    settings["client"] =
        json!({"expired_sub_close_delay": "100ms", "presence_update_interval": "200ms"});
    let server = server(settings).await;
    let mut client = on.user(&server, "alice").await;
    let params = json!({"channel": "news", "user": "alice", "expire_at": now() + 2});
    server.api("subscribe", &params).await;
    assert_eq!(client.push().await["channel"], "news");
    client.closed(3006, "subscription expired").await;
}

async fn too_many_channels_end_the_connection(on: Transport) {
    let mut settings = settings();
    settings["client"] = json!({"channel_limit": 1});
    let server = server(settings).await;
    let mut client = on.user(&server, "alice").await;
    client.subscribe(json!({"channel": "news"})).await;
    let params = json!({"channel": "other", "user": "alice"});
    server.api("subscribe", &params).await;
    client.closed(3505, "channel limit").await;
}

async fn a_backend_disconnects(on: Transport) {
    let server = server(settings()).await;
    let mut clients = [
        on.user(&server, "alice").await,
        on.user(&server, "alice").await,
    ];
    let mut other = on.user(&server, "bob").await;
    let counter = "centrifugo_client_num_server_disconnects";
    let counted = Metric::of(&server, counter, &[("code", "3503")]).await;
    assert_eq!(
        server.api("disconnect", &json!({"user": "alice"})).await,
        json!({})
    );
    for client in &mut clients {
        client.closed(3503, "force disconnect").await;
    }
    counted.increased().await;
    assert_eq!(other.so_far().await, Vec::<Value>::new());
}

async fn a_backend_tells_the_code(on: Transport) {
    let server = server(settings()).await;
    let long = "ü".repeat(100);
    for (code, reason, told) in [
        (4001, "come back", "come back"),
        (4500, "do not come back", "do not come back"),
        (4000, "", ""),
        (4002, &*long, &long[..122]),
    ] {
        let mut client = on.user(&server, "alice").await;
        let disconnect = json!({"code": code, "reason": reason});
        let params = json!({"user": "alice", "disconnect": disconnect});
        server.api("disconnect", &params).await;
        client.closed(code, told).await;
    }
}

async fn a_backend_spares_some(on: Transport) {
    let server = server(settings()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(on.user(&server, "alice").await);
    }
    let params = json!({"user": "alice", "whitelist": [clients[0].id, clients[2].id]});
    server.api("disconnect", &params).await;
    clients.remove(1).closed(3503, "force disconnect").await;
    let params = json!({"user": "alice", "client": clients[1].id});
    server.api("disconnect", &params).await;
    clients.remove(1).closed(3503, "force disconnect").await;
    assert_eq!(clients[0].so_far().await, Vec::<Value>::new());
}

async fn a_backend_refreshes(on: Transport) {
    let mut settings = settings();
    settings["client"] = json!({"expired_close_delay": "100ms"});
    let server = server(settings).await;
    let mut client = on.user(&server, "alice").await;
    let params = json!({"user": "alice", "expire_at": now() + 100});
    assert_eq!(server.api("refresh", &params).await, json!({}));
    let mut push = client.push().await;
    let ttl = push["refresh"]["ttl"].take().as_u64().unwrap();
    assert!((90..=100).contains(&ttl), "{ttl}");
    assert_eq!(push, json!({"refresh": {"expires": true, "ttl": null}}));
    server.api("refresh", &json!({"user": "alice"})).await;
    assert_eq!(client.push().await, json!({"refresh": {}}));
    for params in [
        json!({"user": "alice", "expired": true}),
        json!({"user": "alice", "expire_at": now() - 1}),
    ] {
        let mut client = on.user(&server, "alice").await;
        server.api("refresh", &params).await;
        client.closed(3005, "connection expired").await;
    }
}
