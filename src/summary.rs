//! Summaries with quantiles over a sliding window, which the metrics library does not have (metrics.md 3).
//!
//! Observations are counted in buckets that grow by a constant factor, so a quantile is exact in rank and off by two
//! per cent at most in value. The window is made of parts that are dropped as they grow old.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use prometheus::{
    Opts,
    core::{Collector, Desc, Describer as _},
    proto::{LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary as SummaryValue},
};
use tokio::time::Instant;

/// Reported quantiles.
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];
/// Length of the window, and the number of its parts.
const WINDOW: Duration = Duration::from_secs(600);
const PARTS: usize = 5;
/// Smallest value told apart, seconds, and the growth of the buckets; the last one begins at about twenty minutes.
const SMALLEST: f64 = 1e-6;
const GROWTH: f64 = 1.04;
const BUCKETS: usize = 535;

/// Quantiles, sum and count of one series.
#[derive(Debug)]
pub(crate) struct Summary {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    count: u64,
    sum: f64,
    /// Counts by bucket; the part at `current` is being filled.
    parts: [Vec<u32>; PARTS],
    current: usize,
    /// When the current part ends.
    until: Instant,
}

impl Summary {
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                count: 0,
                sum: 0.0,
                parts: Default::default(),
                current: 0,
                until: Instant::now() + part_length(),
            }),
        }
    }

    /// Adds an observation.
    pub(crate) fn observe(&self, value: f64) {
        let mut state = self.state.lock();
        state.advance(Instant::now());
        state.count += 1;
        state.sum += value;
        let current = state.current;
        let part = &mut state.parts[current];
        if part.is_empty() {
            part.resize(BUCKETS, 0);
        }
        let count = &mut part[bucket(value)];
        *count = count.saturating_add(1);
    }

    fn value(&self) -> SummaryValue {
        let mut state = self.state.lock();
        state.advance(Instant::now());
        let mut merged = vec![0_u64; BUCKETS];
        for part in &state.parts {
            for (sum, count) in merged.iter_mut().zip(part) {
                *sum += u64::from(*count);
            }
        }
        let mut out = SummaryValue::default();
        out.set_sample_count(state.count);
        out.set_sample_sum(state.sum);
        out.set_quantile(
            QUANTILES
                .iter()
                .map(|&quantile| {
                    let mut pair = Quantile::default();
                    pair.set_quantile(quantile);
                    pair.set_value(value_at(&merged, quantile));
                    pair
                })
                .collect(),
        );
        out
    }
}

impl State {
    /// Drops the parts that have left the window.
    fn advance(&mut self, now: Instant) {
        for _ in 0..PARTS {
            if now < self.until {
                return;
            }
            self.current = (self.current + 1) % PARTS;
            self.parts[self.current].clear();
            self.until += part_length();
        }
        // Everything is older than the window.
        self.until = self.until.max(now + part_length());
    }
}

fn part_length() -> Duration {
    WINDOW / 5
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts from floats saturate, and the result is limited to the table"
)]
fn bucket(value: f64) -> usize {
    let steps = (value / SMALLEST).ln() / GROWTH.ln();
    (steps.ceil() as usize).min(BUCKETS - 1)
}

/// The value below which the given share of the observations lies; not a number when there are none.
fn value_at(counts: &[u64], quantile: f64) -> f64 {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return f64::NAN;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of ten minutes are far below 2^52"
    )]
    let rank = quantile * total as f64;
    let mut seen = 0_u64;
    let mut border = SMALLEST;
    for count in counts {
        seen += count;
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of ten minutes are far below 2^52"
        )]
        if seen > 0 && seen as f64 >= rank {
            break;
        }
        border *= GROWTH;
    }
    // The middle of the bucket that ends at the border.
    border / GROWTH.sqrt()
}

/// Summaries by label values, as a collector.
#[derive(Clone, Debug)]
pub(crate) struct SummaryVec {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    desc: Desc,
    series: RwLock<HashMap<Vec<String>, Arc<Summary>>>,
}

impl SummaryVec {
    pub(crate) fn new(options: Opts, labels: &[&str]) -> Result<Self, prometheus::Error> {
        let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        let desc = options.variable_labels(labels).describe()?;
        Ok(Self {
            shared: Arc::new(Shared {
                desc,
                series: RwLock::default(),
            }),
        })
    }

    /// The series of these label values, in the order of the labels.
    pub(crate) fn with_label_values(&self, values: &[&str]) -> Arc<Summary> {
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        let mut series = self.shared.series.write();
        Arc::clone(
            series
                .entry(values)
                .or_insert_with(|| Arc::new(Summary::new())),
        )
    }
}

impl Collector for SummaryVec {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.shared.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let desc = &self.shared.desc;
        let series = self.shared.series.read();
        let metrics = series
            .iter()
            .map(|(values, summary)| {
                let mut labels: Vec<LabelPair> = desc
                    .variable_labels
                    .iter()
                    .zip(values)
                    .map(|(name, value)| {
                        let mut pair = LabelPair::default();
                        pair.set_name(name.clone());
                        pair.set_value(value.clone());
                        pair
                    })
                    .collect();
                labels.sort();
                let mut metric = Metric::from_label(labels);
                metric.set_summary(summary.value());
                metric
            })
            .collect();
        let mut family = MetricFamily::default();
        family.set_name(desc.fq_name.clone());
        family.set_help(desc.help.clone());
        family.set_field_type(MetricType::SUMMARY);
        family.set_metric(metrics);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantiles(summary: &Summary) -> Vec<f64> {
        summary
            .value()
            .get_quantile()
            .iter()
            .map(Quantile::value)
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn quantiles_are_within_two_per_cent() {
        let summary = Summary::new();
        for n in 1..=10_000 {
            summary.observe(f64::from(n) / 10_000.0);
        }
        for (got, expected) in quantiles(&summary).into_iter().zip([0.5, 0.99, 0.999]) {
            assert!((got / expected - 1.0).abs() < 0.025, "{got} for {expected}");
        }
        assert_eq!(summary.value().sample_count(), 10_000);
        assert!((summary.value().sample_sum() - 5000.5).abs() < 1e-6);
    }

    #[tokio::test(start_paused = true)]
    async fn old_observations_leave_the_window_but_not_the_count() {
        let summary = Summary::new();
        summary.observe(1.0);
        tokio::time::advance(Duration::from_secs(300)).await;
        summary.observe(0.001);
        assert!(quantiles(&summary)[2] > 0.9, "both are in the window");
        tokio::time::advance(Duration::from_secs(310)).await;
        assert!(quantiles(&summary)[2] < 0.002, "the first has left it");
        tokio::time::advance(Duration::from_secs(100_000)).await;
        assert!(quantiles(&summary).iter().all(|value| value.is_nan()));
        assert_eq!(summary.value().sample_count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn values_outside_the_buckets_are_counted_at_the_ends() {
        let summary = Summary::new();
        for value in [0.0, -1.0, f64::NAN, 1e-9, 1e12] {
            summary.observe(value);
        }
        assert!(quantiles(&summary)[2] > 1000.0);
        assert!(quantiles(&summary)[0] <= SMALLEST);
    }
}
