use super::*;
use crate::{
    model::{Refresh, SubscribeSource},
    protocol::{RefreshResult, SubRefreshRequest, SubRefreshResult},
};

fn expiring() -> Identified {
    Identified {
        expire_at: Some(BEGIN + 60),
        ..identified()
    }
}

fn refreshed(expire_at: Option<i64>) -> Outcome {
    Outcome::Refresh(Ok(Refreshed {
        expire_at,
        ..Refreshed::default()
    }))
}

#[test]
fn a_connection_that_is_not_refreshed_is_closed_after_its_grace() {
    let mut wire = Wire::connected_with(config(), Version::V1, expiring());
    wire.pass(Duration::from_secs(84));
    assert_eq!(wire.close_code(), None);
    wire.pass(Duration::from_secs(1));
    assert_eq!(wire.close_code(), Some(3005));
}

#[test]
fn a_refresh_moves_the_end() {
    let mut wire = Wire::connected_with(config(), Version::V1, expiring());
    let id = wire.send(Request::Refresh("token".to_owned()));
    wire.answer(refreshed(Some(BEGIN + 3600)));
    let ReplyBody::Refresh(result) = wire.reply_to(id) else {
        panic!("not refreshed")
    };
    assert_eq!(
        result,
        RefreshResult {
            client: "me".into(),
            version: "test".to_owned(),
            ttl: Some(3600)
        }
    );
    wire.pass(Duration::from_secs(3600));
    assert_eq!(wire.close_code(), None);
    wire.pass(Duration::from_secs(25));
    assert_eq!(wire.close_code(), Some(3005));
}

#[test]
fn a_token_without_expiration_removes_it() {
    let mut wire = Wire::connected_with(config(), Version::V1, expiring());
    let id = wire.send(Request::Refresh("token".to_owned()));
    wire.answer(refreshed(None));
    let ReplyBody::Refresh(result) = wire.reply_to(id) else {
        panic!("not refreshed")
    };
    assert_eq!(result.ttl, None);
    wire.pass(Duration::from_secs(3600));
    assert_eq!(wire.close_code(), None);
}

#[test]
fn the_v2_reply_names_the_client_and_no_version() {
    let mut wire = Wire::connected_with(config(), Version::V2, expiring());
    let id = wire.send(Request::Refresh("token".to_owned()));
    wire.answer(refreshed(Some(BEGIN + 3600)));
    let ReplyBody::Refresh(result) = wire.reply_to(id) else {
        panic!("not refreshed")
    };
    assert_eq!(
        (result.client.as_str(), result.version.as_str()),
        ("me", "")
    );
}

#[test]
fn an_empty_token_or_a_server_side_refresh_is_3501() {
    let mut wire = Wire::connected_with(config(), Version::V2, expiring());
    wire.send(Request::Refresh(String::new()));
    assert_eq!(wire.close_code(), Some(3501));
    let by_server = Identified {
        server_side_refresh: true,
        ..expiring()
    };
    let mut wire = Wire::connected_with(config(), Version::V2, by_server);
    wire.send(Request::Refresh("token".to_owned()));
    assert_eq!(wire.close_code(), Some(3501));
}

#[test]
fn a_refused_refresh_is_what_the_hooks_say() {
    for why in [Disconnect::EXPIRED, Disconnect::INVALID_TOKEN] {
        let mut wire = Wire::connected_with(config(), Version::V2, expiring());
        wire.send(Request::Refresh("token".to_owned()));
        wire.answer(Outcome::Refresh(Err(why.clone().into())));
        assert_eq!(wire.closed, Some(why));
    }
}

#[test]
fn a_new_expiration_in_the_past_is_110() {
    let mut wire = Wire::connected_with(config(), Version::V2, expiring());
    let id = wire.send(Request::Refresh("token".to_owned()));
    wire.answer(refreshed(Some(BEGIN)));
    assert_eq!(wire.error_of(id), 110);
}

#[test]
fn other_channels_in_the_new_token_are_3010() {
    let from_token = SubscribeOptions {
        source: SubscribeSource::ConnectionToken,
        ..SubscribeOptions::default()
    };
    for (channels, code) in [
        (vec!["ch"], None),
        (vec![], Some(3010)),
        (vec!["ch", "x"], Some(3010)),
    ] {
        let mut wire = Wire::connected_with(config(), Version::V2, expiring());
        wire.subscribe(from_token.clone(), StreamPosition::default());
        wire.send(Request::Refresh("token".to_owned()));
        let channels = Some(channels.into_iter().map(Channel::from).collect());
        wire.answer(Outcome::Refresh(Ok(Refreshed {
            channels,
            ..Refreshed::default()
        })));
        assert_eq!(wire.close_code(), code);
    }
}

#[test]
fn the_connection_info_is_replaced_by_a_refresh() {
    let mut wire = Wire::connected_with(config(), Version::V2, expiring());
    wire.send(Request::Refresh("token".to_owned()));
    let info = Bytes::from_static(b"{\"n\":2}");
    wire.answer(Outcome::Refresh(Ok(Refreshed {
        info: info.clone(),
        ..Refreshed::default()
    })));
    assert_eq!(wire.session.info.conn_info, info);
}

fn refresh_by_server(wire: &mut Wire, expired: bool, expire_at: i64) {
    let mut out = Effects::new();
    wire.session.refresh_server_side(
        wire.now,
        Refresh {
            expired,
            expire_at,
            info: Bytes::new(),
        },
        &mut out,
    );
    wire.run(out);
}

#[test]
fn the_server_refreshes_or_closes_as_expired() {
    let mut wire = Wire::connected_with(config(), Version::V1, expiring());
    refresh_by_server(&mut wire, false, BEGIN + 600);
    assert_eq!(wire.pushes(), [PushBody::Refresh(Some(600))]);
    wire.pass(Duration::from_secs(300));
    assert_eq!(wire.close_code(), None);
    refresh_by_server(&mut wire, false, 0);
    assert_eq!(wire.pushes()[1], PushBody::Refresh(None));
    for (expired, at) in [(true, BEGIN + 600), (false, BEGIN - 1)] {
        let mut wire = Wire::connected_with(config(), Version::V2, expiring());
        refresh_by_server(&mut wire, expired, at);
        assert_eq!(wire.close_code(), Some(3005));
    }
}

fn sub_refresh(channel: &str, token: &str) -> Request {
    let (channel, token) = (channel.into(), token.to_owned());
    Request::SubRefresh(SubRefreshRequest {
        channel,
        token,
        kind: 0,
    })
}

fn sub_refreshed(expire_at: Option<i64>) -> Outcome {
    Outcome::SubRefresh(Ok(SubRefreshed {
        channel: "ch".into(),
        expire_at,
        info: Bytes::new(),
    }))
}

fn expiring_subscription(version: Version) -> Wire {
    let mut wire = Wire::connected(version);
    let options = SubscribeOptions {
        expire_at: Some(BEGIN + 60),
        ..SubscribeOptions::default()
    };
    wire.subscribe(options, StreamPosition::default());
    wire
}

#[test]
fn a_sub_refresh_is_checked_in_order() {
    let mut wire = expiring_subscription(Version::V2);
    let id = wire.send(sub_refresh("other", "token"));
    assert_eq!(wire.error_of(id), 103);
    let id = wire.send(sub_refresh("ch", ""));
    assert_eq!(wire.error_of(id), 107);
    let id = wire.send(sub_refresh("ch", "token"));
    wire.answer(Outcome::SubRefresh(Err(ClientError::TOKEN_EXPIRED.into())));
    assert_eq!(wire.error_of(id), 109);
    let id = wire.send(sub_refresh("ch", "token"));
    wire.answer(sub_refreshed(Some(BEGIN)));
    assert_eq!(wire.error_of(id), 110);
    wire.send(sub_refresh("", ""));
    assert_eq!(wire.close_code(), Some(3501));
}

#[test]
fn a_sub_refresh_without_channel_takes_that_of_the_token() {
    let mut wire = expiring_subscription(Version::V2);
    let id = wire.send(sub_refresh("", "token"));
    wire.answer(sub_refreshed(Some(BEGIN + 600)));
    assert_eq!(
        wire.reply_to(id),
        ReplyBody::SubRefresh(SubRefreshResult { ttl: Some(600) })
    );
}

#[test]
fn a_server_side_refreshed_subscription_refuses_a_sub_refresh() {
    let mut wire = Wire::connected(Version::V2);
    let options = SubscribeOptions {
        expire_at: Some(BEGIN + 60),
        server_side_refresh: true,
        ..Default::default()
    };
    let (_, result) = wire.subscribe(options, StreamPosition::default());
    assert_eq!(result.ttl, None);
    wire.send(sub_refresh("ch", "token"));
    assert_eq!(wire.close_code(), Some(3501));
}

#[test]
fn an_expired_subscription_ends_with_2501_on_v2_and_3006_on_v1() {
    let mut wire = expiring_subscription(Version::V2);
    wire.session.birth.native_ping = true;
    wire.session.timers.ping = None;
    wire.pass(Duration::from_secs(60 + 25 + 27));
    wire.answer(Outcome::Done);
    let pushes = wire.pushes();
    let [PushBody::Unsubscribe(why)] = pushes.as_slice() else {
        panic!("not told: {pushes:?}")
    };
    assert_eq!(why.code, 2501);
    let mut wire = expiring_subscription(Version::V1);
    wire.pass(Duration::from_secs(60 + 25 + 27));
    assert_eq!(wire.close_code(), Some(3006));
}
