//! Keys of a file: letter case, literal dots, and keys that no option has (config.md 2, 5, 12).

use serde_json::{Map, Value};

use super::likeness::likeness;
use crate::config::{schema, warning::Warning};

/// Keys in lower case, dotted keys as nesting. Of a repeated key the last one wins; sections are put together.
pub(super) fn fold(pairs: &Map<String, Value>) -> Map<String, Value> {
    let mut folded = Map::new();
    for (key, value) in pairs {
        let key = key.to_lowercase();
        match key.split_once('.') {
            Some((head, rest)) if !head.is_empty() && !rest.is_empty() => {
                let nested = Map::from_iter([(rest.to_owned(), value.clone())]);
                insert(&mut folded, head, Value::Object(nested));
            }
            _ => insert(&mut folded, &key, value.clone()),
        }
    }
    folded
}

fn insert(into: &mut Map<String, Value>, key: &str, value: Value) {
    match (into.get_mut(key), value) {
        (Some(Value::Object(present)), Value::Object(more)) => {
            for (key, value) in more {
                insert(present, &key, value);
            }
        }
        (_, value) => {
            into.insert(key.to_owned(), value);
        }
    }
}

/// Warnings about keys that no option has: commercial ones are called so, others get the nearest known key.
pub(super) fn unknown(paths: &[String]) -> Vec<Warning> {
    if paths.is_empty() {
        return Vec::new();
    }
    let mut known = Vec::new();
    schema::walk(schema::ROOT, "", &mut |path, _| known.push(path.to_owned()));
    paths
        .iter()
        .map(|path| {
            if commercial(path) {
                Warning::commercial_key(path)
            } else {
                Warning::unknown_key(path, nearest(path, &known))
            }
        })
        .collect()
}

/// What a hint has to have in common with what was written.
const LEAST: f64 = 0.6;

/// The known key most like this one: same place and nearly the same word, or a flat old name with the same parts.
fn nearest<'a>(path: &str, known: &'a [String]) -> Option<&'a str> {
    let path = without_indices(path);
    let flat = flattened(&path);
    let (parent, word) = path.rsplit_once('.').unwrap_or(("", &path));
    let parts = known.iter().find(|known| {
        let candidate = flattened(known);
        candidate == flat || (path.contains('_') && candidate.ends_with(&format!("_{flat}")))
    });
    let sibling = || {
        let siblings = known
            .iter()
            .filter(|known| known.rsplit_once('.').map_or("", |(parent, _)| parent) == parent);
        most_alike(siblings, |known| {
            let last = known.rsplit_once('.').map_or(known, |(_, word)| word);
            likeness(word, last, LEAST)
        })
    };
    let anywhere = || most_alike(known.iter(), |known| likeness(&path, known, LEAST));
    parts.or_else(sibling).or_else(anywhere).map(String::as_str)
}

fn flattened(path: &str) -> String {
    path.replace("[]", "").replace('.', "_")
}

fn most_alike<'a>(
    candidates: impl Iterator<Item = &'a String>,
    likeness: impl Fn(&str) -> Option<f64>,
) -> Option<&'a String> {
    candidates
        .filter_map(|candidate| Some((likeness(candidate)?, candidate)))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// `channel.namespaces.[0].x` as the schema writes it: `channel.namespaces[].x`.
fn without_indices(path: &str) -> String {
    let mut plain = String::new();
    for part in path.split('.') {
        if part.starts_with('[') && part.ends_with(']') {
            plain.push_str("[]");
        } else {
            plain = schema::join(&plain, part);
        }
    }
    plain
}

/// Names of the commercial edition that users bring along (config.md 12): last parts of a path, or whole paths.
fn commercial(path: &str) -> bool {
    const WORDS: &str = "rate_limit user_block token_revoke user_tokens_invalidate user_status caps subscribe_cel \
        access_cel pattern patterns tokens providers meta_from_claim labels_from_claim cache_empty \
        state_proxy_enabled cache_empty_proxy_enabled write_with_timer \
        queue_shrink_delay keep_latest_publication \
        exclude_client_info singleflight shared_position_sync \
        process_commands_off_read_loop brokers presence_managers map_brokers broker_name presence_manager_name \
        sharded_pub_sub_partitions read_from_replica presence_read_from_replica subscribe_on_replica \
        channel_namespace_resolution expose_transport_accept_protocol additional_client_names client_labels \
        sentry snapshots clickhouse_analytics push_notifications database license";
    const PATHS: &str =
        "http_api.jwks grpc_api.jwks channel.state opentelemetry.metrics admin.oidc";
    let word = path.rsplit('.').next().unwrap_or(path);
    WORDS.split_whitespace().any(|name| name == word)
        || PATHS.split_whitespace().any(|name| name == path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn folded(value: &Value) -> Value {
        Value::Object(fold(value.as_object().unwrap()))
    }

    #[test]
    fn dots_are_nesting_and_case_is_free() {
        let value = json!({"LOG": {"file": "x"}, "Log.Level": "debug", "a.b.c": 1, "a": {"d": 2}});
        assert_eq!(
            folded(&value),
            json!({"log": {"file": "x", "level": "debug"}, "a": {"b.c": 1, "d": 2}})
        );
    }

    #[test]
    fn the_last_of_a_repeated_key_wins() {
        assert_eq!(folded(&json!({"a": 1, "A": 2})), json!({"a": 2}));
    }

    #[test]
    fn commercial_names_are_known_as_such() {
        for path in [
            "license",
            "client.rate_limit",
            "channel.namespaces.[0].patterns",
            "opentelemetry.metrics",
        ] {
            assert!(commercial(path), "{path}");
        }
        assert!(!commercial("metrics") && !commercial("nosuch"));
    }

    #[test]
    fn the_nearest_key_is_named() {
        let mut known = Vec::new();
        schema::walk(schema::ROOT, "", &mut |path, _| known.push(path.to_owned()));
        for (path, expected) in [
            ("http_server.prot", Some("http_server.port")),
            (
                "channel.namespaces.[0].history_sise",
                Some("channel.namespaces[].history_size"),
            ),
            (
                "token_hmac_secret_key",
                Some("client.token.hmac_secret_key"),
            ),
            ("http_api_key", Some("http_api.key")),
            ("clients.allowed_origins", Some("client.allowed_origins")),
            ("zzz", None),
        ] {
            assert_eq!(nearest(path, &known), expected, "{path}");
        }
    }
}
