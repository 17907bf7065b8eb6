//! The servers of a Redis Cluster and which slots they own (engines.md 3.12).

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{Value, cmd};
use tokio::time::Instant;

use super::{
    super::{Failure, address::Endpoint, hash, value},
    dial::Dialer,
    server::{Road, Server},
};

/// Shortest time between two questions about the slots.
const PAUSE: Duration = Duration::from_millis(100);

/// The cluster as last seen.
#[derive(Debug)]
pub(super) struct Cluster {
    seeds: Vec<Endpoint>,
    dialer: Dialer,
    servers: Mutex<HashMap<Endpoint, Arc<Server>>>,
    view: Mutex<View>,
    /// One question at a time; holds when the last one was answered.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct View {
    /// First and last slot, and who owns them.
    ranges: Vec<(u16, u16, Arc<Server>)>,
    /// A server did not answer: its slots may have another owner by now.
    doubted: bool,
}

impl Cluster {
    pub(super) async fn open(seeds: Vec<Endpoint>, dialer: Dialer) -> Result<Self, Failure> {
        let cluster = Self {
            seeds,
            dialer,
            servers: Mutex::default(),
            view: Mutex::default(),
            asked: tokio::sync::Mutex::default(),
        };
        cluster.refresh().await?;
        Ok(cluster)
    }

    /// Who has to be asked for a key; anyone when there is no key.
    pub(super) fn owner(&self, key: &str) -> Result<Arc<Server>, Failure> {
        let view = self.view.lock();
        if key.is_empty() {
            let first = view.ranges.first().map(|(.., server)| Arc::clone(server));
            return first.ok_or_else(uncovered);
        }
        let slot = hash::slot(key);
        let owner = view
            .ranges
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&slot));
        owner
            .map(|(.., server)| Arc::clone(server))
            .ok_or_else(uncovered)
    }

    /// One of the owners of slots, another one with another number.
    pub(super) fn any(&self, number: usize) -> Result<Arc<Server>, Failure> {
        let view = self.view.lock();
        let count = view.ranges.len().max(1);
        let owner = view.ranges.get(number % count);
        owner
            .map(|(.., server)| Arc::clone(server))
            .ok_or_else(uncovered)
    }

    /// The server at an address.
    pub(super) fn server(&self, host: &str, port: u16) -> Arc<Server> {
        let endpoint = Endpoint::Tcp(host.to_owned(), port);
        let mut servers = self.servers.lock();
        let server = servers
            .entry(endpoint.clone())
            .or_insert_with(|| Server::new(endpoint, self.dialer.clone()));
        Arc::clone(server)
    }

    /// A server did not answer.
    pub(super) fn doubt(&self) {
        self.view.lock().doubted = true;
    }

    /// Whether a server has not answered since the slots were last learnt.
    pub(super) fn doubted(&self) -> bool {
        self.view.lock().doubted
    }

    /// Learns the slots anew from any server that answers.
    pub(super) async fn refresh(&self) -> Result<(), Failure> {
        let wanted = Instant::now();
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked + PAUSE > wanted) {
            return Ok(());
        }
        let mut question = cmd("CLUSTER");
        question.arg("SLOTS");
        let mut last = uncovered();
        for endpoint in self.candidates() {
            let Endpoint::Tcp(host, port) = &endpoint else {
                continue;
            };
            match self.server(host, *port).ask(Road::Reads, &question).await {
                Ok(Ok(answer)) => {
                    if let Some(ranges) = self.ranges(answer, host) {
                        self.install(ranges);
                        *asked = Some(Instant::now());
                        return Ok(());
                    }
                }
                Ok(Err(error)) => last = Failure::of_greeting(&error, endpoint.to_string()),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Known owners first, then the seeds.
    fn candidates(&self) -> Vec<Endpoint> {
        let view = self.view.lock();
        let owners = view
            .ranges
            .iter()
            .map(|(.., server)| server.endpoint.clone());
        let mut candidates: Vec<Endpoint> = Vec::new();
        for endpoint in owners.chain(self.seeds.iter().cloned()) {
            if !candidates.contains(&endpoint) {
                candidates.push(endpoint);
            }
        }
        candidates
    }

    /// `None` when no slot has an owner. A server that does not know its own name is where it was asked.
    fn ranges(&self, answer: Value, asked: &str) -> Option<Vec<(u16, u16, Arc<Server>)>> {
        let slots = value::slots(answer)?;
        let owned = slots.into_iter().map(|(first, last, host, port)| {
            let host = if host.is_empty() { asked } else { &host };
            (first, last, self.server(host, port))
        });
        let ranges: Vec<_> = owned.collect();
        (!ranges.is_empty()).then_some(ranges)
    }

    /// Servers that own nothing any more are let go; what they still answer is waited for by who asked.
    fn install(&self, ranges: Vec<(u16, u16, Arc<Server>)>) {
        let mut view = self.view.lock();
        view.ranges = ranges;
        view.doubted = false;
        let owners: Vec<_> = view
            .ranges
            .iter()
            .map(|(.., server)| server.endpoint.clone())
            .collect();
        drop(view);
        self.servers
            .lock()
            .retain(|endpoint, _| owners.contains(endpoint) || self.seeds.contains(endpoint));
    }

    pub(super) async fn close(&self) {
        let servers: Vec<_> = self
            .servers
            .lock()
            .drain()
            .map(|(_, server)| server)
            .collect();
        self.view.lock().ranges.clear();
        for server in servers {
            server.close().await;
        }
    }
}

fn uncovered() -> Failure {
    Failure::Refused("no server of the cluster owns the slot; see CLUSTER INFO".to_owned())
}
