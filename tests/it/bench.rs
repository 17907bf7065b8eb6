//! `centripetal bench` against a real server, its figures beside those the server counts by itself.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    harness::{Metric, Transport, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    what_is_counted_is_what_the_server_sent = "`bench` does not speak SockJS" + streams,
    a_storm_loses_nothing = "`bench` does not speak SockJS" + streams,
);

fn settings() -> Value {
    json!({
        "client": {"insecure": true},
        "channel": {"without_namespace": {
            "history_size": 1000, "history_ttl": "60s", "force_recovery": true,
        }},
    })
}

/// Runs a measurement and returns its report.
async fn bench(on: Transport, server: &Server, mode: &str, arguments: &[&str]) -> Value {
    let url = match on {
        Transport::Grpc => format!("grpc://{}", server.grpc_target()),
        Transport::HttpStream | Transport::HttpStreamProtobuf => {
            format!("http://{}/connection/http_stream", server.http_target())
        }
        Transport::Sse => format!("http://{}/connection/sse", server.http_target()),
        _ => server.ws_url(),
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_centripetal"));
    command.args(["bench", mode, "--json", "--url", &url]);
    if [Transport::Protobuf, Transport::HttpStreamProtobuf].contains(&on) {
        command.arg("--protobuf");
    }
    let output = match command.args(arguments).output().await {
        Ok(output) if output.status.success() => output,
        other => panic!("bench {mode}: {other:?}"),
    };
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

async fn what_is_counted_is_what_the_server_sent(on: Transport) {
    let server = server(settings()).await;
    let labels = [("frame_type", "push_publication")];
    let pushes = Metric::of(&server, "centrifugo_transport_messages_sent", &labels).await;
    let published = Metric::of(
        &server,
        "centrifugo_api_command_duration_seconds_count",
        &[],
    )
    .await;
    let api = server.api_url();
    let by_http = ["--api", &api, "--api-key", Server::API_KEY];
    let fixed = ["-n", "12", "-m", "50", "--rate", "0", "--streams", "4"];
    let arguments = [&fixed[..], &by_http].concat();
    let report = bench(on, &server, "fanout", &arguments).await;
    let counted = json!({"expected": 600, "lost": 0, "doubled": 0, "reordered": 0});
    assert_eq!(report["counted"], counted, "{report}");
    assert_eq!(report["deliver"]["count"], 600);
    assert!((pushes.value().await - pushes.before - 600.0).abs() < 0.1);
    assert!(published.value().await >= published.before + 50.0);
    // The process it found is the one that was started.
    assert!(
        report["server"]["connected"].as_u64() > Some(1_000_000),
        "{report}"
    );
    // Many channels, published through the other API and by clients.
    let grpc = format!("grpc://{}", server.grpc_api_target());
    for by in [
        &["--api", &grpc, "--api-key", Server::API_KEY][..],
        &["--api", "client"],
    ] {
        let fixed = [
            "-n",
            "10",
            "--channels",
            "5",
            "--subscriptions",
            "2",
            "-m",
            "40",
            "--batch",
            "4",
        ];
        let report = bench(on, &server, "channels", &[&fixed[..], by].concat()).await;
        // Each publication has four subscribers.
        let counted = json!({"expected": 160, "lost": 0, "doubled": 0, "reordered": 0});
        assert_eq!(report["counted"], counted, "{report}");
    }
}

async fn a_storm_loses_nothing(on: Transport) {
    let server = server(settings()).await;
    let connected = Metric::of(&server, "centrifugo_client_connections_accepted", &[]).await;
    let api = server.api_url();
    let by_http = ["--api", &api, "--api-key", Server::API_KEY];
    let fixed = ["-n", "20", "--stay", "5", "-m", "60", "--rate", "100"];
    let report = bench(on, &server, "storm", &[&fixed[..], &by_http].concat()).await;
    let counted = json!({"expected": 1500, "lost": 0, "doubled": 0, "reordered": 0});
    assert_eq!(report["counted"], counted, "{report}");
    assert_eq!(report["storm"]["back"], 20, "{report}");
    assert!(report["storm"]["stayed_ms"]["p99"].is_number(), "{report}");
    // Everybody came twice, and those who stayed once.
    assert!((connected.value().await - connected.before - 45.0).abs() < 0.1);
}

#[tokio::test]
async fn calls_and_connections_are_measured() {
    let server = server(settings()).await;
    let api = server.api_url();
    let by_http = ["--api", &api, "--api-key", Server::API_KEY];
    let arguments = [&["-n", "3", "-m", "60", "--batch", "2"][..], &by_http].concat();
    let report = bench(Transport::Json, &server, "publish", &arguments).await;
    assert_eq!(report["publish"]["count"], 60, "{report}");
    let report = bench(
        Transport::Json,
        &server,
        "idle",
        &["-n", "30", "--wait", "0"],
    )
    .await;
    assert_eq!(report["connect"]["count"], 30, "{report}");
    assert!(report["server"]["per_connection"].is_number(), "{report}");
}

#[tokio::test]
async fn a_server_that_refuses_is_an_error_that_says_what_to_do() {
    let server = server(json!({})).await;
    let url = server.ws_url();
    let output = Command::new(env!("CARGO_BIN_EXE_centripetal"))
        .args(["bench", "idle", "-n", "1", "--url", &url])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("hint: pass --token"), "{told}");
}
