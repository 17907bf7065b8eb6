//! The Protobuf format of a scrape: `io.prometheus.client.MetricFamily`, each behind its length.
//!
//! The messages are written down here as far as they are used; a scraper skips nothing it does not know.

use prometheus::proto;
use prost::Message as _;

#[derive(Clone, PartialEq, prost::Message)]
struct Family {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(enumeration = "Kind", optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Kind {
    Counter = 0,
    Gauge = 1,
    Summary = 2,
    Untyped = 3,
    Histogram = 4,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<Label>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "4")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "5")]
    untyped: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Label {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Number {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

/// A quantile and its value, or a border and what is below it.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Quantile {
    #[prost(double, optional, tag = "1")]
    quantile: Option<f64>,
    #[prost(double, optional, tag = "2")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Summary {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    quantile: Vec<Quantile>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    border: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
}

/// The families, one after another.
pub(super) fn write(families: &[proto::MetricFamily]) -> Vec<u8> {
    let mut out = Vec::new();
    for family in families {
        out.extend_from_slice(&message(family).encode_length_delimited_to_vec());
    }
    out
}

fn message(family: &proto::MetricFamily) -> Family {
    let kind = match family.get_field_type() {
        proto::MetricType::COUNTER => Kind::Counter,
        proto::MetricType::GAUGE => Kind::Gauge,
        proto::MetricType::SUMMARY => Kind::Summary,
        proto::MetricType::UNTYPED => Kind::Untyped,
        proto::MetricType::HISTOGRAM => Kind::Histogram,
    };
    Family {
        name: Some(family.name().to_owned()),
        help: Some(family.help().to_owned()),
        kind: Some(kind.into()),
        metric: family
            .get_metric()
            .iter()
            .map(|metric| value(kind, metric))
            .collect(),
    }
}

fn value(kind: Kind, metric: &proto::Metric) -> Metric {
    let number = |value| Some(Number { value: Some(value) });
    let label = |pair: &proto::LabelPair| Label {
        name: Some(pair.name().to_owned()),
        value: Some(pair.value().to_owned()),
    };
    let mut out = Metric {
        label: metric.get_label().iter().map(label).collect(),
        ..Metric::default()
    };
    match kind {
        Kind::Counter => out.counter = number(metric.get_counter().get_value()),
        Kind::Gauge => out.gauge = number(metric.get_gauge().get_value()),
        Kind::Untyped => out.untyped = number(0.0),
        Kind::Summary => out.summary = Some(summary(metric.get_summary())),
        Kind::Histogram => out.histogram = Some(histogram(metric.get_histogram())),
    }
    out
}

fn summary(summary: &proto::Summary) -> Summary {
    let quantile = |quantile: &proto::Quantile| Quantile {
        quantile: Some(quantile.quantile()),
        value: Some(quantile.value()),
    };
    Summary {
        count: Some(summary.sample_count()),
        sum: Some(summary.sample_sum()),
        quantile: summary.get_quantile().iter().map(quantile).collect(),
    }
}

fn histogram(histogram: &proto::Histogram) -> Histogram {
    let bucket = |bucket: &proto::Bucket| Bucket {
        count: Some(bucket.cumulative_count()),
        border: Some(bucket.upper_bound()),
    };
    Histogram {
        count: Some(histogram.get_sample_count()),
        sum: Some(histogram.get_sample_sum()),
        bucket: histogram.get_bucket().iter().map(bucket).collect(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("a_count", "help"), &["l"]).unwrap();
        let options = HistogramOpts::new("b_seconds", "h").buckets(vec![1.0, 2.0]);
        let histogram = HistogramVec::new(options, &[]).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        counter.with_label_values(&["v"]).inc_by(5);
        histogram.with_label_values::<&str>(&[]).observe(1.5);
        let written = write(&registry.gather());
        let mut rest = &*written;
        let first = Family::decode_length_delimited(&mut rest).unwrap();
        let second = Family::decode_length_delimited(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!(first.name(), "a_count");
        assert_eq!(first.help(), "help");
        assert_eq!(first.kind(), Kind::Counter);
        assert_eq!(first.metric[0].label[0].value(), "v");
        assert_eq!(first.metric[0].counter.unwrap().value, Some(5.0));
        assert_eq!(second.kind(), Kind::Histogram);
        let histogram = second.metric[0].histogram.as_ref().unwrap();
        assert_eq!((histogram.count, histogram.sum), (Some(1), Some(1.5)));
        let counts: Vec<_> = histogram.bucket.iter().map(|b| b.count()).collect();
        assert_eq!(counts[..2], [0, 1]);
    }
}
