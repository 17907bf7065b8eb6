//! Opens the engine that the configuration asks for (`storage` reads it).

use prometheus::Registry;

use super::super::Error;
use crate::{
    config::Config,
    engine::{
        Engine, EventSender,
        memory::Memory,
        redis::{self, Redis},
    },
    model::NodeId,
    server::storage::{self, Plan, Store},
};

/// Who asks for an engine.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) id: NodeId,
    pub(super) events: EventSender,
    pub(super) registry: Registry,
    /// How compatible metric names begin.
    pub(super) namespace: String,
}

impl Asking {
    fn node(&self) -> redis::Node {
        redis::Node {
            id: self.id.clone(),
            events: self.events.clone(),
            registry: self.registry.clone(),
            namespace: self.namespace.clone(),
        }
    }

    fn memory(&self) -> Engine {
        Memory::new(self.events.clone()).into_engine()
    }
}

/// Opens what is configured. Without the storage there is no start.
pub(super) async fn open(config: &Config, asking: &Asking) -> Result<Engine, Error> {
    let storage: storage::Config = config.section("")?;
    tracing::info!(engine_type = storage.engine_type(), "initializing engine");
    let Plan { broker, presence } = storage.plan()?;
    // One engine has both halves.
    let both = matches!((&broker, &presence), (Store::Memory, Some(Store::Memory)));
    let mut engine = match broker {
        Store::Memory => asking.memory(),
        Store::Redis(place, options) => {
            connected(place, Redis::connect(*options, asking.node()).await)?.into_engine()
        }
    };
    match presence {
        None => {}
        Some(Store::Memory) if both => {}
        Some(Store::Memory) => engine.presence = asking.memory().presence,
        Some(Store::Redis(place, options)) => {
            let redis = Redis::connect_presence(*options, asking.node()).await;
            engine.presence = connected(place, redis)?.into_engine().presence;
        }
    }
    Ok(engine)
}

fn connected(place: &str, redis: Result<Redis, redis::Failure>) -> Result<Redis, Error> {
    redis.map_err(|why| Error::Engine {
        place: place.to_owned(),
        why,
    })
}
