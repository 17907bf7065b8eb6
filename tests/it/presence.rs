//! Who is there, and what was said (client-protocol.md 4.5, 5.3, 5.4, 5.7; tokens.md 8.2).

use serde_json::{Value, json};

use crate::{
    harness::{Client, Transport, eventually, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    presence_knows_everybody,
    presence_outlives_nobody,
    refusals_have_their_codes,
    asking_nowhere_ends_the_connection,
    history_is_read_both_ways,
    history_has_a_position_even_when_empty,
    history_keeps_its_bounds,
    history_ends_but_positions_go_on,
);

fn settings() -> Value {
    let mut full = json!({
        "allow_subscribe_for_client": true, "presence": true, "allow_presence_for_client": true,
        "history_size": 5, "history_ttl": "60s", "allow_history_for_client": true,
    });
    let mut subscribers = full.clone();
    for (options, name, who) in [
        (&mut full, "full", "client"),
        (&mut subscribers, "subscribers", "subscriber"),
    ] {
        options["name"] = json!(name);
        for what in ["history", "presence"] {
            options[format!("allow_{what}_for_client")] = json!(false);
            options[format!("allow_{what}_for_{who}")] = json!(true);
        }
    }
    json!({"channel": {
        "without_namespace": {"allow_subscribe_for_client": true},
        "namespaces": [full, subscribers],
    }})
}

const COMMANDS: [&str; 3] = ["presence", "presence_stats", "history"];

async fn presence_knows_everybody(on: Transport) {
    let server = server(settings()).await;
    let token = Server::token(&json!({"sub": "alice", "info": {"name": "Alice"}}));
    let mut first = on.connect(&server, json!({"token": token})).await;
    let claims = json!({"sub": "alice", "channel": "full:x", "info": "seat 7"});
    let request = json!({"channel": "full:x", "token": Server::token(&claims)});
    first.subscribe(request).await;
    let mut second = Transport::Json.user(&server, "alice").await;
    let mut third = Transport::Grpc.user(&server, "bob").await;
    for client in [&mut second, &mut third] {
        client.subscribe(json!({"channel": "full:x"})).await;
    }
    let ask = json!({"presence": {"channel": "full:x"}});
    let expected = json!({
        first.id.as_str(): {"user": "alice", "client": first.id,
            "conn_info": {"name": "Alice"}, "chan_info": "seat 7"},
        second.id.as_str(): {"user": "alice", "client": second.id},
        third.id.as_str(): {"user": "bob", "client": third.id},
    });
    let reply = first.call(ask).await;
    assert_eq!(reply, json!({"presence": {"presence": expected}}));
    let ask = json!({"presence_stats": {"channel": "full:x"}});
    let expected = json!({"presence_stats": {"num_clients": 3, "num_users": 2}});
    assert_eq!(first.call(ask).await, expected);
    let told = server
        .api("presence_stats", &json!({"channel": "full:x"}))
        .await;
    assert_eq!(told, expected["presence_stats"]);
}

async fn presence_outlives_nobody(on: Transport) {
    let server = server(settings()).await;
    let mut watcher = on.user(&server, "alice").await;
    let nobody = json!({"presence": {"presence": {}}});
    let ask = json!({"presence": {"channel": "full:x"}});
    assert_eq!(watcher.call(ask.clone()).await, nobody);
    let mut client = on.user(&server, "bob").await;
    client.subscribe(json!({"channel": "full:x"})).await;
    client
        .call(json!({"unsubscribe": {"channel": "full:x"}}))
        .await;
    assert_eq!(watcher.call(ask.clone()).await, nobody, "who unsubscribed");
    client.subscribe(json!({"channel": "full:x"})).await;
    assert_ne!(watcher.call(ask).await, nobody);
    drop(client);
    let gone = || async {
        let stats = server
            .api("presence_stats", &json!({"channel": "full:x"}))
            .await;
        stats == json!({"num_clients": 0, "num_users": 0})
    };
    eventually("who was cut off is gone", gone).await;
}

async fn refusals_have_their_codes(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    for command in COMMANDS {
        for (channel, code) in [
            ("unknown:x", 102),
            ("full:ä", 107),
            ("news", 108),
            ("subscribers:x", 103),
        ] {
            let request = json!({command: {"channel": channel}});
            assert_eq!(client.refused(request).await, code, "{command} {channel}");
        }
    }
    client.subscribe(json!({"channel": "subscribers:x"})).await;
    for command in COMMANDS {
        let reply = client
            .call(json!({command: {"channel": "subscribers:x"}}))
            .await;
        assert!(reply.get(command).is_some(), "{reply}");
    }
}

async fn asking_nowhere_ends_the_connection(on: Transport) {
    let server = server(settings()).await;
    for command in COMMANDS {
        let mut client = on.user(&server, "alice").await;
        client.request(json!({command: {}})).await;
        client.closed(3501, "bad request").await;
    }
}

/// The offsets that history answers with, each holding what was published with it.
async fn offsets(client: &mut Client, mut request: Value) -> Vec<u64> {
    request["channel"] = json!("full:x");
    let reply = client.call(json!({"history": request})).await;
    let history = &reply["history"];
    assert_eq!(history["offset"], 7, "{request} {reply}");
    let publications = history["publications"].as_array().unwrap();
    let offset = |publication: &Value| {
        let offset = publication["offset"].as_u64().unwrap();
        assert_eq!(publication["data"], json!({"n": offset}));
        offset
    };
    publications.iter().map(offset).collect()
}

async fn history_is_read_both_ways(on: Transport) {
    let server = server(settings()).await;
    let mut epoch = Value::Null;
    for n in 1..=7 {
        epoch = server.publish("full:x", &json!({"n": n})).await["epoch"].take();
    }
    let mut client = on.user(&server, "alice").await;
    let since = |offset: u64| json!({"offset": offset, "epoch": epoch});
    for (request, expected) in [
        (json!({}), vec![]),
        (json!({"limit": 0}), vec![]),
        (json!({"limit": -1}), vec![3, 4, 5, 6, 7]),
        (json!({"limit": 100}), vec![3, 4, 5, 6, 7]),
        (json!({"limit": 2}), vec![3, 4]),
        (json!({"limit": -1, "reverse": true}), vec![7, 6, 5, 4, 3]),
        (json!({"limit": 2, "reverse": true}), vec![7, 6]),
        (json!({"limit": -1, "since": since(5)}), vec![6, 7]),
        (json!({"limit": 1, "since": since(5)}), vec![6]),
        (json!({"limit": -1, "since": {"offset": 5}}), vec![6, 7]),
        (json!({"limit": -1, "since": since(7)}), vec![]),
        (
            json!({"limit": -1, "since": since(5), "reverse": true}),
            vec![4, 3],
        ),
        (
            json!({"limit": 1, "since": since(5), "reverse": true}),
            vec![4],
        ),
    ] {
        let found = offsets(&mut client, request.clone()).await;
        assert_eq!(found, expected, "{request}");
    }
    let strange = json!({"limit": 1, "since": {"offset": 5, "epoch": "strange"}});
    for (mut request, code) in [
        (strange, 112),
        (
            json!({"limit": 1, "since": {"epoch": epoch}, "reverse": true}),
            107,
        ),
    ] {
        request["channel"] = json!("full:x");
        assert_eq!(
            client.refused(json!({"history": request})).await,
            code,
            "{request}"
        );
    }
}

async fn history_has_a_position_even_when_empty(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let ask = json!({"history": {"channel": "full:x", "limit": 10}});
    let reply = client.call(ask.clone()).await;
    let epoch = &reply["history"]["epoch"];
    assert!(!epoch.as_str().unwrap().is_empty(), "{reply}");
    let expected = json!({"history": {"publications": [], "epoch": epoch, "offset": 0}});
    assert_eq!(reply, expected);
    server.publish("full:x", &json!(1)).await;
    let first = json!({"data": 1, "offset": 1, "epoch": epoch});
    let expected = json!({"history": {"publications": [first], "epoch": epoch, "offset": 1}});
    assert_eq!(client.call(ask).await, expected);
}

async fn history_keeps_its_bounds(on: Transport) {
    let mut settings = settings();
    settings["client"] = json!({"history_max_publication_limit": 2});
    let server = server(settings).await;
    for n in 1..=7 {
        server.publish("full:x", &json!({"n": n})).await;
    }
    let mut client = on.user(&server, "alice").await;
    for limit in [-1, 3, i32::MAX] {
        assert_eq!(offsets(&mut client, json!({"limit": limit})).await, [3, 4]);
    }
}

async fn history_ends_but_positions_go_on(on: Transport) {
    let server = server(settings()).await;
    let channel = json!({"channel": "full:x"});
    let before = server.publish("full:x", &json!(1)).await;
    server.api("history_remove", &channel).await;
    let mut client = on.user(&server, "alice").await;
    let ask = json!({"history": {"channel": "full:x", "limit": 10}});
    let reply = client.call(ask).await;
    let expected = json!({"publications": [], "offset": 1, "epoch": before["epoch"]});
    assert_eq!(reply["history"], expected);
    let after = server.publish("full:x", &json!(2)).await;
    assert_eq!(after, json!({"offset": 2, "epoch": before["epoch"]}));
}
