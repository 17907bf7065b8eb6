//! Tags filter, and requests for less that are none (client-protocol.md 5.8, 5.10): what is wanted comes, the position moves over
//! the rest.

use serde_json::{Value, json};

use crate::{
    harness::{Client, Transport, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    only_what_is_wanted_comes,
    what_is_missed_is_filtered_as_well,
    joins_are_for_all,
    what_is_no_filter_is_refused,
    what_is_no_delta_ends_the_connection,
);

fn settings() -> Value {
    let recovering = |name: &str, filter: bool| {
        json!({
            "name": name, "allow_subscribe_for_client": true, "allow_tags_filter": filter,
            "history_size": 100, "history_ttl": "60s", "force_recovery": true,
            "join_leave": true, "force_push_join_leave": true, "allowed_delta_types": ["fossil"],
        })
    };
    json!({"channel": {"namespaces": [recovering("open", true), recovering("closed", false)]}})
}

fn symbol(value: &str) -> Value {
    json!({"key": "symbol", "cmp": "eq", "val": value})
}

async fn quote(server: &Server, number: u64, symbol: &str) {
    let tags = json!({"symbol": symbol});
    let params = json!({"channel": "open:quotes", "data": number, "tags": tags});
    server.api("publish", &params).await;
}

/// The next publication, whoever joins meanwhile.
async fn publication(client: &mut Client) -> Value {
    loop {
        let mut push = client.push().await;
        if push["pub"].is_object() {
            return push["pub"].take();
        }
    }
}

async fn only_what_is_wanted_comes(on: Transport) {
    let server = server(settings()).await;
    let wishes = [
        (symbol("a"), vec![1, 4, 7]),
        (
            json!({"op": "not", "nodes": [symbol("a")]}),
            vec![2, 3, 5, 6],
        ),
        (
            json!({"op": "or", "nodes": [symbol("a"), {"key": "symbol", "cmp": "sw", "val": "c"}]}),
            vec![1, 3, 4, 6, 7],
        ),
    ];
    let mut clients = Vec::new();
    for (filter, expected) in wishes {
        // Two with equal filters share what is found.
        for user in ["alice", "bob"] {
            let mut client = on.user(&server, user).await;
            let request = json!({"channel": "open:quotes", "tf": filter});
            client.subscribe(request).await;
            clients.push((client, expected.clone()));
        }
    }
    for (number, symbol) in (1..).zip(["a", "b", "cc", "a", "b", "cd", "a"]) {
        quote(&server, number, symbol).await;
    }
    for (client, expected) in &mut clients {
        for number in expected {
            let publication = publication(client).await;
            assert_eq!(publication["data"], *number, "{publication}");
            assert_eq!(publication["offset"], *number, "{publication}");
        }
    }
    // Whatever was left out came before this.
    for (client, _) in &mut clients {
        let later = client.so_far().await;
        assert!(!later.iter().any(|one| one["push"]["pub"].is_object()));
    }
}

async fn what_is_missed_is_filtered_as_well(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let result = client.subscribe(json!({"channel": "open:quotes"})).await;
    client
        .call(json!({"unsubscribe": {"channel": "open:quotes"}}))
        .await;
    for (number, symbol) in (1..).zip(["a", "b", "a", "b"]) {
        quote(&server, number, symbol).await;
    }
    let request = json!({"channel": "open:quotes", "tf": symbol("a"), "recover": true,
        "offset": 0, "epoch": result["epoch"]});
    let result = client.subscribe(request).await;
    assert_eq!(result["recovered"], true, "{result}");
    let missed = result["publications"].as_array().unwrap();
    let missed: Vec<_> = missed.iter().map(|one| one["data"].clone()).collect();
    assert_eq!(missed, [json!(1), json!(3)]);
    // The last one is not wanted; what follows it is no gap.
    quote(&server, 5, "b").await;
    quote(&server, 6, "a").await;
    assert_eq!(publication(&mut client).await["offset"], 6);
}

async fn joins_are_for_all(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let request = json!({"channel": "open:quotes", "tf": symbol("nothing")});
    client.subscribe(request.clone()).await;
    assert!(client.push().await["join"].is_object());
    let mut other = on.user(&server, "bob").await;
    other.subscribe(request).await;
    let join = client.push().await["join"].take();
    assert_eq!(join["info"]["user"], "bob", "{join}");
}

async fn what_is_no_filter_is_refused(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let mut deep = symbol("a");
    for _ in 0..40 {
        deep = json!({"op": "not", "nodes": [deep]});
    }
    let many = json!({"op": "or", "nodes": vec![symbol("a"); 65]});
    for wrong in [
        json!({"op": "xor", "nodes": [symbol("a")]}),
        json!({"key": "symbol", "cmp": "like", "val": "a"}),
        json!({"key": "symbol", "cmp": "eq"}),
        json!({"op": "not", "nodes": [symbol("a"), symbol("b")]}),
        json!({"op": "and"}),
        deep,
        many,
    ] {
        let request = json!({"subscribe": {"channel": "open:quotes", "tf": wrong}});
        assert_eq!(client.refused(request).await, 107, "{wrong}");
    }
    // Not allowed there.
    let request = json!({"subscribe": {"channel": "closed:quotes", "tf": symbol("a")}});
    assert_eq!(client.refused(request).await, 107);
    client.subscribe(json!({"channel": "closed:quotes"})).await;
}

async fn what_is_no_delta_ends_the_connection(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let request = json!({"channel": "open:quotes", "delta": "xdelta"});
    client.request(json!({"subscribe": request})).await;
    client.closed(3501, "bad request").await;
}
