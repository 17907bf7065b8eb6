//! The HTTP adapter: everything that is decided before the node is asked, against the recorded answers.

use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::api::{
    Config,
    tests::{CONFIG, api, golden},
};

/// Recorded cases that differ on purpose, with the status they have here.
const DIFFERENT: &[(&str, usize, u16, &str)] = &[
    ("publish_tags_list", 0, 200, "an empty list is an empty map"),
    (
        "history_binary",
        1,
        200,
        "payloads that are not JSON come as b64data",
    ),
];

fn http_config(recorded: &Value) -> HttpConfig {
    HttpConfig {
        disabled: false,
        handler_prefix: recorded["handler_prefix"]
            .as_str()
            .unwrap_or("/api")
            .to_owned(),
        key: recorded["key"].as_str().unwrap_or_default().into(),
        error_mode: serde_json::from_value(
            recorded.get("error_mode").cloned().unwrap_or(json!("")),
        )
        .unwrap(),
        external: false,
        insecure: recorded["insecure"].as_bool().unwrap_or_default(),
    }
}

fn keyed() -> HttpConfig {
    http_config(&json!({ "key": "k" }))
}

/// Status, content type and body of an answer.
#[derive(Debug, PartialEq)]
struct Seen(u16, String, String);

async fn ask(router: &Router, request: Request) -> Seen {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Seen(
        status,
        content_type,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

async fn post(router: &Router, path: &str, headers: &[(&str, &str)], body: &str) -> Seen {
    let mut request = Request::post(path).header("x-api-key", "k");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    ask(router, request.body(Body::from(body.to_owned())).unwrap()).await
}

fn ok(body: &str) -> Seen {
    Seen(200, "application/json".to_owned(), body.to_owned())
}

fn bad_request() -> Seen {
    Seen(
        400,
        "text/plain; charset=utf-8".to_owned(),
        "Bad Request\n".to_owned(),
    )
}

fn recorded_request(step: &Value, key: &str) -> Request {
    let method = step["method"].as_str().unwrap_or("POST");
    let mut request = Request::builder()
        .method(method)
        .uri(step["path"].as_str().unwrap());
    if !key.is_empty() && step["key"] != json!(false) {
        request = request.header("x-api-key", key);
    }
    for (name, value) in step["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap());
    }
    let body = match (
        step.get("body"),
        step["text"].as_str(),
        step["big"].as_u64(),
    ) {
        (Some(body), ..) => body.to_string(),
        (_, Some(text), _) => text.to_owned(),
        (.., Some(size)) => {
            json!({ "channel": "big", "data": "x".repeat(usize::try_from(size).unwrap()) })
                .to_string()
        }
        _ => String::new(),
    };
    request.body(Body::from(body)).unwrap()
}

/// True when the answer does not depend on namespaces, engine or connections.
fn before_the_node(name: &str, expected: &Value) -> bool {
    let text = expected["json"].is_null();
    let codes = |document: &Value| {
        let error = if document["error"].is_null() {
            document
        } else {
            &document["error"]
        };
        error["code"].as_u64()
    };
    let fixed = |code| matches!(code, Some(102 | 104));
    text || (!name.starts_with("legacy")
        && expected["json"]
            .as_array()
            .unwrap()
            .iter()
            .all(|document| fixed(codes(document))))
}

/// Compares what can be compared: everything decided before the node, else that the body was understood.
fn compare(name: &str, step: &Value, expected: &Value, seen: &Seen) {
    let status = expected["status"].as_u64().unwrap();
    if step["text"] == json!("[]") && status == 400 && step["path"] != json!("/api") {
        // PHP's empty object is accepted everywhere.
        assert_eq!(seen.0, 200, "{name} {step}");
    } else if before_the_node(name, expected) {
        assert_eq!(u64::from(seen.0), status, "{name} {step} {seen:?}");
        // What is not routed gets the page of the whole server.
        if status != 404 || !expected["json"].is_null() {
            assert_eq!(seen.1, expected["type"].as_str().unwrap(), "{name} {step}");
            match expected["json"].as_array() {
                Some(documents) => assert_eq!(&lines(&seen.2), documents, "{name} {step}"),
                None => assert_eq!(seen.2, expected["text"].as_str().unwrap(), "{name} {step}"),
            }
        }
    } else if name.starts_with("transport") {
        assert_eq!(seen.1, "application/json", "{name} {step}");
    } else if status == 200 {
        assert_eq!(
            (seen.0, seen.1.as_str()),
            (200, "application/json"),
            "{name} {step}"
        );
        let expected = expected["json"].as_array().unwrap().len();
        assert_eq!(lines(&seen.2).len(), expected, "{name} {step} {}", seen.2);
    }
}

fn lines(body: &str) -> Vec<Value> {
    body.split('\n')
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn recorded_answers_that_need_no_node() {
    let requests = golden("requests.json");
    let mut compared = 0;
    for (config_name, config) in requests["configs"].as_object().unwrap() {
        if matches!(
            config_name.as_str(),
            "internal" | "external" | "disabled" | "map" | "admin" | "extra"
        ) {
            continue; // These are about listeners and other handlers.
        }
        let config = http_config(&config["http_api"]);
        let (api, _, _) = api(CONFIG);
        let router = router(api, &config);
        let expected = golden(&format!("expected/http_{config_name}.json"));
        for case in requests["cases"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let steps = match case["steps"].as_array() {
                Some(steps) => steps.clone(),
                None => vec![json!({ "request": case })],
            };
            let needs_connections = steps.iter().any(|step| step.get("request").is_none());
            let elsewhere =
                case["config"] != json!(config_name) || name.starts_with("unconfigured");
            if elsewhere || needs_connections {
                continue;
            }
            for (n, step) in steps.iter().enumerate() {
                let step = &step["request"];
                let seen = ask(&router, recorded_request(step, config.key.expose())).await;
                let different = DIFFERENT
                    .iter()
                    .find(|(case, at, ..)| *case == name && *at == n);
                if let Some((.., status, reason)) = different {
                    assert_eq!(seen.0, *status, "{name}: {reason}");
                } else {
                    compare(name, step, &expected[name][n], &seen);
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 250, "{compared} answers compared");
}

#[tokio::test]
async fn methods_that_are_not_served_have_no_route() {
    let (api, _, _) = api(CONFIG);
    let router = router(api, &keyed());
    for name in [
        "map_publish",
        "map_stats",
        "shared_poll_publish",
        "connections",
        "send_push_notification",
    ] {
        assert_eq!(
            post(&router, &format!("/api/{name}"), &[], "{}").await.0,
            404,
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_method_is_checked_before_the_key_and_the_key_before_the_body() {
    let config = Config {
        max_request_body_size: 2,
        ..CONFIG
    };
    let (api, _, _) = api(config);
    let router = router(api, &keyed());
    let get = Request::get("/api/publish").body(Body::empty()).unwrap();
    assert_eq!(
        ask(&router, get).await,
        Seen(405, String::new(), String::new())
    );
    let keyless = Request::post("/api/publish")
        .body(Body::from("too large"))
        .unwrap();
    assert_eq!(
        ask(&router, keyless).await,
        Seen(401, String::new(), String::new())
    );
    assert_eq!(post(&router, "/api/publish", &[], "too large").await.0, 413);
}

#[tokio::test]
async fn bodies_are_limited_whether_their_length_is_declared_or_not() {
    let streamed = |pieces: usize| {
        let pieces =
            (0..pieces).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"          ")));
        Body::from_stream(futures_util::stream::iter(pieces))
    };
    let request = |body| {
        Request::post("/api")
            .header("x-api-key", "k")
            .body(body)
            .unwrap()
    };
    for (limit, expected) in [(100, 413), (0, 400), (200, 400)] {
        let (api, _, _) = api(Config {
            max_request_body_size: limit,
            ..CONFIG
        });
        let router = router(api, &keyed());
        assert_eq!(
            ask(&router, request(streamed(11))).await.0,
            expected,
            "{limit}"
        );
        assert_eq!(
            ask(&router, request(Body::from(" ".repeat(110)))).await.0,
            expected,
            "{limit}"
        );
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_500() {
    let (api, registry, _) = api(CONFIG);
    let router = router(api, &keyed());
    let broken = Body::from_stream(futures_util::stream::iter([
        Ok(Bytes::from_static(b"{")),
        Err(std::io::Error::other("gone")),
    ]));
    let request = Request::post("/api/publish")
        .header("x-api-key", "k")
        .body(broken)
        .unwrap();
    let expected = Seen(
        500,
        "text/plain; charset=utf-8".to_owned(),
        "Internal Server Error\n".to_owned(),
    );
    assert_eq!(ask(&router, request).await, expected);
    assert_eq!(post(&router, "/api/batch", &[], "[1]").await, bad_request());
    assert_eq!(post(&router, "/api", &[], "[1]").await, bad_request());
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    assert!(
        text.contains("errors_total{error=\"read_body\",method=\"publish\",protocol=\"http\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("errors_total{error=\"unmarshal\",method=\"batch\",protocol=\"http\"} 1"),
        "{text}"
    );
    assert!(!text.contains("legacy"), "{text}");
}

#[tokio::test]
async fn transport_error_mode_turns_errors_into_statuses() {
    let (api, _, _) = api(CONFIG);
    let always = HttpConfig {
        error_mode: ErrorMode::Transport,
        ..keyed()
    };
    let usual = router(api.clone(), &keyed());
    let always = router(api, &always);
    let asked = [("x-centrifugo-error-mode", "transport")];
    let json = |status, body: &str| Seen(status, "application/json".to_owned(), body.to_owned());
    for (path, body, status, error) in [
        (
            "publish",
            "{\"channel\":\"nope:x\",\"data\":1}",
            404,
            "{\"code\":102,\"message\":\"unknown channel\"}",
        ),
        (
            "publish",
            "{}",
            400,
            "{\"code\":107,\"message\":\"bad request\"}",
        ),
        (
            "rpc",
            "{\"method\":\"x\"}",
            404,
            "{\"code\":104,\"message\":\"not found\"}",
        ),
        (
            "channels",
            "{\"pattern\":\"[\"}",
            500,
            "{\"code\":100,\"message\":\"internal server error\"}",
        ),
    ] {
        let path = format!("/api/{path}");
        assert_eq!(
            post(&usual, &path, &[], body).await,
            ok(&format!("{{\"error\":{error}}}"))
        );
        assert_eq!(post(&usual, &path, &asked, body).await, json(status, error));
        assert_eq!(post(&always, &path, &[], body).await, json(status, error));
    }
    for value in ["Transport", "envelope", ""] {
        let headers = [("x-centrifugo-error-mode", value)];
        assert_eq!(
            post(&usual, "/api/publish", &headers, "{}").await.0,
            200,
            "{value}"
        );
        assert_eq!(
            post(&always, "/api/publish", &headers, "{}").await.0,
            400,
            "{value}"
        );
    }
}

#[tokio::test]
async fn transport_error_mode_leaves_batch_broadcast_and_legacy_alone() {
    let (api, _, _) = api(CONFIG);
    let config = HttpConfig {
        error_mode: ErrorMode::Transport,
        ..keyed()
    };
    let always = router(api, &config);
    let asked = [("x-centrifugo-error-mode", "transport")];
    let replies = "{\"replies\":[{\"error\":{\"code\":107,\"message\":\"bad request\"}}]}";
    let batch = post(
        &always,
        "/api/batch",
        &asked,
        "{\"commands\":[{\"publish\":{}}]}",
    )
    .await;
    assert_eq!(batch, ok(replies));
    let legacy = post(
        &always,
        "/api",
        &asked,
        "{\"method\":\"publish\",\"params\":{}}",
    )
    .await;
    assert_eq!(
        legacy,
        ok("{\"error\":{\"code\":107,\"message\":\"bad request\"}}")
    );
    let broadcast = post(
        &always,
        "/api/broadcast",
        &asked,
        "{\"channels\":[\"nope:x\"]}",
    )
    .await;
    assert_eq!(
        broadcast,
        ok(
            "{\"result\":{\"responses\":[{\"error\":{\"code\":102,\"message\":\"unknown channel\"}}]}}"
        )
    );
    assert_eq!(
        post(&always, "/api/publish", &asked, "{").await,
        bad_request()
    );
}

#[tokio::test]
async fn batches_answer_every_command_in_order() {
    let (api, registry, _) = api(CONFIG);
    let router = router(api, &keyed());
    for parallel in [false, true] {
        let body = format!(
            "{{\"commands\":[{{\"nosuch\":{{}}}},null,{{\"disconnect\":{{\"user\":\"nobody\"}}}},{{}},{{\"publish\":{{}}}},{{\"connections\":{{}}}},{{\"map_publish\":{{}}}},{{\"info\":{{}},\"rpc\":{{}}}}],\"parallel\":{parallel}}}"
        );
        let Seen(200, _, answer) = post(&router, "/api/batch", &[], &body).await else {
            panic!("a batch succeeds as a whole");
        };
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let replies = answer["replies"].as_array().unwrap();
        let codes: Vec<_> = replies
            .iter()
            .map(|reply| reply["error"]["code"].as_u64())
            .collect();
        let not_found = Some(104);
        assert_eq!(
            codes,
            [
                not_found,
                Some(107),
                None,
                not_found,
                Some(107),
                not_found,
                not_found,
                None
            ]
        );
        assert_eq!(
            replies[2],
            json!({ "disconnect": {} }),
            "the key is there although the result is empty"
        );
        assert!(replies[7].get("info").is_some(), "info comes before rpc");
    }
    for body in ["{\"commands\":[]}", "{}", "null", "{\"nosuch\":1}"] {
        assert_eq!(
            post(&router, "/api/batch", &[], body).await,
            ok("{\"replies\":[]}"),
            "{body}"
        );
    }
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    for line in [
        "errors_total{error=\"104\",method=\"unknown\",protocol=\"http\"} 8",
        "errors_total{error=\"107\",method=\"unknown\",protocol=\"http\"} 2",
        "errors_total{error=\"107\",method=\"publish\",protocol=\"http\"} 2",
        "seconds_count{method=\"disconnect\",protocol=\"http\"} 2",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("method=\"batch\""), "{text}");
}

#[tokio::test]
async fn legacy_commands_run_one_after_another() {
    let (api, _, _) = api(CONFIG);
    let router = router(api, &keyed());
    let bad = "{\"error\":{\"code\":107,\"message\":\"bad request\"}}";
    let not_found = "{\"error\":{\"code\":104,\"message\":\"not found\"}}";
    for (body, expected) in [
        (
            "{\"id\":1,\"method\":\"disconnect\",\"params\":{}}",
            "{\"id\":1,\"result\":{}}".to_owned(),
        ),
        ("{}\n{}", format!("{bad}\n{bad}")),
        ("null", bad.to_owned()),
        (
            "{\"method\":13,\"params\":{}} {\"method\":\"connections\"}",
            format!("{not_found}\n{not_found}"),
        ),
        (
            "{\"method\":\"publish\",\"params\":{\"channel\":5}}{\"method\":3}",
            format!("{bad}\n{{\"result\":{{}}}}"),
        ),
        (
            "{\"method\":\"refresh\",\"params\":[]}",
            "{\"result\":{}}".to_owned(),
        ),
        (
            "{\"method\":\"channels\"}",
            "{\"result\":{\"channels\":{}}}".to_owned(),
        ),
        (
            "{\"params\":{\"method\":\"x\"},\"METHOD\":\"RPC\"}",
            not_found.to_owned(),
        ),
    ] {
        assert_eq!(
            post(&router, "/api", &[], body).await,
            ok(&expected),
            "{body}"
        );
    }
}

#[tokio::test]
async fn legacy_bodies_that_cannot_be_read_fail_as_a_whole() {
    let (api, registry, stopping) = api(CONFIG);
    let router = router(api, &keyed());
    assert_eq!(post(&router, "/api", &[], "{}").await.0, 200);
    for body in [
        "",
        "{\"method\":\"disconnect\"}\nbroken",
        "[]",
        "{\"method\":\"nosuch\"}",
    ] {
        assert_eq!(
            post(&router, "/api", &[], body).await,
            bad_request(),
            "{body}"
        );
    }
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    assert!(
        text.contains("seconds_count{method=\"disconnect\",protocol=\"http\"} 1"),
        "{text}"
    );
    assert!(
        !text.contains("errors_total"),
        "failures of legacy commands are not counted: {text}"
    );
    stopping.cancel();
    assert_eq!(
        post(&router, "/api", &[], "{}").await,
        Seen(503, String::new(), String::new())
    );
    assert_eq!(post(&router, "/api/publish", &[], "{}").await.0, 200);
}

#[tokio::test]
async fn prefixes_are_text() {
    for (configured, prefix) in [
        ("/api/", "/api"),
        ("v1//", "/v1"),
        ("/a/{b}/:c", "/a/{b}/:c"),
        ("/", ""),
        ("", ""),
    ] {
        let config = HttpConfig {
            handler_prefix: configured.to_owned(),
            ..keyed()
        };
        assert_eq!(paths(&config).len(), Method::ALL.len() + 2);
        let legacy = if prefix.is_empty() { "/" } else { prefix };
        assert_eq!(paths(&config)[0], legacy);
        assert!(paths(&config).contains(&format!("{prefix}/publish")));
        let (api, _, _) = api(CONFIG);
        let router = router(api, &config);
        let path = |tail: &str| {
            format!("{prefix}/{tail}")
                .replace('{', "%7B")
                .replace('}', "%7D")
        };
        if !prefix.contains('{') {
            assert_eq!(
                post(&router, &path("publish"), &[], "{}").await.0,
                200,
                "{configured}"
            );
            assert_eq!(
                post(&router, legacy, &[], "{}").await.0,
                200,
                "{configured}"
            );
        }
        let elsewhere = post(&router, "/else/where", &[], "{}").await.0;
        assert_eq!(
            elsewhere,
            if prefix.is_empty() { 200 } else { 404 },
            "the root takes all"
        );
    }
}
