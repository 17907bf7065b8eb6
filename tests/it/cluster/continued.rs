//! What a node of Centrifugo left in Redis, read and continued by this one: `tests/golden/redis/keys.json`, put into a Redis as
//! it was found.

use redis::{AsyncCommands as _, aio::MultiplexedConnection};
use serde_json::{Value, json};

use crate::{
    harness::{Transport, now, server, unhex},
    support::{RedisServer, Server},
};

/// The moment of the recording that is put back: one client is in `hist:1`, everything has been published.
const MOMENT: &str = "one subscriber in hist:1";

/// A recorded run and how this node has to be told to use its keys.
struct Left {
    keys: Vec<Value>,
    prefix: &'static str,
    engine: Value,
    /// Channel names stand in braces.
    cluster: bool,
}

fn left(run: &str) -> Left {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/redis/keys.json");
    let recording: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut moments = recording["runs"][run].as_array().unwrap().iter();
    let moment = moments.find(|moment| moment["when"] == MOMENT).unwrap();
    let (prefix, engine) = match run {
        "lists" => ("centrifugo", json!({"history_use_lists": true})),
        "prefix_mapping" => (
            "my",
            json!({"prefix": "my", "presence_user_mapping": true, "presence_ttl": "30s", "force_resp2": true, "db": 2}),
        ),
        _ => ("centrifugo", json!({})),
    };
    Left {
        keys: moment["keys"].as_array().unwrap().clone(),
        prefix,
        engine,
        cluster: run == "cluster",
    }
}

/// Text of a recording, which is in hex where it is not plain.
fn bytes(recorded: &str) -> Vec<u8> {
    match recorded.strip_prefix("hex:") {
        Some(hex) => unhex(hex),
        None => recorded.as_bytes().to_vec(),
    }
}

impl Left {
    /// Puts everything back. Deadlines of presence are moved into the present.
    async fn restore(&self, connection: &mut MultiplexedConnection) {
        for key in &self.keys {
            let name = bytes(key["key"].as_str().unwrap());
            match key["type"].as_str().unwrap() {
                "stream" => {
                    for entry in key["entries"].as_array().unwrap() {
                        let content = unhex(entry["fields"]["d"].as_str().unwrap());
                        let id = entry["id"].as_str().unwrap();
                        let mut add = redis::cmd("XADD");
                        add.arg(&name).arg(id).arg("d").arg(content);
                        add.exec_async(connection).await.unwrap();
                    }
                }
                "list" => {
                    for entry in key["entries"].as_array().unwrap() {
                        let element = unhex(entry["raw"].as_str().unwrap());
                        let _: i64 = connection.rpush(&name, element).await.unwrap();
                    }
                }
                "hash" => {
                    for (field, value) in key["fields"].as_object().unwrap() {
                        let value = match value["raw"].as_str() {
                            Some(raw) => unhex(raw),
                            None => bytes(value.as_str().unwrap()),
                        };
                        let _: i64 = connection.hset(&name, field, value).await.unwrap();
                    }
                }
                "zset" => {
                    for member in key["members"].as_object().unwrap().keys() {
                        let deadline = now() + 30;
                        let _: i64 = connection.zadd(&name, member, deadline).await.unwrap();
                    }
                }
                other => panic!("nothing is left in a {other}"),
            }
            let ttl = key["ttl_s"].as_i64().unwrap();
            let _: bool = connection.expire(&name, ttl).await.unwrap();
        }
    }

    /// The channel of a key of this kind.
    fn channel(&self, kind: &str, key: &Value) -> Option<String> {
        let name = String::from_utf8(bytes(key["key"].as_str()?)).ok()?;
        let rest = name.strip_prefix(&format!("{}.{kind}.", self.prefix))?;
        if !self.cluster {
            return Some(rest.to_owned());
        }
        // The key of an idempotency result goes on after the brace.
        let (channel, after) = rest.strip_prefix('{')?.rsplit_once('}')?;
        Some(format!("{channel}{after}"))
    }

    /// Channels with history, with their publications (offset and data, oldest first).
    fn histories(&self) -> Vec<(String, Vec<(u64, Value)>)> {
        let mut histories = Vec::new();
        for key in &self.keys {
            let entries = key["entries"].as_array().into_iter().flatten();
            let mut kept: Vec<(u64, Value)> = entries
                .map(|entry| match entry["id"].as_str() {
                    Some(id) => {
                        let (offset, _) = id.split_once('-').unwrap();
                        (offset.parse().unwrap(), entry["decoded"]["data"].clone())
                    }
                    None => {
                        let decoded = &entry["decoded"];
                        let offset = decoded["offset"].as_u64().unwrap();
                        (offset, decoded["publication"]["data"].clone())
                    }
                })
                .collect();
            kept.sort_by_key(|(offset, _)| *offset);
            let kind = match key["type"].as_str() {
                Some("stream") => "stream",
                Some("list") => "list",
                _ => continue,
            };
            histories.push((self.channel(kind, key).unwrap(), kept));
        }
        histories
    }

    /// A field of the hash of this kind and channel.
    fn field(&self, kind: &str, channel: &str, field: &str) -> String {
        let mut keys = self.keys.iter();
        let key = keys.find(|key| self.channel(kind, key).as_deref() == Some(channel));
        let value = &key.unwrap_or_else(|| panic!("{kind} of {channel}"))["fields"][field];
        value.as_str().unwrap().to_owned()
    }

    fn meta(&self, channel: &str) -> (u64, String) {
        let lists = self.engine["history_use_lists"] == true;
        let kind = if lists { "list.meta" } else { "stream.meta" };
        let top = self.field(kind, channel, "s").parse().unwrap();
        (top, self.field(kind, channel, "e"))
    }

    async fn node(&self, redis: &RedisServer) -> Server {
        let mut engine = self.engine.clone();
        let place = if self.cluster {
            "cluster_address"
        } else {
            "address"
        };
        engine[place] = json!([redis.address()]);
        server(json!({
            "engine": {"type": "redis", "redis": engine},
            "channel": {"without_namespace": {}, "namespaces": [
                {"name": "plain"},
                {"name": "hist", "history_size": 3, "history_ttl": "300s", "force_recovery": true, "presence": true,
                 "allow_subscribe_for_client": true},
                {"name": "meta", "history_size": 2, "history_ttl": "100s", "history_meta_ttl": "200s"},
                {"name": "delta", "history_size": 2, "history_ttl": "300s"},
            ]},
        }))
        .await
    }
}

async fn continued(run: &str) {
    let left = left(run);
    let redis = if left.cluster {
        RedisServer::start_cluster().await
    } else {
        RedisServer::start("").await
    };
    let database = left.engine["db"].as_u64().unwrap_or_default();
    let client = redis::Client::open(format!("redis://{}/{database}", redis.address())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    left.restore(&mut connection).await;
    let node = left.node(&redis).await;
    presence_is_there(&left, &node).await;
    clients_recover(&left, &node).await;
    keys_and_versions_are_known(&left, &node).await;
    // Last, because it publishes.
    histories_go_on(&left, &node).await;
    let mut keys: Vec<Vec<u8>> = connection.keys("*").await.unwrap();
    keys.sort();
    let mut found: Vec<Vec<u8>> = left
        .keys
        .iter()
        .map(|key| bytes(key["key"].as_str().unwrap()))
        .collect();
    found.retain(|key| !keys.contains(key));
    assert!(found.is_empty(), "gone: {found:?}");
}

async fn presence_is_there(left: &Left, node: &Server) {
    let mut keys = left.keys.iter();
    let data = keys.find_map(|key| {
        let channel = left.channel("presence.data", key)?;
        Some((channel, key["fields"].as_object()?.clone()))
    });
    let (channel, entries) = data.unwrap();
    let present = node.api("presence", &json!({"channel": channel})).await;
    let present = present["presence"].as_object().unwrap();
    assert_eq!(present.len(), entries.len());
    for (client, info) in entries {
        let told = &present[&client];
        assert_eq!(told["user"], info["decoded"]["user"]);
        assert_eq!(told["client"], json!(client));
        let recorded: Value =
            serde_json::from_str(info["decoded"]["conn_info"].as_str().unwrap()).unwrap();
        assert_eq!(told["conn_info"], recorded);
    }
    let stats = node
        .api("presence_stats", &json!({"channel": channel}))
        .await;
    assert_eq!(stats, json!({"num_clients": 1, "num_users": 1}));
}

/// A client that got its last publication from a node of Centrifugo goes on here.
async fn clients_recover(left: &Left, node: &Server) {
    let (top, epoch) = left.meta("hist:1");
    for on in Transport::ALL {
        let mut client = on.user(node, "u2").await;
        let request =
            json!({"channel": "hist:1", "recover": true, "offset": top - 2, "epoch": epoch});
        let result = client.subscribe(request).await;
        assert_eq!(result["recovered"], true, "{result}");
        let missed = result["publications"].as_array().unwrap();
        assert_eq!(missed.len(), 2, "{result}");
    }
}

async fn keys_and_versions_are_known(left: &Left, node: &Server) {
    let publish = async |channel: &str, more: Value| {
        let mut params = json!({"channel": channel, "data": {}});
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        node.api("publish", &params).await
    };
    let known = publish("hist:1", json!({"idempotency_key": "k1"})).await;
    let offset: u64 = left.field("result", "hist:1.k1", "s").parse().unwrap();
    assert_eq!(known["offset"], offset);
    assert_eq!(known["epoch"], left.field("result", "hist:1.k1", "e"));
    if left.engine["history_use_lists"] == true {
        return; // Lists know no versions.
    }
    let (top, epoch) = left.meta("hist:v");
    let (version, version_epoch) = (
        left.field("stream.meta", "hist:v", "v")
            .parse::<u64>()
            .unwrap(),
        left.field("stream.meta", "hist:v", "ve"),
    );
    let old = json!({"version": version, "version_epoch": version_epoch});
    assert_eq!(
        publish("hist:v", old).await,
        json!({"offset": top, "epoch": epoch})
    );
    let new = json!({"version": version + 1, "version_epoch": version_epoch});
    assert_eq!(
        publish("hist:v", new).await,
        json!({"offset": top + 1, "epoch": epoch})
    );
}

async fn histories_go_on(left: &Left, node: &Server) {
    let histories = left.histories();
    assert!(histories.len() >= 5, "{}", histories.len());
    for (channel, kept) in histories {
        if channel == "hist:v" && left.engine["history_use_lists"] != true {
            continue; // Gone on already.
        }
        let (top, epoch) = left.meta(&channel);
        let history = node
            .api("history", &json!({"channel": channel, "limit": -1}))
            .await;
        assert_eq!(
            (&history["offset"], &history["epoch"]),
            (&json!(top), &json!(epoch)),
            "{channel}"
        );
        let publications = history["publications"].as_array().unwrap();
        assert_eq!(publications.len(), kept.len(), "{channel}");
        for (publication, (offset, data)) in publications.iter().zip(&kept) {
            assert_eq!(publication["offset"], *offset, "{channel}");
            let data = data.as_str().unwrap();
            if !data.starts_with("hex:") {
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(publication["data"], data, "{channel}");
            }
        }
        let next = node.publish(&channel, &json!({"n": 1})).await;
        assert_eq!(
            next,
            json!({"offset": top + 1, "epoch": epoch}),
            "{channel}"
        );
        let params =
            json!({"channel": channel, "limit": 1, "since": {"offset": top, "epoch": epoch}});
        let history = node.api("history", &params).await;
        assert_eq!(
            history["publications"][0]["data"],
            json!({"n": 1}),
            "{channel}"
        );
    }
}

#[tokio::test]
async fn streams_of_centrifugo_are_continued() {
    continued("streams").await;
}

#[tokio::test]
async fn lists_of_centrifugo_are_continued() {
    continued("lists").await;
}

#[tokio::test]
async fn mapped_users_of_centrifugo_are_continued() {
    continued("prefix_mapping").await;
}

#[tokio::test]
async fn streams_of_centrifugo_in_a_cluster_are_continued() {
    continued("cluster").await;
}
