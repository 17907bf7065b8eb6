//! What stands in front of the library's exporter: a queue that counts what it drops, limits, and a line for each failure.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::{Context, KeyValue, StringValue, Value};
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};
use prometheus::IntCounter;

/// How many spans wait. The library drops in silence, so nothing more is given to it than it has room for.
#[derive(Debug)]
pub(super) struct Waiting {
    now: AtomicUsize,
    most: usize,
    dropped: IntCounter,
}

impl Waiting {
    pub(super) fn new(most: usize, dropped: IntCounter) -> Self {
        Self {
            now: AtomicUsize::new(0),
            most,
            dropped,
        }
    }

    /// True when there is a place, which is taken then.
    pub(super) fn enter(&self) -> bool {
        let room = |now: usize| (now < self.most).then_some(now + 1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let entered = self.now.fetch_update(set, fetch, room).is_ok();
        if !entered {
            self.dropped.inc();
        }
        entered
    }

    pub(super) fn left(&self, count: usize) {
        self.now.fetch_sub(count, Ordering::Relaxed);
    }
}

/// A batch processor with a counted bound.
#[derive(Debug)]
pub(super) struct Bounded {
    inner: BatchSpanProcessor,
    waiting: Arc<Waiting>,
}

impl Bounded {
    pub(super) const fn new(inner: BatchSpanProcessor, waiting: Arc<Waiting>) -> Self {
        Self { inner, waiting }
    }
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        // The library passes over what is not sampled.
        if span.span_context.is_sampled() && self.waiting.enter() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An exporter that keeps to the limit of values, sends each attribute once, and logs what goes wrong.
#[derive(Debug)]
pub(super) struct Careful {
    inner: Otlp,
    longest: Option<usize>,
    waiting: Arc<Waiting>,
}

impl Careful {
    pub(super) const fn new(inner: Otlp, longest: Option<usize>, waiting: Arc<Waiting>) -> Self {
        Self {
            inner,
            longest,
            waiting,
        }
    }
}

impl SpanExporter for Careful {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        self.waiting.left(batch.len());
        for span in &mut batch {
            once(&mut span.attributes);
            if let Some(longest) = self.longest {
                shorten(&mut span.attributes, longest);
            }
        }
        let sent = self.inner.export(batch).await;
        if let Err(error) = &sent {
            tracing::error!(%error, "opentelemetry error");
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// The last value of a name stays; the library keeps them all.
fn once(attributes: &mut Vec<KeyValue>) {
    let mut seen = HashSet::new();
    let last: Vec<bool> = attributes
        .iter()
        .rev()
        .map(|attribute| seen.insert(attribute.key.clone()))
        .collect();
    let mut last = last.into_iter().rev();
    attributes.retain(|_| last.next().unwrap_or(true));
}

/// Cuts texts after so many characters.
fn shorten(attributes: &mut [KeyValue], longest: usize) {
    for attribute in attributes {
        if let Value::String(text) = &attribute.value
            && let Some((end, _)) = text.as_str().char_indices().nth(longest)
        {
            let short = text.as_str()[..end].to_owned();
            attribute.value = Value::String(StringValue::from(short));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let dropped = IntCounter::new("d", "d").unwrap();
        let waiting = Waiting::new(2, dropped.clone());
        assert!(waiting.enter() && waiting.enter());
        assert!(!waiting.enter());
        assert_eq!(dropped.get(), 1);
        waiting.left(1);
        assert!(waiting.enter());
    }

    #[test]
    fn the_last_value_stays_and_long_ones_are_cut() {
        let mut attributes = vec![
            KeyValue::new("a", "first"),
            KeyValue::new("b", 7),
            KeyValue::new("a", "größer"),
        ];
        once(&mut attributes);
        shorten(&mut attributes, 4);
        assert_eq!(
            attributes,
            [KeyValue::new("b", 7), KeyValue::new("a", "größ")]
        );
    }
}
