//! Subscribing, being refused, refreshing and leaving (client-protocol.md 4.6, 4.7, 4.11; tokens.md 5, 7.3, 8.1).

use serde_json::{Value, json};

use crate::{
    harness::{Client, Transport, now, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    refusals_have_their_codes_and_harm_nothing,
    violations_end_the_connection,
    a_second_subscription_is_refused,
    there_are_only_so_many_channels,
    anonymous_users_need_a_permission_of_their_own,
    a_token_opens_a_private_channel,
    tokens_for_others_end_the_connection,
    bad_tokens_are_refused,
    the_user_list_of_a_channel_is_honoured,
    positions_are_given_to_those_who_may_have_them,
    forced_options_need_no_asking,
    joins_and_leaves_are_told,
    leaving_a_channel_is_final,
    a_frame_holds_many_commands,
    a_subscription_is_refreshed,
    a_refresh_of_a_subscription_can_fail,
    a_subscription_expires,
);

fn settings() -> Value {
    json!({
        "client": {"channel_limit": 5},
        "channel": {
            "without_namespace": {"allow_subscribe_for_client": true},
            "namespaces": [
                {"name": "closed"},
                {"name": "pattern", "allow_subscribe_for_client": true, "channel_regex": "^[a-zä]+$"},
                {"name": "users", "allow_user_limited_channels": true},
                {"name": "full", "allow_subscribe_for_client": true, "presence": true,
                    "allow_presence_for_subscriber": true, "join_leave": true,
                    "history_size": 10, "history_ttl": "60s", "allow_history_for_subscriber": true},
                {"name": "forced", "allow_subscribe_for_client": true, "presence": true, "join_leave": true,
                    "force_push_join_leave": true, "history_size": 10, "history_ttl": "60s",
                    "force_recovery": true},
                {"name": "poor", "allow_subscribe_for_client": true, "presence": true, "join_leave": true,
                    "history_size": 10, "history_ttl": "60s"},
            ],
        },
    })
}

/// A subscription token of alice with further claims.
fn token(channel: &str, more: &Value) -> String {
    let mut claims = json!({"sub": "alice", "channel": channel});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    Server::token(&claims)
}

async fn refusals_have_their_codes_and_harm_nothing(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let (long, longest) = ("n".repeat(256), "n".repeat(255));
    for (request, code, message) in [
        (json!({"channel": "unknown:x"}), 102, "unknown channel"),
        (json!({"channel": "$unknown:x"}), 102, "unknown channel"),
        (json!({"channel": "closed:x"}), 103, "permission denied"),
        (json!({"channel": "$news"}), 103, "permission denied"),
        (json!({"channel": "users:x#bob"}), 103, "permission denied"),
        (json!({"channel": "näws"}), 107, "bad request"),
        (json!({"channel": "pattern:ABC"}), 107, "bad request"),
        (json!({"channel": long}), 107, "bad request"),
        (
            json!({"channel": "news", "type": 1}),
            103,
            "permission denied",
        ),
        (json!({"channel": "news", "type": 4}), 108, "not available"),
    ] {
        let reply = client.call(json!({"subscribe": request})).await;
        let expected = json!({"error": {"code": code, "message": message}});
        assert_eq!(reply, expected, "{request}");
    }
    for channel in ["pattern:abä", &longest, "news"] {
        assert_eq!(
            client.subscribe(json!({"channel": channel})).await,
            json!({})
        );
    }
    server.publish("news", &json!(1)).await;
    let push = json!({"channel": "news", "pub": {"data": 1}});
    assert_eq!(client.push().await, push);
}

async fn violations_end_the_connection(on: Transport) {
    let server = server(settings()).await;
    for (request, code, reason) in [
        (json!({"subscribe": {}}), 3501, "bad request"),
        (
            json!({"subscribe": {"channel": "news", "delta": "xdelta"}}),
            3501,
            "bad request",
        ),
        (
            json!({"subscribe": {"channel": "news", "type": 9}}),
            3004,
            "internal server error",
        ),
        (json!({"unsubscribe": {}}), 3501, "bad request"),
        (json!({"sub_refresh": {"token": "x"}}), 3501, "bad request"),
        (json!({"ping": {}}), 3501, "bad request"),
        (json!({"send": {"data": 1}}), 3508, "not available"),
    ] {
        let mut client = on.user(&server, "alice").await;
        client.request(request).await;
        client.closed(code, reason).await;
    }
}

async fn a_second_subscription_is_refused(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let subscribe = json!({"subscribe": {"channel": "news"}});
    // Within a frame the first one has not been answered yet.
    let both = [1, 2].map(|id| json!({"id": id, "subscribe": {"channel": "early"}}));
    client.send_all(&both).await;
    assert_eq!(client.answer(1).await, json!({"subscribe": {}}));
    let twice = json!({"error": {"code": 105, "message": "already subscribed"}});
    assert_eq!(client.answer(2).await, twice);
    assert_eq!(
        client.call(subscribe.clone()).await,
        json!({"subscribe": {}})
    );
    assert_eq!(client.call(subscribe).await, twice);
    server.publish("news", &json!(1)).await;
    client.push().await;
    assert_eq!(client.so_far().await, Vec::<Value>::new(), "once only");
}

async fn there_are_only_so_many_channels(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    for channel in 0..5 {
        client
            .subscribe(json!({"channel": channel.to_string()}))
            .await;
    }
    let sixth = json!({"subscribe": {"channel": "5"}});
    let expected = json!({"error": {"code": 106, "message": "limit exceeded"}});
    assert_eq!(client.call(sixth.clone()).await, expected);
    client.call(json!({"unsubscribe": {"channel": "0"}})).await;
    assert_eq!(client.call(sixth).await, json!({"subscribe": {}}));
}

async fn anonymous_users_need_a_permission_of_their_own(on: Transport) {
    let settings = json!({
        "client": {"allow_anonymous_connect_without_token": true},
        "channel": {"without_namespace": {"allow_subscribe_for_client": true}, "namespaces": [
            {"name": "all", "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true},
            {"name": "users", "allow_user_limited_channels": true},
        ]},
    });
    let server = server(settings).await;
    let mut client = on.connect(&server, json!({})).await;
    for channel in ["news", "users:x#", "users:x#,a"] {
        assert_eq!(
            client
                .refused(json!({"subscribe": {"channel": channel}}))
                .await,
            103
        );
    }
    assert_eq!(
        client.subscribe(json!({"channel": "all:x"})).await,
        json!({})
    );
}

async fn a_token_opens_a_private_channel(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let claims = json!({"info": {"seat": 7}, "data": {"hello": [1, 2]}, "client": client.id,
        "override": {"presence": {"value": true}, "force_push_join_leave": {"value": true},
            "join_leave": {"value": true}}});
    let request = json!({"channel": "$closed:x", "token": token("$closed:x", &claims)});
    let result = client.subscribe(request).await;
    assert_eq!(result, json!({"data": {"hello": [1, 2]}}));
    let info = json!({"user": "alice", "client": client.id, "chan_info": {"seat": 7}});
    let join = json!({"channel": "$closed:x", "join": {"info": info}});
    assert_eq!(client.push().await, join);
    // A token opens what needs none, too, and one that never ends says nothing about ends.
    let claims = json!({"exp": now() + 60, "expire_at": 0});
    let request = json!({"channel": "closed:y", "token": token("closed:y", &claims)});
    assert_eq!(client.subscribe(request).await, json!({}));
}

async fn tokens_for_others_end_the_connection(on: Transport) {
    let server = server(settings()).await;
    for token in [
        token("$other", &json!({})),
        token("news", &json!({})),
        token("$news", &json!({"sub": "bob"})),
        token("$news", &json!({"sub": ""})),
        token("$news", &json!({"client": "not-mine"})),
    ] {
        let mut client = on.user(&server, "alice").await;
        let request = json!({"channel": "$news", "token": token});
        client.request(json!({"subscribe": request})).await;
        client.closed(3500, "invalid token").await;
    }
}

async fn bad_tokens_are_refused(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let good = token("$news", &json!({}));
    let (signed, _) = good.rsplit_once('.').unwrap();
    for (token, code) in [
        ("x".to_owned(), 103),
        (format!("{signed}.AAAA"), 103),
        (Server::token(&json!({"sub": "alice"})), 103),
        (token("$news", &json!({"exp": now() - 1})), 109),
        (token("$news", &json!({"nbf": now() + 60})), 109),
        (token("$news", &json!({"expire_at": now() - 1})), 110),
    ] {
        let request = json!({"subscribe": {"channel": "$news", "token": token}});
        assert_eq!(client.refused(request).await, code);
    }
    let request = json!({"channel": "$news", "token": good});
    assert_eq!(client.subscribe(request).await, json!({}));
}

async fn the_user_list_of_a_channel_is_honoured(on: Transport) {
    let server = server(settings()).await;
    for (user, channel, allowed) in [
        ("1", "users:news#1,2", true),
        ("2", "users:news#1,2", true),
        ("3", "users:news#1,2", false),
        ("1", "users:a#1#2", false),
        ("2", "users:a#1#2", true),
        ("1", "users:news", false),
    ] {
        let mut client = on.user(&server, user).await;
        let reply = client
            .call(json!({"subscribe": {"channel": channel}}))
            .await;
        assert_eq!(
            reply.get("subscribe").is_some(),
            allowed,
            "{user} {channel}"
        );
        assert_eq!(reply["error"]["code"] == 103, !allowed, "{user} {channel}");
    }
}

async fn positions_are_given_to_those_who_may_have_them(on: Transport) {
    let server = server(settings()).await;
    server.publish("full:x", &json!(1)).await;
    let mut client = on.user(&server, "alice").await;
    let wishes = json!({"positioned": true, "recoverable": true, "join_leave": true});
    let mut ask = async |channel: &str| {
        let mut request = wishes.clone();
        request["channel"] = json!(channel);
        client.subscribe(request).await
    };
    assert_eq!(ask("poor:x").await, json!({}), "without access to history");
    let result = ask("full:x").await;
    let epoch = result["epoch"].as_str().unwrap();
    let expected = json!({"positioned": true, "recoverable": true, "offset": 1, "epoch": epoch});
    assert_eq!(result, expected);
    assert!(!epoch.is_empty());
    let request = json!({"channel": "full:y", "positioned": true});
    let mut result = client.subscribe(request).await;
    assert!(result["epoch"].take().is_string());
    assert_eq!(result, json!({"positioned": true, "epoch": null}));
}

async fn forced_options_need_no_asking(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let mut result = client.subscribe(json!({"channel": "forced:x"})).await;
    assert!(result["epoch"].take().is_string());
    let expected = json!({"positioned": true, "recoverable": true, "epoch": null});
    assert_eq!(result, expected);
    let info = json!({"user": "alice", "client": client.id});
    let join = json!({"channel": "forced:x", "join": {"info": info}});
    assert_eq!(client.push().await, join);
}

async fn joins_and_leaves_are_told(on: Transport) {
    let server = server(settings()).await;
    let mut watcher = on.user(&server, "alice").await;
    let mut deaf = on.user(&server, "alice").await;
    let request = json!({"channel": "full:x", "join_leave": true});
    watcher.subscribe(request).await;
    assert_eq!(watcher.push().await["join"]["info"]["client"], watcher.id);
    deaf.subscribe(json!({"channel": "full:x"})).await;
    let info = json!({"user": "alice", "client": deaf.id});
    let told = |what: &str| json!({"channel": "full:x", what: {"info": info}});
    assert_eq!(watcher.push().await, told("join"));
    deaf.call(json!({"unsubscribe": {"channel": "full:x"}}))
        .await;
    assert_eq!(watcher.push().await, told("leave"));
    assert_eq!(deaf.so_far().await, Vec::<Value>::new(), "it did not ask");
    watcher
        .call(json!({"unsubscribe": {"channel": "full:x"}}))
        .await;
    assert_eq!(watcher.so_far().await, Vec::<Value>::new(), "own leave");
}

async fn leaving_a_channel_is_final(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let mut witness = Transport::Json.user(&server, "bob").await;
    witness.subscribe(json!({"channel": "news"})).await;
    let leave = json!({"unsubscribe": {"channel": "news"}});
    let left = json!({"unsubscribe": {}});
    assert_eq!(client.call(leave.clone()).await, left, "never subscribed");
    client.subscribe(json!({"channel": "news"})).await;
    client.subscribe(json!({"channel": "other"})).await;
    assert_eq!(client.call(leave).await, left);
    server.publish("news", &json!("unheard")).await;
    server.publish("other", &json!("heard")).await;
    let push = json!({"channel": "other", "pub": {"data": "heard"}});
    assert_eq!(client.push().await, push);
    // Channels do not wait for each other: who comes back before this one was delivered may hear it.
    assert_eq!(witness.push().await["pub"]["data"], "unheard");
    client.subscribe(json!({"channel": "news"})).await;
    server.publish("news", &json!("again")).await;
    assert_eq!(client.push().await["pub"]["data"], "again");
}

async fn a_frame_holds_many_commands(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.open(&server).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let commands = [
        json!({"id": 1, "connect": {"token": token}}),
        json!({"id": 2, "subscribe": {"channel": "news"}}),
        json!({"id": 3, "subscribe": {"channel": "closed:x"}}),
        json!({"id": 4, "subscribe": {"channel": "other"}}),
        json!({"id": 5, "unsubscribe": {"channel": "other"}}),
    ];
    client.send_all(&commands).await;
    for (id, field) in [
        (1, "connect"),
        (2, "subscribe"),
        (3, "error"),
        (4, "subscribe"),
        (5, "unsubscribe"),
    ] {
        let reply = client.next().await;
        assert_eq!(reply["id"], id);
        assert!(reply.get(field).is_some(), "{reply}");
    }
    server.publish("news", &json!(1)).await;
    assert_eq!(client.push().await["pub"]["data"], 1);
}

/// Subscribes to a private channel until so many seconds from now.
async fn private(client: &mut Client, seconds: i64) -> Value {
    let token = token("$news", &json!({"exp": now() + seconds}));
    let request = json!({"channel": "$news", "token": token});
    client.subscribe(request).await
}

async fn a_subscription_is_refreshed(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let result = private(&mut client, 100).await;
    assert_eq!(result["expires"], true);
    assert!(
        (90..=100).contains(&result["ttl"].as_u64().unwrap()),
        "{result}"
    );
    let fresh = token("$news", &json!({"exp": now() + 1000}));
    // Some clients leave the channel to the token.
    for request in [
        json!({"channel": "$news", "token": fresh}),
        json!({"token": fresh}),
    ] {
        let reply = client.call(json!({"sub_refresh": request})).await;
        let result = &reply["sub_refresh"];
        assert_eq!(result["expires"], true, "{reply}");
        assert!(
            (990..=1000).contains(&result["ttl"].as_u64().unwrap()),
            "{reply}"
        );
    }
    let forever = token("$news", &json!({}));
    let request = json!({"sub_refresh": {"channel": "$news", "token": forever}});
    assert_eq!(client.call(request).await, json!({"sub_refresh": {}}));
}

async fn a_refresh_of_a_subscription_can_fail(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let request = |token: &str| json!({"sub_refresh": {"channel": "$news", "token": token}});
    let fresh = token("$news", &json!({"exp": now() + 1000}));
    assert_eq!(client.refused(request(&fresh)).await, 103, "not subscribed");
    private(&mut client, 100).await;
    let passed = token("$news", &json!({"expire_at": now() - 1}));
    let expired = token("$news", &json!({"exp": now() - 1}));
    for (token, code) in [("", 107), (&*expired, 109), (&*passed, 110)] {
        assert_eq!(client.refused(request(token)).await, code, "{token}");
    }
    for token in [
        "x",
        &token("$other", &json!({})),
        &token("$news", &json!({"sub": "bob"})),
        &token("$news", &json!({"client": "not-mine"})),
    ] {
        let mut client = on.user(&server, "alice").await;
        private(&mut client, 100).await;
        client.request(request(token)).await;
        client.closed(3500, "invalid token").await;
    }
}

async fn a_subscription_expires(on: Transport) {
    let mut settings = settings();
    settings["client"]["expired_sub_close_delay"] = json!("100ms");
    settings["client"]["presence_update_interval"] = json!("200ms");
    let server = server(settings).await;
    let mut client = on.user(&server, "alice").await;
    private(&mut client, 2).await;
    let told = json!({"code": 2501, "reason": "subscription expired"});
    let push = json!({"channel": "$news", "unsubscribe": told});
    assert_eq!(client.push().await, push);
    // The channel is free again, and the connection as it was.
    assert_eq!(private(&mut client, 100).await["expires"], true);
}
