//! The master that sentinels know, and watching whether it is still the same (engines.md 3.11).

use std::{sync::Arc, time::Duration};

use redis::cmd;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{
    super::{Failure, address::Endpoint, value},
    dial::Dialer,
    server::{Road, Server},
};

/// How often the sentinels are asked without a reason.
const PERIOD: Duration = Duration::from_secs(1);
/// Shortest time between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Sentinels and what they said last.
#[derive(Debug)]
pub(super) struct Sentinel {
    sentinels: Vec<Arc<Server>>,
    name: String,
    dialer: Dialer,
    master: watch::Sender<Arc<Server>>,
    doubt: Notify,
}

impl Sentinel {
    pub(super) async fn open(
        sentinels: Vec<Endpoint>,
        asking: Dialer,
        name: String,
        dialer: Dialer,
    ) -> Result<Self, Failure> {
        let sentinels: Vec<_> = sentinels
            .into_iter()
            .map(|endpoint| Server::new(endpoint, asking.clone()))
            .collect();
        let endpoint = known(&sentinels, &name).await?;
        let (master, _) = watch::channel(Server::new(endpoint, dialer.clone()));
        Ok(Self {
            sentinels,
            name,
            dialer,
            master,
            doubt: Notify::new(),
        })
    }

    pub(super) fn master(&self) -> Arc<Server> {
        Arc::clone(&self.master.borrow())
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<Server>> {
        self.master.subscribe()
    }

    /// Something is wrong with the master: asks the sentinels at once.
    pub(super) fn look_again(&self) {
        self.doubt.notify_one();
    }

    /// Follows the master until dropped.
    pub(super) async fn run(&self) {
        loop {
            drop(timeout(PERIOD, self.doubt.notified()).await);
            tokio::time::sleep(PAUSE).await;
            let endpoint = match known(&self.sentinels, &self.name).await {
                Ok(endpoint) => endpoint,
                Err(error) => {
                    tracing::debug!(%error, "sentinels do not answer");
                    continue;
                }
            };
            let old = self.master();
            if old.endpoint != endpoint {
                tracing::info!(master = %endpoint, "Redis has another master");
                let server = Server::new(endpoint, self.dialer.clone());
                self.master.send_replace(server);
                old.close().await;
            }
        }
    }
}

/// The first answer of any sentinel.
async fn known(sentinels: &[Arc<Server>], name: &str) -> Result<Endpoint, Failure> {
    let mut question = cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(name);
    let mut last = Failure::NoMaster(name.to_owned());
    for sentinel in sentinels {
        match sentinel.ask(Road::Reads, &question).await {
            Ok(Ok(answer)) => {
                if let Some(endpoint) = value::address(answer) {
                    return Ok(endpoint);
                }
            }
            Ok(Err(error)) => last = Failure::of_greeting(&error, sentinel.endpoint.to_string()),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}
