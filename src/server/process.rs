//! What a process adds to a gateway: signals, the file with its number, the configuration read again.

use std::{io, path::PathBuf, pin::pin};

use axum::Router;
use futures_util::future::{Either, select};
use parking_lot::Mutex;

use super::{Error, Gateway, Outcome, Reload, Stop, watch};
use crate::{
    config::{self, Config, Sources},
    telemetry::otel::Records,
};

/// Runs a gateway until a signal ends it. `records` hands log lines on; `page` is served under the root of the external listener, and `ready` is called
/// once all listeners are open.
///
/// # Errors
/// Whatever keeps the gateway from starting.
pub async fn run(
    config: Config,
    sources: Sources,
    (page, records): (Option<Router>, Records),
    ready: impl FnOnce(&Gateway),
) -> Result<Outcome, Error> {
    announce(&config);
    let gateway = Gateway::builder(&config)
        .dev(page)
        .records(records)
        .build()
        .await?;
    let _pid_file = PidFile::write(&config.pid_file)?;
    ready(&gateway);
    let stop = Stop::default();
    let signals = watch(stop.clone(), reloader(gateway.reload(), config, sources))?;
    // The second signal ends the watching; the end it asks for is still carried out.
    match select(pin!(gateway.run(&stop)), pin!(signals)).await {
        Either::Left((outcome, _)) => Ok(outcome),
        Either::Right(((), running)) => Ok(running.await),
    }
}

/// The line operators find the beginning of a run by (metrics.md 17.4).
fn announce(config: &Config) {
    let choice = |section: &str| {
        let enabled = config.section::<bool>(&format!("{section}.enabled"));
        let kind = config.section::<String>(&format!("{section}.type"));
        kind.ok().filter(|_| enabled.unwrap_or(false))
    };
    let (broker, presence) = (choice("broker"), choice("presence_manager"));
    let engine: Option<String> = config.section("engine.type").ok();
    let engine = engine.filter(|_| broker.is_none() || presence.is_none());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        runtime = "tokio",
        pid = std::process::id(),
        gomaxprocs = tokio::runtime::Handle::current().metrics().num_workers(),
        broker,
        presence_manager = presence,
        engine,
        "starting Centripetal"
    );
}

/// Reads the configuration again and takes over what can change; a wrong one changes nothing (config.md 6).
fn reloader(reload: Reload, config: Config, sources: Sources) -> impl Fn() + Send + 'static {
    let present = Mutex::new(config);
    move || {
        tracing::info!("reloading configuration");
        let next = match config::load(&sources) {
            Ok(loaded) => loaded.config,
            Err(error) => {
                reload.unreadable();
                return tracing::error!(%error, "error reading config");
            }
        };
        if let Err(error) = next.validate().and_then(|()| next.refuse_missing()) {
            reload.unreadable();
            return tracing::error!(%error, "error validating config");
        }
        if let Err(error) = reload.apply(&next) {
            return tracing::error!(%error, "error reloading");
        }
        let mut present = present.lock();
        let waiting = next.restart_keys(&present);
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(", "), "changed keys need a restart");
        }
        *present = next;
        tracing::info!("configuration successfully reloaded");
    }
}

/// The file with the number of this process; removed when the process ends in order.
#[derive(Debug)]
struct PidFile(Option<PathBuf>);

impl PidFile {
    fn write(path: &str) -> io::Result<Self> {
        if path.is_empty() {
            return Ok(Self(None));
        }
        std::fs::write(path, std::process::id().to_string())?;
        Ok(Self(Some(PathBuf::from(path))))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(%error, path = %path.display(), "cannot remove pid_file");
        }
    }
}
