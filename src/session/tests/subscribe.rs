use super::*;
use crate::model::{ClientInfo, SubscribeCommand};

#[test]
fn a_plain_subscription_has_an_empty_result() {
    let mut wire = Wire::connected(Version::V2);
    let (_, result) = wire.subscribe(SubscribeOptions::default(), StreamPosition::default());
    assert_eq!(result, SubscribeResult::default());
}

#[test]
fn the_checks_before_authorization_come_in_order() {
    let with = |change: fn(&mut SubscribeRequest)| {
        let mut request = SubscribeRequest {
            channel: "ch".into(),
            ..SubscribeRequest::default()
        };
        change(&mut request);
        let mut wire = Wire::connected(Version::V2);
        let id = wire.send(Request::Subscribe(Box::new(request)));
        wire.close_code().unwrap_or_else(|| wire.error_of(id))
    };
    assert_eq!(with(|r| r.channel = Channel::default()), 3501);
    assert_eq!(with(|r| r.kind = 4), 108);
    assert_eq!(with(|r| r.kind = 5), 3004);
    assert_eq!(with(|r| r.delta = "other".to_owned()), 3501);
    assert_eq!(with(|r| r.channel = "a-name-that-is-too-long".into()), 107);
}

#[test]
fn v1_ignores_the_fields_of_v2() {
    let mut wire = Wire::connected(Version::V1);
    let delta = "other".to_owned();
    let request = SubscribeRequest {
        channel: "ch".into(),
        kind: 5,
        delta,
        tags_filter: Some(Box::default()),
        ..Default::default()
    };
    let id = wire.send(Request::Subscribe(Box::new(request)));
    wire.answer(Outcome::Subscribe(Ok(Box::default())));
    wire.answer(Outcome::Joined(Ok(Joined::default())));
    assert!(matches!(wire.reply_to(id), ReplyBody::Subscribe(_)));
}

#[test]
fn a_second_subscribe_is_105_even_while_the_first_is_under_way() {
    let mut wire = Wire::connected_with(
        Config {
            concurrency: 8,
            ..config()
        },
        Version::V2,
        identified(),
    );
    wire.send(subscribe("ch"));
    let id = wire.send(subscribe("ch"));
    assert_eq!(wire.error_of(id), 105);
}

#[test]
fn one_channel_more_than_the_limit_is_106() {
    let mut wire = Wire::connected_with(
        Config {
            concurrency: 8,
            ..config()
        },
        Version::V2,
        identified(),
    );
    for channel in ["a", "b", "c", "d"] {
        wire.send(subscribe(channel));
    }
    let id = wire.send(subscribe("e"));
    assert_eq!(wire.error_of(id), 106);
}

#[test]
fn a_refused_subscribe_frees_its_place() {
    let mut wire = Wire::connected(Version::V2);
    let id = wire.send(subscribe("ch"));
    wire.answer(Outcome::Subscribe(Err(
        ClientError::PERMISSION_DENIED.into()
    )));
    assert_eq!(wire.error_of(id), 103);
    wire.subscribe(SubscribeOptions::default(), StreamPosition::default());
}

#[test]
fn an_expiration_that_has_passed_is_110_and_a_later_one_is_told() {
    let mut wire = Wire::connected(Version::V2);
    let id = wire.send(subscribe("ch"));
    let past = SubscribeOptions {
        expire_at: Some(BEGIN),
        ..SubscribeOptions::default()
    };
    wire.answer(Outcome::Subscribe(Ok(Box::new(past))));
    assert_eq!(wire.error_of(id), 110);
    let later = SubscribeOptions {
        expire_at: Some(BEGIN + 9),
        ..SubscribeOptions::default()
    };
    let (_, result) = wire.subscribe(later, StreamPosition::default());
    assert_eq!(result.ttl, Some(9));
}

#[test]
fn a_failing_engine_is_3004() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(subscribe("ch"));
    wire.answer(Outcome::Subscribe(Ok(Box::default())));
    wire.answer(Outcome::Joined(Err(Disconnect::SERVER_ERROR.into())));
    assert_eq!(wire.close_code(), Some(3004));
}

fn recovering(request: Request, joined: Joined) -> (Wire, u32) {
    let mut wire = Wire::connected(Version::V2);
    let id = wire.send(request);
    wire.answer(Outcome::Subscribe(Ok(Box::new(recoverable()))));
    wire.answer(Outcome::Joined(Ok(joined)));
    (wire, id)
}

fn result_of(wire: &Wire, id: u32) -> SubscribeResult {
    match wire.reply_to(id) {
        ReplyBody::Subscribe(result) => *result,
        other => panic!("not subscribed: {other:?}"),
    }
}

#[test]
fn recovery_follows_the_table_of_stream_mode() {
    // (asked offset and epoch, publications, top), (recovered, publications, offset)
    type Case = (
        (u64, &'static str),
        (&'static [u64], u64, &'static str),
        (bool, usize, u64),
    );
    let cases: [Case; 8] = [
        ((5, "x"), (&[], 7, "e"), (false, 0, 7)),
        ((5, "e"), (&[], 5, "e"), (true, 0, 5)),
        ((5, ""), (&[], 5, "e"), (true, 0, 5)),
        ((5, "e"), (&[6, 7], 7, "e"), (true, 2, 5)),
        ((5, "e"), (&[7], 7, "e"), (false, 0, 7)),
        ((5, "e"), (&[6, 7], 9, "e"), (false, 0, 9)),
        ((9, "e"), (&[], 5, "e"), (false, 0, 5)),
        ((0, "e"), (&[1], 1, "e"), (true, 1, 0)),
    ];
    for ((offset, epoch), (found, top, current), expected) in cases {
        let publications = found.iter().map(|offset| publication(*offset)).collect();
        let joined = Joined {
            publications,
            top: position(top, current),
            ..Joined::default()
        };
        let (wire, id) = recovering(recover("ch", offset, epoch), joined);
        let result = result_of(&wire, id);
        assert_eq!(
            (result.recovered, result.publications.len(), result.offset),
            expected,
            "{offset} {epoch}"
        );
        assert!(result.was_recovering && result.recoverable && result.positioned);
        assert_eq!(result.epoch, current);
    }
}

#[test]
fn without_recover_the_subscription_starts_at_the_top() {
    let mut wire = Wire::connected(Version::V2);
    let (_, result) = wire.subscribe(recoverable(), position(7, "e"));
    assert_eq!(
        (result.offset, result.epoch.as_str(), result.was_recovering),
        (7, "e", false)
    );
}

#[test]
fn a_recovery_that_was_not_granted_brings_nothing() {
    let mut wire = Wire::connected(Version::V2);
    let id = wire.send(recover("ch", 5, "e"));
    wire.answer(Outcome::Subscribe(Ok(Box::default())));
    wire.answer(Outcome::Joined(Ok(Joined::default())));
    let expected = SubscribeResult {
        was_recovering: true,
        ..SubscribeResult::default()
    };
    assert_eq!(result_of(&wire, id), expected);
}

#[test]
fn flag_two_turns_an_unrecovered_subscription_into_112() {
    let mut request = recover("ch", 5, "x");
    if let Request::Subscribe(request) = &mut request {
        request.flag = 3;
    }
    let (mut wire, id) = recovering(
        request,
        Joined {
            publications: vec![],
            top: position(7, "e"),
            ..Joined::default()
        },
    );
    assert_eq!(wire.error_of(id), 112);
    assert_eq!(wire.waiting(), ["leave"]);
    wire.answer(Outcome::Done);
    assert!(wire.pushes().is_empty(), "the client never had it");
    wire.subscribe(recoverable(), position(7, "e"));
}

#[test]
fn v1_takes_its_position_from_the_reply() {
    let mut wire = Wire::connected(Version::V1);
    let id = wire.send(recover("ch", 5, "e"));
    wire.answer(Outcome::Subscribe(Ok(Box::new(recoverable()))));
    let joined = Joined {
        publications: vec![publication(6), publication(7)],
        top: position(7, "e"),
        ..Joined::default()
    };
    wire.answer(Outcome::Joined(Ok(joined)));
    let result = result_of(&wire, id);
    assert_eq!(
        (
            result.offset,
            result.publications[0].offset,
            result.publication_positions
        ),
        (7, 6, None)
    );
}

#[test]
fn v1_positions_in_seq_and_gen_get_their_publications_newest_first() {
    let mut wire = Wire::connected(Version::V1);
    let request = SubscribeRequest {
        channel: "ch".into(),
        recover: true,
        seq: 5,
        epoch: "e".to_owned(),
        ..SubscribeRequest::default()
    };
    let id = wire.send(Request::Subscribe(Box::new(request)));
    wire.answer(Outcome::Subscribe(Ok(Box::new(recoverable()))));
    let joined = Joined {
        publications: vec![publication(6), publication(7)],
        top: position(7, "e"),
        ..Joined::default()
    };
    wire.answer(Outcome::Joined(Ok(joined)));
    let result = result_of(&wire, id);
    assert!(result.recovered);
    assert_eq!(result.publications[0].offset, 7);
    assert_eq!(result.publication_positions, Some(PositionFormat::SeqGen));
}

#[test]
fn a_subscription_of_the_server_is_pushed() {
    let mut wire = Wire::connected(Version::V2);
    let command = SubscribeCommand {
        channel: "ch".into(),
        options: recoverable(),
        recover_since: None,
    };
    let mut out = Effects::new();
    wire.session.subscribe_server_side(command, &mut out);
    wire.run(out);
    let key = wire.join_key();
    wire.answer(Outcome::Joined(Ok(Joined {
        publications: vec![],
        top: position(3, "e"),
        ..Joined::default()
    })));
    let pushes = wire.pushes();
    let [PushBody::Subscribe(push)] = pushes.as_slice() else {
        panic!("no push: {pushes:?}")
    };
    assert!(push.recoverable && push.positioned);
    assert_eq!(push.position, position(3, "e"));
    wire.deliver(delivery(key, 4, "e"));
    assert_eq!(wire.frames.len(), 1);
}

#[test]
fn a_second_subscription_of_the_server_replaces_the_first_without_a_leave() {
    let mut wire = Wire::connected(Version::V2);
    let options = SubscribeOptions {
        join_leave: true,
        presence: true,
        ..SubscribeOptions::default()
    };
    let (old, _) = wire.subscribe(options, StreamPosition::default());
    wire.calls.clear();
    let command = SubscribeCommand {
        channel: "ch".into(),
        options: recoverable(),
        recover_since: None,
    };
    let mut out = Effects::new();
    wire.session.subscribe_server_side(command, &mut out);
    wire.run(out);
    let Some((_, Call::Leave(leave))) = wire.calls.first() else {
        panic!("the old one stays in the hub")
    };
    assert!(!leave.presence && leave.announce.is_none() && leave.key == old);
    wire.answer(Outcome::Joined(Ok(Joined {
        publications: vec![],
        top: position(3, "e"),
        ..Joined::default()
    })));
    wire.deliver(delivery(old, 4, "e"));
    assert!(wire.frames.is_empty(), "the old generation is over");
}

#[test]
fn a_subscription_of_the_server_above_the_limit_is_3505() {
    let mut wire = Wire::connected_with(
        Config {
            channel_limit: 1,
            ..config()
        },
        Version::V2,
        identified(),
    );
    wire.subscribe(SubscribeOptions::default(), StreamPosition::default());
    let command = SubscribeCommand {
        channel: "x".into(),
        options: recoverable(),
        recover_since: None,
    };
    let mut out = Effects::new();
    wire.session.subscribe_server_side(command, &mut out);
    wire.run(out);
    assert_eq!(wire.close_code(), Some(3505));
}

#[test]
fn the_join_is_announced_after_the_reply() {
    let mut wire = Wire::connected(Version::V2);
    let options = SubscribeOptions {
        join_leave: true,
        ..SubscribeOptions::default()
    };
    let id = wire.send(subscribe("ch"));
    wire.answer(Outcome::Subscribe(Ok(Box::new(options))));
    assert_eq!(wire.waiting(), ["join"]);
    wire.answer(Outcome::Joined(Ok(Joined::default())));
    assert!(matches!(wire.reply_to(id), ReplyBody::Subscribe(_)));
    assert_eq!(wire.waiting(), ["announce join"]);
}

#[test]
fn others_see_the_info_of_the_subscription() {
    let mut wire = Wire::connected(Version::V2);
    let info = Bytes::from_static(b"{\"a\":1}");
    wire.send(subscribe("ch"));
    wire.answer(Outcome::Subscribe(Ok(Box::new(SubscribeOptions {
        info: info.clone(),
        ..Default::default()
    }))));
    let Some((_, Call::Join(join))) = wire.calls.first() else {
        panic!("no join")
    };
    let expected = ClientInfo {
        user: "42".into(),
        client: "me".into(),
        conn_info: Bytes::new(),
        chan_info: info,
    };
    assert_eq!(*join.info, expected);
}
