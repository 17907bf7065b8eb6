//! Map and shared-poll options of channels (config.md 9: map, shared poll).

use super::{Checked, Section, broken, one_of, proxy};

const MINUTE: i64 = 60_000_000_000;
const MAP_TYPES: [&str; 3] = ["map", "map_clients", "map_users"];

pub(super) fn check(root: Section<'_>, options: Section<'_>) -> Checked {
    let kind = options.text("subscription_type");
    one_of(
        "subscription_type",
        kind,
        &[
            "",
            "stream",
            "map",
            "map_clients",
            "map_users",
            "shared_poll",
        ],
    )?;
    let map = options.section("map");
    one_of(
        "map.mode",
        map.text("mode"),
        &["", "ephemeral", "recoverable", "persistent"],
    )?;
    one_of(
        "map.client_key",
        map.text("client_key"),
        &["", "client_id", "user_id"],
    )?;
    let poll = options.section("shared_poll");
    one_of(
        "shared_poll.mode",
        poll.text("mode"),
        &["", "versionless", "versioned"],
    )?;
    if MAP_TYPES.contains(&kind) {
        modes(map, kind)?;
        sizes(map)?;
    } else if map.on("remove_client_on_unsubscribe") {
        return broken("map.remove_client_on_unsubscribe is only for map subscription types");
    }
    let asks = map.on("publish_proxy_enabled") || map.on("remove_proxy_enabled");
    if !map.text("client_key").is_empty() && asks {
        return broken("map.client_key can not be used together with map proxies");
    }
    if kind == "shared_poll" {
        shared_poll(root, poll)?;
    }
    presence_prefixes(root, options)
}

fn modes(map: Section<'_>, kind: &str) -> Checked {
    let mode = map.text("mode");
    let expires = map.nanos("key_ttl") > 0;
    if mode.is_empty() {
        return broken("map.mode is required when subscription_type is a map type");
    }
    if mode == "persistent" && expires {
        return broken(
            "map.key_ttl must not be set when map.mode is \"persistent\" (keys never expire)",
        );
    }
    if mode == "persistent" && kind != "map" {
        return broken(format!(
            "map.mode \"persistent\" can not be used with subscription_type {kind:?}"
        ));
    }
    if mode != "persistent" && !expires {
        return broken(format!("map.key_ttl is required for map.mode {mode:?}"));
    }
    if mode == "ephemeral" {
        for key in ["stream_size", "stream_ttl"] {
            if map.int(key) != 0 {
                return broken(format!("map.{key} must be 0 for map.mode \"ephemeral\""));
            }
        }
    }
    Ok(())
}

fn sizes(map: Section<'_>) -> Checked {
    let stream_ttl = match map.nanos("stream_ttl") {
        0 => MINUTE,
        ttl => ttl,
    };
    let meta_ttl = map.nanos("meta_ttl");
    if meta_ttl != 0 && meta_ttl < stream_ttl && map.text("mode") != "ephemeral" {
        return broken("map.meta_ttl must not be less than map.stream_ttl");
    }
    for (small, large) in [
        ("min_page_size", "max_page_size"),
        ("min_page_size", "default_page_size"),
        ("default_page_size", "max_page_size"),
    ] {
        let (least, most) = (map.int(small), map.int(large));
        if least != 0 && most != 0 && least > most {
            return broken(format!(
                "map.{small} ({least}) must not exceed map.{large} ({most})"
            ));
        }
    }
    Ok(())
}

fn shared_poll(root: Section<'_>, poll: Section<'_>) -> Checked {
    if root.text("shared_poll.hmac_secret_key").is_empty() {
        return broken(
            "shared_poll.hmac_secret_key is required when subscription_type is \"shared_poll\"",
        );
    }
    if poll.on("publish_enabled") && poll.text("mode") != "versioned" {
        return broken("shared_poll.publish_enabled requires shared_poll.mode \"versioned\"");
    }
    let name = match poll.text("proxy_name") {
        "" => "default",
        name => name,
    };
    proxy::resolve(
        root,
        name,
        "channel.proxy.shared_poll_refresh",
        "shared poll",
    )
}

/// A presence prefix must lead to a namespace that keeps such presence.
fn presence_prefixes(root: Section<'_>, options: Section<'_>) -> Checked {
    for kind in ["map_clients", "map_users"] {
        let key = format!("{kind}_presence_channel_prefix");
        let prefix = options.text(&key);
        if prefix.is_empty() {
            continue;
        }
        let boundary = root.text("channel.namespace_boundary");
        let found = match prefix.split_once(boundary).filter(|_| !boundary.is_empty()) {
            Some((name, _)) => root
                .entries("channel.namespaces")
                .find(|namespace| namespace.text("name") == name),
            None => Some(root.section("channel.without_namespace")),
        };
        if found.is_none_or(|namespace| namespace.text("subscription_type") != kind) {
            return broken(format!(
                "{key} must lead to a namespace with subscription_type {kind:?}"
            ));
        }
    }
    Ok(())
}
