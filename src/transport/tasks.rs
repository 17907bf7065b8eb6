//! Owner of spawned tasks: counts them, waits for them, aborts what is left. Knows nothing of what they do.

use std::{future::Future, future::poll_fn, sync::Arc, task::Poll};

use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};

/// A set of tasks that somebody waits for. Cloning is a reference count; tasks are aborted when the last clone goes.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
}

impl Tasks {
    /// Starts a task. The future brings its own span.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut set = self.set.lock();
        while set.try_join_next().is_some() {}
        set.spawn(future)
    }

    /// Gives back the memory of finished tasks and returns how many still run.
    pub fn reap(&self) -> usize {
        let mut set = self.set.lock();
        while set.try_join_next().is_some() {}
        set.len()
    }

    /// Waits until no task is left. A task started meanwhile is waited for as well.
    pub async fn finished(&self) {
        poll_fn(|cx| {
            let mut set = self.set.lock();
            loop {
                match set.poll_join_next(cx) {
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }

    /// Aborts whatever still runs and returns how many those were.
    pub fn abort_all(&self) -> usize {
        let running = self.reap();
        self.set.lock().abort_all();
        running
    }
}

#[cfg(test)]
mod tests {
    use super::Tasks;

    #[tokio::test]
    async fn finished_waits_for_all() {
        let tasks = Tasks::default();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn(async {
            wait.await.unwrap();
        });
        tasks.spawn(async {});
        let mut finished = tokio_test::task::spawn(tasks.finished());
        tokio_test::assert_pending!(finished.poll());
        go.send(()).unwrap();
        finished.await;
        assert_eq!(tasks.reap(), 0);
    }

    #[tokio::test]
    async fn abort_counts_only_those_running() {
        let tasks = Tasks::default();
        tasks.spawn(async {});
        tasks.finished().await;
        tasks.spawn(std::future::pending());
        tasks.spawn(std::future::pending());
        assert_eq!(tasks.abort_all(), 2);
        tasks.finished().await;
        assert_eq!(tasks.reap(), 0);
    }
}
