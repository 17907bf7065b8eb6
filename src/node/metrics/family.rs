//! Registering metrics under one prefix, and the sets of borders of metrics.md 3.

use std::sync::Arc;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

use crate::summary::{Summary, SummaryVec};

/// Borders of very short durations, seconds (set NS).
pub(super) const NS: [f64; 19] = [
    0.000_001, 0.000_005, 0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Borders of short durations, seconds (set US).
pub(super) const US: [f64; 15] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];

/// Borders of longer durations, seconds (set MS).
pub(super) const MS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Registers metrics under one prefix.
pub(super) struct Family<'a> {
    pub(super) registry: &'a Registry,
    pub(super) prefix: &'a str,
}

impl Family<'_> {
    fn name(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(
            Opts::new(self.name(name), help),
            labels,
        )?)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(self.name(name), help)?)
    }

    pub(super) fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(self.name(name), help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(self.name(name), help)?)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        borders: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(self.name(name), help).buckets(borders.to_vec());
        self.register(HistogramVec::new(options, labels)?)
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        borders: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(self.name(name), help).buckets(borders.to_vec());
        self.register(Histogram::with_opts(options)?)
    }

    /// A summary, and the histogram of the same name with `_histogram` behind it.
    pub(super) fn twin(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        borders: &[f64],
    ) -> Result<Twin, prometheus::Error> {
        let summary = SummaryVec::new(Opts::new(self.name(name), help), labels)?;
        Ok(Twin {
            summary: self.register(summary)?,
            histogram: self.histograms(&format!("{name}_histogram"), help, labels, borders)?,
        })
    }
}

/// Durations as summary and as histogram.
#[derive(Debug)]
pub(super) struct Twin {
    summary: SummaryVec,
    histogram: HistogramVec,
}

/// The series of both with the same labels.
#[derive(Debug)]
pub(in crate::node) struct TwinSeries {
    summary: Arc<Summary>,
    histogram: Histogram,
}

impl Twin {
    pub(super) fn series(&self, labels: &[&str]) -> TwinSeries {
        TwinSeries {
            summary: self.summary.with_label_values(labels),
            histogram: self.histogram.with_label_values(labels),
        }
    }
}

impl TwinSeries {
    pub(in crate::node) fn observe(&self, seconds: f64) {
        self.summary.observe(seconds);
        self.histogram.observe(seconds);
    }
}
