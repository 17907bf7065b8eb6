use super::*;

#[test]
fn silence_before_connect_is_3502() {
    let mut wire = Wire::new(Version::V2);
    wire.pass(Duration::from_millis(9_999));
    assert_eq!(wire.close_code(), None);
    wire.pass(Duration::from_millis(1));
    assert_eq!(wire.close_code(), Some(3502));
}

#[test]
fn the_first_ping_comes_in_the_second_half_of_the_interval() {
    for (seed, from, to) in [
        (0, 12.4, 12.6),
        (u32::MAX / 2, 18.6, 18.9),
        (u32::MAX, 24.9, 25.1),
    ] {
        let mut wire = Wire::new(Version::V2);
        wire.session.birth.seed = seed;
        wire.send(Request::Connect(Box::default()));
        wire.answer(Outcome::Connect(Ok(Box::new(identified()))));
        wire.answer(Outcome::Registered(Ok(())));
        let at = wire
            .session
            .timers
            .ping
            .expect("pings")
            .duration_since(wire.now.instant)
            .as_secs_f64();
        assert!((from..to).contains(&at), "{seed}: {at}");
    }
}

#[test]
fn an_unanswered_ping_is_3012() {
    let mut wire = Wire::connected(Version::V2);
    wire.pass(Duration::from_millis(12_500));
    assert_eq!((wire.pings(), wire.close_code()), (1, None));
    wire.pass(Duration::from_secs(8));
    assert_eq!(wire.close_code(), Some(3012));
}

#[test]
fn answered_pings_go_on_at_their_rate() {
    let mut wire = Wire::connected(Version::V2);
    wire.pass(Duration::from_millis(12_500));
    for pings in 2..10 {
        wire.send_id(0, Request::Pong);
        wire.pass(Duration::from_secs(25));
        assert_eq!((wire.pings(), wire.close_code()), (pings, None));
    }
}

#[test]
fn a_pong_without_ping_or_a_second_pong_is_3501() {
    let mut wire = Wire::connected(Version::V2);
    wire.send_id(0, Request::Pong);
    assert_eq!(wire.close_code(), Some(3501));
    let mut wire = Wire::connected(Version::V2);
    wire.pass(Duration::from_millis(12_500));
    wire.send_id(0, Request::Pong);
    assert_eq!(wire.close_code(), None);
    wire.send_id(0, Request::Pong);
    assert_eq!(wire.close_code(), Some(3501));
}

#[test]
fn without_pong_timeout_pings_need_no_answer() {
    let config = Config {
        pong_timeout: None,
        ..config()
    };
    let mut wire = Wire::connected_with(config, Version::V2, identified());
    wire.pass(Duration::from_secs(100));
    assert_eq!((wire.pings(), wire.close_code()), (4, None));
}

#[test]
fn v1_and_transports_that_ping_by_themselves_get_no_pings() {
    let mut wire = Wire::connected(Version::V1);
    wire.pass(Duration::from_secs(100));
    assert_eq!(wire.pings(), 0);
    let mut wire = Wire::new(Version::V2);
    wire.session.birth.native_ping = true;
    wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Ok(Box::new(identified()))));
    wire.answer(Outcome::Registered(Ok(())));
    assert_eq!(
        (wire.connect_result().ping, wire.connect_result().pong),
        (0, false)
    );
    wire.pass(Duration::from_secs(100));
    assert_eq!(wire.pings(), 0);
}

#[test]
fn presence_is_renewed_at_its_interval() {
    let mut wire = Wire::connected(Version::V1);
    let options = SubscribeOptions {
        presence: true,
        ..SubscribeOptions::default()
    };
    wire.subscribe(options, StreamPosition::default());
    wire.pass(Duration::from_millis(13_500));
    assert_eq!(wire.waiting(), ["renew presence"]);
    wire.answer(Outcome::Done);
    wire.pass(Duration::from_secs(27));
    assert_eq!(wire.waiting(), ["renew presence"]);
}

#[test]
fn a_position_without_traffic_is_compared_and_two_failures_end_the_subscription() {
    let mut wire = Wire::connected(Version::V1);
    wire.subscribe(recoverable(), position(5, "e"));
    wire.pass(Duration::from_secs(41));
    assert_eq!(wire.waiting(), ["top"]);
    wire.answer(Outcome::Top(Some(position(6, "e")), None));
    assert_eq!(wire.close_code(), None, "it may be under way");
    wire.pass(Duration::from_secs(27));
    wire.answer(Outcome::Top(Some(position(6, "e")), None));
    assert_eq!(wire.close_code(), Some(3010));
}

#[test]
fn a_position_that_is_right_stays() {
    let mut wire = Wire::connected(Version::V1);
    wire.subscribe(recoverable(), position(5, "e"));
    wire.pass(Duration::from_secs(41));
    wire.answer(Outcome::Top(Some(position(5, "e")), None));
    wire.pass(Duration::from_secs(27));
    assert!(wire.waiting().is_empty(), "just checked");
    wire.pass(Duration::from_secs(27));
    wire.answer(Outcome::Top(None, None));
    assert_eq!(
        wire.close_code(),
        None,
        "an engine that does not answer proves nothing"
    );
}

#[test]
fn another_epoch_at_the_top_ends_the_subscription_at_once() {
    let mut wire = Wire::connected(Version::V1);
    wire.subscribe(recoverable(), position(5, "e"));
    wire.pass(Duration::from_secs(41));
    wire.answer(Outcome::Top(Some(position(0, "f")), None));
    assert_eq!(wire.close_code(), Some(3010));
}
