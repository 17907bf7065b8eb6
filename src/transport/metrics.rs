//! What transports count by themselves (metrics.md 6): close frames. Messages are counted by the node, which knows their kind.

use prometheus::{IntCounterVec, Opts, Registry};

/// Counters of transports.
#[derive(Clone, Debug)]
pub struct Metrics {
    closes: IntCounterVec,
}

impl Metrics {
    /// Makes the counters and registers them; `namespace` is the prefix of compatible names.
    ///
    /// # Errors
    /// When the names are taken in the registry.
    pub fn new(registry: &Registry, namespace: &str) -> Result<Self, prometheus::Error> {
        let closes = IntCounterVec::new(
            Opts::new("transport_outgoing_close_count", "Close frames sent.").namespace(namespace),
            &["transport", "code"],
        )?;
        registry.register(Box::new(closes.clone()))?;
        Ok(Self { closes })
    }

    /// A close frame with this code was sent. Only codes of the server come here, never those of a peer.
    pub(super) fn closed(&self, transport: &str, code: u32) {
        self.closes
            .with_label_values(&[transport, &code.to_string()])
            .inc();
    }
}
