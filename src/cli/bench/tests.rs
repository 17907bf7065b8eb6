//! The measurement measured: a small server that loses, doubles and swaps messages on purpose.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

use super::*;

type Subscribers = Arc<Mutex<Vec<mpsc::Sender<String>>>>;

/// More than one run sends to a subscriber.
const QUEUE: usize = 100;

/// What the server does to the publication of this number: which of all so far it delivers now.
fn faults(number: usize) -> &'static [usize] {
    match number {
        3 | 7 => &[],
        5 => &[5, 5],
        8 => &[8, 7],
        _ => &[usize::MAX],
    }
}

async fn client(socket: TcpStream, subscribers: Subscribers, seen: Arc<Mutex<Vec<Value>>>) {
    let socket = tokio_tungstenite::accept_async(socket).await.unwrap();
    let (mut write, mut read) = socket.split();
    let (sender, mut frames) = mpsc::channel::<String>(QUEUE);
    loop {
        let text = tokio::select! {
            Some(frame) = frames.recv() => {
                if write.send(Message::text(frame)).await.is_err() {
                    return;
                }
                continue;
            }
            Some(Ok(message)) = read.next() => message.into_text().unwrap(),
            else => return,
        };
        let command: Value = serde_json::from_str(&text).unwrap();
        let id = &command["id"];
        let reply = if command["connect"].is_object() {
            json!({"id": id, "connect": {"client": "c", "version": "x"}})
        } else if command["subscribe"].is_object() {
            subscribers.lock().push(sender.clone());
            json!({"id": id, "subscribe": {}})
        } else {
            let mut seen = seen.lock();
            seen.push(command["publish"].clone());
            let last = seen.len() - 1;
            for which in faults(last) {
                let publication = &seen[(*which).min(last)];
                let (channel, data) = (&publication["channel"], &publication["data"]);
                let push = json!({"push": {"channel": channel, "pub": {"data": data}}});
                for subscriber in &*subscribers.lock() {
                    subscriber.try_send(push.to_string()).unwrap();
                }
            }
            json!({"id": id, "publish": {}})
        };
        sender.try_send(reply.to_string()).unwrap();
    }
}

/// Starts the server and measures it.
async fn measured(arguments: &[&str]) -> Result<Report, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (subscribers, seen) = (Subscribers::default(), Arc::default());
        let mut clients = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            clients.spawn(client(socket, subscribers.clone(), Arc::clone(&seen)));
        }
    });
    let fixed = [
        "bench", "fanout", "--url", &url, "--api", "client", "--rate", "0",
    ];
    let matches = plan::command().get_matches_from(fixed.iter().chain(arguments));
    measure(Arc::new(Run::new(Plan::from_matches(&matches)?))).await
}

#[tokio::test]
async fn what_a_server_loses_doubles_and_swaps_is_counted() {
    let report = measured(&["-n", "3", "-m", "20", "--quiet", "1"])
        .await
        .unwrap();
    let counted = report.counted.unwrap();
    let figures = (
        counted.expected,
        counted.lost,
        counted.doubled,
        counted.reordered,
    );
    assert_eq!(figures, (60, 3, 3, 3));
    assert!(report.lost());
    let (deliver, connect) = (report.deliver.unwrap(), report.connect.unwrap());
    assert_eq!((deliver.count, connect.count), (57, 3));
    assert!(deliver.latency_ms.is_some());
}

#[tokio::test]
async fn a_server_without_faults_loses_nothing() {
    let report = measured(&["-n", "2", "-m", "3"]).await.unwrap();
    assert_eq!(report.counted.unwrap().lost, 0);
    assert!(!report.lost());
}

#[tokio::test]
async fn nobody_there_is_an_error_with_a_reason() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", free.local_addr().unwrap());
    drop(free);
    let matches = plan::command().get_matches_from(["bench", "idle", "--url", &url, "-n", "1"]);
    let plan = Plan::from_matches(&matches).unwrap();
    let error = measure(Arc::new(Run::new(plan))).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot connect");
}

#[test]
fn every_mode_reads_its_flags() {
    plan::command().debug_assert();
    for mode in [
        "fanout", "channels", "idle", "connect", "rpc", "publish", "storm",
    ] {
        let matches = plan::command().get_matches_from(["bench", mode]);
        let plan = Plan::from_matches(&matches).unwrap();
        assert_eq!(plan.mode.name(), mode);
        assert!(plan.connections > 0);
    }
}

#[tokio::test]
async fn a_picture_is_written() {
    let latencies = count::Latencies::default();
    (1..1000_u64).for_each(|microseconds| latencies.add(microseconds * 1000));
    let file = std::env::temp_dir().join(format!("bench-{}.svg", uuid::Uuid::new_v4()));
    plot::draw(&file, "fanout", &latencies).unwrap();
    let picture = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(picture.contains("<polyline") && picture.contains("99.9 %"));
}
