//! The present, as one value: a monotonic instant for timers and Unix time for expirations.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment, read once per event and passed down, so that everything below can be tested with virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time, for timers.
    pub instant: Instant,
    /// Unix time in milliseconds, for expirations written in tokens.
    pub unix_ms: i64,
}

impl Now {
    /// Pairs a monotonic instant with the wall clock. The only place that reads the wall clock.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn at(instant: Instant) -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            instant,
            unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Unix time in whole seconds.
    #[must_use]
    pub const fn unix(&self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }

    /// The same clock, some time later.
    #[must_use]
    pub fn later(&self, by: Duration) -> Self {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self {
            instant: self.instant + by,
            unix_ms: self.unix_ms.saturating_add(ms),
        }
    }
}
