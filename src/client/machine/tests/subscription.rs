//! Subscriptions of both sides: established, interrupted, recovered, ended.

use super::*;
use crate::model::{ClientInfo, UserId};

fn recovering() -> SubscribeOptions {
    SubscribeOptions::new().recover()
}

/// Subscribed to `news` at offset 5 of epoch `e`.
fn at_five() -> (Bench, SubscriptionId) {
    let mut bench = Bench::new().connected();
    let id = bench.subscribe("news", recovering());
    let (command, _) = bench.sent_subscribe();
    bench.reply(command, subscribed(recoverable(5, "e")));
    bench.look();
    (bench, id)
}

#[test]
fn options_travel_in_the_command() {
    let mut bench = Bench::new().connected();
    let options = SubscribeOptions::new().recover().positioned().join_leave();
    bench.subscribe("news", options.token("t").data("{}"));
    let (_, request) = bench.sent_subscribe();
    assert_eq!(
        (request.channel.as_str(), request.token.as_str()),
        ("news", "t")
    );
    assert!(request.recoverable && request.positioned && request.join_leave && !request.recover);
    assert_eq!((&request.data[..], request.flag), (&b"{}"[..], 0));
}

#[test]
fn subscriptions_wait_for_the_connection() {
    let mut bench = Bench::new();
    bench.subscribe("news", SubscribeOptions::new());
    assert!(bench.sent().is_empty());
    bench.connect_with(ConnectResult::default());
    assert_eq!(bench.sent_subscribe().1.channel.as_str(), "news");
}

#[test]
fn one_channel_has_one_subscription() {
    let (mut bench, _) = at_five();
    let second =
        bench
            .machine
            .subscribe(bench.now, "news".into(), recovering(), &mut bench.effects);
    assert!(matches!(second, Err(Error::AlreadySubscribed(channel)) if channel.as_str() == "news"));
}

#[test]
fn since_recovers_with_the_first_command() {
    let mut bench = Bench::new().connected();
    let since = StreamPosition {
        offset: 3,
        epoch: "e".into(),
    };
    let id = bench.subscribe("news", recovering().since(since));
    let (command, request) = bench.sent_subscribe();
    assert_eq!(
        (request.recover, request.offset, request.epoch.as_str()),
        (true, 3, "e")
    );
    let result = SubscribeResult {
        recovered: true,
        was_recovering: true,
        publications: vec![publication(4).into(), publication(5).into()],
        ..recoverable(3, "e")
    };
    bench.reply(command, subscribed(result));
    assert_eq!(
        bench.told(id),
        [
            "subscribed Some(3) true true 2",
            "publication 4",
            "publication 5"
        ]
    );
}

#[test]
fn subscribes_again_with_the_position_reached() {
    let (mut bench, id) = at_five();
    bench.publish("news", 6);
    bench.publish("news", 7);
    bench.lose(0);
    assert_eq!(
        bench.told(id),
        ["publication 6", "publication 7", "subscribing 1"]
    );
    bench.look();
    bench.come_back();
    let (command, request) = bench.sent_subscribe();
    assert_eq!(
        (request.recover, request.offset, request.epoch.as_str()),
        (true, 7, "e")
    );
    bench.look();
    let result = SubscribeResult {
        recovered: true,
        was_recovering: true,
        publications: vec![publication(8).into()],
        ..recoverable(7, "e")
    };
    bench.reply(command, subscribed(result));
    bench.publish("news", 8);
    bench.publish("news", 9);
    assert_eq!(
        bench.told(id),
        [
            "subscribed Some(7) true true 1",
            "publication 8",
            "publication 9"
        ]
    );
}

#[test]
fn new_epoch_is_told_and_followed() {
    let (mut bench, id) = at_five();
    bench.lose(3001);
    bench.come_back();
    let (command, _) = bench.sent_subscribe();
    bench.look();
    let result = SubscribeResult {
        was_recovering: true,
        ..recoverable(2, "other")
    };
    bench.reply(command, subscribed(result));
    bench.publish("news", 3);
    assert_eq!(
        bench.told(id),
        ["subscribed Some(2) true false 0", "publication 3"]
    );
}

#[test]
fn without_recovery_nothing_is_asked_for_again() {
    let mut bench = Bench::new().connected();
    bench.subscribe("news", SubscribeOptions::new());
    let (command, _) = bench.sent_subscribe();
    bench.reply(command, subscribed(SubscribeResult::default()));
    bench.publish("news", 4);
    bench.lose(0);
    bench.come_back();
    let (_, request) = bench.sent_subscribe();
    assert!(!request.recover && request.offset == 0);
}

#[test]
fn duplicates_are_left_out() {
    let (mut bench, id) = at_five();
    for offset in [5, 6, 6, 2, 7] {
        bench.publish("news", offset);
    }
    assert_eq!(bench.told(id), ["publication 6", "publication 7"]);
}

#[test]
fn gap_is_closed_by_subscribing_again() {
    let (mut bench, id) = at_five();
    bench.publish("news", 7);
    assert_eq!(bench.told(id), ["subscribing 2500"]);
    let (_, channel) = bench.take_sent(|request| match request {
        Request::Unsubscribe(channel) => Some(channel),
        _ => None,
    });
    assert_eq!(channel.as_str(), "news");
    let (_, request) = bench.sent_subscribe();
    assert_eq!((request.recover, request.offset), (true, 5));
    bench.look();
    bench.publish("news", 8);
    assert!(
        bench.told(id).is_empty(),
        "left over of the old subscription"
    );
}

#[test]
fn unsubscribe_codes_below_2500_are_final() {
    for code in [2000, 2001, 2100, 2499] {
        let (mut bench, id) = at_five();
        bench.push(
            "news",
            PushBody::Unsubscribe(Unsubscribe {
                code,
                reason: "bye".into(),
            }),
        );
        assert_eq!(bench.told(id), [format!("unsubscribed {code} bye")]);
        assert!(bench.sent().is_empty());
        bench.subscribe("news", recovering());
    }
}

#[test]
fn unsubscribe_codes_from_2500_subscribe_again() {
    for code in [2500, 2501, 2600, 2999] {
        let (mut bench, id) = at_five();
        bench.push(
            "news",
            PushBody::Unsubscribe(Unsubscribe {
                code,
                reason: "x".into(),
            }),
        );
        assert_eq!(bench.told(id), [format!("subscribing {code}")]);
        let (_, request) = bench.sent_subscribe();
        assert_eq!((request.recover, request.offset), (true, 5), "{code}");
    }
}

#[test]
fn invalidated_state_begins_from_scratch() {
    let (mut bench, _) = at_five();
    bench.push(
        "news",
        PushBody::Unsubscribe(Unsubscribe {
            code: 2502,
            reason: "x".into(),
        }),
    );
    assert!(!bench.sent_subscribe().1.recover);

    let (mut bench, _) = at_five();
    bench.lose(3014);
    bench.come_back();
    assert!(!bench.sent_subscribe().1.recover);
}

#[test]
fn temporary_subscribe_errors_are_retried_with_growing_delays() {
    let mut bench = Bench::new().connected();
    let id = bench.subscribe("news", recovering());
    for expected in [750, 1000, 1500] {
        let (command, _) = bench.sent_subscribe();
        bench.look();
        bench.refuse(command, ClientError::TOO_MANY_REQUESTS);
        assert_eq!(bench.told(id), ["failed: error 111: too many requests"]);
        assert_eq!(bench.next(), Some(Duration::from_millis(expected)));
        bench.pass(Duration::from_millis(expected));
    }
}

#[test]
fn other_subscribe_errors_are_final_and_keep_their_number() {
    for error in [
        ClientError::PERMISSION_DENIED,
        ClientError::UNKNOWN_CHANNEL,
        ClientError::TOKEN_EXPIRED,
    ] {
        let mut bench = Bench::new().connected();
        let id = bench.subscribe("news", recovering());
        let (command, _) = bench.sent_subscribe();
        bench.refuse(command, error.clone());
        assert_eq!(
            bench.told(id),
            [format!("unsubscribed {} {}", error.code, error.message)]
        );
        assert_eq!(bench.next(), None);
    }
}

#[test]
fn unanswered_subscribe_reconnects() {
    let mut bench = Bench::new().connected();
    bench.subscribe("news", recovering());
    bench.look();
    bench.pass(5 * SECOND);
    assert_eq!(bench.heard(), ["connecting 3 subscribe timeout"]);
}

#[test]
fn unanswered_unsubscribe_reconnects() {
    let (mut bench, id) = at_five();
    bench.unsubscribe("news", id);
    assert_eq!(bench.told(id), ["unsubscribed 0 client unsubscribed"]);
    bench.look();
    bench.pass(5 * SECOND);
    assert_eq!(
        bench.heard().last().unwrap(),
        "connecting 4 unsubscribe error"
    );
    bench.look();
    bench.come_back();
    assert!(bench.sent().is_empty(), "it is not wanted any more");
}

#[test]
fn late_answer_of_an_ended_subscription_does_not_touch_the_next() {
    let mut bench = Bench::new().connected();
    let first = bench.subscribe("news", recovering());
    let (late, _) = bench.sent_subscribe();
    bench.unsubscribe("news", first);
    let second = bench.subscribe("news", recovering());
    let (command, _) = bench.sent_subscribe();
    bench.look();
    bench.reply(late, subscribed(recoverable(9, "e")));
    bench.publish("news", 10);
    assert!(bench.told(first).is_empty() && bench.told(second).is_empty());
    bench.reply(command, subscribed(recoverable(10, "e")));
    bench.unsubscribe("news", first);
    assert_eq!(bench.told(second), ["subscribed Some(10) false false 0"]);
}

#[test]
fn joins_and_leaves_are_told() {
    let (mut bench, id) = at_five();
    let info = ClientInfo {
        user: UserId::from("ann"),
        ..ClientInfo::default()
    };
    bench.push("news", PushBody::Join(info.clone().into()));
    bench.push("news", PushBody::Leave(info.into()));
    assert_eq!(bench.told(id), ["join ann", "leave ann"]);
}

#[test]
fn server_side_subscriptions_come_with_the_connect_reply() {
    let mut bench = Bench::new();
    let mut result = ConnectResult::default();
    result.subs.insert("own".into(), recoverable(1, "e"));
    bench.connect_with(result);
    bench.publish("own", 2);
    assert_eq!(
        bench.heard()[2..],
        ["own subscribed Some(1) false false 0", "own publication 2"]
    );
}

#[test]
fn server_side_subscriptions_are_recovered_through_connect() {
    let mut bench = Bench::new();
    let mut result = ConnectResult::default();
    result.subs.insert("kept".into(), recoverable(1, "e"));
    result.subs.insert("gone".into(), recoverable(1, "e"));
    bench.connect_with(result);
    bench.publish("kept", 2);
    bench.lose(0);
    bench.pass(20 * SECOND);
    bench.open();
    let (id, connect) = bench.sent_connect();
    let known = &connect.subs[&Channel::from("kept")];
    assert_eq!(
        (known.recover, known.offset, known.epoch.as_str()),
        (true, 2, "e")
    );
    bench.look();
    let mut result = ConnectResult::default();
    let again = SubscribeResult {
        recovered: true,
        was_recovering: true,
        publications: vec![publication(3).into()],
        ..recoverable(2, "e")
    };
    result.subs.insert("kept".into(), again);
    bench.reply(id, ReplyBody::Connect(Box::new(result)));
    assert_eq!(
        bench.heard()[1..],
        [
            "gone unsubscribed 2000 server unsubscribe",
            "kept subscribed Some(2) true true 1",
            "kept publication 3",
        ]
    );
}

#[test]
fn server_side_subscriptions_begin_and_end_by_push() {
    let mut bench = Bench::new().connected();
    let position = StreamPosition {
        offset: 7,
        epoch: "e".into(),
    };
    let push = SubscribePush {
        recoverable: true,
        positioned: true,
        position,
        data: Bytes::new(),
    };
    bench.push("own", PushBody::Subscribe(push));
    bench.publish("own", 8);
    bench.push("own", PushBody::Unsubscribe(Unsubscribe::SERVER));
    bench.publish("own", 9);
    assert_eq!(
        bench.heard(),
        [
            "own subscribed Some(7) false false 0",
            "own publication 8",
            "own unsubscribed 2000 server unsubscribe",
        ]
    );
}

#[test]
fn gap_of_a_server_side_subscription_reconnects() {
    let mut bench = Bench::new();
    let mut result = ConnectResult::default();
    result.subs.insert("own".into(), recoverable(1, "e"));
    bench.connect_with(result);
    bench.look();
    bench.publish("own", 3);
    assert_eq!(
        bench.heard(),
        ["connecting 3010 insufficient state", "own subscribing 3010"]
    );
}

#[test]
fn unknown_channels_are_ignored() {
    let mut bench = Bench::new().connected();
    bench.publish("never", 1);
    bench.push("never", PushBody::Unsubscribe(Unsubscribe::SERVER));
    assert!(bench.look().is_empty());
}
