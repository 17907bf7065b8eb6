//! The end of a server in its order (style: ownership and shutdown): readiness, listeners, sessions, the rest, engine,
//! telemetry. Every step has a bound, and what it did not finish is counted.

use std::{process::ExitCode, time::Duration};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::transport::{Tasks, grpc::Health};

/// Longest time for closing the engine and flushing telemetry, each, when the grace period is over.
const LAST_STEPS: Duration = Duration::from_secs(3);

/// Section `shutdown`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Config {
    /// Longest graceful end.
    pub timeout: Duration,
}

/// What is asked of others while the server ends, in this order.
pub struct Steps {
    /// Tells all sessions to reconnect elsewhere, a bounded number at a time, and waits for them.
    pub sessions: BoxFuture<'static, ()>,
    /// Leaves the cluster and closes the engine.
    pub engine: BoxFuture<'static, ()>,
    /// Writes what telemetry still holds.
    pub telemetry: BoxFuture<'static, ()>,
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steps").finish_non_exhaustive()
    }
}

/// What the server itself owns.
#[derive(Debug)]
pub(super) struct Owned {
    /// Health over gRPC.
    pub(super) health: Health,
    /// Cancelled: no further connections, and those that are there end when they are done.
    pub(super) accepting: CancellationToken,
    /// Sessions of upgraded connections and of streams.
    pub(super) sessions: Tasks,
    /// Listeners, HTTP connections and HTTP/2 streams.
    pub(super) connections: Tasks,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Sessions and connections that did not end in time.
    pub aborted: usize,
    /// Engine or telemetry did not end in time.
    pub unfinished: bool,
}

impl Outcome {
    /// 0 after a clean end, 1 otherwise.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(u8::from(self != Self::default()))
    }
}

/// Ends everything. `hurry` cuts the waiting short.
pub(super) async fn drain(
    mut owned: Owned,
    steps: Steps,
    grace: Duration,
    hurry: &CancellationToken,
) -> Outcome {
    tracing::info!("shutting down ...");
    let deadline = Instant::now() + grace;
    owned.health.not_serving().await;
    owned.accepting.cancel();
    let graceful = async {
        steps.sessions.await;
        owned.sessions.finished().await;
        // Whoever watches health would keep its connection for ever.
        owned.health.close().await;
        owned.connections.finished().await;
    };
    let waited = hurry
        .run_until_cancelled(timeout_at(deadline, graceful))
        .await;
    let mut outcome = Outcome::default();
    if !matches!(waited, Some(Ok(()))) {
        outcome.aborted = owned.sessions.abort_all() + owned.connections.abort_all();
        tracing::error!(aborted = outcome.aborted, "shutdown timeout exceeded");
    }
    for (name, step) in [("engine", steps.engine), ("telemetry", steps.telemetry)] {
        if timeout_at(deadline.max(Instant::now() + LAST_STEPS), step)
            .await
            .is_err()
        {
            tracing::error!(step = name, "shutdown step did not finish");
            outcome.unfinished = true;
        }
    }
    // Aborted tasks are gone when their destructors have run.
    let gone = timeout(LAST_STEPS, owned.sessions.finished()).await.is_ok();
    outcome.unfinished |= !gone;
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    type Log = Arc<Mutex<Vec<&'static str>>>;

    async fn owned() -> Owned {
        Owned {
            health: Health::serving().await,
            accepting: CancellationToken::new(),
            sessions: Tasks::default(),
            connections: Tasks::default(),
        }
    }

    fn step(log: &Log, name: &'static str) -> BoxFuture<'static, ()> {
        let log = log.clone();
        Box::pin(async move { log.lock().push(name) })
    }

    fn steps(log: &Log) -> Steps {
        Steps {
            sessions: step(log, "sessions"),
            engine: step(log, "engine"),
            telemetry: step(log, "telemetry"),
        }
    }

    const GRACE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn steps_come_in_order_and_wait_for_each_other() {
        let (log, owned) = (Log::default(), owned().await);
        for (tasks, name, pause) in [
            (&owned.sessions, "session", 5),
            (&owned.connections, "connection", 7),
        ] {
            let (log, accepting) = (log.clone(), owned.accepting.clone());
            tasks.spawn(async move {
                accepting.cancelled().await;
                tokio::time::sleep(Duration::from_secs(pause)).await;
                log.lock().push(name);
            });
        }
        let outcome = drain(owned, steps(&log), GRACE, &CancellationToken::new()).await;
        assert_eq!(outcome, Outcome::default());
        assert_eq!(
            *log.lock(),
            ["sessions", "session", "connection", "engine", "telemetry"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_is_aborted_and_counted() {
        let (log, owned) = (Log::default(), owned().await);
        owned.sessions.spawn(std::future::pending());
        owned.connections.spawn(std::future::pending());
        let start = Instant::now();
        let outcome = drain(owned, steps(&log), GRACE, &CancellationToken::new()).await;
        assert_eq!((outcome.aborted, outcome.unfinished), (2, false));
        assert!(start.elapsed() >= GRACE && start.elapsed() < GRACE + LAST_STEPS);
        assert_eq!(*log.lock(), ["sessions", "engine", "telemetry"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_cuts_the_waiting_short() {
        let (log, owned, hurry) = (Log::default(), owned().await, CancellationToken::new());
        owned.sessions.spawn(std::future::pending());
        hurry.cancel();
        let start = Instant::now();
        let outcome = drain(owned, steps(&log), GRACE, &hurry).await;
        assert_eq!(outcome.aborted, 1);
        assert!(start.elapsed() < LAST_STEPS);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_hangs_is_not_waited_for_for_ever() {
        let (log, owned) = (Log::default(), owned().await);
        let steps = Steps {
            engine: Box::pin(std::future::pending()),
            ..steps(&log)
        };
        let outcome = drain(owned, steps, GRACE, &CancellationToken::new()).await;
        assert!(outcome.unfinished);
        assert_eq!(*log.lock(), ["sessions", "telemetry"]);
    }
}
