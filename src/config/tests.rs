use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::*;

fn config(tree: Value) -> Config {
    load(&Sources::value(tree)).unwrap().config
}

#[test]
fn a_module_takes_its_own_section() {
    #[derive(Deserialize)]
    struct Client {
        ping_interval: Option<Duration>,
        pong_timeout: Option<Duration>,
        stale_close_delay: Duration,
        channel_limit: usize,
        allowed_origins: Vec<String>,
        hmac_credentials: Credentials,
    }
    #[derive(Deserialize)]
    struct Credentials {
        enabled: bool,
        secret_key: String,
        previous_secret_key_valid_until: i64,
    }
    let config = config(json!({"client": {
        "ping_interval": "-1s",
        "stale_close_delay": "1500ms",
        "channel_limit": -1,
        "hmac_credentials": {"secret_key": "s"},
    }}));
    let client: Client = config.section("client").unwrap();
    assert_eq!(client.ping_interval, None);
    assert_eq!(client.pong_timeout, Some(Duration::from_secs(8)));
    assert_eq!(client.stale_close_delay, Duration::from_millis(1500));
    assert_eq!(client.channel_limit, 0);
    assert!(client.allowed_origins.is_empty());
    assert!(!client.hmac_credentials.enabled);
    assert_eq!(client.hmac_credentials.secret_key, "s");
    assert_eq!(client.hmac_credentials.previous_secret_key_valid_until, 0);
}

#[test]
fn the_root_and_nested_sections_can_be_taken() {
    #[derive(Deserialize)]
    struct Root {
        channel: Channels,
    }
    #[derive(Deserialize)]
    struct Channels {
        namespaces: Vec<Namespace>,
    }
    #[derive(Deserialize)]
    struct Namespace {
        name: String,
        history_ttl: Duration,
    }
    let config =
        config(json!({"channel": {"namespaces": [{"name": "chat", "history_ttl": "1m"}]}}));
    let root: Root = config.section("").unwrap();
    assert_eq!(root.channel.namespaces[0].name, "chat");
    assert_eq!(
        root.channel.namespaces[0].history_ttl,
        Duration::from_secs(60)
    );
    assert_eq!(
        config.section::<u16>("centripetal.grpc.port").unwrap(),
        8001
    );
    let error = config.section::<u16>("node.name").unwrap_err().to_string();
    assert!(error.contains("node.name"), "{error}");
}

#[test]
fn what_the_process_needs_is_typed() {
    let config = config(json!({
        "http_server": {"address": "127.0.0.1", "internal_port": "9000"},
        "shutdown": {"timeout": "-5s"},
        "pid_file": "/run/x",
    }));
    assert_eq!(config.http_server.external(), ("127.0.0.1", 8000));
    assert_eq!(config.http_server.internal(), ("127.0.0.1", 9000));
    assert_eq!(config.shutdown.timeout, Duration::ZERO);
    assert_eq!(config.pid_file, "/run/x");
    assert_eq!(config.engine.r#type, "memory");
    assert_eq!(
        config.node.info_metrics_aggregate_interval,
        Duration::from_secs(60)
    );
    assert!(!config.health.enabled);
}

#[test]
fn a_value_below_zero_that_counts_as_zero_is_warned_about() {
    let tree = json!({"client": {"stale_close_delay": "-1s", "ping_interval": "-1s", "channel_limit": -1}});
    let loaded = load(&Sources::value(tree)).unwrap();
    let keys: Vec<_> = loaded
        .warnings
        .iter()
        .filter_map(|warning| warning.key.as_deref())
        .collect();
    assert_eq!(keys, ["client.stale_close_delay", "client.channel_limit"]);
}

#[test]
fn it_is_known_what_was_given() {
    let config = config(json!({"centripetal": {"grpc": {"port": 8001}}}));
    assert!(config.is_given("centripetal.grpc.port"));
    assert!(!config.is_given("centripetal.grpc.address"));
}

#[test]
fn from_value_checks_like_a_start() {
    assert!(Config::from_value(json!({"log": {"level": "debug"}})).is_ok());
    let invalid = Config::from_value(json!({"engine": {"type": "odd"}}));
    assert!(matches!(invalid, Err(Rejected::Invalid(_))));
    let unusable = Config::from_value(json!({"http_server": {"port": "x"}}));
    assert!(matches!(unusable, Err(Rejected::Unusable(_))));
}

#[test]
fn files_variables_and_dotenv_meet() {
    let folder = std::env::temp_dir().join(format!("centripetal-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("c.toml"), "[log]\nlevel = \"error\"\n").unwrap();
    std::fs::write(folder.join(".env"), "CENTRIFUGO_NODE_NAME=dot\n").unwrap();
    let sources = Sources::path(&folder, Path::new("c.toml"), Environment::default());
    let plain = load(&sources).unwrap();
    let with = load(&sources.with_dotenv()).unwrap();
    let missing = load(&Sources::path(
        &folder,
        Path::new("no.toml"),
        Environment::default(),
    ))
    .unwrap();
    let folder_as_file = load(&Sources::path(
        &folder,
        Path::new("."),
        Environment::default(),
    ));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(plain.config.node.name, "");
    assert_eq!(plain.path.as_deref(), Some(Path::new("c.toml")));
    assert_eq!(with.config.node.name, "dot");
    assert_eq!(with.config.log.level, crate::telemetry::Level::Error);
    assert_eq!(missing.path, None);
    assert!(
        missing.warnings[0]
            .message
            .starts_with("config file not found")
    );
    assert!(matches!(folder_as_file, Err(Error::File { .. })));
}

#[test]
fn a_reload_tells_what_needs_a_restart() {
    let old = config(json!({"client": {"token": {"hmac_secret_key": "a"}}}));
    let new = config(json!({
        "client": {"token": {"hmac_secret_key": "b"}, "channel_limit": 5, "proxy": {"connect": {"endpoint": "x"}}},
        "channel": {"namespaces": [{"name": "chat"}]},
        "http_server": {"port": 9000},
        "proxies": [{"name": "p1"}],
    }));
    assert_eq!(
        new.restart_keys(&old),
        [
            "http_server.port",
            "client.proxy.connect.endpoint",
            "proxies"
        ]
    );
    assert_eq!(new.restart_keys(&new), [""; 0]);
    let tls = |cert: &str, enabled: bool| {
        let section = json!({"cert_pem": cert, "key_pem": cert, "enabled": enabled});
        config(json!({"grpc_api": {"tls": section}}))
    };
    assert_eq!(tls("a", false).restart_keys(&tls("b", false)), [""; 0]);
    assert_eq!(
        tls("a", true).restart_keys(&tls("b", false)),
        ["grpc_api.tls.enabled"]
    );
}

#[test]
fn debug_shows_no_values() {
    let config = config(json!({"http_api": {"key": "hidden"}}));
    let shown = format!("{config:?}");
    assert!(
        shown.contains("http_api.key") && !shown.contains("hidden"),
        "{shown}"
    );
}

#[test]
fn variables_with_awkward_values_are_quoted() {
    let config = config(
        json!({"http_api": {"key": "a\"b\\c\nd"}, "client": {"allowed_origins": ["a", "b"]}}),
    );
    let lines = environment_lines(&config, true);
    assert!(lines.contains(&"CENTRIFUGO_HTTP_API_KEY=\"a\\\"b\\\\c\\nd\"".to_owned()));
    assert!(lines.contains(&"CENTRIFUGO_CLIENT_ALLOWED_ORIGINS=\"a b\"".to_owned()));
}

#[test]
fn listings_can_be_read_again() {
    let tree = json!({"client": {"allowed_origins": ["a"], "ping_interval": "1m"},
        "channel": {"namespaces": [{"name": "chat", "history_size": 1, "history_ttl": "1m"}]}});
    let config = config(tree);
    for format in [Format::Json, Format::Yaml, Format::Toml] {
        let text = format.write(&shown(&config)).unwrap();
        let again = load(&Sources::value(format.parse(&text).unwrap())).unwrap();
        assert_eq!(shown(&again.config), shown(&config), "{format:?}");
        assert_eq!(again.unknown, [""; 0], "{format:?}");
    }
}

#[test]
fn fresh_secrets_are_long_and_never_the_same() {
    let (one, other) = (minimal(), minimal());
    let secret =
        |tree: &Value, path: &str| tree.pointer(path).unwrap().as_str().unwrap().to_owned();
    for (path, length) in [
        ("/client/token/hmac_secret_key", 86),
        ("/admin/secret", 86),
        ("/http_api/key", 86),
        ("/admin/password", 22),
    ] {
        assert_eq!(secret(&one, path).len(), length, "{path}");
        assert_ne!(secret(&one, path), secret(&other, path), "{path}");
    }
    assert!(Config::from_value(one).is_ok());
}
