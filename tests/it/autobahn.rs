//! Autobahn's WebSocket cases, all of them, against the echo that is made of the gateway's own transport.
//!
//! `tests/conformance/autobahn/expected.json` says what each case comes to; another outcome, better or worse, fails the test.
//! By hand, with all messages of the compression cases (minutes):
//! `CENTRIPETAL_AUTOBAHN_MESSAGES=1000 cargo test --test it -- autobahn`.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use tokio::{net::TcpListener, task::JoinSet};

use crate::support::autobahn;

#[expect(dead_code, reason = "its `main` is for those who run it as an example")]
#[path = "../../examples/ws_echo.rs"]
mod ws_echo;

/// Longest time for a share of the cases.
const LIMIT: Duration = Duration::from_secs(1200);

/// Processes that share the cases: each has one connection at a time, and some cases only wait.
const SHARES: usize = 3;

/// Messages of one case of sections 12 and 13. Their nature is what these cases differ in; the suite's own number, 1000,
/// takes many minutes of its Python.
const MESSAGES: &str = "20";

/// What a case came to: while it ran, and when the connection was closed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    behavior: String,
    behavior_close: String,
}

type Outcomes = BTreeMap<String, Outcome>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_cases_come_to_what_is_expected() {
    let Some(program) = autobahn() else {
        return;
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.unwrap_or_else(|error| panic!("no port: {error}"));
    let address = listener.local_addr().map(|address| address.to_string());
    let url = format!("ws://{}", address.unwrap_or_default());
    let messages = std::env::var_os("CENTRIPETAL_AUTOBAHN_MESSAGES");
    let messages = messages.and_then(|messages| messages.into_string().ok());
    let messages = messages.unwrap_or_else(|| MESSAGES.to_owned());
    let mut shares = JoinSet::new();
    for share in 0..SHARES {
        let (program, url, messages) = (program.clone(), url.clone(), messages.clone());
        shares.spawn(async move {
            let share = format!("{share}/{SHARES}");
            let output = program.run_alone(&[&url, &messages, &share], LIMIT).await;
            assert!(output.success, "{share}: {}", output.text);
            // The results are one line of their own; all else is progress.
            let line = output.text.lines().find(|line| line.starts_with('{'));
            let results: serde_json::Result<Outcomes> = serde_json::from_str(line.unwrap_or(""));
            results.unwrap_or_else(|error| panic!("{share}: {error}:\n{}", output.text))
        });
    }
    let outcomes = tokio::select! {
        outcomes = shares.join_all() => outcomes.into_iter().flatten().collect(),
        ended = ws_echo::serve(&listener) => panic!("the echo ended: {ended:?}"),
    };
    compare(&outcomes);
}

#[expect(clippy::print_stderr, reason = "a suite says what it came to")]
fn compare(outcomes: &Outcomes) {
    let text = include_str!("../conformance/autobahn/expected.json");
    let expected: serde_json::Result<Outcomes> = serde_json::from_str(text);
    let expected = expected.unwrap_or_else(|error| panic!("expected.json: {error}"));
    let mut classes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for Outcome {
        behavior,
        behavior_close,
    } in outcomes.values()
    {
        *classes.entry((behavior, behavior_close)).or_default() += 1;
    }
    eprintln!("autobahn: {} cases, {classes:?}", outcomes.len());
    let accepted = ["OK", "NON-STRICT", "INFORMATIONAL"];
    let good = |outcome: &&Outcome| {
        [&outcome.behavior, &outcome.behavior_close]
            .iter()
            .all(|class| accepted.contains(&class.as_str()))
    };
    assert_eq!(expected.values().filter(good).count(), expected.len());
    let names = expected.keys().chain(outcomes.keys());
    let different: BTreeMap<_, _> = names
        .map(|name| (name, (expected.get(name), outcomes.get(name))))
        .filter(|(_, (expected, outcome))| expected != outcome)
        .collect();
    assert!(different.is_empty(), "expected, came to: {different:#?}");
}
