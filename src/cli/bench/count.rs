//! Counting: which publications came, how often and in which order, and how long they took.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;

/// What one subscription saw of the numbers 0, 1, 2, …
#[derive(Clone, Debug, Default)]
pub(super) struct Tracker {
    first: u64,
    /// Numbers below it came or are in `holes`.
    next: u64,
    /// What was skipped, ascending.
    holes: Vec<Range<u64>>,
    /// Came more than once.
    pub(super) doubled: u64,
    /// Came after a later one.
    pub(super) reordered: u64,
}

impl Tracker {
    /// Counting begins here: what was published before the subscription does not count.
    pub(super) fn from(first: u64) -> Self {
        Self {
            first,
            next: first,
            ..Self::default()
        }
    }

    /// The first number that counts.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// A number that counts and did not come.
    pub(super) fn misses(&self, number: u64) -> bool {
        number >= self.next || self.holes.iter().any(|hole| hole.contains(&number))
    }

    /// Takes a number; false when it was there already.
    pub(super) fn take(&mut self, number: u64) -> bool {
        if number >= self.next {
            if number > self.next {
                self.holes.push(self.next..number);
            }
            self.next = number + 1;
            return true;
        }
        let Some(place) = self.holes.iter().position(|hole| hole.contains(&number)) else {
            self.doubled += 1;
            return false;
        };
        self.reordered += 1;
        let hole = self.holes.remove(place);
        let parts = [hole.start..number, number + 1..hole.end];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        drop(self.holes.splice(place..place, parts));
        true
    }

    /// Everything below this came.
    pub(super) fn complete_below(&self) -> u64 {
        self.holes.first().map_or(self.next, |hole| hole.start)
    }

    /// How many of the first `published` never came.
    pub(super) fn lost(&self, published: u64) -> u64 {
        let holes = self.holes.iter().map(|hole| hole.end - hole.start);
        holes.sum::<u64>() + published.saturating_sub(self.next)
    }
}

/// Buckets of one power of two: the error of a percentile is below 1.6 %.
const FINE: usize = 64;
/// Powers of two that are told apart; the last ends above one hour in nanoseconds.
const COARSE: usize = 37;
const BUCKETS: usize = FINE * COARSE;

/// Durations, counted by many tasks at a time.
#[derive(Debug)]
pub(super) struct Latencies {
    buckets: Box<[AtomicU64]>,
    largest: AtomicU64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            largest: AtomicU64::new(0),
        }
    }
}

impl Latencies {
    /// Counts a duration, given in nanoseconds.
    pub(super) fn add(&self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)].fetch_add(1, Relaxed);
        self.largest.fetch_max(nanoseconds, Relaxed);
    }

    /// How many were counted.
    pub(super) fn len(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    /// The duration that this part of all did not exceed.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank among counted values"
        )]
        let rank = (self.len() as f64 * part).ceil() as u64;
        let largest = self.largest.load(Relaxed);
        let mut below = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            below += count.load(Relaxed);
            if below >= rank.max(1) {
                return Duration::from_nanos(upper(index).min(largest));
            }
        }
        Duration::from_nanos(largest)
    }

    /// The usual percentiles, if anything was counted.
    pub(super) fn summary(&self) -> Option<Percentiles> {
        let at = |part| milliseconds(self.quantile(part));
        (self.len() > 0).then(|| Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: milliseconds(Duration::from_nanos(self.largest.load(Relaxed))),
        })
    }
}

/// Percentiles of a latency in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// Milliseconds with three digits behind the point.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Values below `FINE` have a bucket each; above, each power of two has `FINE / 2` buckets that are used.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(FINE.ilog2());
    let fine = usize::try_from(value >> shift).unwrap_or(0);
    (shift as usize * FINE + fine).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let (shift, fine) = (index / FINE, index % FINE);
    ((fine as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_when_everything_comes_in_order() {
        let mut tracker = Tracker::default();
        assert!((0..100).all(|number| tracker.take(number)));
        assert_eq!(
            (tracker.lost(100), tracker.doubled, tracker.reordered),
            (0, 0, 0)
        );
        assert_eq!(tracker.lost(103), 3);
        assert_eq!(tracker.complete_below(), 100);
    }

    #[test]
    fn holes_are_lost_until_they_are_filled() {
        let mut tracker = Tracker::from(2);
        for number in [2, 7, 5] {
            assert!(tracker.take(number));
        }
        assert_eq!((tracker.lost(8), tracker.reordered), (3, 1));
        assert_eq!(tracker.complete_below(), 3);
        assert!(!tracker.take(5) && !tracker.take(7) && !tracker.take(1));
        assert_eq!(tracker.doubled, 3);
        for number in [3, 6, 4] {
            assert!(tracker.take(number));
        }
        assert_eq!((tracker.lost(8), tracker.reordered), (0, 4));
        assert_eq!(tracker.complete_below(), 8);
    }

    #[test]
    fn percentiles_are_within_a_fiftieth() {
        let latencies = Latencies::default();
        (1..=100_000_u64).for_each(|microseconds| latencies.add(microseconds * 1000));
        let Percentiles { p50, p99, max, .. } = latencies.summary().unwrap();
        assert!((p50 / 50.0 - 1.0).abs() < 0.04, "{p50}");
        assert!((p99 / 99.0 - 1.0).abs() < 0.04, "{p99}");
        assert_eq!(max, 100.0);
        assert!(Latencies::default().summary().is_none());
        let extremes = Latencies::default();
        extremes.add(0);
        extremes.add(u64::MAX);
        assert_eq!(extremes.quantile(0.5), Duration::ZERO);
        assert_eq!(
            extremes.quantile(1.0),
            Duration::from_nanos(upper(BUCKETS - 1))
        );
    }

    #[test]
    fn a_value_lies_within_its_bucket() {
        for value in (0..5000).chain([1 << 20, (1 << 20) + 12345, 1 << 40]) {
            let index = bucket(value);
            assert!(value <= upper(index), "{value}");
            assert!(value - value / 32 <= upper(index), "{value}");
            assert!(
                upper(index) <= value + value / 32 + 1,
                "{value} {}",
                upper(index)
            );
        }
    }
}
