//! Diagnostics of this process under `debug.handler_prefix` (server-api.md 14): the runtime and the memory, as text.
//!
//! Pages of the Go runtime do not exist here and are answered with 404. What is told is for operators; it is served where
//! they are, and only when switched on.

use std::fmt::Write as _;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use tokio::runtime::Handle;

/// A page: name, and how it is made.
type Page = (&'static str, fn() -> String);

const PAGES: [Page; 3] = [("heap", heap), ("runtime", runtime), ("threads", threads)];

/// The pages below this prefix.
pub(super) fn router(prefix: &str) -> Router {
    let prefix = format!("{}/", prefix.trim_end_matches('/'));
    Router::new().fallback(answer).with_state(prefix)
}

async fn answer(State(prefix): State<String>, request: Request) -> Response {
    let path = request.uri().path();
    let name = path.strip_prefix(&prefix).unwrap_or(path);
    if name.is_empty() {
        return page(StatusCode::OK, "text/html; charset=utf-8", index());
    }
    let text = "text/plain; charset=utf-8";
    match PAGES.iter().find(|(known, _)| *known == name) {
        Some((_, make)) => page(StatusCode::OK, text, make()),
        None => page(StatusCode::NOT_FOUND, text, "Unknown profile\n".to_owned()),
    }
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn index() -> String {
    let mut text = "<!doctype html><title>Diagnostics</title><ul>".to_owned();
    for (name, _) in PAGES {
        // Writing into a text does not fail.
        let _ok = write!(text, "<li><a href=\"{name}\">{name}</a>");
    }
    text + "</ul>\n"
}

/// What the runtime counts: a worker that is busy all the time, or a growing queue, is an event loop that lags.
fn runtime() -> String {
    let metrics = Handle::current().metrics();
    let mut text = format!(
        "workers {}\ntasks {}\nglobal_queue {}\n",
        metrics.num_workers(),
        metrics.num_alive_tasks(),
        metrics.global_queue_depth()
    );
    for worker in 0..metrics.num_workers() {
        let busy = metrics.worker_total_busy_duration(worker).as_secs_f64();
        let parks = metrics.worker_park_count(worker);
        let _ok = writeln!(text, "worker {worker} busy_seconds {busy:.3} parks {parks}");
    }
    text
}

/// What the kernel says of the memory: the allocator is the system's, and keeps no statistics of its own.
fn heap() -> String {
    let rollup = proc("smaps_rollup");
    let parts = [
        "Rss",
        "Pss",
        "Private_Clean",
        "Private_Dirty",
        "Anonymous",
        "Swap",
    ];
    let status = proc("status");
    let sizes = ["VmPeak", "VmSize", "VmHWM", "VmRSS", "VmData"];
    lines(&rollup, &parts) + &lines(&status, &sizes)
}

fn threads() -> String {
    let counts = [
        "Threads",
        "FDSize",
        "voluntary_ctxt_switches",
        "nonvoluntary_ctxt_switches",
    ];
    lines(&proc("status"), &counts)
}

/// A file that Linux keeps for this process; empty elsewhere.
fn proc(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default()
}

/// The lines with these names, white space made one.
fn lines(text: &str, names: &[&str]) -> String {
    let found = text.lines().filter_map(|line| line.split_once(':'));
    let found = found.filter(|(name, _)| names.contains(name));
    found
        .map(|(name, value)| format!("{name} {}\n", value.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router("/debug/pprof").oneshot(request).await.unwrap();
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_index_names_every_page_and_every_page_tells_something() {
        let (status, index) = get("/debug/pprof/").await;
        assert_eq!(status, 200);
        for (name, _) in PAGES {
            assert!(index.contains(&format!("href=\"{name}\"")), "{index}");
            let (status, text) = get(&format!("/debug/pprof/{name}")).await;
            assert_eq!(status, 200);
            assert!(text.lines().count() >= 3, "{name}: {text}");
        }
        let (_, heap) = get("/debug/pprof/heap").await;
        assert!(
            heap.contains("VmRSS ") && heap.contains("Anonymous "),
            "{heap}"
        );
        let (_, runtime) = get("/debug/pprof/runtime").await;
        assert!(runtime.contains("worker 0 busy_seconds "), "{runtime}");
    }

    #[tokio::test]
    async fn pages_of_another_runtime_do_not_exist() {
        for name in ["profile", "goroutine", "cmdline", "nosuch"] {
            let (status, text) = get(&format!("/debug/pprof/{name}")).await;
            assert_eq!((status.as_u16(), text.as_str()), (404, "Unknown profile\n"));
        }
    }
}
