//! Commands that come by requests (client-protocol.md 3.5): on the node of the session, on another one, and where they are of no use.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    cluster::Fleet,
    harness::{Bystander, Client, Front, Metric, Transport, eventually, server},
    support::{Nginx, Server, needed, sdk_javascript},
};

/// Every transport whose commands come by requests.
const EMULATED: [Transport; 3] = [
    Transport::HttpStream,
    Transport::HttpStreamProtobuf,
    Transport::Sse,
];

fn settings() -> Value {
    json!({
        "client": {"allowed_origins": ["http://app.example.com"]},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true, "allow_publish_for_client": true,
            "presence": true, "allow_presence_for_subscriber": true,
        }},
    })
}

#[tokio::test]
async fn commands_reach_the_node_of_their_session_through_another() {
    let fleet = Fleet::<2>::start(settings()).await;
    let [here, there] = &fleet.nodes;
    let forwarded = Metric::of(
        there,
        "centrifugo_node_survey_duration_seconds_histogram_count",
        &[("op", "centrifuge_emulation")],
    )
    .await;
    for on in EMULATED {
        let mut client = on.user(here, "alice").await;
        client.answer_through(there);
        client.subscribe(json!({"channel": "news"})).await;
        client.publish("news", json!({"n": 1})).await;
        let push = client.push().await;
        assert_eq!(push["pub"]["data"], json!({"n": 1}), "{on:?}");
        // Several under way at a time.
        for n in 0..50 {
            client.publish("news", json!(n)).await;
            assert_eq!(client.push().await["pub"]["data"], json!(n));
        }
        // A broken command there is a broken command here.
        let (session, node) = client.address();
        assert_eq!(client.post(&session, &node, b"\xffnonsense").await, 204);
        client.closed(3501, "bad request").await;
        // And the session is gone.
        assert_eq!(client.post(&session, &node, b"{}").await, 204);
    }
    assert!(forwarded.value().await > forwarded.before + 150.0);
}

#[tokio::test]
async fn a_frame_for_a_node_that_is_gone_fails() {
    let mut fleet = Fleet::<2>::start(settings()).await;
    let [here, there] = &mut fleet.nodes;
    let client = Transport::HttpStream.user(there, "alice").await;
    let mut other = Transport::Sse.user(here, "bob").await;
    let (session, node) = client.address();
    there.kill().await;
    // As long as the other is not known to be dead it is asked, and does not answer; then nobody knows it.
    let mut client = client;
    client.answer_through(here);
    let status = client.post(&session, &node, b"{}").await;
    assert!(status == 500 || status == 404, "{status}");
    eventually("the node is forgotten", || async {
        client.post(&session, &node, b"{}").await == 404
    })
    .await;
    assert_eq!(client.post(&session, "nobody", b"{}").await, 404);
    assert_eq!(client.post(&session, "", b"{}").await, 404);
    // Nobody else noticed.
    other.subscribe(json!({"channel": "news"})).await;
}

#[tokio::test]
async fn a_session_is_not_found_by_guessing_and_not_shown_to_others() {
    let server = server(settings()).await;
    for on in EMULATED {
        let mut client = on.user(&server, "alice").await;
        let mut other = on.user(&server, "bob").await;
        for client in [&mut client, &mut other] {
            client.subscribe(json!({"channel": "news"})).await;
        }
        let (session, node) = client.address();
        assert_ne!(session, client.id);
        let presence = other.call(json!({"presence": {"channel": "news"}})).await;
        assert!(!presence.to_string().contains(&session), "{presence}");
        // Unknown sessions and identifiers that are none are answered alike, and nothing happens.
        for wrong in ["", "nobody", &client.id] {
            assert_eq!(client.post(wrong, &node, b"nonsense").await, 204);
        }
        assert!(client.so_far().await.is_empty());
        // What two requests carry at once is taken one after the other.
        let publish = |n: usize| {
            let text = json!({"id": 100 + n, "publish": {"channel": "news", "data": n}});
            text.to_string().into_bytes()
        };
        if on.is_json() {
            let frames: Vec<_> = (0..20).map(publish).collect();
            let posts = frames
                .iter()
                .map(|frame| client.post(&session, &node, frame));
            assert_eq!(join_all(posts).await, vec![204; 20]);
            let mut seen: Vec<_> = Vec::new();
            while seen.len() < 20 {
                let next = other.push().await;
                seen.push(next["pub"]["data"].as_u64().unwrap());
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..20).collect::<Vec<_>>());
        }
    }
}

/// Makes the shipped file one that buffers and compresses, as many do.
pub(crate) const BUFFERING: [(&str, &str); 1] = [(
    "proxy_buffering         off;",
    "proxy_buffering on; gzip on; gzip_proxied any; gzip_min_length 1; gzip_types text/plain application/json;",
)];

#[tokio::test]
async fn streams_get_through_a_proxy_that_buffers_and_compresses() {
    let server = server(settings()).await;
    let Some(nginx) = Nginx::changed(Nginx::SHIPPED, &server, &BUFFERING).await else {
        return;
    };
    let front = Front::new(nginx.port(), &nginx.authority());
    for on in EMULATED {
        let mut client = on.through(&front).await;
        let token = Server::token(&json!({"sub": "alice"}));
        client.connect(json!({"token": token})).await;
        client.subscribe(json!({"channel": "news"})).await;
        for n in 0..20 {
            client.publish("news", json!(n)).await;
            assert_eq!(client.push().await["pub"]["data"], json!(n), "{on:?}");
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_costs_nobody_the_session() {
    let mut settings = settings();
    settings["emulation"] = json!({"max_request_body_size": 2000});
    let server = server(settings).await;
    for on in EMULATED {
        let mut client = on.user(&server, "alice").await;
        let (session, node) = client.address();
        let frame = vec![b' '; 3000];
        assert_eq!(client.post(&session, &node, &frame).await, 413, "{on:?}");
        client.subscribe(json!({"channel": "news"})).await;
    }
}

#[tokio::test]
async fn a_frame_after_the_end_of_its_stream_is_nobodys() {
    let server = server(settings()).await;
    let mut bystander = Bystander::of(&server).await;
    for on in EMULATED {
        let mut client = on.user(&server, "alice").await;
        let (session, node) = client.address();
        server.api("disconnect", &json!({"user": "alice"})).await;
        client.closed(3503, "force disconnect").await;
        let publish = br#"{"id":9,"publish":{"channel":"bystander","data":1}}"#;
        assert_eq!(client.post(&session, &node, publish).await, 204, "{on:?}");
    }
    bystander.served(&server).await;
}

#[tokio::test]
async fn the_server_api_finds_a_connection_by_its_session() {
    let server = server(settings()).await;
    let mut first = Transport::HttpStream.user(&server, "alice").await;
    let mut second = Transport::Sse.user(&server, "alice").await;
    let (session, _) = first.address();
    let nobody = json!({"user": "alice", "session": "nobody"});
    server.api("disconnect", &nobody).await;
    let one = json!({"user": "alice", "session": session});
    server.api("disconnect", &one).await;
    first.closed(3503, "force disconnect").await;
    second.subscribe(json!({"channel": "news"})).await;
}

/// Sends a request and leaves the answer unread; the kernel's own buffers are small.
async fn silent(server: &Server, path: &str, body: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = server.http_target().parse().unwrap();
    let mut tcp = socket.connect(address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    tcp
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_and_forgotten() {
    let server = server(settings()).await;
    let mut bystander = Bystander::of(&server).await;
    let token = Server::token(&json!({"sub": "mallory"}));
    let body = format!(
        "{}\n{}",
        json!({"id": 1, "connect": {"token": token}}),
        json!({"id": 2, "subscribe": {"channel": "news"}})
    );
    let mut silents = Vec::new();
    for path in ["/connection/http_stream", "/connection/sse"] {
        silents.push(silent(&server, path, &body).await);
    }
    eventually("both are there", || async {
        let params = json!({"channel": "news"});
        server.api("presence_stats", &params).await["num_clients"] == 2
    })
    .await;
    let data = json!("x".repeat(50_000));
    for _ in 0..400 {
        server.publish("news", &data).await;
    }
    eventually("both are gone", || async {
        let params = json!({"channel": "news"});
        let stats = server.api("presence_stats", &params).await;
        stats["num_clients"].as_u64().unwrap_or_default() == 0
    })
    .await;
    bystander.served(&server).await;
}

#[tokio::test]
#[ignore = "ten thousand connections; `cargo test --test it -- --ignored` runs it"]
async fn ten_thousand_streams_opened_and_dropped_leave_nothing() {
    let server = server(settings()).await;
    let mut bystander = Bystander::of(&server).await;
    let token = Server::token(&json!({"sub": "mallory"}));
    let body = json!({"id": 1, "connect": {"token": token}}).to_string();
    let opened = Metric::of(&server, "centrifugo_client_connections_accepted", &[]).await;
    let wave = async |count: usize| {
        for _ in 0..count / 200 {
            let paths = ["/connection/http_stream", "/connection/sse"];
            let streams = paths.iter().cycle().take(200);
            let streams = join_all(streams.map(|path| silent(&server, path, &body))).await;
            // Half of them see the beginning of their stream.
            join_all(
                streams
                    .into_iter()
                    .enumerate()
                    .map(async |(n, mut stream)| {
                        if n % 2 == 0 {
                            assert_ne!(stream.read(&mut [0; 64]).await.unwrap(), 0);
                        }
                    }),
            )
            .await;
        }
    };
    wave(2000).await;
    let inflight = Metric::of(&server, "centrifugo_client_connections_inflight", &[]).await;
    let settled = || async { inflight.value().await <= 1.0 };
    eventually("the first wave has left", settled).await;
    let before = server.memory();
    wave(8000).await;
    eventually("all have left", settled).await;
    let more = server.memory().saturating_sub(before);
    assert!(more < 24 * 1024 * 1024, "{more} bytes more");
    assert!(opened.value().await > opened.before + 4000.0);
    bystander.served(&server).await;
}

/// Settings of two nodes behind the file for clusters, where each request goes to the next node.
fn round_robin([one, two]: &[Server; 2]) -> Vec<(String, String)> {
    vec![
        ("10.0.0.11:8000".to_owned(), one.http_target()),
        ("10.0.0.12:8000".to_owned(), two.http_target()),
        ("10.0.0.11:8001".to_owned(), one.grpc_target()),
        ("10.0.0.12:8001".to_owned(), two.grpc_target()),
        ("        least_conn;\n".to_owned(), String::new()),
    ]
}

fn sdk_settings() -> Value {
    json!({
        "channel": {"namespaces": [
            {"name": "open", "presence": true, "join_leave": true, "force_push_join_leave": true,
             "history_size": 100, "history_ttl": "300s", "force_recovery": true,
             "allow_subscribe_for_client": true, "allow_publish_for_subscriber": true,
             "allow_presence_for_subscriber": true, "allow_history_for_subscriber": true},
            {"name": "closed"},
            {"name": "bare"},
        ]},
    })
}

/// The official SDK through nginx, which sends each request to the next of two nodes: no session sticks to any.
async fn sdk_behind_round_robin(form: &str) {
    let (Some(nginx), Some(program)) = (needed("CENTRIPETAL_NGINX"), sdk_javascript("v2.mjs"))
    else {
        return;
    };
    let fleet = Fleet::<2>::start(sdk_settings()).await;
    let replacements = round_robin(&fleet.nodes);
    let nginx = Nginx::run(nginx.into(), Nginx::CLUSTER, &replacements).await;
    let program = program.through(nginx.port(), &nginx.authority());
    let output = program.run(&fleet.nodes[0], &[form]).await;
    assert!(output.contains("checks passed"), "{output}");
    for node in &fleet.nodes {
        let forwarded = Metric::of(
            node,
            "centrifugo_node_messages_sent_count",
            &[("type", "control")],
        )
        .await;
        assert!(forwarded.before > 10.0, "{}", forwarded.before);
    }
}

#[tokio::test]
async fn javascript_http_stream_json_behind_round_robin() {
    sdk_behind_round_robin("json:http_stream").await;
}

#[tokio::test]
async fn javascript_http_stream_protobuf_behind_round_robin() {
    sdk_behind_round_robin("protobuf:http_stream").await;
}

#[tokio::test]
async fn javascript_sse_behind_round_robin() {
    sdk_behind_round_robin("json:sse").await;
}

#[tokio::test]
async fn pings_and_pongs_travel_the_same_ways() {
    let mut settings = settings();
    settings["client"]["ping_interval"] = json!("5s");
    settings["client"]["pong_timeout"] = json!("4s");
    let server = Server::start(settings).await;
    let lives = EMULATED.map(async |on| {
        let mut client: Client = on.user(&server, "alice").await;
        for _ in 0..2 {
            assert_eq!(client.next().await, json!({}));
            client.raw_command(b"{}", b"").await;
        }
        assert_eq!(client.next().await, json!({}));
        client.closed(3012, "no pong").await;
    });
    join_all(lives).await;
}
