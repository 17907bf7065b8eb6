//! What the compatible server was recorded to do, played against this one (tests/golden/README.md).
//!
//! A scenario that differs fails the test and is printed, unless `differs.txt` names it with a reason; one that is named
//! there and does not differ any more fails as well.

mod redis;
mod telemetry;
mod transports;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::support::{Program, free_range, sdk_python};

/// Longest time for one recording.
const LIMIT: Duration = Duration::from_secs(1200);

/// Servers running at a time while the client protocol is played.
const WORKERS: usize = 4;

/// Most ports that a recorder uses for one server.
const PORTS: usize = 4;

#[tokio::test]
async fn the_client_protocol_is_as_recorded() {
    let Some(program) = sdk_python("tests/golden/client/record.py") else {
        return;
    };
    let recording = Recording::open("client");
    let scenarios = recording.without_not_yet("scenarios.json", "scenarios");
    play(&recording, &program, &["--scenarios", &scenarios]).await;
}

/// Plays the scenarios of a recording; fails when others differ than those that are to.
async fn play(recording: &Recording, program: &Program, more: &[&str]) {
    let (different, output) = play_some(program, more, WORKERS, ".*").await;
    let unexpected = recording.unexpected(&different);
    if unexpected.is_empty() {
        return recording.settle(&different, &output);
    }
    // The recorder decides by silences of 200 ms. On a busy machine one may be too short: what differs counts when it
    // differs again with nothing beside it.
    let again = format!("^({})$", unexpected.join("|"));
    let (confirmed, output) = play_some(program, more, 1, &again).await;
    let listed = different
        .intersection(&recording.differing())
        .cloned()
        .collect();
    recording.settle(&(&confirmed | &listed), &output);
}

/// Plays the scenarios whose name matches; returns those that differ, and what was printed.
async fn play_some(
    program: &Program,
    more: &[&str],
    workers: usize,
    only: &str,
) -> (BTreeSet<String>, String) {
    let server = format!("{} --config {{config}}", env!("CARGO_BIN_EXE_centripetal"));
    let port = free_range(workers * PORTS).to_string();
    let workers = workers.to_string();
    let arguments = [
        ["--server", &server],
        ["--workers", &workers],
        ["--port-base", &port],
        ["--only", only],
    ];
    let mut arguments = arguments.concat();
    arguments.push("--check");
    arguments.extend(more);
    let output = program.run_alone(&arguments, LIMIT).await.text;
    assert!(output.contains(" scenarios, "), "{output}");
    // Differences are indented below the name of their scenario.
    let different = output
        .lines()
        .filter(|line| !line.starts_with(' ') && !line.contains(" scenarios, "))
        .filter(|line| !line.ends_with("(improved on purpose)"))
        .filter_map(|line| line.split([':', ' ']).next())
        .map(str::to_owned)
        .collect();
    (different, output)
}

#[tokio::test]
async fn the_server_api_is_as_recorded() {
    let recording = Recording::open("api");
    // The recorder reads its cases beside itself.
    recording.copy("record.py");
    recording.copy("expected");
    recording.without_not_yet("requests.json", "cases");
    recording.without_not_yet("grpc.json", "cases");
    let Some(program) = sdk_python(&recording.path("record.py")) else {
        return;
    };
    let port = free_range(4).to_string();
    let command = env!("CARGO_BIN_EXE_centripetal");
    let arguments = ["--server", command, "--check", "--port", &port];
    let output = program.run_alone(&arguments, LIMIT).await.text;
    assert!(output.contains(" differences"), "{output}");
    // `--- kind configuration name` opens the differences of a case.
    let different = output
        .lines()
        .filter_map(|line| line.strip_prefix("--- "))
        .filter_map(|line| line.split(' ').nth(2))
        .map(str::to_owned)
        .collect();
    recording.settle(&different, &output);
}

#[tokio::test]
async fn questions_to_a_backend_are_as_recorded() {
    let Some(program) = sdk_python("tests/golden/proxy/record.py") else {
        return;
    };
    let recording = Recording::open("proxy");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/proxy.proto");
    let schema = schema.display().to_string();
    let port = free_range(3).to_string();
    let command = env!("CARGO_BIN_EXE_centripetal");
    let arguments = [
        "--server",
        command,
        "--proto",
        &schema,
        "--port-base",
        &port,
        "--check",
    ];
    let output = program.run_alone(&arguments, LIMIT).await.text;
    assert!(output.contains("compared 281, differences"), "{output}");
    let different = output
        .lines()
        .filter(|line| line.starts_with("DIFFERS ") || line.starts_with("MISSING "))
        .map(|line| {
            line.split_whitespace()
                .skip(2)
                .collect::<Vec<_>>()
                .join("_")
        })
        .collect();
    recording.settle(&different, &output);
}

/// A recording and a folder for its prepared parts, removed when dropped.
struct Recording {
    source: PathBuf,
    work: PathBuf,
}

impl Drop for Recording {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.work));
    }
}

impl Recording {
    fn open(name: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name);
        let folder = format!("golden-{}", uuid::Uuid::new_v4());
        let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        std::fs::create_dir_all(&work).unwrap_or_else(|error| panic!("{work:?}: {error}"));
        Self { source, work }
    }

    fn path(&self, name: &str) -> String {
        self.work.join(name).display().to_string()
    }

    fn copy(&self, name: &str) {
        copy(&self.source.join(name), &self.work.join(name));
    }

    /// Writes the scenarios that can be played into the work folder; returns the path.
    fn without_not_yet(&self, file: &str, list: &str) -> String {
        let not_yet = self.listed("not_yet.txt");
        let text = std::fs::read(self.source.join(file)).unwrap_or_default();
        let mut all: Value = serde_json::from_slice(&text).unwrap_or_default();
        let Some(scenarios) = all.get_mut(list).and_then(Value::as_array_mut) else {
            panic!("{file} holds no {list}");
        };
        scenarios.retain(|scenario| {
            let name = scenario["name"].as_str().unwrap_or_default();
            !not_yet.contains_key(name)
        });
        assert!(!scenarios.is_empty(), "{file} holds nothing to play");
        let target = self.path(file);
        std::fs::write(&target, all.to_string()).unwrap_or_else(|e| panic!("{target}: {e}"));
        target
    }

    /// Names of a list with their reasons.
    fn listed(&self, file: &str) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.source.join(file)).unwrap_or_default();
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| match line.split_once(char::is_whitespace) {
                Some((name, reason)) => (name.to_owned(), reason.trim().to_owned()),
                None => panic!("{file}: {line} has no reason"),
            })
            .collect()
    }

    /// Scenarios that are to differ.
    fn differing(&self) -> BTreeSet<String> {
        self.listed("differs.txt").into_keys().collect()
    }

    fn unexpected(&self, different: &BTreeSet<String>) -> Vec<String> {
        different.difference(&self.differing()).cloned().collect()
    }

    /// Fails when other scenarios differ than those that are to.
    fn settle(&self, different: &BTreeSet<String>, output: &str) {
        Self::compare(different, &self.differing(), output);
    }

    fn compare(different: &BTreeSet<String>, listed: &BTreeSet<String>, output: &str) {
        let unexpected: Vec<&String> = different.difference(listed).collect();
        let stale: Vec<&String> = listed.difference(different).collect();
        assert!(
            unexpected.is_empty() && stale.is_empty(),
            "{output}\ndiffer: {unexpected:?}\nlisted in differs.txt, but the same: {stale:?}"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        let copied = std::fs::copy(from, to);
        assert!(copied.is_ok(), "{from:?}: {copied:?}");
        return;
    }
    drop(std::fs::create_dir_all(to));
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}
