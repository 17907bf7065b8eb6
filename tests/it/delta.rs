//! Less on the wire: deltas, numbers for names, the newest publication as cache, and publishers that do not hear themselves
//! (client-protocol.md 5.5, 5.8, 5.12; server-api.md 7.6).

use centripetal::protocol::delta;
use serde_json::{Value, json};

use crate::{
    harness::{Transport, on_every_transport, server},
    support::{Program, RedisServer, Server, needed, sdk_go, sdk_javascript, sdk_python},
};

on_every_transport!(
    numbers_stand_for_names,
    publishers_are_excluded_where_the_namespace_says_so,
    the_api_excludes_a_client,
    the_newest_publication_comes_with_every_subscription,
    deltas_and_exclusion_reach_other_nodes,
);

fn settings() -> Value {
    let recovering = |name: &str, more: Value| {
        let mut options = json!({
            "name": name, "allow_subscribe_for_client": true, "allow_publish_for_client": true,
            "history_size": 1000, "history_ttl": "60s", "force_recovery": true,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            options[key] = value.clone();
        }
        options
    };
    json!({"channel": {"namespaces": [
        recovering("plain", json!({})),
        recovering("delta", json!({"allowed_delta_types": ["fossil"]})),
        recovering("numbers", json!({
            "allow_channel_compaction": true, "join_leave": true, "force_push_join_leave": true,
        })),
        recovering("silent", json!({"exclude_publisher": true})),
        recovering("cache", json!({"force_recovery_mode": "cache", "auto_cache_recover": true})),
    ]}})
}

/// A number that may have come as text.
fn number(value: &Value) -> u64 {
    value.to_string().trim_matches('"').parse().unwrap_or(0)
}

async fn numbers_stand_for_names(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let subscribe = |channel: &str, flag| json!({"channel": channel, "flag": flag});
    let first = client.subscribe(subscribe("numbers:a", 1)).await;
    let id = number(&first["id"]);
    assert!(id > 0, "{first}");
    let join = client.push().await;
    assert_eq!((number(&join["id"]), join.get("channel")), (id, None));
    assert!(join.get("join").is_some(), "{join}");
    server.publish("numbers:a", &json!({"n": 1})).await;
    let push = client.push().await;
    assert_eq!((number(&push["id"]), push.get("channel")), (id, None));
    assert_eq!(push["pub"]["data"], json!({"n": 1}));
    // Others on the same channel see its name, and another channel has another number.
    let mut other = on.user(&server, "bob").await;
    let named = other.subscribe(subscribe("numbers:a", 2)).await;
    assert_eq!(number(&named["id"]), 0);
    assert_eq!(other.push().await["channel"], "numbers:a");
    let second = other.subscribe(subscribe("numbers:b", 1)).await;
    assert_ne!(number(&second["id"]), id);
    let refused = other.subscribe(subscribe("plain:a", 1)).await;
    assert_eq!(number(&refused["id"]), 0, "not allowed");
    // What is not about the channel's content always says its name.
    let joined = client.push().await;
    assert_eq!(number(&joined["id"]), id);
    server
        .api(
            "unsubscribe",
            &json!({"user": "alice", "channel": "numbers:a"}),
        )
        .await;
    let end = client.push().await;
    assert_eq!(
        (end["channel"].as_str(), number(&end["id"])),
        (Some("numbers:a"), 0)
    );
}

async fn publishers_are_excluded_where_the_namespace_says_so(on: Transport) {
    let server = server(settings()).await;
    let mut alice = on.user(&server, "alice").await;
    let mut bob = on.user(&server, "bob").await;
    let result = alice.subscribe(json!({"channel": "silent:a"})).await;
    bob.subscribe(json!({"channel": "silent:a"})).await;
    alice.publish("silent:a", json!({"n": 1})).await;
    server.publish("silent:a", &json!({"n": 2})).await;
    for n in [1, 2] {
        assert_eq!(bob.push().await["pub"]["data"], json!({"n": n}));
    }
    assert_eq!(alice.push().await["pub"]["data"], json!({"n": 2}), "no gap");
    // Nor does it come by recovery.
    alice
        .call(json!({"unsubscribe": {"channel": "silent:a"}}))
        .await;
    let again = json!({
        "channel": "silent:a", "recover": true, "offset": 0, "epoch": result["epoch"],
    });
    let recovered = alice.subscribe(again.clone()).await;
    let data = |result: &Value| -> Vec<Value> {
        let publications = result["publications"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        publications
            .into_iter()
            .map(|one| one["data"].clone())
            .collect()
    };
    assert_eq!(recovered["recovered"], true, "{recovered}");
    assert_eq!(data(&recovered), [json!({"n": 2})]);
    let mut carol = on.user(&server, "carol").await;
    assert_eq!(data(&carol.subscribe(again).await).len(), 2);
}

async fn the_api_excludes_a_client(on: Transport) {
    let server = server(settings()).await;
    let mut alice = on.open(&server).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let connected = alice.connect(json!({"token": token})).await;
    let mut bob = on.user(&server, "bob").await;
    for client in [&mut alice, &mut bob] {
        client.subscribe(json!({"channel": "plain:a"})).await;
    }
    let excluded = connected["client"].clone();
    for method in ["publish", "broadcast"] {
        let request = json!({
            "channel": "plain:a", "channels": ["plain:a"], "data": {"of": method}, "exclude_client": excluded,
        });
        server.api(method, &request).await;
        assert_eq!(bob.push().await["pub"]["data"], json!({"of": method}));
    }
    server.publish("plain:a", &json!({"n": 3})).await;
    assert_eq!(alice.push().await["pub"]["data"], json!({"n": 3}));
}

async fn the_newest_publication_comes_with_every_subscription(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let empty = client.subscribe(json!({"channel": "cache:empty"})).await;
    assert_eq!(
        (&empty["was_recovering"], empty.get("recovered")),
        (&json!(true), None)
    );
    for n in 1..=3 {
        server.publish("cache:a", &json!({"n": n})).await;
    }
    let result = client.subscribe(json!({"channel": "cache:a"})).await;
    assert_eq!(
        (&result["recovered"], &result["was_recovering"]),
        (&json!(true), &json!(true))
    );
    let publications = result["publications"].as_array().unwrap();
    assert_eq!(publications.len(), 1);
    assert_eq!(publications[0]["data"], json!({"n": 3}));
    server.publish("cache:a", &json!({"n": 4})).await;
    assert_eq!(client.push().await["pub"]["data"], json!({"n": 4}));
}

/// What the nodes tell each other carries the payload before, and who is excluded.
async fn deltas_and_exclusion_reach_other_nodes(on: Transport) {
    if needed("CENTRIPETAL_REDIS").is_none() {
        return;
    }
    let redis = RedisServer::start("").await;
    let mut settings = settings();
    settings["engine"] = json!({"type": "redis", "redis": {"address": redis.address()}});
    let (here, there) = (server(settings.clone()).await, server(settings).await);
    let mut alice = on.open(&here).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let connected = alice.connect(json!({"token": token})).await;
    let granted = alice
        .subscribe(json!({"channel": "delta:a", "delta": "fossil"}))
        .await;
    assert_eq!(granted["delta"], true, "{granted}");
    let payload =
        |n: u64| json!({"n": n, "text": "what does not change is not sent again, however long"});
    for (n, exclude) in [
        (1, json!("")),
        (2, json!("")),
        (3, connected["client"].clone()),
        (4, json!("")),
        (5, json!("")),
    ] {
        let request = json!({
            "channel": "delta:a", "data": payload(n), "delta": true, "exclude_client": exclude,
        });
        there.api("publish", &request).await;
    }
    // The first one is complete, and so is the one behind that which did not come.
    let mut seen = Vec::new();
    for _ in 0..4 {
        let push = alice.push().await;
        seen.push((number(&push["pub"]["offset"]), push["pub"]["delta"] == true));
    }
    assert_eq!(seen, [(1, false), (2, true), (4, false), (5, true)]);
}

/// Publications of the differential test.
const EDITS: u64 = 300;

/// Numbers without a pattern, the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// The next payload: a few words of it are others, with letters of one to four bytes.
fn edit(words: &mut Vec<String>, noise: &mut Noise) {
    const LETTERS: [&str; 8] = [
        "a",
        "b",
        "\u{e4}",
        "\u{f6}",
        "\u{20ac}",
        "\u{1f600}",
        "\"",
        "<\u{2028}",
    ];
    for _ in 0..=noise.below(3) {
        let word: String = (0..=noise.below(30))
            .map(|_| LETTERS[noise.below(LETTERS.len())])
            .collect();
        let at = noise.below(words.len() + 1);
        match noise.below(4) {
            0 => words.insert(at, word),
            1 if words.len() > 1 => drop(words.remove(at % words.len())),
            _ if words.is_empty() => words.push(word),
            _ => {
                let at = at % words.len();
                words[at] = word;
            }
        }
    }
    words.truncate(60);
}

/// An SDK reads every delta; what it makes of them is what was published.
async fn reads_every_delta(program: Option<Program>, format: &str) {
    let Some(program) = program else { return };
    let server = Server::start(settings()).await;
    let last = EDITS.to_string();
    let arguments = ["client", format, "deltas", "reader", "delta:sdk", &last];
    let is_go = sdk_go().is_some_and(|go| format!("{go:?}") == format!("{program:?}"));
    let arguments = if is_go {
        &arguments[..]
    } else {
        &arguments[1..]
    };
    let mut reader = program.start(&server, arguments, format);
    let subscribed: Value = serde_json::from_str(&reader.line().await).unwrap();
    assert!(subscribed.get("subscribed").is_some(), "{subscribed}");
    let (mut words, mut noise) = (vec!["begin".to_owned(); 8], Noise(1));
    let mut before = String::new();
    let mut shorter = 0;
    for n in 1..=EDITS {
        edit(&mut words, &mut noise);
        let data =
            json!({"n": n, "words": words, "fixed": "the rest of it stays as it was before"});
        let text = data.to_string();
        shorter += u64::from(delta::shorter(before.as_bytes(), text.as_bytes()).is_some());
        before = text;
        let request = json!({"channel": "delta:sdk", "data": data, "delta": true});
        server.api("publish", &request).await;
        let read: Value = serde_json::from_str(&reader.line().await).unwrap();
        assert_eq!(read, data);
    }
    assert!(shorter > EDITS / 2, "only {shorter} deltas");
    reader.end().await;
}

#[tokio::test]
async fn javascript_reads_every_delta_json() {
    reads_every_delta(sdk_javascript("v2.mjs"), "json").await;
}

#[tokio::test]
async fn javascript_reads_every_delta_protobuf() {
    reads_every_delta(sdk_javascript("v2.mjs"), "protobuf").await;
}

#[tokio::test]
async fn python_reads_every_delta_json() {
    reads_every_delta(sdk_python("tests/sdk/python/client.py"), "json").await;
}

#[tokio::test]
async fn python_reads_every_delta_protobuf() {
    reads_every_delta(sdk_python("tests/sdk/python/client.py"), "protobuf").await;
}

#[tokio::test]
async fn go_reads_every_delta_json() {
    reads_every_delta(sdk_go(), "json").await;
}

#[tokio::test]
async fn go_reads_every_delta_protobuf() {
    reads_every_delta(sdk_go(), "protobuf").await;
}
