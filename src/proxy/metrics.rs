//! Metrics of the proxies (metrics.md 8, proxy.md 19): how long questions take, which fail and why, how many wait.

use std::{sync::Arc, time::Duration};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::Failure;
use crate::summary::{Summary, SummaryVec};

const LABELS: [&str; 3] = ["protocol", "type", "name"];

/// The metrics. One per registry.
#[derive(Debug)]
pub(super) struct Metrics {
    durations: HistogramVec,
    quantiles: SummaryVec,
    errors: IntCounterVec,
    inflight: IntGaugeVec,
    waiting: IntGaugeVec,
    waits: HistogramVec,
    failures: IntCounterVec,
}

/// The series of one kind of question to one proxy.
#[derive(Debug)]
pub(super) struct Series {
    duration: Histogram,
    quantiles: Arc<Summary>,
    errors: IntCounter,
    pub(super) inflight: IntGauge,
    pub(super) waiting: IntGauge,
    /// How long those waited who did not find a free place.
    pub(super) waits: Histogram,
    failures: [IntCounter; Failure::REASONS.len()],
}

impl Metrics {
    pub(super) fn new(registry: &Registry, namespace: &str) -> Result<Self, prometheus::Error> {
        let options = |name: &str, help: &str| Opts::new(name, help).namespace(namespace);
        let own = |name: &str, help: &str| Opts::new(name, help).namespace("centripetal");
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "proxy_duration_seconds_histogram",
                "Duration of questions to the backend in seconds.",
            )
            .namespace(namespace),
            &LABELS,
        )?;
        let quantiles = SummaryVec::new(
            options(
                "proxy_duration_seconds",
                "Duration of questions to the backend in seconds.",
            ),
            &LABELS,
        )?;
        let errors = IntCounterVec::new(
            options("proxy_errors", "Failed questions to the backend."),
            &LABELS,
        )?;
        let inflight = IntGaugeVec::new(
            options(
                "proxy_inflight_requests",
                "Questions the backend is working on.",
            ),
            &LABELS,
        )?;
        let waiting = IntGaugeVec::new(
            own(
                "proxy_waiting_requests",
                "Questions that wait for their turn.",
            ),
            &LABELS,
        )?;
        let waits = waits()?;
        registry.register(Box::new(waits.clone()))?;
        let failures = IntCounterVec::new(
            own(
                "proxy_failures_total",
                "Failed questions to the backend by reason.",
            ),
            &[LABELS[0], LABELS[1], LABELS[2], "reason"],
        )?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(quantiles.clone()))?;
        registry.register(Box::new(errors.clone()))?;
        registry.register(Box::new(inflight.clone()))?;
        registry.register(Box::new(waiting.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        Ok(Self {
            durations,
            quantiles,
            errors,
            inflight,
            waiting,
            waits,
            failures,
        })
    }

    /// The series of these labels: protocol, kind of question, name of the proxy. They show from now on.
    pub(super) fn series(&self, labels: [&str; 3]) -> Series {
        let [protocol, kind, name] = labels;
        Series {
            duration: self.durations.with_label_values(&labels),
            quantiles: self.quantiles.with_label_values(&labels),
            errors: self.errors.with_label_values(&labels),
            inflight: self.inflight.with_label_values(&labels),
            waiting: self.waiting.with_label_values(&labels),
            waits: self.waits.with_label_values(&labels),
            failures: Failure::REASONS.map(|reason| {
                self.failures
                    .with_label_values(&[protocol, kind, name, reason])
            }),
        }
    }
}

fn waits() -> Result<HistogramVec, prometheus::Error> {
    let help = "Time that questions waited for their turn, those that had to.";
    let options = HistogramOpts::new("centripetal_proxy_wait_duration_seconds", help);
    HistogramVec::new(options, &LABELS)
}

impl Series {
    /// A call has ended. One that was given up because the client went away does not come here.
    pub(super) fn took(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.duration.observe(seconds);
        self.quantiles.observe(seconds);
    }

    /// A question failed.
    pub(super) fn failed(&self, failure: &Failure) {
        self.errors.inc();
        self.failures[failure.index()].inc();
    }
}

/// One call in progress; over when dropped.
pub(super) struct InFlight<'a>(&'a IntGauge);

impl<'a> InFlight<'a> {
    pub(super) fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
