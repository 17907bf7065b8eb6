//! How many calls of one proxy run at a time, and how many wait for their turn.
//!
//! Whoever finds the waiting room full, or waits too long, is refused at once: a slow backend costs a bounded amount of
//! memory and connections, whatever clients do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus::{Histogram, IntGauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{Failure, config::LimitsConfig};

/// The way in to one backend.
#[derive(Debug)]
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    patience: Duration,
}

/// One who waits; gone when dropped.
struct Waiter<'a> {
    gate: &'a Gate,
    shown: &'a IntGauge,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.gate.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shown.dec();
    }
}

impl Gate {
    pub(super) fn new(limits: &LimitsConfig) -> Self {
        let concurrency = limits.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(concurrency)),
            waiting: AtomicUsize::new(0),
            max_waiting: limits.max_waiting,
            patience: limits.wait_timeout,
        }
    }

    /// Waits for a turn. Dropping the permit gives it back.
    pub(super) async fn enter(
        &self,
        shown: &IntGauge,
        waits: &Histogram,
    ) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        shown.inc();
        let _waiter = Waiter { gate: self, shown };
        if before >= self.max_waiting {
            return Err(Failure::Busy);
        }
        let began = Instant::now();
        let turn = timeout(self.patience, Arc::clone(&self.permits).acquire_owned()).await;
        waits.observe(began.elapsed().as_secs_f64());
        match turn {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Failure::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(concurrency: usize, max_waiting: usize) -> Gate {
        Gate::new(&LimitsConfig {
            concurrency,
            max_waiting,
            wait_timeout: Duration::from_secs(2),
            max_response_size: 0,
        })
    }

    fn waits() -> Histogram {
        Histogram::with_opts(prometheus::HistogramOpts::new("t", "t")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_runs_one_waits_and_the_third_is_refused() {
        let (gate, shown, waits) = (gate(1, 1), IntGauge::new("w", "w").unwrap(), waits());
        let first = gate.enter(&shown, &waits).await.unwrap();
        let mut second = tokio_test::task::spawn(gate.enter(&shown, &waits));
        assert!(second.poll().is_pending());
        assert_eq!(shown.get(), 1);
        assert!(matches!(
            gate.enter(&shown, &waits).await,
            Err(Failure::Busy)
        ));
        drop(first);
        let permit = second.await.unwrap();
        assert_eq!(shown.get(), 0);
        assert_eq!(waits.get_sample_count(), 1);
        drop(permit);
        assert!(gate.enter(&shown, &waits).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn patience_has_an_end_and_who_leaves_frees_its_place() {
        let (gate, shown, waits) = (gate(1, 1), IntGauge::new("w", "w").unwrap(), waits());
        let _first = gate.enter(&shown, &waits).await.unwrap();
        assert!(matches!(
            gate.enter(&shown, &waits).await,
            Err(Failure::Busy)
        ));
        let mut gone = tokio_test::task::spawn(gate.enter(&shown, &waits));
        assert!(gone.poll().is_pending());
        drop(gone);
        assert_eq!(shown.get(), 0);
        let mut next = tokio_test::task::spawn(gate.enter(&shown, &waits));
        assert!(next.poll().is_pending(), "the place is free again");
    }
}
