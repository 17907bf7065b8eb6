//! Fan-out measured from outside: many WebSocket subscribers of one channel, paced publications through the server API.
//!
//! Prints how many deliveries were lost, doubled or out of order beside latency percentiles and the CPU time the server
//! spent per delivery. The server runs apart, on this machine only:
//!
//! ```text
//! cargo run --release -- dev                       # prints the key of the server API
//! cargo run --release --example fanout -- KEY [SUBSCRIBERS] [PUBLICATIONS] [PER_SECOND] [SERVER_PID]
//! ```
#![expect(clippy::print_stdout, reason = "a program that reports")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
    task::JoinSet,
    time::{Instant, interval, timeout},
};

const ADDRESS: &str = "127.0.0.1:8000";
const CHANNEL: &str = "fanout";
/// Longest silence; the first subscribers wait for the last one.
const QUIET: Duration = Duration::from_secs(20);

/// What one subscriber saw.
#[derive(Default)]
struct Seen {
    received: usize,
    doubled: usize,
    reordered: usize,
    latencies: Vec<Duration>,
}

struct Arguments {
    key: String,
    subscribers: usize,
    publications: usize,
    per_second: u32,
    server: Option<u32>,
}

fn arguments() -> Option<Arguments> {
    let mut given = std::env::args().skip(1);
    let key = given.next()?;
    let mut number = |default: usize| given.next().map_or(Some(default), |text| text.parse().ok());
    Some(Arguments {
        key,
        subscribers: number(1000)?,
        publications: number(200)?,
        per_second: u32::try_from(number(50)?).ok()?,
        server: u32::try_from(number(0)?).ok().filter(|pid| *pid > 0),
    })
}

#[tokio::main]
async fn main() {
    let Some(arguments) = arguments() else {
        println!("usage: fanout KEY [SUBSCRIBERS] [PUBLICATIONS] [PER_SECOND] [SERVER_PID]");
        return;
    };
    let (sent, mut readers) = (Arc::new(Mutex::new(Vec::new())), JoinSet::new());
    let started = Instant::now();
    for _ in 0..arguments.subscribers {
        let socket = subscribe().await;
        readers.spawn(read(socket, arguments.publications, Arc::clone(&sent)));
    }
    let setup = started.elapsed();
    println!("{} subscribers after {setup:.1?}", arguments.subscribers);
    let before = arguments.server.map(cpu_ticks);
    publish(&arguments, &sent).await;
    let mut all = Seen::default();
    while let Some(seen) = readers.join_next().await {
        let seen = seen.unwrap();
        all.received += seen.received;
        all.doubled += seen.doubled;
        all.reordered += seen.reordered;
        all.latencies.extend(seen.latencies);
    }
    report(&arguments, &mut all, before);
}

/// A socket that is connected and subscribed.
async fn subscribe() -> TcpStream {
    let mut socket = TcpStream::connect(ADDRESS).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let upgrade = format!(
        "GET /connection/websocket HTTP/1.1\r\nHost: {ADDRESS}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        heard.push(socket.read_u8().await.unwrap());
    }
    let commands = format!(
        "{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"{CHANNEL}\"}}}}"
    );
    socket
        .write_all(&masked(commands.as_bytes()))
        .await
        .unwrap();
    for _ in 0..2 {
        frame(&mut socket).await.unwrap();
    }
    socket
}

/// A text frame with a mask of zeros, which leaves the payload as it is.
fn masked(payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = if length < 126 {
        vec![0x81, 0x80 | length]
    } else {
        vec![0x81, 0x80 | 126, 0, length]
    };
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

async fn frame(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 2];
    socket.read_exact(&mut head).await?;
    let length = match head[1] {
        126 => usize::from(socket.read_u16().await?),
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    socket.read_exact(&mut payload).await?;
    Ok(payload)
}

/// Reads until everything has come, or nothing has for a while.
async fn read(mut socket: TcpStream, expected: usize, sent: Arc<Mutex<Vec<Instant>>>) -> Seen {
    let (mut seen, mut last) = (Seen::default(), None);
    while seen.received < expected {
        let Ok(Ok(payload)) = timeout(QUIET, frame(&mut socket)).await else {
            break;
        };
        let now = Instant::now();
        if payload == b"{}" {
            socket.write_all(&masked(b"{}")).await.unwrap();
            continue;
        }
        let message: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        let Some(number) = message["push"]["pub"]["data"]["n"].as_u64() else {
            continue;
        };
        match last {
            Some(last) if number == last => seen.doubled += 1,
            Some(last) if number < last => seen.reordered += 1,
            _ => seen.received += 1,
        }
        last = Some(number);
        let at = sent.lock().await[usize::try_from(number).unwrap()];
        seen.latencies.push(now - at);
    }
    seen
}

async fn publish(arguments: &Arguments, sent: &Mutex<Vec<Instant>>) {
    let client = reqwest::Client::new();
    let padding = "x".repeat(100);
    let mut tick = interval(Duration::from_secs(1) / arguments.per_second);
    for n in 0..arguments.publications {
        tick.tick().await;
        let body =
            format!("{{\"channel\":\"{CHANNEL}\",\"data\":{{\"n\":{n},\"p\":\"{padding}\"}}}}");
        sent.lock().await.push(Instant::now());
        let url = format!("http://{ADDRESS}/api/publish");
        let request = client
            .post(url)
            .header("X-API-Key", &arguments.key)
            .body(body);
        assert!(
            request.send().await.unwrap().status().is_success(),
            "is the key right?"
        );
    }
}

/// User and system time of a process, in ticks of 10 ms.
fn cpu_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn report(arguments: &Arguments, all: &mut Seen, before: Option<u64>) {
    let expected = arguments.subscribers * arguments.publications;
    let lost = expected - all.received;
    println!(
        "{expected} deliveries: {lost} lost, {} doubled, {} reordered",
        all.doubled, all.reordered
    );
    all.latencies.sort_unstable();
    let at = |part: usize| all.latencies.get(all.latencies.len() * part / 100);
    if let (Some(median), Some(slow)) = (at(50), at(99)) {
        println!("latency p50 {median:.1?}, p99 {slow:.1?}");
    }
    if let (Some(process), Some(before)) = (arguments.server, before) {
        let micros = (cpu_ticks(process) - before) * 10_000;
        let each = micros as f64 / expected as f64;
        println!("server CPU {each:.2} µs per delivery");
    }
}
