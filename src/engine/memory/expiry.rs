//! The one task of the memory engine: once a second it frees what has expired (engines.md 2).
//!
//! Decides nothing: an expired thing is invisible from its instant on, swept or not.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};

use super::{Shared, State};

/// Deadlines handled under one lock, so that a publisher never waits long for a mass expiry.
const BATCH: usize = 512;

/// Sweeps until its task is aborted. Everything between two awaits is complete in itself.
pub(super) async fn sweep_every_second(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        for shard in shared.state.iter() {
            while sweep_batch(shard, now) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// One short visit to a shard; true when there may be more to do.
fn sweep_batch(shard: &parking_lot::Mutex<State>, now: Instant) -> bool {
    let mut garbage = Vec::new();
    let more = {
        let mut state = shard.lock();
        let streams = state.streams.sweep(now, BATCH, &mut garbage);
        let results = state.results.sweep(now, BATCH);
        streams || results
    };
    drop(garbage);
    more
}
