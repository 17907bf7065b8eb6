//! The engine out of the sections `engine`, `broker` and `presence_manager` (config.md 8.3 to 8.5).

use std::time::Duration;

use prometheus::Registry;
use serde::Deserialize;

use super::{super::Error, NAMESPACE};
use crate::{
    config::{Config, Invalid, Tls, read_pem},
    engine::{
        Engine, EventSender,
        memory::Memory,
        redis::{self, Options, Redis},
    },
    model::{NodeId, Secret},
};

/// A choice of storage.
#[derive(Clone, Debug, Deserialize)]
struct Choice {
    r#type: String,
}

/// A choice that replaces a half of the engine when it is switched on.
#[derive(Clone, Debug, Deserialize)]
struct Replacement {
    enabled: bool,
    r#type: String,
}

/// Table 7.2 and the options that every Redis section has.
#[derive(Deserialize)]
struct Section {
    prefix: String,
    address: Vec<String>,
    cluster_address: Vec<String>,
    sentinel_address: Vec<String>,
    connect_timeout: Duration,
    io_timeout: Duration,
    db: u32,
    user: String,
    password: Secret,
    client_name: String,
    force_resp2: bool,
    tls: Tls,
    sentinel_master_name: String,
    sentinel_user: String,
    sentinel_password: Secret,
    sentinel_client_name: String,
    sentinel_tls: Tls,
    replica_client: Switch,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Switch {
    enabled: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Lists {
    history_use_lists: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct PresenceSection {
    presence_ttl: Duration,
    presence_hash_field_ttl: bool,
    presence_user_mapping: bool,
}

/// Who asks for an engine.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) id: NodeId,
    pub(super) events: EventSender,
    pub(super) registry: Registry,
}

impl Asking {
    fn node(&self) -> redis::Node {
        redis::Node {
            id: self.id.clone(),
            events: self.events.clone(),
            registry: self.registry.clone(),
            namespace: NAMESPACE.to_owned(),
        }
    }
}

/// Opens what is configured. Without the storage there is no start.
pub(super) async fn open(config: &Config, asking: &Asking) -> Result<Engine, Error> {
    let choice: Choice = config.section("engine")?;
    let broker = replacement(config, "broker")?;
    let presence = replacement(config, "presence_manager")?;
    tracing::info!(engine_type = choice.r#type, "initializing engine");
    let mut engine = match broker.as_deref().unwrap_or(&choice.r#type) {
        "redis" => {
            let place = if broker.is_some() {
                "broker.redis"
            } else {
                "engine.redis"
            };
            let options = options(config, place, "engine.redis")?;
            connected(place, Redis::connect(options, asking.node()).await)?.into_engine()
        }
        "memory" => Memory::new(asking.events.clone()).into_engine(),
        other => return Err(unknown("broker", other)),
    };
    match (
        broker.as_deref(),
        presence.as_deref(),
        choice.r#type.as_str(),
    ) {
        // One engine has both halves.
        (None, None, _) | (Some("memory"), None, "memory") => {}
        (_, Some("redis"), _) => {
            engine.presence = presence_in_redis(config, asking, "presence_manager.redis").await?;
        }
        (_, None, "redis") => {
            engine.presence = presence_in_redis(config, asking, "engine.redis").await?;
        }
        (_, Some("memory"), _) | (_, None, "memory") => {
            engine.presence = Memory::new(asking.events.clone()).into_engine().presence;
        }
        (_, Some(other), _) | (_, None, other) => {
            return Err(unknown("presence_manager", other));
        }
    }
    Ok(engine)
}

async fn presence_in_redis(
    config: &Config,
    asking: &Asking,
    place: &str,
) -> Result<std::sync::Arc<dyn crate::engine::Presence>, Error> {
    let options = options(config, place, place)?;
    let redis = Redis::connect_presence(options, asking.node()).await;
    Ok(connected(place, redis)?.into_engine().presence)
}

fn connected(place: &str, redis: Result<Redis, redis::Failure>) -> Result<Redis, Error> {
    redis.map_err(|why| Error::Engine {
        place: place.to_owned(),
        why,
    })
}

/// The kind of a replacement that is switched on.
fn replacement(config: &Config, place: &str) -> Result<Option<String>, Error> {
    let replacement: Replacement = config.section(place)?;
    Ok(replacement.enabled.then_some(replacement.r#type))
}

fn unknown(place: &str, kind: &str) -> Error {
    Invalid::new(format!(
        "{place}.type: {kind} is not available in this version"
    ))
    .into()
}

/// The options of a section; those of presence from another place, since a broker's section has none.
fn options(config: &Config, place: &str, presence: &str) -> Result<Options, Error> {
    let section: Section = config.section(place)?;
    if section.replica_client.enabled {
        let text = format!("{place}.replica_client.enabled is not available in this version");
        return Err(Invalid::new(text).into());
    }
    let lists = if place == "presence_manager.redis" {
        false
    } else {
        config.section::<Lists>(place)?.history_use_lists
    };
    let presence: PresenceSection = config.section(presence)?;
    Ok(Options {
        prefix: section.prefix,
        history_use_lists: lists,
        presence_ttl: presence.presence_ttl,
        presence_hash_field_ttl: presence.presence_hash_field_ttl && place != "broker.redis",
        presence_user_mapping: presence.presence_user_mapping,
        address: section.address,
        cluster_address: section.cluster_address,
        sentinel_address: section.sentinel_address,
        connect_timeout: section.connect_timeout,
        io_timeout: section.io_timeout,
        db: section.db,
        user: section.user,
        password: section.password,
        client_name: section.client_name,
        force_resp2: section.force_resp2,
        tls: tls(&section.tls, place, "tls")?,
        sentinel_master_name: section.sentinel_master_name,
        sentinel_user: section.sentinel_user,
        sentinel_password: section.sentinel_password,
        sentinel_client_name: section.sentinel_client_name,
        sentinel_tls: tls(&section.sentinel_tls, place, "sentinel_tls")?,
    })
}

/// TLS as a client; the PEM texts are read here.
fn tls(tls: &Tls, place: &str, key: &str) -> Result<Option<redis::Tls>, Error> {
    if !tls.enabled {
        return Ok(None);
    }
    let pem = |option: &str, name: &str| {
        if option.is_empty() {
            return Ok(String::new());
        }
        read_pem(option).map_err(|why| Invalid::new(format!("{place}.{key}.{name}: {why}")))
    };
    let (chain, secret) = (
        pem(&tls.cert_pem, "cert_pem")?,
        pem(&tls.key_pem, "key_pem")?,
    );
    Ok(Some(redis::Tls {
        authority: pem(&tls.server_ca_pem, "server_ca_pem")?,
        identity: (!chain.is_empty()).then(|| (chain, Secret::from(secret))),
        insecure_skip_verify: tls.insecure_skip_verify,
        server_name: tls.server_name.clone(),
    }))
}
