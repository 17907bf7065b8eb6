//! The hub alone: what a broadcast reaches, what it costs, and what a slow reader does to others.

use std::{collections::VecDeque, task::Poll};

use bytes::Bytes;

use super::{fanout::Fanout, mailbox::Refused, *};
use crate::{
    model::{
        Broadcast, ChannelEvent, ClientId, ClientInfo, Delivery, Disconnect, Encoding, Epoch,
        FilterNode, Frame, LabelFilter, Publication, Target, UserId, Version,
    },
    protocol::frame::{Compression, Delta, Framing, PositionFormat},
};

fn form(encoding: Encoding) -> WireForm {
    WireForm {
        version: Version::V2,
        encoding,
        positions: PositionFormat::Offset,
        framing: Framing::WebSocket,
        bare: false,
    }
}

fn key(generation: u32) -> SubscriptionKey {
    SubscriptionKey {
        slot: 0,
        generation,
    }
}

fn subscriber(mailbox: &Arc<Mailbox>, generation: u32) -> Subscriber {
    Subscriber {
        mailbox: Arc::clone(mailbox),
        key: key(generation),
        form: form(Encoding::Json),
        style: Style::default(),
        join_leave: false,
        filter: None,
        slow: SlowPolicy::default(),
        positioned: false,
    }
}

fn channel() -> Channel {
    Channel::from("ch")
}

fn publication(data: &'static [u8]) -> Arc<Broadcast> {
    let publication = Arc::new(Publication {
        data: Bytes::from_static(data),
        ..Publication::default()
    });
    Arc::new(Broadcast {
        channel: channel(),
        event: ChannelEvent::Publication(publication, Epoch::default()),
        watch: None,
    })
}

/// Takes what is queued: the mails, or the reason to close, or nothing.
fn take(mailbox: &Mailbox) -> Option<Result<VecDeque<Mail>, Disconnect>> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut mails = VecDeque::new();
    match mailbox.poll_take(&mut cx, &mut mails) {
        Poll::Ready(result) => Some(result.map(|()| mails)),
        Poll::Pending => None,
    }
}

fn frames(mailbox: &Mailbox) -> Vec<Bytes> {
    let mails = take(mailbox).and_then(Result::ok).unwrap_or_default();
    let frame = |mail| match mail {
        Mail::Delivery(Delivery {
            frame: Frame::Finished(frame) | Frame::Delta(frame, _),
            ..
        }) => Some(frame),
        _ => None,
    };
    mails.into_iter().filter_map(frame).collect()
}

#[test]
fn the_first_subscriber_comes_and_the_last_one_goes() {
    let hub = Hub::new();
    let (a, b) = (Arc::new(Mailbox::new(100)), Arc::new(Mailbox::new(100)));
    assert!(hub.join(&channel(), subscriber(&a, 1)));
    assert!(!hub.join(&channel(), subscriber(&b, 1)));
    assert_eq!(
        (hub.channels(), hub.subscriptions(), hub.has(&channel())),
        (1, 2, true)
    );
    assert!(!hub.leave(&channel(), &a, key(1)));
    assert!(!hub.leave(&channel(), &a, key(1)), "twice changes nothing");
    assert!(hub.leave(&channel(), &b, key(1)));
    assert_eq!(
        (hub.channels(), hub.subscriptions(), hub.has(&channel())),
        (0, 0, false)
    );
}

#[test]
fn late_leave_keeps_newer_generation() {
    let hub = Hub::new();
    let mailbox = Arc::new(Mailbox::new(1000));
    hub.join(&channel(), subscriber(&mailbox, 1));
    hub.join(&channel(), subscriber(&mailbox, 2));
    assert!(!hub.leave(&channel(), &mailbox, key(1)));
    assert_eq!(hub.broadcast(&publication(b"1")).queued, 1);
}

#[test]
fn one_encoding_serves_all_of_one_wire_form() {
    let hub = Hub::new();
    let boxes: Vec<_> = (0..4).map(|_| Arc::new(Mailbox::new(1000))).collect();
    for (n, mailbox) in boxes.iter().enumerate() {
        let encoding = if n < 2 {
            Encoding::Json
        } else {
            Encoding::Protobuf
        };
        hub.join(
            &channel(),
            Subscriber {
                form: form(encoding),
                ..subscriber(mailbox, 1)
            },
        );
    }
    assert_eq!(hub.broadcast(&publication(b"{}")).queued, 4);
    let frames: Vec<_> = boxes
        .iter()
        .map(|mailbox| frames(mailbox)[0].clone())
        .collect();
    assert_eq!(frames[0].as_ptr(), frames[1].as_ptr());
    assert_eq!(frames[2].as_ptr(), frames[3].as_ptr());
    assert_ne!(frames[0], frames[2]);
}

#[test]
fn a_payload_that_is_not_json_reaches_json_subscribers_without_frame() {
    let hub = Hub::new();
    let (json, protobuf) = (Arc::new(Mailbox::new(1000)), Arc::new(Mailbox::new(1000)));
    hub.join(&channel(), subscriber(&json, 1));
    hub.join(
        &channel(),
        Subscriber {
            form: form(Encoding::Protobuf),
            ..subscriber(&protobuf, 1)
        },
    );
    assert_eq!(hub.broadcast(&publication(b"\xff")).queued, 2);
    let Some(Ok(mails)) = take(&json) else {
        panic!("nothing queued")
    };
    assert!(matches!(
        &mails[0],
        Mail::Delivery(Delivery {
            frame: Frame::Inappropriate,
            ..
        })
    ));
    assert_eq!(frames(&protobuf).len(), 1);
}

#[test]
fn joins_and_leaves_reach_only_those_who_want_them() {
    let hub = Hub::new();
    let (with, without) = (Arc::new(Mailbox::new(1000)), Arc::new(Mailbox::new(1000)));
    hub.join(
        &channel(),
        Subscriber {
            join_leave: true,
            ..subscriber(&with, 1)
        },
    );
    hub.join(&channel(), subscriber(&without, 1));
    let event = ChannelEvent::Join(Arc::new(ClientInfo::default()));
    let fanout = hub.broadcast(&Arc::new(Broadcast {
        channel: channel(),
        event,
        watch: None,
    }));
    assert_eq!(
        (fanout.queued, frames(&with).len(), frames(&without).len()),
        (1, 1, 0)
    );
}

#[test]
fn a_slow_reader_is_closed_and_the_others_feel_nothing() {
    let hub = Hub::new();
    let (slow, quick) = (Arc::new(Mailbox::new(200)), Arc::new(Mailbox::new(200)));
    hub.join(&channel(), subscriber(&slow, 1));
    hub.join(&channel(), subscriber(&quick, 1));
    let mut closed = 0;
    for _ in 0..50 {
        let fanout = hub.broadcast(&publication(b"{\"n\":1}"));
        closed += fanout.slow;
        let read = frames(&quick);
        assert_eq!(read.len(), 1);
        quick.written(read[0].len());
    }
    assert_eq!(closed, 1, "closed once");
    let Some(Err(why)) = take(&slow) else {
        panic!("what it had is dropped")
    };
    assert_eq!(why, Disconnect::SLOW);
}

#[test]
fn bytes_count_until_they_are_written() {
    let mailbox = Mailbox::new(256);
    let push = || {
        mailbox.push(Mail::Unsubscribe(
            channel(),
            crate::model::Unsubscribe::SERVER,
        ))
    };
    assert_eq!((push(), push()), (Ok(()), Ok(())));
    assert!(matches!(take(&mailbox), Some(Ok(mails)) if mails.len() == 2));
    mailbox.written(128);
    assert_eq!(push(), Ok(()));
    assert_eq!(
        (push(), push()),
        (Err(Refused::Overflow), Err(Refused::Closed))
    );
}

#[test]
fn a_close_comes_after_what_is_queued_and_the_first_reason_stays() {
    let mailbox = Mailbox::new(1000);
    mailbox
        .push(Mail::Unsubscribe(
            channel(),
            crate::model::Unsubscribe::SERVER,
        ))
        .unwrap();
    mailbox.close(Disconnect::FORCE_DISCONNECT);
    mailbox.close(Disconnect::SHUTDOWN);
    assert!(matches!(take(&mailbox), Some(Ok(mails)) if mails.len() == 1));
    assert!(matches!(take(&mailbox), Some(Err(why)) if why == Disconnect::FORCE_DISCONNECT));
}

#[test]
fn a_push_wakes_the_reader_once() {
    let mailbox = Mailbox::new(1000);
    let mut reader = tokio_test::task::spawn(std::future::poll_fn(|cx| {
        mailbox.poll_take(cx, &mut VecDeque::new())
    }));
    assert!(reader.poll().is_pending());
    mailbox
        .push(Mail::Unsubscribe(
            channel(),
            crate::model::Unsubscribe::SERVER,
        ))
        .unwrap();
    assert!(reader.is_woken());
    assert!(matches!(reader.poll(), Poll::Ready(Ok(()))));
}

#[test]
fn a_broadcast_allocates_nothing_per_subscriber() {
    let allocations = |subscribers: usize| {
        let hub = Hub::new();
        let boxes: Vec<_> = (0..subscribers)
            .map(|_| Arc::new(Mailbox::new(1 << 20)))
            .collect();
        for mailbox in &boxes {
            hub.join(&channel(), subscriber(mailbox, 1));
        }
        let broadcast = publication(b"{\"n\":1}");
        hub.broadcast(&broadcast);
        let counted = allocation_counter::measure(|| {
            hub.broadcast(&broadcast);
        });
        counted.count_total
    };
    let few = allocations(10);
    assert_eq!(allocations(2000), few);
    assert!(few > 0, "the frame itself is counted");
}

#[test]
fn a_message_is_compressed_once_however_many_want_it() {
    let deflate = |encoding| WireForm {
        framing: Framing::WebSocketDeflate(Compression::new(1, 0)),
        ..form(encoding)
    };
    let forms = [
        deflate(Encoding::Json),
        deflate(Encoding::Protobuf),
        form(Encoding::Json),
    ];
    let broadcast = publication(br#"{"text":"again and again and again and again"}"#);
    let made = |subscribers: usize| {
        let hub = Hub::new();
        let boxes: Vec<_> = (0..subscribers)
            .map(|_| Arc::new(Mailbox::new(1 << 20)))
            .collect();
        for (mailbox, form) in boxes.iter().zip(forms.into_iter().cycle()) {
            let subscriber = Subscriber {
                form,
                ..subscriber(mailbox, 1)
            };
            hub.join(&channel(), subscriber);
        }
        // The first one makes room in the queues.
        hub.broadcast(&broadcast);
        let counted = allocation_counter::measure(|| {
            hub.broadcast(&broadcast);
        });
        let last = |mailbox: &Arc<Mailbox>| frames(mailbox).pop();
        let frames: Vec<_> = boxes.iter().filter_map(last).collect();
        (frames, counted.count_total)
    };
    let (frames, allocations) = made(2000);
    let different: std::collections::BTreeSet<_> =
        frames.iter().map(|frame| frame.as_ptr()).collect();
    assert_eq!((frames.len(), different.len()), (2000, forms.len()));
    // A compressor allocates much, so a second one would show.
    assert_eq!(allocations, made(forms.len()).1);
    assert_eq!(
        [frames[0][0], frames[1][0], frames[2][0]],
        [0xc1, 0xc2, 0x81]
    );
    assert!(frames[0].len() < frames[2].len());
}

/// Two connections of user 42, one anonymous.
fn three_connections() -> Registry {
    let registry = Registry::new();
    for (user, client) in [("42", "a"), ("42", "b"), ("", "c")] {
        let session = (client == "b").then(|| "s".into());
        let mailbox = Arc::new(Mailbox::of(1, session));
        registry
            .add(&user.into(), &ClientId::from(client), &mailbox, None)
            .unwrap();
    }
    registry
}

#[test]
fn connections_are_found_by_user_client_and_session() {
    let registry = three_connections();
    for (user, client, session, found) in [
        ("42", None, None, 2),
        // The empty user is the anonymous one.
        ("", None, None, 1),
        ("42", Some("b"), None, 1),
        ("", Some("b"), None, 0),
        ("42", None, Some("nobody"), 0),
        ("42", None, Some("s"), 1),
        ("42", Some("a"), Some("s"), 0),
        ("42", Some("b"), Some("s"), 1),
    ] {
        let target = Target {
            user: user.into(),
            client: client.map(ClientId::from),
            session: session.map(str::to_owned),
            ..Target::default()
        };
        assert_eq!(registry.find(&target).len(), found, "{target:?}");
    }
    assert_eq!(registry.counts(), (3, 2));
    for client in ["a", "b"] {
        registry.remove(&UserId::from("42"), &ClientId::from(client));
    }
    assert_eq!(registry.counts(), (1, 1));
}

#[test]
fn connections_of_all_users_are_found() {
    let registry = three_connections();
    let labelled = |cmp: &str| {
        Some(Box::new(LabelFilter {
            cmp: cmp.to_owned(),
            ..LabelFilter::default()
        }))
    };
    for (user, client, labels, found) in [
        ("", None, None, 3),
        // A user given narrows.
        ("42", None, None, 2),
        ("", Some("b"), None, 1),
        // Nobody has labels.
        ("", None, labelled("eq"), 0),
        ("", None, labelled("nex"), 3),
    ] {
        let target = Target {
            user: user.into(),
            client: client.map(ClientId::from),
            labels,
            all_users: true,
            ..Target::default()
        };
        assert_eq!(registry.find(&target).len(), found, "{target:?}");
    }
}

#[test]
fn a_user_has_a_limit_and_anonymous_connections_have_none() {
    let registry = Registry::new();
    let mailbox = Arc::new(Mailbox::new(1));
    let add =
        |user: &str, client: &str| registry.add(&user.into(), &client.into(), &mailbox, Some(1));
    assert!(add("42", "a").is_ok());
    assert!(add("42", "b").is_err());
    assert!(add("", "c").is_ok() && add("", "d").is_ok());
}

#[test]
fn a_loss_reaches_every_subscriber_without_a_frame() {
    let hub = Hub::new();
    let mailbox = Arc::new(Mailbox::new(1000));
    hub.join(&channel(), subscriber(&mailbox, 1));
    let lost = Arc::new(Broadcast {
        channel: channel(),
        event: ChannelEvent::InsufficientState(None),
        watch: None,
    });
    assert_eq!(hub.broadcast(&lost).queued, 1);
    let mails = take(&mailbox).and_then(Result::ok).unwrap_or_default();
    let Some(Mail::Delivery(delivery)) = mails.front() else {
        panic!("not a delivery but {mails:?}");
    };
    assert!(matches!(delivery.frame, Frame::Withheld));
    assert_eq!(delivery.broadcast, lost);
}

const BASE: &[u8] = br#"{"id":1,"name":"AAPL","price":100,"note":"unchanged text here"}"#;
const TARGET: &[u8] = br#"{"id":1,"name":"AAPL","price":101,"note":"unchanged text here"}"#;

/// A publication of a stream, with the payload before it.
fn following(previous: &'static [u8], data: &'static [u8]) -> Arc<Broadcast> {
    let publication = Arc::new(Publication {
        offset: 2,
        data: Bytes::from_static(data),
        previous: Some(Bytes::from_static(previous)),
        ..Publication::default()
    });
    Arc::new(Broadcast {
        channel: channel(),
        event: ChannelEvent::Publication(publication, Epoch::from("e")),
        watch: None,
    })
}

fn styles() -> impl Iterator<Item = Style> + Clone {
    let deltas = [Delta::Off, Delta::Complete, Delta::Patches];
    deltas
        .into_iter()
        .flat_map(|delta| [false, true].map(|compact| Style { delta, compact }))
}

/// Broadcasts to so many subscribers of every style in both encodings; returns what was made and what each was sent.
fn spread(broadcast: &Arc<Broadcast>, rounds: usize) -> (Fanout, Vec<Frame>, usize) {
    let hub = Hub::new();
    let mut boxes = Vec::new();
    for _ in 0..rounds {
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            for style in styles() {
                let mailbox = Arc::new(Mailbox::new(1 << 20));
                let subscriber = Subscriber {
                    form: form(encoding),
                    style,
                    ..subscriber(&mailbox, 1)
                };
                hub.join(&channel(), subscriber);
                boxes.push(mailbox);
            }
        }
    }
    // The first one makes room in the queues.
    hub.broadcast(broadcast);
    let mut fanout = Fanout::default();
    let counted = allocation_counter::measure(|| fanout = hub.broadcast(broadcast));
    let last = |mailbox: &Arc<Mailbox>| {
        let mails = take(mailbox).and_then(Result::ok).unwrap_or_default();
        match mails.into_iter().last() {
            Some(Mail::Delivery(delivery)) => delivery.frame,
            other => panic!("not a delivery but {other:?}"),
        }
    };
    let frames = boxes.iter().map(last).collect();
    (
        fanout,
        frames,
        usize::try_from(counted.count_total).unwrap(),
    )
}

fn bytes_of(frame: &Frame) -> &Bytes {
    match frame {
        Frame::Finished(bytes) | Frame::Delta(bytes, _) => bytes,
        other => panic!("nothing to write: {other:?}"),
    }
}

#[test]
fn a_class_shares_one_frame_and_one_delta_however_many_subscribers_it_has() {
    let broadcast = following(BASE, TARGET);
    let (few, frames, allocations) = spread(&broadcast, 1);
    let (many, same, more) = spread(&broadcast, 100);
    // JSON: plain, string, delta; Protobuf, where the string is the plain one: plain, delta; all with name and number.
    assert_eq!((few.queued, few.frames), (12, 10));
    assert_eq!((many.queued, many.frames), (1200, 10));
    assert_eq!(
        allocations, more,
        "allocations do not depend on subscribers"
    );
    let different: std::collections::BTreeSet<_> =
        same.iter().map(|frame| bytes_of(frame).as_ptr()).collect();
    assert_eq!(different.len(), 10);
    for (at, frame) in frames.iter().enumerate() {
        assert_eq!(bytes_of(frame), bytes_of(&same[at]));
        assert_eq!(matches!(frame, Frame::Delta(..)), at % 6 >= 4);
    }
}

#[test]
fn the_forms_of_a_publication_are_those_of_the_worked_examples() {
    let text = |frame: &Frame| {
        let text = String::from_utf8_lossy(bytes_of(frame)).into_owned();
        text[text.find('{').unwrap()..].to_owned()
    };
    let (_, frames, _) = spread(&following(BASE, TARGET), 1);
    let quoted = String::from_utf8_lossy(TARGET).replace('"', "\\\"");
    let patch = r#""~\nW@0,V:1,\"note\":\"unchanged text here\"}2xVqgY;""#;
    let expected = [
        format!(r#"{{"push":{{"channel":"ch","pub":{{"data":"{quoted}","offset":2}}}}}}"#),
        format!(r#"{{"push":{{"id":1,"pub":{{"data":"{quoted}","offset":2}}}}}}"#),
        format!(
            r#"{{"push":{{"channel":"ch","pub":{{"data":{patch},"offset":2,"delta":true}}}}}}"#
        ),
        format!(r#"{{"push":{{"id":1,"pub":{{"data":{patch},"offset":2,"delta":true}}}}}}"#),
    ];
    assert_eq!([2, 3, 4, 5].map(|at| text(&frames[at])), expected);
    let (_, frames, _) = spread(&publication(br#"{"a":1}"#), 1);
    let named = r#"{"push":{"channel":"ch","pub":{"data":{"a":1}}}}"#;
    let numbered = r#"{"push":{"id":1,"pub":{"data":{"a":1}}}}"#;
    assert_eq!([0, 1].map(|at| text(&frames[at])), [named, numbered]);
}

#[test]
fn without_a_shorter_delta_all_who_were_granted_deltas_get_the_same() {
    for broadcast in [
        following(br#"{"a":1}"#, br#"{"a":2}"#),
        publication(br#"{"a":2}"#),
    ] {
        let (fanout, frames, _) = spread(&broadcast, 1);
        assert_eq!(fanout.frames, 6);
        assert_eq!(bytes_of(&frames[2]).as_ptr(), bytes_of(&frames[4]).as_ptr());
        assert!(
            frames
                .iter()
                .all(|frame| matches!(frame, Frame::Finished(_)))
        );
    }
}

#[test]
fn a_delta_that_is_not_text_is_for_protobuf_only() {
    let same = ["ä".repeat(18), "ö".repeat(20)];
    let text = |middle: &str| -> &'static str {
        String::leak(format!(r#"{{"t":"{}-{middle}-{}"}}"#, same[0], same[1]))
    };
    let (base, target) = (text("ä"), text("ã"));
    let (_, frames, _) = spread(&following(base.as_bytes(), target.as_bytes()), 1);
    assert!(matches!(frames[4], Frame::Finished(_)), "JSON");
    assert!(matches!(frames[10], Frame::Delta(..)), "Protobuf");
    assert_eq!(bytes_of(&frames[4]), bytes_of(&frames[2]));
}

#[test]
fn a_payload_that_is_not_json_is_no_delta_for_json_either() {
    let (_, frames, _) = spread(&following(BASE, &TARGET[..TARGET.len() - 1]), 1);
    for frame in &frames[..6] {
        assert!(matches!(frame, Frame::Inappropriate));
    }
    assert!(matches!(frames[10], Frame::Delta(..)));
}

#[test]
fn joins_carry_the_number_of_who_asked_for_one() {
    let hub = Hub::new();
    let mailbox = Arc::new(Mailbox::new(1 << 20));
    let style = Style {
        delta: Delta::Patches,
        compact: true,
    };
    let subscriber = Subscriber {
        style,
        join_leave: true,
        ..subscriber(&mailbox, 1)
    };
    assert_eq!(hub.number(&channel()), 0);
    hub.join(&channel(), subscriber);
    assert_eq!(hub.number(&channel()), 1);
    hub.broadcast(&Arc::new(Broadcast {
        channel: channel(),
        event: ChannelEvent::Join(Arc::new(ClientInfo::default())),
        watch: None,
    }));
    let text = String::from_utf8_lossy(&frames(&mailbox)[0][2..]).into_owned();
    assert_eq!(
        text,
        r#"{"push":{"id":1,"join":{"info":{"user":"","client":""}}}}"#
    );
    hub.leave(&channel(), &mailbox, key(1));
    assert_eq!(hub.number(&channel()), 0);
}

fn by_tag(value: &str) -> Arc<Filter> {
    let node = FilterNode {
        key: "s".into(),
        cmp: "eq".into(),
        val: value.into(),
        ..FilterNode::default()
    };
    Arc::new(Filter::compile(&node).unwrap())
}

fn tagged(offset: u64, value: &str) -> Arc<Broadcast> {
    let tags = [("s".to_owned(), value.to_owned())];
    let publication = Arc::new(Publication {
        offset,
        data: Bytes::from_static(b"{}"),
        tags: Some(Arc::new(tags.into())),
        ..Publication::default()
    });
    Arc::new(Broadcast {
        channel: channel(),
        event: ChannelEvent::Publication(publication, Epoch::from("e")),
        watch: None,
    })
}

fn filtering(mailbox: &Arc<Mailbox>, value: &str) -> Subscriber {
    Subscriber {
        filter: Some(by_tag(value)),
        ..subscriber(mailbox, 1)
    }
}

/// Offsets and skips of what is queued.
fn deliveries(mailbox: &Mailbox) -> Vec<(u64, u64)> {
    let mails = take(mailbox).and_then(Result::ok).unwrap_or_default();
    let place = |mail| match mail {
        Mail::Delivery(delivery) => match &delivery.broadcast.event {
            ChannelEvent::Publication(publication, _) => {
                Some((publication.offset, delivery.skipped))
            }
            _ => None,
        },
        _ => None,
    };
    mails.into_iter().filter_map(place).collect()
}

#[test]
fn a_filter_lets_pass_what_it_wants_and_says_how_much_it_kept_back() {
    let hub = Hub::new();
    let (x, all) = (Arc::new(Mailbox::new(1000)), Arc::new(Mailbox::new(1000)));
    hub.join(&channel(), filtering(&x, "x"));
    hub.join(&channel(), subscriber(&all, 1));
    for (offset, value) in [(4, "x"), (5, "y"), (6, "y"), (7, "x"), (8, "x"), (9, "y")] {
        hub.broadcast(&tagged(offset, value));
    }
    assert_eq!(deliveries(&x), [(4, 0), (7, 2), (8, 0)]);
    assert_eq!(deliveries(&all).len(), 6);
    let withheld = hub.withheld(&channel(), &x, key(1)).unwrap();
    assert_eq!((withheld.after, withheld.last.offset), (8, 9));
    assert_eq!(hub.withheld(&channel(), &all, key(1)), None);
}

#[test]
fn what_never_reached_the_hub_is_not_taken_for_kept_back() {
    let hub = Hub::new();
    let x = Arc::new(Mailbox::new(1000));
    hub.join(&channel(), filtering(&x, "x"));
    for (offset, value) in [(1, "x"), (2, "y"), (4, "y"), (5, "x")] {
        hub.broadcast(&tagged(offset, value));
    }
    assert_eq!(deliveries(&x), [(1, 0), (5, 1)], "3 is missing");
}

#[test]
fn equal_filters_are_one_group_and_joins_are_for_all() {
    let hub = Hub::new();
    let boxes: Vec<_> = (0..6).map(|_| Arc::new(Mailbox::new(1000))).collect();
    for (n, mailbox) in boxes.iter().enumerate() {
        let value = if n < 4 { "x" } else { "y" };
        let subscriber = Subscriber {
            join_leave: true,
            ..filtering(mailbox, value)
        };
        hub.join(&channel(), subscriber);
    }
    let fanout = hub.broadcast(&tagged(1, "x"));
    assert_eq!((fanout.queued, fanout.unwanted, fanout.frames), (4, 2, 1));
    let join = Arc::new(Broadcast {
        channel: channel(),
        event: ChannelEvent::Join(Arc::default()),
        watch: None,
    });
    let fanout = hub.broadcast(&join);
    assert_eq!((fanout.queued, fanout.unwanted), (6, 0));
    assert_eq!(hub.subscriptions(), 6);
    for mailbox in &boxes[..5] {
        assert!(!hub.leave(&channel(), mailbox, key(1)));
    }
    assert_eq!(hub.broadcast(&tagged(2, "y")).queued, 1);
    assert!(hub.leave(&channel(), &boxes[5], key(1)), "the last one");
    assert!(!hub.has(&channel()));
}

#[test]
fn a_publication_nobody_wants_costs_its_filters_and_not_its_subscribers() {
    let hub = Hub::new();
    let mailbox = Arc::new(Mailbox::new(1000));
    for generation in 0..1000 {
        let value = if generation % 2 == 0 { "x" } else { "y" };
        let subscriber = Subscriber {
            key: key(generation),
            ..filtering(&mailbox, value)
        };
        hub.join(&channel(), subscriber);
    }
    let publication = tagged(1, "z");
    let allocations = allocation_counter::measure(|| {
        assert_eq!(hub.broadcast(&publication).unwanted, 1000);
    });
    assert_eq!(allocations.count_total, 0);
}

fn reading_slowly(mailbox: &Arc<Mailbox>, slow: SlowPolicy) -> Subscriber {
    Subscriber {
        slow,
        ..subscriber(mailbox, 1)
    }
}

fn large(offset: u64) -> Arc<Broadcast> {
    let publication = Arc::new(Publication {
        offset,
        data: Bytes::from(format!("\"{}\"", "x".repeat(10_000))),
        ..Publication::default()
    });
    Arc::new(Broadcast {
        channel: channel(),
        event: ChannelEvent::Publication(publication, Epoch::from("e")),
        watch: None,
    })
}

#[test]
fn the_newest_is_kept_for_a_slow_reader_and_nothing_is_a_gap() {
    let hub = Hub::new();
    let mailbox = Arc::new(Mailbox::new(1 << 20));
    hub.join(&channel(), reading_slowly(&mailbox, SlowPolicy::Latest));
    let lagging: usize = (1..=100).map(|n| hub.broadcast(&large(n)).lagging).sum();
    let first = deliveries(&mailbox);
    let reached = u64::try_from(first.len()).unwrap();
    assert!((8..=13).contains(&reached), "128 KiB: {reached}");
    assert_eq!(lagging, 100 - first.len());
    assert_eq!(deliveries(&mailbox), [(100, 99 - reached)]);
    mailbox.written(1 << 20);
    assert_eq!(hub.broadcast(&large(101)).queued, 1);
    assert_eq!(deliveries(&mailbox), [(101, 0)]);
}

#[test]
fn what_comes_late_closes_nobody_who_can_read_it_in_history() {
    let hub = Hub::new();
    let [knows, does_not] = [(); 2].map(|()| Arc::new(Mailbox::new(1 << 20)));
    let positioned = Subscriber {
        positioned: true,
        ..subscriber(&knows, 1)
    };
    hub.join(&channel(), positioned);
    hub.join(&channel(), subscriber(&does_not, 1));
    for offset in 1..=150 {
        hub.broadcast_late(&large(offset));
    }
    assert!(does_not.overflowed());
    // What is told live comes after what is late, so it is read from history, too.
    assert_eq!(hub.broadcast(&large(151)).lagging, 1);
    let mails = take(&knows).unwrap().unwrap();
    assert!(matches!(mails.back(), Some(Mail::Behind(_))));
    let bytes: usize = mails.iter().map(Mail::cost).sum();
    let half = 1 << 19;
    assert!((half - 20_000..=half).contains(&bytes), "{bytes}");
    mailbox_resumes(&hub, &knows, bytes);
}

/// A connection that is up to date again and has room gets everything, up to all of its budget.
fn mailbox_resumes(hub: &Hub, mailbox: &Arc<Mailbox>, written: usize) {
    mailbox.written(written);
    mailbox.resume(key(1));
    let queued: usize = (152..=240).map(|n| hub.broadcast(&large(n)).queued).sum();
    assert_eq!(queued, 89);
    assert!(!mailbox.overflowed());
}

#[test]
fn a_slow_reader_that_recovers_is_told_once_and_given_nothing_until_it_resumes() {
    let hub = Hub::new();
    let mailbox = Arc::new(Mailbox::new(1 << 20));
    hub.join(&channel(), reading_slowly(&mailbox, SlowPolicy::Recover));
    for offset in 1..=100 {
        hub.broadcast(&large(offset));
    }
    let mails = take(&mailbox).unwrap().unwrap();
    let told: Vec<_> = mails
        .iter()
        .enumerate()
        .filter(|(_, mail)| matches!(mail, Mail::Behind(_)))
        .map(|(at, _)| at)
        .collect();
    assert_eq!(told, [mails.len() - 1], "once, and last");
    let bytes: usize = mails.iter().map(Mail::cost).sum();
    assert!(bytes <= 128 * 1024, "{bytes}");
    mailbox.written(bytes);
    assert_eq!(hub.broadcast(&large(101)).lagging, 1);
    mailbox.resume(key(1));
    assert_eq!(hub.broadcast(&large(102)).queued, 1);
    assert_eq!(deliveries(&mailbox), [(102, 0)]);
    assert!(!mailbox.overflowed());
}

#[test]
fn without_a_policy_a_slow_reader_is_closed() {
    let hub = Hub::new();
    let mailbox = Arc::new(Mailbox::new(300_000));
    hub.join(&channel(), reading_slowly(&mailbox, SlowPolicy::Disconnect));
    for offset in 1..=100 {
        hub.broadcast(&large(offset));
    }
    assert!(mailbox.overflowed());
}
