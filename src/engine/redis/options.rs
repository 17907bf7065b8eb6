//! What the engine is told: table 7.2 of config.md and the options beside it.

use std::time::Duration;

use super::{Failure, keys::Scheme, partition::Partitions};
use crate::model::Secret;

/// Settings of one Redis section.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent options, each a key of config.md 7.2"
)]
pub struct Options {
    /// How all keys and PUB/SUB channels begin.
    pub prefix: String,
    /// History in lists, not streams.
    pub history_use_lists: bool,
    /// Life of a presence entry that nobody renews.
    pub presence_ttl: Duration,
    /// Let Redis expire single entries (7.4 or newer).
    pub presence_hash_field_ttl: bool,
    /// Keep a second hash of users.
    pub presence_user_mapping: bool,
    /// Addresses; several are shards.
    pub address: Vec<String>,
    /// Clusters; before the other addresses.
    pub cluster_address: Vec<String>,
    /// Groups of sentinels; before `address`.
    pub sentinel_address: Vec<String>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for one answer.
    pub io_timeout: Duration,
    /// Number of the database.
    pub db: u32,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// Name that Redis shows for the connection.
    pub client_name: String,
    /// Speak RESP2.
    pub force_resp2: bool,
    /// TLS to Redis.
    pub tls: Option<Tls>,
    /// Name of the master that sentinels watch.
    pub sentinel_master_name: String,
    /// User at the sentinels.
    pub sentinel_user: String,
    /// Password at the sentinels.
    pub sentinel_password: Secret,
    /// Name that sentinels show for the connection.
    pub sentinel_client_name: String,
    /// TLS to the sentinels.
    pub sentinel_tls: Option<Tls>,
    /// Partitions of sharded PUB/SUB in a cluster; 0 for plain PUB/SUB.
    pub sharded_pub_sub_partitions: usize,
    /// Tags of partitions from tables, which spread them evenly (16, 32, 64 or 128 partitions).
    pub precomputed_partition_tags: bool,
    /// Names of PUB/SUB in a cluster carry tags, as Centrifugo 6.6 and newer have it.
    pub cluster_channel_tags: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "centrifugo".to_owned(),
            history_use_lists: false,
            presence_ttl: Duration::from_secs(60),
            presence_hash_field_ttl: false,
            presence_user_mapping: false,
            address: vec!["redis://127.0.0.1:6379".to_owned()],
            cluster_address: Vec::new(),
            sentinel_address: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            io_timeout: Duration::from_secs(4),
            db: 0,
            user: String::new(),
            password: Secret::default(),
            client_name: String::new(),
            force_resp2: false,
            tls: None,
            sentinel_master_name: String::new(),
            sentinel_user: String::new(),
            sentinel_password: Secret::default(),
            sentinel_client_name: String::new(),
            sentinel_tls: None,
            sharded_pub_sub_partitions: 0,
            precomputed_partition_tags: false,
            cluster_channel_tags: true,
        }
    }
}

impl Options {
    /// How names are formed at a shard that is a cluster or is none.
    ///
    /// # Errors
    /// Partitions that the shard cannot have.
    pub(super) fn scheme(&self, cluster: bool) -> Result<Scheme, Failure> {
        let partitions = match self.sharded_pub_sub_partitions {
            0 => None,
            _ if !cluster => {
                return Err(Failure::Unsupported(
                    "sharded_pub_sub_partitions needs Redis Cluster; set it to 0",
                ));
            }
            count => Some(self.partitions(count)?),
        };
        Ok(Scheme {
            cluster,
            channel_tags: cluster && self.cluster_channel_tags,
            lists: self.history_use_lists,
            partitions,
        })
    }

    fn partitions(&self, count: usize) -> Result<Partitions, Failure> {
        let partitions = Partitions::new(count, self.precomputed_partition_tags);
        partitions.ok_or(Failure::Unsupported(if self.precomputed_partition_tags {
            "precomputed_partition_tags needs 16, 32, 64 or 128 sharded_pub_sub_partitions"
        } else {
            "sharded_pub_sub_partitions is at most 1024"
        }))
    }
}

/// TLS as a client. All texts are PEM.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Authority of the server; empty for those of the system.
    pub authority: String,
    /// Certificate chain and key of this client.
    pub identity: Option<(String, Secret)>,
    /// Take any certificate.
    pub insecure_skip_verify: bool,
    /// Name to send and to verify; empty for the host.
    pub server_name: String,
}
