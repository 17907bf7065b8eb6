//! Backend proxies: named ones, default ones that are used, and references to them (proxy.md 7.1, 18).

use super::{Checked, Invalid, NAME_PATTERN, Section, broken, is_name, repeated};

pub(super) fn check(root: Section<'_>) -> Checked {
    for proxy in root.entries("proxies") {
        let name = proxy.text("name");
        let place = format!("in proxy {name}");
        if name == "default" {
            return broken("proxy name default is reserved");
        }
        if !is_name(name) {
            return broken(format!(
                "{place}: invalid proxy name: {name}, must match {NAME_PATTERN} regular expression"
            ));
        }
        complete(proxy).map_err(|invalid| invalid.at(&place))?;
    }
    if let Some(name) = repeated(root.entries("proxies").map(|proxy| proxy.text("name"))) {
        return broken(format!("proxy name must be unique: {name}"));
    }
    for kind in ["connect", "refresh"] {
        let key = format!("client.proxy.{kind}");
        if root.on(&format!("{key}.enabled")) {
            complete(root.section(&key)).map_err(|invalid| invalid.at(&format!("in {key}")))?;
        }
    }
    Ok(())
}

/// Proxies that the options of a channel refer to.
pub(super) fn references(root: Section<'_>, options: Section<'_>) -> Checked {
    for (switch, name, default, what) in [
        (
            "subscribe_proxy_enabled",
            "subscribe_proxy_name",
            "subscribe",
            "subscribe",
        ),
        (
            "publish_proxy_enabled",
            "publish_proxy_name",
            "publish",
            "publish",
        ),
        (
            "sub_refresh_proxy_enabled",
            "sub_refresh_proxy_name",
            "sub_refresh",
            "sub refresh",
        ),
        (
            "subscribe_stream_proxy_enabled",
            "subscribe_stream_proxy_name",
            "subscribe_stream",
            "subscribe stream",
        ),
        (
            "map.publish_proxy_enabled",
            "map.publish_proxy_name",
            "map_publish",
            "map publish",
        ),
        (
            "map.remove_proxy_enabled",
            "map.remove_proxy_name",
            "map_remove",
            "map remove",
        ),
    ] {
        if options.on(switch) {
            let default = format!("channel.proxy.{default}");
            resolve(root, options.text(name), &default, what)?;
        }
    }
    if options.on("subscribe_stream_proxy_enabled") {
        let name = options.text("subscribe_stream_proxy_name");
        streams(root, name)?;
    }
    let others = ["subscribe", "publish", "sub_refresh"];
    if options.on("subscribe_stream_proxy_enabled")
        && others
            .iter()
            .any(|kind| options.on(&format!("{kind}_proxy_enabled")))
    {
        return broken(
            "can't use subscribe stream proxy together with subscribe, publish or sub refresh proxies",
        );
    }
    Ok(())
}

/// Streams go over gRPC only (proxy.md 14).
fn streams(root: Section<'_>, name: &str) -> Checked {
    let mut named = root.entries("proxies");
    let proxy = named
        .find(|proxy| proxy.text("name") == name)
        .unwrap_or_else(|| root.section("channel.proxy.subscribe_stream"));
    let endpoint = proxy.text("endpoint");
    if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
        return broken("subscribe stream proxy needs a gRPC endpoint");
    }
    Ok(())
}

/// The proxy that the options of an RPC namespace refer to.
pub(super) fn rpc(root: Section<'_>, options: Section<'_>) -> Checked {
    if !options.on("proxy_enabled") {
        return Ok(());
    }
    resolve(root, options.text("proxy_name"), "rpc.proxy", "rpc")
}

/// The proxy of this name exists, and the default one is complete. Named ones are checked where they stand.
pub(super) fn resolve(root: Section<'_>, name: &str, default: &str, what: &str) -> Checked {
    if name == "default" {
        return complete(root.section(default))
            .map_err(|invalid| invalid.at(&format!("in {default}")));
    }
    if root
        .entries("proxies")
        .any(|proxy| proxy.text("name") == name)
    {
        return Ok(());
    }
    broken(format!("{what} proxy with name {name:?} not found"))
}

fn complete(proxy: Section<'_>) -> Checked {
    let endpoint = proxy.text("endpoint");
    if endpoint.is_empty() {
        return broken("endpoint not set");
    }
    if endpoint.contains("://") && endpoint.parse::<http::Uri>().is_err() {
        return broken("endpoint is not an address");
    }
    if proxy.nanos("timeout") <= 0 {
        return broken("timeout not set");
    }
    for (index, rule) in proxy.entries("http.status_to_code_transforms").enumerate() {
        transform(rule).map_err(|invalid| {
            Invalid::new(format!(
                "in status_to_code_transforms: {} in status_to_code_transforms[{index}]",
                invalid.0
            ))
        })?;
    }
    Ok(())
}

fn transform(rule: Section<'_>) -> Checked {
    let error = rule.int("to_error.code") > 0;
    let disconnect = rule.int("to_disconnect.code") > 0;
    if rule.int("status_code") == 0 {
        return broken("no status_code set");
    }
    if !error && !disconnect {
        return broken("no error or disconnect code set");
    }
    if error && disconnect {
        return broken("only error or disconnect code must be set, not both,");
    }
    for text in [
        rule.text("to_error.message"),
        rule.text("to_disconnect.reason"),
    ] {
        reason(text)?;
    }
    Ok(())
}

/// Texts of error and close frames: ASCII, at most 123 bytes.
pub(super) fn reason(text: &str) -> Checked {
    if text.is_ascii() && text.len() <= 123 {
        Ok(())
    } else {
        broken("message or reason must be ASCII and at most 123 bytes")
    }
}
