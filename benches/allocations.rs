//! How often the same things allocate: `cargo bench --bench allocations`. Counting slows allocations down, so times are
//! measured in the other benchmarks.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be made ends")]
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use centripetal::{
    model::{Channel, Encoding},
    protocol::{decode_reply, frame, frame::Framing},
};
use prost::Message;

mod support;

use support::{Bench, ProstReply, form, json_push, prost_push, publication, push};

fn main() {
    println!("{:<50} {:>12} {:>12}", "", "allocations", "bytes");
    codecs();
    broadcast();
}

fn row(name: &str, info: &AllocationInfo) {
    println!(
        "{name:<50} {:>12} {:>12}",
        info.count_total, info.bytes_total
    );
}

fn codecs() {
    let (channel, publication) = (Channel::from("chat:index"), publication());
    for (name, encoding) in [("Protobuf", Encoding::Protobuf), ("JSON", Encoding::Json)] {
        let form = form(encoding, Framing::None);
        row(
            &format!("marshal {name}"),
            &measure(|| drop(frame::publication(form, &channel, &publication))),
        );
        let bytes = frame::encode(form, &push()).unwrap();
        let copy = bytes.clone();
        row(
            &format!("unmarshal {name}"),
            &measure(move || drop(decode_reply(encoding, copy))),
        );
        match encoding {
            Encoding::Protobuf => {
                row(
                    "unmarshal, prost",
                    &measure(move || drop(ProstReply::decode(bytes))),
                );
            }
            Encoding::Json => {
                row(
                    "unmarshal, serde_json tree",
                    &measure(move || drop(tree(&bytes))),
                );
            }
        }
    }
    let (prost, json) = (prost_push(), json_push());
    row(
        "marshal, prost encode_to_vec",
        &measure(|| drop(prost.encode_to_vec())),
    );
    row(
        "marshal, serde_json to_vec of a tree",
        &measure(|| drop(serde_json::to_vec(&json))),
    );
}

fn tree(bytes: &Bytes) -> serde_json::Result<serde_json::Value> {
    serde_json::from_slice(bytes)
}

/// The whole way of one publication, in one thread, so that all is counted.
fn broadcast() {
    let forms = [
        (Encoding::Json, Framing::WebSocket),
        (Encoding::Protobuf, Framing::WebSocket),
    ];
    for subscribers in [1_usize, 100, 1000] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (bench, _senders) = runtime.block_on(async {
            let bench = Bench::start();
            let senders = bench.subscribers(subscribers, &forms).await;
            (bench, senders)
        });
        let once = || {
            runtime.block_on(async {
                let before = bench.seen.frames();
                bench.publish().await;
                bench.seen.wait(before, subscribers).await;
            });
        };
        // Queues have their size after the first ones.
        (0..10).for_each(|_| once());
        row(
            &format!("publish to {subscribers} in 2 wire forms"),
            &measure(once),
        );
    }
}
