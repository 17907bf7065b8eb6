use super::*;
use crate::model::Unsubscribe;

fn unsubscribe_by_server(wire: &mut Wire, channel: &str, why: Unsubscribe) {
    let mut out = Effects::new();
    wire.session
        .unsubscribe_server_side(wire.now, &channel.into(), why, &mut out);
    wire.run(out);
}

#[test]
fn an_unsubscribe_of_nothing_succeeds_at_once() {
    let mut wire = Wire::connected(Version::V2);
    let id = wire.send(Request::Unsubscribe("ch".into()));
    assert_eq!(wire.reply_to(id), ReplyBody::Unsubscribe);
}

#[test]
fn an_unsubscribe_is_answered_when_everything_is_undone() {
    let mut wire = Wire::connected(Version::V2);
    let options = SubscribeOptions {
        presence: true,
        join_leave: true,
        ..recoverable()
    };
    let (key, _) = wire.subscribe(options, position(5, "e"));
    wire.answer(Outcome::Done);
    let id = wire.send(Request::Unsubscribe("ch".into()));
    let Some((_, Call::Leave(leave))) = wire.calls.first() else {
        panic!("no leave")
    };
    assert!(leave.presence && leave.announce.is_some());
    wire.deliver(delivery(key, 6, "e"));
    assert!(wire.frames.is_empty() && wire.replies.iter().all(|reply| reply.id != id));
    wire.answer(Outcome::Done);
    assert_eq!(wire.reply_to(id), ReplyBody::Unsubscribe);
}

#[test]
fn an_unsubscribe_waits_for_the_subscribe_of_the_same_channel() {
    let mut wire = Wire::connected_with(
        Config {
            concurrency: 2,
            ..config()
        },
        Version::V2,
        identified(),
    );
    let subscribing = wire.send(subscribe("ch"));
    let id = wire.send(Request::Unsubscribe("ch".into()));
    wire.answer(Outcome::Subscribe(Ok(Box::default())));
    wire.answer(Outcome::Joined(Ok(Joined::default())));
    assert!(matches!(
        wire.reply_to(subscribing),
        ReplyBody::Subscribe(_)
    ));
    wire.answer(Outcome::Done);
    assert_eq!(wire.reply_to(id), ReplyBody::Unsubscribe);
}

#[test]
fn an_unsubscribe_does_not_wait_for_ever() {
    let mut wire = Wire::connected_with(
        Config {
            concurrency: 2,
            ..config()
        },
        Version::V2,
        identified(),
    );
    wire.send(subscribe("ch"));
    wire.send(Request::Unsubscribe("ch".into()));
    wire.pass(Duration::from_secs(5));
    assert_eq!(wire.close_code(), Some(3004));
}

#[test]
fn an_unsubscribe_of_a_refused_subscribe_is_answered() {
    let mut wire = Wire::connected_with(
        Config {
            concurrency: 2,
            ..config()
        },
        Version::V2,
        identified(),
    );
    let subscribing = wire.send(subscribe("ch"));
    let id = wire.send(Request::Unsubscribe("ch".into()));
    wire.answer(Outcome::Subscribe(Err(
        ClientError::PERMISSION_DENIED.into()
    )));
    assert_eq!(wire.error_of(subscribing), 103);
    assert_eq!(wire.reply_to(id), ReplyBody::Unsubscribe);
    wire.pass(Duration::from_secs(6));
    assert_eq!(wire.close_code(), None, "nobody waits any more");
}

#[test]
fn the_server_unsubscribes_either_side_with_2000() {
    let mut wire = Wire::connected(Version::V2);
    wire.subscribe(SubscribeOptions::default(), StreamPosition::default());
    unsubscribe_by_server(&mut wire, "ch", Unsubscribe::SERVER);
    assert!(wire.pushes().is_empty());
    wire.answer(Outcome::Done);
    assert_eq!(wire.pushes(), [PushBody::Unsubscribe(Unsubscribe::SERVER)]);
}

#[test]
fn the_push_is_sent_even_without_a_subscription() {
    let mut wire = Wire::connected(Version::V2);
    unsubscribe_by_server(&mut wire, "", Unsubscribe::SERVER);
    assert_eq!(wire.pushes(), [PushBody::Unsubscribe(Unsubscribe::SERVER)]);
}

#[test]
fn both_who_wait_for_one_end_are_told() {
    let mut wire = Wire::connected(Version::V2);
    wire.subscribe(SubscribeOptions::default(), StreamPosition::default());
    let id = wire.send(Request::Unsubscribe("ch".into()));
    unsubscribe_by_server(&mut wire, "ch", Unsubscribe::SERVER);
    wire.answer(Outcome::Done);
    assert_eq!(wire.reply_to(id), ReplyBody::Unsubscribe);
    assert_eq!(wire.pushes(), [PushBody::Unsubscribe(Unsubscribe::SERVER)]);
}

#[test]
fn the_end_of_the_connection_leaves_everything_that_was_joined() {
    let mut wire = Wire::connected_with(
        Config {
            concurrency: 8,
            ..config()
        },
        Version::V2,
        identified(),
    );
    let options = SubscribeOptions {
        presence: true,
        join_leave: true,
        ..SubscribeOptions::default()
    };
    wire.subscribe(options.clone(), StreamPosition::default());
    wire.send(subscribe("joining"));
    wire.answer(Outcome::Subscribe(Ok(Box::new(options))));
    wire.send(subscribe("asking"));
    let leaves = wire.session.leave_all();
    let told: Vec<_> = leaves
        .iter()
        .map(|l| (l.channel.as_str(), l.presence, l.announce.is_some()))
        .collect();
    assert_eq!(told, [("ch", true, true), ("joining", true, false)]);
}
