//! Namespaces: lookup, options, rules of config.md 9.

use std::time::Duration;

use super::*;
use crate::model::{DataFormat, RecoveryMode, SubscribeOptions, SubscriptionType};

fn namespace_of(policy: &Policy, channel: &str) -> Result<String, u32> {
    let options = policy.channel(&Channel::from(channel));
    options
        .map(|options| options.namespace.clone())
        .map_err(|error| error.code)
}

#[test]
fn a_channel_is_in_the_namespace_before_the_first_boundary() {
    let policy = Setup::new().build();
    for (channel, expected) in [
        ("open:a", Ok("open")),
        ("$open:a", Ok("open")),
        ("open:a:b", Ok("open")),
        ("open:", Ok("open")),
        ("open", Ok("")),
        ("", Ok("")),
        (":a", Ok("")),
        ("$", Ok("")),
        ("$$open:a", Err(102)),
        ("nope:a", Err(102)),
        ("Open:a", Err(102)),
        ("open#1:a", Err(102)),
    ] {
        assert_eq!(
            namespace_of(&policy, channel).as_deref(),
            expected.as_ref().copied(),
            "{channel}"
        );
    }
}

#[test]
fn options_of_a_namespace_are_shared() {
    let policy = Setup::new().build();
    let (a, b) = (Channel::from("open:a"), Channel::from("open:b"));
    assert!(Arc::ptr_eq(
        &policy.channel(&a).unwrap(),
        &policy.channel(&b).unwrap()
    ));
}

#[test]
fn a_lookup_allocates_nothing() {
    let policy = Setup::new().build();
    let channels = ["open:a", "$open:b", "plain", "nope:x"].map(Channel::from);
    let measured = allocation_counter::measure(|| {
        for channel in &channels {
            let _found = policy.channel(channel);
        }
    });
    assert_eq!(measured.count_total, 0);
}

#[test]
fn options_are_translated() {
    let mut setup = Setup::new().with("open", |open| {
        open.force_push_join_leave = true;
        open.force_positioning = true;
        open.force_recovery = true;
        open.force_recovery_mode = "cache".to_owned();
        open.auto_cache_recover = true;
        open.allowed_delta_types = vec!["fossil".to_owned()];
        open.delta_publish = true;
        open.allow_channel_compaction = true;
        open.history_meta_ttl = Duration::from_hours(1);
        open.publication_data_format = "binary".to_owned();
    });
    setup.policy.channel.publication_data_format = "json".to_owned();
    setup.namespace("closed").subscription_type = "map_users".to_owned();
    setup.namespace("users").subscription_type = "stream".to_owned();
    let policy = setup.build();
    let options = policy.channel(&Channel::from("open:a")).unwrap();
    let expected = ChannelOptions {
        namespace: "open".to_owned(),
        presence: true,
        join_leave: true,
        history_size: 10,
        history_ttl: Duration::from_mins(5),
        history_meta_ttl: Duration::from_hours(1),
        data_format: DataFormat::Binary,
        delta_publish: true,
        subscription_type: SubscriptionType::Stream,
        subscribe: SubscribeOptions {
            presence: true,
            join_leave: true,
            push_join_leave: true,
            positioned: true,
            recoverable: true,
            recovery_mode: RecoveryMode::Cache,
            auto_cache_recover: true,
            delta: true,
            compaction: true,
            ..SubscribeOptions::default()
        },
    };
    assert_eq!(*options, expected);
    let closed = policy.channel(&Channel::from("closed:a")).unwrap();
    assert_eq!(closed.subscription_type, SubscriptionType::Map);
    assert_eq!(closed.data_format, DataFormat::Json, "falls back");
    assert_eq!(
        closed.history_meta_ttl,
        Duration::from_hours(720),
        "falls back"
    );
}

#[test]
fn rules_between_options_stop_the_start() {
    let refused = |change: &dyn Fn(&mut ChannelOptionsConfig)| {
        let setup = Setup::new().with("open", |open| change(open));
        match setup.policy.check() {
            Err(Error::Option { namespace, option }) if namespace == "open" => option,
            Err(Error::Pattern { .. }) => "channel_regex",
            other => panic!("{other:?}"),
        }
    };
    let both = "history_size and history_ttl";
    assert_eq!(refused(&|o| o.history_ttl = Duration::ZERO), both);
    assert_eq!(refused(&|o| o.history_size = 0), both);
    assert_eq!(
        refused(&|o| o.history_ttl = Duration::from_millis(1500)),
        "history_ttl"
    );
    assert_eq!(
        refused(&|o| o.history_meta_ttl = Duration::from_secs(299)),
        "history_meta_ttl"
    );
    assert_eq!(
        refused(&|o| o.history_meta_ttl = Duration::from_millis(300_500)),
        "history_meta_ttl"
    );
    assert_eq!(
        refused(&|o| {
            o.force_recovery = true;
            o.history_size = 0;
            o.history_ttl = Duration::ZERO;
        }),
        "force_recovery"
    );
    assert_eq!(
        refused(&|o| o.force_recovery_mode = "x".to_owned()),
        "force_recovery_mode"
    );
    assert_eq!(
        refused(&|o| o.auto_cache_recover = true),
        "auto_cache_recover"
    );
    assert_eq!(
        refused(&|o| o.allowed_delta_types = vec!["x".to_owned()]),
        "allowed_delta_types"
    );
    assert_eq!(
        refused(&|o| o.publication_data_format = "x".to_owned()),
        "publication_data_format"
    );
    assert_eq!(
        refused(&|o| o.subscription_type = "x".to_owned()),
        "subscription_type"
    );
    assert_eq!(
        refused(&|o| o.channel_regex = "(".to_owned()),
        "channel_regex"
    );
}

#[test]
fn names_of_namespaces_are_checked() {
    let check = |names: &[&str]| {
        let mut config = Config::default();
        for name in names {
            config.channel.namespaces.push(NamespaceConfig {
                name: (*name).to_owned(),
                ..NamespaceConfig::default()
            });
        }
        config.check()
    };
    assert!(check(&["a-b", "A_b.9"]).is_ok());
    for wrong in ["", "a", "a:b", "a b", "é1"] {
        assert!(matches!(check(&[wrong]), Err(Error::Name(_))), "{wrong}");
    }
    assert!(matches!(check(&["ab", "ab"]), Err(Error::Duplicate(_))));
}

#[test]
fn the_personal_channel_needs_its_namespace() {
    let check = |namespace: &str, single| {
        let mut setup = Setup::new();
        let personal = &mut setup.policy.client.subscribe_to_user_personal_channel;
        personal.enabled = true;
        namespace.clone_into(&mut personal.personal_channel_namespace);
        personal.single_connection = single;
        setup.policy.check()
    };
    assert!(check("open", true).is_ok());
    assert!(check("", false).is_ok());
    assert!(matches!(
        check("nope", false),
        Err(Error::PersonalNamespace(_))
    ));
    assert!(matches!(
        check("closed", true),
        Err(Error::SingleConnection)
    ));
    assert!(matches!(check("", true), Err(Error::SingleConnection)));
}

/// A table Channel options as the loader gives it.
fn options_tree() -> serde_json::Map<String, Value> {
    let switches = "presence join_leave force_push_join_leave force_positioning allow_positioning force_recovery \
        allow_recovery auto_cache_recover allow_tags_filter batch_flush_latest delta_publish allow_channel_compaction exclude_publisher allow_subscribe_for_anonymous \
        allow_subscribe_for_client allow_publish_for_anonymous allow_publish_for_subscriber allow_publish_for_client \
        allow_presence_for_anonymous allow_presence_for_subscriber allow_presence_for_client \
        allow_history_for_anonymous allow_history_for_subscriber allow_history_for_client \
        allow_user_limited_channels subscribe_proxy_enabled publish_proxy_enabled subscribe_stream_proxy_enabled \
        sub_refresh_proxy_enabled subscribe_stream_proxy_bidirectional \
        something_else";
    let texts = "force_recovery_mode channel_regex publication_data_format subscription_type subscribe_proxy_name slow_policy \
        publish_proxy_name sub_refresh_proxy_name subscribe_stream_proxy_name";
    let mut options = serde_json::Map::new();
    for key in switches.split_whitespace() {
        options.insert(key.to_owned(), json!(false));
    }
    for key in texts.split_whitespace() {
        options.insert(key.to_owned(), json!(""));
    }
    let none = json!({"secs": 0, "nanos": 0});
    options.insert("history_size".to_owned(), json!(0));
    options.insert("batch_max_size".to_owned(), json!(0));
    options.insert("batch_max_delay".to_owned(), none.clone());
    options.insert("history_ttl".to_owned(), none.clone());
    options.insert("history_meta_ttl".to_owned(), none);
    options.insert("allowed_delta_types".to_owned(), json!(["fossil"]));
    options
}

#[test]
fn settings_are_read_from_the_tree() {
    let options = options_tree();
    let mut named = options.clone();
    named.insert("name".to_owned(), json!("chat"));
    named.insert("presence".to_owned(), json!(true));
    let tree = json!({
        "client": {
            "insecure": false, "allow_anonymous_connect_without_token": true, "channel_limit": 128,
            "subscribe_to_user_personal_channel":
                {"enabled": false, "personal_channel_namespace": "", "single_connection": false},
        },
        "channel": {
            "without_namespace": options, "namespaces": [named],
            "history_meta_ttl": {"secs": 2_592_000, "nanos": 0}, "publication_data_format": "", "max_length": 255,
            "private_prefix": "$", "namespace_boundary": ":", "user_boundary": "#", "user_separator": ",",
        },
        "centripetal": {"publish_proxy_honours_delta_publish": true},
        "rpc": {
            "ping": {"enabled": true, "method": "ping"}, "namespace_boundary": ":",
            "without_namespace": {"proxy_enabled": true, "proxy_name": "default"},
            "namespaces": [{"name": "chat", "proxy_enabled": false, "proxy_name": "default"}],
        },
    });
    let config: Config = serde_json::from_value(tree).unwrap();
    assert_eq!(config.channel.namespaces[0].name, "chat");
    assert!(config.channel.namespaces[0].options.presence);
    assert!(config.rpc.without_namespace.proxy_enabled);
    assert_eq!(config.rpc.namespaces[0].name, "chat");
    assert!(config.check().is_ok());
}
