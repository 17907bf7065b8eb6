//! What the transports put on the wire: handshakes, compression, frames, streamed bodies, commands that come by requests.

use serde_json::{Value, json};

use super::{Recording, copy, play};
use crate::support::sdk_python;

/// Scenarios in which a client publishes into a channel of its own: whether it hears the reply or the publication first is a
/// matter of luck, so the order within a step means nothing.
const UNORDERED: [&str; 8] = [
    "http_stream_json",
    "http_stream_protobuf",
    "sse",
    "sockjs_websocket",
    "sockjs_xhr_streaming",
    "sockjs_eventsource",
    "sockjs_htmlfile",
    "sockjs_jsonp",
];

/// Where the recorded server has the client's script from, unless told; here an operator chooses it.
const SOCKJS_URL: &str = "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js";

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
        let name = scenario["name"].as_str().unwrap_or_default();
        if UNORDERED.contains(&name) {
            scenario["unordered"] = json!(true);
        }
        let sockjs = scenario["config"].get_mut("sockjs");
        if let Some(sockjs) = sockjs.and_then(Value::as_object_mut) {
            sockjs.entry("url").or_insert_with(|| json!(SOCKJS_URL));
        }
    }
    write(place.join("scenarios.json"), &scenarios);
    let record = place.join("record.py").display().to_string();
    let Some(program) = sdk_python(&record) else {
        return;
    };
    play(&recording, &program, &[]).await;
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
