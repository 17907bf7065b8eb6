//! What SockJS counts: sessions in its table, and requests it had to refuse.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// How own names begin.
const NAMESPACE: &str = "centripetal";

/// Why a request got less than it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another receiver is there.
    SecondReceiver,
    /// What was sent before is not processed yet.
    Busy,
    /// The payload is over the limit.
    TooLarge,
    /// The payload did not come in time.
    Timeout,
    /// The origin may not send.
    Origin,
}

impl Refusal {
    const ALL: [Self; 5] = [
        Self::SecondReceiver,
        Self::Busy,
        Self::TooLarge,
        Self::Timeout,
        Self::Origin,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::SecondReceiver => "second_receiver",
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Origin => "origin",
        }
    }
}

/// Counters of SockJS.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Sessions that can be asked for, those that have just ended among them. Not those of WebSockets.
    pub(super) sessions: IntGauge,
    refused: IntCounterVec,
}

impl Metrics {
    /// Makes the counters and registers them.
    ///
    /// # Errors
    /// When the names are taken in the registry.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let sessions = IntGauge::with_opts(
            Opts::new("sockjs_sessions", "SockJS sessions over HTTP.").namespace(NAMESPACE),
        )?;
        let refused = IntCounterVec::new(
            Opts::new("sockjs_refused_total", "SockJS requests refused.").namespace(NAMESPACE),
            &["reason"],
        )?;
        // All show from the start.
        for why in Refusal::ALL {
            refused.with_label_values(&[why.label()]);
        }
        registry.register(Box::new(sessions.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self { sessions, refused })
    }

    pub(super) fn refused(&self, why: Refusal) {
        self.refused.with_label_values(&[why.label()]).inc();
    }
}
