//! What happens to clients beside what they asked for (metrics.md 5).

use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGaugeVec};

use super::{Naming, family::Family};
use crate::model::{Disconnect, Unsubscribe};

/// Borders of the number of publications of one recovery.
const RECOVERED: [f64; 15] = [
    0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0,
    10_000.0,
];

/// What clients get besides what they asked for.
#[derive(Debug)]
pub(in crate::node) struct Clients {
    /// Error replies by method and code.
    pub(in crate::node) reply_errors: IntCounterVec,
    /// Unsubscribes by the server.
    unsubscribes: IntCounterVec,
    /// Disconnects by the server.
    disconnects: IntCounterVec,
    /// Recovery attempts.
    recover: IntCounterVec,
    /// Publications of one recovery, if somebody wants to know.
    recovered: Option<Histogram>,
    /// Authenticated connections.
    pub(in crate::node) accepted: IntCounterVec,
    /// Open authenticated connections.
    pub(in crate::node) inflight: IntGaugeVec,
    /// Subscriptions, all there were and those there are.
    pub(in crate::node) subscriptions: (IntCounterVec, IntGaugeVec),
    /// Closed because they read too slowly.
    pub(in crate::node) slow: IntCounter,
    /// Deliveries that were left out, or put off, because a client reads too slowly.
    pub(in crate::node) lagging: IntCounter,
    /// Subscriptions and connections that were ended because publications were missing.
    insufficient: IntCounter,
    /// Ended connections by transport and code of the close.
    closes: IntCounterVec,
    /// What clients may be called in labels.
    pub(in crate::node) names: Names,
}

/// Names of clients that may be label values. All others share one, so that clients cannot make series.
#[derive(Debug)]
pub(in crate::node) struct Names {
    unnamed: Arc<str>,
    unregistered: Arc<str>,
    listed: Vec<Arc<str>>,
}

impl Names {
    fn new(listed: &[String]) -> Self {
        Self {
            unnamed: "unnamed".into(),
            unregistered: "unregistered".into(),
            listed: listed.iter().map(|name| name.as_str().into()).collect(),
        }
    }

    /// The label value of a client with this name.
    pub(in crate::node) fn label(&self, name: &str) -> Arc<str> {
        if name.is_empty() {
            return Arc::clone(&self.unnamed);
        }
        let listed = self.listed.iter().find(|listed| ***listed == *name);
        Arc::clone(listed.unwrap_or(&self.unregistered))
    }
}

impl Clients {
    pub(super) fn new(
        of: &Family<'_>,
        own: &Family<'_>,
        naming: &Naming,
    ) -> Result<Self, prometheus::Error> {
        let by_client = [
            "transport",
            "accept_protocol",
            "client_name",
            "client_version",
        ];
        let by_name = ["client_name", "channel_namespace"];
        let by_error = ["method", "code", "channel_namespace"];
        let by_recovery = [
            "recovered",
            "channel_namespace",
            "has_recovered_publications",
        ];
        let (accepted, inflight) = (
            "authenticated connections",
            "open authenticated connections",
        );
        Ok(Self {
            reply_errors: of.counters("client_num_reply_errors", "error replies", &by_error)?,
            unsubscribes: of.counters(
                "client_num_server_unsubscribes",
                "unsubscribes by the server",
                &["code", "channel_namespace"],
            )?,
            disconnects: of.counters(
                "client_num_server_disconnects",
                "disconnects by the server",
                &["code"],
            )?,
            recover: of.counters("client_recover", "recovery attempts", &by_recovery)?,
            recovered: recovered(of, naming)?,
            accepted: of.counters("client_connections_accepted", accepted, &by_client)?,
            inflight: of.gauges("client_connections_inflight", inflight, &by_client)?,
            subscriptions: (
                of.counters("client_subscriptions_accepted", "subscriptions", &by_name)?,
                of.gauges(
                    "client_subscriptions_inflight",
                    "active subscriptions",
                    &by_name,
                )?,
            ),
            slow: own.counter("client_slow_total", "connections closed as slow readers")?,
            lagging: own.counter(
                "lagging_deliveries_total",
                "deliveries left out or put off because a client reads too slowly",
            )?,
            insufficient: own.counter(
                "client_insufficient_state_total",
                "subscriptions and connections ended because publications were missing",
            )?,
            closes: own.counters(
                "connection_closes_total",
                "ended connections",
                &["transport", "code"],
            )?,
            names: Names::new(&naming.client_names),
        })
    }

    /// Counts a recovery that was asked for.
    pub(in crate::node) fn recovery(&self, recovered: bool, publications: usize) {
        let yes = |flag: bool| if flag { "yes" } else { "no" };
        let labels = [yes(recovered), "", yes(publications > 0)];
        self.recover.with_label_values(&labels).inc();
        if let Some(histogram) = &self.recovered {
            #[expect(clippy::cast_precision_loss, reason = "replies hold less than 2^52")]
            histogram.observe(publications as f64);
        }
    }

    /// Counts an unsubscribe that the client is told of.
    pub(in crate::node) fn unsubscribed(&self, code: u32) {
        self.unsubscribes
            .with_label_values(&[&*code.to_string(), ""])
            .inc();
        if code == Unsubscribe::INSUFFICIENT_STATE.code {
            self.insufficient.inc();
        }
    }

    /// Counts the end of a connection.
    pub(in crate::node) fn closed(&self, transport: &str, why: &Disconnect) {
        let code = why.code.to_string();
        self.closes.with_label_values(&[transport, &code]).inc();
        if *why != Disconnect::CONNECTION_CLOSED {
            self.disconnects.with_label_values(&[&code]).inc();
        }
        if *why == Disconnect::INSUFFICIENT_STATE {
            self.insufficient.inc();
        }
    }
}

fn recovered(of: &Family<'_>, naming: &Naming) -> Result<Option<Histogram>, prometheus::Error> {
    if !naming.recovered_publications {
        return Ok(None);
    }
    let histograms = of.histograms(
        "client_recovered_publications",
        "publications of one recovery",
        &["channel_namespace"],
        &RECOVERED,
    )?;
    Ok(Some(histograms.with_label_values(&[""])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_names_of_clients_are_shown() {
        let names = Names::new(&["js".to_owned()]);
        assert_eq!(&*names.label("js"), "js");
        assert_eq!(&*names.label(""), "unnamed");
        assert_eq!(&*names.label("whatever"), "unregistered");
    }
}
