//! An engine whose calls are counted and measured: what a round trip takes, by operation.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};
use tokio::time::Instant;

use super::{
    Broker, Engine, Error, History, HistoryQuery, Presence, PresenceStats, PublishOptions,
    PublishResult,
};
use crate::model::{Channel, ChannelEvent, ClientId, ClientInfo, Publication};

/// Borders of a call's duration, seconds: from memory at hand to a Redis in trouble.
const BORDERS: [f64; 14] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0,
    5.0, 10.0,
];

/// One kind of call.
#[derive(Debug)]
struct Operation {
    duration: Histogram,
    errors: IntCounter,
}

/// Every kind of call.
#[derive(Debug)]
struct Operations {
    subscribe: Operation,
    unsubscribe: Operation,
    publish: Operation,
    announce: Operation,
    history: Operation,
    remove_history: Operation,
    add_presence: Operation,
    remove_presence: Operation,
    presence: Operation,
    presence_stats: Operation,
}

struct Timed<T: ?Sized> {
    inner: Arc<T>,
    operations: Arc<Operations>,
}

/// Puts a clock around the calls of an engine that wait for its storage.
///
/// # Errors
/// When a name is taken in the registry.
pub(crate) fn timed(engine: Engine, registry: &Registry) -> Result<Engine, prometheus::Error> {
    let operations = Arc::new(Operations::new(registry)?);
    Ok(Engine {
        broker: Arc::new(Timed {
            inner: engine.broker,
            operations: Arc::clone(&operations),
        }),
        presence: Arc::new(Timed {
            inner: engine.presence,
            operations,
        }),
        control: engine.control,
    })
}

impl Operations {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Duration of calls of the engine in seconds.";
        let options = HistogramOpts::new("centripetal_engine_duration_seconds", help);
        let durations = HistogramVec::new(options.buckets(BORDERS.to_vec()), &["operation"])?;
        let help = "Calls of the engine that failed.";
        let options = Opts::new("centripetal_engine_errors_total", help);
        let errors = IntCounterVec::new(options, &["operation"])?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(errors.clone()))?;
        let operation = |name| Operation {
            duration: durations.with_label_values(&[name]),
            errors: errors.with_label_values(&[name]),
        };
        Ok(Self {
            subscribe: operation("subscribe"),
            unsubscribe: operation("unsubscribe"),
            publish: operation("publish"),
            announce: operation("announce"),
            history: operation("history"),
            remove_history: operation("remove_history"),
            add_presence: operation("add_presence"),
            remove_presence: operation("remove_presence"),
            presence: operation("presence"),
            presence_stats: operation("presence_stats"),
        })
    }
}

impl Operation {
    async fn measure<T>(
        &self,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let outcome = call.await;
        self.duration.observe(started.elapsed().as_secs_f64());
        // Another epoch is an answer, and a bad question is not the engine's fault.
        let failed = !matches!(
            outcome,
            Ok(_)
                | Err(Error::UnrecoverablePosition(_)
                    | Error::BadQuery
                    | Error::BadChannel(_)
                    | Error::Closed)
        );
        if failed {
            self.errors.inc();
        }
        outcome
    }
}

#[async_trait]
impl Broker for Timed<dyn Broker> {
    async fn subscribe(&self, channel: &Channel) -> Result<(), Error> {
        let call = self.inner.subscribe(channel);
        self.operations.subscribe.measure(call).await
    }

    async fn unsubscribe(&self, channel: &Channel) -> Result<(), Error> {
        let call = self.inner.unsubscribe(channel);
        self.operations.unsubscribe.measure(call).await
    }

    async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
    ) -> Result<PublishResult, Error> {
        let call = self.inner.publish(channel, publication, options);
        self.operations.publish.measure(call).await
    }

    async fn announce(&self, channel: &Channel, event: ChannelEvent) -> Result<(), Error> {
        let call = self.inner.announce(channel, event);
        self.operations.announce.measure(call).await
    }

    async fn history(&self, channel: &Channel, query: &HistoryQuery) -> Result<History, Error> {
        let call = self.inner.history(channel, query);
        self.operations.history.measure(call).await
    }

    async fn remove_history(&self, channel: &Channel, meta_ttl: Duration) -> Result<(), Error> {
        let call = self.inner.remove_history(channel, meta_ttl);
        self.operations.remove_history.measure(call).await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.inner.ready().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Presence for Timed<dyn Presence> {
    async fn add(&self, channel: &Channel, info: &Arc<ClientInfo>) -> Result<(), Error> {
        let call = self.inner.add(channel, info);
        self.operations.add_presence.measure(call).await
    }

    async fn remove(&self, channel: &Channel, client: &ClientId) -> Result<(), Error> {
        let call = self.inner.remove(channel, client);
        self.operations.remove_presence.measure(call).await
    }

    async fn list(&self, channel: &Channel) -> Result<BTreeMap<ClientId, Arc<ClientInfo>>, Error> {
        let call = self.inner.list(channel);
        self.operations.presence.measure(call).await
    }

    async fn stats(&self, channel: &Channel) -> Result<PresenceStats, Error> {
        let call = self.inner.stats(channel);
        self.operations.presence_stats.measure(call).await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.inner.ready().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{event_channel, memory::Memory};

    #[tokio::test]
    async fn calls_are_measured_and_failures_counted() {
        let registry = Registry::new();
        // One place, and nobody who empties it.
        let (sender, _events) = event_channel(1, 1, Duration::from_millis(1));
        let engine = timed(Memory::new(sender).into_engine(), &registry).unwrap();
        let channel = Channel::from("news");
        let options = PublishOptions::default();
        engine.broker.subscribe(&channel).await.unwrap();
        for taken in [true, false] {
            let publication = Publication::default();
            let published = engine.broker.publish(&channel, publication, &options);
            assert_eq!(published.await.is_ok(), taken);
        }
        engine.presence.stats(&channel).await.unwrap();
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        for line in [
            "centripetal_engine_duration_seconds_count{operation=\"publish\"} 2",
            "centripetal_engine_errors_total{operation=\"publish\"} 1",
            "centripetal_engine_duration_seconds_count{operation=\"presence_stats\"} 1",
            "centripetal_engine_errors_total{operation=\"presence_stats\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
