//! The least a fan-out can cost: one thread, one finished frame, one plain `send` for each subscriber.
//!
//! Speaks just enough of the protocol for `centripetal bench`, so that the ratio of a real server to this floor is measured
//! by one tool in one run. Loses messages when a socket is full, knows no channels, serves nobody but a benchmark:
//!
//! ```text
//! cargo run --release --example floor -- 8900
//! centripetal bench fanout --url ws://127.0.0.1:8900 --api http://127.0.0.1:8900/api
//! ```
#![expect(clippy::print_stdout, reason = "a program that says where it listens")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde::Deserialize;
use serde_json::value::RawValue;

type Subscribers = Arc<Mutex<Vec<TcpStream>>>;

/// What the API call of a publication holds.
#[derive(Deserialize)]
struct Publish<'a> {
    channel: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn main() {
    let port = std::env::args()
        .nth(1)
        .map_or(0, |port| port.parse().unwrap());
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    println!("{}", listener.local_addr().unwrap());
    let subscribers = Subscribers::default();
    for socket in listener.incoming() {
        let (socket, subscribers) = (socket.unwrap(), subscribers.clone());
        socket.set_nodelay(true).unwrap();
        // A thread as long as it shakes hands, or for the connection that publishes.
        thread::spawn(move || serve(socket, &subscribers));
    }
}

fn serve(socket: TcpStream, subscribers: &Subscribers) {
    let mut reader = BufReader::new(socket);
    while let Some((first, length)) = head(&mut reader) {
        if first.starts_with("GET") {
            subscribe(reader, subscribers);
            return;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let publish: Publish<'_> = serde_json::from_slice(&body).unwrap();
        broadcast(&publish, subscribers);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"result\":{}}";
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

/// The first line of a request and the length of its body.
fn head(reader: &mut BufReader<TcpStream>) -> Option<(String, usize)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            return Some((first, length));
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
}

/// Answers the upgrade and the two commands of the benchmark, whose ids are 1 and 2.
fn subscribe(mut reader: BufReader<TcpStream>, subscribers: &Subscribers) {
    let upgrade =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    reader.get_mut().write_all(upgrade.as_bytes()).unwrap();
    for answer in [
        r#"{"id":1,"connect":{"client":"c"}}"#,
        r#"{"id":2,"subscribe":{}}"#,
    ] {
        let mut frame = [0; 2];
        reader.read_exact(&mut frame).unwrap();
        // Masked and short: 126 and above have two more bytes of length.
        let mut length = usize::from(frame[1] & 0x7f);
        if length == 126 {
            let mut long = [0; 2];
            reader.read_exact(&mut long).unwrap();
            length = usize::from(u16::from_be_bytes(long));
        }
        reader.read_exact(&mut vec![0; length + 4]).unwrap();
        reader.get_mut().write_all(&text(answer)).unwrap();
    }
    let socket = reader.into_inner();
    socket.set_nonblocking(true).unwrap();
    subscribers.lock().unwrap().push(socket);
}

/// The loop that is measured.
fn broadcast(publish: &Publish<'_>, subscribers: &Subscribers) {
    let Publish { channel, data } = publish;
    let frame = text(&format!(
        r#"{{"push":{{"channel":"{channel}","pub":{{"data":{data}}}}}}}"#
    ));
    subscribers
        .lock()
        .unwrap()
        .retain_mut(|socket| socket.write(&frame).is_ok());
}

/// A finished text frame of a server.
fn text(payload: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(payload.len()) {
        Ok(length @ ..126) => frame.push(length),
        _ => {
            frame.push(126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend(payload.as_bytes());
    frame
}
