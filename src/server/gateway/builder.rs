//! What a program adds to the gateway that it embeds: rules, pages, and a layer in front of everything clients reach.

use std::sync::Arc;

use axum::Router;

use super::{Error, Gateway};
use crate::{config::Config, hooks::Hooks, telemetry::otel::Records};

/// Puts an owner in front of the standard one.
pub(super) type Wrap = Box<dyn FnOnce(Arc<dyn Hooks>) -> Arc<dyn Hooks> + Send>;
/// Puts something around a router.
type Around = Box<dyn Fn(Router) -> Router + Send + Sync>;

/// Everything that was added.
#[derive(Default)]
pub(super) struct Additions {
    pub(super) hooks: Option<Wrap>,
    pub(super) front: Front,
    pub(super) records: Option<Records>,
}

/// Who answers the node's questions.
pub(super) fn owner(wrap: Option<Wrap>, standard: Arc<dyn Hooks>) -> Arc<dyn Hooks> {
    match wrap {
        Some(wrap) => wrap(standard),
        None => standard,
    }
}

/// What clients meet first.
#[derive(Default)]
pub(super) struct Front {
    /// The page of a development server, which answers to names of this machine only.
    pub(super) dev: Option<Router>,
    pub(super) pages: Vec<(String, Router)>,
    around: Option<Around>,
}

impl Front {
    /// A router of clients with the program's layer around it.
    pub(super) fn around(&self, clients: Router) -> Router {
        match &self.around {
            Some(around) => around(clients),
            None => clients,
        }
    }
}

/// A gateway in the making. See `docs/embed.md`.
#[must_use]
pub struct Builder<'c> {
    config: &'c Config,
    additions: Additions,
}

impl std::fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

impl<'c> Builder<'c> {
    pub(super) fn new(config: &'c Config) -> Self {
        Self {
            config,
            additions: Additions::default(),
        }
    }

    /// Asks another owner than the configured policy. It is given that policy as the one to ask for everything else
    /// ([`Hooks::standard`]).
    pub fn hooks(
        mut self,
        wrap: impl FnOnce(Arc<dyn Hooks>) -> Arc<dyn Hooks> + Send + 'static,
    ) -> Self {
        self.additions.hooks = Some(Box::new(wrap));
        self
    }

    /// Serves a path of the external listener; `/` takes every path that nobody else has.
    pub fn page(mut self, path: &str, router: Router) -> Self {
        self.additions.front.pages.push((path.to_owned(), router));
        self
    }

    /// Puts a layer around the services of clients, WebSocket and gRPC alike. It runs before anything is read of the request;
    /// what it puts there as [`crate::model::Credentials`] is who the connection belongs to (gateway.md 2).
    pub fn around_clients(
        mut self,
        around: impl Fn(Router) -> Router + Send + Sync + 'static,
    ) -> Self {
        self.additions.front.around = Some(Box::new(around));
        self
    }

    /// Serves the page of a development server.
    pub(in crate::server) fn dev(mut self, page: Option<Router>) -> Self {
        self.additions.front.dev = page;
        self
    }

    /// Sends the log lines of the process over OTLP, when `centripetal.telemetry.logs` is on.
    pub fn records(mut self, records: Records) -> Self {
        self.additions.records = Some(records);
        self
    }

    /// Builds everything and opens the listeners.
    ///
    /// # Errors
    /// Whatever is wrong with the configuration, a path or a port that is taken.
    pub async fn build(self) -> Result<Gateway, Error> {
        Gateway::with(self.config, self.additions).await
    }
}
