//! Deltas: how fast they are made and applied, and what a broadcast costs by the number of classes its subscribers are in.
//! `cargo bench --bench delta`. One worker, so that times are CPU times.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be made ends")]

use std::hint::black_box;

use bytes::Bytes;
use centripetal::{
    model::Encoding,
    protocol::{
        delta,
        frame::{Compression, Framing},
    },
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Builder;

mod support;

use support::{Bench, Way};

/// Quotes, about so many bytes of them; every tenth has another price at another time.
fn quotes(bytes: usize, time: u64) -> Vec<u8> {
    let mut out = String::from("[");
    let mut number = 0;
    while out.len() < bytes.saturating_sub(60) || number == 0 {
        let price = 100 + number * 7 % 900 + if number % 10 == 0 { time } else { 0 };
        let text = format!(
            r#"{{"symbol":"S{number:05}","price":{price},"currency":"EUR","venue":"XETRA","open":true}},"#
        );
        out.push_str(&text);
        number += 1;
    }
    out.pop();
    out.push(']');
    out.into_bytes()
}

fn encoder(c: &mut Criterion) {
    let mut group = c.benchmark_group("delta");
    for (name, bytes) in [("100 B", 100), ("1 KB", 1024), ("16 KB", 16 * 1024)] {
        let (base, target) = (quotes(bytes, 1), quotes(bytes, 2));
        let patch = delta::encode(&base, &target);
        group.throughput(Throughput::Bytes(target.len() as u64));
        group.bench_function(BenchmarkId::new("encode", name), |b| {
            b.iter(|| delta::encode(black_box(&base), black_box(&target)));
        });
        group.bench_function(BenchmarkId::new("encode, nothing in common", name), |b| {
            let other = vec![b'x'; target.len()];
            b.iter(|| delta::encode(black_box(&other), black_box(&target)));
        });
        group.bench_function(BenchmarkId::new("decode", name), |b| {
            b.iter(|| delta::decode(black_box(&base), black_box(&patch), target.len()));
        });
    }
    group.finish();
}

/// Sixteen ways to be subscribed, no two of which share a frame.
fn ways() -> Vec<Way> {
    let framings = [
        Framing::WebSocket,
        Framing::WebSocketDeflate(Compression::new(1, 0)),
    ];
    let mut ways = Vec::new();
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        for framing in framings {
            for delta in [false, true] {
                for compact in [false, true] {
                    ways.push(Way {
                        encoding,
                        framing,
                        delta,
                        compact,
                    });
                }
            }
        }
    }
    ways
}

/// From the publish call until every link was given the frame.
fn broadcast(c: &mut Criterion) {
    const SUBSCRIBERS: usize = 1000;
    let mut group = c.benchmark_group("publish to 1000");
    group.sample_size(20);
    let payloads = [1, 2].map(|time| Bytes::from(quotes(1024, time)));
    for classes in [1, 4, 16] {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (bench, _senders) = runtime.block_on(async {
            let bench = Bench::start();
            let senders = bench.subscribers_in(SUBSCRIBERS, &ways()[..classes]).await;
            (bench, senders)
        });
        group.throughput(Throughput::Elements(SUBSCRIBERS as u64));
        group.bench_function(BenchmarkId::new("classes", classes), |b| {
            let mut turn = payloads.iter().cycle();
            b.iter(|| {
                runtime.block_on(async {
                    let before = bench.seen.frames();
                    let data = turn.next().cloned().unwrap_or_default();
                    bench.publish_for_deltas(data).await;
                    bench.seen.wait(before, SUBSCRIBERS).await;
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encoder, broadcast);
criterion_main!(benches);
