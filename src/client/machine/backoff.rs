//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential back-off with full jitter, as the official SDKs do it (client-protocol.md 7.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// Shortest wait.
    pub(crate) min: Duration,
    /// Longest wait.
    pub(crate) max: Duration,
}

impl Backoff {
    /// Wait after `failures` failed attempts; `fraction` is a random number of [0, 1).
    pub(super) fn delay(&self, failures: u32, fraction: f64) -> Duration {
        let doubled = 2u32.saturating_pow(failures.min(31));
        let span = self.min.saturating_mul(doubled).min(self.max);
        let jitter = span.mul_f64(fraction.clamp(0.0, 1.0));
        self.min.saturating_add(jitter).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDK: Backoff = Backoff {
        min: Duration::from_millis(500),
        max: Duration::from_secs(20),
    };

    #[test]
    fn waits_at_least_the_minimum_and_never_more_than_the_maximum() {
        for failures in [0, 1, 5, 31, 32, u32::MAX] {
            assert_eq!(SDK.delay(failures, 0.0), SDK.min);
            assert!(SDK.delay(failures, 1.0) <= SDK.max);
        }
    }

    #[test]
    fn span_doubles_with_every_failure() {
        let longest: Vec<_> = (0..7).map(|n| SDK.delay(n, 1.0).as_millis()).collect();
        assert_eq!(longest, [1000, 1500, 2500, 4500, 8500, 16_500, 20_000]);
    }

    #[test]
    fn jitter_covers_the_span_evenly() {
        assert_eq!(SDK.delay(3, 0.5), Duration::from_millis(2500));
        assert_eq!(SDK.delay(3, 0.25), Duration::from_millis(1500));
    }
}
