//! Families, types, labels, borders and the series of a fresh node, as they were recorded.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    load::{loaded, pinged, settings},
    scrape::{Family, Scrape},
};
use crate::{
    harness::{Metric, eventually, server},
    support::{RedisServer, http_client},
};

const FAMILIES: &str = include_str!("../../golden/metrics/families.json");
const FRESH: &str = include_str!("../../golden/metrics/fresh.json");
const NOT_YET: &str = include_str!("../../golden/metrics/not_yet.txt");
const DIFFERS: &str = include_str!("../../golden/metrics/differs.txt");

/// Labels whose values depend on what was done and when.
const FREE: [&str; 6] = [
    "code",
    "error",
    "path",
    "pub_sub_processor",
    "status",
    "version",
];

/// Values that the recorded server does not have.
const OWN_VALUES: [&str; 1] = ["grpc"];

/// Names at the beginning of the lines of a list; the rest is the reason.
fn listed(text: &'static str) -> BTreeSet<&'static str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn families_types_labels_and_borders_are_as_recorded() {
    let redis = RedisServer::start("").await;
    let address = format!("redis://{}", redis.address());
    let engine = json!({"engine": {"type": "redis", "redis": {"address": address}}});
    let in_memory = loaded(&json!({})).await;
    let on_redis = loaded(&engine).await;
    let breaks = Metric::of(&on_redis, "centrifugo_broker_redis_pub_sub_errors", &[]).await;
    redis.command("CLIENT KILL TYPE pubsub").await;
    breaks.increased().await;
    let pinged = pinged().await;
    let mut seen: BTreeMap<String, Family> = BTreeMap::new();
    for server in [&in_memory, &on_redis, &pinged] {
        for (name, family) in Scrape::of(server).await.families {
            let kept = seen.entry(name).or_default();
            kept.kind = family.kind;
            kept.borders.extend(family.borders);
            for (label, values) in family.labels {
                kept.labels.entry(label).or_default().extend(values);
            }
        }
    }
    let recorded = read(FAMILIES);
    let mut problems = Vec::new();
    for (name, expected) in recorded["families"].as_object().unwrap() {
        match (seen.get(name), listed(NOT_YET).contains(&**name)) {
            (None, true) => {}
            (Some(_), true) => {
                problems.push(format!("{name}: is there, so it is not to be listed"))
            }
            (None, false) => problems.push(format!("{name}: is missing")),
            (Some(family), false) => problems.extend(compared(name, expected, family)),
        }
    }
    for name in seen.keys().filter(|name| name.starts_with("centrifugo_")) {
        let known = !recorded["families"][name].is_null() || listed(DIFFERS).contains(&**name);
        if !known {
            problems.push(format!("{name}: nobody has recorded that"));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// How a family differs from what was recorded.
fn compared(name: &str, expected: &Value, family: &Family) -> Vec<String> {
    let mut problems = Vec::new();
    let mut differ = |what: &str, was: String, is: String| {
        if was != is {
            problems.push(format!("{name}: {what} is {is}, not {was}"));
        }
    };
    let texts = |value: &Value| -> BTreeSet<String> {
        let values = value.as_array().into_iter().flatten();
        values
            .map(|value| value.as_str().unwrap().to_owned())
            .collect()
    };
    let kind = expected["type"].as_str().unwrap();
    differ("type", kind.to_owned(), family.kind.clone());
    let labels: BTreeSet<_> = family.labels.keys().cloned().collect();
    let (was, is) = (texts(&expected["labels"]), labels);
    differ("labels", format!("{was:?}"), format!("{is:?}"));
    let numbers: Vec<_> = family.borders.iter().map(|text| number(text)).collect();
    let borders = [&expected["buckets"], &expected["quantiles"]];
    let wanted = borders.into_iter().find_map(Value::as_array);
    let wanted = wanted.into_iter().flatten().map(|border| match border {
        Value::String(text) => number(text),
        border => border.as_f64().unwrap(),
    });
    differ("borders", sorted(wanted.collect()), sorted(numbers));
    for (label, values) in &family.labels {
        let free = FREE.contains(&&**label);
        let known = texts(&expected["values"][label]);
        for value in values {
            if !free && !known.contains(value) && !OWN_VALUES.contains(&&**value) {
                problems.push(format!("{name}: {label} {value} was not recorded"));
            }
        }
    }
    problems
}

fn number(text: &str) -> f64 {
    text.replace("+Inf", "inf").parse().unwrap()
}

fn sorted(mut numbers: Vec<f64>) -> String {
    numbers.sort_by(f64::total_cmp);
    format!("{numbers:?}")
}

#[tokio::test]
async fn a_fresh_node_shows_what_was_recorded() {
    let server = server(settings(&json!({}))).await;
    let scrape = Scrape::of(&server).await;
    let recorded = read(FRESH);
    let missing = |name: &str| {
        listed(NOT_YET)
            .iter()
            .any(|family| name.starts_with(family))
    };
    // How often nodes have told of themselves until now is chance; versions are left out of the recording.
    let by_chance = |series: &str| series.contains("type=control") || series.contains("_build{");
    let mut seen: Vec<String> = Vec::new();
    for (series, value) in &scrape.series {
        let (name, labels) = series.split_once('{').unwrap();
        let labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
        let labels: Vec<_> = labels
            .into_iter()
            .filter(|label| !label.starts_with("quantile=") && !label.starts_with("version="))
            .collect();
        seen.push(format!("{name}{{{}}} {value}", labels.join(",")));
    }
    let mut problems = Vec::new();
    for series in recorded["series"].as_array().unwrap() {
        let series = series.as_str().unwrap();
        let (name, value) = series.rsplit_once(' ').unwrap();
        // Borders and quantiles are part of the other test.
        if name.contains("_bucket{") || missing(name) || name.contains("type=shared_poll_refresh") {
            continue;
        }
        let there = seen.iter().any(|seen| {
            let (other, is) = seen.rsplit_once(' ').unwrap();
            other == name && (is == value || by_chance(name))
        });
        if !there && !by_chance(name) {
            problems.push(series.to_owned());
        }
    }
    assert!(problems.is_empty(), "missing: {problems:#?}\n{seen:#?}");
    for family in recorded["other_families"].as_array().unwrap() {
        let family = family.as_str().unwrap();
        let expected = family.starts_with("process_");
        assert_eq!(scrape.families.contains_key(family), expected, "{family}");
    }
    let totals = scrape
        .families
        .keys()
        .filter_map(|name| name.strip_suffix("_total"));
    for name in totals {
        assert!(!scrape.families.contains_key(name), "{name} is there twice");
    }
    answers_in_the_wanted_format(&server, &recorded).await;
    tells_its_own_metrics(&server, &recorded).await;
}

async fn answers_in_the_wanted_format(server: &crate::support::Server, recorded: &Value) {
    let url = format!("http://{}/metrics", server.http_target());
    for (accept, kind) in recorded["content_types"].as_object().unwrap() {
        let request = http_client().get(&url).header("accept", accept);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], kind.as_str().unwrap());
        assert!(answer.headers().get("content-encoding").is_none());
        assert!(answer.bytes().await.unwrap().len() > 1000);
    }
    for method in [reqwest::Method::POST, reqwest::Method::HEAD] {
        let request = http_client().request(method, &url);
        let answer = request
            .header("accept-encoding", "gzip")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-encoding"], "gzip");
    }
}

async fn tells_its_own_metrics(server: &crate::support::Server, recorded: &Value) {
    eventually("the first snapshot", || async {
        let info = server.api("info", &json!({})).await;
        info["nodes"][0]["metrics"]["items"]
            .as_object()
            .is_some_and(|items| !items.is_empty())
    })
    .await;
    let info = server.api("info", &json!({})).await;
    let metrics = &info["nodes"][0]["metrics"];
    assert_eq!(metrics["interval"].as_f64(), Some(60.0), "{metrics}");
    for item in recorded["info_items"].as_array().unwrap() {
        let item = item.as_str().unwrap();
        let later = ["centrifugo.map.", "centrifugo.shared."];
        if later.iter().any(|part| item.starts_with(part)) || item.ends_with("shared_poll_refresh")
        {
            continue;
        }
        assert!(metrics["items"][item].is_number(), "{item}: {metrics}");
    }
}

#[tokio::test]
async fn names_begin_as_configured_and_listed_clients_appear() {
    let metrics = json!({"namespace": "our_gateway", "client_names": ["tester"]});
    let server = loaded(&json!({"centripetal": {"metrics": metrics}})).await;
    let scrape = Scrape::of(&server).await;
    let old = scrape
        .families
        .keys()
        .find(|name| name.starts_with("centrifugo_"));
    assert_eq!(old, None);
    let accepted = "our_gateway_client_connections_accepted";
    assert!(scrape.sum(accepted, &["client_name=tester,"]) >= 3.0);
    assert!(scrape.sum(accepted, &["client_name=unnamed,"]) >= 3.0);
    let inflight = "our_gateway_client_subscriptions_inflight";
    eventually("subscriptions end with their connections", || async {
        Scrape::of(&server).await.sum(inflight, &[]) == 0.0
    })
    .await;
    eventually("metrics of info have the name as well", || async {
        let info = server.api("info", &json!({})).await;
        info["nodes"][0]["metrics"]["items"]["our_gateway.node.num_nodes"].as_f64() == Some(1.0)
    })
    .await;
}

/// The small changes of metrics.md 19.
#[tokio::test]
async fn what_happens_once_is_counted_once() {
    let server = server(settings(&json!({}))).await;
    let before = Scrape::of(&server).await;
    let mut client = crate::harness::Transport::Json
        .connect(&server, json!({}))
        .await;
    let subscribe = json!({"channel": "hist:x", "recover": true, "epoch": "other", "offset": 1});
    client.call(json!({"subscribe": subscribe})).await;
    let key = Some(crate::support::Server::API_KEY);
    let once = json!({"channel": "hist:i", "data": {}, "idempotency_key": "k"});
    let several = json!({"channels": ["a", "b", "nope:x"], "data": {}});
    for (method, body) in [
        ("publish", &json!({"channel": "nope:x", "data": {}})),
        ("broadcast", &several),
        ("publish", &once),
        ("publish", &once),
    ] {
        let path = format!("/api/{method}");
        assert_eq!(server.post(&path, key, body.to_string()).await.0, 200);
    }
    let after = Scrape::of(&server).await;
    let errors = "centrifugo_api_command_errors_total";
    let durations = "centrifugo_api_command_duration_seconds_count";
    let accepted = "centrifugo_client_connections_accepted";
    let anonymous =
        ["accept_protocol=,client_name=unnamed,client_version=unversioned,transport=websocket"];
    for (name, labels, expected) in [
        ("centrifugo_client_recover", &["recovered=no"][..], 1.0),
        (accepted, &anonymous[..], 1.0),
        ("centrifugo_client_subscriptions_accepted", &[], 1.0),
        ("centrifugo_client_subscriptions_inflight", &[], 1.0),
        (
            "centrifugo_transport_messages_sent",
            &["frame_type=connect,"],
            1.0,
        ),
        (errors, &["error=102,method=publish,protocol=http"], 1.0),
        (durations, &["method=publish,protocol=http"], 3.0),
        (errors, &["method=broadcast_publish"], 1.0),
        (errors, &["method=broadcast,"], 0.0),
        (durations, &["method=broadcast,"], 1.0),
        (
            "centrifugo_broker_publish_suppressed_count",
            &["reason=idempotency"],
            1.0,
        ),
    ] {
        let grown = after.sum(name, labels) - before.sum(name, labels);
        assert!(
            (grown - expected).abs() < 1e-9,
            "{name} {labels:?}: {grown}"
        );
    }
    let size = "centrifugo_transport_messages_received_size";
    let sent = r#"{"connect":{},"id":1}"#.len();
    let received = after.sum(size, &["frame_type=connect,"]);
    assert!(
        (received - f64::from(u32::try_from(sent).unwrap())).abs() < 1e-9,
        "{received}"
    );
}
