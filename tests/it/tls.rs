//! TLS of the server itself (gateway.md 2 and 5; server-api.md 1.1): every listener, certificates of clients, what is
//! refused, and a reload under open streams.

use std::process::Stdio;

use futures_util::{SinkExt as _, StreamExt as _, future::join_all};
use reqwest::{StatusCode, Version};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Command,
    time::{Duration, timeout},
};
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest as _};
use tonic::{client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};

use crate::{
    harness::{Client, eventually},
    support::{Certificates, Server, TlsSocket, free_ports},
};

/// Nothing a test waits for takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Settings of all servers here, with these over them.
fn settings(http: &Value, grpc: &Value) -> Value {
    json!({
        "http_server": http,
        "prometheus": {"enabled": true},
        "client": {"allow_anonymous_connect_without_token": true, "ping_interval": "300s"},
        "channel": {"without_namespace": {"allow_subscribe_for_client": true, "presence": true,
            "allow_subscribe_for_anonymous": true, "allow_presence_for_subscriber": true}},
        "centripetal": {"grpc": grpc},
    })
}

fn tls(section: &Value) -> Value {
    json!({"tls": section})
}

/// A server and what its peers trust.
struct Scene {
    server: Server,
    certificates: Certificates,
}

impl Scene {
    /// HTTP, the stream and the server API over TLS.
    async fn new(verifying: bool) -> Self {
        let certificates = Certificates::new();
        let section = if verifying {
            certificates.verifying()
        } else {
            certificates.settings()
        };
        let mut settings = settings(&tls(&section), &tls(&section));
        settings["grpc_api"] = tls(&section);
        let server = certificates.start(settings).await;
        Self {
            server,
            certificates,
        }
    }

    fn https(&self, own: bool) -> reqwest::Client {
        self.certificates.http(own).build().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.server.http_target())
    }

    async fn publish(&self, data: &Value) {
        let request = self.https(true).post(self.url("/api/publish"));
        let body = json!({"channel": "news", "data": data}).to_string();
        let request = request.header("x-api-key", Server::API_KEY).body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.text().await.unwrap().contains("result"));
    }

    async fn page(&self) -> Page {
        Page::open(&self.certificates, &self.server.http_target(), &[])
            .await
            .unwrap()
    }

    /// A stream that has subscribed.
    async fn stream(&self, channel: &Channel) -> Client {
        let mut stream = Client::stream(channel, &[]).await.unwrap();
        stream.connect(json!({})).await;
        stream.subscribe(json!({"channel": "news"})).await;
        stream
    }

    async fn channel(&self, target: &str) -> Channel {
        self.certificates.channel(target, true).await.unwrap()
    }

    /// A counter of refused connections.
    async fn refused(&self, metric: &str, listener: &str, reason: &str) -> u64 {
        let answer = self.https(true).get(self.url("/metrics")).send().await;
        let text = answer.unwrap().text().await.unwrap();
        let series =
            format!("centripetal_{metric}{{listener=\"{listener}\",reason=\"{reason}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&series));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until handshakes failed so often.
    async fn failed(&self, listener: &str, reason: &str, times: u64) {
        let metric = "tls_handshake_errors_total";
        let what = format!("{times} times {reason} at {listener}");
        eventually(&what, || async {
            self.refused(metric, listener, reason).await >= times
        })
        .await;
        assert_eq!(
            self.refused(metric, listener, reason).await,
            times,
            "{what}"
        );
    }
}

/// A browser, as far as the wire is concerned.
struct Page(TlsSocket);

impl Page {
    /// Opens a connection with these headers, connects and subscribes.
    async fn open(
        certificates: &Certificates,
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("wss://{target}/connection/websocket").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let mut page = Self(certificates.websocket(request, true).await?);
        page.call(json!({"id": 1, "connect": {}})).await;
        page.call(json!({"id": 2, "subscribe": {"channel": "news"}}))
            .await;
        Ok(page)
    }

    async fn call(&mut self, command: Value) -> Value {
        let text = command.to_string();
        self.0.send(Message::text(text)).await.unwrap();
        let reply = self.next().await;
        assert!(reply["error"].is_null(), "{reply}");
        reply
    }

    async fn next(&mut self) -> Value {
        let message = timeout(PATIENCE, self.0.next()).await.unwrap();
        serde_json::from_str(message.unwrap().unwrap().to_text().unwrap()).unwrap()
    }

    async fn heard(&mut self) -> Value {
        self.next().await["push"]["pub"]["data"].clone()
    }
}

async fn heard(stream: &mut Client) -> Value {
    stream.push().await["pub"]["data"].clone()
}

/// Asks the server API over gRPC.
async fn info(channel: &Channel) -> Result<(), tonic::Status> {
    let mut client = Grpc::new(channel.clone());
    client
        .ready()
        .await
        .map_err(|error| tonic::Status::unknown(error.to_string()))?;
    let mut request = tonic::Request::new(());
    let key = format!("apikey {}", Server::API_KEY).parse().unwrap();
    request.metadata_mut().insert("authorization", key);
    let path = PathAndQuery::from_static("/centrifugal.centrifugo.api.CentrifugoApi/Info");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.unary(request, path, codec).await.map(drop)
}

#[tokio::test]
async fn every_listener_speaks_tls() {
    let scene = Scene::new(false).await;
    let channel = scene.channel(&scene.server.grpc_target()).await;
    let (mut stream, mut page) = (scene.stream(&channel).await, scene.page().await);
    scene.publish(&json!("over TLS")).await;
    assert_eq!(heard(&mut stream).await, "over TLS");
    assert_eq!(page.heard().await, "over TLS");
    let api = scene.channel(&scene.server.grpc_api_target()).await;
    info(&api).await.unwrap();
    // Plain HTTP finds nobody, and is counted.
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/health", scene.server.http_target());
    assert!(plain.get(url).send().await.is_err());
    scene.failed("http", "malformed", 1).await;
}

#[tokio::test]
async fn protocols_are_agreed_upon_in_the_handshake() {
    let scene = Scene::new(false).await;
    let health = scene.url("/health");
    let answer = scene.https(false).get(&health).send().await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    let one = scene.certificates.http(false).http1_only().build().unwrap();
    let answer = one.get(&health).send().await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_11);
    // Origins are looked at whatever is spoken.
    let page = |origin| {
        let (certificates, target) = (&scene.certificates, scene.server.http_target());
        async move { Page::open(certificates, &target, &[("origin", origin)]).await }
    };
    let Err(tungstenite::Error::Http(answer)) = page("https://evil.example").await else {
        panic!("not refused");
    };
    assert_eq!(answer.status(), 403);
    let grpc = scene.server.grpc_target();
    let offer = async |protocols: &[&[u8]]| scene.certificates.connect(&grpc, protocols).await;
    let stream = offer(&[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert!(offer(&[b"http/1.1"]).await.is_err());
    scene.failed("grpc", "protocol", 1).await;
}

#[tokio::test]
async fn a_shared_port_is_told_apart_by_the_handshake() {
    let certificates = Certificates::new();
    let section = certificates.settings();
    let settings = settings(&tls(&section), &json!({"shared": true}));
    let server = certificates.start(settings).await;
    let scene = Scene {
        server,
        certificates,
    };
    let channel = scene.channel(&scene.server.http_target()).await;
    let (mut stream, mut page) = (scene.stream(&channel).await, scene.page().await);
    scene.publish(&json!("one port")).await;
    assert_eq!(heard(&mut stream).await, "one port");
    assert_eq!(page.heard().await, "one port");
}

#[tokio::test]
async fn operators_may_have_other_tls_or_none() {
    let certificates = Certificates::new();
    let [internal] = free_ports();
    let outside = |internal_tls: Value| {
        let http = json!({"internal_port": internal.to_string(), "tls_external": true,
            "tls": certificates.settings(), "internal_tls": internal_tls});
        settings(&http, &json!({}))
    };
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    let answers = async |client: &reqwest::Client, url: String| {
        let answer = client.get(url).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    let url = |scheme: &str| format!("{scheme}://127.0.0.1:{internal}/health");
    let server = Server::start_asked(outside(json!({})), async |_| {
        answers(&plain, url("http")).await
    })
    .await;
    let target = server.http_target();
    Page::open(&certificates, &target, &[]).await.unwrap();
    drop(server);
    let verified = certificates.http(true).build().unwrap();
    let server = Server::start_asked(outside(certificates.verifying()), async |_| {
        answers(&verified, url("https")).await
    })
    .await;
    let nobody = certificates.http(false).build().unwrap();
    assert!(!answers(&nobody, url("https")).await, "without certificate");
    assert!(!answers(&plain, url("http")).await);
    let target = server.http_target();
    Page::open(&certificates, &target, &[]).await.unwrap();
}

#[tokio::test]
async fn certificates_of_clients_are_required() {
    let scene = Scene::new(true).await;
    let grpc = scene.server.grpc_target();
    let channel = scene.channel(&grpc).await;
    let mut stream = scene.stream(&channel).await;
    let mut page = scene.page().await;
    scene.publish(&json!("verified")).await;
    assert_eq!(heard(&mut stream).await, "verified");
    assert_eq!(page.heard().await, "verified");
    info(&scene.channel(&scene.server.grpc_api_target()).await)
        .await
        .unwrap();
    let nobody = scene.https(false).get(scene.url("/health")).send().await;
    assert!(nobody.is_err());
    scene.failed("http", "certificate", 1).await;
    for (target, listener) in [(grpc, "grpc"), (scene.server.grpc_api_target(), "grpc_api")] {
        // In TLS 1.3 the refusal comes after the client is done, so the first call tells.
        let refused = match scene.certificates.channel(&target, false).await {
            Err(_) => true,
            Ok(channel) => info(&channel).await.is_err(),
        };
        assert!(refused, "{listener}");
        let refused = || scene.refused("tls_handshake_errors_total", listener, "certificate");
        eventually("it is counted", || async { refused().await >= 1 }).await;
    }
}

/// A greeting of TLS 1.1: version, random, no session, one cipher suite, no compression.
fn old_greeting() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test]
async fn who_does_not_shake_hands_is_refused_and_counted() {
    let certificates = Certificates::new();
    let section = certificates.settings();
    let mut settings = settings(&tls(&section), &tls(&section));
    settings["client"]["stale_close_delay"] = json!("1s");
    let server = certificates.start(settings).await;
    let scene = Scene {
        server,
        certificates,
    };
    let target = scene.server.grpc_target();
    let say = async |bytes: &[u8]| {
        let mut socket = TcpStream::connect(&target).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, socket.read_to_end(&mut answer));
        // A reset ends it as well.
        drop(read.await.unwrap());
        answer
    };
    let answer = say(&old_greeting()).await;
    assert_eq!(
        (answer.len(), answer[0], answer[5]),
        (7, 21, 2),
        "a fatal alert: {answer:?}"
    );
    scene.failed("grpc", "version", 1).await;
    say(b"GET / HTTP/1.1\r\n\r\n").await;
    say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    scene.failed("grpc", "malformed", 2).await;
    // Half a greeting, and none at all: the clock ends both, and nobody else waits for it.
    let half = old_greeting();
    let (first, second, ()) = tokio::join!(say(&half[..9]), say(b""), async {
        let channel = scene.channel(&target).await;
        scene.stream(&channel).await;
    });
    assert!(first.is_empty() && second.is_empty());
    scene.failed("grpc", "timeout", 2).await;
    drop(TcpStream::connect(&target).await.unwrap());
    scene.failed("grpc", "closed", 1).await;
    // A client that does not trust the certificate says so.
    let stranger = Certificates::new();
    assert!(stranger.connect(&target, &[]).await.is_err());
    scene.failed("grpc", "alert", 1).await;
}

/// Waits until the log has this many lines with this text.
async fn logged(server: &Server, text: &str, times: usize) -> String {
    let lines = || {
        server
            .log()
            .lines()
            .filter(|line| line.contains(text))
            .count()
    };
    eventually(&format!("{times} times {text}"), || async {
        lines() >= times
    })
    .await;
    let log = server.log();
    let last = log.lines().rfind(|line| line.contains(text));
    last.unwrap().to_owned()
}

#[tokio::test]
async fn a_reload_cuts_no_stream() {
    const CONNECTIONS: usize = 10;
    const STREAMS: usize = 20;
    let scene = Scene::new(false).await;
    let (http, grpc) = (scene.server.http_target(), scene.server.grpc_target());
    let channels = join_all((0..CONNECTIONS).map(|_| scene.channel(&grpc))).await;
    let streams = channels.iter().cycle().take(CONNECTIONS * STREAMS);
    let mut streams = join_all(streams.map(|channel| scene.stream(channel))).await;
    let mut pages = join_all((0..5).map(|_| scene.page())).await;
    let everybody = async |streams: &mut [Client], pages: &mut [Page], word: &str| {
        scene.publish(&json!(word)).await;
        let streams = join_all(streams.iter_mut().map(heard)).await;
        let pages = join_all(pages.iter_mut().map(Page::heard)).await;
        assert!(
            streams.iter().chain(&pages).all(|heard| heard == word),
            "{word}"
        );
    };
    let old = scene.certificates.server();
    everybody(&mut streams, &mut pages, "before").await;

    scene.certificates.renew();
    let new = scene.certificates.server();
    assert_ne!(old, new);
    assert_eq!(
        scene.certificates.shown(&grpc).await,
        old,
        "not before it is told"
    );
    scene.server.hang_up();
    logged(&scene.server, "configuration successfully reloaded", 1).await;
    everybody(&mut streams, &mut pages, "after").await;
    for target in [&http, &grpc, &scene.server.grpc_api_target()] {
        assert_eq!(scene.certificates.shown(target).await, new, "{target}");
    }

    // A certificate without its key, then none at all: nothing changes.
    let stranger = Certificates::new();
    std::fs::copy(
        stranger.path("server.key"),
        scene.certificates.path("server.key"),
    )
    .unwrap();
    scene.server.hang_up();
    let line = logged(&scene.server, "\"level\":\"error\"", 1).await;
    assert!(line.contains("http_server.tls.key_pem"), "{line}");
    assert_eq!(scene.certificates.shown(&grpc).await, new);
    std::fs::write(scene.certificates.path("server.pem"), "broken").unwrap();
    scene.server.hang_up();
    let line = logged(&scene.server, "\"level\":\"error\"", 2).await;
    assert!(line.contains("http_server.tls.cert_pem"), "{line}");
    for target in [&http, &grpc, &scene.server.grpc_api_target()] {
        assert_eq!(scene.certificates.shown(target).await, new, "{target}");
    }
    everybody(&mut streams, &mut pages, "still").await;
    let log = scene.server.log();
    let reloaded = log.matches("configuration successfully reloaded").count();
    assert_eq!(reloaded, 1);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_loaded_stops_the_start() {
    let [certificates, other] = [Certificates::new(), Certificates::new()];
    let mut section = certificates.settings();
    section["key_pem"] = json!(other.path("server.key"));
    let file = certificates.path("config.json");
    let settings = settings(&json!({}), &tls(&section));
    std::fs::write(&file, settings.to_string()).unwrap();
    for command in [&[][..], &["checkconfig"]] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_centripetal"));
        program.args(command).arg("--config").arg(&file);
        let ended = timeout(PATIENCE, program.kill_on_drop(true).output()).await;
        let ended = ended.unwrap().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr) + String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.code(), Some(1), "{told}");
        assert!(
            told.contains("in centripetal.grpc.tls.key_pem: the key does not belong"),
            "{told}"
        );
    }
}

/// Who the server thinks a connected and subscribed client is.
async fn user(client: &mut Client) -> Value {
    client.subscribe(json!({"channel": "news"})).await;
    let reply = client.call(json!({"presence": {"channel": "news"}})).await;
    reply["presence"]["presence"][&client.id]["user"].clone()
}

#[tokio::test]
async fn a_certificate_names_its_user() {
    let certificates = Certificates::new();
    for (identity, name) in [
        ("san_uri", "spiffe://centripetal.dev/service"),
        ("san_dns", "service"),
        ("common_name", "service"),
    ] {
        let grpc = json!({"tls": certificates.verifying(), "identity": identity,
            "require_credentials": true});
        let mut settings = settings(&tls(&certificates.verifying()), &grpc);
        settings["client"]["allow_anonymous_connect_without_token"] = json!(false);
        let server = certificates.start(settings).await;
        let target = server.grpc_target();
        let channel = certificates.channel(&target, true).await.unwrap();
        let open = async |headers: &[(&'static str, &str)]| {
            Client::stream(&channel, headers).await.unwrap()
        };
        let mut service = open(&[]).await;
        let reply = service.connect(json!({})).await;
        assert!(reply["connect"]["expires"].is_null(), "{reply}");
        assert_eq!(user(&mut service).await, name);
        // A token wins, in either place; a wrong one is no way back to the certificate.
        let token = Server::token(&json!({"sub": "alice"}));
        let mut alice = open(&[]).await;
        alice.connect(json!({"token": token})).await;
        assert_eq!(user(&mut alice).await, "alice");
        let bearer = format!("Bearer {token}");
        let mut alice = open(&[("authorization", &bearer)]).await;
        alice.connect(json!({})).await;
        assert_eq!(user(&mut alice).await, "alice");
        let mut wrong = open(&[]).await;
        wrong.request(json!({"connect": {"token": "wrong"}})).await;
        assert_eq!(wrong.close().await.code, 3500);
        let refused = Client::stream(&channel, &[("authorization", "Bearer wrong")]).await;
        assert_eq!(refused.unwrap_err().code, 3500);
        let mut both = open(&[("authorization", &bearer)]).await;
        both.request(json!({"connect": {"token": token}})).await;
        assert_eq!(both.close().await.code, 3501);
        // The WebSocket upgrade has the same rows.
        let mut page = Page::open(&certificates, &server.http_target(), &[])
            .await
            .unwrap();
        let reply = page
            .call(json!({"id": 3, "presence": {"channel": "news"}}))
            .await;
        let found = reply["presence"]["presence"].as_object().unwrap().values();
        assert!(
            found.map(|info| &info["user"]).any(|user| user == name),
            "{reply}"
        );
    }
}

#[tokio::test]
async fn the_commands_speak_tls() {
    let scene = Scene::new(false).await;
    let authority = scene.certificates.path("ca.pem");
    for url in [
        format!("grpcs://{}", scene.server.grpc_target()),
        format!("wss://{}", scene.server.http_target()),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_centripetal"));
        program.args(["sub", "news", "--json", "--url", &url, "--ca-file"]);
        let mut sub = program
            .arg(&authority)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut statuses = BufReader::new(sub.stderr.take().unwrap()).lines();
        let mut messages = BufReader::new(sub.stdout.take().unwrap()).lines();
        loop {
            let line = timeout(PATIENCE, statuses.next_line()).await.unwrap();
            let line = line.unwrap().expect("it runs");
            if line.contains("subscribed") {
                break;
            }
        }
        scene.publish(&json!(url)).await;
        let line = timeout(PATIENCE, messages.next_line()).await.unwrap();
        let line = line.unwrap().expect("it runs");
        assert!(line.contains(&url), "{line}");
    }
    let mut healthcheck = Command::new(env!("CARGO_BIN_EXE_centripetal"));
    healthcheck
        .arg("healthcheck")
        .current_dir(scene.server.folder());
    let ended = healthcheck.output().await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[tokio::test]
async fn bearer_values_on_plain_listeners_are_warned_of() {
    let certificates = Certificates::new();
    let on = tls(&certificates.settings());
    for (grpc, warned) in [
        (on.clone(), 0),
        (json!({}), 1),
        (json!({"enabled": false}), 0),
    ] {
        let mut settings = settings(&on, &grpc);
        settings["http_server"]["address"] = json!("0.0.0.0");
        settings["centripetal"]["grpc"]["address"] = json!("0.0.0.0");
        settings["client"]["hmac_credentials"] =
            json!({"enabled": true, "secret_key": "bearer values want a secret of their own"});
        let server = certificates.start(settings).await;
        let log = server.log();
        let lines = log.matches("HMAC credentials on a listener without TLS");
        assert_eq!(lines.count(), warned, "{log}");
    }
}

#[tokio::test]
async fn http_2_without_tls_is_an_option_of_the_external_listener() {
    let [internal] = free_ports();
    let http = json!({"internal_port": internal.to_string(), "h2c_external": true});
    let mut settings = settings(&http, &json!({}));
    settings["init"] = json!({"enabled": true});
    let two = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge();
    let [one, two] = [reqwest::Client::builder().no_proxy(), two].map(|it| it.build().unwrap());
    let health = format!("http://127.0.0.1:{internal}/health");
    let server = Server::start_asked(settings, async |_| one.get(&health).send().await.is_ok());
    let server = server.await;
    let init = format!("http://{}/connection/init", server.http_target());
    for (client, version) in [(&one, Version::HTTP_11), (&two, Version::HTTP_2)] {
        let answer = client.get(&init).send().await.unwrap();
        assert_eq!(
            (answer.status(), answer.version()),
            (StatusCode::OK, version)
        );
    }
    assert!(
        two.get(&health).send().await.is_err(),
        "operators have HTTP/1"
    );
}
