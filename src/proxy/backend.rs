//! One backend: its way, its options, its turns and its numbers. Every question passes here.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{
    Answer, Error, Failure, Granted, Kind, Question, ReadPem, Unusable,
    config::{LimitsConfig, Place, ProxyConfig},
    forward::Forwarding,
    gate::Gate,
    grpc, http, json,
    metrics::{InFlight, Metrics, Series},
    question::Carriage,
};
use crate::hooks::Feed;

/// Something a backend can be asked for one answer.
pub(crate) trait Answers: json::Fields + grpc::Unary + Send {}

impl<T: json::Fields + grpc::Unary + Send> Answers for T {}

/// The way to one backend.
#[derive(Debug)]
enum Way {
    Http(Box<http::Http>),
    Grpc(grpc::Grpc),
}

/// One backend with its options, shared by all questions that go there.
#[derive(Debug)]
pub(crate) struct Backend {
    way: Way,
    pub(super) forwarding: Forwarding,
    carriage: Carriage,
    timeout: Duration,
    gate: Gate,
    series: [Option<Series>; Kind::ALL.len()],
}

impl Backend {
    pub(super) fn new(
        place: Place<'_>,
        kinds: &[Kind],
        parts: &Parts<'_>,
    ) -> Result<Self, Unusable> {
        Self::build(place.proxy, place.name, kinds, parts).map_err(|why| Unusable {
            place: place.key.to_owned(),
            why,
        })
    }

    fn build(
        config: &ProxyConfig,
        name: &str,
        kinds: &[Kind],
        parts: &Parts<'_>,
    ) -> Result<Self, Error> {
        check(config, parts.read)?;
        let over_http = is_http(&config.endpoint);
        let way = if over_http {
            {
                let limit = parts.limits.max_response_size;
                Way::Http(Box::new(http::Http::new(config, limit, parts.read)?))
            }
        } else {
            Way::Grpc(grpc::Grpc::new(config, &parts.limits, parts.read)?)
        };
        let protocol = if over_http { "http" } else { "grpc" };
        let mut series = [const { None }; Kind::ALL.len()];
        for kind in kinds {
            series[kind.index()] = Some(parts.metrics.series([protocol, kind.name(), name]));
        }
        Ok(Self {
            way,
            forwarding: Forwarding::new(config, !over_http, parts.excluded)?,
            carriage: Carriage {
                binary: config.binary_encoding,
                meta: config.include_connection_meta,
            },
            timeout: config.timeout,
            gate: Gate::new(&parts.limits),
            series,
        })
    }

    /// Asks. Refusals of the backend are answers.
    ///
    /// # Errors
    /// The failure, which is counted and logged.
    pub(crate) async fn ask<T: Answers>(
        &self,
        kind: Kind,
        question: &Question<'_>,
    ) -> Result<Answer<T>, Failure> {
        // Boxed: what waits for a turn and a time limit would hold the call three times, and most never run all of it.
        let call = Box::pin(async {
            let headers = self
                .forwarding
                .headers(&question.client.peer, question.emulated);
            match &self.way {
                Way::Http(http) => {
                    let body = json::question(kind, question, self.carriage)?;
                    http.ask(body, headers).await
                }
                Way::Grpc(grpc) => {
                    let request = T::request(question, self.carriage);
                    Box::pin(grpc.ask(request, headers, self.timeout)).await
                }
            }
        });
        self.counted(kind, call)
            .await
            .inspect_err(|failure| log(kind, question, *failure))
    }

    /// Opens a stream that feeds a subscription.
    ///
    /// # Errors
    /// The failure, which is counted and logged.
    pub(crate) async fn open(
        &self,
        question: &Question<'_>,
        bidirectional: bool,
    ) -> Result<(Answer<Granted>, Feed), Failure> {
        let kind = Kind::SubscribeStream;
        let call = Box::pin(async {
            let headers = self
                .forwarding
                .headers(&question.client.peer, question.emulated);
            let Way::Grpc(grpc) = &self.way else {
                return Err(Failure::Connect);
            };
            grpc.open(
                question,
                self.carriage,
                headers,
                (bidirectional, self.timeout),
            )
            .await
        });
        self.counted(kind, call)
            .await
            .inspect_err(|failure| log(kind, question, *failure))
    }

    /// Waits for a turn and runs a call within the time limit; counts both.
    async fn counted<T>(
        &self,
        kind: Kind,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(series) = &self.series[kind.index()] else {
            return Err(Failure::Connect);
        };
        let outcome = async {
            let _turn = self.gate.enter(&series.waiting).await?;
            let _running = InFlight::new(&series.inflight);
            let started = Instant::now();
            let outcome = timeout(self.timeout, call).await;
            series.took(started.elapsed());
            outcome.unwrap_or(Err(Failure::Timeout))
        };
        outcome.await.inspect_err(|failure| series.failed(failure))
    }
}

fn log(kind: Kind, question: &Question<'_>, error: Failure) {
    let client = &question.client.id;
    let channel = (!question.channel.is_empty()).then_some(question.channel);
    tracing::error!(%error, %client, channel, "error proxying {}", kind.name());
}

/// What every backend is made with.
pub(super) struct Parts<'a> {
    pub(super) limits: LimitsConfig,
    pub(super) metrics: &'a Metrics,
    pub(super) excluded: &'a [&'a str],
    pub(super) read: ReadPem,
}

/// Everything that can be checked without connecting.
pub(super) fn check(config: &ProxyConfig, read: ReadPem) -> Result<(), Error> {
    if config.endpoint.is_empty() {
        return Err(Error::NoEndpoint);
    }
    if config.timeout.is_zero() {
        return Err(Error::NoTimeout);
    }
    let over_http = is_http(&config.endpoint);
    Forwarding::new(config, !over_http, &[])?;
    if over_http {
        http::check(config, read)
    } else {
        grpc::check(config, read)
    }
}

/// The scheme decides the way.
fn is_http(endpoint: &str) -> bool {
    endpoint.starts_with("http://") || endpoint.starts_with("https://")
}
