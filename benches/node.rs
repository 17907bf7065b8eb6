//! A node without a network: what a publication costs by subscribers and wire forms, a command, a recovery.
//! `cargo bench --bench node`. One worker, so that times are CPU times.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be made ends")]

use centripetal::{
    model::{Channel, Encoding},
    node::HistoryQuery,
    protocol::frame::Framing,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};

mod support;

use support::Bench;

const JSON: (Encoding, Framing) = (Encoding::Json, Framing::WebSocket);
const PROTOBUF: (Encoding, Framing) = (Encoding::Protobuf, Framing::WebSocket);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// From the publish call until every link was given the frame: engine, events, hub, mailboxes, sessions, links.
fn broadcast(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish to all");
    group.sample_size(20);
    for (forms, name) in [
        (&[JSON][..], "1 wire form"),
        (&[JSON, PROTOBUF][..], "2 wire forms"),
    ] {
        for subscribers in [1_usize, 10, 100, 1000, 10_000] {
            let runtime = runtime();
            let (bench, _senders) = runtime.block_on(async {
                let bench = Bench::start();
                let senders = bench.subscribers(subscribers, forms).await;
                (bench, senders)
            });
            group.throughput(Throughput::Elements(subscribers as u64));
            group.bench_function(BenchmarkId::new(name, subscribers), |b| {
                b.iter(|| {
                    runtime.block_on(async {
                        let before = bench.seen.frames();
                        bench.publish().await;
                        bench.seen.wait(before, subscribers).await;
                    });
                });
            });
        }
    }
    group.finish();
}

/// From the frame with the command until its reply is written.
fn command(c: &mut Criterion) {
    let mut group = c.benchmark_group("command to reply");
    for (name, command) in [
        (
            "publish",
            format!(
                r#"{{"id":3,"publish":{{"channel":"other","data":{}}}}}"#,
                support::PAYLOAD
            ),
        ),
        (
            "history, position only",
            r#"{"id":3,"history":{"channel":"bench"}}"#.to_owned(),
        ),
    ] {
        let runtime = runtime();
        let (bench, senders) = runtime.block_on(async {
            let bench = Bench::start();
            let senders = bench.subscribers(1, &[JSON]).await;
            (bench, senders)
        });
        let command = bytes::Bytes::from(command);
        group.bench_function(name, |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let before = bench.seen.frames();
                    senders[0].send(command.clone()).await.unwrap();
                    bench.seen.wait(before, 1).await;
                });
            });
        });
    }
    group.finish();
}

/// From connecting until the reply with so many missed publications is written; the connection ends with it.
fn recovery(c: &mut Criterion) {
    let mut group = c.benchmark_group("connect and recover");
    for missed in [0_u64, 10, 100, 300] {
        let runtime = runtime();
        let (bench, epoch) = runtime.block_on(async {
            let bench = Bench::start();
            for _ in 0..300 {
                bench.publish().await;
            }
            let query = HistoryQuery {
                limit: Some(0),
                ..HistoryQuery::default()
            };
            let history = bench
                .node
                .history(&Channel::from("bench"), query)
                .await
                .unwrap();
            (bench, history.position.epoch)
        });
        let hello = support::recover(&epoch, 300 - missed);
        group.throughput(Throughput::Elements(missed.max(1)));
        group.bench_function(BenchmarkId::from_parameter(missed), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let before = bench.seen.frames();
                    let sender = bench.connect(JSON.0, JSON.1);
                    sender.send(hello.clone()).await.unwrap();
                    bench.seen.wait(before, 2).await;
                });
            });
        });
    }
    group.finish();
}

/// 10,000 subscribers who share so many filters, and one without. What nobody else wants costs the filters; what one filter wants, its
/// subscribers, too.
fn filters(c: &mut Criterion) {
    const SUBSCRIBERS: usize = 10_000;
    let mut group = c.benchmark_group("publish to filters");
    group.sample_size(20);
    for filters in [1_usize, 10, 100] {
        let runtime = runtime();
        let (bench, _senders) = runtime.block_on(async {
            let bench = Bench::start();
            let mut senders = bench.subscribers(1, &[JSON]).await;
            let before = bench.seen.frames();
            for subscriber in 0..SUBSCRIBERS {
                let sender = bench.connect(JSON.0, JSON.1);
                let hello = support::filtering(subscriber % filters);
                sender.send(hello).await.unwrap();
                senders.push(sender);
            }
            bench.seen.wait(before, 2 * SUBSCRIBERS).await;
            (bench, senders)
        });
        for (name, symbol, wanting) in [
            ("wanted by none of", filters, 0),
            ("wanted by one of", 0, SUBSCRIBERS / filters),
        ] {
            group.bench_function(BenchmarkId::new(name, filters), |b| {
                b.iter(|| {
                    runtime.block_on(async {
                        let before = bench.seen.frames();
                        bench.publish_tagged(symbol).await;
                        bench.seen.wait(before, wanting + 1).await;
                    });
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, broadcast, command, recovery, filters);
criterion_main!(benches);
