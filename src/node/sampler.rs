//! How long publications take from the publish until the last subscriber's socket has them.
//!
//! Not all are measured: a pump measures one at a time, and not more than a hundred in a second. Subscribers pay for a
//! measured one by a reference count, and nothing for the others.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use prometheus::Histogram;
use tokio::time::Instant;

use super::Shared;
use crate::model::{Channel, Watch};

/// Between the beginnings of two measurements.
const PAUSE: Duration = Duration::from_millis(10);
/// A measurement that takes longer is not waited for before the next begins.
const PATIENCE: Duration = Duration::from_secs(1);

/// Chooses what is measured; each pump has its own.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    last: Option<(Instant, Weak<Measurement>)>,
}

/// Ends when everybody who has to do with the publication has let go of it.
#[derive(Debug)]
struct Measurement {
    began: Instant,
    /// How long the publication had been under way then.
    before: Duration,
    histogram: Histogram,
}

impl Drop for Measurement {
    fn drop(&mut self) {
        let duration = self.before + self.began.elapsed();
        self.histogram.observe(duration.as_secs_f64());
    }
}

impl Sampler {
    /// Begins to measure, if it is time to and somebody here listens to the channel.
    pub(super) fn watch(
        &mut self,
        shared: &Shared,
        channel: &Channel,
        under_way: Duration,
    ) -> Option<Watch> {
        let now = Instant::now();
        if let Some((began, measurement)) = &self.last {
            let age = now.duration_since(*began);
            if age < PAUSE || (measurement.strong_count() > 0 && age < PATIENCE) {
                return None;
            }
        }
        if !shared.hub.has(channel) {
            return None;
        }
        let measurement = Arc::new(Measurement {
            began: now,
            before: under_way,
            histogram: shared.metrics.broker.delivery.clone(),
        });
        self.last = Some((now, Arc::downgrade(&measurement)));
        Some(Watch::new(measurement))
    }
}
