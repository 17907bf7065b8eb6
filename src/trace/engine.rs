//! An engine with a span around every call that is part of a recorded trace; publications take theirs along.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use opentelemetry::trace::SpanKind;

use super::{Span, Tracer};
use crate::{
    engine::{
        Broker, Control, Engine, Error, History, HistoryQuery, Presence, PresenceStats,
        PublishOptions, PublishResult,
    },
    model::{
        Channel, ChannelEvent, ClientId, ClientInfo, Control as ControlCommand, NodeId, Publication,
    },
};

/// The engine with spans. Without tracing nobody makes one, so nothing is in the way.
#[must_use]
pub fn traced(engine: Engine, tracer: &Tracer) -> Engine {
    let Engine {
        broker,
        presence,
        control,
    } = engine;
    Engine {
        broker: Arc::new(Traced::new(broker, tracer)),
        presence: Arc::new(Traced::new(presence, tracer)),
        control: Arc::new(Traced::new(control, tracer)),
    }
}

struct Traced<T: ?Sized> {
    inner: Arc<T>,
    tracer: Tracer,
}

impl<T: ?Sized> Traced<T> {
    fn new(inner: Arc<T>, tracer: &Tracer) -> Self {
        Self {
            inner,
            tracer: tracer.clone(),
        }
    }

    fn span(&self, name: &'static str, channel: Option<&Channel>) -> Option<Span> {
        let kind = if name == PUBLISH {
            SpanKind::Producer
        } else {
            SpanKind::Client
        };
        let span = self.tracer.part(name, kind)?;
        if let Some(channel) = channel {
            span.set("centrifugo.channel", channel.as_str().to_owned());
        }
        Some(span)
    }

    /// Runs a call of the engine inside of its span.
    async fn call<R>(
        &self,
        name: &'static str,
        channel: Option<&Channel>,
        call: impl Future<Output = Result<R, Error>> + Send,
    ) -> Result<R, Error> {
        let Some(span) = self.span(name, channel) else {
            return call.await;
        };
        within(&span, call).await
    }
}

async fn within<R>(
    span: &Span,
    call: impl Future<Output = Result<R, Error>> + Send,
) -> Result<R, Error> {
    let outcome = span.inside(call).await;
    if let Err(error) = &outcome {
        span.fail(error.to_string());
    }
    span.end();
    outcome
}

const PUBLISH: &str = "engine publish";

#[async_trait]
impl Broker for Traced<dyn Broker> {
    async fn subscribe(&self, channel: &Channel) -> Result<(), Error> {
        let call = self.inner.subscribe(channel);
        self.call("engine subscribe", Some(channel), call).await
    }

    async fn unsubscribe(&self, channel: &Channel) -> Result<(), Error> {
        let call = self.inner.unsubscribe(channel);
        self.call("engine unsubscribe", Some(channel), call).await
    }

    async fn publish(
        &self,
        channel: &Channel,
        mut publication: Publication,
        options: &PublishOptions,
    ) -> Result<PublishResult, Error> {
        let Some(span) = self.span(PUBLISH, Some(channel)) else {
            return self.inner.publish(channel, publication, options).await;
        };
        publication.trace = span.context();
        let call = self.inner.publish(channel, publication, options);
        within(&span, call).await
    }

    async fn announce(&self, channel: &Channel, event: ChannelEvent) -> Result<(), Error> {
        let call = self.inner.announce(channel, event);
        self.call("engine announce", Some(channel), call).await
    }

    async fn history(&self, channel: &Channel, query: &HistoryQuery) -> Result<History, Error> {
        let call = self.inner.history(channel, query);
        self.call("engine history", Some(channel), call).await
    }

    async fn remove_history(&self, channel: &Channel, meta_ttl: Duration) -> Result<(), Error> {
        let call = self.inner.remove_history(channel, meta_ttl);
        self.call("engine remove_history", Some(channel), call)
            .await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.inner.ready().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Presence for Traced<dyn Presence> {
    async fn add(&self, channel: &Channel, info: &Arc<ClientInfo>) -> Result<(), Error> {
        let call = self.inner.add(channel, info);
        self.call("engine add_presence", Some(channel), call).await
    }

    async fn remove(&self, channel: &Channel, client: &ClientId) -> Result<(), Error> {
        let call = self.inner.remove(channel, client);
        self.call("engine remove_presence", Some(channel), call)
            .await
    }

    async fn list(&self, channel: &Channel) -> Result<BTreeMap<ClientId, Arc<ClientInfo>>, Error> {
        let call = self.inner.list(channel);
        self.call("engine presence", Some(channel), call).await
    }

    async fn stats(&self, channel: &Channel) -> Result<PresenceStats, Error> {
        let call = self.inner.stats(channel);
        self.call("engine presence_stats", Some(channel), call)
            .await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.inner.ready().await
    }
}

#[async_trait]
impl Control for Traced<dyn Control> {
    async fn send(&self, to: Option<&NodeId>, command: &ControlCommand) -> Result<(), Error> {
        let call = self.inner.send(to, command);
        self.call("engine control", None, call).await
    }
}
