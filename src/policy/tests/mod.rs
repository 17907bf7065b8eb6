//! The policy as a node sees it. Where a row is about what a client sees, the whole way from token to answer is taken.

mod checklist;
mod connect;
mod namespaces;
mod operations;
mod subscribe;

use std::{collections::BTreeMap, sync::Arc};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::{
    auth::{
        self,
        tests::{authenticator, hs, jwt, now},
    },
    model::{ClientId, Encoding, Now, Peer, UserId},
};

/// Everything a test may want to change.
struct Setup {
    auth: auth::Config,
    policy: Config,
}

impl Setup {
    /// Secret `secret`, namespaces `open` (everything allowed, history, presence, join/leave), `closed` (nothing),
    /// `users` (user-limited) and `ascii`-only ones without a pattern; `rx` has one.
    fn new() -> Self {
        let mut policy = Config::default();
        let mut add = |name: &str, options: ChannelOptionsConfig| {
            policy.channel.namespaces.push(NamespaceConfig {
                name: name.to_owned(),
                options,
            });
        };
        add("open", open());
        add("closed", ChannelOptionsConfig::default());
        add(
            "users",
            ChannelOptionsConfig {
                allow_user_limited_channels: true,
                ..ChannelOptionsConfig::default()
            },
        );
        add(
            "rx",
            ChannelOptionsConfig {
                channel_regex: "^[a-zé0-9]+$".to_owned(),
                allow_subscribe_for_client: true,
                allow_subscribe_for_anonymous: true,
                ..ChannelOptionsConfig::default()
            },
        );
        Self {
            auth: auth::tests::config(),
            policy,
        }
    }

    /// As [`Setup::new`], and anonymous clients may connect.
    fn anonymous() -> Self {
        let mut setup = Self::new();
        setup.policy.client.allow_anonymous_connect_without_token = true;
        setup
    }

    fn insecure() -> Self {
        let mut setup = Self::new();
        setup.policy.client.insecure = true;
        setup
    }

    /// HMAC credentials of both forms on.
    fn hmac() -> Self {
        let mut setup = Self::new();
        setup.auth = auth::tests::hmac_config();
        setup
    }

    fn namespace(&mut self, name: &str) -> &mut ChannelOptionsConfig {
        let namespaces = &mut self.policy.channel.namespaces;
        let at = namespaces.iter().position(|entry| entry.name == name);
        &mut namespaces[at.unwrap()].options
    }

    fn with(mut self, name: &str, change: impl FnOnce(&mut ChannelOptionsConfig)) -> Self {
        change(self.namespace(name));
        self
    }

    fn build(&self) -> Policy {
        Policy::new(&self.policy, authenticator(&self.auth)).unwrap()
    }
}

fn open() -> ChannelOptionsConfig {
    ChannelOptionsConfig {
        presence: true,
        join_leave: true,
        history_size: 10,
        history_ttl: std::time::Duration::from_secs(300),
        allow_positioning: true,
        allow_recovery: true,
        allow_subscribe_for_client: true,
        allow_subscribe_for_anonymous: true,
        allow_publish_for_client: true,
        allow_publish_for_anonymous: true,
        allow_presence_for_client: true,
        allow_presence_for_anonymous: true,
        allow_history_for_client: true,
        allow_history_for_anonymous: true,
        ..ChannelOptionsConfig::default()
    }
}

fn peer() -> Peer {
    Peer {
        transport: "websocket",
        encoding: Encoding::Json,
        version: None,
        address: None,
        credentials: None,
        refused: None,
        certified: None,
        user_header: None,
        headers: Arc::from([]),
    }
}

/// A connected client of the second generation.
fn client(user: &str) -> Client {
    Client {
        id: ClientId::from("c1"),
        user: UserId::from(user),
        version: Version::V2,
        peer: Arc::new(peer()),
        meta: Bytes::new(),
        emulated: Arc::default(),
        now: now(),
    }
}

fn v1(user: &str) -> Client {
    Client {
        version: Version::V1,
        ..client(user)
    }
}

fn of_peer(peer: Peer) -> Client {
    Client {
        peer: Arc::new(peer),
        ..client("")
    }
}

fn connect(token: &str) -> ConnectQuestion {
    ConnectQuestion {
        token: token.to_owned(),
        ..ConnectQuestion::default()
    }
}

fn subscribe(channel: &str, token: &str) -> SubscribeQuestion {
    SubscribeQuestion {
        channel: Channel::from(channel),
        token: token.to_owned(),
        data: Bytes::new(),
        kind: 0,
        positioned: false,
        recoverable: false,
        join_leave: false,
    }
}

/// A refusal as the number a client sees: E for error replies, D for disconnects.
fn code(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Error(error) => format!("E{}", error.code),
        Rejection::Disconnect(disconnect) => format!("D{}", disconnect.code),
    }
}

fn outcome<T>(answer: Result<T, Rejection>) -> String {
    answer.map_or_else(|rejection| code(&rejection), |_fine| "ok".to_owned())
}

impl Policy {
    async fn connect_outcome(&self, token: &str) -> String {
        outcome(self.connect(&client(""), connect(token)).await)
    }

    async fn subscribe_outcome(&self, client: &Client, channel: &str, token: &str) -> String {
        let answer = self.subscribe(client, subscribe(channel, token)).await;
        answer.map_or_else(
            |rejection| code(&rejection),
            |answer| format!("source {}", answer.options.source as u8),
        )
    }
}

fn signed_by(secret: &str, claims: &Value) -> String {
    hs(Algorithm::HS256, secret, claims)
}

fn in_seconds(seconds: i64) -> i64 {
    now().unix() + seconds
}

fn channels_of(answer: &ConnectAnswer) -> Vec<(&str, u8)> {
    answer
        .channels
        .iter()
        .map(|(channel, options)| (channel.as_str(), options.source as u8))
        .collect()
}

fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn later(now: &Now, seconds: u64) -> Now {
    now.later(std::time::Duration::from_secs(seconds))
}

#[tokio::test]
async fn messages_and_calls_have_no_handler() {
    let policy = Setup::anonymous().build();
    let message = async |client: Client| outcome(policy.message(&client, Bytes::new()).await);
    assert_eq!(message(client("")).await, "D3508");
    assert_eq!(message(v1("")).await, "ok");
    let call = async |policy: &Policy, method: &str| {
        let answer = policy.rpc(&client(""), method, Bytes::new()).await;
        answer.map_err(|rejection| code(&rejection))
    };
    assert_eq!(call(&policy, "x").await, Err("E108".to_owned()));
    assert_eq!(call(&policy, "").await, Err("E108".to_owned()));
    assert_eq!(call(&policy, "ping").await, Err("E108".to_owned()));
    let mut setup = Setup::anonymous();
    setup.policy.rpc.ping.enabled = true;
    let policy = setup.build();
    assert_eq!(call(&policy, "ping").await, Ok(Bytes::new()));
    assert_eq!(call(&policy, "pin").await, Err("E104".to_owned()));
}

#[tokio::test]
async fn settings_are_replaced_whole_or_not_at_all() {
    let mut setup = Setup::anonymous();
    let policy = setup.build();
    assert_eq!(
        policy.subscribe_outcome(&client(""), "closed:a", "").await,
        "E103"
    );
    let options = policy.channel(&Channel::from("closed:a")).unwrap();
    setup.namespace("closed").allow_subscribe_for_client = true;
    setup.namespace("closed").allow_subscribe_for_anonymous = true;
    policy.reload(&setup.policy).unwrap();
    assert_eq!(
        policy.subscribe_outcome(&client(""), "closed:a", "").await,
        "source 6"
    );
    assert_eq!(
        *policy.channel(&Channel::from("closed:a")).unwrap(),
        *options
    );
    setup.policy.channel.namespaces.clear();
    setup.policy.channel.without_namespace.history_size = 1;
    assert!(policy.reload(&setup.policy).is_err());
    assert_eq!(
        policy.subscribe_outcome(&client(""), "closed:a", "").await,
        "source 6"
    );
}
