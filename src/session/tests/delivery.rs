use super::*;
use crate::model::ClientInfo;

fn live(version: Version) -> (Wire, SubscriptionKey) {
    let mut wire = Wire::connected(version);
    let (key, _) = wire.subscribe(recoverable(), position(5, "e"));
    (wire, key)
}

#[test]
fn the_next_publication_is_written_and_an_old_one_dropped() {
    let (mut wire, key) = live(Version::V2);
    for offset in [5, 6, 6, 4, 7] {
        wire.deliver(delivery(key, offset, "e"));
    }
    assert_eq!(
        wire.frames,
        [Bytes::from_static(b"6"), Bytes::from_static(b"7")]
    );
}

#[test]
fn a_gap_ends_a_v2_subscription_with_2500_after_it_is_undone() {
    let (mut wire, key) = live(Version::V2);
    wire.deliver(delivery(key, 7, "e"));
    assert!(wire.frames.is_empty() && wire.pushes().is_empty());
    wire.deliver(delivery(key, 6, "e"));
    assert!(wire.frames.is_empty(), "nothing more is delivered");
    wire.answer(Outcome::Done);
    let pushes = wire.pushes();
    let [PushBody::Unsubscribe(why)] = pushes.as_slice() else {
        panic!("not told: {pushes:?}")
    };
    assert_eq!(
        (why.code, why.reason.as_ref()),
        (2500, "insufficient state")
    );
}

fn lost(key: SubscriptionKey, sound: Option<StreamPosition>) -> Delivery {
    let event = ChannelEvent::InsufficientState(sound);
    Delivery {
        key,
        broadcast: Arc::new(Broadcast {
            channel: Channel::from("ch"),
            event,
            watch: None,
        }),
        skipped: 0,
        frame: Frame::Withheld,
    }
}

#[test]
fn a_loss_the_engine_tells_of_ends_a_v2_subscription_with_2500() {
    for sound in [None, Some(position(6, "e")), Some(position(0, "new epoch"))] {
        let (mut wire, key) = live(Version::V2);
        wire.deliver(lost(key, sound));
        wire.answer(Outcome::Done);
        let pushes = wire.pushes();
        let [PushBody::Unsubscribe(why)] = pushes.as_slice() else {
            panic!("not told: {pushes:?}")
        };
        assert_eq!(why.code, 2500);
        assert_eq!(wire.close_code(), None);
    }
}

#[test]
fn a_loss_the_engine_tells_of_closes_v1_and_server_side_subscriptions_with_3010() {
    let (mut wire, key) = live(Version::V1);
    wire.deliver(lost(key, None));
    assert_eq!(wire.close_code(), Some(3010));

    let mut wire = Wire::new(Version::V2);
    wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Ok(Box::new(Identified {
        channels: [(Channel::from("ch"), recoverable())].into(),
        ..identified()
    }))));
    wire.answer(Outcome::Registered(Ok(())));
    let key = wire.join_key();
    wire.answer(Outcome::Joined(Ok(Joined {
        publications: Vec::new(),
        top: position(5, "e"),
        ..Joined::default()
    })));
    wire.deliver(lost(key, None));
    assert_eq!(wire.close_code(), Some(3010));
}

#[test]
fn a_loss_does_not_concern_who_has_no_position_or_is_past_it() {
    let mut wire = Wire::connected(Version::V2);
    let (key, _) = wire.subscribe(SubscribeOptions::default(), StreamPosition::default());
    wire.deliver(lost(key, None));
    wire.deliver(delivery(key, 9, "e"));
    assert_eq!(wire.frames.len(), 1);

    let (mut wire, key) = live(Version::V2);
    for sound in [position(5, "e"), position(3, "e")] {
        wire.deliver(lost(key, Some(sound)));
    }
    wire.deliver(delivery(key, 6, "e"));
    assert_eq!(wire.frames.len(), 1);
}

#[test]
fn a_loss_while_joining_is_judged_by_the_position_that_was_read() {
    for (sound, calls) in [(position(9, "e"), 1), (position(5, "e"), 0)] {
        let mut wire = Wire::connected(Version::V2);
        wire.send(recover("ch", 5, "e"));
        wire.answer(Outcome::Subscribe(Ok(Box::new(recoverable()))));
        let key = wire.join_key();
        wire.deliver(lost(key, Some(sound)));
        wire.answer(Outcome::Joined(Ok(Joined {
            publications: Vec::new(),
            top: position(5, "e"),
            ..Joined::default()
        })));
        let leaves = wire
            .waiting()
            .iter()
            .filter(|name| **name == "leave")
            .count();
        assert_eq!(leaves, calls);
    }
}

#[test]
fn a_gap_closes_v1_and_server_side_subscriptions_with_3010() {
    let (mut wire, key) = live(Version::V1);
    wire.deliver(delivery(key, 7, "e"));
    assert_eq!(wire.close_code(), Some(3010));
}

#[test]
fn another_epoch_is_a_gap() {
    let (mut wire, key) = live(Version::V2);
    wire.deliver(delivery(key, 6, "other"));
    assert_eq!(wire.waiting(), ["leave"]);
}

#[test]
fn an_empty_epoch_is_adopted() {
    let mut wire = Wire::connected(Version::V2);
    let (key, _) = wire.subscribe(recoverable(), position(0, ""));
    wire.deliver(delivery(key, 1, "e"));
    wire.deliver(delivery(key, 2, "f"));
    assert_eq!(wire.frames.len(), 1);
    assert_eq!(wire.waiting(), ["leave"]);
}

#[test]
fn publications_past_history_are_delivered_without_moving_the_position() {
    let (mut wire, key) = live(Version::V2);
    wire.deliver(delivery(key, 0, ""));
    wire.deliver(delivery(key, 6, "e"));
    assert_eq!(wire.frames.len(), 2);
}

#[test]
fn a_subscription_without_position_takes_everything() {
    let mut wire = Wire::connected(Version::V2);
    let (key, _) = wire.subscribe(SubscribeOptions::default(), StreamPosition::default());
    for offset in [9, 3, 3] {
        wire.deliver(delivery(key, offset, "e"));
    }
    assert_eq!(wire.frames.len(), 3);
}

#[test]
fn a_payload_that_cannot_be_written_is_3506() {
    let (mut wire, key) = live(Version::V2);
    wire.deliver(Delivery {
        frame: Frame::Inappropriate,
        ..delivery(key, 6, "e")
    });
    assert_eq!(wire.close_code(), Some(3506));
}

#[test]
fn what_arrives_while_joining_is_merged_into_the_reply() {
    let mut wire = Wire::connected(Version::V2);
    let id = wire.send(recover("ch", 5, "e"));
    wire.answer(Outcome::Subscribe(Ok(Box::new(recoverable()))));
    let key = wire.join_key();
    for offset in [7, 8] {
        wire.deliver(delivery(key, offset, "e"));
    }
    let joined = Joined {
        publications: vec![publication(6), publication(7)],
        top: position(7, "e"),
        ..Joined::default()
    };
    wire.answer(Outcome::Joined(Ok(joined)));
    let ReplyBody::Subscribe(result) = wire.reply_to(id) else {
        panic!("not subscribed")
    };
    let offsets: Vec<_> = result.publications.iter().map(|p| p.offset).collect();
    assert_eq!((result.recovered, offsets), (true, vec![6, 7, 8]));
    wire.deliver(delivery(key, 9, "e"));
    assert_eq!(wire.frames, [Bytes::from_static(b"9")]);
}

#[test]
fn a_hole_between_history_and_live_is_3010() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(recover("ch", 5, "e"));
    wire.answer(Outcome::Subscribe(Ok(Box::new(recoverable()))));
    let key = wire.join_key();
    wire.deliver(delivery(key, 9, "e"));
    wire.answer(Outcome::Joined(Ok(Joined {
        publications: vec![publication(6)],
        top: position(6, "e"),
        ..Joined::default()
    })));
    assert_eq!(wire.close_code(), Some(3010));
}

#[test]
fn without_recovery_what_arrives_while_joining_moves_the_position_only() {
    let mut wire = Wire::connected(Version::V2);
    let id = wire.send(subscribe("ch"));
    wire.answer(Outcome::Subscribe(Ok(Box::new(recoverable()))));
    let key = wire.join_key();
    wire.deliver(delivery(key, 6, "e"));
    wire.answer(Outcome::Joined(Ok(Joined {
        publications: vec![],
        top: position(5, "e"),
        ..Joined::default()
    })));
    let ReplyBody::Subscribe(result) = wire.reply_to(id) else {
        panic!("not subscribed")
    };
    assert_eq!(
        (result.offset, result.publications.len(), wire.frames.len()),
        (6, 0, 0)
    );
}

#[test]
fn what_a_plain_subscription_misses_while_joining_follows_its_reply() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(subscribe("ch"));
    wire.answer(Outcome::Subscribe(Ok(Box::default())));
    let key = wire.join_key();
    wire.deliver(delivery(key, 0, ""));
    assert!(wire.frames.is_empty());
    wire.answer(Outcome::Joined(Ok(Joined::default())));
    assert_eq!(wire.frames.len(), 1);
}

#[test]
fn holding_has_a_bound() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(subscribe("ch"));
    wire.answer(Outcome::Subscribe(Ok(Box::default())));
    let key = wire.join_key();
    let frame = Frame::Finished(Bytes::from(vec![b'1'; 600]));
    wire.deliver(Delivery {
        frame: frame.clone(),
        ..delivery(key, 1, "")
    });
    assert_eq!(wire.close_code(), None);
    wire.deliver(Delivery {
        frame,
        ..delivery(key, 2, "")
    });
    assert_eq!(wire.close_code(), Some(3008));
}

fn membership(key: SubscriptionKey, event: ChannelEvent) -> Delivery {
    let broadcast = Arc::new(Broadcast {
        channel: Channel::from("ch"),
        event,
        watch: None,
    });
    Delivery {
        key,
        broadcast,
        frame: Frame::Finished(Bytes::from_static(b"m")),
        skipped: 0,
    }
}

#[test]
fn the_own_join_is_delivered_and_the_own_leave_is_not() {
    let (mut wire, key) = live(Version::V2);
    let me = Arc::new(ClientInfo {
        client: "me".into(),
        ..ClientInfo::default()
    });
    let other = Arc::new(ClientInfo {
        client: "other".into(),
        ..ClientInfo::default()
    });
    wire.deliver(membership(key, ChannelEvent::Join(Arc::clone(&me))));
    wire.deliver(membership(key, ChannelEvent::Leave(me)));
    assert_eq!(wire.frames.len(), 1);
    wire.deliver(membership(key, ChannelEvent::Leave(other)));
    assert_eq!(wire.frames.len(), 2);
}

#[test]
fn a_late_delivery_of_an_older_generation_is_dropped() {
    let (mut wire, old) = live(Version::V2);
    wire.send(Request::Unsubscribe("ch".into()));
    wire.answer(Outcome::Done);
    wire.subscribe(recoverable(), position(5, "e"));
    wire.deliver(delivery(old, 6, "e"));
    assert!(wire.frames.is_empty());
}

#[test]
fn a_delivery_that_lags_too_much_is_a_gap() {
    let config = Config {
        position_max_time_lag: Duration::from_secs(2),
        ..config()
    };
    let mut wire = Wire::connected_with(config, Version::V2, identified());
    let (key, _) = wire.subscribe(recoverable(), position(5, "e"));
    let aged = |offset, age: i64| {
        let time = BEGIN * 1000 - age;
        let publication = Arc::new(Publication {
            offset,
            time,
            ..Publication::default()
        });
        let event = ChannelEvent::Publication(publication, Epoch::from("e"));
        membership(key, event)
    };
    wire.deliver(aged(6, 1500));
    assert_eq!(wire.frames.len(), 1);
    wire.deliver(aged(7, 2500));
    assert_eq!((wire.frames.len(), wire.waiting()), (1, vec!["leave"]));
}
