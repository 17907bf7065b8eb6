//! Frames in both directions, and how long those of clients take (metrics.md 5, 6).

use prometheus::{HistogramVec, IntCounterVec};

use super::family::{Family, TwinSeries, US};

/// What clients ask for, as label values.
const METHODS: [&str; 12] = [
    "connect",
    "subscribe",
    "publish",
    "unsubscribe",
    "rpc",
    "presence",
    "presence_stats",
    "history",
    "refresh",
    "sub_refresh",
    "send",
    "unknown",
];

/// Place of a method among the durations.
pub(in crate::node) fn method(name: &str) -> Option<usize> {
    METHODS.iter().position(|method| *method == name)
}

/// Frames in both directions.
#[derive(Debug)]
pub(in crate::node) struct Wire {
    /// Replies and pushes, and their bytes.
    pub(in crate::node) sent: (IntCounterVec, IntCounterVec),
    /// Commands, and their bytes.
    pub(in crate::node) received: (IntCounterVec, IntCounterVec),
    /// Time from ping to pong.
    pub(in crate::node) pongs: HistogramVec,
    /// How long commands take, by method.
    durations: Vec<TwinSeries>,
}

impl Wire {
    pub(super) fn new(of: &Family<'_>) -> Result<Self, prometheus::Error> {
        let by_frame = ["transport", "frame_type", "channel_namespace"];
        let frames = |name: &str, help: &str| {
            let size = (format!("{name}_size"), format!("bytes of {help}"));
            Ok::<_, prometheus::Error>((
                of.counters(name, help, &by_frame)?,
                of.counters(&size.0, &size.1, &by_frame)?,
            ))
        };
        let durations = of.twin(
            "client_command_duration_seconds",
            "handling of one command",
            &["method", "channel_namespace"],
            &US,
        )?;
        Ok(Self {
            sent: frames("transport_messages_sent", "replies and pushes")?,
            received: frames("transport_messages_received", "commands")?,
            pongs: of.histograms(
                "client_ping_pong_duration_seconds",
                "time from ping to pong",
                &["transport"],
                &US,
            )?,
            durations: METHODS
                .iter()
                .map(|method| durations.series(&[method, ""]))
                .collect(),
        })
    }

    /// A command took so long.
    pub(in crate::node) fn took(&self, method: usize, seconds: f64) {
        if let Some(durations) = self.durations.get(method) {
            durations.observe(seconds);
        }
    }
}
