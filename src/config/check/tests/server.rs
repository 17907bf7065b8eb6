use serde_json::json;

use super::{accepted, refused};

#[test]
fn types_are_known() {
    for (tree, part) in [
        (json!({"broker": {"type": "odd"}}), "unknown broker: odd"),
        (
            json!({"broker": {"type": "redisnats"}}),
            "unknown broker: redisnats",
        ),
        (
            json!({"map_broker": {"type": "odd"}}),
            "unknown map broker type",
        ),
        (json!({"engine": {"type": "odd"}}), "unknown engine type"),
        (
            json!({"presence_manager": {"enabled": true, "type": "odd"}}),
            "presence manager type",
        ),
        (
            json!({"controller": {"enabled": true}}),
            "unknown controller type",
        ),
        (
            json!({"http_api": {"error_mode": "odd"}}),
            "http_api.error_mode",
        ),
        (
            json!({"grpc_api": {"error_mode": "odd"}}),
            "grpc_api.error_mode",
        ),
    ] {
        refused(tree, part);
    }
    accepted(json!({"presence_manager": {"type": "odd"}}));
}

#[test]
fn tls_has_a_certificate_where_it_is_on() {
    for listener in ["http_server", "grpc_api", "uni_grpc"] {
        let tree = json!({listener: {"enabled": true, "tls": {"enabled": true}}});
        refused(tree, &format!("{listener}.tls.cert_pem is required"));
    }
    let own = json!({"centripetal": {"grpc": {"tls": {"enabled": true}}}});
    refused(own, "centripetal.grpc.tls.cert_pem");
    let broken = json!({"http_server": {"tls": {"enabled": true, "cert_pem": "nosuch.pem", "key_pem": "x"}}});
    refused(broken, "in http_server.tls.cert_pem: neither PEM");
    accepted(json!({"grpc_api": {"tls": {"enabled": true}}}));
    accepted(json!({"http_server": {"tls": {"enabled": true}, "tls_autocert": {"enabled": true}}}));
}

#[test]
fn http_versions_need_their_listeners() {
    for (server, part) in [
        (json!({"internal_port": "x"}), "internal_port"),
        (
            json!({"h2c_external": true, "internal_port": "8000"}),
            "separate internal_port",
        ),
        (
            json!({"h2c_external": true, "internal_port": "9000", "tls": {"enabled": true}}),
            "together with TLS",
        ),
        (json!({"http3": {"enabled": true}}), "HTTP/3 requires TLS"),
        (
            json!({"http3": {"enabled": true}, "tls": {"enabled": true}, "tls_autocert": {"enabled": true}}),
            "not tls_autocert",
        ),
    ] {
        refused(json!({"http_server": server}), part);
    }
    refused(json!({"webtransport": {"enabled": true}}), "webtransport");
    let rules = json!({"enabled": true, "transforms": [{"code": 1}]});
    let tree = json!({"uni_sse": {"connect_code_to_http_response": rules}});
    refused(tree, "to.status_code should be set in transforms[0]");
}

#[test]
fn the_level_of_compression_is_checked_where_it_counts() {
    for level in [-1, 10, 300] {
        let tree = json!({"websocket": {"compression": true, "compression_level": level}});
        refused(tree, "compression_level");
        accepted(json!({"websocket": {"compression_level": level}}));
    }
    accepted(json!({"websocket": {"compression": true, "compression_level": 9}}));
}

#[test]
fn own_options_are_checked() {
    for (own, part) in [
        (json!({"grpc": {"api": true}}), "needs grpc_api.key"),
        (json!({"grpc": {"identity": "odd"}}), "identity"),
        (
            json!({"grpc": {"identity": "san_uri"}}),
            "identity needs verified client certificates: set centripetal.grpc.tls.enabled and centripetal.grpc.tls.client_ca_pem",
        ),
        (
            json!({"grpc": {"identity": "san_uri", "enabled": false, "shared": true}}),
            "set http_server.tls.enabled and http_server.tls.client_ca_pem",
        ),
        (json!({"proxy_protocol": "odd"}), "proxy_protocol"),
        (
            json!({"proxy_protocol": "required"}),
            "needs centripetal.trusted_proxies",
        ),
        (json!({"trusted_proxies": ["10.0.0.0/33"]}), "is no network"),
        (json!({"trusted_proxies": ["host"]}), "is no network"),
    ] {
        refused(json!({"centripetal": own}), part);
    }
    let networks = ["10.0.0.0/8", "::1", "fd00::/8"];
    accepted(json!({"centripetal": {"trusted_proxies": networks}}));
}

#[test]
fn handlers_of_one_listener_have_different_paths() {
    let same = json!({"health": {"enabled": true, "handler_prefix": "/metrics/"}, "prometheus": {"enabled": true}});
    refused(
        same,
        "prometheus and health have the same handler path /metrics",
    );
    refused(
        json!({"http_api": {"handler_prefix": "/connection/websocket"}}),
        "same handler path",
    );
    accepted(json!({
        "http_server": {"internal_port": "9000"},
        "http_api": {"handler_prefix": "/connection/websocket"},
    }));
    refused(
        json!({
            "http_server": {"internal_port": "9000"},
            "http_api": {"handler_prefix": "/connection/websocket", "external": true},
        }),
        "same handler path",
    );
    accepted(json!({"websocket": {"disabled": true, "handler_prefix": "/api"}}));
}
