//! Live progress on standard error, for people; nothing of it reaches standard output, and without a terminal nothing is
//! drawn.

use indicatif::{ProgressBar, ProgressStyle};

/// One bar at a time.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Begins a phase of this many steps.
    pub(super) fn of(what: &'static str, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        let style = ProgressStyle::with_template(
            "{msg:>12} [{wide_bar}] {human_pos}/{human_len} {per_sec} {eta}",
        );
        // The template is a constant and a wrong one only costs looks.
        bar.set_style(
            style
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> "),
        );
        bar.set_message(what);
        Self(bar)
    }

    /// So many steps are done.
    pub(super) fn step(&self, done: usize) {
        self.0.set_position(done as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
