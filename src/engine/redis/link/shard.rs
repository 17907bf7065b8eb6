//! One shard: a server, the master behind sentinels, or a cluster. Finds the server that has to be asked.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::{sync::watch, time::sleep};

use super::{
    super::{
        Failure,
        address::{Location, Topology},
        error,
        scripts::Invocation,
        value,
    },
    cluster::Cluster,
    dial::Dialer,
    sentinel::Sentinel,
    server::{Answer, Road, Server},
};

/// Redirections of one command before it fails.
const REDIRECTIONS: usize = 5;
/// Wait before a command that a moving slot refused is sent again.
const MOVING: Duration = Duration::from_millis(50);

/// One entry of the list of addresses.
#[derive(Debug)]
pub(in crate::engine::redis) struct Shard {
    route: Route,
    io_timeout: Duration,
}

#[derive(Debug)]
enum Route {
    Single(Arc<Server>),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

impl Shard {
    /// Connects once: a shard that cannot be reached stops the start.
    pub(in crate::engine::redis) async fn open(location: Location) -> Result<Self, Failure> {
        let io_timeout = location.greeting.io_timeout;
        let dialer = Dialer::new(location.greeting)?;
        let route = match location.topology {
            Topology::Single(endpoint) => {
                let server = Server::new(endpoint.clone(), dialer.clone());
                // Not every address says that there is a cluster behind it.
                if in_cluster(&server).await? {
                    server.close().await;
                    Route::Cluster(Cluster::open(vec![endpoint], dialer).await?)
                } else {
                    Route::Single(server)
                }
            }
            Topology::Sentinel {
                sentinels,
                greeting,
                master,
            } => {
                let asking = Dialer::new(*greeting)?;
                Route::Sentinel(Sentinel::open(sentinels, asking, master, dialer).await?)
            }
            Topology::Cluster(seeds) => Route::Cluster(Cluster::open(seeds, dialer).await?),
        };
        let shard = Self { route, io_timeout };
        shard.ask(Road::Orders, "", &cmd("PING")).await?;
        Ok(shard)
    }

    pub(in crate::engine::redis) const fn is_cluster(&self) -> bool {
        matches!(self.route, Route::Cluster(_))
    }

    /// `standalone`, `sentinel` or `cluster`, as found.
    pub(in crate::engine::redis) const fn mode(&self) -> &'static str {
        match self.route {
            Route::Single(_) => "standalone",
            Route::Sentinel(_) => "sentinel",
            Route::Cluster(_) => "cluster",
        }
    }

    /// Sends a command for `key` and waits for the answer.
    ///
    /// # Errors
    /// Redis refuses it, or it is not known whether it was carried out.
    pub(in crate::engine::redis) async fn ask(
        &self,
        road: Road,
        key: &str,
        command: &Cmd,
    ) -> Result<Value, Failure> {
        let answer = self.asked(road, key, command).await?;
        answer.map_err(|error| Failure::of_command(&error, self.io_timeout))
    }

    /// Calls a script, by its text when a server does not know it yet.
    ///
    /// # Errors
    /// As [`Shard::ask`].
    pub(in crate::engine::redis) async fn call(
        &self,
        invocation: &Invocation,
    ) -> Result<Value, Failure> {
        let road = invocation.script.road;
        let key = invocation.keys.first().map_or("", String::as_str);
        let answer = match self.asked(road, key, &invocation.by_digest()).await? {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.asked(road, key, &invocation.by_text()).await?
            }
            answer => answer,
        };
        answer.map_err(|error| Failure::of_command(&error, self.io_timeout))
    }

    async fn asked(&self, road: Road, key: &str, command: &Cmd) -> Result<Answer, Failure> {
        match &self.route {
            Route::Single(server) => server.ask(road, command).await,
            Route::Sentinel(sentinel) => {
                let server = sentinel.master();
                let answer = server.ask(road, command).await;
                if answer
                    .as_ref()
                    .map_or(true, |answer| answer.as_ref().is_err_and(error::demoted))
                {
                    sentinel.look_again();
                }
                answer
            }
            Route::Cluster(cluster) => redirected(cluster, road, key, command).await,
        }
    }

    /// Where a connection for PUB/SUB goes: to the owner of the slot of `key`, and without a key to another server of a cluster
    /// with every attempt.
    pub(in crate::engine::redis) fn listening(
        &self,
        attempt: usize,
        key: Option<&str>,
    ) -> Result<Arc<Server>, Failure> {
        match (&self.route, key) {
            (Route::Single(server), _) => Ok(Arc::clone(server)),
            (Route::Sentinel(sentinel), _) => Ok(sentinel.master()),
            (Route::Cluster(cluster), None) => cluster.any(attempt),
            (Route::Cluster(cluster), Some(key)) => cluster.owner(key),
        }
    }

    /// Changes when connections have to go to another server; `None` where they never do.
    pub(in crate::engine::redis) fn moved(&self) -> Option<watch::Receiver<Arc<Server>>> {
        match &self.route {
            Route::Sentinel(sentinel) => Some(sentinel.watch()),
            Route::Single(_) | Route::Cluster(_) => None,
        }
    }

    /// What has to run beside: watching the sentinels.
    pub(in crate::engine::redis) async fn run(&self) {
        if let Route::Sentinel(sentinel) = &self.route {
            sentinel.run().await;
        }
    }

    /// A PUB/SUB connection could not be made: the view of the servers may be old.
    pub(in crate::engine::redis) async fn look_again(&self) {
        match &self.route {
            Route::Single(_) => {}
            Route::Sentinel(sentinel) => sentinel.look_again(),
            Route::Cluster(cluster) => drop(cluster.refresh().await),
        }
    }

    pub(in crate::engine::redis) async fn close(&self) {
        match &self.route {
            Route::Single(server) => server.close().await,
            Route::Sentinel(sentinel) => sentinel.master().close().await,
            Route::Cluster(cluster) => cluster.close().await,
        }
    }
}

/// Follows redirections; a command that was redirected has not been carried out, so sending it again is safe.
async fn redirected(
    cluster: &Cluster,
    road: Road,
    key: &str,
    command: &Cmd,
) -> Result<Answer, Failure> {
    if cluster.doubted() {
        drop(cluster.refresh().await);
    }
    let mut server = cluster.owner(key)?;
    let mut asking = None;
    for _ in 0..REDIRECTIONS {
        let answer = match server.ask_after(road, asking.as_ref(), command).await {
            Ok(answer) => answer,
            Err(failure) => {
                cluster.doubt();
                return Err(failure);
            }
        };
        let Err(error) = &answer else {
            return Ok(answer);
        };
        asking = None;
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => {
                drop(cluster.refresh().await);
                server = redirection(cluster, error)?;
            }
            ErrorKind::Server(ServerErrorKind::Ask) => {
                server = redirection(cluster, error)?;
                asking = Some(cmd("ASKING"));
            }
            ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => {
                sleep(MOVING).await;
                drop(cluster.refresh().await);
                server = cluster.owner(key)?;
            }
            _ => return Ok(answer),
        }
    }
    Err(Failure::Refused(
        "a slot of the cluster keeps moving".to_owned(),
    ))
}

fn redirection(cluster: &Cluster, error: &RedisError) -> Result<Arc<Server>, Failure> {
    let odd = || Failure::Odd("a command");
    let (address, _slot) = error.redirect_node().ok_or_else(odd)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(odd)?;
    let port = port.parse().map_err(|_why| odd())?;
    Ok(cluster.server(host.trim_matches(['[', ']']), port))
}

/// Whether a server says that it is part of a cluster. One that does not understand the question is not.
async fn in_cluster(server: &Server) -> Result<bool, Failure> {
    let mut slots = cmd("CLUSTER");
    slots.arg("SLOTS");
    let answer = server.ask(Road::Reads, &slots).await?;
    Ok(answer.is_ok_and(|answer| value::list(answer).is_some_and(|slots| !slots.is_empty())))
}
