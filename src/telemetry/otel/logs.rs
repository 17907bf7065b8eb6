//! Log lines as OTLP records, beside the lines themselves. What the exporter says of its own failures is not among them.

use std::sync::{Arc, OnceLock, Weak};

use opentelemetry::{
    InstrumentationScope,
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity},
};
use opentelemetry_otlp::LogExporter as Otlp;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{
        BatchLogProcessor, LogBatch, LogExporter, LogProcessor, SdkLogRecord, SdkLogger,
        SdkLoggerProvider,
    },
};
use serde_json::{Map, Value};

use super::{super::Level, export::Waiting};

/// Where lines go beside their output, once somebody has set it.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<OnceLock<Output>>);

struct Output {
    logger: SdkLogger,
    /// Records that come when the exporter has ended are lost anyway.
    alive: Weak<()>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Output")
    }
}

impl Records {
    /// Hands a line on. Costs a look when nobody wants any.
    pub(in crate::telemetry) fn push(
        &self,
        target: &str,
        level: Level,
        message: &str,
        values: &Map<String, Value>,
    ) {
        let Some(output) = self
            .0
            .get()
            .filter(|output| output.alive.strong_count() > 0)
        else {
            return;
        };
        // A failure to export must not become something to export.
        if target.starts_with("centripetal::telemetry") {
            return;
        }
        let mut record = output.logger.create_log_record();
        let (number, text) = severity(level);
        record.set_severity_number(number);
        record.set_severity_text(text);
        record.set_body(AnyValue::from(message.to_owned()));
        for (name, value) in values {
            record.add_attribute(name.clone(), any(value));
        }
        output.logger.emit(record);
    }

    /// From now on lines go to this provider; the first one stays. Not once the returned value is dropped.
    pub(super) fn open(&self, provider: &SdkLoggerProvider) -> Arc<()> {
        let alive = Arc::new(());
        let output = Output {
            logger: provider.logger(env!("CARGO_PKG_NAME")),
            alive: Arc::downgrade(&alive),
        };
        if self.0.set(output).is_err() {
            tracing::warn!("log lines are exported by another gateway of this process already");
        }
        alive
    }
}

const fn severity(level: Level) -> (Severity, &'static str) {
    match level {
        Level::Trace => (Severity::Trace, "TRACE"),
        Level::Debug => (Severity::Debug, "DEBUG"),
        Level::Info => (Severity::Info, "INFO"),
        Level::Warn => (Severity::Warn, "WARN"),
        Level::Error => (Severity::Error, "ERROR"),
        Level::Fatal | Level::None => (Severity::Fatal, "FATAL"),
    }
}

fn any(value: &Value) -> AnyValue {
    match value {
        Value::Bool(on) => AnyValue::from(*on),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => AnyValue::from(whole),
            (None, Some(float)) => AnyValue::from(float),
            (None, None) => AnyValue::from(number.to_string()),
        },
        Value::String(text) => AnyValue::from(text.clone()),
        other => AnyValue::from(other.to_string()),
    }
}

/// A provider with a counted bound.
pub(super) fn provider(
    exporter: Otlp,
    resource: Resource,
    waiting: &Arc<Waiting>,
) -> SdkLoggerProvider {
    let exporter = Counted {
        inner: exporter,
        waiting: Arc::clone(waiting),
    };
    let processor = Bounded {
        inner: BatchLogProcessor::builder(exporter).build(),
        waiting: Arc::clone(waiting),
    };
    SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_log_processor(processor)
        .build()
}

#[derive(Debug)]
struct Bounded {
    inner: BatchLogProcessor,
    waiting: Arc<Waiting>,
}

impl LogProcessor for Bounded {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.waiting.enter() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[derive(Debug)]
struct Counted {
    inner: Otlp,
    waiting: Arc<Waiting>,
}

impl LogExporter for Counted {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.waiting.left(batch.iter().count());
        let sent = self.inner.export(batch).await;
        if let Err(error) = &sent {
            tracing::error!(%error, "opentelemetry error");
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
