//! The other side of OTLP: a receiver on the official schema, over gRPC and HTTP, that keeps what it is sent.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    routing::{MethodRouter, post},
};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value},
    logs::v1::LogRecord,
    metrics::v1::Metric,
    trace::v1::Span,
};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{Request, Response, Status, service::Routes, transport::server::TcpIncoming};

use crate::harness::eventually;

/// What came.
#[derive(Debug, Default)]
struct Received {
    spans: Vec<Span>,
    metrics: Vec<Metric>,
    logs: Vec<LogRecord>,
}

/// A running receiver; ends when dropped.
#[derive(Debug)]
pub(super) struct Collector {
    received: Arc<Mutex<Received>>,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

type Shared = Arc<Mutex<Received>>;

fn with<R>(received: &Shared, change: impl FnOnce(&mut Received) -> R) -> R {
    let locked = received.lock();
    change(&mut locked.unwrap_or_else(|error| panic!("{error}")))
}

impl Received {
    fn take_spans(&mut self, request: ExportTraceServiceRequest) {
        let scopes = request.resource_spans.into_iter();
        let scopes = scopes.flat_map(|resource| resource.scope_spans);
        self.spans.extend(scopes.flat_map(|scope| scope.spans));
    }

    fn take_metrics(&mut self, request: ExportMetricsServiceRequest) {
        let scopes = request.resource_metrics.into_iter();
        let scopes = scopes.flat_map(|resource| resource.scope_metrics);
        self.metrics.extend(scopes.flat_map(|scope| scope.metrics));
    }

    fn take_logs(&mut self, request: ExportLogsServiceRequest) {
        let scopes = request.resource_logs.into_iter();
        let scopes = scopes.flat_map(|resource| resource.scope_logs);
        self.logs.extend(scopes.flat_map(|scope| scope.log_records));
    }
}

/// The gRPC services.
#[derive(Clone)]
struct Services(Shared);

#[tonic::async_trait]
impl TraceService for Services {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        with(&self.0, |all| all.take_spans(request.into_inner()));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Services {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        with(&self.0, |all| all.take_metrics(request.into_inner()));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Services {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        with(&self.0, |all| all.take_logs(request.into_inner()));
        Ok(Response::new(Default::default()))
    }
}

fn body(headers: &HeaderMap, body: &Bytes) -> Vec<u8> {
    let gzip = headers
        .get("content-encoding")
        .is_some_and(|encoding| encoding == "gzip");
    if !gzip {
        return body.to_vec();
    }
    let mut plain = Vec::new();
    let read = std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&body[..]), &mut plain);
    read.unwrap_or_else(|error| panic!("body: {error}"));
    plain
}

fn decoded<M: prost::Message + Default>(headers: &HeaderMap, bytes: &Bytes) -> M {
    M::decode(&body(headers, bytes)[..]).unwrap_or_else(|error| panic!("OTLP: {error}"))
}

/// A route that takes one kind of messages.
fn route<M>(take: fn(&mut Received, M)) -> MethodRouter<Shared>
where
    M: prost::Message + Default + 'static,
{
    post(
        move |State(all): State<Shared>, headers: HeaderMap, bytes: Bytes| async move {
            with(&all, |all| take(all, decoded(&headers, &bytes)));
        },
    )
}

impl Collector {
    /// Both protocols on one port.
    pub(super) async fn start() -> Self {
        let received = Shared::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.unwrap_or_else(|error| panic!("no port: {error}"));
        let address = listener.local_addr();
        let over_http = Router::new()
            .route("/v1/traces", route(Received::take_spans))
            .route("/v1/metrics", route(Received::take_metrics))
            .route("/v1/logs", route(Received::take_logs))
            .with_state(Arc::clone(&received));
        let services = Services(Arc::clone(&received));
        let over_grpc = Routes::new(TraceServiceServer::new(services.clone()))
            .add_service(MetricsServiceServer::new(services.clone()))
            .add_service(LogsServiceServer::new(services));
        let both = Routes::from(over_grpc.into_axum_router().merge(over_http));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let served = tonic::transport::Server::builder()
                .accept_http1(true)
                .add_routes(both)
                .serve_with_incoming(TcpIncoming::from(listener));
            drop(served.await);
        });
        Self {
            received,
            address: address.unwrap_or_else(|error| panic!("{error}")),
            _tasks: tasks,
        }
    }

    /// The variables that lead a server here, over gRPC or HTTP.
    pub(super) fn variables(&self, protocol: &str) -> Vec<(String, String)> {
        [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://{}", self.address),
            ),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
            ("OTEL_BLRP_SCHEDULE_DELAY", "50".to_owned()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "100".to_owned()),
            ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// All spans, as soon as they are as wished.
    pub(super) async fn spans(&self, wished: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        eventually("spans as wished", || async {
            with(&self.received, |all| wished(&all.spans))
        })
        .await;
        with(&self.received, |all| all.spans.clone())
    }

    /// Metrics of this name, as soon as one is as wished.
    pub(super) async fn metric(&self, name: &str, wished: impl Fn(&Metric) -> bool) {
        eventually(name, || async {
            with(&self.received, |all| {
                let mut metrics = all.metrics.iter();
                metrics.any(|metric| metric.name == name && wished(metric))
            })
        })
        .await;
    }

    /// The first log record that is as wished.
    pub(super) async fn record(&self, wished: impl Fn(&LogRecord) -> bool) -> LogRecord {
        let found = || {
            with(&self.received, |all| {
                all.logs.iter().find(|record| wished(record)).cloned()
            })
        };
        eventually("a record as wished", || async { found().is_some() }).await;
        found().unwrap_or_default()
    }

    /// What has come so far.
    pub(super) fn spans_so_far(&self) -> Vec<Span> {
        with(&self.received, |all| all.spans.clone())
    }
}

/// An attribute as text.
pub(super) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        any_value::Value::BoolValue(on) => Some(on.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}
