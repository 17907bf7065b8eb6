//! Which behaviour is tested on which transport, as one table. Nothing is written down here that could be forgotten: the list is
//! that of this very executable, and reasons for what is left out stand beside the behaviours.
//!
//! `cargo test --test it -- matrix --nocapture` prints it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;

/// The last part of the names of tests, and what a column is called.
const COLUMNS: [(&str, &str); 12] = [
    ("grpc", "gRPC"),
    ("websocket_json", "WebSocket JSON"),
    ("websocket_protobuf", "WebSocket Protobuf"),
    ("http_stream_json", "HTTP stream JSON"),
    ("http_stream_protobuf", "HTTP stream Protobuf"),
    ("sse", "SSE"),
    ("sockjs", "SockJS"),
    ("uni_websocket", "uni WebSocket"),
    ("uni_sse", "uni SSE"),
    ("uni_http_stream", "uni HTTP stream"),
    ("uni_grpc", "uni gRPC"),
    ("", "why not"),
];

/// The transports of clients that only listen.
const LISTENERS: &str = "uni_";

/// Why a client that only listens has no part in these, although nothing shows it in the text of the behaviour itself.
const NO_LISTENERS: [(&str, &str); 31] = [
    (
        "addresses::forwarded_addresses_count_from_trusted_networks",
        "the address is found before the transport is known",
    ),
    ("auth::a_bearer_token_is_enough", COMMANDS),
    (
        "auth::a_wrong_bearer_token_is_refused",
        "gRPC alone refuses by a status of the call; what is refused by a push is in `uni`",
    ),
    (
        "auth::the_header_of_a_trusted_proxy_names_the_user",
        COMMANDS,
    ),
    ("auth::signed_credentials_come_in_many_places", COMMANDS),
    ("auth::wrong_signed_credentials_are_refused", COMMANDS),
    (
        "bench::what_is_counted_is_what_the_server_sent",
        "`bench` connects clients with commands",
    ),
    (
        "bench::a_storm_loses_nothing",
        "`bench` connects clients with commands",
    ),
    (
        "cluster::what_is_published_at_one_node_arrives_at_all",
        COMMANDS,
    ),
    ("cluster::conditions_narrow_on_another_node", COMMANDS),
    ("cluster::a_node_that_drains_is_forgotten_at_once", COMMANDS),
    (
        "connect::a_token_connects",
        "the connect push differs; it is compared in `uni`",
    ),
    ("connect::only_one_connect", COMMANDS),
    ("connect::connect_comes_first", COMMANDS),
    ("connect::a_missing_pong_ends", "nobody asks for pongs"),
    ("connect::silence_is_stale", "the request is the connect"),
    ("haproxy::everything_works_on_one_port", COMMANDS),
    ("nginx::everything_works_on_one_port", COMMANDS),
    ("limits::a_message_over_the_limit", COMMANDS),
    ("limits::ten_megabytes", COMMANDS),
    (
        "limits::impatience_and_silence_are_counted",
        "the request is the connect",
    ),
    ("presence::asking_nowhere_ends_the_connection", COMMANDS),
    ("presence::history_keeps_its_bounds", COMMANDS),
    ("publish::publishing_nowhere_ends_the_connection", COMMANDS),
    ("recovery::publications_race_with_connections", COMMANDS),
    ("recovery::what_is_missed_has_a_limit", COMMANDS),
    ("redis::nodes_share_channels", COMMANDS),
    (
        "redis::presence_and_publications_have_their_own_servers",
        COMMANDS,
    ),
    ("subscribe::violations_end_the_connection", COMMANDS),
    ("subscribe::tokens_for_others_end_the_connection", COMMANDS),
    ("subscribe::a_subscription_expires", COMMANDS),
];

const COMMANDS: &str = "it sends commands after the connect";

/// What a behaviour does that only a client with commands can.
const DEEDS: &str = r#"\.(subscribe|publish|call|send|send_all|raw|raw_command|refused|so_far|publish_bytes|publish_unseen|speak_older|leave)\(|\{"(subscribe|unsubscribe|publish|presence|history|rpc|send|refresh|sub_refresh)":"#;

/// One behaviour: why it is left out where commands come by requests, and why where nothing but listening is possible.
#[derive(Debug, Default)]
struct Behaviour {
    requests: Option<String>,
    listeners: Option<String>,
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `nginx/breaks.rs` is `nginx::breaks`.
fn module(root: &Path, file: &Path) -> String {
    let file = file.strip_prefix(root).unwrap().with_extension("");
    let parts = file.iter().map(|part| part.to_str().unwrap());
    let parts: Vec<_> = parts.filter(|part| *part != "mod").collect();
    parts.join("::")
}

/// Every behaviour that is declared for transports, with its reasons.
fn behaviours() -> BTreeMap<String, Behaviour> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let declared = Regex::new(r"(?s)\non_every_transport!\((.*?)\);").unwrap();
    let one = Regex::new(
        r#"([a-z][a-z0-9_]*)(?:\s*=\s*"([^"]*)"(?:\s*\+\s*(?:sockjs|streams))?)?\s*(?:,|$)"#,
    )
    .unwrap();
    let deeds = Regex::new(DEEDS).unwrap();
    let no_listeners: BTreeMap<_, _> = NO_LISTENERS.into_iter().collect();
    let mut found = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for list in declared.captures_iter(&text) {
            for declared in one.captures_iter(list[1].trim()) {
                let name = format!("{}::{}", module(&root, &file), &declared[1]);
                let start = text.find(&format!("\nasync fn {}(", &declared[1]));
                let body = start.and_then(|at| text[at..].split("\n}\n").next());
                let body = body.expect("a behaviour is in the file that declares it");
                // What the test does by the server API is nobody's command.
                let body = body
                    .replace("server.publish", "")
                    .replace("node.publish", "");
                let commands = deeds.is_match(&body).then_some(COMMANDS);
                let listeners = no_listeners.get(&*name).copied().or(commands);
                let behaviour = Behaviour {
                    requests: declared.get(2).map(|reason| reason.as_str().to_owned()),
                    listeners: listeners.map(str::to_owned),
                };
                found.insert(name, behaviour);
            }
        }
    }
    found
}

/// Which transports each behaviour runs on, as this executable says it.
fn runs() -> BTreeMap<String, BTreeSet<String>> {
    let list = Command::new(std::env::current_exe().unwrap())
        .args(["--list", "--format", "terse"])
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for name in list.lines().filter_map(|line| line.strip_suffix(": test")) {
        let Some((behaviour, transport)) = name.rsplit_once("::") else {
            continue;
        };
        if COLUMNS.iter().any(|(column, _)| *column == transport) {
            let behaviour = behaviour.replace("::listeners::", "::");
            found
                .entry(behaviour)
                .or_default()
                .insert(transport.to_owned());
        }
    }
    found
}

/// The table, and what stands nowhere.
fn matrix() -> (String, Vec<String>) {
    let (behaviours, runs) = (behaviours(), runs());
    let mut table = String::from("| Behaviour |");
    for (_, title) in COLUMNS {
        write!(table, " {title} |").unwrap();
    }
    table += &format!("\n|{}\n", "---|".repeat(COLUMNS.len() + 1));
    let mut missing = Vec::new();
    for (name, behaviour) in &behaviours {
        let none = BTreeSet::new();
        let runs = runs.get(name).unwrap_or(&none);
        write!(table, "| {name} |").unwrap();
        let mut reasons = BTreeSet::new();
        for (column, _) in COLUMNS.iter().take(COLUMNS.len() - 1) {
            if runs.contains(*column) {
                table += " ✓ |";
                continue;
            }
            let own = ["grpc", "websocket_json", "websocket_protobuf"].contains(column);
            let reason = if column.starts_with(LISTENERS) {
                behaviour.listeners.as_ref()
            } else {
                behaviour.requests.as_ref().filter(|_| !own)
            };
            match reason {
                Some(reason) => {
                    reasons.insert(reason.as_str());
                    table += " – |";
                }
                None => {
                    missing.push(format!("{name} on {column}"));
                    table += " ? |";
                }
            }
        }
        let reasons: Vec<_> = reasons.into_iter().collect();
        writeln!(table, " {} |", reasons.join("; ")).unwrap();
    }
    // Other suites call a way of their own `grpc`.
    let grpc = BTreeSet::from(["grpc".to_owned()]);
    for (name, runs) in &runs {
        if *runs != grpc && !behaviours.contains_key(name) {
            missing.push(format!("{name} is declared nowhere"));
        }
    }
    (table, missing)
}

#[test]
fn every_behaviour_runs_on_every_transport_or_says_why_not() {
    let (table, missing) = matrix();
    eprintln!("{table}");
    assert!(missing.is_empty(), "without a reason: {missing:#?}");
    assert!(table.lines().count() > 100, "{table}");
    // Every column is filled somewhere.
    let runs = runs();
    for (column, title) in COLUMNS.iter().take(COLUMNS.len() - 1) {
        let count = runs.values().filter(|runs| runs.contains(*column)).count();
        assert!(count > 5, "{count} behaviours on {title}");
    }
}

#[test]
fn reasons_are_those_of_behaviours_that_exist() {
    let (behaviours, runs) = (behaviours(), runs());
    for (name, _) in NO_LISTENERS {
        assert!(behaviours.contains_key(name), "{name}");
        let listens = runs[name].iter().any(|on| on.starts_with(LISTENERS));
        assert!(!listens, "{name} runs there");
    }
}
