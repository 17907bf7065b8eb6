//! The gRPC stream as two official libraries see it: one situation after another, and what each library tells its user.
//!
//! The situations are in `tests/sdk/python/grpc_conformance.py` and `tests/sdk/go/grpc.go`; the table of what is expected
//! is that of `docs/grpc.md`, so that the page says what is true.

use serde_json::{Value, json};

use crate::{
    harness::Metric,
    support::{Program, Server, sdk_go, sdk_python},
};

/// The page, with a row `| what (`situation`) | grpcio | grpc-go |` for every situation.
const PAGE: &str = include_str!("../../docs/grpc.md");

/// One test for every situation, with the settings it needs.
macro_rules! situations {
    ($($situation:ident: $settings:expr),+ $(,)?) => {
        $(#[tokio::test]
        async fn $situation() {
            Box::pin(observed(stringify!($situation), $settings)).await;
        })+

        const SITUATIONS: &[&str] = &[$(stringify!($situation)),+];
    };
}

situations! {
    cancellation: json!({}),
    half_close: json!({}),
    deadline: json!({}),
    metadata: json!({}),
    large_message: json!({
        "client": {"queue_max_size": 16 << 20},
        "websocket": {"write_timeout": "20s"},
        "centripetal": {"grpc": {"message_size_limit": 5 << 20}},
    }),
    own_limit: json!({
        "client": {"queue_max_size": 16 << 20},
        "websocket": {"write_timeout": "20s"},
    }),
    too_large: json!({}),
    malformed: json!({}),
    unknown_compression: json!({}),
    compressed_request: json!({}),
    compressed_response: json!({"centripetal": {"grpc": {"compression": true}}}),
    stopped_reader: json!({
        "client": {"queue_max_size": 1 << 20},
        "websocket": {"write_timeout": "60s"},
    }),
    paused_reader: json!({
        "client": {"queue_max_size": 16 << 20},
        "websocket": {"write_timeout": "30s"},
    }),
    old_connection: json!({"centripetal": {"grpc": {"max_connection_age": "1s"}}}),
    many_streams: json!({}),
    pings_of_the_client: json!({}),
    pings_of_the_server: json!({
        "centripetal": {"grpc": {"keepalive_interval": "1s", "keepalive_timeout": "1s"}},
    }),
    health: json!({}),
    reflection: json!({"centripetal": {"grpc": {"reflection": true}}}),
    refusal: json!({}),
    unknown_method: json!({}),
}

/// `open` allows everything the programs do; in `quiet` nobody is told of others.
fn channels() -> Value {
    let quiet = json!({"name": "quiet", "allow_subscribe_for_client": true});
    json!({"namespaces": [quiet, {
        "name": "open",
        "join_leave": true,
        "force_push_join_leave": true,
        "history_size": 1000,
        "history_ttl": "300s",
        "force_recovery": true,
        "allow_subscribe_for_client": true,
        "allow_publish_for_subscriber": true,
    }]})
}

/// The page's row of a situation: what grpcio and grpc-go tell.
fn row(situation: &str) -> Option<[&'static str; 2]> {
    let name = format!("(`{situation}`)");
    let row = PAGE
        .lines()
        .find(|line| line.starts_with('|') && line.contains(&name))?;
    let mut cells = row.trim_matches('|').split('|').skip(1).map(str::trim);
    Some([cells.next()?, cells.next()?])
}

/// Runs both programs and compares what they print with the page.
async fn observed(situation: &str, mut settings: Value) {
    settings["channel"] = channels();
    settings["prometheus"] = json!({"enabled": true});
    let programs = [
        (
            sdk_python("tests/sdk/python/grpc_conformance.py"),
            vec![situation],
        ),
        (sdk_go(), vec!["grpc", situation]),
    ];
    let mut cells = Vec::new();
    for (program, arguments) in programs {
        let Some(program) = program else {
            return;
        };
        cells.push(cell(&program, &arguments, &settings).await);
    }
    eprintln!("| {situation} | {} |", cells.join(" | "));
    let expected = row(situation);
    assert_eq!(
        expected.map(|cells| cells.to_vec()),
        Some(cells.iter().map(String::as_str).collect())
    );
}

/// What one library tells.
async fn cell(program: &Program, arguments: &[&str], settings: &Value) -> String {
    let mut server = Server::start(settings.clone()).await;
    let output = program.run(&server, arguments).await;
    let observed = output
        .lines()
        .find_map(|line| line.strip_prefix("observed: "));
    let observed = observed.unwrap_or_else(|| panic!("nothing observed: {output}"));
    assert!(server.alive(), "{}", server.log());
    if arguments.contains(&"stopped_reader") {
        // The reader alone was slow.
        let name = "centrifugo_client_num_server_disconnects";
        let slow = Metric::of(&server, name, &[("code", "3008")]).await.before;
        assert!((slow - 1.0).abs() < f64::EPSILON, "{slow}");
    }
    observed.to_owned()
}

#[test]
fn the_page_has_a_row_for_every_situation() {
    for situation in SITUATIONS {
        assert!(row(situation).is_some(), "no row for {situation}");
    }
    let (_, table) = PAGE.split_once("| Situation |").unwrap();
    let rows = table.lines().filter(|line| line.contains("(`"));
    assert_eq!(rows.count(), SITUATIONS.len());
}
