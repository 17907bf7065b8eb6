use serde_json::{Value, json};

use super::{accepted, config, refused};

#[test]
fn client_settings_are_checked() {
    for (client, part) in [
        (
            json!({"ping_interval": "8s"}),
            "ping_interval must be greater",
        ),
        (
            json!({"token": {"audience": "a", "audience_regex": "b"}}),
            "audience_regex",
        ),
        (
            json!({"token": {"issuer": "a", "issuer_regex": "b"}}),
            "issuer_regex",
        ),
        (
            json!({"token": {"issuer_regex": "["}}),
            "error compiling issuer_regex",
        ),
        (
            json!({"token": {"user_id_claim": "a-b"}}),
            "custom user ID claim: a-b",
        ),
        (
            json!({"subscription_token": {"enabled": true, "user_id_claim": "1"}}),
            "custom user ID claim: 1",
        ),
        (
            json!({"allowed_origins": ["["]}),
            "malformed origin pattern",
        ),
        (
            json!({"subscribe_to_user_personal_channel": {"enabled": true, "single_connection": true}}),
            "presence must be enabled on top level",
        ),
        (
            json!({"connect_code_to_unidirectional_disconnect": {"enabled": true, "transforms": [{"code": 1}]}}),
            "to.code must be set",
        ),
        (
            json!({"connect_code_to_unidirectional_disconnect": {"enabled": true,
                "transforms": [{"code": 1, "to": {"code": 2, "reason": "ä"}}]}}),
            "ASCII",
        ),
    ] {
        refused(json!({"client": client}), part);
    }
    accepted(json!({"client": {"ping_interval": "-1s"}}));
    accepted(json!({"client": {"subscription_token": {"user_id_claim": "1"}}}));
    accepted(
        json!({"client": {"allowed_origins": ["https://*.example.com", "http://localhost:*", "*"]}}),
    );
}

const SECRET: &str = "0123456789abcdef";

/// A section of credentials that is switched on, with more, beside a token secret.
fn credentials(more: &Value, token: &str) -> Value {
    let mut section = json!({"enabled": true, "secret_key": SECRET});
    let pairs = section.as_object_mut().unwrap();
    pairs.extend(more.as_object().unwrap().clone());
    json!({"client": {"hmac_credentials": section, "token": {"hmac_secret_key": token}}})
}

/// Refused, without repeating a secret.
fn secretly_refused(tree: Value, part: &str) {
    let shown = config(tree.clone()).validate().unwrap_err().to_string();
    assert!(
        !shown.contains(SECRET) && !shown.contains("short"),
        "{shown}"
    );
    refused(tree, part);
}

#[test]
fn hmac_credentials_have_a_long_secret_of_their_own() {
    accepted(credentials(&json!({}), "other"));
    let short = json!({"secret_key": "short", "insecure_short_key": true});
    accepted(credentials(&short, ""));
    for (more, token, part) in [
        (json!({"secret_key": ""}), "", "secret_key is required"),
        (json!({"secret_key": "short"}), "", "at least 16 bytes"),
        (
            json!({"previous_secret_key": "short"}),
            "",
            "previous_secret_key must have",
        ),
        (
            json!({}),
            SECRET,
            "must differ from client.token.hmac_secret_key",
        ),
        (json!({"max_ttl": "0s"}), "", "max_ttl"),
    ] {
        secretly_refused(credentials(&more, token), part);
    }
}

#[test]
fn legacy_credentials_have_another_secret() {
    let legacy = |more: Value| {
        let mut section = json!({"enabled": true, "secret_key": "legacy"});
        let pairs = section.as_object_mut().unwrap();
        pairs.extend(more.as_object().unwrap().clone());
        credentials(&json!({"legacy": section}), "token")
    };
    accepted(legacy(json!({})));
    for (more, part) in [
        (json!({"secret_key": ""}), "legacy.secret_key is required"),
        (
            json!({"secret_key": "token"}),
            "must differ from client.token",
        ),
        (
            json!({"secret_key": SECRET}),
            "must differ from client.hmac_credentials.secret_key",
        ),
        (json!({"timestamp_meaning": "odd"}), "timestamp_meaning"),
        (json!({"lifetime": "0s"}), "lifetime"),
    ] {
        secretly_refused(legacy(more), part);
    }
    let alone = json!({"legacy": {"enabled": true, "secret_key": "x"}});
    let tree = json!({"client": {"hmac_credentials": alone}});
    refused(tree, "needs client.hmac_credentials.enabled");
}

#[test]
fn consumers_have_what_their_type_needs() {
    let with = |mut consumer: Value| {
        consumer["name"] = "ab".into();
        consumer["enabled"] = true.into();
        json!({"consumers": [consumer]})
    };
    for (consumer, part) in [
        (
            json!({"type": "postgresql"}),
            "in consumer ab (postgresql): dsn is required",
        ),
        (
            json!({"type": "kafka", "kafka": {"brokers": ["x"], "topics": ["x"]}}),
            "consumer_group",
        ),
        (
            json!({"type": "kafka", "kafka": {"brokers": ["x"], "topics": ["x"], "consumer_group": "g", "sasl_mechanism": "odd"}}),
            "sasl_mechanism",
        ),
        (
            json!({"type": "nats_jetstream", "nats_jetstream": {"stream_name": "s", "durable_consumer_name": "d"}}),
            "subjects is required",
        ),
        (json!({"type": "redis_stream"}), "streams"),
        (json!({"type": "google_pub_sub"}), "project_id"),
        (
            json!({"type": "aws_sqs", "aws_sqs": {"queues": ["q"], "region": "r", "max_number_of_messages": 11}}),
            "must not exceed 10",
        ),
        (json!({"type": "azure_service_bus"}), "queues"),
    ] {
        refused(with(consumer), part);
    }
    accepted(json!({"consumers": [{"name": "ab", "type": "postgresql"}]}));
    refused(
        json!({"consumers": [{"name": "a-b", "type": "kafka"}]}),
        "invalid consumer name",
    );
    refused(
        json!({"consumers": [{"name": "ab", "type": "odd"}]}),
        "unknown consumer type",
    );
    refused(
        json!({"consumers": [{"name": "ab", "type": "kafka"}, {"name": "ab", "type": "kafka"}]}),
        "must be unique",
    );
}
