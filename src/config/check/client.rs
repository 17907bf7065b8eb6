//! Clients: pings, tokens, origins, personal channel, connect codes, HMAC credentials (config.md 9; tokens.md 9.1, 10.1).

use super::{Checked, Invalid, Section, broken, pattern, proxy};
use crate::config::value::format_duration;

const SHORTEST_SECRET: usize = 16;

pub(super) fn check(root: Section<'_>) -> Checked {
    let client = root.section("client");
    pings(client)?;
    token(client.section("token"), "client.token")?;
    if client.on("subscription_token.enabled") {
        token(
            client.section("subscription_token"),
            "client.subscription_token",
        )?;
    }
    for origin in client.texts("allowed_origins") {
        globset::GlobBuilder::new(origin)
            .literal_separator(false)
            .build()
            .map_err(|error| Invalid::new(format!("malformed origin pattern: {error}")))?;
    }
    personal_channel(root)?;
    codes(client.section("connect_code_to_unidirectional_disconnect"))?;
    credentials(root)
}

fn pings(client: Section<'_>) -> Checked {
    let (ping, pong) = (client.nanos("ping_interval"), client.nanos("pong_timeout"));
    if ping >= 0 && ping <= pong {
        return broken(format!(
            "ping_interval must be greater than pong_timeout: client.ping_interval is {}, client.pong_timeout is {}",
            format_duration(ping),
            format_duration(pong)
        ));
    }
    Ok(())
}

fn token(token: Section<'_>, place: &str) -> Checked {
    let claim = token.text("user_id_claim");
    if !claim
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    {
        return broken(format!(
            "invalid token custom user ID claim: {claim}, must match ^[a-zA-Z_]+$ regular expression"
        ));
    }
    for name in ["audience", "issuer"] {
        let text = token.text(&format!("{name}_regex"));
        if text.is_empty() {
            continue;
        }
        if !token.text(name).is_empty() {
            return broken(format!(
                "in {place}: can not use both {name} and {name}_regex, configure only one of them"
            ));
        }
        pattern(text).map_err(|error| {
            Invalid::new(format!("in {place}: error compiling {name}_regex: {error}"))
        })?;
    }
    Ok(())
}

fn personal_channel(root: Section<'_>) -> Checked {
    let personal = root.section("client.subscribe_to_user_personal_channel");
    if !personal.on("enabled") {
        return Ok(());
    }
    let name = personal.text("personal_channel_namespace");
    let (options, place) = if name.is_empty() {
        (
            root.section("channel.without_namespace"),
            "on top level".to_owned(),
        )
    } else {
        let found = root
            .entries("channel.namespaces")
            .find(|namespace| namespace.text("name") == name);
        let Some(namespace) = found else {
            return broken(format!(
                "namespace for user personal channel not found: {name}"
            ));
        };
        (namespace, format!("for namespace {name}"))
    };
    if personal.on("single_connection") && !options.on("presence") {
        return broken(format!(
            "presence must be enabled {place} to maintain single connection"
        ));
    }
    Ok(())
}

fn codes(rules: Section<'_>) -> Checked {
    if !rules.on("enabled") {
        return Ok(());
    }
    for (index, rule) in rules.entries("transforms").enumerate() {
        let place =
            format!("in client.connect_code_to_unidirectional_disconnect.transforms[{index}]");
        if rule.int("code") == 0 || rule.int("to.code") == 0 {
            return broken(format!("{place}: code and to.code must be set"));
        }
        proxy::reason(rule.text("to.reason")).map_err(|invalid| invalid.at(&place))?;
    }
    Ok(())
}

/// Secrets that sign tokens and track signatures.
const OTHER_SECRETS: [&str; 6] = [
    "client.token.hmac_secret_key",
    "client.token.hmac_previous_secret_key",
    "client.subscription_token.hmac_secret_key",
    "client.subscription_token.hmac_previous_secret_key",
    "shared_poll.hmac_secret_key",
    "shared_poll.hmac_previous_secret_key",
];

fn credentials(root: Section<'_>) -> Checked {
    let place = "client.hmac_credentials";
    let section = root.section(place);
    let legacy = section.section("legacy");
    if !section.on("enabled") {
        if legacy.on("enabled") {
            return broken(format!("{place}.legacy.enabled needs {place}.enabled"));
        }
        return Ok(());
    }
    for key in ["secret_key", "previous_secret_key"] {
        let secret = section.text(key);
        if secret.is_empty() && key == "previous_secret_key" {
            continue;
        }
        if secret.is_empty() {
            return broken(format!(
                "{place}.{key} is required when {place}.enabled is on"
            ));
        }
        if secret.len() < SHORTEST_SECRET && !section.on("insecure_short_key") {
            return broken(format!(
                "{place}.{key} must have at least {SHORTEST_SECRET} bytes"
            ));
        }
        distinct(root, &format!("{place}.{key}"), &OTHER_SECRETS)?;
    }
    if section.nanos("max_ttl") <= 0 {
        return broken(format!("{place}.max_ttl must be greater than zero"));
    }
    if legacy.on("enabled") {
        legacy_credentials(root, legacy)?;
    }
    Ok(())
}

fn legacy_credentials(root: Section<'_>, legacy: Section<'_>) -> Checked {
    let place = "client.hmac_credentials.legacy";
    if legacy.text("secret_key").is_empty() {
        return broken(format!(
            "{place}.secret_key is required when {place}.enabled is on"
        ));
    }
    let key = format!("{place}.secret_key");
    distinct(root, &key, &OTHER_SECRETS)?;
    distinct(
        root,
        &key,
        &[
            "client.hmac_credentials.secret_key",
            "client.hmac_credentials.previous_secret_key",
        ],
    )?;
    super::one_of(
        &format!("{place}.timestamp_meaning"),
        legacy.text("timestamp_meaning"),
        &["exp", "issued"],
    )?;
    if legacy.nanos("lifetime") <= 0 {
        return broken(format!("{place}.lifetime must be greater than zero"));
    }
    Ok(())
}

/// One secret must not open two doors.
fn distinct(root: Section<'_>, key: &str, others: &[&str]) -> Checked {
    let secret = root.text(key);
    match others.iter().find(|other| root.text(other) == secret) {
        Some(other) => broken(format!("{key} must differ from {other}")),
        None => Ok(()),
    }
}
