//! What the transports put on the wire: the handshake, compression and framing of WebSocket so far.
//!
//! Some scenarios visit, among others, paths of transports that do not exist yet. Those visits are taken out, of the steps as
//! well as of what is expected; the rest of the scenario is played.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Recording, copy, play};
use crate::support::sdk_python;

/// Paths and configuration sections of the transports that do not exist yet.
const NOT_YET: [(&str, &str); 5] = [
    ("/connection/http_stream", "http_stream"),
    ("/connection/sse", "sse"),
    ("/connection/uni_websocket", "uni_websocket"),
    ("/connection/uni_http_stream", "uni_http_stream"),
    ("/connection/uni_sse", "uni_sse"),
];

/// Where the recorded server has the client's script from, unless told.
const SOCKJS_URL: &str = "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js";

/// Scenarios in which a client hears what it publishes: before or after the reply, as it happens (client-protocol.md 4.5).
const HEARS_ITSELF: [&str; 5] = [
    "sockjs_websocket",
    "sockjs_xhr_streaming",
    "sockjs_eventsource",
    "sockjs_htmlfile",
    "sockjs_jsonp",
];

/// Steps that name the connection they are about.
const OF_A_CONNECTION: [&str; 7] = [
    "open",
    "send",
    "raw",
    "half_close",
    "close",
    "await",
    "wait_end",
];

#[tokio::test]
async fn handshakes_and_frames_are_as_recorded() {
    let recording = Recording::open("transports");
    // The recorder looks for everything beside itself, and for the other recorder beside its folder.
    let place = recording.work.join("transports");
    let made = std::fs::create_dir_all(recording.work.join("client"));
    assert!(made.is_ok(), "{made:?}");
    copy(&recording.source, &place);
    copy(
        &recording.source.join("../client/record.py"),
        &recording.work.join("client/record.py"),
    );
    let prepared = recording.without_not_yet("scenarios.json", "scenarios");
    let mut scenarios = read(&prepared);
    for scenario in scenarios["scenarios"].as_array_mut().into_iter().flatten() {
        prepare(scenario, &place.join("expected"));
    }
    write(place.join("scenarios.json"), &scenarios);
    let record = place.join("record.py").display().to_string();
    let Some(program) = sdk_python(&record) else {
        return;
    };
    play(&recording, &program, &[]).await;
}

/// Takes the visits of paths that do not exist out of a scenario and of what it is expected to show.
fn prepare(scenario: &mut Value, expected: &std::path::Path) {
    if let Some(config) = scenario["config"].as_object_mut() {
        for (_, section) in NOT_YET {
            config.remove(section);
        }
        // The recorded server has a default for the script of the iframe page; here an operator chooses it.
        if let Some(sockjs) = config.get_mut("sockjs").and_then(Value::as_object_mut) {
            sockjs.entry("url").or_insert_with(|| json!(SOCKJS_URL));
        }
    }
    if HEARS_ITSELF.contains(&scenario["name"].as_str().unwrap_or_default()) {
        scenario["unordered"] = json!(true);
    }
    let mut gone = BTreeSet::new();
    for step in scenario["steps"].as_array_mut().into_iter().flatten() {
        let about = OF_A_CONNECTION.iter().find_map(|kind| step[kind].as_str());
        let Some(name) = about.map(str::to_owned) else {
            continue;
        };
        let path = step["path"].as_str().unwrap_or_default();
        if NOT_YET.iter().any(|(not_yet, _)| *not_yet == path) {
            gone.insert(name.clone());
        }
        if gone.contains(&name) {
            // Results name the number of their step, so it keeps its place.
            *step = json!({"sleep": 0});
        }
    }
    if gone.is_empty() {
        return;
    }
    let name = scenario["name"].as_str().unwrap_or_default();
    let file = expected.join(format!("{name}.json"));
    let mut results = read(&file);
    if let Some(connections) = results["connections"].as_object_mut() {
        connections.retain(|name, _| !gone.contains(name));
        assert!(!connections.is_empty(), "{name}: nothing is left");
    }
    write(file, &results);
}

fn read(path: impl AsRef<std::path::Path>) -> Value {
    let path = path.as_ref();
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn write(path: impl AsRef<std::path::Path>, value: &Value) {
    let path = path.as_ref();
    let written = std::fs::write(path, value.to_string());
    assert!(written.is_ok(), "{path:?}: {written:?}");
}
