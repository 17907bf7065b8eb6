//! Codecs beside what general libraries need for the same message: `cargo bench --bench codec`.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be made ends")]

use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use centripetal::{
    model::{Channel, Encoding, Version},
    protocol::{Command, Decoder, Request, decode_reply, encode_command, frame, frame::Framing},
};
use criterion::{Criterion, criterion_group, criterion_main};
use prost::Message;

mod support;

use support::{ProstReply, form, json_push, prost_push, publication, push};

fn marshal(c: &mut Criterion) {
    let mut group = c.benchmark_group("marshal a publication");
    let (reply, channel, publication) = (push(), Channel::from("chat:index"), publication());
    let (prost, tree) = (prost_push(), json_push());
    for (name, encoding) in [("Protobuf", Encoding::Protobuf), ("JSON", Encoding::Json)] {
        group.bench_function(name, |b| {
            let form = form(encoding, Framing::None);
            b.iter(|| frame::publication(form, black_box(&channel), black_box(&publication)));
        });
        group.bench_function(format!("{name}, as a reply"), |b| {
            b.iter(|| frame::encode(form(encoding, Framing::None), black_box(&reply)));
        });
        group.bench_function(format!("{name}, WebSocket frame"), |b| {
            let form = form(encoding, Framing::WebSocket);
            b.iter(|| frame::publication(form, black_box(&channel), black_box(&publication)));
        });
    }
    group.bench_function("prost, encode_to_vec", |b| {
        b.iter(|| black_box(&prost).encode_to_vec());
    });
    group.bench_function("serde_json, to_vec of a tree", |b| {
        b.iter(|| serde_json::to_vec(black_box(&tree)));
    });
    group.finish();
}

fn unmarshal(c: &mut Criterion) {
    let mut group = c.benchmark_group("unmarshal a publication");
    let reply = push();
    for (name, encoding) in [("Protobuf", Encoding::Protobuf), ("JSON", Encoding::Json)] {
        let bytes = frame::encode(form(encoding, Framing::None), &reply).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| decode_reply(encoding, black_box(bytes.clone())));
        });
        match encoding {
            Encoding::Protobuf => group.bench_function("prost, decode", |b| {
                b.iter(|| ProstReply::decode(black_box(bytes.clone())));
            }),
            Encoding::Json => group.bench_function("serde_json, tree", |b| {
                b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&bytes)));
            }),
        };
    }
    group.finish();
}

fn command(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode a publish command");
    let command = Command {
        id: 7,
        request: Request::Publish(centripetal::protocol::PublishRequest {
            channel: Channel::from("chat:index"),
            data: Bytes::from_static(support::PAYLOAD.as_bytes()),
            ..Default::default()
        }),
    };
    for (name, encoding) in [("Protobuf", Encoding::Protobuf), ("JSON", Encoding::Json)] {
        let bytes: Bytes = encode_command(Version::V2, encoding, &command).unwrap();
        let bytes = Arc::new(bytes);
        group.bench_function(name, |b| {
            let mut decoder = Decoder::new(encoding, Some(Version::V2), Framing::None, 65_536);
            b.iter(|| {
                let mut commands = decoder.frame(Bytes::clone(black_box(&bytes)));
                commands.next(&mut decoder)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, marshal, unmarshal, command);
criterion_main!(benches);
