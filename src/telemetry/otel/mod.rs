//! OpenTelemetry: the providers of one node, whose exporters are set up by the standard `OTEL_` variables (metrics.md 16.1).
//!
//! Owns what waits to be sent and the threads that send it; a full queue drops and counts, it never makes anybody wait. Makes
//! no span itself.

mod client;
mod export;
mod logs;
mod metrics;
mod resource;
mod send;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, Protocol, SpanExporter, WithExportConfig as _,
};
use opentelemetry_otlp::{WithHttpConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    logs::SdkLoggerProvider,
    trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::logs::Records;
use self::{
    export::{Bounded, Careful, Waiting},
    metrics::Pusher,
    send::Sender,
};

/// Spans that may wait when `OTEL_BSP_MAX_QUEUE_SIZE` does not say (the SDK's own default).
const QUEUE: usize = 2048;
/// Longest wait for the exporter at the end.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `OTEL_EXPORTER_OTLP_PROTOCOL` names none that exists.
    #[error("unsupported exporter protocol: {0}; use http/protobuf or grpc")]
    Protocol(String),
    /// `OTEL_RESOURCE_ATTRIBUTES` is no list of names and values.
    #[error("malformed OTEL_RESOURCE_ATTRIBUTES: missing value: [{0}]")]
    Resource(String),
    /// A file of the variables about TLS cannot be read.
    #[error("cannot read the file that {variable} names")]
    File {
        /// The variable.
        variable: &'static str,
        /// Why.
        #[source]
        why: std::io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("no HTTP client for the exporter")]
    Client(#[from] reqwest::Error),
    /// Another variable cannot be used.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
    /// The endpoint of metrics over gRPC cannot be used.
    #[error("the endpoint of metrics cannot be used")]
    Endpoint(#[from] tonic::transport::Error),
    /// Its metrics are registered already.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// Variables of the standard, by name.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    /// Names only: headers may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Variables {
    /// A value that is not empty.
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(|value| value.trim());
        value.filter(|value| !value.is_empty())
    }

    /// The first that is set: that of a signal goes before that of all.
    fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok()
    }
}

/// Who exports.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Name of the service unless a variable says another.
    pub service: &'a str,
    /// Identifier of the node.
    pub node: &'a str,
}

/// What is exported beside spans.
#[derive(Clone, Debug, Default)]
pub struct More {
    /// The metrics of the registry.
    pub metrics: bool,
    /// Log lines: what hands them on.
    pub logs: Option<Records>,
}

/// The providers of one node.
#[derive(Debug)]
pub struct Exporters {
    traces: SdkTracerProvider,
    logs: Option<(SdkLoggerProvider, Arc<()>)>,
    metrics: JoinSet<()>,
    end: CancellationToken,
}

impl Exporters {
    /// Sets everything up. To be called inside of the runtime that the exporters use.
    ///
    /// # Errors
    /// A variable that cannot be used.
    pub fn start(
        identity: Identity<'_>,
        variables: &Variables,
        registry: &Registry,
        more: &More,
    ) -> Result<Self, Error> {
        let resource = resource::resource(identity, variables)?;
        let dropped = IntCounterVec::new(
            Opts::new(
                "centripetal_opentelemetry_dropped_total",
                "Spans and the like that found the queue of the exporter full.",
            ),
            &["signal"],
        )?;
        registry.register(Box::new(dropped.clone()))?;
        let waiting = |variable: &str, signal: &str| {
            let queue = variables.number(variable).unwrap_or(QUEUE);
            Arc::new(Waiting::new(queue, dropped.with_label_values(&[signal])))
        };
        let mut exporters = Self {
            traces: traces(
                resource.clone(),
                variables,
                waiting("OTEL_BSP_MAX_QUEUE_SIZE", "traces"),
            )?,
            logs: None,
            metrics: JoinSet::new(),
            end: CancellationToken::new(),
        };
        if let Some(records) = &more.logs {
            let waiting = waiting("OTEL_BLRP_MAX_QUEUE_SIZE", "logs");
            let provider = logs::provider(log_exporter(variables)?, resource.clone(), &waiting);
            let open = records.open(&provider);
            exporters.logs = Some((provider, open));
        }
        if more.metrics {
            let pusher = Pusher {
                registry: registry.clone(),
                resource,
                sender: Sender::new(variables, over_grpc(variables)?)?,
                every: send::interval(variables),
            };
            let run = Arc::new(pusher).run(exporters.end.clone());
            exporters.metrics.spawn(run);
        }
        Ok(exporters)
    }

    /// Makes spans.
    #[must_use]
    pub fn tracer(&self, scope: &'static str) -> SdkTracer {
        self.traces.tracer(scope)
    }

    /// Sends what is left and ends the threads.
    pub async fn close(self) {
        let Self {
            traces,
            logs,
            mut metrics,
            end,
        } = self;
        end.cancel();
        let pushed = async { while metrics.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WAIT, pushed).await.is_err() {
            tracing::error!("the last metrics were not exported in time");
        }
        // The library waits for its threads, which must not hold up the runtime.
        let closing = move || {
            let logs = logs.map(|(provider, _open)| provider.shutdown_with_timeout(LAST_WAIT));
            (traces.shutdown_with_timeout(LAST_WAIT), logs)
        };
        match tokio::task::spawn_blocking(closing).await {
            Ok((Ok(()), None | Some(Ok(())))) => {}
            Ok((Err(error), _) | (_, Some(Err(error)))) => {
                tracing::error!(%error, "opentelemetry error");
            }
            Err(error) => tracing::error!(%error, "opentelemetry error"),
        }
    }
}

fn traces(
    resource: Resource,
    variables: &Variables,
    waiting: Arc<Waiting>,
) -> Result<SdkTracerProvider, Error> {
    let longest = variables.number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT");
    let exporter = Careful::new(exporter(variables)?, longest, Arc::clone(&waiting));
    let processor = Bounded::new(BatchSpanProcessor::builder(exporter).build(), waiting);
    // Sampler and limits of spans are read by the SDK.
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(processor)
        .build())
}

/// The protocol is that of all signals: the variable of one has no effect (metrics.md 16.1).
fn over_grpc(variables: &Variables) -> Result<bool, Error> {
    match variables.get("OTEL_EXPORTER_OTLP_PROTOCOL") {
        None | Some("http/protobuf") => Ok(false),
        Some("grpc") => Ok(true),
        Some(other) => Err(Error::Protocol(other.to_owned())),
    }
}

/// An exporter of the library, whichever signal it is for.
macro_rules! exporter {
    ($kind:ident, $variables:expr) => {{
        let variables: &Variables = $variables;
        if over_grpc(variables)? {
            let builder = $kind::builder().with_tonic();
            match client::grpc_tls(variables)? {
                Some(tls) => builder.with_tls_config(tls),
                None => builder,
            }
            .build()?
        } else {
            $kind::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_http_client(client::Post::new(variables)?)
                .build()?
        }
    }};
}

fn exporter(variables: &Variables) -> Result<SpanExporter, Error> {
    Ok(exporter!(SpanExporter, variables))
}

fn log_exporter(variables: &Variables) -> Result<LogExporter, Error> {
    Ok(exporter!(LogExporter, variables))
}

#[cfg(test)]
mod tests;
