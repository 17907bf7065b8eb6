//! What the configuration says about storage: sections `engine`, `broker`, `presence_manager` (config.md 8.3 to 8.5) and
//! `centripetal.redis`. Reads and judges; opening is the gateway's.

use std::time::Duration;

use serde::Deserialize;

use crate::{
    config::{Invalid, Tls, read_pem},
    engine::redis::{self, Options, Redis},
    model::Secret,
};

/// The sections.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    engine: Choice,
    broker: Replacement,
    presence_manager: Replacement,
    centripetal: Own,
}

/// A choice of storage.
#[derive(Clone, Debug, Deserialize)]
struct Choice {
    r#type: String,
    redis: Section,
}

/// A choice that replaces a half of the engine when it is switched on.
#[derive(Clone, Debug, Deserialize)]
struct Replacement {
    enabled: bool,
    r#type: String,
    redis: Section,
}

#[derive(Clone, Debug, Deserialize)]
struct Own {
    redis: OwnRedis,
}

/// Section `centripetal.redis`.
#[derive(Clone, Copy, Debug, Deserialize)]
struct OwnRedis {
    sharded_pub_sub_partitions: usize,
    precomputed_partition_tags: bool,
    cluster_channel_tags: bool,
}

/// Table 7.2 and what Redis sections have beside it; a broker has nothing of presence, and presence nothing of history.
#[derive(Clone, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent options, each a key of config.md 7.2"
)]
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
    #[serde(default)]
    history_use_lists: bool,
    presence_ttl: Option<Duration>,
    #[serde(default)]
    presence_hash_field_ttl: bool,
    #[serde(default)]
    presence_user_mapping: bool,
}

impl std::fmt::Debug for Section {
    /// Without addresses, which may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Section").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Switch {
    enabled: bool,
}

/// Where one half is kept.
#[derive(Debug)]
pub(in crate::server) enum Store {
    /// In this process.
    Memory,
    /// In the Redis of this section.
    Redis(&'static str, Box<Options>),
}

/// Where both halves are kept.
#[derive(Debug)]
pub(in crate::server) struct Plan {
    pub(in crate::server) broker: Store,
    /// `None`: where the broker is.
    pub(in crate::server) presence: Option<Store>,
}

impl Config {
    /// Name of the engine, as operators read it in the log.
    pub(super) fn engine_type(&self) -> &str {
        &self.engine.r#type
    }

    /// Whether addresses, certificates and choices can be used, as far as that can be seen without a connection.
    ///
    /// # Errors
    /// What cannot.
    pub fn check(&self) -> Result<(), Invalid> {
        for (place, kind, section) in self.sections() {
            // Kinds that are known but not there are the start's to refuse.
            if kind == "redis" {
                let checked = Redis::check(&self.options(place, section)?);
                checked.map_err(|why| Invalid::new(format!("{place}: {why}")))?;
            }
        }
        Ok(())
    }

    /// Sections that are used, with their kind.
    fn sections(&self) -> impl Iterator<Item = (&'static str, &str, &Section)> {
        let (engine, broker, presence) = (&self.engine, &self.broker, &self.presence_manager);
        let all = [
            (
                broker.enabled,
                "broker.redis",
                &broker.r#type,
                &broker.redis,
            ),
            (
                presence.enabled,
                "presence_manager.redis",
                &presence.r#type,
                &presence.redis,
            ),
            (
                !(broker.enabled && presence.enabled),
                "engine.redis",
                &engine.r#type,
                &engine.redis,
            ),
        ];
        let used = all.into_iter().filter(|(used, ..)| *used);
        used.map(|(_, place, kind, section)| (place, kind.as_str(), section))
    }

    /// What is to be opened.
    ///
    /// # Errors
    /// A kind that is not there, or a section that cannot be used.
    pub(in crate::server) fn plan(&self) -> Result<Plan, Invalid> {
        let engine = self.engine.r#type.as_str();
        let broker = if self.broker.enabled {
            self.store("broker", &self.broker.r#type, &self.broker.redis)?
        } else {
            self.store("engine", engine, &self.engine.redis)?
        };
        let presence = match (self.presence_manager.enabled, self.broker.enabled) {
            (true, _) => {
                let manager = &self.presence_manager;
                Some(self.store("presence_manager", &manager.r#type, &manager.redis)?)
            }
            (false, true) => Some(self.store("engine", engine, &self.engine.redis)?),
            (false, false) => None,
        };
        Ok(Plan { broker, presence })
    }

    fn store(&self, place: &'static str, kind: &str, section: &Section) -> Result<Store, Invalid> {
        let redis = match place {
            "broker" => "broker.redis",
            "presence_manager" => "presence_manager.redis",
            _ => "engine.redis",
        };
        match kind {
            "memory" => Ok(Store::Memory),
            "redis" => {
                let options = self.options(redis, section)?;
                Ok(Store::Redis(redis, Box::new(options)))
            }
            other => Err(Invalid::new(format!(
                "{place}.type: {other} is not available in this version"
            ))),
        }
    }

    fn options(&self, place: &str, section: &Section) -> Result<Options, Invalid> {
        if section.replica_client.enabled {
            return Err(Invalid::new(format!(
                "{place}.replica_client.enabled is not available in this version"
            )));
        }
        let own = self.centripetal.redis;
        let defaults = Options::default();
        Ok(Options {
            prefix: section.prefix.clone(),
            history_use_lists: section.history_use_lists,
            presence_ttl: section.presence_ttl.unwrap_or(defaults.presence_ttl),
            presence_hash_field_ttl: section.presence_hash_field_ttl,
            presence_user_mapping: section.presence_user_mapping,
            address: section.address.clone(),
            cluster_address: section.cluster_address.clone(),
            sentinel_address: section.sentinel_address.clone(),
            connect_timeout: section.connect_timeout,
            io_timeout: section.io_timeout,
            db: section.db,
            user: section.user.clone(),
            password: section.password.clone(),
            client_name: section.client_name.clone(),
            force_resp2: section.force_resp2,
            tls: tls(&section.tls, place, "tls")?,
            sentinel_master_name: section.sentinel_master_name.clone(),
            sentinel_user: section.sentinel_user.clone(),
            sentinel_password: section.sentinel_password.clone(),
            sentinel_client_name: section.sentinel_client_name.clone(),
            sentinel_tls: tls(&section.sentinel_tls, place, "sentinel_tls")?,
            sharded_pub_sub_partitions: own.sharded_pub_sub_partitions,
            precomputed_partition_tags: own.precomputed_partition_tags,
            cluster_channel_tags: own.cluster_channel_tags,
        })
    }
}

/// TLS as a client; the PEM texts are read here.
fn tls(tls: &Tls, place: &str, key: &str) -> Result<Option<redis::Tls>, Invalid> {
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
    if chain.is_empty() != secret.is_empty() {
        return Err(Invalid::new(format!(
            "{place}.{key}: cert_pem and key_pem belong together"
        )));
    }
    Ok(Some(redis::Tls {
        authority: pem(&tls.server_ca_pem, "server_ca_pem")?,
        identity: (!chain.is_empty()).then(|| (chain, Secret::from(secret))),
        insecure_skip_verify: tls.insecure_skip_verify,
        server_name: tls.server_name.clone(),
    }))
}
