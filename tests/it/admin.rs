//! What operators reach with a browser: the recorded answers of the reference, another interface, and the page in Chromium.

use reqwest::{Client, Method, redirect::Policy};
use serde_json::{Value, json};

use crate::support::{Server, free_ports};

const RECORDED: &str = include_str!("../golden/telemetry/http.json");

fn client() -> Client {
    let builder = Client::builder().no_proxy().redirect(Policy::none());
    builder.build().unwrap()
}

/// Sends what a recorded step sends.
async fn send(client: &Client, site: &str, http: &Value, token: &str) -> reqwest::Response {
    let filled = |text: &str| text.replace("{{token}}", token);
    let method = http["method"].as_str().unwrap_or("POST");
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let path = http["path"].as_str().unwrap();
    let mut request = client.request(method, format!("{site}{path}"));
    for (name, value) in http["headers"].as_object().into_iter().flatten() {
        request = request.header(name, filled(value.as_str().unwrap()));
    }
    if let Some(key) = http["key"].as_str() {
        request = request.header("X-API-Key", key);
    }
    if let Some(form) = http["form"].as_object() {
        let fields = form
            .iter()
            .map(|(name, value)| (name, value.as_str().unwrap()));
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        request = request
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body);
    }
    if let Some(files) = http["files"].as_object() {
        let part = |(name, value): (&String, &Value)| {
            let text = value[1].as_str().unwrap();
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        let body: String = files.iter().map(part).collect();
        let kind = "multipart/form-data; boundary=edge";
        request = request
            .header("Content-Type", kind)
            .body(format!("{body}--edge--\r\n"));
    }
    if let Some(body) = http.get("body") {
        request = request.body(body.to_string());
    }
    if let Some(text) = http["text"].as_str() {
        request = request.body(text.to_owned());
    }
    request.send().await.unwrap()
}

/// Whether a value is the expected one; `<…>` stands for any.
fn alike(seen: &Value, expected: &Value) -> bool {
    match (seen, expected) {
        (_, Value::String(any)) if any.starts_with('<') => true,
        (Value::Object(seen), Value::Object(expected)) => {
            // Not there in the first second of a node.
            let known = seen.iter().filter(|(name, _)| *name != "uptime");
            known.clone().count() == expected.len()
                && known
                    .zip(expected.keys())
                    .all(|((name, value), _)| expected.get(name).is_some_and(|it| alike(value, it)))
        }
        (Value::Array(seen), Value::Array(expected)) => {
            seen.len() == expected.len()
                && seen.iter().zip(expected).all(|(one, it)| alike(one, it))
        }
        _ => seen == expected,
    }
}

#[tokio::test]
async fn the_page_of_operators_is_as_recorded() {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    let cases = cases.iter().filter(|case| {
        let name = case["name"].as_str().unwrap();
        name.starts_with("admin") && !name.contains("web p")
    });
    let (client, mut steps) = (client(), 0);
    for case in cases {
        let server = Server::start(case["config"].clone()).await;
        let site = format!("http://{}", server.http_target());
        let mut token = String::new();
        let all = case["steps"].as_array().unwrap().iter();
        for (step, expected) in all.zip(case["expected"].as_array().unwrap()) {
            let what = format!("{}: {}", case["name"], step["http"]);
            let answer = send(&client, &site, &step["http"], &token).await;
            assert_eq!(answer.status().as_u16(), expected["status"], "{what}");
            for (name, value) in expected["headers"].as_object().unwrap() {
                // A redirect of ours has no text.
                if name != "content-type" || answer.status() != 307 {
                    let seen = answer
                        .headers()
                        .get(name)
                        .map(|seen| seen.to_str().unwrap());
                    assert_eq!(seen, value.as_str(), "{what}: {name}");
                }
            }
            let cross_origin = "access-control-allow-origin";
            assert!(!answer.headers().contains_key(cross_origin), "{what}");
            let body = answer.text().await.unwrap();
            if let Some(text) = expected["text"].as_str() {
                assert_eq!(body, text, "{what}");
            }
            if let Some(object) = expected.get("json") {
                let seen: Value = serde_json::from_str(&body).unwrap();
                assert!(alike(&seen, object), "{what}: {seen}");
                assert_eq!(body.ends_with('\n'), expected["final_newline"], "{what}");
                if step.get("save").is_some() {
                    token = seen["token"].as_str().unwrap().to_owned();
                }
            }
            steps += 1;
        }
    }
    assert_eq!(steps, 58);
}

#[tokio::test]
async fn another_server_can_be_the_page() {
    let [nobody] = free_ports();
    let page = Server::start(json!({"http_api": {"handler_prefix": "/other"}})).await;
    let settings = |address: String| json!({"admin": {"enabled": true, "insecure": true, "web_proxy_address": address}});
    let server = Server::start(settings(format!("http://{}/", page.http_target()))).await;
    let site = format!("http://{}", server.http_target());
    let ask = async |path: &str| {
        let answer = client().get(format!("{site}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(
        ask("/connection/nothing").await,
        (404, "404 page not found\n".to_owned())
    );
    let (status, text) = ask("/admin/init").await;
    assert_eq!(status, 200, "its own paths stay its own: {text}");
    // Query and body go along: the other one's API reads both.
    let info = format!("{site}/other/info?api_key={}", Server::API_KEY);
    let answer = client().post(info).body("{}").send().await.unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(
        answer["result"]["nodes"].as_array().unwrap().len(),
        1,
        "{answer}"
    );
    let server = Server::start(settings(format!("http://127.0.0.1:{nobody}"))).await;
    let answer = client()
        .get(format!("http://{}/", server.http_target()))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn operators_have_the_internal_listener_unless_told_otherwise() {
    let [internal] = free_ports();
    for external in [false, true] {
        let server = Server::start_asked(
            json!({
                "http_server": {"internal_port": internal.to_string()},
                "admin": {"enabled": true, "insecure": true, "external": external},
            }),
            async |_| {
                let health = format!("http://127.0.0.1:{internal}/health");
                client()
                    .get(health)
                    .send()
                    .await
                    .is_ok_and(|answer| answer.status() == 200)
            },
        )
        .await;
        let status = async |site: String| {
            let answer = client()
                .get(format!("http://{site}/admin/init"))
                .send()
                .await;
            answer.unwrap().status().as_u16()
        };
        let expected = if external { [200, 404] } else { [404, 200] };
        assert_eq!(status(server.http_target()).await, expected[0]);
        assert_eq!(status(format!("127.0.0.1:{internal}")).await, expected[1]);
    }
}
