use super::*;
use crate::protocol::ConnectRequest;

fn server_side(channels: &[&str], options: &SubscribeOptions) -> Identified {
    let channels = channels
        .iter()
        .map(|channel| (Channel::from(*channel), options.clone()))
        .collect();
    Identified {
        channels,
        ..identified()
    }
}

#[test]
fn a_v2_connect_is_answered_with_id_version_and_ping() {
    let result = Wire::connected(Version::V2).connect_result();
    assert_eq!(
        (result.client.as_str(), result.version.as_str()),
        ("me", "test")
    );
    assert_eq!(
        (result.ping, result.pong, result.ttl, result.time),
        (25, true, None, 0)
    );
}

#[test]
fn a_v1_connect_announces_no_pings() {
    let result = Wire::connected(Version::V1).connect_result();
    assert_eq!((result.ping, result.pong), (0, false));
}

#[test]
fn without_pong_timeout_no_pong_is_asked_for() {
    let config = Config {
        pong_timeout: None,
        ..config()
    };
    let result = Wire::connected_with(config, Version::V2, identified()).connect_result();
    assert_eq!((result.ping, result.pong), (25, false));
}

#[test]
fn server_time_is_told_when_asked_for() {
    let config = Config {
        include_server_time: true,
        ..config()
    };
    let result = Wire::connected_with(config, Version::V2, identified()).connect_result();
    assert_eq!(result.time, BEGIN * 1000);
}

#[test]
fn a_second_connect_is_3501() {
    for version in [Version::V1, Version::V2] {
        let mut wire = Wire::connected(version);
        wire.send(Request::Connect(Box::default()));
        assert_eq!(wire.close_code(), Some(3501));
    }
}

#[test]
fn connect_is_exclusive() {
    let mut wire = Wire::new(Version::V2);
    assert!(wire.session.ready());
    wire.send(Request::Connect(Box::default()));
    assert!(!wire.session.ready());
}

#[test]
fn a_refused_v2_connect_makes_the_connection_unusable() {
    let mut wire = Wire::new(Version::V2);
    let id = wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Err(ClientError::TOKEN_EXPIRED.into())));
    assert_eq!(wire.error_of(id), 109);
    assert!(wire.refused && wire.closed.is_none());
    wire.send(Request::Connect(Box::default()));
    assert_eq!(wire.close_code(), Some(3501));
}

#[test]
fn a_refused_v2_connect_is_stale_in_the_end() {
    let mut wire = Wire::new(Version::V2);
    wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Err(ClientError::TOKEN_EXPIRED.into())));
    wire.pass(Duration::from_secs(10));
    assert_eq!(wire.close_code(), Some(3502));
}

#[test]
fn a_refused_v1_connect_may_be_tried_again() {
    let mut wire = Wire::new(Version::V1);
    let id = wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Err(ClientError::TOKEN_EXPIRED.into())));
    assert_eq!(wire.error_of(id), 109);
    let id = wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Ok(Box::new(identified()))));
    wire.answer(Outcome::Registered(Ok(())));
    assert!(matches!(wire.reply_to(id), ReplyBody::Connect(_)));
}

#[test]
fn a_disconnect_of_the_hooks_passes_through() {
    for why in [
        Disconnect::INVALID_TOKEN,
        Disconnect::PERMISSION_DENIED,
        Disconnect::BAD_REQUEST,
    ] {
        let mut wire = Wire::new(Version::V2);
        wire.send(Request::Connect(Box::default()));
        wire.answer(Outcome::Connect(Err(why.clone().into())));
        assert_eq!(wire.closed, Some(why));
        assert!(wire.replies.is_empty());
    }
}

#[test]
fn too_many_server_side_channels_are_3505() {
    let mut wire = Wire::new(Version::V2);
    wire.send(Request::Connect(Box::default()));
    let many = server_side(&["a", "b", "c", "d", "e"], &SubscribeOptions::default());
    wire.answer(Outcome::Connect(Ok(Box::new(many))));
    assert_eq!(wire.close_code(), Some(3505));
}

#[test]
fn the_limit_of_a_user_is_3504() {
    let mut wire = Wire::new(Version::V2);
    wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Ok(Box::new(identified()))));
    wire.answer(Outcome::Registered(
        Err(Disconnect::CONNECTION_LIMIT.into()),
    ));
    assert_eq!(wire.close_code(), Some(3504));
}

#[test]
fn an_expiration_that_has_passed_is_error_110() {
    for at in [BEGIN - 1, BEGIN] {
        let mut wire = Wire::new(Version::V2);
        let id = wire.send(Request::Connect(Box::default()));
        let late = Identified {
            expire_at: Some(at),
            ..identified()
        };
        wire.answer(Outcome::Connect(Ok(Box::new(late))));
        assert_eq!(wire.error_of(id), 110);
    }
}

#[test]
fn a_client_that_must_refresh_is_told_its_ttl() {
    let soon = Identified {
        expire_at: Some(BEGIN + 60),
        ..identified()
    };
    assert_eq!(
        Wire::connected_with(config(), Version::V2, soon)
            .connect_result()
            .ttl,
        Some(60)
    );
    let by_server = Identified {
        expire_at: Some(BEGIN + 60),
        server_side_refresh: true,
        ..identified()
    };
    assert_eq!(
        Wire::connected_with(config(), Version::V2, by_server)
            .connect_result()
            .ttl,
        None
    );
}

#[test]
fn a_far_expiration_is_cut_to_a_year() {
    let far = Identified {
        expire_at: Some(i64::MAX),
        ..identified()
    };
    let result = Wire::connected_with(config(), Version::V2, far).connect_result();
    assert_eq!(result.ttl, Some(365 * 24 * 3600));
}

#[test]
fn server_side_subscriptions_come_with_the_connect_reply_and_publications_after_it() {
    let mut wire = Wire::new(Version::V2);
    let id = wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Ok(Box::new(server_side(
        &["ch", "x"],
        &recoverable(),
    )))));
    wire.answer(Outcome::Registered(Ok(())));
    let keys: Vec<_> = wire
        .calls
        .iter()
        .filter_map(|(_, call)| match call {
            Call::Join(join) => Some(join.key),
            _ => None,
        })
        .collect();
    assert_eq!(keys.len(), 2);
    wire.answer(Outcome::Joined(Ok(Joined {
        publications: vec![],
        top: position(5, "e"),
        ..Joined::default()
    })));
    wire.deliver(delivery(keys[0], 6, "e"));
    assert!(wire.replies.is_empty() && wire.frames.is_empty());
    wire.answer(Outcome::Joined(Ok(Joined {
        publications: vec![],
        top: position(0, "f"),
        ..Joined::default()
    })));
    let ReplyBody::Connect(result) = wire.reply_to(id) else {
        panic!("not connected")
    };
    assert_eq!(result.subs.len(), 2);
    assert_eq!(result.subs[&Channel::from("ch")].offset, 6);
    wire.deliver(delivery(keys[0], 7, "e"));
    assert_eq!(wire.frames, [Bytes::from_static(b"7")]);
}

#[test]
fn recovery_positions_of_the_connect_are_used_for_server_side_subscriptions() {
    let mut wire = Wire::new(Version::V2);
    let known = SubscribeRequest {
        recover: true,
        offset: 3,
        epoch: "e".to_owned(),
        ..SubscribeRequest::default()
    };
    let subs = [
        (Channel::from("ch"), known.clone()),
        (Channel::from("gone"), known),
    ]
    .into();
    let id = wire.send(Request::Connect(Box::new(ConnectRequest {
        subs,
        ..ConnectRequest::default()
    })));
    wire.answer(Outcome::Connect(Ok(Box::new(server_side(
        &["ch"],
        &recoverable(),
    )))));
    wire.answer(Outcome::Registered(Ok(())));
    let joined = Joined {
        publications: vec![publication(4), publication(5)],
        top: position(5, "e"),
        ..Joined::default()
    };
    wire.answer(Outcome::Joined(Ok(joined)));
    let ReplyBody::Connect(result) = wire.reply_to(id) else {
        panic!("not connected")
    };
    let sub = &result.subs[&Channel::from("ch")];
    assert!(sub.recovered && sub.was_recovering);
    assert_eq!(
        (sub.offset, sub.publications.len(), result.subs.len()),
        (3, 2, 1)
    );
}

#[test]
fn a_failing_server_side_subscription_fails_the_connect() {
    let mut wire = Wire::new(Version::V1);
    let id = wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Ok(Box::new(server_side(
        &["a", "b"],
        &SubscribeOptions::default(),
    )))));
    wire.answer(Outcome::Registered(Ok(())));
    wire.answer(Outcome::Joined(Ok(Joined::default())));
    wire.answer(Outcome::Joined(Err(ClientError::INTERNAL.into())));
    assert_eq!(wire.error_of(id), 100);
    assert_eq!(wire.waiting(), ["leave", "deregister"]);
}

#[test]
fn a_disconnect_of_a_server_side_subscription_closes() {
    let mut wire = Wire::new(Version::V2);
    wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Ok(Box::new(server_side(
        &["a"],
        &SubscribeOptions::default(),
    )))));
    wire.answer(Outcome::Registered(Ok(())));
    wire.answer(Outcome::Joined(Err(Disconnect::SERVER_ERROR.into())));
    assert_eq!(wire.close_code(), Some(3004));
}

#[test]
fn the_oldest_v1_clients_get_both_position_formats() {
    let old = Wire::connected(Version::V1);
    assert_eq!(old.session.form().positions, PositionFormat::Both);
    let mut named = Wire::new(Version::V1);
    let name = "js".to_owned();
    named.send(Request::Connect(Box::new(ConnectRequest {
        name,
        ..ConnectRequest::default()
    })));
    assert_eq!(named.session.form().positions, PositionFormat::Offset);
}

#[test]
fn a_close_without_reason_in_the_transport_is_pushed_first_on_v2() {
    let mut wire = Wire::connected(Version::V2);
    wire.session.birth.close_carries_reason = false;
    let mut out = Effects::new();
    wire.session.close(Disconnect::SHUTDOWN, &mut out);
    wire.run(out);
    assert_eq!(wire.pushes(), [PushBody::Disconnect(Disconnect::SHUTDOWN)]);
    assert_eq!(wire.close_code(), Some(3001));
}

#[test]
fn code_3000_is_never_told() {
    let mut wire = Wire::connected(Version::V2);
    wire.session.birth.close_carries_reason = false;
    let mut out = Effects::new();
    wire.session.close(Disconnect::CONNECTION_CLOSED, &mut out);
    wire.run(out);
    assert!(wire.pushes().is_empty());
}

#[test]
fn a_long_reason_is_cut_between_two_characters() {
    let mut wire = Wire::connected(Version::V2);
    let mut out = Effects::new();
    let why = Disconnect {
        code: 4000,
        reason: "ü".repeat(100).into(),
    };
    wire.session.close(why, &mut out);
    wire.run(out);
    assert_eq!(wire.closed.unwrap().reason, "ü".repeat(61));
}
