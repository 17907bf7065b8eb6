//! Metrics as names and numbers: the form in which Graphite and `info` have them (metrics.md 14, 15).
//!
//! Counters become what was added since the last time, gauges and quantiles stay as they are, histograms are left out.

use std::collections::HashMap;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// `centrifugo.node.num_clients`: without labels.
    pub(crate) name: String,
    /// Labels that have a value, sorted by name.
    pub(crate) labels: Vec<(String, String)>,
    /// The number.
    pub(crate) value: Value,
}

/// What an item is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// What a counter has grown by.
    Increase(f64),
    /// Anything else.
    Number(f64),
}

impl Item {
    /// Name and labels joined by dots.
    pub(crate) fn path(&self) -> String {
        let mut path = self.name.clone();
        for (name, value) in &self.labels {
            for part in [name, value] {
                path.push('.');
                path.push_str(part);
            }
        }
        path
    }
}

impl Value {
    /// The bare number.
    pub(crate) const fn number(self) -> f64 {
        match self {
            Self::Increase(number) | Self::Number(number) => number,
        }
    }
}

/// Remembers what counters were, so that their increase can be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Increases(HashMap<String, f64>);

impl Increases {
    /// The items of families, with what was added since this was called last.
    pub(crate) fn items(&mut self, families: &[MetricFamily], namespace: &str) -> Vec<Item> {
        let mut items = Vec::new();
        for family in families {
            let name = dotted(family.name(), namespace);
            for metric in family.get_metric() {
                self.add(&mut items, &name, family.get_field_type(), metric);
            }
        }
        items
    }

    fn add(&mut self, items: &mut Vec<Item>, name: &str, kind: MetricType, metric: &Metric) {
        let labels = labels(metric.get_label());
        let item = |suffix: &str, value: Value| Item {
            name: format!("{name}{suffix}"),
            labels: labels.clone(),
            value,
        };
        match kind {
            MetricType::COUNTER => {
                let mut item = item("", Value::Increase(metric.get_counter().get_value()));
                let increase = self.since(&item);
                item.value = Value::Increase(increase);
                items.push(item);
            }
            MetricType::GAUGE => {
                items.push(item("", Value::Number(metric.get_gauge().get_value())));
            }
            MetricType::SUMMARY => {
                let summary = metric.get_summary();
                #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
                let count = summary.sample_count() as f64;
                for (suffix, total) in [(".count", count), (".sum", summary.sample_sum())] {
                    let mut item = item(suffix, Value::Number(total));
                    let increase = self.since(&item);
                    item.value = Value::Number(increase);
                    items.push(item);
                }
                let observed = summary.get_quantile().iter();
                for quantile in observed.filter(|quantile| !quantile.value().is_nan()) {
                    let suffix = format!(".quantile.{}", percent(quantile.quantile()));
                    items.push(item(&suffix, Value::Number(quantile.value())));
                }
            }
            MetricType::UNTYPED | MetricType::HISTOGRAM => {}
        }
    }

    /// What was added to a total since the last time.
    fn since(&mut self, total: &Item) -> f64 {
        let now = total.value.number();
        now - self.0.insert(total.path(), now).unwrap_or(0.0)
    }
}

/// `centrifugo_node_num_clients` as `centrifugo.node.num_clients`: cut behind the namespace, and once more.
fn dotted(name: &str, namespace: &str) -> String {
    let rest = name
        .strip_prefix(namespace)
        .and_then(|rest| rest.strip_prefix('_'));
    match rest {
        Some(rest) => format!("{namespace}.{}", rest.replacen('_', ".", 1)),
        None => name.replacen('_', ".", 2),
    }
}

fn labels(pairs: &[LabelPair]) -> Vec<(String, String)> {
    let mut labels: Vec<_> = pairs
        .iter()
        .filter(|label| !label.value().is_empty())
        .map(|label| (label.name().to_owned(), label.value().to_owned()))
        .collect();
    labels.sort();
    labels
}

/// `50` for 0.5, `99` for 0.99, `999` for 0.999.
fn percent(quantile: f64) -> String {
    let digits = quantile.to_string();
    let digits = digits.strip_prefix("0.").unwrap_or(&digits);
    format!("{digits:0<2}")
}

#[cfg(test)]
mod tests {
    use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

    use super::*;
    use crate::summary::SummaryVec;

    fn values(items: &[Item]) -> Vec<(String, Value)> {
        items.iter().map(|item| (item.path(), item.value)).collect()
    }

    #[test]
    fn counters_are_increases_and_empty_labels_are_left_out() {
        let registry = Registry::new();
        let name = "centrifugo_node_messages_sent_count";
        let labels = ["type", "channel_namespace"];
        let counter = IntCounterVec::new(Opts::new(name, "h"), &labels).unwrap();
        let gauge = GaugeVec::new(Opts::new("process_open_fds", "h"), &[]).unwrap();
        let histogram = Histogram::with_opts(HistogramOpts::new("centrifugo_x_y", "h")).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        registry.register(Box::new(gauge.clone())).unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        histogram.observe(1.0);
        gauge.with_label_values::<&str>(&[]).set(7.0);
        counter.with_label_values(&["join", ""]).inc_by(3);
        let mut increases = Increases::default();
        let path = "centrifugo.node.messages_sent_count.type.join".to_owned();
        let open = ("process.open.fds".to_owned(), Value::Number(7.0));
        for expected in [3.0, 0.0, 2.0] {
            let items = increases.items(&registry.gather(), "centrifugo");
            let counted = (path.clone(), Value::Increase(expected));
            assert_eq!(values(&items), [counted, open.clone()]);
            if expected == 0.0 {
                counter.with_label_values(&["join", ""]).inc_by(2);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn quantiles_come_with_the_first_observation() {
        let registry = Registry::new();
        let summaries = SummaryVec::new(Opts::new("a_b_c_d", "h"), &["op"]).unwrap();
        registry.register(Box::new(summaries.clone())).unwrap();
        let summary = summaries.with_label_values(&["x"]);
        let mut increases = Increases::default();
        let paths = |items: &[Item]| items.iter().map(Item::path).collect::<Vec<_>>();
        let items = increases.items(&registry.gather(), "a_b");
        assert_eq!(paths(&items), ["a_b.c.d.count.op.x", "a_b.c.d.sum.op.x"]);
        summary.observe(2.0);
        let items = increases.items(&registry.gather(), "centrifugo");
        let names = ["count", "sum", "quantile.50", "quantile.99", "quantile.999"];
        let expected = names.map(|name| format!("a.b.c_d.{name}.op.x"));
        assert_eq!(paths(&items), expected);
        assert_eq!(items[1].value, Value::Number(2.0));
    }
}
