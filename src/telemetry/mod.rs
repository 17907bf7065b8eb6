//! Logs: one initialisation, one guard that flushes (metrics.md 17); and the exporters of OpenTelemetry.
//!
//! A line never blocks who writes it: lines wait in a bounded queue for a thread of their own, and are counted when
//! they find no place. Nothing else of the process is touched; only the server initialises logs.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal as _, Write as _},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Deserializer};
use tracing_subscriber::layer::SubscriberExt as _;

mod lines;
pub mod otel;
mod queue;

pub use lines::FATAL;

use lines::{Lines, Style};
use queue::Queue;

/// Least severe lines to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every frame in both directions.
    Trace,
    /// Requests, connections, subscriptions.
    Debug,
    /// Start, listeners, refused operations.
    Info,
    /// An operator should look.
    Warn,
    /// Something failed.
    Error,
    /// The process ends.
    Fatal,
    /// Nothing at all.
    None,
}

impl Level {
    /// The level of this name, in any letter case.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            "fatal" => Self::Fatal,
            "none" => Self::None,
            _ => return None,
        })
    }
}

/// The section `log` (config.md 8.2).
#[derive(Clone, Debug)]
pub struct Config {
    /// Least severe lines to write; info when the configured name is none.
    pub level: Level,
    /// File to append to; empty for the standard streams.
    pub file: String,
    unknown_level: Option<String>,
}

impl Config {
    /// What to say when the configured level does not exist.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        self.unknown_level
            .as_ref()
            .map(|name| format!("unknown log level {name}, defaulting to INFO"))
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Section {
            level: String,
            file: String,
        }
        let Section { level, file } = Section::deserialize(deserializer)?;
        let known = Level::named(&level);
        Ok(Self {
            level: known.unwrap_or(Level::Info),
            file,
            unknown_level: known.is_none().then_some(level),
        })
    }
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log file cannot be opened.
    #[error("cannot open log file {path}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// The thread that writes could not be started.
    #[error("cannot start the log writer")]
    Thread(#[source] io::Error),
    /// The process has logs already.
    #[error("logs are already set up")]
    Twice,
}

/// Keeps logs alive; writes what is left when dropped.
#[derive(Debug)]
pub struct Guard {
    queue: Arc<Queue>,
    records: otel::Records,
}

impl Guard {
    /// A counter of lines that found no place in the queue.
    #[must_use]
    pub fn dropped(&self) -> DroppedLines {
        DroppedLines(Arc::clone(self.queue.dropped()))
    }
}

impl Guard {
    /// What hands lines on, once a gateway exports them.
    #[must_use]
    pub fn records(&self) -> otel::Records {
        self.records.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// How many lines were lost, for the metric `centripetal_log_dropped_total`.
#[derive(Clone, Debug)]
pub struct DroppedLines(Arc<AtomicU64>);

impl DroppedLines {
    /// Lines lost so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sets logs up for the process: text on a terminal, otherwise JSON on standard error, or JSON in a file.
///
/// # Errors
/// The file cannot be opened, or logs are set up already.
pub fn init(config: &Config) -> Result<Guard, Error> {
    let (style, output): (Style, Box<dyn io::Write + Send>) = if !config.file.is_empty() {
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&config.file);
        let file = opened.map_err(|why| Error::File {
            path: config.file.clone(),
            why,
        })?;
        (Style::Json, Box::new(file))
    } else if io::stdout().is_terminal() && !cfg!(windows) {
        (Style::Terminal, Box::new(io::stdout()))
    } else {
        (Style::Json, Box::new(io::stderr()))
    };
    let queue = Queue::start(output).map_err(Error::Thread)?;
    let records = otel::Records::default();
    let lines = Lines::new(config.level, style, Arc::clone(&queue), records.clone());
    let subscriber = tracing_subscriber::registry().with(lines);
    match tracing::subscriber::set_global_default(subscriber) {
        Ok(()) => {
            if let Some(complaint) = config.complaint() {
                tracing::warn!("{complaint}");
            }
            Ok(Guard { queue, records })
        }
        Err(_already_set) => {
            queue.close();
            Err(Error::Twice)
        }
    }
}

/// Writes one line of level fatal on standard error, for failures before logs are set up.
pub fn early_fatal(message: &str, error: &dyn std::fmt::Display) {
    let line = lines::fatal_line(message, &error.to_string());
    // There is nobody left to tell when standard error is gone.
    let _gone: io::Result<()> = io::stderr().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests;
