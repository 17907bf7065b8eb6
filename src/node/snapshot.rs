//! Metric snapshots of a node for `info` (metrics.md 14), and the gauges that are refreshed on the way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::RwLock;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};

use super::Shared;

/// Gauges are never older than this.
const GAUGES_EVERY: Duration = Duration::from_secs(5);

/// Seconds it covers, values by name.
type Values = (f64, BTreeMap<String, f64>);

/// The last snapshot.
#[derive(Debug)]
pub(super) struct Snapshot {
    state: RwLock<State>,
    taken: Notify,
}

#[derive(Debug)]
struct State {
    values: Values,
    /// Nobody was told of it yet.
    fresh: bool,
}

impl Snapshot {
    /// An empty one, until the first is taken.
    pub(super) fn new(every: Duration) -> Self {
        Self {
            state: RwLock::new(State {
                values: (every.as_secs_f64(), BTreeMap::new()),
                fresh: false,
            }),
            taken: Notify::new(),
        }
    }

    /// The last snapshot.
    pub(super) fn last(&self) -> Values {
        self.state.read().values.clone()
    }

    /// Waits for the first one; for one waiter.
    pub(super) async fn first(&self) {
        self.taken.notified().await;
    }

    /// The last snapshot, unless it was given out already.
    pub(super) fn take_fresh(&self) -> Option<Values> {
        let mut state = self.state.write();
        std::mem::take(&mut state.fresh).then(|| state.values.clone())
    }

    /// What was given out has not arrived.
    pub(super) fn renew(&self) {
        self.state.write().fresh = true;
    }

    fn set(&self, values: Values) {
        *self.state.write() = State {
            values,
            fresh: true,
        };
        self.taken.notify_one();
    }
}

/// Refreshes the gauges and takes snapshots until the node stops.
pub(super) async fn run(shared: Arc<Shared>) {
    let every = shared.config.node.info_metrics_aggregate_interval;
    let mut counters = BTreeMap::new();
    let mut due = Instant::now();
    let mut ticks = interval(GAUGES_EVERY.min(every.max(Duration::from_millis(100))));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if shared
            .stop
            .run_until_cancelled(ticks.tick())
            .await
            .is_none()
        {
            return;
        }
        shared.metrics.set(shared.numbers());
        if due <= Instant::now() {
            due += every;
            let items = take(&shared.registry.gather(), &mut counters);
            shared.snapshot.set((every.as_secs_f64(), items));
        }
    }
}

/// Values by name: counters as their increase since the last snapshot, gauges as they are, histograms left out.
fn take(families: &[MetricFamily], counters: &mut BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let mut items = BTreeMap::new();
    for family in families {
        for metric in family.get_metric() {
            let name = item_name(family.name(), metric);
            match family.get_field_type() {
                MetricType::COUNTER => {
                    let total = metric.get_counter().get_value();
                    let before = counters.insert(name.clone(), total).unwrap_or(0.0);
                    items.insert(name, total - before);
                }
                MetricType::GAUGE => {
                    items.insert(name, metric.get_gauge().get_value());
                }
                MetricType::SUMMARY | MetricType::UNTYPED | MetricType::HISTOGRAM => {}
            }
        }
    }
    items
}

/// `centrifugo.node.num_clients`: the name cut at its first two underscores, then labels that are not empty.
fn item_name(family: &str, metric: &Metric) -> String {
    let mut name = family.replacen('_', ".", 2);
    let mut labels: Vec<_> = metric
        .get_label()
        .iter()
        .filter(|label| !label.value().is_empty())
        .collect();
    labels.sort_by_key(|label| label.name().to_owned());
    for label in labels {
        name.push('.');
        name.push_str(label.name());
        name.push('.');
        name.push_str(label.value());
    }
    name
}
