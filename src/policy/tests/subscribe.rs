//! Subscribing: the order of tokens.md 8.1 and client-protocol.md 4.6.1, row by row.

use super::*;

async fn with(policy: &Policy, client: &Client, question: SubscribeQuestion) -> String {
    outcome(policy.subscribe(client, question).await)
}

#[tokio::test]
async fn names_are_checked_before_permissions() {
    let policy = Setup::anonymous().build();
    let check = async |channel: &str| policy.subscribe_outcome(&client(""), channel, "").await;
    assert_eq!(check("").await, "D3501");
    assert_eq!(
        check(&format!("open:{}", "x".repeat(250))).await,
        "source 6"
    );
    assert_eq!(check(&format!("open:{}", "x".repeat(251))).await, "E107");
    assert_eq!(
        check(&format!("nope:{}", "x".repeat(251))).await,
        "E107",
        "length comes first"
    );
    assert_eq!(check("nope:a").await, "E102");
    assert_eq!(check("nope:é").await, "E102");
    assert_eq!(check("$nope:a").await, "E102");
    assert_eq!(check("open:é").await, "E107");
    assert_eq!(check("open:").await, "source 6");
    assert_eq!(check(":a").await, "E103", "the empty namespace is none");
    assert_eq!(
        check("rx:abc1é").await,
        "source 6",
        "a pattern lifts the ASCII rule"
    );
    assert_eq!(check("rx:ABC").await, "E107");
    assert_eq!(
        check("$rx:abc").await,
        "E103",
        "the pattern is for what is behind the namespace"
    );
}

#[tokio::test]
async fn the_type_must_fit_the_namespace() {
    let setup = || {
        Setup::anonymous()
            .with("closed", |closed| {
                "map".clone_into(&mut closed.subscription_type)
            })
            .with("users", |users| {
                "shared_poll".clone_into(&mut users.subscription_type)
            })
    };
    let policy = setup().build();
    let check = async |channel: &str, kind| {
        let question = SubscribeQuestion {
            kind,
            ..subscribe(channel, "")
        };
        with(&policy, &client(""), question).await
    };
    for (channel, expected) in [
        ("open:a", ["ok", "E103", "E103", "E103", "E108"]),
        ("closed:a", ["E103", "E103", "E103", "E103", "E108"]),
        ("users:a", ["E107", "E107", "E107", "E107", "E103"]),
        ("nope:a", ["E102"; 5]),
    ] {
        for (kind, expected) in (0..).zip(expected) {
            assert_eq!(check(channel, kind).await, expected, "{channel} {kind}");
        }
        assert_eq!(check(channel, 9).await, "D3004");
        assert_eq!(check(channel, -1).await, "D3004");
    }
}

#[tokio::test]
async fn private_channels_need_a_token() {
    let policy = Setup::new().build();
    let user = client("42");
    assert_eq!(policy.subscribe_outcome(&user, "$open:a", "").await, "E103");
    let token = jwt(json!({"sub": "42", "channel": "$open:a"}));
    assert_eq!(
        policy.subscribe_outcome(&user, "$open:a", &token).await,
        "source 3"
    );
    assert_eq!(
        policy.subscribe_outcome(&user, "open:a", &token).await,
        "D3500"
    );
    let insecure = Setup::insecure().build();
    assert_eq!(
        insecure.subscribe_outcome(&user, "$open:a", "").await,
        "E103",
        "insecure, too"
    );
}

#[tokio::test]
async fn tokens_are_refused_in_different_ways() {
    let policy = Setup::new().build();
    let check = async |claims: &Value| {
        let token = jwt(claims.clone());
        let of = async |client| policy.subscribe_outcome(&client, "closed:a", &token).await;
        [of(client("42")).await, of(v1("42")).await]
    };
    for (extra, outcomes) in [
        (json!({}), ["source 3"; 2]),
        (json!({"exp": 1}), ["E109"; 2]),
        (json!({"nbf": in_seconds(60)}), ["E109"; 2]),
        (json!({"channel": ""}), ["E103"; 2]),
        (json!({"sub": 42}), ["E103"; 2]),
        (json!({"b64data": "###"}), ["E103"; 2]),
        (json!({"channel": "closed:b"}), ["D3500", "E103"]),
        (json!({"channel": "nope:b"}), ["E102"; 2]),
        (json!({"sub": "43"}), ["D3500", "E103"]),
        (json!({"sub": null}), ["D3500", "E103"]),
        (json!({"client": "other"}), ["D3500", "E103"]),
        (json!({"client": "c1"}), ["source 3"; 2]),
        (json!({"client": "c1", "sub": null}), ["D3500", "source 3"]),
        (json!({"client": "c1", "sub": "43"}), ["D3500", "E103"]),
        (json!({"expire_at": 1}), ["source 3"; 2]),
    ] {
        let mut claims = json!({"sub": "42", "channel": "closed:a"});
        let members = claims.as_object_mut().unwrap();
        members.extend(extra.as_object().unwrap().clone());
        assert_eq!(check(&claims).await, outcomes, "{claims}");
    }
}

#[tokio::test]
async fn subscription_tokens_are_verified() {
    let policy = Setup::new().build();
    let check = async |user: &str, token: &str| {
        let client = client(user);
        policy.subscribe_outcome(&client, "closed:a", token).await
    };
    let wrong = signed_by("other", &json!({"sub": "42", "channel": "closed:a"}));
    assert_eq!(check("42", &wrong).await, "E103");
    assert_eq!(check("42", "garbage").await, "E103");
    let nobody = jwt(json!({"channel": "closed:a"}));
    assert_eq!(check("", &nobody).await, "source 3");
}

#[tokio::test]
async fn a_token_goes_before_the_kind_of_the_channel() {
    let setup = Setup::new().with("closed", |closed| closed.subscribe_proxy_enabled = true);
    let policy = setup.build();
    for channel in ["users:x#41", "closed:a", "open:a", "rx:a"] {
        let token = jwt(json!({"sub": "42", "channel": channel}));
        assert_eq!(
            policy
                .subscribe_outcome(&client("42"), channel, &token)
                .await,
            "source 3"
        );
    }
    assert_eq!(
        policy
            .subscribe_outcome(&client("42"), "open:a", "bad")
            .await,
        "E103"
    );
}

#[tokio::test]
async fn user_limited_channels_are_for_the_listed() {
    let policy = Setup::new()
        .with("users", |users| users.allow_subscribe_for_client = true)
        .build();
    let check = async |user: &str, channel: &str| {
        policy.subscribe_outcome(&client(user), channel, "").await
    };
    assert_eq!(check("42", "users:x#42").await, "source 5");
    assert_eq!(check("42", "users:x#41,42").await, "source 5");
    assert_eq!(
        check("42", "users:x#41").await,
        "E103",
        "the client permission does not apply"
    );
    assert_eq!(check("42", "users:a#42#41").await, "E103");
    assert_eq!(
        check("42", "users:x").await,
        "source 6",
        "not limited without a boundary"
    );
    assert_eq!(check("42", "users:x#").await, "E103");
    assert_eq!(check("", "users:x#").await, "E103");
    assert_eq!(check("", "users:x#1,").await, "E103");
    assert_eq!(
        check("42", "open:x#41").await,
        "source 6",
        "the namespace does not honour lists"
    );
    let insecure = Setup::insecure().build();
    assert_eq!(
        insecure
            .subscribe_outcome(&client("42"), "users:x#41", "")
            .await,
        "source 7"
    );
}

#[tokio::test]
async fn a_proxy_that_does_not_exist_is_not_available() {
    let proxied = |change: fn(&mut ChannelOptionsConfig)| {
        Setup::insecure().with("users", |users| {
            users.allow_subscribe_for_client = true;
            change(users);
        })
    };
    let switches: [fn(&mut ChannelOptionsConfig); 2] = [
        |users| users.subscribe_proxy_enabled = true,
        |users| users.subscribe_stream_proxy_enabled = true,
    ];
    for switch in switches {
        let policy = proxied(switch).build();
        assert_eq!(
            policy.subscribe_outcome(&client("42"), "users:x", "").await,
            "E108"
        );
        assert_eq!(
            policy
                .subscribe_outcome(&client("42"), "users:x#42", "")
                .await,
            "source 5"
        );
        assert_eq!(
            policy
                .subscribe_outcome(&client("42"), "users:x#41", "")
                .await,
            "source 7"
        );
    }
}

#[tokio::test]
async fn clients_and_anonymous_clients_are_permitted_apart() {
    let check = async |client_too: bool, anonymous: bool, user: &str| {
        let setup = Setup::new().with("closed", |closed| {
            closed.allow_subscribe_for_client = client_too;
            closed.allow_subscribe_for_anonymous = anonymous;
        });
        setup
            .build()
            .subscribe_outcome(&client(user), "closed:a", "")
            .await
    };
    assert_eq!(check(true, false, "42").await, "source 6");
    assert_eq!(check(true, false, "").await, "E103");
    assert_eq!(check(true, true, "").await, "source 6");
    assert_eq!(
        check(false, true, "").await,
        "E103",
        "in addition, not instead"
    );
    assert_eq!(check(false, true, "42").await, "E103");
    let insecure = Setup::insecure().build();
    assert_eq!(
        insecure
            .subscribe_outcome(&client(""), "closed:a", "")
            .await,
        "source 7"
    );
}

#[tokio::test]
async fn options_come_from_namespace_and_token() {
    let policy = Setup::new()
        .with("open", |open| open.force_positioning = true)
        .build();
    let exp = in_seconds(600);
    let token = jwt(
        json!({"sub": "42", "channel": "open:a", "exp": exp, "info": {"i": 2}, "data": {"d": 1},
        "override": {"presence": {"value": false}, "force_recovery": {"value": true}}}),
    );
    let options = policy
        .subscribe(&client("42"), subscribe("open:a", &token))
        .await
        .unwrap()
        .options;
    assert!(!options.presence && options.join_leave && options.positioned && options.recoverable);
    assert_eq!(options.expire_at, Some(exp));
    assert_eq!(
        (&*options.info, &*options.data),
        (&b"{\"i\":2}"[..], &b"{\"d\":1}"[..])
    );
    let options = policy
        .subscribe(&client("42"), subscribe("open:a", ""))
        .await
        .unwrap()
        .options;
    assert!(options.presence && options.join_leave && options.positioned && !options.recoverable);
    assert_eq!(
        (options.expire_at, options.server_side_refresh),
        (None, false)
    );
}

/// What is granted of everything asked for: positioned, recoverable, joins and leaves.
async fn granted(setup: Setup, user: &str, token: &str) -> [bool; 3] {
    let question = SubscribeQuestion {
        positioned: true,
        recoverable: true,
        join_leave: true,
        ..subscribe("closed:a", token)
    };
    let options = setup
        .build()
        .subscribe(&client(user), question)
        .await
        .unwrap()
        .options;
    [
        options.positioned,
        options.recoverable,
        options.push_join_leave,
    ]
}

/// A namespace where everybody may subscribe and joins are emitted, and nothing else is allowed.
fn asking(change: fn(&mut ChannelOptionsConfig)) -> Setup {
    Setup::new().with("closed", |closed| {
        closed.allow_subscribe_for_client = true;
        closed.allow_subscribe_for_anonymous = true;
        closed.join_leave = true;
        change(closed);
    })
}

const NOTHING: [bool; 3] = [false; 3];

#[tokio::test]
async fn positioning_and_recovery_are_granted_where_permitted() {
    let check = async |change, user| granted(asking(change), user, "").await;
    assert_eq!(check(|_| (), "42").await, NOTHING);
    assert_eq!(
        check(|o| o.allow_positioning = true, "42").await,
        [true, false, false]
    );
    assert_eq!(
        check(|o| o.allow_recovery = true, "42").await,
        [false, true, false]
    );
    let both = [true, true, false];
    assert_eq!(
        check(|o| o.allow_history_for_client = true, "42").await,
        both
    );
    assert_eq!(
        check(|o| o.allow_history_for_subscriber = true, "42").await,
        both
    );
    assert_eq!(
        check(|o| o.allow_history_for_subscriber = true, "").await,
        NOTHING
    );
    let anonymous = |o: &mut ChannelOptionsConfig| {
        o.allow_history_for_subscriber = true;
        o.allow_history_for_anonymous = true;
    };
    assert_eq!(check(anonymous, "").await, both);
    let token = jwt(json!({"sub": "42", "channel": "closed:a"}));
    let with_token = granted(asking(|o| o.allow_recovery = true), "42", &token).await;
    assert_eq!(with_token, [false, true, false]);
}

#[tokio::test]
async fn joins_and_leaves_are_granted_where_permitted() {
    let check = async |change, user| granted(asking(change), user, "").await;
    let joins = [false, false, true];
    assert_eq!(
        check(|o| o.allow_presence_for_subscriber = true, "42").await,
        joins
    );
    assert_eq!(
        check(|o| o.allow_presence_for_client = true, "42").await,
        joins
    );
    assert_eq!(
        check(|o| o.allow_presence_for_client = true, "").await,
        NOTHING
    );
    let not_emitted = |o: &mut ChannelOptionsConfig| {
        o.allow_presence_for_client = true;
        o.join_leave = false;
    };
    assert_eq!(check(not_emitted, "42").await, NOTHING);
    let mut insecure = asking(|_| ());
    insecure.policy.client.insecure = true;
    assert_eq!(granted(insecure, "", "").await, [true; 3]);
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_granted() {
    let policy = Setup::anonymous().build();
    let options = policy
        .subscribe(&client(""), subscribe("open:a", ""))
        .await
        .unwrap()
        .options;
    assert!(!options.positioned && !options.recoverable && !options.push_join_leave);
}
