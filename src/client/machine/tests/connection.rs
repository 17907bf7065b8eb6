//! Connecting, losing the connection, calls.

use super::*;

#[test]
fn connects_and_tells_so() {
    let mut bench = Bench::with(Introduction {
        token: Some(Secret::from("secret")),
        name: "tool".to_owned(),
        version: "1".to_owned(),
        data: Bytes::from_static(b"{}"),
        ..Introduction::default()
    });
    bench.machine.connect(bench.now, &mut bench.effects);
    assert_eq!(
        (bench.opens(), bench.heard()),
        (1, vec!["connecting 0 connect called".to_owned()])
    );
    bench.open();
    let (id, connect) = bench.sent_connect();
    assert!(id > 0);
    assert_eq!(
        (connect.token.as_str(), connect.name.as_str()),
        ("secret", "tool")
    );
    assert_eq!(
        (connect.version.as_str(), &connect.data[..]),
        ("1", &b"{}"[..])
    );
    bench.reply(id, ReplyBody::Connect(Box::default()));
    assert_eq!(bench.heard().last().unwrap(), "connected");
}

#[test]
fn second_connect_changes_nothing() {
    let mut bench = Bench::new().connected();
    bench.machine.connect(bench.now, &mut bench.effects);
    assert!(bench.look().is_empty());
}

#[test]
fn temporary_connect_errors_are_retried_with_growing_delays() {
    let mut bench = Bench::new();
    bench.machine.connect(bench.now, &mut bench.effects);
    for expected in [750, 1000, 1500, 2500, 4500, 8500, 10_500, 10_500] {
        bench.open();
        let (id, _) = bench.sent_connect();
        bench.look();
        bench.refuse(id, ClientError::INTERNAL);
        assert_eq!(bench.heard(), ["failed: error 100: internal server error"]);
        assert_eq!(bench.closes(), [Closing::Abrupt]);
        assert_eq!(bench.next(), Some(Duration::from_millis(expected)));
        bench.pass(Duration::from_millis(expected) - Duration::from_millis(1));
        assert_eq!(bench.opens(), 0);
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.opens(), 1);
    }
}

#[test]
fn success_resets_the_delay() {
    let mut bench = Bench::new();
    bench.machine.connect(bench.now, &mut bench.effects);
    for _ in 0..4 {
        bench
            .machine
            .open_failed(bench.now, Error::Timeout, &mut bench.effects);
        bench.pass(20 * SECOND);
    }
    bench.open();
    bench.accept(ConnectResult::default());
    bench.lose(0);
    assert_eq!(bench.next(), Some(Duration::from_millis(750)));
}

#[test]
fn other_connect_errors_are_final_and_keep_their_number() {
    for error in [
        ClientError::PERMISSION_DENIED,
        ClientError::TOKEN_EXPIRED,
        ClientError::EXPIRED,
    ] {
        let mut bench = Bench::new();
        bench.machine.connect(bench.now, &mut bench.effects);
        bench.open();
        let (id, _) = bench.sent_connect();
        bench.refuse(id, error.clone());
        let expected = format!("disconnected {} {}", error.code, error.message);
        assert_eq!(bench.heard().last(), Some(&expected));
        assert_eq!(bench.next(), None);
    }
}

#[test]
fn silent_server_is_given_up_after_the_answer_limit() {
    let mut bench = Bench::new();
    bench.machine.connect(bench.now, &mut bench.effects);
    bench.open();
    bench.look();
    bench.pass(5 * SECOND);
    assert_eq!(
        (bench.heard(), bench.closes()),
        (
            vec!["failed: no answer in time".to_owned()],
            vec![Closing::Abrupt]
        )
    );
    assert!(bench.next().is_some());
}

#[test]
fn slow_opening_is_given_up_after_its_limit() {
    let mut bench = Bench::new();
    bench.machine.connect(bench.now, &mut bench.effects);
    bench.look();
    assert_eq!(bench.next(), Some(5 * SECOND));
    bench.pass(5 * SECOND);
    assert_eq!(bench.closes(), [Closing::Abrupt]);
    bench.pass(20 * SECOND);
    assert_eq!(bench.opens(), 1);
}

#[test]
fn reconnect_follows_the_ranges_of_codes() {
    for code in [
        0, 1000, 1006, 3000, 3001, 3004, 3008, 3012, 3499, 4000, 4499, 5000,
    ] {
        let mut bench = Bench::new().connected();
        bench.lose(code);
        let told = if code < 3000 { 1 } else { code };
        assert_eq!(bench.heard(), [format!("connecting {told} why")], "{code}");
        assert!(bench.next().is_some(), "{code}");
    }
    for code in [3500, 3501, 3503, 3999, 4500, 4999] {
        let mut bench = Bench::new().connected();
        bench.lose(code);
        assert_eq!(bench.heard(), [format!("disconnected {code} why")]);
        assert_eq!(bench.next(), None, "{code}");
    }
}

#[test]
fn message_too_large_is_final() {
    let mut bench = Bench::new().connected();
    bench.lose(1009);
    assert_eq!(
        bench.heard(),
        ["disconnected 3 message size limit exceeded"]
    );
}

#[test]
fn disconnect_push_counts_as_the_close() {
    let mut bench = Bench::new().connected();
    bench.push("", PushBody::Disconnect(Disconnect::SHUTDOWN));
    assert_eq!(bench.heard(), ["connecting 3001 shutdown"]);
    bench.look();
    bench.lose(3001);
    assert!(bench.look().is_empty(), "the trailer says it again");
}

#[test]
fn terminal_close_instead_of_a_connect_reply_ends_the_attempts() {
    let mut bench = Bench::new();
    bench.machine.connect(bench.now, &mut bench.effects);
    bench.open();
    bench.push("", PushBody::Disconnect(Disconnect::INVALID_TOKEN));
    assert_eq!(
        bench.heard().last().unwrap(),
        "disconnected 3500 invalid token"
    );
}

#[test]
fn close_instead_of_a_connect_reply_is_told_as_failure() {
    let mut bench = Bench::new();
    bench.machine.connect(bench.now, &mut bench.effects);
    bench.open();
    bench.lose(3001);
    assert_eq!(
        bench.heard().last().unwrap(),
        "failed: server closed the connection: why (3001)"
    );
}

#[test]
fn pings_are_answered_when_the_server_wants_it() {
    let mut bench = Bench::new();
    bench.connect_with(ConnectResult {
        ping: 25,
        pong: true,
        ..ConnectResult::default()
    });
    bench.look();
    bench.reply(0, ReplyBody::Ping);
    let sent: Vec<_> = bench.sent().into_iter().cloned().collect();
    assert_eq!(
        sent,
        [Command {
            id: 0,
            request: Request::Pong
        }]
    );

    let mut bench = Bench::new();
    bench.connect_with(ConnectResult {
        ping: 25,
        pong: false,
        ..ConnectResult::default()
    });
    bench.look();
    bench.reply(0, ReplyBody::Ping);
    assert!(bench.sent().is_empty());
}

#[test]
fn silence_of_ping_and_ten_seconds_ends_the_connection() {
    let mut bench = Bench::new();
    bench.connect_with(ConnectResult {
        ping: 25,
        pong: true,
        ..ConnectResult::default()
    });
    bench.look();
    assert_eq!(bench.next(), Some(35 * SECOND));
    bench.pass(30 * SECOND);
    bench.publish("any", 1);
    assert_eq!(
        bench.next(),
        Some(35 * SECOND),
        "any message is a sign of life"
    );
    bench.pass(35 * SECOND);
    assert_eq!(bench.heard(), ["connecting 2 no ping"]);
}

#[test]
fn without_pings_nothing_watches() {
    assert_eq!(Bench::new().connected().next(), None);
}

#[test]
fn disconnect_is_polite_and_ends_everything() {
    let mut bench = Bench::new().connected();
    bench.call(1, Request::Presence("news".into()));
    bench.machine.disconnect(&mut bench.effects);
    assert_eq!(bench.closes(), [Closing::Polite]);
    assert_eq!(bench.heard(), ["disconnected 0 disconnect called"]);
    assert!(matches!(
        bench.completed()[..],
        [(1, Err(Error::ConnectionLost))]
    ));
    assert_eq!(bench.next(), None);
}

#[test]
fn disconnect_stops_the_back_off_and_connect_begins_anew() {
    let mut bench = Bench::new().connected();
    bench.lose(0);
    bench.machine.disconnect(&mut bench.effects);
    bench.look();
    bench.pass(60 * SECOND);
    assert_eq!(bench.opens(), 0);
    bench.connect_with(ConnectResult::default());
    assert_eq!(bench.heard().last().unwrap(), "connected");
}

#[test]
fn calls_wait_for_the_connection_and_keep_their_order() {
    let mut bench = Bench::new();
    bench.machine.connect(bench.now, &mut bench.effects);
    bench.call(1, Request::Presence("a".into()));
    bench.call(2, Request::Presence("b".into()));
    assert!(bench.sent().is_empty());
    bench.open();
    bench.accept(ConnectResult::default());
    let ids: Vec<u32> = bench.sent().iter().map(|command| command.id).collect();
    assert_eq!(ids.len(), 2);
    bench.refuse(ids[1], ClientError::NOT_AVAILABLE);
    bench.reply(ids[0], ReplyBody::Publish);
    let completed = bench.completed();
    assert!(matches!(&completed[0], (2, Err(Error::Server(error))) if error.code == 108));
    assert!(matches!(completed[1], (1, Ok(ReplyBody::Publish))));
}

#[test]
fn calls_fail_at_once_while_disconnected() {
    let mut bench = Bench::new();
    bench.call(1, Request::Presence("a".into()));
    assert!(matches!(
        bench.completed()[..],
        [(1, Err(Error::NotConnected))]
    ));
}

#[test]
fn calls_run_out_of_time_while_waiting_and_while_sent() {
    let mut bench = Bench::new();
    bench.machine.connect(bench.now, &mut bench.effects);
    bench
        .machine
        .open_failed(bench.now, Error::Timeout, &mut bench.effects);
    bench.call(1, Request::Presence("a".into()));
    bench.pass(5 * SECOND);
    assert!(matches!(bench.completed()[..], [(1, Err(Error::Timeout))]));
    bench.open();
    bench.accept(ConnectResult::default());
    assert!(bench.sent().is_empty(), "nobody waits for it any more");

    let mut bench = Bench::new().connected();
    bench.call(1, Request::Presence("a".into()));
    let id = bench.sent()[0].id;
    bench.pass(5 * SECOND);
    assert!(matches!(bench.completed()[..], [(1, Err(Error::Timeout))]));
    bench.look();
    bench.reply(id, ReplyBody::Publish);
    assert!(bench.look().is_empty(), "too late");
}

#[test]
fn calls_in_flight_are_lost_with_the_connection_and_not_repeated() {
    let mut bench = Bench::new().connected();
    bench.call(1, Request::Presence("a".into()));
    bench.lose(0);
    assert!(matches!(
        bench.completed()[..],
        [(1, Err(Error::ConnectionLost))]
    ));
    bench.look();
    bench.call(2, Request::Presence("b".into()));
    bench.come_back();
    assert!(matches!(bench.completed()[..], [(2, Err(Error::Timeout))]));
    assert!(bench.sent().is_empty());
}

#[test]
fn sends_have_no_id_and_are_done_when_written() {
    let mut bench = Bench::new().connected();
    bench.call(1, Request::Send(Bytes::from_static(b"{}")));
    assert_eq!(bench.sent()[0].id, 0);
    assert!(matches!(bench.completed()[..], [(1, Ok(_))]));
    assert_eq!(bench.next(), None);
}

#[test]
fn ids_grow_across_connections() {
    let mut bench = Bench::new().connected();
    bench.call(1, Request::Presence("a".into()));
    let before = bench.sent()[0].id;
    bench.lose(0);
    bench.pass(20 * SECOND);
    bench.open();
    let (after, _) = bench.sent_connect();
    assert!(after > before);
}

#[test]
fn direct_messages_are_told() {
    let mut bench = Bench::new().connected();
    bench.push("", PushBody::Message(Bytes::from_static(b"hi")));
    assert_eq!(bench.heard(), ["message hi"]);
}

#[test]
fn answer_of_another_kind_is_a_broken_protocol() {
    let mut bench = Bench::new();
    bench.machine.connect(bench.now, &mut bench.effects);
    bench.open();
    let (id, _) = bench.sent_connect();
    bench.reply(id, ReplyBody::Publish);
    assert_eq!(bench.heard().last().unwrap(), "disconnected 2 bad protocol");
}

#[test]
fn nothing_is_pushed_before_the_connect_reply() {
    let mut bench = Bench::new();
    bench.machine.connect(bench.now, &mut bench.effects);
    bench.open();
    bench.look();
    bench.push("", PushBody::Message(Bytes::from_static(b"early")));
    assert!(bench.look().is_empty());
}
