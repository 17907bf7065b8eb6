//! Keeps peers from filling the log: at most one line a second and reason (metrics.md 17.2).

use std::sync::atomic::{AtomicI64, Ordering};

use crate::model::Now;

/// Remembers when each of `N` reasons was logged last.
#[derive(Debug)]
pub struct Pace<const N: usize>([AtomicI64; N]);

impl<const N: usize> Default for Pace<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicI64::new(i64::MIN)))
    }
}

impl<const N: usize> Pace<N> {
    /// True when a line for this reason may be written now; the next one a second later.
    /// A clock that was set back does not silence anything.
    pub fn permits(&self, reason: usize, now: &Now) -> bool {
        self.permits_every(reason, now, 1000)
    }

    /// As [`Pace::permits`], with a period of its own in milliseconds.
    pub fn permits_every(&self, reason: usize, now: &Now, period: i64) -> bool {
        let Some(last) = self.0.get(reason) else {
            return false;
        };
        let seen = last.load(Ordering::Relaxed);
        if now.unix_ms >= seen && now.unix_ms < seen.saturating_add(period) {
            return false;
        }
        last.compare_exchange(seen, now.unix_ms, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_reason() {
        let pace = Pace::<2>::default();
        let mut now = Now::at(tokio::time::Instant::now().into_std());
        assert!(pace.permits(0, &now));
        assert!(!pace.permits(0, &now));
        assert!(pace.permits(1, &now));
        now.unix_ms += 999;
        assert!(!pace.permits(0, &now));
        now.unix_ms += 1;
        assert!(pace.permits(0, &now));
        now.unix_ms -= 5000;
        assert!(pace.permits(0, &now), "a clock set back");
        assert!(!pace.permits(2, &now), "no such reason");
    }
}
