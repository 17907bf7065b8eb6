//! Batching and slow readers as one session sees them (client-protocol.md 5.12).

use super::*;
use crate::model::Batch;

fn batching(max_size: usize, flush_latest: bool) -> SubscribeOptions {
    SubscribeOptions {
        batch: Batch {
            max_size,
            max_delay: Duration::from_millis(50),
            flush_latest,
        },
        ..recoverable()
    }
}

fn written(wire: &Wire) -> Vec<String> {
    let text = |frame: &Bytes| String::from_utf8_lossy(frame).into_owned();
    wire.frames.iter().map(text).collect()
}

#[test]
fn publications_wait_for_the_delay_and_keep_their_order() {
    let mut wire = Wire::connected(Version::V2);
    let (key, _) = wire.subscribe(batching(0, false), position(5, "e"));
    for offset in 6..=8 {
        wire.deliver(delivery(key, offset, "e"));
    }
    assert!(wire.frames.is_empty());
    wire.pass(Duration::from_millis(50));
    assert_eq!(written(&wire), ["6", "7", "8"]);
    wire.deliver(delivery(key, 9, "e"));
    assert_eq!(wire.frames.len(), 3, "the next batch");
    wire.pass(Duration::from_millis(50));
    assert_eq!(wire.frames.len(), 4);
}

#[test]
fn a_full_batch_does_not_wait() {
    let mut wire = Wire::connected(Version::V2);
    let (key, _) = wire.subscribe(batching(2, false), position(5, "e"));
    for offset in 6..=8 {
        wire.deliver(delivery(key, offset, "e"));
    }
    assert_eq!(written(&wire), ["6", "7"]);
    let (key, _) = {
        wire = Wire::connected(Version::V2);
        wire.subscribe(batching(0, false), position(5, "e"))
    };
    wire.deliver(Delivery {
        frame: Frame::Finished(Bytes::from(vec![b'x'; 20_000])),
        ..delivery(key, 6, "e")
    });
    assert_eq!(wire.frames.len(), 1, "so many bytes do not wait either");
}

#[test]
fn only_the_newest_is_written_where_that_is_wanted() {
    let mut wire = Wire::connected(Version::V2);
    let (key, _) = wire.subscribe(batching(0, true), position(5, "e"));
    for offset in 6..=8 {
        wire.deliver(delivery(key, offset, "e"));
    }
    wire.pass(Duration::from_millis(50));
    wire.deliver(delivery(key, 9, "e"));
    wire.pass(Duration::from_millis(50));
    assert_eq!(written(&wire), ["8", "9"]);
    assert_eq!(wire.close_code(), None);
}

#[test]
fn an_unsubscribe_and_a_disconnect_lose_nothing_that_was_accepted() {
    for unsubscribe in [true, false] {
        let mut wire = Wire::connected(Version::V2);
        let (key, _) = wire.subscribe(batching(0, false), position(5, "e"));
        wire.deliver(delivery(key, 6, "e"));
        if unsubscribe {
            wire.send(Request::Unsubscribe("ch".into()));
        } else {
            let mut out = Effects::new();
            wire.session.close(Disconnect::SHUTDOWN, &mut out);
            let first = matches!(&out[0], Effect::Frame(_));
            assert!(first, "before the close");
            wire.run(out);
        }
        assert_eq!(written(&wire), ["6"]);
    }
    let mut wire = Wire::connected(Version::V2);
    let (key, _) = wire.subscribe(batching(0, false), position(5, "e"));
    wire.deliver(delivery(key, 6, "e"));
    let mut out = Effects::new();
    wire.session.close(Disconnect::SLOW, &mut out);
    wire.run(out);
    assert!(wire.frames.is_empty(), "who does not read is sent nothing");
}

fn page(offsets: std::ops::RangeInclusive<u64>, top: u64) -> Outcome {
    Outcome::ReadOn(Some(Joined {
        publications: offsets.map(publication).collect(),
        top: position(top, "e"),
        ..Joined::default()
    }))
}

/// What no page holds.
#[expect(clippy::reversed_empty_ranges, reason = "an empty page")]
fn nothing(top: u64) -> Outcome {
    page(1..=0, top)
}

fn behind() -> (Wire, SubscriptionKey) {
    let mut wire = Wire::connected(Version::V2);
    let (key, _) = wire.subscribe(recoverable(), position(5, "e"));
    let mut out = Effects::new();
    wire.session.fell_behind(key, &mut out);
    wire.run(out);
    (wire, key)
}

/// Whether the read that waits asked the mailbox to take deliveries again, and its position.
fn reading(wire: &Wire) -> Option<(u64, bool)> {
    wire.calls.iter().rev().find_map(|(_, call)| match call {
        Call::ReadOn { since, resume, .. } => Some((since.offset, *resume)),
        _ => None,
    })
}

#[test]
fn a_subscription_that_fell_behind_is_brought_up_to_date_without_a_gap() {
    let (mut wire, key) = behind();
    assert_eq!(reading(&wire), Some((5, false)));
    wire.answer(page(6..=21, 30));
    assert_eq!(reading(&wire), Some((21, false)));
    wire.answer(page(22..=30, 30));
    assert_eq!(reading(&wire), Some((30, true)), "at the top");
    wire.deliver(delivery(key, 32, "e"));
    wire.deliver(delivery(key, 33, "e"));
    assert_eq!(wire.frames.len(), 25, "held");
    wire.answer(page(31..=32, 32));
    assert_eq!(wire.frames.len(), 28, "31 and 32 of history, 33 as it came");
    assert_eq!(written(&wire).last().map(String::as_str), Some("33"));
    wire.deliver(delivery(key, 34, "e"));
    assert_eq!(wire.frames.len(), 29);
    assert!(wire.waiting().is_empty());
}

#[test]
fn falling_behind_again_while_catching_up_begins_anew() {
    let (mut wire, key) = behind();
    wire.answer(nothing(5));
    assert_eq!(reading(&wire), Some((5, true)));
    wire.deliver(delivery(key, 6, "e"));
    let mut out = Effects::new();
    wire.session.fell_behind(key, &mut out);
    wire.run(out);
    wire.answer(nothing(5));
    assert_eq!(written(&wire), ["6"]);
    assert_eq!(reading(&wire), Some((6, false)));
}

#[test]
fn more_than_is_held_is_read_from_history() {
    let (mut wire, key) = behind();
    wire.answer(nothing(5));
    for offset in 6..=9 {
        wire.deliver(Delivery {
            frame: Frame::Finished(Bytes::from(vec![b'x'; 30_000])),
            ..delivery(key, offset, "e")
        });
    }
    wire.answer(nothing(5));
    assert_eq!(wire.frames.len(), 2);
    assert_eq!(reading(&wire), Some((7, true)));
    wire.answer(page(8..=9, 9));
    assert_eq!(wire.frames.len(), 4);
    assert!(wire.waiting().is_empty());
}

#[test]
fn what_history_does_not_have_any_more_ends_the_subscription() {
    let other_epoch = Outcome::ReadOn(Some(Joined {
        top: position(9, "f"),
        ..Joined::default()
    }));
    for outcome in [
        page(8..=9, 9),
        nothing(9),
        other_epoch,
        Outcome::ReadOn(None),
    ] {
        let (mut wire, _) = behind();
        wire.answer(outcome);
        assert_eq!(wire.waiting(), ["leave"]);
        assert!(wire.frames.is_empty());
    }
}
