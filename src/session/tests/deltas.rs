//! Deltas, cache recovery, numbers and excluded publishers as one session sees them (client-protocol.md 5.5, 5.8, 5.12).

use super::*;
use crate::protocol::frame::{Delta, Style};

const FIRST: &str = r#"{"id":1,"name":"AAPL","price":100,"note":"unchanged text here"}"#;
const SECOND: &str = r#"{"id":1,"name":"AAPL","price":101,"note":"unchanged text here"}"#;
const PATCH: &str = "~\nW@0,V:1,\"note\":\"unchanged text here\"}2xVqgY;";

fn wish(more: SubscribeRequest) -> Request {
    Request::Subscribe(Box::new(SubscribeRequest {
        channel: "ch".into(),
        delta: "fossil".to_owned(),
        ..more
    }))
}

fn granting() -> SubscribeOptions {
    SubscribeOptions {
        delta: true,
        compaction: true,
        ..recoverable()
    }
}

fn with_data(offset: u64, data: &'static str) -> Arc<Publication> {
    Arc::new(Publication {
        data: Bytes::from_static(data.as_bytes()),
        ..(*publication(offset)).clone()
    })
}

/// A publication the hub has a delta for; written whole it is [`COMPLETE`].
fn delta(key: SubscriptionKey, offset: u64) -> Delivery {
    Delivery {
        frame: Frame::Delta(
            Bytes::from(format!("delta {offset}")),
            Arc::new(Complete::default()),
        ),
        ..delivery(key, offset, "e")
    }
}

/// Subscribes, with what the engine found; returns key, join style and result.
fn subscribed(
    wire: &mut Wire,
    request: Request,
    options: SubscribeOptions,
    joined: Joined,
) -> (SubscriptionKey, Style, SubscribeResult) {
    let id = wire.send(request);
    wire.answer(Outcome::Subscribe(Ok(Box::new(options))));
    let key = wire.join_key();
    let style = wire.calls.iter().rev().find_map(|(_, call)| match call {
        Call::Join(join) => Some(join.style),
        _ => None,
    });
    wire.answer(Outcome::Joined(Ok(joined)));
    match wire.reply_to(id) {
        ReplyBody::Subscribe(result) => (key, style.unwrap(), *result),
        other => panic!("not subscribed: {other:?}"),
    }
}

fn at(offset: u64) -> Joined {
    Joined {
        top: position(offset, "e"),
        ..Joined::default()
    }
}

fn written(wire: &Wire) -> Vec<String> {
    let text = |frame: &Bytes| String::from_utf8_lossy(frame).into_owned();
    wire.frames.iter().map(text).collect()
}

#[test]
fn deltas_are_granted_where_they_are_allowed_and_wanted() {
    let unpositioned = SubscribeOptions {
        delta: true,
        ..SubscribeOptions::default()
    };
    let filtered = SubscribeRequest {
        tags_filter: Some(Box::default()),
        ..SubscribeRequest::default()
    };
    for (request, options, expected) in [
        (SubscribeRequest::default(), granting(), Delta::Patches),
        (SubscribeRequest::default(), unpositioned, Delta::Complete),
        (SubscribeRequest::default(), recoverable(), Delta::Off),
    ] {
        let mut wire = Wire::connected(Version::V2);
        let (_, style, result) = subscribed(&mut wire, wish(request), options, at(5));
        assert_eq!(style.delta, expected);
        assert_eq!(result.delta, expected != Delta::Off);
    }
    let (mut request, options) = (filtered, granting());
    "fossil".clone_into(&mut request.delta);
    let style = settle::style(&request, subscription::Purpose::Command(1), &options);
    assert_eq!(style.delta, Delta::Off, "not beside a filter");
    let mut wire = Wire::connected(Version::V2);
    let (_, style, result) = subscribed(&mut wire, subscribe("ch"), granting(), at(5));
    assert_eq!((style.delta, result.delta), (Delta::Off, false));
}

#[test]
fn an_unknown_delta_type_is_3501() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(Request::Subscribe(Box::new(SubscribeRequest {
        channel: "ch".into(),
        delta: "bsdiff".to_owned(),
        ..SubscribeRequest::default()
    })));
    assert_eq!(wire.close_code(), Some(3501));
}

#[test]
fn the_first_live_publication_is_complete_and_deltas_follow() {
    let mut wire = Wire::connected(Version::V2);
    let (key, ..) = subscribed(&mut wire, wish(Default::default()), granting(), at(5));
    for offset in 6..=8 {
        wire.deliver(delta(key, offset));
    }
    assert_eq!(written(&wire), ["complete", "delta 7", "delta 8"]);
}

#[test]
fn a_publication_outside_the_stream_replaces_the_payload_the_next_would_build_upon() {
    let mut wire = Wire::connected(Version::V2);
    let (key, ..) = subscribed(&mut wire, wish(Default::default()), granting(), at(5));
    wire.deliver(delta(key, 6));
    wire.deliver(Delivery {
        frame: Frame::Finished(Bytes::from_static(b"outside")),
        ..delivery(key, 0, "")
    });
    wire.deliver(delta(key, 7));
    wire.deliver(delta(key, 8));
    assert_eq!(
        written(&wire),
        ["complete", "outside", "complete", "delta 8"]
    );
}

#[test]
fn the_publisher_does_not_get_what_excludes_it_and_its_position_moves() {
    let mut wire = Wire::connected(Version::V2);
    let (key, ..) = subscribed(&mut wire, wish(Default::default()), granting(), at(5));
    let me = wire.session.client().clone();
    let except = |client: &ClientId, delivery: Delivery| {
        let ChannelEvent::Publication(publication, epoch) = &delivery.broadcast.event else {
            panic!("no publication")
        };
        let publication = Arc::new(Publication {
            except: Some(client.clone()),
            ..(**publication).clone()
        });
        let broadcast = Arc::new(Broadcast {
            channel: "ch".into(),
            event: ChannelEvent::Publication(publication, epoch.clone()),
            watch: None,
        });
        Delivery {
            broadcast,
            ..delivery
        }
    };
    wire.deliver(delta(key, 6));
    wire.deliver(except(&me, delta(key, 7)));
    wire.deliver(delta(key, 8));
    wire.deliver(except(&ClientId::from("other"), delta(key, 9)));
    assert_eq!(written(&wire), ["complete", "complete", "delta 9"]);
}

#[test]
fn recovered_publications_follow_as_deltas_and_live_ones_go_on() {
    let mut wire = Wire::connected(Version::V2);
    let request = wish(SubscribeRequest {
        recover: true,
        offset: 1,
        epoch: "e".to_owned(),
        ..SubscribeRequest::default()
    });
    let joined = Joined {
        publications: vec![
            with_data(2, FIRST),
            with_data(3, SECOND),
            with_data(4, "{}"),
        ],
        ..at(4)
    };
    let (key, _, result) = subscribed(&mut wire, request, granting(), joined);
    let told: Vec<_> = result
        .publications
        .iter()
        .map(|publication| (publication.delta, publication.data.clone()))
        .collect();
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(
        told,
        [
            (false, bytes(FIRST)),
            (true, bytes(PATCH)),
            (false, bytes("{}"))
        ]
    );
    assert!(result.recovered && result.delta);
    wire.deliver(delta(key, 5));
    assert_eq!(written(&wire), ["delta 5"]);
}

#[test]
fn when_nothing_was_missed_the_client_has_the_base() {
    for (offset, recovered, expected) in [(5, true, "delta 6"), (3, false, "complete")] {
        let mut wire = Wire::connected(Version::V2);
        let request = wish(SubscribeRequest {
            recover: true,
            offset,
            epoch: "e".to_owned(),
            ..SubscribeRequest::default()
        });
        let (key, _, result) = subscribed(&mut wire, request, granting(), at(5));
        assert_eq!(result.recovered, recovered);
        wire.deliver(delta(key, 6));
        assert_eq!(written(&wire), [expected]);
    }
}

#[test]
fn what_excludes_the_client_is_not_recovered_and_is_no_base() {
    let mut wire = Wire::connected(Version::V2);
    let me = wire.session.client().clone();
    let own = Arc::new(Publication {
        except: Some(me),
        ..(*with_data(2, SECOND)).clone()
    });
    let request = wish(SubscribeRequest {
        recover: true,
        ..SubscribeRequest::default()
    });
    let joined = Joined {
        publications: vec![with_data(1, FIRST), own],
        ..at(2)
    };
    let (key, _, result) = subscribed(&mut wire, request, granting(), joined);
    assert_eq!((result.recovered, result.publications.len()), (true, 1));
    wire.deliver(delta(key, 3));
    wire.deliver(delta(key, 4));
    assert_eq!(written(&wire), ["complete", "delta 4"]);
}

#[test]
fn a_number_is_granted_to_those_who_understand_it() {
    let numbered = |top| Joined { number: 7, ..top };
    for (flag, options, expected) in [
        (1, granting(), true),
        (3, granting(), true),
        (2, granting(), false),
        (1, recoverable(), false),
    ] {
        let mut wire = Wire::connected(Version::V2);
        let request = wish(SubscribeRequest {
            flag,
            ..SubscribeRequest::default()
        });
        let number = |joined| if expected { numbered(joined) } else { joined };
        let (_, style, result) = subscribed(&mut wire, request, options, number(at(5)));
        assert_eq!(style.compact, expected);
        assert_eq!(result.number, if expected { 7 } else { 0 });
    }
}

fn caching(auto: bool) -> SubscribeOptions {
    SubscribeOptions {
        recovery_mode: RecoveryMode::Cache,
        auto_cache_recover: auto,
        ..recoverable()
    }
}

/// Recovers in cache mode from a position, with the newest publication as given; returns the result.
fn cached(
    asked: Option<(u64, &str)>,
    auto: bool,
    newest: Option<u64>,
    top: u64,
) -> SubscribeResult {
    let mut wire = Wire::connected(Version::V2);
    let request = match asked {
        Some((offset, epoch)) => recover("ch", offset, epoch),
        None => subscribe("ch"),
    };
    let joined = Joined {
        publications: newest.map(publication).into_iter().collect(),
        ..at(top)
    };
    subscribed(&mut wire, request, caching(auto), joined).2
}

#[test]
fn the_rows_of_cache_recovery() {
    for (asked, newest, top, recovered, offsets, offset) in [
        // The client has it.
        ((2, "e"), Some(2), 2, true, vec![], 2),
        ((2, "e"), None, 2, true, vec![], 2),
        // It has something else.
        ((1, "e"), Some(2), 2, true, vec![2], 1),
        ((9, "e"), Some(2), 2, true, vec![2], 9),
        ((2, "other"), Some(2), 2, true, vec![2], 2),
        ((0, ""), Some(2), 2, true, vec![2], 0),
        // It is not kept any more.
        ((1, "e"), None, 2, false, vec![], 2),
        ((0, "e"), None, 0, false, vec![], 0),
        // What is kept is not the newest.
        ((1, "e"), Some(2), 3, false, vec![], 3),
    ] {
        let result = cached(Some(asked), false, newest, top);
        let told: Vec<_> = result.publications.iter().map(|one| one.offset).collect();
        assert_eq!(
            (result.recovered, told, result.offset),
            (recovered, offsets, offset),
            "{asked:?} {newest:?} {top}"
        );
        assert!(result.was_recovering);
    }
}

#[test]
fn without_being_asked_the_cache_is_given_where_the_namespace_says_so() {
    let result = cached(None, true, Some(2), 2);
    assert!(result.recovered && result.was_recovering);
    assert_eq!((result.publications.len(), result.offset), (1, 0));
    let result = cached(None, false, None, 2);
    assert!(!result.recovered && !result.was_recovering);
    assert_eq!((result.publications.len(), result.offset), (0, 2));
}

#[test]
fn of_what_arrives_meanwhile_the_cache_gives_the_last_unless_deltas_were_granted() {
    for delta in [false, true] {
        let mut wire = Wire::connected(Version::V2);
        let request = SubscribeRequest {
            recover: true,
            ..SubscribeRequest::default()
        };
        let request = if delta {
            wish(request)
        } else {
            recover("ch", 0, "")
        };
        let id = wire.send(request);
        let options = SubscribeOptions {
            delta: true,
            ..caching(false)
        };
        wire.answer(Outcome::Subscribe(Ok(Box::new(options))));
        let key = wire.join_key();
        wire.deliver(delivery(key, 3, "e"));
        wire.answer(Outcome::Joined(Ok(Joined {
            publications: vec![publication(2)],
            ..at(2)
        })));
        let ReplyBody::Subscribe(result) = wire.reply_to(id) else {
            panic!("not subscribed")
        };
        let told: Vec<_> = result.publications.iter().map(|one| one.offset).collect();
        assert_eq!(told, if delta { vec![2, 3] } else { vec![3] });
    }
}
