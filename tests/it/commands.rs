//! `sub` and `pub` against a running server, as a person uses them in two terminals.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Duration, timeout},
};

use crate::support::Server;

/// How long a line may take; a reconnect after a restart is part of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `sub --json` that runs.
struct Sub {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    statuses: Lines<BufReader<tokio::process::ChildStderr>>,
}

impl Sub {
    fn start(url: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_centripetal"))
            .args(["sub", "news", "--json", "--recover", "--url", url])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let statuses = BufReader::new(child.stderr.take().unwrap()).lines();
        Self {
            child,
            lines,
            statuses,
        }
    }

    /// Waits until it says on standard error that it is subscribed.
    async fn subscribed(&mut self) {
        loop {
            let line = timeout(PATIENCE, self.statuses.next_line()).await;
            let line = line.expect("it subscribes in time").unwrap();
            if line.expect("it still runs").contains("subscribed") {
                return;
            }
        }
    }

    async fn message(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("a message in time").unwrap();
        serde_json::from_str(&line.expect("it still runs")).unwrap()
    }
}

fn settings() -> Value {
    json!({
        "client": {"insecure": true},
        "channel": {"without_namespace": {
            "history_size": 100, "history_ttl": "60s", "force_recovery": true,
        }},
    })
}

async fn publish(url: &str, data: &str) {
    let status = Command::new(env!("CARGO_BIN_EXE_centripetal"))
        .args(["pub", "news", data, "--url", url])
        .status()
        .await
        .unwrap();
    assert!(status.success());
}

async fn survives_a_restart(url: impl Fn(&Server) -> String) {
    let mut server = Server::start(settings()).await;
    let url = url(&server);
    let mut sub = Sub::start(&url);
    sub.subscribed().await;
    for n in 1..=3 {
        publish(&url, &n.to_string()).await;
    }
    for n in 1..=3 {
        assert_eq!(sub.message().await["data"], n);
    }
    server.terminate();
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
    server.restart().await;
    sub.subscribed().await;
    for n in 4..=6 {
        publish(&url, &n.to_string()).await;
    }
    for n in 4..=6 {
        assert_eq!(sub.message().await["data"], n, "every message once");
    }
    assert!(sub.child.try_wait().unwrap().is_none(), "it still runs");
}

#[tokio::test]
async fn sub_survives_a_restart_of_the_server_over_grpc() {
    survives_a_restart(|server| format!("grpc://{}", server.grpc_target())).await;
}

#[tokio::test]
async fn sub_survives_a_restart_of_the_server_over_websocket() {
    survives_a_restart(|server| format!("ws://{}", server.http_target())).await;
}

#[tokio::test]
async fn pub_tells_the_number_and_what_to_do() {
    let server =
        Server::start(json!({"client": {"allow_anonymous_connect_without_token": true}})).await;
    let url = format!("grpc://{}", server.grpc_target());
    let ended = Command::new(env!("CARGO_BIN_EXE_centripetal"))
        .args(["pub", "news", "1", "--url", &url])
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        told.contains("103") && told.contains("allow_publish_for_client"),
        "{told}"
    );
}

#[tokio::test]
async fn healthcheck_asks_the_configured_address() {
    let server = Server::start(json!({"health": {"enabled": true}})).await;
    let ask = |enabled: &'static str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_centripetal"));
        command
            .arg("healthcheck")
            .env("CENTRIPETAL_HEALTH_ENABLED", enabled)
            .current_dir(server.folder());
        async move {
            let ended = command.output().await.unwrap();
            let told = String::from_utf8_lossy(&ended.stderr).into_owned();
            (ended.status.code(), told)
        }
    };
    assert_eq!(ask("true").await.0, Some(0));
    let (code, told) = ask("false").await;
    assert_eq!(code, Some(1));
    assert!(told.contains("health.enabled"), "{told}");
}

#[tokio::test]
async fn a_full_node_refuses_streams_as_well() {
    let settings = json!({"client": {"insecure": true, "connection_limit": 1}});
    let server = Server::start(settings).await;
    let url = format!("grpc://{}", server.grpc_target());
    let mut sub = Sub::start(&url);
    sub.subscribed().await;
    let ended = Command::new(env!("CARGO_BIN_EXE_centripetal"))
        .args(["pub", "news", "1", "--url", &url])
        .output()
        .await
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(told.contains("too many connections"), "{told}");
}
