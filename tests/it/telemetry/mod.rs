//! What is exported over OTLP, as a collector gets it: traces across nodes, commands, questions to a backend (metrics.md 16).

mod collector;
mod secrets;

use std::sync::{Arc, Mutex};

use axum::{Router, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    common::v1::any_value,
    metrics::v1::{NumberDataPoint, metric::Data, number_data_point::Value as Value64},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use serde_json::{Value, json};

use self::collector::{Collector, attribute};
use crate::{
    harness::Transport,
    support::{RedisServer, Server, http_client, needed},
};

/// A parent of another's making: header, trace and span.
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// All in the trace that [`PARENT`] began.
fn in_trace(spans: &[Span]) -> Vec<Span> {
    let spans = spans.iter();
    spans
        .filter(|span| hex(&span.trace_id) == TRACE)
        .cloned()
        .collect()
}

fn settings(own: &Value) -> Value {
    json!({
        "opentelemetry": {"enabled": true, "api": true},
        "centripetal": {"telemetry": own},
        "channel": {"without_namespace": {"allow_subscribe_for_client": true, "allow_publish_for_client": true}},
    })
}

/// Publishes by the HTTP API as a caller whose trace is known.
async fn publish_traced(server: &Server, channel: &str, parent: &str) {
    let answer = http_client()
        .post(format!("{}/publish", server.api_url()))
        .header("x-api-key", Server::API_KEY)
        .header("traceparent", parent)
        .body(json!({"channel": channel, "data": {"n": 1}}).to_string())
        .send()
        .await;
    assert!(answer.is_ok_and(|answer| answer.status() == 200));
}

/// One publish by the API is one trace: the request, the engine's part, and the delivery on either node.
async fn one_trace_across_nodes(protocol: &str) {
    if needed("CENTRIPETAL_REDIS").is_none() {
        return;
    }
    let (collector, redis) = (Collector::start().await, RedisServer::start("").await);
    let mut settings = settings(&json!({"engine_spans": true}));
    settings["engine"] = json!({"type": "redis", "redis": {"address": redis.address()}});
    let variables = collector.variables(protocol);
    let near = Server::start_with(settings.clone(), variables.clone()).await;
    let far = Server::start_with(settings, variables).await;
    let mut readers = Vec::new();
    for node in [&near, &far, &far] {
        let mut reader = Transport::Grpc.user(node, "reader").await;
        reader.subscribe(json!({"channel": "news"})).await;
        readers.push(reader);
    }
    publish_traced(&near, "news", PARENT).await;
    for reader in &mut readers {
        assert_eq!(reader.push().await["pub"]["data"], json!({"n": 1}));
    }
    let spans = collector.spans(|spans| in_trace(spans).len() >= 4).await;
    let spans = in_trace(&spans);
    assert_eq!(spans.len(), 4, "{spans:#?}");
    let request = named(&spans, "POST /api/publish")[0];
    assert_eq!(hex(&request.parent_span_id), CALLER);
    assert_eq!(request.kind(), SpanKind::Server);
    let publish = named(&spans, "engine publish")[0];
    assert_eq!(publish.parent_span_id, request.span_id);
    assert_eq!(publish.kind(), SpanKind::Producer);
    let broadcasts = named(&spans, "broadcast");
    assert_eq!(broadcasts.len(), 2, "{spans:#?}");
    let mut reached: Vec<_> = broadcasts
        .iter()
        .map(|span| {
            assert_eq!(span.parent_span_id, publish.span_id);
            assert_eq!(
                attribute(&span.attributes, "centrifugo.channel").as_deref(),
                Some("news")
            );
            attribute(&span.attributes, "centripetal.subscribers").unwrap()
        })
        .collect();
    reached.sort();
    assert_eq!(reached, ["1", "2"]);
}

#[tokio::test]
async fn a_publish_and_its_deliveries_are_one_trace_over_grpc() {
    Box::pin(one_trace_across_nodes("grpc")).await;
}

#[tokio::test]
async fn a_publish_and_its_deliveries_are_one_trace_over_http() {
    Box::pin(one_trace_across_nodes("http/protobuf")).await;
}

#[tokio::test]
async fn a_trace_that_is_not_recorded_costs_nothing_further_on() {
    let collector = Collector::start().await;
    let settings = settings(&json!({"engine_spans": true, "command_spans": false}));
    let server = Server::start_with(settings, collector.variables("http/protobuf")).await;
    let mut reader = Transport::Json.user(&server, "reader").await;
    reader.subscribe(json!({"channel": "news"})).await;
    publish_traced(&server, "news", &PARENT.replace("-01", "-00")).await;
    reader.push().await;
    // What a client publishes begins no trace either; then one that is recorded, so that there is something to wait for.
    reader.publish("news", json!({"n": 2})).await;
    reader.push().await;
    publish_traced(&server, "news", PARENT).await;
    let spans = collector
        .spans(|spans| !named(spans, "broadcast").is_empty())
        .await;
    assert_eq!(in_trace(&spans).len(), spans.len());
    assert_eq!(spans.len(), 3, "{spans:#?}");
}

#[tokio::test]
async fn commands_belong_to_the_trace_of_their_connection() {
    let collector = Collector::start().await;
    let settings = settings(&json!({"engine_spans": true, "command_spans": true}));
    let server = Server::start_with(settings, collector.variables("grpc")).await;
    for transport in Transport::ALL {
        let before = collector.spans_so_far().len();
        let opened = transport
            .open_with(&server, &[("traceparent", PARENT)])
            .await;
        let mut client = opened.unwrap();
        let token = Server::token(&json!({"sub": "ann"}));
        client.connect(json!({"token": token})).await;
        client.subscribe(json!({"channel": "news"})).await;
        client.publish("news", json!({"n": 1})).await;
        client
            .send(json!({"id": 77, "presence": {"channel": "news"}}))
            .await;
        let presence = |spans: &[Span]| {
            !named(&spans[before..], "client presence").is_empty()
                && !named(&spans[before..], "broadcast").is_empty()
        };
        let spans = collector.spans(presence).await.split_off(before);
        assert_eq!(in_trace(&spans).len(), spans.len(), "{spans:#?}");
        let publish = named(&spans, "client publish")[0];
        assert_eq!(hex(&publish.parent_span_id), CALLER);
        assert_eq!(publish.kind(), SpanKind::Server);
        assert_eq!(
            attribute(&publish.attributes, "centrifugo.channel").as_deref(),
            Some("news")
        );
        let engine = named(&spans, "engine publish")[0];
        assert_eq!(engine.parent_span_id, publish.span_id);
        assert_eq!(named(&spans, "broadcast")[0].parent_span_id, engine.span_id);
        let presence = named(&spans, "client presence")[0].status.clone().unwrap();
        assert_eq!(presence.code(), StatusCode::Error);
        assert_eq!(presence.message, "108: not available");
        assert_eq!(named(&spans, "client connect").len(), 1);
        assert_eq!(named(&spans, "client subscribe").len(), 1);
    }
}

/// Metrics and log lines come as well, when they are wanted, and only then.
async fn metrics_and_lines(protocol: &str) {
    let collector = Collector::start().await;
    let mut settings = settings(&json!({"metrics": true, "logs": true}));
    settings["log"] = json!({"level": "info"});
    let server = Server::start_with(settings, collector.variables(protocol)).await;
    publish_traced(&server, "news", PARENT).await;
    let one = |point: &NumberDataPoint| {
        let kind = attribute(&point.attributes, "type");
        kind.as_deref() == Some("publication") && point.value == Some(Value64::AsDouble(1.0))
    };
    collector
        .metric("centrifugo_node_messages_sent_count", |metric| {
            matches!(&metric.data, Some(Data::Sum(sum)) if sum.is_monotonic && sum.data_points.iter().any(one))
        })
        .await;
    let refused = http_client()
        .post(format!("{}/publish", server.api_url()))
        .header("x-api-key", Server::API_KEY)
        .body("{broken")
        .send()
        .await;
    assert!(refused.is_ok());
    let record = collector
        .record(|record| {
            let body = record.body.as_ref().and_then(|body| body.value.as_ref());
            matches!(body, Some(any_value::Value::StringValue(text)) if text == "error decoding API request body")
        })
        .await;
    assert_eq!(record.severity_text, "ERROR");
    assert_eq!(
        attribute(&record.attributes, "path").as_deref(),
        Some("/api/publish")
    );
    assert!(server.log().contains("error decoding API request body"));
}

#[tokio::test]
async fn metrics_and_lines_come_over_grpc() {
    metrics_and_lines("grpc").await;
}

#[tokio::test]
async fn metrics_and_lines_come_over_http() {
    metrics_and_lines("http/protobuf").await;
}

/// A backend that allows everything and keeps the headers it was asked with.
async fn backend() -> (String, Arc<Mutex<Vec<HeaderMap>>>, tokio::task::JoinSet<()>) {
    let asked: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let keep = Arc::clone(&asked);
    let router = Router::new().route(
        "/ask",
        post(async move |headers: HeaderMap| {
            keep.lock().unwrap().push(headers);
            r#"{"result":{"user":"ann","data":{}}}"#
        }),
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = format!("http://{}/ask", listener.local_addr().unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let served = tonic::transport::Server::builder()
            .accept_http1(true)
            .add_routes(tonic::service::Routes::from(router))
            .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener));
        drop(served.await);
    });
    (address, asked, tasks)
}

#[tokio::test]
async fn the_backend_is_told_of_the_question() {
    let (collector, (address, asked, _serving)) = (Collector::start().await, backend().await);
    let mut settings = settings(&json!({"proxy_spans": true, "command_spans": true}));
    settings["client"]["proxy"]["connect"] = json!({"enabled": true, "endpoint": address});
    settings["rpc"] = json!({
        "proxy": {"endpoint": address}, "without_namespace": {"proxy_enabled": true},
    });
    let server = Server::start_with(settings, collector.variables("grpc")).await;
    let opened = Transport::Json
        .open_with(&server, &[("traceparent", PARENT)])
        .await;
    let mut client = opened.unwrap();
    client.connect(json!({})).await;
    client
        .call(json!({"rpc": {"method": "add", "data": {}}}))
        .await;
    let spans = collector
        .spans(|spans| !named(spans, "client rpc").is_empty())
        .await;
    assert_eq!(in_trace(&spans).len(), spans.len());
    for (number, kind) in ["connect", "rpc"].into_iter().enumerate() {
        let question = named(&spans, &format!("proxy {kind}"))[0];
        let command = named(&spans, &format!("client {kind}"))[0];
        assert_eq!(question.kind(), SpanKind::Client);
        assert_eq!(question.parent_span_id, command.span_id);
        let told = format!("00-{TRACE}-{}-01", hex(&question.span_id));
        let headers = asked.lock().unwrap()[number].clone();
        assert_eq!(headers["traceparent"], *told);
        assert!(!headers.contains_key("tracestate"), "{headers:?}");
    }
}

#[tokio::test]
async fn what_is_left_is_sent_at_the_end() {
    let collector = Collector::start().await;
    let mut variables = collector.variables("http/protobuf");
    variables.retain(|(name, _)| name != "OTEL_BSP_SCHEDULE_DELAY");
    variables.push(("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "3600000".to_owned()));
    let mut server = Server::start_with(settings(&json!({})), variables).await;
    publish_traced(&server, "news", PARENT).await;
    assert_eq!(collector.spans_so_far().len(), 0);
    server.terminate();
    assert_eq!(server.ended().await, Some(0));
    assert_eq!(collector.spans_so_far().len(), 1);
}

#[tokio::test]
async fn a_full_queue_drops_spans_and_says_so() {
    // Nobody listens, and the queue has one place, which is given back every ten minutes.
    let [port] = crate::support::free_ports();
    let variables = [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://127.0.0.1:{port}"),
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", "600000".to_owned()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1".to_owned()),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let mut settings = settings(&json!({"engine_spans": true}));
    settings["prometheus"] = json!({"enabled": true});
    let server = Server::start_with(settings, variables.into()).await;
    let dropped = crate::harness::Metric::of(
        &server,
        "centripetal_opentelemetry_dropped_total",
        &[("signal", "traces")],
    )
    .await;
    let publishes = (0..20).map(|_| publish_traced(&server, "news", PARENT));
    futures_util::future::join_all(publishes).await;
    dropped.increased().await;
    // The failure of the exporter is a line of its own.
    crate::harness::eventually("a line about the exporter", || async {
        server.log().contains("opentelemetry error")
    })
    .await;
}
