use super::*;
use crate::protocol::{HistoryRequest, PublishRequest, RpcRequest};

#[test]
fn a_command_before_connect_is_3501() {
    let requests = [
        subscribe("ch"),
        Request::Ping,
        Request::Pong,
        Request::Send(Bytes::new()),
        Request::Nothing,
    ];
    for request in requests {
        let mut wire = Wire::new(Version::V2);
        wire.send(request);
        assert_eq!(wire.close_code(), Some(3501));
    }
}

#[test]
fn a_command_with_id_zero_is_3501() {
    let mut wire = Wire::connected(Version::V1);
    wire.send_id(0, subscribe("ch"));
    assert_eq!(wire.close_code(), Some(3501));
}

#[test]
fn a_command_without_request_is_3501() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(Request::Nothing);
    assert_eq!(wire.close_code(), Some(3501));
}

#[test]
fn an_unknown_v1_method_is_error_104() {
    let mut wire = Wire::connected(Version::V1);
    let id = wire.send(Request::UnknownMethod);
    assert_eq!(wire.error_of(id), 104);
}

#[test]
fn a_v1_ping_is_answered_with_its_id() {
    let mut wire = Wire::connected(Version::V1);
    let id = wire.send(Request::Ping);
    assert_eq!(wire.reply_to(id), ReplyBody::Pong);
}

#[test]
fn an_empty_channel_is_3501() {
    let empty = Channel::default;
    let requests = [
        Request::Unsubscribe(empty()),
        Request::Publish(PublishRequest::default()),
        Request::Presence(empty()),
        Request::PresenceStats(empty()),
        Request::History(HistoryRequest::default()),
        subscribe(""),
    ];
    for request in requests {
        let mut wire = Wire::connected(Version::V2);
        wire.send(request);
        assert_eq!(wire.close_code(), Some(3501));
    }
}

#[test]
fn an_empty_v1_payload_is_3501_and_an_empty_v2_payload_is_asked_about() {
    let request = || {
        Request::Publish(PublishRequest {
            channel: "ch".into(),
            ..PublishRequest::default()
        })
    };
    let mut wire = Wire::connected(Version::V1);
    wire.send(request());
    assert_eq!(wire.close_code(), Some(3501));
    let mut wire = Wire::connected(Version::V2);
    wire.send(request());
    assert_eq!(wire.waiting(), ["publish"]);
}

#[test]
fn a_publish_carries_the_publisher_with_the_info_of_its_subscription() {
    let mut wire = Wire::connected(Version::V2);
    let options = SubscribeOptions {
        info: Bytes::from_static(b"{}"),
        ..SubscribeOptions::default()
    };
    wire.subscribe(options, StreamPosition::default());
    wire.send(Request::Publish(PublishRequest {
        channel: "ch".into(),
        data: Bytes::from_static(b"1"),
        kind: 0,
    }));
    let Some((
        _,
        Call::Publish {
            subscribed, info, ..
        },
    )) = wire.calls.pop()
    else {
        panic!("no publish")
    };
    assert!(subscribed);
    assert_eq!(
        (
            info.user.as_str(),
            info.client.as_str(),
            &info.chan_info[..]
        ),
        ("42", "me", &b"{}"[..])
    );
}

#[test]
fn the_outcome_of_a_question_is_its_reply() {
    let mut wire = Wire::connected(Version::V2);
    let id = wire.send(Request::Rpc(RpcRequest::default()));
    wire.answer(Outcome::Reply(Ok(ReplyBody::Rpc(Bytes::from_static(
        b"{}",
    )))));
    assert_eq!(wire.reply_to(id), ReplyBody::Rpc(Bytes::from_static(b"{}")));
    let id = wire.send(Request::Presence("ch".into()));
    wire.answer(Outcome::Reply(Err(ClientError::NOT_AVAILABLE.into())));
    assert_eq!(wire.error_of(id), 108);
    wire.send(Request::PresenceStats("ch".into()));
    wire.answer(Outcome::Reply(Err(Disconnect::FORCE_DISCONNECT.into())));
    assert_eq!(wire.close_code(), Some(3503));
}

#[test]
fn commands_wait_for_each_other() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(Request::Rpc(RpcRequest::default()));
    assert!(!wire.session.ready());
    wire.answer(Outcome::Reply(Ok(ReplyBody::Rpc(Bytes::new()))));
    assert!(wire.session.ready());
}

#[test]
fn with_concurrency_commands_run_together() {
    let mut wire = Wire::connected_with(
        Config {
            concurrency: 2,
            ..config()
        },
        Version::V2,
        identified(),
    );
    wire.send(Request::Rpc(RpcRequest::default()));
    assert!(wire.session.ready());
    wire.send(Request::Rpc(RpcRequest::default()));
    assert!(!wire.session.ready());
}

#[test]
fn history_limits_are_resolved() {
    let limit_of = |version, limit| {
        let mut wire = Wire::connected(version);
        wire.send(Request::History(HistoryRequest {
            channel: "ch".into(),
            limit,
            ..HistoryRequest::default()
        }));
        match wire.calls.pop() {
            Some((_, Call::History { limit, .. })) => limit,
            other => panic!("no history: {other:?}"),
        }
    };
    assert_eq!(limit_of(Version::V2, Some(10)), 10);
    assert_eq!(limit_of(Version::V2, Some(0)), 0);
    assert_eq!(limit_of(Version::V2, Some(-1)), 300);
    assert_eq!(limit_of(Version::V2, Some(1000)), 300);
    assert_eq!(limit_of(Version::V2, None), 0);
    assert_eq!(limit_of(Version::V1, None), 300);
}

#[test]
fn a_send_without_handler_closes_v2_and_is_dropped_on_v1() {
    for (version, code) in [(Version::V2, Some(3508)), (Version::V1, None)] {
        let mut wire = Wire::connected(version);
        wire.send_id(0, Request::Send(Bytes::from_static(b"1")));
        wire.answer(Outcome::Message(Err(Disconnect::NOT_AVAILABLE.into())));
        assert_eq!(wire.close_code(), code);
        assert_eq!(wire.session.ready(), code.is_none());
    }
}

#[test]
fn a_send_is_never_answered() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(Request::Send(Bytes::from_static(b"1")));
    wire.answer(Outcome::Message(Ok(())));
    assert_eq!(wire.replies.len(), 1, "only the connect reply");
    assert!(wire.session.ready());
}

#[test]
fn nothing_is_processed_after_the_close() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(Request::Nothing);
    wire.send(subscribe("ch"));
    assert!(wire.calls.is_empty());
    assert_eq!(wire.session.deadline(), None);
}
