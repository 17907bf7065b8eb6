//! Tokens: fetched before the first connect, renewed in time, replaced when the server says so.

use super::*;

fn failed() -> TokenError {
    TokenError::failed("backend is down")
}

fn connected_for(ttl: u32) -> Bench {
    let mut bench = Bench::with_token_source();
    bench.connect_with(ConnectResult {
        ttl: Some(ttl),
        ..ConnectResult::default()
    });
    bench.look();
    bench
}

/// Subscribed for a minute.
fn subscribed_for_a_minute() -> (Bench, SubscriptionId) {
    let mut bench = Bench::with_token_source().connected();
    let id = bench.subscribe("news", SubscribeOptions::new().token("old"));
    let (command, _) = bench.sent_subscribe();
    bench.reply(
        command,
        subscribed(SubscribeResult {
            ttl: Some(60),
            ..SubscribeResult::default()
        }),
    );
    bench.look();
    (bench, id)
}

#[test]
fn first_token_is_fetched_before_the_transport_is_opened() {
    let mut bench = Bench::with(Introduction {
        token_source: true,
        ..Introduction::default()
    });
    bench.machine.connect(bench.now, &mut bench.effects);
    assert_eq!(
        (bench.opens(), bench.tickets()[0].1.clone()),
        (0, TokenRequest::Connection)
    );
    let ticket = bench.ticket();
    bench.token(ticket, Ok("fresh"));
    assert_eq!(bench.opens(), 1);
    bench.open();
    assert_eq!(bench.sent_connect().1.token, "fresh");
}

#[test]
fn failing_source_is_asked_again_after_the_back_off() {
    let mut bench = Bench::with(Introduction {
        token_source: true,
        ..Introduction::default()
    });
    bench.machine.connect(bench.now, &mut bench.effects);
    let ticket = bench.ticket();
    bench.token(ticket, Err(failed()));
    assert_eq!(bench.heard(), ["failed: no token"]);
    bench.look();
    bench.pass(Duration::from_millis(750));
    assert_eq!(bench.tickets().len(), 1);
}

#[test]
fn refusing_source_ends_the_attempts() {
    for answer in [Err(TokenError::Unauthorized), Ok("")] {
        let mut bench = Bench::with(Introduction {
            token_source: true,
            ..Introduction::default()
        });
        bench.machine.connect(bench.now, &mut bench.effects);
        let ticket = bench.ticket();
        bench.token(ticket, answer);
        assert_eq!(bench.heard(), ["disconnected 1 unauthorized"]);
    }
}

#[test]
fn late_token_of_an_abandoned_attempt_is_ignored() {
    let mut bench = Bench::with(Introduction {
        token_source: true,
        ..Introduction::default()
    });
    bench.machine.connect(bench.now, &mut bench.effects);
    let ticket = bench.ticket();
    bench.machine.disconnect(&mut bench.effects);
    bench.look();
    bench.token(ticket, Ok("late"));
    assert!(bench.look().is_empty());
}

#[test]
fn expired_token_is_replaced_on_error_109() {
    let mut bench = Bench::with_token_source();
    bench.machine.connect(bench.now, &mut bench.effects);
    bench.open();
    let (id, connect) = bench.sent_connect();
    assert_eq!(connect.token, "first");
    bench.refuse(id, ClientError::TOKEN_EXPIRED);
    bench.look();
    bench.pass(Duration::from_millis(750));
    let ticket = bench.ticket();
    bench.token(ticket, Ok("second"));
    bench.open();
    assert_eq!(bench.sent_connect().1.token, "second");
}

#[test]
fn expired_connection_is_replaced_on_3005() {
    let mut bench = Bench::with_token_source().connected();
    bench.lose(3005);
    bench.look();
    bench.pass(20 * SECOND);
    assert_eq!(bench.tickets().len(), 1);

    let mut bench = Bench::with_token_source().connected();
    bench.lose(3001);
    bench.look();
    bench.pass(20 * SECOND);
    assert_eq!(
        (bench.tickets().len(), bench.opens()),
        (0, 1),
        "the token is still good"
    );
}

#[test]
fn token_is_renewed_shortly_before_it_ends() {
    for (ttl, after) in [(1, 900), (20, 18_000), (3600, 3_590_000)] {
        let bench = connected_for(ttl);
        assert_eq!(bench.next(), Some(Duration::from_millis(after)), "{ttl}");
    }
    assert!(connected_for(u32::MAX).next().unwrap() < Duration::from_secs(2_147_484));
}

#[test]
fn without_a_source_nothing_is_renewed() {
    let mut bench = Bench::new();
    bench.connect_with(ConnectResult {
        ttl: Some(60),
        ..ConnectResult::default()
    });
    assert_eq!(bench.next(), None);
}

#[test]
fn renewed_token_is_sent_and_its_life_followed() {
    let mut bench = connected_for(60);
    bench.pass(54 * SECOND);
    let ticket = bench.ticket();
    bench.token(ticket, Ok("second"));
    let (id, token) = bench.take_sent(|request| match request {
        Request::Refresh(token) => Some(token),
        _ => None,
    });
    assert_eq!(token, "second");
    bench.reply(
        id,
        ReplyBody::Refresh(RefreshResult {
            ttl: Some(100),
            ..RefreshResult::default()
        }),
    );
    assert_eq!(bench.next(), Some(90 * SECOND));
    bench.lose(0);
    bench.pass(20 * SECOND);
    bench.open();
    assert_eq!(bench.sent_connect().1.token, "second");
}

#[test]
fn failed_renewal_is_repeated_after_five_to_ten_seconds() {
    let mut bench = connected_for(60);
    bench.pass(54 * SECOND);
    let ticket = bench.ticket();
    bench.token(ticket, Err(failed()));
    assert_eq!(bench.heard(), ["failed: no token"]);
    assert_eq!(bench.next(), Some(Duration::from_millis(7500)));
    bench.look();
    bench.pass(Duration::from_millis(7500));
    assert_eq!(bench.tickets().len(), 1);
}

#[test]
fn refused_renewal_is_retried_if_temporary_and_final_otherwise() {
    for (error, heard) in [
        (
            ClientError::INTERNAL,
            "failed: error 100: internal server error",
        ),
        (ClientError::EXPIRED, "disconnected 110 expired"),
    ] {
        let mut bench = connected_for(60);
        bench.pass(54 * SECOND);
        let ticket = bench.ticket();
        bench.token(ticket, Ok("second"));
        let id = bench.sent()[0].id;
        bench.refuse(id, error);
        assert_eq!(bench.heard(), [heard]);
    }
}

#[test]
fn refresh_push_moves_the_renewal() {
    let mut bench = connected_for(60);
    bench.push("", PushBody::Refresh(Some(200)));
    assert_eq!(bench.next(), Some(190 * SECOND));
    bench.push("", PushBody::Refresh(None));
    assert_eq!(bench.next(), None);
}

#[test]
fn subscription_token_is_fetched_when_asked_for() {
    let mut bench = Bench::with_token_source().connected();
    let id = bench.subscribe("$news", SubscribeOptions::new().token_from_source());
    assert_eq!(
        bench.tickets()[0].1,
        TokenRequest::Subscription("$news".into())
    );
    let ticket = bench.ticket();
    bench.token(ticket, Err(failed()));
    assert_eq!(bench.told(id), ["failed: no token"]);
    bench.look();
    bench.pass(Duration::from_millis(750));
    let ticket = bench.ticket();
    bench.token(ticket, Ok("sub"));
    assert_eq!(bench.sent_subscribe().1.token, "sub");
}

#[test]
fn refused_subscription_token_ends_the_subscription() {
    let mut bench = Bench::with_token_source().connected();
    let id = bench.subscribe("$news", SubscribeOptions::new().token_from_source());
    let ticket = bench.ticket();
    bench.token(ticket, Err(TokenError::Unauthorized));
    assert_eq!(bench.told(id), ["unsubscribed 1 unauthorized"]);
}

#[test]
fn expired_subscription_token_is_replaced_on_109_and_2501() {
    let mut bench = Bench::with_token_source().connected();
    bench.subscribe("$news", SubscribeOptions::new().token("old"));
    let (command, _) = bench.sent_subscribe();
    bench.refuse(command, ClientError::TOKEN_EXPIRED);
    bench.look();
    bench.pass(Duration::from_millis(750));
    let ticket = bench.ticket();
    bench.token(ticket, Ok("new"));
    let (command, request) = bench.sent_subscribe();
    assert_eq!(request.token, "new");
    bench.reply(command, subscribed(SubscribeResult::default()));
    bench.look();
    bench.push("$news", PushBody::Unsubscribe(Unsubscribe::EXPIRED));
    let ticket = bench.ticket();
    bench.token(ticket, Ok("newer"));
    assert_eq!(bench.sent_subscribe().1.token, "newer");
}

#[test]
fn subscription_is_renewed_in_time() {
    let (mut bench, _) = subscribed_for_a_minute();
    assert_eq!(bench.next(), Some(54 * SECOND));
    bench.pass(54 * SECOND);
    let ticket = bench.ticket();
    bench.token(ticket, Ok("new"));
    let (id, request) = bench.take_sent(|request| match request {
        Request::SubRefresh(refresh) => Some(refresh),
        _ => None,
    });
    assert_eq!(
        (request.channel.as_str(), request.token.as_str()),
        ("news", "new")
    );
    bench.reply(
        id,
        ReplyBody::SubRefresh(SubRefreshResult { ttl: Some(20) }),
    );
    assert_eq!(bench.next(), Some(18 * SECOND));
}

#[test]
fn refused_renewal_of_a_subscription_is_retried_if_temporary_and_final_otherwise() {
    for (error, told, sent) in [
        (
            ClientError::INTERNAL,
            "failed: error 100: internal server error",
            0,
        ),
        (
            ClientError::PERMISSION_DENIED,
            "unsubscribed 103 permission denied",
            1,
        ),
    ] {
        let (mut bench, id) = subscribed_for_a_minute();
        bench.pass(54 * SECOND);
        let ticket = bench.ticket();
        bench.token(ticket, Ok("new"));
        let command = bench.sent()[0].id;
        bench.look();
        bench.refuse(command, error);
        assert_eq!(bench.told(id), [told]);
        assert_eq!(
            bench.sent().len(),
            sent,
            "the server is told when this side ends it"
        );
    }
}

#[test]
fn token_fetched_during_a_loss_is_used_afterwards() {
    let mut bench = Bench::with_token_source().connected();
    bench.subscribe("$news", SubscribeOptions::new().token_from_source());
    let ticket = bench.ticket();
    bench.lose(0);
    bench.token(ticket, Ok("sub"));
    bench.come_back();
    assert_eq!(bench.sent_subscribe().1.token, "sub");
}
