//! What the server refreshes itself (client-protocol.md 4.10, 4.11), and subscriptions with a source of their own.

use super::*;
use crate::{
    model::{ClientError, Disconnect, Unsubscribe},
    protocol::PushBody,
};

/// Expires in a minute, and the server refreshes.
fn by_server() -> Identified {
    Identified {
        expire_at: Some(BEGIN + 60),
        server_side_refresh: true,
        ..identified()
    }
}

/// Nobody has to answer pings here.
fn quiet() -> Config {
    Config {
        ping_interval: None,
        ..config()
    }
}

fn connected() -> Wire {
    Wire::connected_with(quiet(), Version::V2, by_server())
}

fn renewed(expire_at: Option<i64>) -> Outcome {
    Outcome::Renewed(Ok(Refreshed {
        expire_at,
        ..Refreshed::default()
    }))
}

#[test]
fn the_hooks_are_asked_at_the_expiration_and_not_after_a_grace() {
    let mut wire = connected();
    assert_eq!(wire.connect_result().ttl, None, "the client is not told");
    wire.pass(Duration::from_secs(59));
    assert!(wire.waiting().is_empty());
    wire.pass(Duration::from_secs(1));
    assert_eq!(wire.waiting(), ["renew"]);
    wire.pass(Duration::from_secs(25));
    assert_eq!(wire.close_code(), None, "an answer may take its time");
    let meta = Some(Bytes::from_static(b"{}"));
    wire.answer(Outcome::Renewed(Ok(Refreshed {
        expire_at: Some(BEGIN + 200),
        meta: meta.clone(),
        ..Refreshed::default()
    })));
    assert_eq!(Some(wire.session.meta()), meta.as_ref());
    wire.pass(Duration::from_secs(114));
    assert!(wire.waiting().is_empty());
    wire.pass(Duration::from_secs(1));
    assert_eq!(wire.waiting(), ["renew"]);
}

#[test]
fn what_the_hooks_answer_decides_the_end() {
    let past = renewed(Some(BEGIN + 10));
    let refused = |why: Disconnect| Outcome::Renewed(Err(why.into()));
    let error = Outcome::Renewed(Err(ClientError::INTERNAL.into()));
    for (outcome, code) in [
        (past, Some(3005)),
        (refused(Disconnect::EXPIRED), Some(3005)),
        (refused(Disconnect::SERVER_ERROR), Some(3004)),
        (error, Some(3004)),
        (renewed(None), None),
        (renewed(Some(BEGIN + 100)), None),
    ] {
        let mut wire = connected();
        wire.pass(Duration::from_secs(60));
        wire.answer(outcome);
        assert_eq!(wire.close_code(), code);
    }
}

/// A subscription that expired, found by the periodic check.
fn expired_subscription(version: Version) -> Wire {
    let mut wire = Wire::connected_with(quiet(), version, identified());
    let options = SubscribeOptions {
        expire_at: Some(BEGIN + 1),
        server_side_refresh: true,
        ..SubscribeOptions::default()
    };
    let (_, result) = wire.subscribe(options, StreamPosition::default());
    assert_eq!(result.ttl, None);
    wire.pass(Duration::from_secs(54));
    assert_eq!(wire.waiting(), ["sub_renew"], "asked once");
    wire
}

fn sub_renewed(expire_at: Option<i64>) -> Outcome {
    Outcome::SubRenewed(Ok(Some(SubRefreshed {
        channel: "ch".into(),
        expire_at,
        ..SubRefreshed::default()
    })))
}

#[test]
fn an_expired_subscription_goes_on_when_the_hooks_say_so() {
    let mut wire = expired_subscription(Version::V2);
    // The next check does not ask again while the answer is awaited.
    wire.pass(Duration::from_secs(27));
    assert_eq!(wire.waiting(), ["sub_renew"]);
    wire.answer(sub_renewed(None));
    wire.pass(Duration::from_secs(200));
    assert!(!wire.waiting().contains(&"sub_renew"), "it never expires");
    assert!(wire.pushes().is_empty());
}

#[test]
fn an_expired_subscription_ends_when_the_hooks_do_not_prolong_it() {
    for outcome in [
        Outcome::SubRenewed(Ok(None)),
        Outcome::SubRenewed(Err(ClientError::INTERNAL.into())),
        sub_renewed(Some(BEGIN)),
    ] {
        let mut wire = expired_subscription(Version::V2);
        wire.answer(outcome);
        wire.answer(Outcome::Done);
        let pushes = wire.pushes();
        assert_eq!(pushes, [PushBody::Unsubscribe(Unsubscribe::EXPIRED)]);
    }
    let mut wire = expired_subscription(Version::V2);
    wire.answer(Outcome::SubRenewed(Err(Disconnect::EXPIRED.into())));
    assert_eq!(wire.close_code(), Some(3005));
    let mut wire = expired_subscription(Version::V1);
    wire.answer(Outcome::SubRenewed(Ok(None)));
    assert_eq!(wire.close_code(), Some(3006));
}

#[test]
fn a_source_is_known_by_its_subscription_from_the_answer_to_the_end() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(subscribe("ch"));
    let call = wire.calls[0].0;
    let key = wire.session.subscribing(call).unwrap();
    assert!(wire.session.fed(key).is_none(), "nothing is granted yet");
    wire.answer(Outcome::Subscribe(Ok(Box::default())));
    assert!(wire.session.subscribing(call).is_none());
    assert_eq!(wire.session.fed(key), Some(&"ch".into()));
    assert!(!wire.session.is_live(key), "not before the reply");
    wire.answer(Outcome::Joined(Ok(Joined::default())));
    assert!(wire.session.is_live(key));
    wire.deliver(delivery(key, 0, ""));
    assert_eq!(wire.frames.len(), 1);
    wire.send(Request::Unsubscribe("ch".into()));
    assert!(wire.session.fed(key).is_none());
}

#[test]
fn the_end_of_a_source_is_told() {
    for (version, lost, told, closed) in [
        (Version::V2, false, Some(Unsubscribe::SERVER), None),
        (
            Version::V2,
            true,
            Some(Unsubscribe::INSUFFICIENT_STATE),
            None,
        ),
        (Version::V1, true, None, Some(3010)),
    ] {
        let mut wire = Wire::connected(version);
        let (key, _) = wire.subscribe(SubscribeOptions::default(), StreamPosition::default());
        let mut out = Effects::new();
        wire.session.feed_ended(key, lost, &mut out);
        wire.run(out);
        assert_eq!(wire.close_code(), closed);
        if let Some(told) = told {
            wire.answer(Outcome::Done);
            assert_eq!(wire.pushes(), [PushBody::Unsubscribe(told)]);
        }
    }
}

#[test]
fn an_expiration_in_the_far_future_is_cut_to_a_year() {
    let mut wire = Wire::connected(Version::V2);
    let options = SubscribeOptions {
        expire_at: Some(BEGIN + 99_999_999),
        ..SubscribeOptions::default()
    };
    let (_, result) = wire.subscribe(options, StreamPosition::default());
    assert_eq!(result.ttl, Some(365 * 24 * 3600));
}
