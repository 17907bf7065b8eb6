//! Rules, a refusal for each.

mod channel;
mod client;
mod server;

use serde_json::{Value, json};

use crate::config::{Config, Sources, load};

fn config(tree: Value) -> Config {
    load(&Sources::value(tree)).unwrap().config
}

fn refused(tree: Value, part: &str) {
    let shown = tree.to_string();
    match config(tree).validate() {
        Ok(()) => panic!("accepted: {shown}"),
        Err(error) => assert!(error.to_string().contains(part), "{shown}: {error}"),
    }
}

fn accepted(tree: Value) {
    let shown = tree.to_string();
    assert_eq!(config(tree).validate(), Ok(()), "{shown}");
}

/// A namespace called `chat` with these options.
fn namespace(options: &Value) -> Value {
    let mut options = options.clone();
    options["name"] = "chat".into();
    json!({"channel": {"namespaces": [options]}})
}

#[test]
fn the_defaults_are_valid_and_available() {
    accepted(json!({}));
    assert_eq!(config(json!({})).refuse_missing(), Ok(()));
    assert_eq!(config(json!({})).start_warnings(), []);
}

#[test]
fn what_does_not_exist_yet_is_named() {
    for (tree, key) in [
        (
            json!({"http_server": {"tls_autocert": {"enabled": true}}}),
            "http_server.tls_autocert.enabled",
        ),
        (
            json!({"consumers": [{"name": "ab", "enabled": true}]}),
            "consumers.[0].enabled",
        ),
        (
            namespace(&json!({"subscription_type": "map"})),
            "channel.namespaces.[0].subscription_type: map",
        ),
        (
            json!({"opentelemetry": {"google_cloud_adc_auth": true}}),
            "opentelemetry.google_cloud_adc_auth",
        ),
    ] {
        let error = config(tree).refuse_missing().unwrap_err().to_string();
        assert!(
            error.contains(key) && error.ends_with("is not available in this version"),
            "{error}"
        );
    }
}

#[test]
fn settings_of_a_feature_that_is_off_stop_nothing() {
    for tree in [
        json!({"sse": {"handler_prefix": "/x"}}),
        json!({"engine": {"redis": {"tls": {"enabled": true}, "address": "x"}}}),
        json!({"http_server": {"tls": {"cert_pem": "x"}}}),
        json!({"consumers": [{"name": "ab", "type": "kafka"}]}),
        json!({"proxies": [{"name": "p1", "endpoint": "https://x", "http": {"tls": {"enabled": true}}}]}),
        json!({"websocket": {"compression": true}}),
        json!({"health": {"enabled": true}, "prometheus": {"enabled": true}, "grpc_api": {"enabled": true}}),
    ] {
        let shown = tree.to_string();
        assert_eq!(config(tree).refuse_missing(), Ok(()), "{shown}");
    }
}

#[test]
fn insecure_switches_are_said_at_every_start() {
    let tree = json!({
        "client": {"insecure": true, "insecure_skip_token_signature_verify": true, "allowed_origins": ["*"]},
        "http_api": {"insecure": true},
        "admin": {"insecure": true},
        "debug": {"enabled": true},
        "http_server": {"tls": {"enabled": true}, "tls_autocert": {"enabled": true}},
    });
    let warnings = config(tree).start_warnings();
    for part in [
        "INSECURE client mode",
        "INSECURE HTTP API mode",
        "INSECURE admin mode",
        "INSECURE skip token signature verify",
        "DEBUG mode enabled, see on /debug/pprof",
        "usage of allowed_origins * is discouraged",
        "tls_autocert is used",
    ] {
        assert!(
            warnings
                .iter()
                .any(|warning| warning.message.contains(part)),
            "{part}"
        );
    }
    assert_eq!(warnings.len(), 7);
}
