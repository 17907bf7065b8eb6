//! The metrics of the registry as OTLP, pushed at an interval: cumulative, under the names they have for Prometheus.

use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, metric::Data,
        number_data_point::Value, summary_data_point::ValueAtQuantile,
    },
    resource::v1::Resource as WireResource,
};
use opentelemetry_sdk::Resource;
use prometheus::{
    Registry,
    proto::{Metric as Point, MetricFamily, MetricType},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::send::Sender;
use crate::model::Now;

/// Pushes what a registry holds.
#[derive(Debug)]
pub(super) struct Pusher {
    pub(super) registry: Registry,
    pub(super) resource: Resource,
    pub(super) sender: Sender,
    pub(super) every: Duration,
}

/// From when on counters count, and when they were read; nanoseconds.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    now: u64,
}

fn nanoseconds() -> u64 {
    let now = Now::at(Instant::now().into_std());
    u64::try_from(now.unix_ms).unwrap_or(0) * 1_000_000
}

impl Pusher {
    /// Pushes at the interval until the end, and once more then.
    pub(super) async fn run(self: Arc<Self>, end: CancellationToken) {
        let start = nanoseconds();
        let mut ticks = interval_at(Instant::now() + self.every, self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let more = end.run_until_cancelled(ticks.tick()).await.is_some();
            self.push(start).await;
            if !more {
                return;
            }
        }
    }

    async fn push(&self, start: u64) {
        let span = Span {
            start,
            now: nanoseconds(),
        };
        let request = request(&self.resource, &self.registry.gather(), span);
        if let Err(error) = self.sender.send(request).await {
            tracing::error!(error = %error, "opentelemetry error");
        }
    }
}

fn request(
    resource: &Resource,
    families: &[MetricFamily],
    span: Span,
) -> ExportMetricsServiceRequest {
    let metrics = families.iter().filter_map(|family| metric(family, span));
    let attributes = resource.iter();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(WireResource {
                attributes: attributes
                    .map(|(name, value)| pair(name.as_str(), &value.as_str()))
                    .collect(),
                ..WireResource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics: metrics.collect(),
                ..ScopeMetrics::default()
            }],
            schema_url: resource.schema_url().unwrap_or_default().to_owned(),
        }],
    }
}

fn pair(name: &str, value: &str) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn metric(family: &MetricFamily, span: Span) -> Option<Metric> {
    let cumulative = AggregationTemporality::Cumulative.into();
    let points = family.get_metric();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: points
                .iter()
                .map(|point| number(point, point.get_counter().get_value(), span))
                .collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge {
            data_points: points
                .iter()
                .map(|point| number(point, point.get_gauge().get_value(), span))
                .collect(),
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: points.iter().map(|point| histogram(point, span)).collect(),
            aggregation_temporality: cumulative,
        }),
        MetricType::SUMMARY => Data::Summary(Summary {
            data_points: points.iter().map(|point| summary(point, span)).collect(),
        }),
        MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

fn labels(point: &Point) -> Vec<KeyValue> {
    let labels = point.get_label().iter();
    labels
        .map(|label| pair(label.name(), label.value()))
        .collect()
}

fn number(point: &Point, value: f64, span: Span) -> NumberDataPoint {
    NumberDataPoint {
        attributes: labels(point),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

/// Buckets of Prometheus hold all below them, those of OTLP what is between two borders; the last is up to infinity.
fn histogram(point: &Point, span: Span) -> HistogramDataPoint {
    let histogram = point.get_histogram();
    let buckets = histogram.get_bucket().iter();
    let finite: Vec<_> = buckets
        .filter(|bucket| bucket.upper_bound().is_finite())
        .collect();
    let mut below = 0;
    let mut counts: Vec<u64> = finite
        .iter()
        .map(|bucket| {
            let count = bucket.cumulative_count();
            count - std::mem::replace(&mut below, count)
        })
        .collect();
    counts.push(histogram.get_sample_count().saturating_sub(below));
    HistogramDataPoint {
        attributes: labels(point),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        count: histogram.get_sample_count(),
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: finite.iter().map(|bucket| bucket.upper_bound()).collect(),
        ..HistogramDataPoint::default()
    }
}

fn summary(point: &Point, span: Span) -> SummaryDataPoint {
    let summary = point.get_summary();
    let quantiles = summary.get_quantile().iter();
    SummaryDataPoint {
        attributes: labels(point),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        count: summary.sample_count(),
        sum: summary.sample_sum(),
        quantile_values: quantiles
            .map(|quantile| ValueAtQuantile {
                quantile: quantile.quantile(),
                value: quantile.value(),
            })
            .collect(),
        ..SummaryDataPoint::default()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, IntCounter};

    use super::*;

    #[test]
    fn buckets_are_taken_apart_and_counters_are_sums() {
        let registry = Registry::new();
        let options = HistogramOpts::new("h", "help").buckets(vec![1.0, 2.0]);
        let histogram = prometheus::Histogram::with_opts(options).unwrap();
        let counter = IntCounter::new("c", "help").unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        for value in [0.5, 1.5, 1.5, 9.0] {
            histogram.observe(value);
        }
        counter.inc_by(3);
        let span = Span { start: 1, now: 2 };
        let resource = Resource::builder_empty().build();
        let request = request(&resource, &registry.gather(), span);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let Some(Data::Sum(sum)) = &metrics[0].data else {
            panic!("{metrics:?}");
        };
        assert!(sum.is_monotonic);
        assert_eq!(sum.data_points[0].value, Some(Value::AsDouble(3.0)));
        let Some(Data::Histogram(histogram)) = &metrics[1].data else {
            panic!("{metrics:?}");
        };
        let point = &histogram.data_points[0];
        assert_eq!(point.bucket_counts, [1, 2, 1]);
        assert_eq!(point.explicit_bounds, [1.0, 2.0]);
        assert_eq!((point.count, point.sum), (4, Some(12.5)));
    }
}
