//! What `h2spec` says of the listeners.

use std::time::Duration;

use serde_json::json;

use crate::{
    harness::server,
    support::{Certificates, Program, h2spec},
};

/// Cases of the tool, one of them strict.
const CASES: usize = 146;
/// Longest run; an ordinary one takes a second.
const LIMIT: Duration = Duration::from_secs(300);

/// Verdicts on one listener.
#[derive(Debug, Default)]
struct Report {
    cases: usize,
    skipped: usize,
    failed: Vec<String>,
}

impl Report {
    /// Reads the report of the tool, a JUnit file it writes one case a line.
    fn read(text: &str) -> Self {
        let mut report = Self::default();
        for case in text.split("<testcase ").skip(1) {
            let case = case.split("</testcase>").next().unwrap_or_default();
            report.cases += 1;
            report.skipped += usize::from(case.contains("<skipped"));
            if case.contains("<error") || case.contains("<failure") {
                report.failed.push(case.trim().to_owned());
            }
        }
        report
    }
}

/// Runs all cases against an address.
async fn judged(tool: &Program, target: &str, options: &[&str]) -> Report {
    let (host, port) = target.rsplit_once(':').unwrap();
    let file = format!("{}/h2spec-{port}.xml", env!("CARGO_TARGET_TMPDIR"));
    let arguments = [
        &["-h", host, "-p", port, "-o", "20", "-S", "-j", &file],
        options,
    ];
    let output = tool.run_alone(&arguments.concat(), LIMIT).await;
    let text = std::fs::read_to_string(&file);
    let text = text.unwrap_or_else(|error| panic!("no report, {error}: {output:?}"));
    let report = Report::read(&text);
    eprintln!(
        "h2spec {}: {} cases, {} failed, {} skipped",
        options.concat(),
        report.cases,
        report.failed.len(),
        report.skipped
    );
    report
}

#[tokio::test]
async fn the_grpc_listener_conforms() {
    let Some(tool) = h2spec() else {
        return;
    };
    let server = server(json!({})).await;
    let report = judged(&tool, &server.grpc_target(), &[]).await;
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    assert_eq!((report.cases, report.skipped), (CASES, 0));
}

#[tokio::test]
async fn the_grpc_listener_conforms_over_tls() {
    let Some(tool) = h2spec() else {
        return;
    };
    let certificates = Certificates::new();
    let tls = certificates.settings();
    let settings = json!({"http_server": {"tls": tls}, "centripetal": {"grpc": {"tls": tls}}});
    let server = certificates.start(settings).await;
    let report = judged(&tool, &server.grpc_target(), &["-t", "-k"]).await;
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    assert_eq!((report.cases, report.skipped), (CASES, 0));
}

#[tokio::test]
async fn the_shared_port_conforms_but_for_the_preface() {
    let Some(tool) = h2spec() else {
        return;
    };
    let server = server(json!({"centripetal": {"grpc": {"shared": true}}})).await;
    let mut report = judged(&tool, &server.http_target(), &[]).await;
    // What is no preface may be HTTP/1 on this port, and gets the answer of HTTP/1.
    report
        .failed
        .retain(|case| !case.contains("Sends invalid connection preface"));
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    assert_eq!((report.cases, report.skipped), (CASES, 0));
}
