//! Metric snapshots of a node for `info` (metrics.md 14), and the gauges that are refreshed on the way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::RwLock;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};

use super::Shared;
use crate::exposition::items::{Increases, Item};

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
    let mut increases = Increases::default();
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
        shared.metrics.set(shared.numbers(), shared.waiting());
        if due <= Instant::now() {
            due += every;
            let items = increases.items(&shared.registry.gather(), shared.config.namespace());
            let value = |item: Item| (item.path(), item.value.number());
            let items = items.into_iter().map(value).collect();
            shared.snapshot.set((every.as_secs_f64(), items));
        }
    }
}
