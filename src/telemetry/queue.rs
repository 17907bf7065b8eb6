//! The bounded queue between those who log and the thread that writes.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, Write},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

/// Lines that may wait.
const CAPACITY: usize = 8192;
/// Longest wait for the writer at the end: a stuck terminal must not keep the process.
const LAST_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    closing: bool,
    written: bool,
}

/// Shared by all who log and the one who writes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// A queue with its writing thread.
    pub(super) fn start(output: Box<dyn Write + Send>) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self::default());
        let writer = Arc::clone(&queue);
        // Ends with `close`, which waits for it.
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write(BufWriter::new(output)))?;
        Ok(queue)
    }

    pub(super) const fn dropped(&self) -> &Arc<AtomicU64> {
        &self.dropped
    }

    /// Adds a line, unless the queue is full. Never waits for the writer.
    pub(super) fn push(&self, line: String) {
        let mut state = self.state.lock();
        if state.lines.len() >= CAPACITY || state.closing {
            drop(state);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.lines.push_back(line);
        drop(state);
        self.filled.notify_one();
    }

    /// Lets the writer finish what is there, and waits for it.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        self.filled.notify_one();
        self.emptied
            .wait_while_for(&mut state, |state| !state.written, LAST_WAIT);
    }

    fn write(&self, mut output: impl Write) {
        loop {
            let mut state = self.state.lock();
            self.filled
                .wait_while(&mut state, |state| state.lines.is_empty() && !state.closing);
            let lines = std::mem::take(&mut state.lines);
            let last = state.closing;
            drop(state);
            for line in &lines {
                if output.write_all(line.as_bytes()).is_err() {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            // A failed flush loses lines that were counted as written; there is no better place to say so.
            let _lost: io::Result<()> = output.flush();
            if last {
                self.state.lock().written = true;
                self.emptied.notify_all();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A writer that stands still until its gate opens.
    struct Stuck(Arc<Mutex<()>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.0.lock());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            drop(self.0.lock());
            Ok(())
        }
    }

    #[test]
    fn closing_writes_what_is_left_in_order() {
        let output = Shared::default();
        let queue = Queue::start(Box::new(output.clone())).unwrap();
        for number in 0..1000 {
            queue.push(format!("{number}\n"));
        }
        queue.close();
        let text = String::from_utf8(output.0.lock().clone()).unwrap();
        let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock();
        let queue = Queue::start(Box::new(Stuck(Arc::clone(&gate)))).unwrap();
        for _ in 0..2 * CAPACITY + 10 {
            queue.push("x".to_owned());
        }
        let dropped = queue.dropped().load(Ordering::Relaxed);
        // The writer may hold one batch in its hands.
        assert!(dropped >= 10, "{dropped}");
        drop(closed);
        queue.close();
    }

    #[test]
    fn lines_after_the_end_are_counted() {
        let queue = Queue::start(Box::new(io::sink())).unwrap();
        queue.close();
        queue.push("x".to_owned());
        assert_eq!(queue.dropped().load(Ordering::Relaxed), 1);
    }
}
