//! The paths of operators without a server: what the recorded answers of `tests/it/admin.rs` do not show.

use axum::{
    body::{Body, to_bytes},
    http::header::LOCATION,
};
use tower::ServiceExt as _;

use super::*;
use crate::api::tests::{CONFIG, api};

fn config() -> AdminConfig {
    AdminConfig {
        enabled: true,
        handler_prefix: String::new(),
        password: "pw".into(),
        secret: "s".into(),
        insecure: false,
        web_path: String::new(),
        web_proxy_address: String::new(),
        external: false,
    }
}

/// Requests come from the address in the header `x-from`.
fn site(config: &AdminConfig) -> Router {
    let address = |parts: &Parts| parts.headers.get("x-from")?.to_str().ok()?.parse().ok();
    let (api, ..) = api(CONFIG);
    router(api, config, Arc::new(address)).unwrap()
}

async fn ask(site: &Router, request: axum::http::request::Builder, body: &'static str) -> Response {
    let request = request.body(Body::from(body)).unwrap();
    site.clone().oneshot(request).await.unwrap()
}

fn sign_in(from: &str) -> axum::http::request::Builder {
    Request::post("/admin/auth")
        .header("x-from", from)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
}

async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn guesses_from_one_address_are_stopped_and_no_others() {
    let site = site(&config());
    for _ in 0..10 {
        let answer = ask(&site, sign_in("192.0.2.1"), "password=wrong").await;
        assert_eq!(answer.status(), 400);
    }
    // The right one as well: a guesser must not learn it.
    let answer = ask(&site, sign_in("192.0.2.1"), "password=pw").await;
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()[RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let answer = ask(&site, sign_in("192.0.2.2"), "password=pw").await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_form_is_read_up_to_a_megabyte() {
    let site = site(&config());
    let large: &'static str = format!("password=pw&x={}", "x".repeat(LARGEST_FORM)).leak();
    assert_eq!(ask(&site, sign_in("::1"), large).await.status(), 400);
    let escaped = ask(&site, sign_in("::1"), "password=%70w").await;
    assert_eq!(escaped.status(), 200);
}

#[tokio::test]
async fn every_file_of_the_page_is_there_under_a_prefix_too() {
    let named = regex::Regex::new(r#"(?:href|src)="([^#"]+)""#).unwrap();
    for prefix in ["", "/adm", "/a/b/"] {
        let config = AdminConfig {
            handler_prefix: prefix.to_owned(),
            ..config()
        };
        let (site, prefix) = (site(&config), prefix.trim_end_matches('/'));
        let page = ask(&site, Request::get(format!("{prefix}/")), "").await;
        assert_eq!(page.status(), 200);
        let policy = page.headers()[axum::http::header::CONTENT_SECURITY_POLICY].clone();
        assert!(policy.to_str().unwrap().contains("default-src 'none'"));
        let page = text(page).await;
        let files: Vec<_> = named
            .captures_iter(&page)
            .map(|found| found[1].to_owned())
            .collect();
        assert!(files.len() >= 6, "{files:?}");
        for file in files {
            let answer = ask(&site, Request::get(format!("{prefix}/{file}")), "").await;
            assert_eq!(answer.status(), 200, "{file}");
        }
        let answer = ask(&site, Request::get(format!("{prefix}/index.html")), "").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[LOCATION]),
            (301, &"./".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_folder_takes_the_place_of_the_page_and_nothing_above_it() {
    let folder = std::env::temp_dir().join(format!("centripetal-admin-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("web")).unwrap();
    std::fs::write(folder.join("web/index.html"), "mine").unwrap();
    std::fs::write(folder.join("secret"), "not mine").unwrap();
    let site = site(&AdminConfig {
        web_path: folder.join("web").to_str().unwrap().to_owned(),
        ..config()
    });
    assert_eq!(text(ask(&site, Request::get("/"), "").await).await, "mine");
    for path in ["/secret", "/../secret", "/%2e%2e/secret", "/nothing"] {
        let answer = ask(&site, Request::get(path), "").await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(text(answer).await, "404 page not found\n");
    }
    assert_eq!(
        ask(&site, Request::get("/admin/init"), "").await.status(),
        200
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_address_that_is_none_stops_the_start() {
    for odd in ["localhost", "ftp://host", "http://", "not an address"] {
        let config = AdminConfig {
            web_proxy_address: odd.to_owned(),
            ..config()
        };
        let (api, ..) = api(CONFIG);
        assert!(
            matches!(
                router(api, &config, Arc::new(|_| None)),
                Err(Error::Address)
            ),
            "{odd}"
        );
    }
}
