use serde_json::json;

use super::*;

fn resolved(file: &Value, variables: &[(&str, &str)]) -> Resolved {
    attempt(file, variables, &[]).unwrap()
}

fn attempt(
    file: &Value,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Resolved, Unresolved> {
    let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let environment = own(variables).into_iter().collect();
    resolve(file, &environment, &own(flags).into_iter().collect())
}

fn at<'a>(resolved: &'a Resolved, path: &str) -> &'a Value {
    resolved
        .tree
        .pointer(&format!("/{}", path.replace('.', "/")))
        .unwrap_or_else(|| panic!("no {path}"))
}

#[test]
fn the_stronger_source_wins() {
    let file = json!({"http_server": {"port": 1}, "log": {"level": "a"}, "node": {"name": "a"}});
    let variables = [("CENTRIFUGO_LOG_LEVEL", "b"), ("CENTRIFUGO_NODE_NAME", "b")];
    let resolved = attempt(&file, &variables, &[("log.level", "c")]).unwrap();
    assert_eq!(at(&resolved, "http_server.port"), 1);
    assert_eq!(at(&resolved, "node.name"), "b");
    assert_eq!(at(&resolved, "log.level"), "c");
    assert_eq!(at(&resolved, "http_server.address"), "");
    assert!(resolved.given.contains("node.name"));
    assert!(!resolved.given.contains("http_server.address"));
}

#[test]
fn the_own_prefix_wins_and_says_so() {
    let variables = [
        ("CENTRIFUGO_NODE_NAME", "b"),
        ("CENTRIPETAL_NODE_NAME", "a"),
    ];
    let resolved = resolved(&json!({}), &variables);
    assert_eq!(at(&resolved, "node.name"), "a");
    assert_eq!(resolved.warnings.len(), 1);
    let warning = &resolved.warnings[0];
    assert_eq!(warning.variable.as_deref(), Some("CENTRIPETAL_NODE_NAME"));
    assert!(
        warning
            .hint
            .as_deref()
            .unwrap()
            .contains("CENTRIFUGO_NODE_NAME")
    );
}

#[test]
fn own_options_have_own_variables_only() {
    let variables = [
        ("CENTRIPETAL_GRPC_PORT", "9001"),
        ("CENTRIFUGO_CENTRIPETAL_HTTP_BEARER", "true"),
        ("CENTRIPETAL_CLIENT_HMAC_CREDENTIALS_ENABLED", "true"),
        ("CENTRIFUGO_CLIENT_HMAC_CREDENTIALS_DATA_FIELD", "x"),
    ];
    let resolved = resolved(&json!({}), &variables);
    assert_eq!(at(&resolved, "centripetal.grpc.port"), 9001);
    assert_eq!(at(&resolved, "centripetal.http.bearer"), false);
    assert_eq!(at(&resolved, "client.hmac_credentials.enabled"), true);
    assert_eq!(at(&resolved, "client.hmac_credentials.data_field"), "hmac");
    assert_eq!(resolved.warnings.len(), 2);
}

#[test]
fn no_two_options_share_a_variable() {
    let mut seen = BTreeSet::new();
    fn names(tables: Tables, place: &Place, seen: &mut BTreeSet<String>) {
        for field in schema::fields(tables) {
            let place = place.child(field);
            if let Kind::Section(inner) = field.kind {
                names(inner, &place, seen);
            } else {
                let name = place.variable.clone().unwrap();
                assert!(seen.insert(name), "{}", place.path);
            }
        }
    }
    names(schema::ROOT, &Place::root(), &mut seen);
    assert!(seen.contains("GRPC_PORT") && seen.contains("GRPC_API_PORT"));
}

#[test]
fn zero_in_a_file_is_not_set_but_in_a_variable_and_in_own_options_it_is() {
    let file = json!({"client": {"channel_limit": 0, "ping_interval": "0s"}, "centripetal": {"grpc": {"enabled": false, "port": 0}}});
    let resolved = resolved(&file, &[("CENTRIFUGO_CLIENT_PONG_TIMEOUT", "0s")]);
    assert_eq!(at(&resolved, "client.channel_limit"), 128);
    assert_eq!(at(&resolved, "client.ping_interval"), 25_000_000_000_i64);
    assert_eq!(at(&resolved, "client.pong_timeout"), 0);
    assert_eq!(at(&resolved, "centripetal.grpc.enabled"), false);
    assert_eq!(at(&resolved, "centripetal.grpc.port"), 0);
    let keys: Vec<_> = resolved
        .warnings
        .iter()
        .filter_map(|warning| warning.key.as_deref())
        .collect();
    assert_eq!(keys, ["client.ping_interval", "client.channel_limit"]);
}

#[test]
fn a_service_link_is_no_port() {
    let variables = [("CENTRIPETAL_GRPC_PORT", "tcp://10.0.0.1:8001")];
    let resolved = resolved(&json!({}), &variables);
    assert_eq!(at(&resolved, "centripetal.grpc.port"), 8001);
    assert_eq!(
        resolved.warnings[0].variable.as_deref(),
        Some("CENTRIPETAL_GRPC_PORT")
    );
}

#[test]
fn a_number_for_a_duration_is_nanoseconds_and_suspicious() {
    let resolved = resolved(&json!({"shutdown": {"timeout": 10}}), &[]);
    assert_eq!(at(&resolved, "shutdown.timeout"), 10);
    assert_eq!(
        resolved.warnings[0].key.as_deref(),
        Some("shutdown.timeout")
    );
}

#[test]
fn entries_come_from_file_and_variables() {
    let file = json!({"channel": {"namespaces": [{"name": "file"}, {"name": "chat.room-1"}]}});
    let variables = [
        ("CENTRIFUGO_CHANNEL_NAMESPACES", "news file"),
        ("CENTRIFUGO_CHANNEL_NAMESPACES_NEWS_PRESENCE", "true"),
        (
            "CENTRIFUGO_CHANNEL_NAMESPACES_CHAT_ROOM_1_MAP_KEY_TTL",
            "1s",
        ),
        ("CENTRIFUGO_CHANNEL_NAMESPACES_OTHER_PRESENCE", "true"),
    ];
    let resolved = resolved(&file, &variables);
    let names: Vec<_> = at(&resolved, "channel.namespaces")
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["file", "chat.room-1", "news"]);
    assert_eq!(at(&resolved, "channel.namespaces.2.presence"), true);
    assert_eq!(
        at(&resolved, "channel.namespaces.1.map.key_ttl"),
        1_000_000_000
    );
    let unknown = resolved
        .warnings
        .iter()
        .filter_map(|warning| warning.variable.as_deref());
    assert_eq!(
        unknown.collect::<Vec<_>>(),
        ["CENTRIFUGO_CHANNEL_NAMESPACES_OTHER_PRESENCE"]
    );
}

#[test]
fn json_in_a_variable_replaces_the_list_and_keeps_case() {
    let file = json!({"proxies": [{"name": "file"}]});
    let json = r#"[{"name":"p1","nosuch":1,"timeout":5,"http":{"static_headers":{"X-A":"v"}}}]"#;
    let resolved = resolved(&file, &[("CENTRIFUGO_PROXIES", json)]);
    assert_eq!(at(&resolved, "proxies").as_array().unwrap().len(), 1);
    assert_eq!(at(&resolved, "proxies.0.timeout"), 5);
    assert_eq!(
        at(&resolved, "proxies.0.http.static_headers"),
        &json!({"X-A": "v"})
    );
    assert!(resolved.unknown.is_empty());
}

#[test]
fn lists_without_names_are_json_in_a_variable() {
    let name = "CENTRIFUGO_RPC_PROXY_HTTP_STATUS_TO_CODE_TRANSFORMS";
    let good = resolved(
        &json!({}),
        &[(name, r#"[{"status_code":404,"to_error":{"code":1}}]"#)],
    );
    let rule = at(&good, "rpc.proxy.http.status_to_code_transforms.0");
    assert_eq!(
        rule["to_error"],
        json!({"code": 1, "message": "", "temporary": false})
    );
    let error = attempt(&json!({}), &[(name, "404")], &[]).unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
}

#[test]
fn equal_names_of_entries_are_warned_about() {
    let file = json!({"channel": {"namespaces": [{"name": "chat.room"}, {"name": "chat-room"}]}});
    let resolved = resolved(&file, &[]);
    assert_eq!(
        resolved.warnings[0].key.as_deref(),
        Some("channel.namespaces")
    );
}

#[test]
fn unknown_keys_are_named_with_their_place() {
    let file = json!({"nosuch": 1, "client": {"nosuch": {"deep": 1}}, "proxies": [{"name": "p1", "http": {"nosuch": 1}}]});
    let resolved = resolved(&file, &[]);
    assert_eq!(
        resolved.unknown,
        ["client.nosuch", "proxies.[0].http.nosuch", "nosuch"]
    );
}

#[test]
fn variables_stand_in_for_map_values() {
    let file = json!({"rpc": {"proxy": {"http": {"static_headers": {"a": "x ${CENTRIFUGO_VAR_A} ${CENTRIPETAL_VAR_B} ${HOME}"}}}}});
    let variables = [("CENTRIFUGO_VAR_A", "1"), ("CENTRIPETAL_VAR_B", "2")];
    let resolved = resolved(&file, &variables);
    assert_eq!(
        at(&resolved, "rpc.proxy.http.static_headers.a"),
        "x 1 2 ${HOME}"
    );
    let error = attempt(&file, &variables[..1], &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("CENTRIPETAL_VAR_B") && error.contains("rpc.proxy.http.static_headers"),
        "{error}"
    );
}

#[test]
fn every_bad_value_of_a_file_is_named() {
    let file = json!({"http_server": "x", "client": {"channel_limit": "ten"}, "proxies": "x"});
    let error = attempt(&file, &[], &[]).unwrap_err().to_string();
    for key in ["'http_server'", "'client.channel_limit'", "'proxies'"] {
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_bad_variable_or_flag_is_named() {
    let error = attempt(&json!({}), &[("CENTRIFUGO_HEALTH_ENABLED", "yes")], &[]).unwrap_err();
    assert!(
        error.to_string().contains("CENTRIFUGO_HEALTH_ENABLED"),
        "{error}"
    );
    let error = attempt(&json!({}), &[], &[("grpc_api.port", "x")]).unwrap_err();
    assert!(error.to_string().contains("--grpc_api.port"), "{error}");
}
