//! The gRPC listener as a raw peer sees it.

use std::net::SocketAddr;

use prometheus::Registry;
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::*;
use crate::{
    server::http::Metrics,
    transport::{grpc::Config, testing},
};

/// A listener that answers `hello` to everything, and its address.
async fn start(max_connection_age: Duration) -> (SocketAddr, CancellationToken, Tasks) {
    let config = Config {
        max_connection_age,
        ..testing::grpc_config()
    };
    let metrics = Metrics::new(&Registry::new(), "centrifugo", false).unwrap();
    let site = Arc::new(GrpcSite {
        router: Router::new().fallback(|| async { "hello" }),
        http2: Http2::new(&config, &metrics),
        patience: Duration::from_millis(300),
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
    (address, stop, tasks)
}

/// Kinds of the frames a peer gets until the end or until one of this kind.
async fn kinds(socket: &mut TcpStream, until: u8) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while kinds.last() != Some(&until) && socket.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut payload).await.unwrap();
        kinds.push(head[3]);
    }
    kinds
}

const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
/// HEADERS of stream 1: GET http / of host x, end of stream.
const GET: [u8; 15] = *b"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01x";

#[tokio::test]
async fn other_protocols_get_the_door() {
    let (address, ..) = start(Duration::ZERO).await;
    for hello in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"PRI * HTTP/1.0\r\n",
        b"\x16\x03\x01",
    ] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(hello).await.unwrap();
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).await.unwrap();
        assert!(heard.is_empty());
    }
}

#[tokio::test]
async fn half_a_preface_is_not_waited_for_for_ever() {
    let (address, ..) = start(Duration::ZERO).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(&PREFACE[..10]).await.unwrap();
    let start = Instant::now();
    assert_eq!(socket.read(&mut [0; 9]).await.unwrap(), 0);
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_preface_in_pieces_is_a_preface() {
    let (address, stop, tasks) = start(Duration::ZERO).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    for byte in PREFACE {
        socket.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    socket.write_all(&EMPTY_SETTINGS).await.unwrap();
    assert_eq!(kinds(&mut socket, SETTINGS).await, [SETTINGS]);
    socket.write_all(&GET).await.unwrap();
    let data = kinds(&mut socket, 0).await;
    assert_eq!(data.last(), Some(&0), "{data:?}");
    stop.cancel();
    assert!(kinds(&mut socket, GOAWAY).await.contains(&GOAWAY));
    drop(socket);
    tasks.finished().await;
}

#[tokio::test]
async fn a_flood_of_resets_ends_with_goaway() {
    let (address, ..) = start(Duration::ZERO).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut bytes = [&PREFACE[..], &EMPTY_SETTINGS].concat();
    for stream in (1..4001_u32).step_by(2) {
        let mut open = GET;
        open[4] = 4;
        open[5..9].copy_from_slice(&stream.to_be_bytes());
        bytes.extend(open);
        bytes.extend([0, 0, 4, 3, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0, 0, 0, 8]);
    }
    let (mut read, mut write) = socket.split();
    let flood = async { write.write_all(&bytes).await.is_ok() };
    let mut heard = Vec::new();
    let hear = async { read.read_to_end(&mut heard).await.is_ok() };
    tokio::join!(flood, hear);
    let mut rest = &heard[..];
    let mut goaway = false;
    while let [a, b, c, kind, tail @ ..] = rest {
        goaway |= *kind == GOAWAY;
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        rest = tail.get(5 + length..).unwrap_or_default();
    }
    assert!(goaway);
    TcpStream::connect(address).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_sent_away() {
    let (address, ..) = start(Duration::from_secs(3600)).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket
        .write_all(&[&PREFACE[..], &EMPTY_SETTINGS].concat())
        .await
        .unwrap();
    let start = Instant::now();
    assert!(kinds(&mut socket, SETTINGS).await.contains(&SETTINGS));
    // Pings of the server are answered, so that only age ends the connection.
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut payload).await.unwrap();
        match head[3] {
            GOAWAY => break,
            6 if head[4] == 0 => {
                head[4] = 1;
                socket
                    .write_all(&[&head[..], &payload].concat())
                    .await
                    .unwrap();
            }
            _ => {}
        }
    }
    let age = start.elapsed().as_secs();
    assert!((3240..=3961).contains(&age), "{age}");
}
