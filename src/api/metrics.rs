//! Metrics of the server API (metrics.md 7): how long commands take, and which fail.
//!
//! Series appear with their first use. The metric of RPC methods has none, as there are no methods, so it is left out.

use std::{sync::OnceLock, time::Duration};

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::{Via, method::Method};
use crate::summary::{Summary, SummaryVec};

/// Label values for what is not a method.
pub(super) const BATCH: &str = "batch";
pub(super) const BROADCAST_PUBLISH: &str = "broadcast_publish";
pub(super) const UNKNOWN: &str = "unknown";

/// The metrics. One per registry.
#[derive(Debug)]
pub struct Metrics {
    durations: HistogramVec,
    quantiles: SummaryVec,
    errors: IntCounterVec,
    /// Series by protocol and method, so that a command neither hashes labels nor locks a vector.
    series: [[OnceLock<Series>; Method::ALL.len()]; Via::PROTOCOLS.len()],
}

#[derive(Debug)]
struct Series {
    duration: Histogram,
    quantiles: std::sync::Arc<Summary>,
}

impl Metrics {
    /// Registers the metrics; `namespace` is the first part of their names (`centripetal.metrics.namespace`).
    ///
    /// # Errors
    /// When the names are taken or the namespace cannot be part of a name.
    pub fn new(registry: &Registry, namespace: &str) -> Result<Self, prometheus::Error> {
        let labels = &["protocol", "method"];
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "api_command_duration_seconds_histogram",
                "Duration of API commands in seconds.",
            )
            .namespace(namespace),
            labels,
        )?;
        let quantiles = SummaryVec::new(
            Opts::new(
                "api_command_duration_seconds",
                "Duration of API commands in seconds.",
            )
            .namespace(namespace),
            labels,
        )?;
        let errors = IntCounterVec::new(
            Opts::new("api_command_errors_total", "Failed API commands.").namespace(namespace),
            &["protocol", "method", "error"],
        )?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(quantiles.clone()))?;
        registry.register(Box::new(errors.clone()))?;
        Ok(Self {
            durations,
            quantiles,
            errors,
            series: Default::default(),
        })
    }

    /// A command was run.
    pub(super) fn took(&self, via: Via, method: Method, duration: Duration) {
        let series = self.series[via.index()][method as usize].get_or_init(|| {
            let labels = [via.protocol(), method.name()];
            Series {
                duration: self.durations.with_label_values(&labels),
                quantiles: self.quantiles.with_label_values(&labels),
            }
        });
        let seconds = duration.as_secs_f64();
        series.duration.observe(seconds);
        series.quantiles.observe(seconds);
    }

    /// A command failed with `error`: a number, or what went wrong around it. Legacy commands are not counted.
    pub(super) fn failed(&self, via: Via, method: &str, error: &str) {
        if via != Via::Legacy {
            self.errors
                .with_label_values(&[via.protocol(), method, error])
                .inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    fn exposition(registry: &Registry) -> String {
        TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap()
    }

    #[test]
    fn series_appear_with_their_first_use() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry, "centrifugo").unwrap();
        assert_eq!(exposition(&registry), "");
        metrics.took(Via::Http, Method::Publish, Duration::from_millis(20));
        metrics.took(Via::Legacy, Method::Publish, Duration::from_millis(20));
        metrics.took(Via::Grpc, Method::Rpc, Duration::from_secs(3));
        metrics.failed(Via::Http, "publish", "102");
        metrics.failed(Via::Grpc, BROADCAST_PUBLISH, "107");
        metrics.failed(Via::Legacy, "publish", "102");
        let text = exposition(&registry);
        for line in [
            "centrifugo_api_command_duration_seconds_count{method=\"publish\",protocol=\"http\"} 2",
            "centrifugo_api_command_duration_seconds_count{method=\"rpc\",protocol=\"grpc\"} 1",
            "centrifugo_api_command_duration_seconds_sum{method=\"rpc\",protocol=\"grpc\"} 3",
            "centrifugo_api_command_duration_seconds_histogram_bucket{method=\"publish\",protocol=\"http\",le=\"0.025\"} 2",
            "centrifugo_api_command_duration_seconds_histogram_bucket{method=\"publish\",protocol=\"http\",le=\"0.01\"} 0",
            "centrifugo_api_command_errors_total{error=\"102\",method=\"publish\",protocol=\"http\"} 1",
            "centrifugo_api_command_errors_total{error=\"107\",method=\"broadcast_publish\",protocol=\"grpc\"} 1",
            "# TYPE centrifugo_api_command_duration_seconds summary",
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in\n{text}"
            );
        }
        assert!(text.contains("quantile=\"0.5\"") && text.contains("quantile=\"0.999\""));
        assert!(!text.contains("subscribe"), "{text}");
    }

    #[test]
    fn a_second_instance_on_one_registry_is_refused() {
        let registry = Registry::new();
        let _first = Metrics::new(&registry, "centrifugo").unwrap();
        assert!(Metrics::new(&registry, "centrifugo").is_err());
        assert!(Metrics::new(&registry, "other").is_ok());
    }
}
