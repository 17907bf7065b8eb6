//! Connecting: order of the ways to authenticate, server-side channels (tokens.md 1, 4, 7.1; client-protocol.md 4.4).

use super::*;
use crate::{
    auth::credentials,
    model::{Credentials, Disconnect},
};

async fn answer(policy: &Policy, client: &Client, question: ConnectQuestion) -> ConnectAnswer {
    policy.connect(client, question).await.unwrap()
}

#[tokio::test]
async fn a_token_decides_and_nothing_later_is_tried() {
    let policy = Setup::anonymous().build();
    let exp = in_seconds(60);
    let good = jwt(json!({"sub": "42", "exp": exp, "info": {"i": 1}, "meta": {"m": 1}}));
    let granted = answer(&policy, &client(""), connect(&good)).await;
    assert_eq!(
        (granted.user.as_str(), granted.expire_at),
        ("42", Some(exp))
    );
    assert_eq!(
        (&*granted.info, &*granted.meta),
        (&b"{\"i\":1}"[..], &b"{\"m\":1}"[..])
    );
    assert!(!granted.server_side_refresh && granted.single_connection.is_none());
    for (claims, expected) in [
        (json!({"sub": "42", "exp": 1}), "E109"),
        (json!({"sub": "42", "nbf": in_seconds(60)}), "E109"),
        (json!({"sub": 42}), "D3500"),
        (json!({"sub": "42", "b64info": "###"}), "D3500"),
        (json!({"channels": ["nope:a"]}), "E102"),
        (json!({"subs": {"nope:a": {}}}), "E102"),
        (json!({"subs": {"open:b": {"b64data": "###"}}}), "D3500"),
    ] {
        assert_eq!(
            policy.connect_outcome(&jwt(claims.clone())).await,
            expected,
            "{claims}"
        );
    }
    let wrong = signed_by("other", &json!({"sub": "42"}));
    assert_eq!(policy.connect_outcome(&wrong).await, "D3500");
    assert_eq!(policy.connect_outcome("abc").await, "D3500");
}

#[tokio::test]
async fn without_credentials_there_is_an_order() {
    let with_header = || {
        of_peer(Peer {
            user_header: Some(UserId::from("7")),
            ..peer()
        })
    };
    let user = async |setup: Setup, client: Client| {
        let answer = setup.build().connect(&client, connect("")).await;
        answer
            .map(|granted| granted.user.as_str().to_owned())
            .map_err(|rejection| code(&rejection))
    };
    assert_eq!(
        user(Setup::new(), client("")).await,
        Err("D3501".to_owned())
    );
    assert_eq!(
        user(Setup::anonymous(), client("")).await,
        Ok(String::new())
    );
    assert_eq!(user(Setup::insecure(), client("")).await, Ok(String::new()));
    assert_eq!(user(Setup::new(), with_header()).await, Ok("7".to_owned()));
    assert_eq!(
        user(Setup::anonymous(), with_header()).await,
        Ok(String::new())
    );
    assert_eq!(
        user(Setup::insecure(), with_header()).await,
        Ok(String::new())
    );
    let empty = of_peer(Peer {
        user_header: Some(UserId::default()),
        ..peer()
    });
    assert_eq!(user(Setup::new(), empty).await, Err("D3501".to_owned()));
}

#[tokio::test]
async fn insecure_mode_still_looks_at_tokens_but_never_expires() {
    let policy = Setup::insecure().build();
    let granted = answer(
        &policy,
        &client(""),
        connect(&jwt(json!({"sub": "42", "exp": in_seconds(60)}))),
    )
    .await;
    assert_eq!((granted.user.as_str(), granted.expire_at), ("42", None));
    assert_eq!(
        policy.connect_outcome(&jwt(json!({"exp": 1}))).await,
        "E109"
    );
    let wrong = signed_by("other", &json!({"sub": "42"}));
    assert_eq!(policy.connect_outcome(&wrong).await, "D3500");
}

#[tokio::test]
async fn tokens_of_nobody_can_be_refused() {
    let mut setup = Setup::anonymous();
    setup.auth.client.disallow_anonymous_connection_tokens = true;
    let policy = setup.build();
    assert_eq!(policy.connect_outcome(&jwt(json!({}))).await, "D3507");
    assert_eq!(
        policy.connect_outcome(&jwt(json!({"exp": 1}))).await,
        "E109",
        "expired comes first"
    );
    assert_eq!(
        policy.connect_outcome("").await,
        "ok",
        "no token is another matter"
    );
}

#[tokio::test]
async fn credentials_of_the_request_stand_for_a_token() {
    let policy = Setup::anonymous().build();
    let preset = |info: &'static [u8], encoding| {
        of_peer(Peer {
            encoding,
            credentials: Some(Credentials {
                user: UserId::from("42"),
                expire_at: Some(5),
                info: Bytes::from_static(info),
            }),
            ..peer()
        })
    };
    let mut question = connect("");
    question.channels = vec![Channel::from("open:a")];
    let granted = answer(&policy, &preset(b"1", Encoding::Json), question).await;
    assert_eq!((granted.user.as_str(), granted.expire_at), ("42", Some(5)));
    assert_eq!(channels_of(&granted), [("open:a", 8)]);
    let token = jwt(json!({"sub": "42"}));
    let both = policy
        .connect(&preset(b"", Encoding::Json), connect(&token))
        .await;
    assert_eq!(outcome(both), "D3501");
    let binary = policy
        .connect(&preset(b"\xff", Encoding::Protobuf), connect(""))
        .await;
    assert_eq!(outcome(binary), "ok");
    let unwritable = policy
        .connect(&preset(b"\xff", Encoding::Json), connect(""))
        .await;
    assert_eq!(outcome(unwritable), "D3500");
}

#[tokio::test]
async fn server_side_channels_come_from_the_token() {
    let policy = Setup::new().build();
    let token = jwt(json!({"sub": "42", "channels": ["open:a", "closed:b", "$open:c"]}));
    let granted = answer(&policy, &client(""), connect(&token)).await;
    assert_eq!(
        channels_of(&granted),
        [("$open:c", 1), ("closed:b", 1), ("open:a", 1)]
    );
    let options = &granted.channels["open:a"];
    assert!(options.presence && options.join_leave && !options.push_join_leave);
    let own = jwt(
        json!({"sub": "42", "channels": ["open:z"], "subs": {"open:a": {
            "data": {"d": 1}, "info": {"i": 1},
            "override": {"force_push_join_leave": {"value": true}, "force_recovery": {"value": true}},
        }}}),
    );
    let granted = answer(&policy, &client(""), connect(&own)).await;
    assert_eq!(channels_of(&granted), [("open:a", 1)]);
    let options = &granted.channels["open:a"];
    assert!(options.push_join_leave && options.recoverable);
    assert_eq!(
        (&*options.data, &*options.info),
        (&b"{\"d\":1}"[..], &b"{\"i\":1}"[..])
    );
}

#[tokio::test]
async fn the_personal_channel_is_given_to_users_only() {
    let mut setup = Setup::anonymous();
    let personal = &mut setup.policy.client.subscribe_to_user_personal_channel;
    personal.enabled = true;
    "open".clone_into(&mut personal.personal_channel_namespace);
    let policy = setup.build();
    let token = jwt(json!({"sub": "42"}));
    let granted = answer(&policy, &client(""), connect(&token)).await;
    assert_eq!(channels_of(&granted), [("open:#42", 9)]);
    assert_eq!(granted.single_connection, None);
    assert!(granted.channels["open:#42"].presence);
    let nobody = answer(&policy, &client(""), connect("")).await;
    assert!(nobody.channels.is_empty());
    let own = jwt(json!({"sub": "42", "channels": ["open:#42"]}));
    let granted = answer(&policy, &client(""), connect(&own)).await;
    assert_eq!(
        channels_of(&granted),
        [("open:#42", 1)],
        "keeps the options it has"
    );
    setup
        .policy
        .client
        .subscribe_to_user_personal_channel
        .single_connection = true;
    policy.reload(&setup.policy).unwrap();
    let granted = answer(&policy, &client(""), connect(&token)).await;
    assert_eq!(granted.single_connection, Some(Channel::from("open:#42")));
    let nobody = answer(&policy, &client(""), connect("")).await;
    assert_eq!(nobody.single_connection, None);
    let personal = &mut setup.policy.client.subscribe_to_user_personal_channel;
    personal.personal_channel_namespace.clear();
    personal.single_connection = false;
    policy.reload(&setup.policy).unwrap();
    let granted = answer(&policy, &client(""), connect(&token)).await;
    assert_eq!(channels_of(&granted), [("#42", 9)]);
    // A user whose name leads into a namespace that does not exist.
    let odd = jwt(json!({"sub": "a:b"}));
    assert_eq!(policy.connect_outcome(&odd).await, "E102");
}

fn asked(names: &[&str], token: &str) -> ConnectQuestion {
    ConnectQuestion {
        channels: names.iter().map(|name| Channel::from(*name)).collect(),
        ..connect(token)
    }
}

#[tokio::test]
async fn channels_asked_for_are_granted_or_skipped() {
    let setup = || {
        Setup::new()
            .with("closed", |closed| {
                closed.allow_subscribe_for_client = true;
                closed.subscribe_proxy_enabled = true;
            })
            .with("open", |open| open.allow_subscribe_for_anonymous = false)
    };
    let all = [
        "",
        "open:a",
        "$open:a",
        "closed:a",
        "users:x#42",
        "users:x#41",
        "users:x",
        "plain",
        "rx:a",
        "rx:A",
        "open:é",
        &*format!("open:{}", "x".repeat(251)),
    ];
    let policy = setup().build();
    let user = jwt(json!({"sub": "42", "subs": {"rx:a": {}}}));
    let granted = answer(&policy, &client(""), asked(&all, &user)).await;
    assert_eq!(
        channels_of(&granted),
        [("open:a", 8), ("rx:a", 1), ("users:x#42", 8)],
        "one that is there already keeps its options"
    );
    let nobody = jwt(json!({}));
    let granted = answer(&policy, &client(""), asked(&all, &nobody)).await;
    assert_eq!(channels_of(&granted), [("rx:a", 8)]);
    let mut insecure = setup();
    insecure.policy.client.insecure = true;
    let granted = answer(&insecure.build(), &client(""), asked(&all, "")).await;
    assert_eq!(
        channels_of(&granted),
        [
            ("open:a", 8),
            ("plain", 8),
            ("rx:a", 8),
            ("users:x", 8),
            ("users:x#41", 8),
            ("users:x#42", 8)
        ]
    );
}

#[tokio::test]
async fn channels_asked_for_are_not_considered_everywhere() {
    let policy = Setup::new().build();
    let user = jwt(json!({"sub": "42"}));
    let unknown = policy.connect(&client(""), asked(&["nope:a"], &user)).await;
    assert_eq!(outcome(unknown), "D3501");
    let header = of_peer(Peer {
        user_header: Some(UserId::from("42")),
        ..peer()
    });
    let granted = answer(&policy, &header, asked(&["open:a", "nope:a"], "")).await;
    assert!(granted.channels.is_empty(), "not for header connections");
    let map = Setup::new().with("open", |open| "map".clone_into(&mut open.subscription_type));
    let granted = answer(&map.build(), &client(""), asked(&["open:a"], &user)).await;
    assert!(granted.channels.is_empty(), "only streams");
}

fn h1(user: &str, seconds: i64) -> String {
    credentials::issue(&"h1 secret".into(), user, in_seconds(seconds), b"").unwrap()
}

#[tokio::test]
async fn hmac_credentials_are_taken_from_one_place() {
    let policy = Setup::hmac().build();
    let compact = h1("42", 60);
    let signature = compact.rsplit_once('.').unwrap().1;
    let exp: i64 = compact.split('.').nth(2).unwrap().parse().unwrap();
    let in_token = connect(&compact);
    let in_header = ConnectQuestion {
        headers: headers(&[("Centripetal-Credentials", &compact)]),
        ..connect("")
    };
    let member = json!({"hmac": {"user": "42", "exp": exp, "sign": signature}});
    let in_data = ConnectQuestion {
        data: Bytes::from(member.to_string()),
        ..connect("")
    };
    for question in [&in_token, &in_header, &in_data] {
        let mut question = question.clone();
        question.channels = vec![Channel::from("open:a")];
        let granted = answer(&policy, &client(""), question).await;
        assert_eq!(
            (granted.user.as_str(), granted.expire_at),
            ("42", Some(exp))
        );
        assert_eq!(channels_of(&granted), [("open:a", 8)], "as with a token");
    }
    let mut combined = vec![
        ConnectQuestion {
            token: compact.clone(),
            ..in_header.clone()
        },
        ConnectQuestion {
            token: compact.clone(),
            ..in_data.clone()
        },
        ConnectQuestion {
            token: jwt(json!({"sub": "42"})),
            ..in_data.clone()
        },
        ConnectQuestion {
            data: in_data.data.clone(),
            ..in_header.clone()
        },
    ];
    for question in combined.drain(..) {
        assert_eq!(
            outcome(policy.connect(&client(""), question).await),
            "D3501"
        );
    }
    let preset = of_peer(Peer {
        credentials: Some(Credentials::default()),
        ..peer()
    });
    for question in [in_token, in_header, in_data] {
        assert_eq!(outcome(policy.connect(&preset, question).await), "D3501");
    }
}

#[tokio::test]
async fn a_certificate_names_the_user_unless_something_was_brought() {
    let certified = |credentials: Option<&str>| {
        of_peer(Peer {
            certified: Some(UserId::from("service")),
            user_header: Some(UserId::from("7")),
            credentials: credentials.map(|user| Credentials {
                user: UserId::from(user),
                ..Credentials::default()
            }),
            ..peer()
        })
    };
    let user = async |setup: Setup, client: Client, question: ConnectQuestion| {
        let answer = setup.build().connect(&client, question).await;
        answer
            .map(|granted| (granted.user.as_str().to_owned(), granted.expire_at))
            .map_err(|rejection| code(&rejection))
    };
    let named = |user: &str| Ok((user.to_owned(), None));
    let token = || connect(&jwt(json!({"sub": "42"})));
    let plain = Setup::new;
    assert_eq!(
        user(plain(), certified(None), connect("")).await,
        named("service")
    );
    let mut open = Setup::new();
    open.policy.client.allow_anonymous_connect_without_token = true;
    assert_eq!(
        user(open, certified(None), connect("")).await,
        named("service"),
        "before anonymous access"
    );
    assert_eq!(
        user(plain(), certified(None), token()).await,
        named("42"),
        "a token wins"
    );
    assert_eq!(
        user(plain(), certified(None), connect("eyJx")).await,
        Err("D3500".to_owned()),
        "a wrong token is no way back"
    );
    assert_eq!(
        user(plain(), certified(Some("ann")), connect("")).await,
        named("ann"),
        "credentials of the request win"
    );
    assert_eq!(
        user(plain(), certified(Some("ann")), token()).await,
        Err("D3501".to_owned())
    );
    let in_header = |value: String| ConnectQuestion {
        headers: [("centripetal-credentials".to_owned(), value)].into(),
        ..connect("")
    };
    let signed = user(Setup::hmac(), certified(None), in_header(h1("ann", 60))).await;
    assert_eq!(signed.map(|(user, _)| user), Ok("ann".to_owned()));
    let wrong = user(Setup::hmac(), certified(None), in_header("h1.x".to_owned())).await;
    assert_eq!(wrong, Err("D3500".to_owned()));
}

#[tokio::test]
async fn hmac_credentials_are_refused_like_tokens() {
    let policy = Setup::hmac().build();
    assert_eq!(policy.connect_outcome(&h1("42", -1)).await, "E109");
    assert_eq!(policy.connect_outcome("h1.x").await, "D3500");
    let broken = ConnectQuestion {
        data: Bytes::from_static(b"{\"hmac\":5}"),
        ..connect("")
    };
    assert_eq!(outcome(policy.connect(&client(""), broken).await), "D3500");
    let binary = credentials::issue(&"h1 secret".into(), "42", in_seconds(60), b"\xff").unwrap();
    assert_eq!(
        policy.connect_outcome(&binary).await,
        "D3500",
        "info a JSON connection cannot show"
    );
    let protobuf = of_peer(Peer {
        encoding: Encoding::Protobuf,
        ..peer()
    });
    assert_eq!(
        outcome(policy.connect(&protobuf, connect(&binary)).await),
        "ok"
    );
    let mut setup = Setup::hmac();
    setup.policy.client.allow_anonymous_connect_without_token = true;
    let policy = setup.build();
    assert_eq!(
        policy.connect_outcome("h1.x").await,
        "D3500",
        "no way back to anonymous"
    );
}

#[tokio::test]
async fn the_legacy_form_connects_and_does_not_refresh() {
    let policy = Setup::hmac().build();
    let timestamp = in_seconds(60).to_string();
    let token = auth::tests::legacy_token("42", &timestamp, "{}");
    let data = json!({"user": "42", "timestamp": timestamp, "info": "{}", "token": token});
    let question = ConnectQuestion {
        data: Bytes::from(data.to_string()),
        ..connect("")
    };
    let granted = answer(&policy, &client(""), question).await;
    assert_eq!((granted.user.as_str(), &*granted.info), ("42", &b"{}"[..]));
    let refreshed = policy.refresh(&client("42"), &data.to_string()).await;
    assert_eq!(outcome(refreshed), "D3500");
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_an_internal_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody_listens = listener.local_addr().unwrap();
    drop(listener);
    let mut setup = Setup::new();
    setup.auth.client.token.jwks_public_endpoint = format!("http://{nobody_listens}/keys");
    let policy = setup.build();
    let header = jsonwebtoken::Header {
        kid: Some("a".to_owned()),
        ..jsonwebtoken::Header::default()
    };
    let key = jsonwebtoken::EncodingKey::from_secret(b"x");
    let token = jsonwebtoken::encode(&header, &json!({"sub": "42"}), &key).unwrap();
    let refused = policy
        .connect(&client(""), connect(&token))
        .await
        .unwrap_err();
    assert_eq!(refused, ClientError::INTERNAL.into());
    let refreshed = policy.refresh(&client("42"), &token).await.unwrap_err();
    assert_eq!(refreshed, Disconnect::INVALID_TOKEN.into());
}
