//! Publishing, presence, history, refresh (client-protocol.md 4.5, 4.10, 4.11; tokens.md 7.2, 7.3, 8.2).

use super::*;

async fn publish(
    policy: &Policy,
    client: &Client,
    channel: &str,
    subscribed: bool,
    data: &'static [u8],
) -> String {
    let data = Bytes::from_static(data);
    let answer = policy
        .publish(client, &Channel::from(channel), subscribed, data.clone())
        .await;
    if let Ok(published) = &answer {
        assert_eq!(*published, data.into());
    }
    outcome(answer)
}

#[tokio::test]
async fn publications_are_checked_in_order() {
    let policy = Setup::anonymous().build();
    let check =
        async |channel: &str, data| publish(&policy, &client(""), channel, false, data).await;
    assert_eq!(check("", b"{}").await, "D3501");
    assert_eq!(check("nope:a", b"").await, "E102");
    assert_eq!(check("open:é", b"").await, "E107");
    assert_eq!(check("rx:A", b"{}").await, "E107");
    assert_eq!(check("closed:a", b"{}").await, "E103");
    assert_eq!(
        check("open:a", b"\xff").await,
        "ok",
        "payloads are the node's affair"
    );
    assert_eq!(
        check("$open:a", b"{}").await,
        "ok",
        "the private prefix is about subscribing"
    );
    let long = format!("open:{}", "x".repeat(300));
    assert_eq!(
        check(&long, b"{}").await,
        "ok",
        "length is about subscribing"
    );
}

#[tokio::test]
async fn the_first_generation_may_not_publish_nothing() {
    let policy = Setup::anonymous().build();
    assert_eq!(
        publish(&policy, &v1(""), "open:a", false, b"").await,
        "D3501"
    );
    assert_eq!(
        publish(&policy, &v1(""), "nope:a", false, b"{}").await,
        "E102"
    );
    assert_eq!(publish(&policy, &v1(""), "", false, b"{}").await, "D3501");
}

#[tokio::test]
async fn publishing_is_permitted_to_clients_or_subscribers() {
    let check = async |change: fn(&mut ChannelOptionsConfig), user: &str, subscribed| {
        let policy = Setup::new().with("closed", change).build();
        publish(&policy, &client(user), "closed:a", subscribed, b"{}").await
    };
    assert_eq!(
        check(|o| o.allow_publish_for_client = true, "42", false).await,
        "ok"
    );
    assert_eq!(
        check(|o| o.allow_publish_for_client = true, "", false).await,
        "E103"
    );
    assert_eq!(
        check(|o| o.allow_publish_for_subscriber = true, "42", false).await,
        "E103"
    );
    assert_eq!(
        check(|o| o.allow_publish_for_subscriber = true, "42", true).await,
        "ok"
    );
    assert_eq!(
        check(|o| o.allow_publish_for_subscriber = true, "", true).await,
        "E103"
    );
    assert_eq!(
        check(|o| o.allow_publish_for_anonymous = true, "", true).await,
        "E103"
    );
    let both = |o: &mut ChannelOptionsConfig| {
        o.allow_publish_for_subscriber = true;
        o.allow_publish_for_anonymous = true;
    };
    assert_eq!(check(both, "", true).await, "ok");
    assert_eq!(
        check(|o| o.publish_proxy_enabled = true, "42", true).await,
        "E108"
    );
    assert_eq!(
        check(|o| o.subscribe_stream_proxy_enabled = true, "42", true).await,
        "E108"
    );
    let insecure = Setup::insecure().build();
    assert_eq!(
        publish(&insecure, &client(""), "closed:a", false, b"{}").await,
        "ok"
    );
}

#[tokio::test]
async fn reading_is_checked_in_order() {
    let policy = Setup::anonymous()
        .with("rx", |rx| rx.presence = true)
        .build();
    for what in [Read::Presence, Read::History] {
        let check = async |channel: &str| {
            outcome(
                policy
                    .read(&client(""), &Channel::from(channel), true, what)
                    .await,
            )
        };
        assert_eq!(check("").await, "D3501");
        assert_eq!(check("nope:é").await, "E102");
        assert_eq!(check("open:é").await, "E107");
        assert_eq!(
            check("closed:a").await,
            "E108",
            "off comes before the permission"
        );
        assert_eq!(check("open:a").await, "ok");
    }
    let presence = policy
        .read(&client("42"), &Channel::from("rx:a"), true, Read::Presence)
        .await;
    assert_eq!(outcome(presence), "E103");
}

#[tokio::test]
async fn reading_is_permitted_to_clients_or_subscribers() {
    let check = async |what, change: fn(&mut ChannelOptionsConfig), user: &str, subscribed| {
        let setup = Setup::new().with("closed", |closed| {
            closed.presence = true;
            closed.history_size = 1;
            closed.history_ttl = std::time::Duration::from_secs(1);
            change(closed);
        });
        let channel = Channel::from("closed:a");
        outcome(
            setup
                .build()
                .read(&client(user), &channel, subscribed, what)
                .await,
        )
    };
    type Change = fn(&mut ChannelOptionsConfig);
    let kinds: [(Read, Change, Change, Change); 2] = [
        (
            Read::Presence,
            |o| o.allow_presence_for_client = true,
            |o| o.allow_presence_for_subscriber = true,
            |o| {
                o.allow_presence_for_subscriber = true;
                o.allow_presence_for_anonymous = true;
            },
        ),
        (
            Read::History,
            |o| o.allow_history_for_client = true,
            |o| o.allow_history_for_subscriber = true,
            |o| {
                o.allow_history_for_subscriber = true;
                o.allow_history_for_anonymous = true;
            },
        ),
    ];
    for (what, to_client, to_subscriber, to_anonymous) in kinds {
        assert_eq!(check(what, |_| (), "42", true).await, "E103");
        assert_eq!(check(what, to_client, "42", false).await, "ok");
        assert_eq!(check(what, to_client, "", true).await, "E103");
        assert_eq!(check(what, to_subscriber, "42", false).await, "E103");
        assert_eq!(check(what, to_subscriber, "42", true).await, "ok");
        assert_eq!(check(what, to_subscriber, "", true).await, "E103");
        assert_eq!(check(what, to_anonymous, "", true).await, "ok");
        assert_eq!(check(what, to_anonymous, "", false).await, "E103");
    }
    let insecure = Setup::insecure()
        .with("closed", |closed| closed.presence = true)
        .build();
    let channel = Channel::from("closed:a");
    let presence = insecure
        .read(&client(""), &channel, false, Read::Presence)
        .await;
    assert_eq!(outcome(presence), "ok");
    let history = insecure
        .read(&client(""), &channel, false, Read::History)
        .await;
    assert_eq!(outcome(history), "E108", "off stays off");
}

#[tokio::test]
async fn a_connection_is_refreshed_by_a_token_of_its_user() {
    let policy = Setup::anonymous().build();
    let refresh = async |user: &str, token: &str| policy.refresh(&client(user), token).await;
    let exp = in_seconds(1800);
    let new = jwt(
        json!({"sub": "42", "exp": exp, "info": {"i": 1}, "meta": 5, "channels": ["open:b", "open:a"]}),
    );
    let answer = refresh("42", &new).await.unwrap();
    assert_eq!(
        (answer.expire_at, &*answer.info),
        (Some(exp), &b"{\"i\":1}"[..])
    );
    assert_eq!(answer.meta.as_deref(), Some(&b"5"[..]));
    assert_eq!(
        answer.channels,
        Some(vec![Channel::from("open:a"), Channel::from("open:b")])
    );
    let plain = refresh("42", &jwt(json!({"sub": "42"}))).await.unwrap();
    assert_eq!((plain.expire_at, plain.meta), (None, None));
    assert!(plain.info.is_empty());
    assert_eq!(
        plain.channels,
        Some(Vec::new()),
        "no channels is an answer, too"
    );
    for (user, claims, expected) in [
        ("42", json!({"sub": "42", "exp": 1}), "D3005"),
        ("42", json!({"sub": "42", "nbf": in_seconds(60)}), "D3005"),
        ("42", json!({"sub": "43", "exp": in_seconds(60)}), "D3500"),
        ("", json!({"sub": "42"}), "D3500"),
        ("42", json!({"sub": "42", "channel": "x"}), "D3500"),
        ("42", json!({"sub": "42", "channels": ["nope:a"]}), "E102"),
        (
            "42",
            json!({"sub": "42", "exp": in_seconds(60), "expire_at": 1}),
            "ok",
        ),
    ] {
        assert_eq!(
            outcome(refresh(user, &jwt(claims.clone())).await),
            expected,
            "{claims}"
        );
    }
    assert_eq!(outcome(refresh("42", "").await), "D3501");
    assert_eq!(outcome(refresh("42", "bad").await), "D3500");
}

#[tokio::test]
async fn a_connection_is_refreshed_by_hmac_credentials() {
    let policy = Setup::hmac().build();
    let issue =
        |user: &str, exp| auth::credentials::issue(&"h1 secret".into(), user, exp, b"1").unwrap();
    let exp = in_seconds(60);
    let answer = policy
        .refresh(&client("42"), &issue("42", exp))
        .await
        .unwrap();
    assert_eq!((answer.expire_at, &*answer.info), (Some(exp), &b"1"[..]));
    assert_eq!(
        answer.channels,
        Some(Vec::new()),
        "as a token without channels"
    );
    assert_eq!(
        outcome(policy.refresh(&client("43"), &issue("42", exp)).await),
        "D3500"
    );
    assert_eq!(
        outcome(policy.refresh(&client("42"), &issue("42", 1)).await),
        "D3005"
    );
    assert_eq!(
        outcome(policy.refresh(&client("42"), "h1.x").await),
        "D3500"
    );
    let off = Setup::new().build();
    assert_eq!(
        outcome(off.refresh(&client("42"), &issue("42", exp)).await),
        "D3500"
    );
}

#[tokio::test]
async fn a_subscription_is_refreshed_by_a_token_of_its_own() {
    let policy = Setup::new().build();
    let refresh = async |client: &Client, channel: &str, token: &str| {
        policy
            .sub_refresh(client, &Channel::from(channel), token)
            .await
    };
    let exp = in_seconds(1200);
    let new = jwt(json!({"sub": "42", "channel": "closed:a", "exp": exp, "info": {"i": 1}}));
    let answer = refresh(&client("42"), "closed:a", &new).await.unwrap();
    assert_eq!(
        (answer.expire_at, &*answer.info),
        (Some(exp), &b"{\"i\":1}"[..])
    );
    assert_eq!(answer.channel.as_str(), "closed:a");
    let never = jwt(json!({"sub": "42", "channel": "closed:a"}));
    let answer = refresh(&client("42"), "closed:a", &never).await.unwrap();
    assert_eq!(answer.expire_at, None);
    assert!(answer.info.is_empty());
    for (claims, expected) in [
        (
            json!({"sub": "42", "channel": "closed:a", "exp": 1}),
            "E109",
        ),
        (json!({"sub": "42", "channel": "closed:b"}), "D3500"),
        (json!({"sub": "43", "channel": "closed:a"}), "D3500"),
        (
            json!({"sub": "42", "channel": "closed:a", "client": "other"}),
            "D3500",
        ),
        (json!({"sub": "42"}), "D3500"),
        (json!({"sub": "42", "channel": "nope:a"}), "E102"),
    ] {
        let token = jwt(claims.clone());
        assert_eq!(
            outcome(refresh(&client("42"), "closed:a", &token).await),
            expected,
            "{claims}"
        );
        assert_eq!(
            outcome(refresh(&v1("42"), "closed:a", &token).await),
            expected,
            "V1 {claims}"
        );
    }
}

#[tokio::test]
async fn a_refresh_of_a_subscription_needs_a_fitting_token() {
    let policy = Setup::new().build();
    let refresh = async |client: Client, token: &str| {
        let channel = Channel::from("closed:a");
        outcome(policy.sub_refresh(&client, &channel, token).await)
    };
    let by_client = jwt(json!({"channel": "closed:a", "client": "c1"}));
    assert_eq!(refresh(v1("42"), &by_client).await, "ok");
    assert_eq!(refresh(client("42"), &by_client).await, "D3500");
    assert_eq!(refresh(client("42"), "").await, "E107");
    assert_eq!(refresh(client("42"), "bad").await, "D3500");
}

#[tokio::test]
async fn a_refresh_without_channel_takes_that_of_the_token() {
    let policy = Setup::new().build();
    let refresh = async |token: &str| {
        policy
            .sub_refresh(&client("42"), &Channel::default(), token)
            .await
    };
    let good = jwt(json!({"sub": "42", "channel": "closed:a"}));
    assert_eq!(refresh(&good).await.unwrap().channel.as_str(), "closed:a");
    assert_eq!(outcome(refresh("").await), "D3501");
    assert_eq!(outcome(refresh("bad").await), "D3501");
    assert_eq!(outcome(refresh(&jwt(json!({"sub": "42"}))).await), "D3501");
    assert_eq!(
        outcome(refresh(&jwt(json!({"sub": "43", "channel": "closed:a"}))).await),
        "D3500"
    );
}
