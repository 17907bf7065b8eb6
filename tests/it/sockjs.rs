//! SockJS on the real server: both generations of the official SDK over each transport alone, and what bad clients cost.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    harness::{Bystander, Metric, eventually, server},
    sdk,
    support::{Nginx, Server, http_client, sdk_javascript},
};

fn with_sockjs(mut settings: Value) -> Value {
    settings["centripetal"]["sockjs"]["enabled"] = json!(true);
    settings
}

async fn passes(file: &str, form: &str) {
    let settings = with_sockjs(sdk::settings());
    sdk::passes_with(settings, sdk_javascript(file), &[form]).await;
}

/// The transports that `sockjs-client` has outside a browser; the others are tried in Chromium.
macro_rules! over_each_transport {
    ($($name:ident: $transport:literal),+ $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn javascript_v1() {
                super::passes("v1.cjs", concat!("sockjs-", $transport)).await;
            }

            #[tokio::test]
            async fn javascript_v2() {
                super::passes("v2.mjs", concat!("json:sockjs-", $transport)).await;
            }
        }
    )+};
}

over_each_transport!(
    websocket: "websocket",
    xhr_streaming: "xhr-streaming",
    eventsource: "eventsource",
    xhr_polling: "xhr-polling",
);

#[tokio::test]
async fn polling_gets_through_a_proxy_that_buffers() {
    let Some(program) = sdk_javascript("v2.mjs") else {
        return;
    };
    let server = Server::start(with_sockjs(sdk::settings())).await;
    let buffering = [("proxy_buffering         off;", "proxy_buffering on;")];
    let Some(nginx) = Nginx::changed(Nginx::SHIPPED, &server, &buffering).await else {
        return;
    };
    let program = program.through(nginx.port(), &nginx.authority());
    let output = program.run(&server, &["json:sockjs-xhr-polling"]).await;
    assert!(output.contains("checks passed"), "{output}");
}

fn open_to_all() -> Value {
    with_sockjs(json!({
        "client": {"allow_anonymous_connect_without_token": true},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true,
            "allow_subscribe_for_anonymous": true,
        }},
    }))
}

const CONNECT: &str = r#"["{\"connect\":{},\"id\":1}"]"#;
const LISTEN: &str =
    r#"["{\"connect\":{},\"id\":1}\n{\"subscribe\":{\"channel\":\"bystander\"},\"id\":2}"]"#;

#[expect(clippy::unwrap_used, reason = "what cannot be sent fails the test")]
impl Server {
    fn sockjs(&self, path: &str) -> String {
        format!("http://{}/connection/sockjs/000/{path}", self.http_target())
    }

    async fn sockjs_post(&self, path: &str, body: &str) -> (u16, String) {
        let request = http_client().post(self.sockjs(path)).body(body.to_owned());
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    }

    /// A streamed answer that is read by hand, or not.
    async fn sockjs_stream(&self, session: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.http_target()).await.unwrap();
        let request = format!(
            "POST /connection/sockjs/000/{session}/xhr_streaming HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"o\n\r\n") {
            assert_ne!(socket.read_buf(&mut read).await.unwrap(), 0);
        }
        socket
    }
}

async fn sessions(server: &Server) -> f64 {
    let metric = Metric::of(server, "centripetal_sockjs_sessions", &[]).await;
    metric.before
}

#[tokio::test]
async fn thousands_of_sessions_opened_and_dropped_leave_nothing() {
    const SESSIONS: usize = 3000;
    let server = server(open_to_all()).await;
    let mut bystander = Bystander::of(&server).await;
    let mut open = Vec::new();
    for number in 0..SESSIONS {
        open.push(server.sockjs_stream(&format!("s{number}")).await);
        if number % 2 == 0 {
            let sent = server
                .sockjs_post(&format!("s{number}/xhr_send"), CONNECT)
                .await;
            assert_eq!(sent.0, 204);
        }
        // Some at once, some after a while.
        if open.len() == 300 {
            open.clear();
            bystander.served(&server).await;
        }
    }
    // And sessions that nobody comes back to.
    for number in 0..500 {
        let opened = server.sockjs_post(&format!("p{number}/xhr"), "").await;
        assert_eq!(opened, (200, "o\n".to_owned()));
    }
    drop(open);
    eventually("all sessions are gone", || async {
        // The table is looked at by whoever asks for a session.
        let asked = server.sockjs_post("nobody/xhr_send", "[\"x\"]").await.0;
        asked == 404 && sessions(&server).await == 0.0
    })
    .await;
    let info = server.api("info", &json!({})).await;
    assert_eq!(info["nodes"][0]["num_clients"], 1);
    bystander.served(&server).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_slow_and_nobody_else_notices() {
    let mut settings = open_to_all();
    settings["client"]["queue_max_size"] = json!(200_000);
    let server = server(settings).await;
    let mut bystander = Bystander::of(&server).await;
    let _deaf = server.sockjs_stream("deaf").await;
    let sent = server.sockjs_post("deaf/xhr_send", LISTEN).await;
    assert_eq!(sent.0, 204);
    let closes = Metric::of(
        &server,
        "centripetal_connection_closes_total",
        &[("code", "3008")],
    )
    .await;
    let subscribed = || async {
        let stats = server.api("channels", &json!({})).await;
        stats["channels"]["bystander"]["num_clients"] == 2
    };
    eventually("it listens", subscribed).await;
    let data = json!("x".repeat(60_000));
    // Sockets and HTTP keep a few megabytes before anybody waits.
    for _ in 0..2000 {
        server.publish("bystander", &data).await;
        bystander.heard(&data).await;
        if closes.value().await > closes.before {
            break;
        }
    }
    closes.increased().await;
    bystander.served(&server).await;
}

#[tokio::test]
async fn an_unread_session_is_left_and_polls_of_others_stay_possible_at_the_limit() {
    let mut settings = open_to_all();
    settings["client"]["connection_limit"] = json!(1);
    let server = server(settings).await;
    assert_eq!(server.sockjs_post("one/xhr", "").await.1, "o\n");
    assert_eq!(server.sockjs_post("one/xhr_send", CONNECT).await.0, 204);
    let (status, heard) = server.sockjs_post("one/xhr", "").await;
    assert_eq!(status, 200);
    assert!(heard.starts_with("a[\"{\\\"id\\\":1"), "{heard}");
    assert_eq!(
        server.sockjs_post("two/xhr", "").await,
        (503, String::new())
    );
    let info = http_client().get(format!(
        "http://{}/connection/sockjs/info",
        server.http_target()
    ));
    assert_eq!(info.send().await.unwrap().status(), 503);
    // Nobody asks for it any more, so there is room after five seconds.
    eventually("there is room", || async {
        server.sockjs_post("three/xhr", "").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn clients_are_told_of_the_end_of_the_server() {
    let mut server = server(open_to_all()).await;
    let mut stream = server.sockjs_stream("s").await;
    assert_eq!(server.sockjs_post("s/xhr_send", CONNECT).await.0, 204);
    let mut read = Vec::new();
    while !read.windows(8).any(|window| window == b"\\\"id\\\":1") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    server.terminate();
    stream.read_to_end(&mut read).await.unwrap();
    let text = String::from_utf8_lossy(&read);
    assert!(text.contains("c[3001,\"shutdown\"]\n"), "{text}");
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let mut settings = open_to_all();
    settings["client"]["stale_close_delay"] = json!("1s");
    let server = server(settings).await;
    let mut socket = TcpStream::connect(server.http_target()).await.unwrap();
    let request =
        "POST /connection/sockjs/000/s/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = socket.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}
