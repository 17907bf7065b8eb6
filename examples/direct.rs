//! The least a proxied call can cost: a bare client, HTTP by hyper or gRPC by tonic, that asks a backend by itself.
//!
//! `benches/proxy.py` runs it beside the gateway, so that the ratio between the two is taken in one run:
//!
//! ```text
//! cargo run --release --example backend -- 127.0.0.1:3000
//! cargo run --release --example direct -- http://127.0.0.1:3000/rpc 16 50000
//! cargo run --release --example direct -- grpc://127.0.0.1:3000 16 50000
//! ```
//!
//! Prints one JSON object: calls a second, percentiles of the time for a call, and the CPU time of this program for each.
#![expect(
    clippy::print_stdout,
    reason = "a program that prints what it measured"
)]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]

use std::{
    env,
    fs::read_to_string,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};
use tonic::transport::{Channel, Endpoint};

mod pb {
    #![expect(
        unreachable_pub,
        clippy::allow_attributes,
        clippy::too_many_lines,
        clippy::allow_attributes_without_reason,
        clippy::use_self,
        reason = "generated code"
    )]
    #![allow(dead_code, reason = "one call of many")]

    tonic::include_proto!("centrifugal.centrifugo.proxy");
}

use pb::centrifugo_proxy_client::CentrifugoProxyClient;

/// A clock tick of `/proc/self/stat`, in microseconds.
const TICK: f64 = 10_000.0;
/// What a gateway says of a client, so that questions are of the same size.
const CLIENT: &str = "8f2c9f7e-4ad6-4b0e-9f13-0d7f0a4a7c11";

/// One kept-alive way to the backend.
#[derive(Clone)]
enum Way {
    Http(Client<HttpConnector, Full<Bytes>>, String),
    Grpc(CentrifugoProxyClient<Channel>),
}

#[tokio::main]
async fn main() {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap();
    let mut number = |or| arguments.next().map_or(or, |text| text.parse().unwrap());
    let (clients, calls): (usize, usize) = (number(16), number(50_000));
    let payload: Arc<str> = json!({"text": "x".repeat(number(120) - 11)})
        .to_string()
        .into();

    let way = open(&address).await;
    let next = Arc::new(AtomicUsize::new(0));
    let (start, before, mut tasks) = (Instant::now(), cpu(), JoinSet::new());
    for _ in 0..clients {
        let (way, payload, next) = (way.clone(), payload.clone(), next.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            while next.fetch_add(1, Relaxed) < calls {
                let start = Instant::now();
                call(&way, &payload).await;
                times.push(start.elapsed());
            }
            times
        });
    }
    let mut times: Vec<Duration> = tasks.join_all().await.concat();
    times.sort_unstable();
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu() - before);
    let at = |part: usize| 1000.0 * times[(times.len() - 1) * part / 100].as_secs_f64();
    let report = json!({
        "count": times.len(),
        "per_second": times.len() as f64 / seconds,
        "latency_ms": {"p50": at(50), "p99": at(99)},
        "cpu_us": cpu * TICK / times.len() as f64,
    });
    println!("{report}");
}

async fn open(address: &str) -> Way {
    if let Some(host) = address.strip_prefix("grpc://") {
        let endpoint = Endpoint::from_shared(format!("http://{host}")).unwrap();
        let channel = endpoint.tcp_nodelay(true).connect().await.unwrap();
        return Way::Grpc(CentrifugoProxyClient::new(channel));
    }
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    Way::Http(client, address.to_owned())
}

/// Asks once and looks at the answer, whatever the way.
async fn call(way: &Way, payload: &str) {
    match way {
        Way::Http(client, address) => {
            let body = format!(
                r#"{{"client":"{CLIENT}","transport":"websocket","protocol":"json","encoding":"json","user":"","method":"echo","data":{payload}}}"#
            );
            let request = Request::post(address).header(CONTENT_TYPE, "application/json");
            let request = request.body(Full::new(Bytes::from(body))).unwrap();
            let response = client.request(request).await.unwrap();
            assert!(response.status().is_success());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.starts_with(b"{\"result\""));
        }
        Way::Grpc(client) => {
            let request = pb::RpcRequest {
                client: CLIENT.to_owned(),
                transport: "websocket".to_owned(),
                protocol: "json".to_owned(),
                encoding: "json".to_owned(),
                method: "echo".to_owned(),
                data: payload.as_bytes().to_vec().into(),
                ..pb::RpcRequest::default()
            };
            let response = client.clone().rpc(request).await.unwrap().into_inner();
            assert!(response.result.is_some());
        }
    }
}

/// Clock ticks this program has used so far, by user and system.
fn cpu() -> f64 {
    let stat = read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
    fields
        .take(2)
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum()
}
