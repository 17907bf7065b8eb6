//! Events turned into lines: JSON or coloured text, with the fields of the spans around them.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Local, SecondsFormat, TimeZone as _};
use serde_json::{Map, Value};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{Level, otel::Records, queue::Queue};
use crate::model::Now;

/// Target of events after which the process ends; they are written with level `fatal`.
pub const FATAL: &str = "fatal";

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Json,
    Terminal,
}

/// The layer that turns events into lines.
#[derive(Debug)]
pub(super) struct Lines {
    level: Level,
    style: Style,
    queue: Arc<Queue>,
    records: Records,
}

impl Lines {
    pub(super) const fn new(
        level: Level,
        style: Style,
        queue: Arc<Queue>,
        records: Records,
    ) -> Self {
        Self {
            level,
            style,
            queue,
            records,
        }
    }

    /// Spans are kept at any level, because lines carry their fields. Other crates speak from warn up.
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target() == FATAL || metadata.target().starts_with("centripetal");
        if self.level == Level::None || metadata.is_span() {
            return ours && self.level != Level::None;
        }
        let level = level_of(metadata);
        level >= self.level && (ours || level >= Level::Warn)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Never below info, or the spans whose fields lines carry would be gone.
        Some(match self.level {
            Level::Trace => LevelFilter::TRACE,
            Level::Debug => LevelFilter::DEBUG,
            Level::Info | Level::Warn | Level::Error | Level::Fatal => LevelFilter::INFO,
            Level::None => LevelFilter::OFF,
        })
    }

    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.inherit(outer);
            }
        }
        let level = level_of(event.metadata());
        let target = event.metadata().target();
        self.records
            .push(target, level, &fields.message, &fields.values);
        let line = match self.style {
            Style::Json => json(level, fields, now()),
            Style::Terminal => text(level, &fields, now()),
        };
        self.queue.push(line);
    }
}

fn level_of(metadata: &Metadata<'_>) -> Level {
    if metadata.target() == FATAL {
        return Level::Fatal;
    }
    match *metadata.level() {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::ERROR => Level::Error,
    }
}

fn now() -> DateTime<Local> {
    let now = Now::at(tokio::time::Instant::now().into_std());
    Local
        .timestamp_millis_opt(now.unix_ms)
        .single()
        .unwrap_or_default()
}

/// Fields of an event or a span, the message apart.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    values: Map<String, Value>,
}

impl Fields {
    /// Adds the fields of an outer span; the inner ones win.
    fn inherit(&mut self, outer: &Self) {
        for (name, value) in &outer.values {
            if !self.values.contains_key(name) {
                self.values.insert(name.clone(), value.clone());
            }
        }
    }

    fn add(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
        } else {
            // `r#type` is written by whom a keyword stands in the way.
            let name = field.name().trim_start_matches("r#");
            self.values.insert(name.to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, value.to_string().into());
    }
}

const fn name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Fatal => "fatal",
        Level::None => "none",
    }
}

/// `level`, the fields, `time`, `message`: the order that people's tools show first and last.
fn json(level: Level, fields: Fields, now: DateTime<Local>) -> String {
    let mut line = Map::new();
    line.insert("level".to_owned(), name(level).into());
    line.extend(fields.values);
    let time = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    line.insert("time".to_owned(), time.into());
    line.insert("message".to_owned(), fields.message.into());
    format!("{}\n", Value::Object(line))
}

fn text(level: Level, fields: &Fields, now: DateTime<Local>) -> String {
    let (colour, short) = match level {
        Level::Trace => (35, "TRC"),
        Level::Debug => (33, "DBG"),
        Level::Info | Level::None => (32, "INF"),
        Level::Warn => (33, "WRN"),
        Level::Error => (31, "ERR"),
        Level::Fatal => (31, "FTL"),
    };
    let mut line = format!(
        "\x1b[90m{}\x1b[0m \x1b[{colour}m[{short}]\x1b[0m {}",
        now.format("%Y-%m-%d %H:%M:%S"),
        printable(&fields.message),
    );
    for (name, value) in &fields.values {
        let value = match value.as_str() {
            Some(text) if !text.is_empty() && !text.contains(' ') => printable(text),
            _ => printable(&value.to_string()),
        };
        line.push_str(&format!(" \x1b[36m{name}=\x1b[0m{value}"));
    }
    line.push('\n');
    line
}

/// Control characters escaped: what a peer sent must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// A whole line of level fatal.
pub(super) fn fatal_line(message: &str, error: &str) -> String {
    let fields = Fields {
        message: message.to_owned(),
        values: Map::from_iter([("error".to_owned(), Value::from(error))]),
    };
    json(Level::Fatal, fields, now())
}
