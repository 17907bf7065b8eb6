//! Listeners, TLS, APIs, engine types, operator endpoints, and Centripetal's own options (config.md 9, gateway.md 7).

use std::net::IpAddr;

use super::{Checked, Invalid, Section, broken, one_of};
use crate::config::pem::read_pem;

pub(super) fn check(root: Section<'_>) -> Checked {
    types(root)?;
    tls(root)?;
    for api in ["http_api", "grpc_api"] {
        let mode = root.text(&format!("{api}.error_mode"));
        if !["", "transport"].contains(&mode) {
            return broken(format!(
                "in {api}.error_mode: invalid value: {mode}, possible choices are: transport"
            ));
        }
    }
    for transport in ["uni_sse", "uni_http_stream"] {
        responses(root, transport)?;
    }
    for transport in ["websocket", "uni_websocket"] {
        compression(root.section(transport), transport)?;
    }
    own(root)?;
    paths(root)
}

fn types(root: Section<'_>) -> Checked {
    let known = |what: &str, kind: &str, known: &[&str]| {
        if known.contains(&kind) {
            Ok(())
        } else {
            broken(format!("unknown {what}: {kind}"))
        }
    };
    known(
        "broker",
        root.text("broker.type"),
        &["memory", "redis", "nats", "postgres"],
    )?;
    known(
        "map broker type",
        root.text("map_broker.type"),
        &["memory", "redis", "postgres"],
    )?;
    known(
        "engine type",
        root.text("engine.type"),
        &["memory", "redis"],
    )?;
    if root.on("presence_manager.enabled") {
        known(
            "presence manager type",
            root.text("presence_manager.type"),
            &["memory", "redis"],
        )?;
    }
    if root.on("controller.enabled") {
        known(
            "controller type",
            root.text("controller.type"),
            &["postgres"],
        )?;
    }
    Ok(())
}

fn tls(root: Section<'_>) -> Checked {
    let server = root.section("http_server");
    let port = server.text("internal_port");
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return broken("http_server.internal_port is not a port number");
    }
    let separate = !port.is_empty() && port != server.int("port").to_string();
    let certificates = server.on("tls.enabled") && !server.on("tls_autocert.enabled");
    if server.on("h2c_external") {
        if !separate {
            return broken("h2c_external requires custom separate internal_port to be configured");
        }
        if server.on("tls.enabled") || server.on("tls_autocert.enabled") {
            return broken("h2c_external can not be used together with TLS");
        }
    }
    if server.on("http3.enabled") && !certificates {
        return broken("HTTP/3 requires TLS configured with a certificate, not tls_autocert");
    }
    if root.on("webtransport.enabled") && !server.on("http3.enabled") {
        return broken("can not enable webtransport without http_server.http3");
    }
    for (applies, place) in [
        (certificates, "http_server.tls"),
        (
            separate && server.on("internal_tls.enabled"),
            "http_server.internal_tls",
        ),
        (listens(root, "grpc_api"), "grpc_api.tls"),
        (listens(root, "uni_grpc"), "uni_grpc.tls"),
        (listens(root, "centripetal.grpc"), "centripetal.grpc.tls"),
    ] {
        if applies {
            certificate(root.section(place), place)?;
        }
    }
    Ok(())
}

fn listens(root: Section<'_>, listener: &str) -> bool {
    root.on(&format!("{listener}.enabled")) && root.on(&format!("{listener}.tls.enabled"))
}

/// TLS of a server has a certificate and a key, and every PEM can be read.
fn certificate(tls: Section<'_>, place: &str) -> Checked {
    for key in ["cert_pem", "key_pem", "client_ca_pem"] {
        let option = tls.text(key);
        if option.is_empty() && key == "client_ca_pem" {
            continue;
        }
        if option.is_empty() {
            return broken(format!(
                "{place}.{key} is required when {place}.enabled is on"
            ));
        }
        read_pem(option).map_err(|error| Invalid::new(format!("in {place}.{key}: {error}")))?;
    }
    Ok(())
}

fn responses(root: Section<'_>, transport: &str) -> Checked {
    let place = format!("{transport}.connect_code_to_http_response");
    let section = root.section(&place);
    if !section.on("enabled") {
        return Ok(());
    }
    for (index, rule) in section.entries("transforms").enumerate() {
        for key in ["code", "to.status_code"] {
            if rule.int(key) == 0 {
                return broken(format!(
                    "in {place}.transforms: {key} should be set in transforms[{index}]"
                ));
            }
        }
    }
    Ok(())
}

fn compression(websocket: Section<'_>, transport: &str) -> Checked {
    let level = websocket.int("compression_level");
    if websocket.on("compression") && !(1..=9).contains(&level) {
        return broken(format!(
            "in {transport}.compression_level: {level} is not between 1 and 9"
        ));
    }
    Ok(())
}

fn own(root: Section<'_>) -> Checked {
    let own = root.section("centripetal");
    if own.on("grpc.api") && root.text("grpc_api.key").is_empty() {
        return broken("centripetal.grpc.api needs grpc_api.key");
    }
    one_of(
        "centripetal.proxy_protocol",
        own.text("proxy_protocol"),
        &["off", "required"],
    )?;
    one_of(
        "centripetal.grpc.identity",
        own.text("grpc.identity"),
        &["", "san_uri", "san_dns", "common_name"],
    )?;
    identity(root)?;
    if own.text("proxy_protocol") == "required" && own.texts("trusted_proxies").next().is_none() {
        return broken("centripetal.proxy_protocol needs centripetal.trusted_proxies");
    }
    for network in own.texts("trusted_proxies") {
        if !is_network(network) {
            return broken(format!(
                "centripetal.trusted_proxies: {network:?} is no network"
            ));
        }
    }
    Ok(())
}

/// A name is taken from certificates that were verified, or from none.
fn identity(root: Section<'_>) -> Checked {
    let own = root.section("centripetal.grpc");
    let verifies = |place: &str| {
        let tls = root.section(place);
        tls.on("enabled") && !tls.text("client_ca_pem").is_empty()
    };
    let place = if own.on("enabled") {
        "centripetal.grpc.tls"
    } else {
        "http_server.tls"
    };
    if own.text("identity").is_empty() || verifies(place) {
        return Ok(());
    }
    broken(format!(
        "centripetal.grpc.identity needs verified client certificates: set {place}.enabled and {place}.client_ca_pem"
    ))
}

/// `10.0.0.0/8`, `fd00::/8`, or one address.
fn is_network(text: &str) -> bool {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, length.parse::<u8>().ok()),
        None => (text, Some(0)),
    };
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => length.is_some_and(|length| length <= 32),
        Ok(IpAddr::V6(_)) => length.is_some_and(|length| length <= 128),
        Err(_) => false,
    }
}

/// Handlers with a path of their own: section, switch, and whether they are for operators.
const HANDLERS: [(&str, &str, bool); 16] = [
    ("websocket", "websocket.disabled", false),
    ("webtransport", "webtransport.enabled", false),
    ("sse", "sse.enabled", false),
    ("http_stream", "http_stream.enabled", false),
    ("emulation", "sse.enabled http_stream.enabled", false),
    ("uni_websocket", "uni_websocket.enabled", false),
    ("uni_sse", "uni_sse.enabled", false),
    ("uni_http_stream", "uni_http_stream.enabled", false),
    ("init", "init.enabled", false),
    ("centripetal.sockjs", "centripetal.sockjs.enabled", false),
    ("http_api", "http_api.disabled", true),
    ("admin", "admin.enabled", true),
    ("prometheus", "prometheus.enabled", true),
    ("health", "health.enabled", true),
    ("swagger", "swagger.enabled", true),
    ("debug", "debug.enabled", true),
];

/// No two handlers of one listener have the same path (server-api.md 1.2).
fn paths(root: Section<'_>) -> Checked {
    let server = root.section("http_server");
    let host = |key: &str, other: &str| {
        match server.text(key) {
            "" => server.text(other),
            host => host,
        }
        .to_owned()
    };
    let port = server.int("port").to_string();
    let internal_port = match server.text("internal_port") {
        "" => port.clone(),
        port => port.to_owned(),
    };
    let one_listener =
        port == internal_port && host("internal_address", "address") == server.text("address");
    let mut seen: Vec<(bool, String, &str)> = Vec::new();
    let ready = (
        "centripetal.readiness",
        "centripetal.readiness.enabled",
        true,
    );
    for (section, switches, internal) in HANDLERS.into_iter().chain([ready]) {
        let on = switches
            .split(' ')
            .any(|switch| root.on(switch) != switch.ends_with("disabled"));
        if !on {
            continue;
        }
        let internal = internal && !one_listener && !root.on(&format!("{section}.external"));
        let prefix = root.text(&format!("{section}.handler_prefix"));
        let path = match prefix.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        let same = seen
            .iter()
            .find(|(side, known, _)| *side == internal && known == path);
        if let Some((_, _, other)) = same {
            return broken(format!(
                "{other} and {section} have the same handler path {path}"
            ));
        }
        seen.push((internal, path.to_owned(), section));
    }
    Ok(())
}
