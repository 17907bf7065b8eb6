use serde_json::{Value, json};

use super::{accepted, namespace, refused};

#[test]
fn names_of_namespaces_are_checked() {
    for name in ["a", "a b", "a:b", "", "ä"] {
        refused(
            json!({"channel": {"namespaces": [{"name": name}]}}),
            "invalid namespace name",
        );
        refused(
            json!({"rpc": {"namespaces": [{"name": name}]}}),
            "invalid namespace name",
        );
    }
    refused(
        json!({"channel": {"namespaces": [{"name": "aa"}, {"name": "aa"}]}}),
        "unique: aa",
    );
    refused(
        json!({"rpc": {"namespaces": [{"name": "aa"}, {"name": "aa"}]}}),
        "unique: aa",
    );
    accepted(json!({"channel": {"namespaces": [{"name": "a-b.c_1"}]}}));
}

/// History switched on, and more.
fn history(more: &Value) -> Value {
    let mut options = json!({"history_size": 5, "history_ttl": "60s"});
    let pairs = options.as_object_mut().unwrap();
    pairs.extend(more.as_object().unwrap().clone());
    options
}

/// Refused in a namespace and without one.
fn options_refused(options: &Value, part: &str) {
    refused(namespace(options), part);
    let place = "in channel.without_namespace";
    refused(json!({"channel": {"without_namespace": options}}), place);
}

#[test]
fn history_has_size_and_time_and_is_remembered_long_enough() {
    let both = "both history size and history ttl";
    options_refused(&json!({"history_size": 5}), both);
    options_refused(&json!({"history_ttl": "5s"}), both);
    for (more, part) in [
        (
            json!({"history_ttl": "1500ms"}),
            "history_ttl: malformed duration 1.5s",
        ),
        (
            json!({"history_meta_ttl": "90500ms"}),
            "history_meta_ttl: malformed",
        ),
        (json!({"history_meta_ttl": "30s"}), "history ttl (1m0s)"),
        (
            json!({"history_ttl": "1000h"}),
            "history meta ttl (720h0m0s)",
        ),
    ] {
        options_refused(&history(&more), part);
    }
    let channel = json!({"channel": {"history_meta_ttl": "1500ms"}});
    refused(channel, "channel.history_meta_ttl");
    accepted(namespace(&history(&json!({"history_meta_ttl": "60s"}))));
}

#[test]
fn recovery_needs_history_and_cache_mode_needs_recovery() {
    let mut forced = json!({"force_recovery": true});
    options_refused(&forced, "required for recovery");
    forced["force_recovery_mode"] = "odd".into();
    options_refused(&history(&forced), "recovery mode");
    let automatic = json!({"auto_cache_recover": true});
    options_refused(&history(&automatic), "auto_cache_recover requires");
    forced["force_recovery_mode"] = "cache".into();
    forced["auto_cache_recover"] = true.into();
    accepted(namespace(&history(&forced)));
    accepted(namespace(
        &json!({"allow_recovery": true, "force_positioning": true}),
    ));
}

#[test]
fn words_and_patterns_of_channels_are_checked() {
    for (options, part) in [
        (
            json!({"allowed_delta_types": ["xdelta"]}),
            "delta type: \"xdelta\"",
        ),
        (
            json!({"publication_data_format": "xml"}),
            "publication_data_format: \"xml\"",
        ),
        (json!({"channel_regex": "["}), "invalid channel regex ["),
        (
            json!({"subscription_type": "odd"}),
            "unknown subscription_type",
        ),
    ] {
        options_refused(&options, part);
    }
    let channel = json!({"channel": {"publication_data_format": "xml"}});
    refused(channel, "channel.publication_data_format");
    let good = json!({"allowed_delta_types": ["fossil"], "channel_regex": "^[a-z]+$"});
    accepted(namespace(&good));
}

#[test]
fn proxies_are_checked_where_they_are_used() {
    for (tree, part) in [
        (
            json!({"proxies": [{"name": "default", "endpoint": "http://x"}]}),
            "default is reserved",
        ),
        (
            json!({"proxies": [{"name": "a b", "endpoint": "http://x"}]}),
            "invalid proxy name",
        ),
        (
            json!({"proxies": [{"name": "p1", "endpoint": "http://x", "http_headers": ["a b"]}]}),
            "in p1: \"a b\" cannot be the name of a header",
        ),
        (
            json!({"proxies": [{"name": "p1", "endpoint": "grpc://x:1", "grpc": {"tls": {"enabled": true, "server_ca_pem": "nosuch"}}}]}),
            "in p1: tls: server_ca_pem",
        ),
        (
            json!({"proxies": [{"name": "p1", "endpoint": "ftp://x:1"}]}),
            "in p1: endpoint is not an address",
        ),
        (
            json!({
                "proxies": [{"name": "p1", "endpoint": "http://x"}],
                "channel": {"namespaces": [{"name": "chat", "subscribe_stream_proxy_enabled": true,
                    "subscribe_stream_proxy_name": "p1"}]},
            }),
            "needs a gRPC endpoint",
        ),
        (
            json!({"proxies": [{"name": "p1"}]}),
            "in proxy p1: endpoint not set",
        ),
        (
            json!({"proxies": [{"name": "p1", "endpoint": "http://x"}, {"name": "p1", "endpoint": "http://x"}]}),
            "unique: p1",
        ),
        (
            json!({"proxies": [{"name": "p1", "endpoint": "http://a b"}]}),
            "not an address",
        ),
        (
            json!({"client": {"proxy": {"refresh": {"enabled": true}}}}),
            "in client.proxy.refresh",
        ),
        (
            json!({"rpc": {"without_namespace": {"proxy_enabled": true}}}),
            "in rpc.proxy",
        ),
        (
            namespace(&json!({"publish_proxy_enabled": true})),
            "in channel.proxy.publish",
        ),
        (
            namespace(&json!({"sub_refresh_proxy_enabled": true, "sub_refresh_proxy_name": "no"})),
            "sub refresh proxy with name \"no\" not found",
        ),
    ] {
        refused(tree, part);
    }
    accepted(json!({"channel": {"proxy": {"subscribe": {"timeout": "-1s"}}}}));
    accepted(
        json!({"rpc": {"proxy": {"endpoint": "http://x"}, "without_namespace": {"proxy_enabled": true}}}),
    );
}

#[test]
fn status_transforms_have_one_target() {
    let with = |rule: Value| json!({"proxies": [{"name": "p1", "endpoint": "http://x", "http": {"status_to_code_transforms": [rule]}}]});
    for (rule, part) in [
        (json!({"to_error": {"code": 1}}), "no status_code"),
        (
            json!({"status_code": 404}),
            "no error or disconnect code set in status_to_code_transforms[0]",
        ),
        (
            json!({"status_code": 404, "to_error": {"code": 1}, "to_disconnect": {"code": 4000}}),
            "not both",
        ),
        (
            json!({"status_code": 404, "to_error": {"code": 1, "message": "ä"}}),
            "ASCII",
        ),
        (
            json!({"status_code": 404, "to_disconnect": {"code": 4000, "reason": "x".repeat(124)}}),
            "123 bytes",
        ),
    ] {
        refused(with(rule), part);
    }
    accepted(with(
        json!({"status_code": 404, "to_disconnect": {"code": 4000, "reason": "x".repeat(123)}}),
    ));
}

#[test]
fn map_options_follow_their_mode() {
    let map = |map: Value| namespace(&json!({"subscription_type": "map", "map": map}));
    for (options, part) in [
        (json!({}), "map.mode is required"),
        (json!({"mode": "odd"}), "unknown map.mode"),
        (
            json!({"mode": "persistent", "key_ttl": "1s"}),
            "must not be set",
        ),
        (json!({"mode": "recoverable"}), "map.key_ttl is required"),
        (
            json!({"mode": "ephemeral", "key_ttl": "1s", "stream_ttl": "1s"}),
            "map.stream_ttl must be 0",
        ),
        (
            json!({"mode": "persistent", "meta_ttl": "30s"}),
            "map.meta_ttl",
        ),
        (
            json!({"mode": "persistent", "client_key": "odd"}),
            "unknown map.client_key",
        ),
        (
            json!({"mode": "persistent", "default_page_size": 9, "max_page_size": 5}),
            "map.default_page_size (9)",
        ),
    ] {
        refused(map(options), part);
    }
    accepted(map(
        json!({"mode": "recoverable", "key_ttl": "1s", "stream_ttl": "5s", "meta_ttl": "5s"}),
    ));
    refused(
        namespace(&json!({"subscription_type": "map_users", "map": {"mode": "persistent"}})),
        "can not be used with subscription_type \"map_users\"",
    );
    refused(
        namespace(&json!({"map": {"remove_client_on_unsubscribe": true}})),
        "only for map",
    );
    let asks = json!({
        "channel": {
            "proxy": {"map_publish": {"endpoint": "http://x"}},
            "without_namespace": {"map": {"client_key": "user_id", "publish_proxy_enabled": true}},
        },
    });
    refused(asks, "map.client_key can not be used");
}

#[test]
fn presence_prefixes_lead_to_namespaces_of_their_type() {
    let with = |kind: &str| {
        json!({"channel": {"namespaces": [
            {"name": "who", "subscription_type": kind, "map": {"mode": "ephemeral", "key_ttl": "1s"}},
            {"name": "chat", "map_clients_presence_channel_prefix": "who:"},
        ]}})
    };
    accepted(with("map_clients"));
    refused(
        with("map_users"),
        "map_clients_presence_channel_prefix must lead to",
    );
    refused(
        namespace(&json!({"map_users_presence_channel_prefix": "nosuch:"})),
        "must lead to",
    );
}

#[test]
fn shared_poll_needs_secret_mode_and_proxy() {
    let with = |poll: Value| {
        let mut tree = namespace(&json!({"subscription_type": "shared_poll", "shared_poll": poll}));
        tree["shared_poll"] = json!({"hmac_secret_key": "s"});
        tree
    };
    refused(
        namespace(&json!({"subscription_type": "shared_poll"})),
        "hmac_secret_key is required",
    );
    refused(with(json!({"mode": "odd"})), "unknown shared_poll.mode");
    refused(
        with(json!({"publish_enabled": true})),
        "requires shared_poll.mode",
    );
    refused(
        with(json!({})),
        "in channel.proxy.shared_poll_refresh: endpoint not set",
    );
    let mut good = with(json!({"mode": "versioned", "publish_enabled": true}));
    good["channel"]["proxy"] = json!({"shared_poll_refresh": {"endpoint": "http://x"}});
    accepted(good);
}
