//! Signals of the operating system as values: the first asks for a graceful end, the second for an end at once, SIGHUP for
//! the configuration to be read again.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The wish that a server ends. Cloning is a reference count.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// End gracefully.
    pub graceful: CancellationToken,
    /// Do not wait any more.
    pub hurry: CancellationToken,
}

impl Stop {
    /// Takes one more wish to end.
    pub fn wish(&self) {
        if self.graceful.is_cancelled() {
            self.hurry.cancel();
        }
        self.graceful.cancel();
    }
}

/// Turns signals into wishes until the last of them. `reload` is called for each SIGHUP.
///
/// # Errors
/// When a signal cannot be listened to.
pub fn watch(
    stop: Stop,
    reload: impl Fn() + Send + 'static,
) -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while !stop.hurry.is_cancelled() {
            tokio::select! {
                _ = terminate.recv() => {
                    tracing::info!("signal received: terminated");
                    stop.wish();
                }
                _ = interrupt.recv() => {
                    tracing::info!("signal received: interrupt");
                    stop.wish();
                }
                _ = hangup.recv() => {
                    tracing::info!("signal received: hangup");
                    reload();
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_wish_is_urgent() {
        let stop = Stop::default();
        stop.wish();
        assert!(stop.graceful.is_cancelled() && !stop.hurry.is_cancelled());
        stop.wish();
        assert!(stop.hurry.is_cancelled());
    }
}
