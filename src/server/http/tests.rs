//! Connections as a raw peer sees them.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::transport::{Tasks, Unending, testing};

struct Server {
    address: SocketAddr,
    registry: Registry,
    metrics: Metrics,
    stop: CancellationToken,
    tasks: Tasks,
}

async fn start(shared: bool) -> Server {
    start_with((shared, false)).await
}

async fn start_with((shared, h2c): (bool, bool)) -> Server {
    let mut paths = Paths::default();
    let echo = Router::new().fallback(|body: String| async move { body });
    paths.exact("echo", "/echo", echo).unwrap();
    paths
        .tree("tree", "/tree", Router::new().fallback(|| async { "tree" }))
        .unwrap();
    let unending = Router::new().fallback(|body: String| async move {
        let mut response = Response::new(Body::from(body));
        response.extensions_mut().insert(Unending);
        response
    });
    paths.exact("unending", "/unending", unending).unwrap();
    let registry = Registry::new();
    let metrics = Metrics::new(&registry, "centrifugo", true).unwrap();
    let site = Arc::new(Site {
        paths,
        h2c,
        grpc: shared.then(|| Router::new().fallback(|| async { "grpc" })),
        patience: Duration::from_secs(1),
        http2: Http2::new(&testing::grpc_config(), &metrics),
        metrics: metrics.clone(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, tasks) = (CancellationToken::new(), Tasks::default());
    let (token, owner) = (stop.clone(), tasks.clone());
    tasks.spawn(async move {
        while let Some(accepted) = token.run_until_cancelled(listener.accept()).await {
            let (socket, remote) = accepted.unwrap();
            owner.spawn(serve(
                socket,
                Arrival::plain(remote),
                site.clone(),
                owner.clone(),
                token.clone(),
            ));
        }
    });
    Server {
        address,
        registry,
        metrics,
        stop,
        tasks,
    }
}

impl Server {
    fn too_large(&self) -> u64 {
        self.metrics.too_large.get()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything a peer hears that says this and closes its half.
    async fn ask(&self, request: &str) -> String {
        let mut socket = self.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let head = "Connection: close\r\n";
        assert!(
            request.contains(head) || request.len() > 10_000,
            "would not end"
        );
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn unknown_paths_are_404_whatever_the_method() {
    let server = start(false).await;
    for method in ["GET", "POST", "OPTIONS", "BREW"] {
        let answer = server
            .ask(&format!(
                "{method} /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; charset=utf-8\r\n"));
        assert!(answer.contains("x-content-type-options: nosniff\r\n"));
        assert!(answer.contains("content-length: 19\r\n"));
        assert!(answer.ends_with("\r\n\r\n404 page not found\n"));
    }
    let answer = server
        .ask("GET /tree HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 307 ") && answer.contains("location: /tree/\r\n"));
}

#[tokio::test]
async fn a_header_block_above_16_kib_is_431() {
    for shared in [false, true] {
        let server = start(shared).await;
        let request = |size: usize| {
            let filler = "x".repeat(size);
            format!("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: {filler}\r\n\r\n")
        };
        let answer = server.ask(&request(15_000)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(server.too_large(), 0);
        let answer = server.ask(&request(17_000)).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{shared} {answer}");
        // It is counted once the connection has ended.
        server.stop.cancel();
        server.tasks.finished().await;
        assert_eq!(server.too_large(), 1, "{shared}");
    }
}

#[tokio::test]
async fn bodies_may_be_larger_than_headers() {
    let server = start(false).await;
    let body = "y".repeat(1_000_000);
    let answer = server
        .ask(&format!(
            "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert!(answer.ends_with(&body));
}

#[tokio::test]
async fn what_never_ends_is_sent_without_hyper_and_then_closed() {
    for shared in [false, true] {
        let server = start(shared).await;
        let body = "z".repeat(100_000);
        let mut socket = server.connect().await;
        // A request before it is nothing special.
        for (version, end) in [(1, "\r\n0\r\n\r\n"), (0, "")] {
            let request = format!(
                "POST /unending HTTP/1.{version}\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let first = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
            socket.write_all(first.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\nhi") {
                assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0);
            }
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            assert!(
                answer.ends_with(&format!("{body}{end}")),
                "{shared} {version}"
            );
            let chunked = answer.contains("\r\ntransfer-encoding: chunked\r\n");
            assert_eq!(chunked, version == 1);
            socket = server.connect().await;
        }
    }
}

#[tokio::test]
async fn half_a_request_is_not_waited_for_for_ever() {
    for shared in [false, true] {
        let server = start(shared).await;
        for half in ["", "GET /ec", "GET /echo HTTP/1.1\r\nHost: x\r\n"] {
            let mut socket = server.connect().await;
            socket.write_all(half.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let start = Instant::now();
            let end = socket.read_to_end(&mut answer).await;
            assert!(end.is_err() || answer.is_empty(), "{half}");
            assert!(start.elapsed() < Duration::from_secs(3));
        }
    }
}

#[tokio::test]
async fn a_connection_that_asked_once_may_rest() {
    let server = start(false).await;
    let mut socket = server.connect().await;
    for _ in 0..2 {
        socket
            .write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nhi") {
            assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0);
        }
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    // Told to stop, it ends at once, since nothing is under way.
    server.stop.cancel();
    assert_eq!(socket.read(&mut [0; 16]).await.unwrap(), 0);
    server.tasks.finished().await;
}

#[tokio::test]
async fn requests_with_a_handler_are_counted_by_pattern() {
    let server = start(false).await;
    for request in [
        "POST /echo",
        "GET /tree/a",
        "GET /tree/b",
        "BREW /tree/c",
        "GET /nowhere",
    ] {
        server
            .ask(&format!(
                "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            ))
            .await;
    }
    let families = server.registry.gather();
    let requests = families
        .iter()
        .find(|family| family.name().ends_with("http_requests_total"));
    let mut counted: Vec<_> = requests
        .unwrap()
        .get_metric()
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric
                .get_label()
                .iter()
                .map(|label| label.value().to_owned())
                .collect();
            (labels.join(" "), metric.get_counter().get_value())
        })
        .collect();
    counted.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        counted,
        [
            ("GET /tree/ 200".to_owned(), 2.0),
            ("POST /echo 200".to_owned(), 1.0),
            ("UNKNOWN /tree/ 200".to_owned(), 1.0)
        ]
    );
}

#[tokio::test]
async fn grpc_on_the_shared_port_is_told_by_its_content_type() {
    let grpc = "Content-Type: application/grpc\r\n";
    for (shared, header, status, body) in [
        (true, grpc, " 200 ", "grpc"),
        (true, "", " 404 ", "404 page not found\n"),
        (false, grpc, " 404 ", "404 page not found\n"),
    ] {
        let server = start(shared).await;
        let answer = server
            .ask(&format!(
                "POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n"
            ))
            .await;
        assert!(
            answer.contains(status) && answer.ends_with(body),
            "{answer}"
        );
    }
}

/// HEADERS of stream 1: GET http /echo of host x, end of stream.
const GET: &[u8] = b"\x00\x00\x0c\x01\x05\x00\x00\x00\x01\x82\x86\x44\x05/echo\x41\x01x";

#[tokio::test]
async fn http_2_without_tls_is_an_option() {
    for (shared, h2c, answered) in [
        (false, false, false),
        (false, true, true),
        (true, false, true),
    ] {
        let server = start_with((shared, h2c)).await;
        let mut socket = server.connect().await;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let bytes = [&preface[..], &settings, GET].concat();
        socket.write_all(&bytes).await.unwrap();
        let mut first = [0; 4];
        let heard = socket.read_exact(&mut first).await.is_ok();
        // The fourth byte of an HTTP/2 frame is its kind: settings come first.
        assert_eq!(heard && first[3] == 4, answered, "{shared} {h2c}");
    }
}

#[test]
fn the_host_of_http_2_is_where_handlers_look_for_it() {
    let request = |version, host: Option<&str>| {
        let mut request = Request::get("https://gateway.example:8443/x");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let mut request = request.version(version).body(()).unwrap();
        name_host(&mut request);
        let host = request.headers().get(HOST);
        host.map(|host| host.to_str().unwrap().to_owned())
    };
    let named = Some("gateway.example:8443".to_owned());
    assert_eq!(request(Version::HTTP_2, None), named);
    let own = Some("own".to_owned());
    assert_eq!(request(Version::HTTP_2, Some("own")), own);
    assert_eq!(request(Version::HTTP_11, None), None);
}

#[test]
fn the_address_in_the_log_is_what_headers_say() {
    let remote = "1.2.3.4:5".parse().unwrap();
    let mut request = Request::new(());
    assert_eq!(address(&request, remote), "1.2.3.4:5");
    request
        .headers_mut()
        .insert("x-forwarded-for", "6.6.6.6".parse().unwrap());
    assert_eq!(address(&request, remote), "6.6.6.6");
    request
        .headers_mut()
        .insert("x-real-ip", "7.7.7.7".parse().unwrap());
    assert_eq!(address(&request, remote), "7.7.7.7");
}

#[tokio::test]
async fn a_connection_that_asked_nothing_does_not_hold_the_end_up() {
    for shared in [false, true] {
        let server = start(shared).await;
        let mut silent = server.connect().await;
        let mut half = server.connect().await;
        half.write_all(b"GET /echo HT").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.stop.cancel();
        let start = Instant::now();
        server.tasks.finished().await;
        assert!(start.elapsed() < Duration::from_millis(800));
        for socket in [&mut silent, &mut half] {
            assert!(matches!(socket.read(&mut [0; 16]).await, Ok(0) | Err(_)));
        }
    }
}
