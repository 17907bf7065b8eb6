//! Channels, namespaces, RPC namespaces (config.md 9: namespaces, history, recovery, delta, payload, patterns).

use super::{
    Checked, Invalid, NAME_PATTERN, Section, broken, is_name, map, one_of, pattern, proxy, repeated,
};
use crate::config::value::format_duration;

const SECOND: i64 = 1_000_000_000;
const DATA_FORMATS: [&str; 4] = ["", "json", "json_object", "binary"];

pub(super) fn check(root: Section<'_>) -> Checked {
    let channel = root.section("channel");
    whole_seconds(
        "channel.history_meta_ttl",
        channel.nanos("history_meta_ttl"),
    )
    .map_err(|invalid| Invalid::new(format!("in {}", invalid.0)))?;
    one_of(
        "channel.publication_data_format",
        channel.text("publication_data_format"),
        &DATA_FORMATS,
    )?;
    for namespace in channel.entries("namespaces") {
        let name = namespace.text("name");
        let place = format!("namespace {name}");
        named(name).map_err(|invalid| invalid.at(&place))?;
        options(root, namespace).map_err(|invalid| invalid.at(&place))?;
    }
    if let Some(name) = repeated(
        channel
            .entries("namespaces")
            .map(|entry| entry.text("name")),
    ) {
        return broken(format!("namespace name must be unique: {name}"));
    }
    options(root, channel.section("without_namespace"))
        .map_err(|invalid| invalid.at("in channel.without_namespace"))?;
    rpc(root)
}

fn named(name: &str) -> Checked {
    if is_name(name) {
        return Ok(());
    }
    broken(format!(
        "invalid namespace name – {name} (must match {NAME_PATTERN} regular expression)"
    ))
}

fn options(root: Section<'_>, options: Section<'_>) -> Checked {
    history(root, options)?;
    recovery(options)?;
    for delta in options.texts("allowed_delta_types") {
        one_of("allowed delta type", delta, &["fossil"])?;
    }
    waiting(options)?;
    one_of(
        "publication_data_format",
        options.text("publication_data_format"),
        &DATA_FORMATS,
    )?;
    let text = options.text("channel_regex");
    pattern(text)
        .map_err(|error| Invalid::new(format!("invalid channel regex {text}: {error}")))?;
    proxy::references(root, options)?;
    map::check(root, options)
}

fn history(root: Section<'_>, options: Section<'_>) -> Checked {
    for key in ["history_ttl", "history_meta_ttl"] {
        whole_seconds(key, options.nanos(key))
            .map_err(|invalid| Invalid::new(format!("in {}", invalid.0)))?;
    }
    let (size, ttl) = (options.int("history_size"), options.nanos("history_ttl"));
    if (size > 0) != (ttl > 0) {
        return broken("both history size and history ttl required for history");
    }
    let own = options.nanos("history_meta_ttl");
    let meta = if own == 0 {
        root.nanos("channel.history_meta_ttl")
    } else {
        own
    };
    if meta > 0 && ttl > meta {
        return broken(format!(
            "history ttl ({}) can not be greater than history meta ttl ({})",
            format_duration(ttl),
            format_duration(meta)
        ));
    }
    Ok(())
}

fn recovery(options: Section<'_>) -> Checked {
    if options.on("force_recovery") && options.int("history_size") <= 0 {
        return broken("both history size and history ttl required for recovery");
    }
    let mode = options.text("force_recovery_mode");
    one_of("recovery mode", mode, &["", "stream", "cache"])?;
    if options.on("auto_cache_recover") && !(options.on("force_recovery") && mode == "cache") {
        return broken(
            "auto_cache_recover requires force_recovery and force_recovery_mode set to cache",
        );
    }
    Ok(())
}

/// Batches and slow readers: nobody waits without an end, and of deltas none may be left out.
fn waiting(options: Section<'_>) -> Checked {
    let delay = options.nanos("batch_max_delay");
    let latest = options.on("batch_flush_latest");
    if delay < 0 {
        return broken("batch_max_delay must not be negative");
    }
    if delay == 0 && (latest || options.int("batch_max_size") > 0) {
        return broken("batch_max_size and batch_flush_latest require batch_max_delay");
    }
    let deltas = options.texts("allowed_delta_types").next().is_some();
    if latest && deltas {
        return broken("batch_flush_latest can not be used together with allowed_delta_types");
    }
    let slow = options.text("slow_policy");
    one_of(
        "slow_policy",
        slow,
        &["", "disconnect", "latest", "recover"],
    )?;
    if slow == "latest" && deltas {
        return broken("slow_policy latest can not be used together with allowed_delta_types");
    }
    if slow == "recover" && options.int("history_size") <= 0 {
        return broken("slow_policy recover requires history");
    }
    Ok(())
}

fn whole_seconds(key: &str, nanos: i64) -> Checked {
    if nanos % SECOND == 0 {
        return Ok(());
    }
    broken(format!(
        "{key}: malformed duration {}, sub-second precision is not supported for this key",
        format_duration(nanos)
    ))
}

fn rpc(root: Section<'_>) -> Checked {
    let namespaces = || root.entries("rpc.namespaces");
    for namespace in namespaces() {
        let name = namespace.text("name");
        let place = format!("rpc namespace {name}");
        named(name)
            .and_then(|()| proxy::rpc(root, namespace))
            .map_err(|invalid| invalid.at(&place))?;
    }
    if let Some(name) = repeated(namespaces().map(|entry| entry.text("name"))) {
        return broken(format!("rpc namespace name must be unique: {name}"));
    }
    proxy::rpc(root, root.section("rpc.without_namespace"))
        .map_err(|invalid| invalid.at("in rpc.without_namespace"))
}
