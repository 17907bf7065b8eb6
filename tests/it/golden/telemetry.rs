//! Spans, log lines and operational endpoints as recorded.
//!
//! Lines of the log are compared by level, text and fields: ours may say more, and `lines.txt` names those that it says in another
//! way or not at all, with the reason.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use super::{LIMIT, Recording};
use crate::support::{free_range, needed, sdk_python};

/// Ports of the eight workers of the recorder.
const PORTS: usize = 80;
/// What the recorder plays.
const FILES: [&str; 4] = ["otel", "graphite", "logs", "http"];
/// The canonical stream, which the recorded server does not have, stays away from ports that are taken.
const SERVER: &str = concat!(
    "env CENTRIPETAL_GRPC_ENABLED=false ",
    env!("CARGO_BIN_EXE_centripetal")
);

/// A copy of the recording in which only this file has cases, those that can be played; and what the recorder printed.
async fn played(recording: &Recording, file: &str, more: &[&str]) -> Option<String> {
    let redis = needed("CENTRIPETAL_REDIS")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    // The recorder borrows from that of the API, which lies beside it.
    for part in ["telemetry/record.py", "api/record.py"] {
        let target = recording.path(part);
        let folder = Path::new(&target).parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{target}: {error}"));
        super::copy(&root.join(part), Path::new(&target));
    }
    let not_yet = recording.listed("not_yet.txt");
    for name in FILES {
        let source = root.join(format!("telemetry/{name}.json"));
        let mut recorded = read(&source);
        let cases = recorded["cases"].as_array_mut();
        let cases = cases.unwrap_or_else(|| panic!("{name}: no cases"));
        cases.retain(|case| name == file && !not_yet.contains_key(&called(file, case)));
        let target = recording.path(&format!("telemetry/{name}.json"));
        std::fs::write(&target, recorded.to_string())
            .unwrap_or_else(|error| panic!("{target}: {error}"));
    }
    let program = sdk_python(&recording.path("telemetry/record.py"))?;
    let port = free_range(PORTS).to_string();
    let redis = redis.to_string_lossy().into_owned();
    let mut arguments = vec!["--server", SERVER, "--port", &port, "--redis", &redis];
    arguments.extend(more);
    Some(program.run_alone(&arguments, LIMIT).await.text)
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// How lists call a case.
fn called(file: &str, case: &Value) -> String {
    let name = case["name"].as_str().unwrap_or_default();
    format!("{file}_{}", name.replace(' ', "_"))
}

/// Plays a file and compares every case as a whole.
async fn play(file: &str) {
    let recording = Recording::open("telemetry");
    let Some(output) = played(&recording, file, &["--check"]).await else {
        return;
    };
    assert!(output.contains(" cases, 0 failed"), "{output}");
    let different: BTreeSet<String> = output
        .lines()
        .filter_map(|line| line.strip_prefix("--- "))
        .map(|name| name.replace(' ', "_"))
        .collect();
    let mut listed = recording.differing();
    listed.retain(|name| name.starts_with(file));
    assert_eq!(different, listed, "{output}");
}

#[tokio::test]
async fn spans_are_as_recorded() {
    play("otel").await;
}

#[tokio::test]
async fn operational_endpoints_are_as_recorded() {
    play("http").await;
}

#[tokio::test]
async fn log_lines_are_as_recorded() {
    let recording = Recording::open("telemetry");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/telemetry");
    // Without `--check` the recorder writes what it saw into its copy.
    let Some(output) = played(&recording, "logs", &[]).await else {
        return;
    };
    assert!(output.contains(" cases, 0 failed"), "{output}");
    let seen = read(Path::new(&recording.path("telemetry/logs.json")));
    let recorded = read(&root.join("logs.json"));
    let seen = seen["cases"].as_array().cloned().unwrap_or_default();
    assert!(seen.len() > 50, "{} cases", seen.len());
    let mut missing = BTreeSet::new();
    let mut places = Vec::new();
    for case in &seen {
        let expected = recorded["cases"].as_array().into_iter().flatten();
        let expected = expected.clone().find(|other| other["name"] == case["name"]);
        for line in lines(expected.unwrap_or(&Value::Null)) {
            if !lines(case).any(|ours| says(ours, line)) {
                missing.insert(word(line));
                places.push(format!("{}: {line}", case["name"]));
            }
        }
    }
    let listed: BTreeSet<String> = recording.listed("lines.txt").into_keys().collect();
    assert_eq!(missing, listed, "{}", places.join("\n"));
}

/// All lines of a case at debug level, which has those of all others.
fn lines(case: &Value) -> impl Iterator<Item = &Value> {
    let parts = case["expected"]["debug"].as_object().into_iter().flatten();
    parts.flat_map(|(part, lines)| {
        let lines = lines.as_array().into_iter().flatten();
        lines.filter(move |line| {
            let text = line["message"].as_str().unwrap_or_default();
            // What the other runtime says of itself, and what races with the end of the process.
            !text.starts_with("maxprocs") && (part != "stop" || line["level"] != "debug")
        })
    })
}

/// Level and text, as `lines.txt` has them.
fn word(line: &Value) -> String {
    let level = line["level"].as_str().unwrap_or_default();
    let text = line["message"].as_str().unwrap_or_default().to_lowercase();
    let text = text.replace("centripetal", "centrifugo");
    format!("{level}_{}", text.replace(' ', "_"))
}

/// Our line has the level, the text and the fields of a recorded one. Payloads, which that one shows, are not asked for.
fn says(ours: &Value, recorded: &Value) -> bool {
    let none = json!({});
    let fields = |line: &Value| {
        let fields = line.get("fields").unwrap_or(&none).as_object().cloned();
        let fields: BTreeSet<String> = fields
            .unwrap_or_default()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        fields
    };
    let mut wanted = fields(recorded);
    wanted.retain(|name| !["command", "reply"].contains(&name.as_str()));
    word(ours) == word(recorded) && wanted.is_subset(&fields(ours))
}
