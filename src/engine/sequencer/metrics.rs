//! What a sequencer counts.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::reason::Reason;

/// Borders of repair durations, seconds.
const BORDERS: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0,
];

/// Counters of all sequencers of a node.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Gaps found.
    pub(super) gaps: IntCounter,
    /// Gaps closed from history, or by what was only late.
    pub(super) repaired: IntCounter,
    /// From the moment a gap was found until it was closed.
    pub(super) duration: Histogram,
    /// Publications held behind gaps.
    pub(super) held: IntGauge,
    /// Sweeps that compared all tops.
    pub(super) sweeps: IntCounter,
    /// Returns of PUB/SUB after which all tops were compared.
    pub(super) reconnects: IntCounter,
    insufficient: IntCounterVec,
}

impl Metrics {
    /// Registers all counters; every reason is there from the start.
    ///
    /// # Errors
    /// When the registry has one of the names already.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| IntCounter::new(name, help);
        let metrics = Self {
            gaps: counter(
                "centripetal_sequencer_gaps_total",
                "Gaps found in the publications of a channel.",
            )?,
            repaired: counter(
                "centripetal_sequencer_repaired_total",
                "Gaps closed from history.",
            )?,
            duration: Histogram::with_opts(
                HistogramOpts::new(
                    "centripetal_sequencer_repair_duration_seconds",
                    "Time from finding a gap to closing it.",
                )
                .buckets(BORDERS.to_vec()),
            )?,
            held: IntGauge::new(
                "centripetal_sequencer_held_publications",
                "Publications held behind gaps.",
            )?,
            sweeps: counter(
                "centripetal_sequencer_sweeps_total",
                "Comparisons of the tops of all subscribed streams.",
            )?,
            reconnects: counter(
                "centripetal_sequencer_reconnects_total",
                "Times PUB/SUB was there again and all positions were checked.",
            )?,
            insufficient: IntCounterVec::new(
                Opts::new(
                    "centripetal_sequencer_insufficient_total",
                    "Channels whose positioned subscribers had to be told of a loss.",
                ),
                &["reason"],
            )?,
        };
        registry.register(Box::new(metrics.gaps.clone()))?;
        registry.register(Box::new(metrics.repaired.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.held.clone()))?;
        registry.register(Box::new(metrics.sweeps.clone()))?;
        registry.register(Box::new(metrics.reconnects.clone()))?;
        registry.register(Box::new(metrics.insufficient.clone()))?;
        for reason in Reason::ALL {
            metrics.insufficient(reason).inc_by(0);
        }
        Ok(metrics)
    }

    /// Losses that were declared for this reason.
    pub(super) fn insufficient(&self, reason: Reason) -> IntCounter {
        self.insufficient.with_label_values(&[reason.name()])
    }
}
