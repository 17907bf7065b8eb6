//! Consumers: names, types, and what the enabled ones need (config.md 8.15, 9).

use serde_json::Value;

use super::{Checked, Section, broken, one_of, repeated};
use crate::config::convert::is_zero;

/// Options that a consumer of a type cannot do without.
const REQUIRED: [(&str, &[&str]); 7] = [
    ("postgresql", &["dsn", "outbox_table_name"]),
    ("kafka", &["brokers", "topics", "consumer_group"]),
    (
        "nats_jetstream",
        &["url", "stream_name", "durable_consumer_name"],
    ),
    ("redis_stream", &["streams", "consumer_group"]),
    ("google_pub_sub", &["project_id", "subscriptions"]),
    ("aws_sqs", &["queues", "region"]),
    ("azure_service_bus", &["queues"]),
];

pub(super) fn check(root: Section<'_>) -> Checked {
    for consumer in root.entries("consumers") {
        let (name, kind) = (consumer.text("name"), consumer.text("type"));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.len() < 2 || !name.bytes().all(plain) {
            return broken(format!(
                "invalid consumer name: {name}, must match ^[a-zA-Z0-9_]{{2,}}$ regular expression"
            ));
        }
        let Some((_, required)) = REQUIRED.iter().find(|(known, _)| *known == kind) else {
            return broken(format!("unknown consumer type: {kind}"));
        };
        if consumer.on("enabled") {
            let place = format!("in consumer {name} ({kind})");
            complete(kind, consumer.section(kind), required)
                .map_err(|invalid| invalid.at(&place))?;
        }
    }
    match repeated(root.entries("consumers").map(|entry| entry.text("name"))) {
        Some(name) => broken(format!("invalid consumer name: {name}, must be unique")),
        None => Ok(()),
    }
}

fn complete(kind: &str, options: Section<'_>, required: &[&str]) -> Checked {
    let absent = |key: &str| is_zero(options.get(key));
    if let Some(key) = required.iter().find(|key| absent(key)) {
        return broken(format!("{key} is required"));
    }
    match kind {
        "kafka" => one_of(
            "sasl_mechanism",
            options.text("sasl_mechanism"),
            &["", "plain", "scram-sha-256", "scram-sha-512", "aws-msk-iam"],
        ),
        "nats_jetstream" if absent("subjects") && !options.on("use_existing_consumer") => {
            broken("subjects is required unless use_existing_consumer is on")
        }
        "nats_jetstream" => one_of(
            "deliver_policy",
            options.text("deliver_policy"),
            &["new", "all"],
        ),
        "google_pub_sub" => one_of(
            "auth_mechanism",
            options.text("auth_mechanism"),
            &["", "default", "service_account"],
        ),
        "aws_sqs" if options.int("max_number_of_messages") > 10 => {
            broken("max_number_of_messages must not exceed 10")
        }
        "redis_stream" if addresses(options) > 1 => broken("only one Redis address is supported"),
        _ => Ok(()),
    }
}

/// Addresses of the mode that is in use.
fn addresses(options: Section<'_>) -> usize {
    ["cluster_address", "sentinel_address", "address"]
        .iter()
        .map(|key| options.get(key).as_array().map_or(0, Vec::<Value>::len))
        .find(|count| *count > 0)
        .unwrap_or_default()
}
