//! Messages as Centrifugo writes them, as it takes them apart, and as nobody should write them.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::{ClientId, Publication, UserId};

fn bytes(hex: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len() / 2).map(|n| digit(2 * n)).collect()
}

fn recording(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/redis");
    let text = std::fs::read(format!("{folder}/{name}.json")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["runs"].take()
}

/// Every recorded message in a channel of a channel.
fn recorded() -> Vec<Bytes> {
    let runs = recording("pubsub");
    let messages = runs.as_object().unwrap().values();
    let messages = messages.flat_map(|run| run.as_array().unwrap());
    let clients =
        messages.filter(|message| message["channel"].as_str().unwrap().contains(".client."));
    clients
        .map(|message| bytes(message["payload"].as_str().unwrap()))
        .collect()
}

/// The message without its position, as this project writes it.
fn written(event: &ChannelEvent) -> Vec<u8> {
    match event {
        ChannelEvent::Publication(publication, _) => publication::encode(publication),
        ChannelEvent::Join(info) => join(info),
        other => {
            let ChannelEvent::Leave(info) = other else {
                panic!("unexpected {other:?}");
            };
            leave(info)
        }
    }
}

#[test]
fn what_centrifugo_sent_is_understood_and_said_the_same_way() {
    let recorded = recorded();
    assert!(recorded.len() > 50, "{}", recorded.len());
    let mut joins = 0;
    for message in recorded {
        let event = decode(&message).unwrap();
        joins += usize::from(matches!(event, ChannelEvent::Join(_)));
        let ChannelEvent::Publication(publication, epoch) = &event else {
            assert_eq!(written(&event), message);
            continue;
        };
        assert_eq!(publication.offset == 0, epoch.is_empty());
        // A map has no order and delta is not asked for here; everything else is the same bytes.
        let tags = publication.tags.as_ref().map_or(0, |tags| tags.len());
        if tags < 2 && !message.starts_with(b"__d") && publication.offset > 0 {
            let written = written(&event);
            assert!(message.ends_with(&written), "{message:?} {written:?}");
        }
    }
    assert!(joins > 0);
}

#[test]
fn the_examples_are_taken_apart() {
    let content = publication::encode(&Publication {
        data: Bytes::from_static(b"{}"),
        ..Publication::default()
    });
    let position = |message: Vec<u8>| match decode(&Bytes::from(message)).unwrap() {
        ChannelEvent::Publication(publication, epoch) => {
            assert_eq!(publication.data, "{}");
            (
                publication.offset,
                epoch.to_string(),
                publication.epoch.to_string(),
            )
        }
        other => panic!("unexpected {other:?}"),
    };
    let with = |head: &str| [head.as_bytes(), &content].concat();
    assert_eq!(position(content.clone()), (0, String::new(), String::new()));
    assert_eq!(
        position(with("__p1:1:EPOCH__")),
        (1, "EPOCH".to_owned(), "EPOCH".to_owned())
    );
    assert_eq!(
        position(with("__p1:2:a:b_c__")),
        (2, "a:b_c".to_owned(), String::new())
    );
    let length = content.len();
    assert_eq!(
        position(with(&format!("__d1:3:E:4:msgB:{length}:"))),
        (3, "E".to_owned(), String::new())
    );
    assert_eq!(
        position(with(&format!("__d1:3:E:0::{length}:"))),
        (3, "E".to_owned(), String::new())
    );
    // No offset, no position (engines.md 3.4).
    assert_eq!(position(with("__p1:0:E__")).0, 0);
    assert!(matches!(
        decode(&Bytes::new()),
        Ok(ChannelEvent::Publication(..))
    ));
}

#[test]
fn a_position_inside_goes_before_the_one_beside() {
    // Field 6 with 9, field 14 with `in`.
    let message = Bytes::from_static(b"__p1:5:out__\x30\x09\x72\x02in");
    match decode(&message).unwrap() {
        ChannelEvent::Publication(publication, epoch) => {
            assert_eq!((publication.offset, epoch.as_str()), (9, "in"));
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn broken_messages_are_refused() {
    for message in [
        "__",
        "__p",
        "__p1",
        "__p1:",
        "__p1:1",
        "__p1:1:",
        "__p1:1:e",
        "__p1:1:e_",
        "__p2:1:e__",
        "__p__x",
        "__p1:x:e__",
        "__p1:-1:e__",
        "__p1:99999999999999999999:e__",
        "__d1:1:e:5:ab:0:",
        "__d1:1:e:1:ab:0:",
        "__d1:1:e:0::5:ab",
        "__d1:1:e:0::0:x",
        "__d2:1:e:0::0:",
        "__d1:1:e:18446744073709551615::0:",
        "__x__",
        "__j",
        "__j_",
        "__jx_",
        "__j__\u{1}",
        "__l__x",
        "__p1:1:e__x",
    ] {
        assert!(decode(&Bytes::from(message)).is_err(), "{message}");
    }
}

fn info() -> impl Strategy<Value = ClientInfo> {
    let data = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    (".{0,10}", ".{0,10}", data(), data()).prop_map(|(user, client, conn_info, chan_info)| {
        ClientInfo {
            user: UserId::from(user),
            client: ClientId::from(client),
            conn_info,
            chan_info,
        }
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(rest in prop::collection::vec(any::<u8>(), 0..60), head in prop::sample::select(&["", "__p1:", "__d1:1:e:", "__j__", "__p1:1:e__", "__d1:1:e:0::"][..])) {
        drop(decode(&Bytes::from([head.as_bytes(), &rest].concat())));
    }

    #[test]
    fn what_is_written_is_read(
        data in prop::collection::vec(any::<u8>(), 0..100),
        info in prop::option::of(info()),
        tags in prop::collection::btree_map(".{0,5}", ".{0,5}", 0..4),
        (version, time, offset) in (any::<u64>(), any::<i64>(), 2..1_u64 << 53),
        epoch in "[a-zA-Z]{8}",
    ) {
        let publication = Publication {
            data: data.into(),
            info: info.map(Arc::new),
            tags: (!tags.is_empty()).then(|| Arc::new(tags)),
            version,
            time,
            ..Publication::default()
        };
        let head = format!("__p1:{offset}:{epoch}__");
        let message = Bytes::from([head.as_bytes(), &publication::encode(&publication)].concat());
        let expected = Publication { offset, ..publication };
        let event = ChannelEvent::Publication(Arc::new(expected), Epoch::from(epoch));
        prop_assert_eq!(decode(&message).unwrap(), event);
    }

    #[test]
    fn joins_and_leaves_are_read(info in info()) {
        let info = Arc::new(info);
        prop_assert_eq!(decode(&join(&info).into()).unwrap(), ChannelEvent::Join(info.clone()));
        prop_assert_eq!(decode(&leave(&info).into()).unwrap(), ChannelEvent::Leave(info));
    }
}
