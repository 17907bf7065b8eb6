//! Which nodes there are (engines.md 1.8): each tells of itself every 3 s, and who is silent for 7 s is forgotten.
//!
//! Owns the table of the other nodes and the task that announces this one. Never sends anything once the node has left.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::model::{Control, NodeId, NodeInfo};

/// Time between two announcements.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3);
/// The table is looked through once in so many announcements.
const SWEEP_EVERY: u32 = 3;
/// A node that was silent for longer is taken for dead.
const SILENT: Duration = Duration::from_secs(7);
/// Nodes that are remembered; a fleet is far smaller, and nobody shall fill the memory.
const NODES_MAX: usize = 4096;
/// Longest wait for the farewell: the connections are waiting for their end.
const FAREWELL: Duration = Duration::from_secs(1);

/// The other nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: Mutex<HashMap<NodeId, Known>>,
    /// Held while this node speaks of itself, so that nothing comes after its farewell.
    voice: tokio::sync::Mutex<()>,
    left: CancellationToken,
}

#[derive(Debug)]
struct Known {
    info: NodeInfo,
    heard: Instant,
}

/// What an announcement was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The first of this node: it wants to know who else there is.
    Newcomer,
    /// One of many.
    Known,
    /// The table is full.
    Refused,
}

impl Nodes {
    /// A node has told of itself. Without metrics those it told before stay.
    pub(super) fn heard(&self, mut info: NodeInfo) -> Heard {
        let heard = Instant::now();
        let mut known = self.known.lock();
        let full = known.len() >= NODES_MAX;
        match known.entry(info.uid.clone()) {
            Entry::Occupied(mut entry) => {
                let before = entry.get_mut();
                info.metrics = info.metrics.take().or_else(|| before.info.metrics.take());
                *before = Known { info, heard };
                Heard::Known
            }
            Entry::Vacant(_) if full => Heard::Refused,
            Entry::Vacant(entry) => {
                entry.insert(Known { info, heard });
                Heard::Newcomer
            }
        }
    }

    /// A node has left.
    pub(super) fn forget(&self, node: &NodeId) {
        self.known.lock().remove(node);
    }

    /// Forgets who has been silent for too long, and tells who that was.
    fn sweep(&self) -> Vec<NodeId> {
        let gone: Vec<_> = {
            let mut known = self.known.lock();
            known
                .extract_if(|_, node| node.heard.elapsed() > SILENT)
                .map(|(node, _)| node)
                .collect()
        };
        for node in &gone {
            tracing::warn!(%node, "node is silent and taken for dead");
        }
        gone
    }

    /// Number of nodes, this one not counted.
    pub(super) fn others(&self) -> usize {
        self.known.lock().len()
    }

    /// True for another node that is there.
    pub(super) fn knows(&self, node: &NodeId) -> bool {
        self.known.lock().contains_key(node)
    }

    /// Identifiers of the other nodes.
    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.known.lock().keys().cloned().collect()
    }

    /// What the other nodes told of themselves, by name.
    pub(super) fn infos(&self) -> Vec<NodeInfo> {
        let known = self.known.lock();
        let mut infos: Vec<_> = known.values().map(|node| node.info.clone()).collect();
        drop(known);
        infos.sort_by(|a, b| (&a.name, &a.uid).cmp(&(&b.name, &b.uid)));
        infos
    }
}

/// Announces this node until it leaves, and sweeps the table. Begins with the first snapshot, which goes along.
pub(super) async fn run(shared: Arc<Shared>) {
    let announcing = async {
        shared.snapshot.first().await;
        let mut ticks = interval(ANNOUNCE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = 0_u32;
        loop {
            ticks.tick().await;
            announce(&shared, None).await;
            tick = tick.wrapping_add(1);
            if tick.is_multiple_of(SWEEP_EVERY) {
                for node in shared.nodes.sweep() {
                    shared.surveys.gone(&node);
                }
            }
        }
    };
    shared.stop.run_until_cancelled(announcing).await;
}

/// Tells of this node; to one, or to all others. Metrics go along when nobody was told them yet.
pub(super) async fn announce(shared: &Shared, to: Option<&NodeId>) {
    let _voice = shared.nodes.voice.lock().await;
    if shared.nodes.left.is_cancelled() {
        return;
    }
    let metrics = shared.snapshot.take_fresh();
    let fresh = metrics.is_some();
    let info = NodeInfo {
        metrics,
        ..shared.info()
    };
    if let Err(error) = shared.say(to, &Control::Node(Box::new(info))).await {
        tracing::error!(%error, "error publishing node info");
        if fresh {
            shared.snapshot.renew();
        }
    }
}

/// Tells the others that this node leaves. It does not speak of itself any more.
pub(super) async fn leave(shared: &Shared) {
    shared.nodes.left.cancel();
    let farewell = async {
        let _voice = shared.nodes.voice.lock().await;
        shared.say(None, &Control::Shutdown).await
    };
    match timeout(FAREWELL, farewell).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the other nodes were not told of the shutdown"),
        Err(_elapsed) => tracing::warn!("the other nodes were not told of the shutdown in time"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn node(uid: &str) -> NodeInfo {
        NodeInfo {
            uid: uid.into(),
            name: uid.to_owned(),
            ..NodeInfo::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_is_forgotten_and_one_that_speaks_is_not() {
        let nodes = Nodes::default();
        assert_eq!(nodes.heard(node("a")), Heard::Newcomer);
        assert_eq!(nodes.heard(node("b")), Heard::Newcomer);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(nodes.heard(node("b")), Heard::Known);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(nodes.sweep().is_empty(), "seven seconds are not too long");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(nodes.sweep(), [NodeId::from("a")]);
        assert_eq!(nodes.ids(), [NodeId::from("b")]);
        assert_eq!(nodes.heard(node("a")), Heard::Newcomer, "it is new again");
        nodes.forget(&"a".into());
        assert_eq!(nodes.others(), 1);
    }

    #[tokio::test]
    async fn metrics_stay_until_others_come() {
        let nodes = Nodes::default();
        let with = |value| NodeInfo {
            metrics: Some((60.0, BTreeMap::from([("m".to_owned(), value)]))),
            ..node("a")
        };
        let metric = || nodes.infos()[0].metrics.clone().unwrap().1["m"];
        nodes.heard(with(1.0));
        nodes.heard(NodeInfo {
            num_clients: 5,
            ..node("a")
        });
        assert_eq!((metric(), nodes.infos()[0].num_clients), (1.0, 5));
        nodes.heard(with(2.0));
        assert_eq!(metric(), 2.0);
    }

    #[tokio::test]
    async fn a_full_table_takes_nobody_and_keeps_those_it_has() {
        let nodes = Nodes::default();
        for n in 0..NODES_MAX {
            assert_eq!(nodes.heard(node(&n.to_string())), Heard::Newcomer);
        }
        assert_eq!(nodes.heard(node("more")), Heard::Refused);
        assert_eq!(nodes.heard(node("7")), Heard::Known);
        assert_eq!(nodes.others(), NODES_MAX);
    }
}
