//! Engine, broker, presence manager, map broker, controller (config.md 8.3–8.7).

use super::{
    shared::{NATS, OUTBOX, REDIS, TLS},
    table::{bool, int, map, millis, off, secret, secs, section, text},
};

table! {
    PREFIX:
    B prefix text("centrifugo") "How all keys and channel names begin; nodes of one cluster share it.";
}

table! {
    HISTORY_LISTS:
    C history_use_lists bool(false) "Keep history in lists, not streams: no paging, no idempotency, no reverse reads.";
}

table! {
    PRESENCE:
    B presence_ttl            secs(60)    "Life of a presence entry that nobody renews.";
    C presence_hash_field_ttl bool(false) "Let Redis expire single entries (Redis 7.4 or newer).";
    C presence_user_mapping   bool(false) "Keep a second hash of users; makes presence statistics cheaper.";
}

table! {
    ENGINE:
    A type  text("memory") "Engine: `memory` for one node, nothing to install; `redis` for many nodes." [flag];
    A redis section(&[PREFIX, REDIS, HISTORY_LISTS, PRESENCE]) "Redis for the engine.";
}

table! {
    RAW_MODE:
    C enabled              bool(false) "Switches raw mode on: the subject is the channel, the message the payload.";
    C channel_replacements map()       "Texts to replace on the way from channel to subject.";
    C prefix               text("")    "How subjects begin in raw mode.";
}

table! {
    NATS_PREFIX:
    B prefix text("centrifugo") "How subjects begin.";
}

table! {
    NATS_MORE:
    C allow_wildcards bool(false)          "Clients may subscribe to NATS wildcards; such channels have neither presence nor join and leave.";
    C raw_mode        section(&[RAW_MODE]) "Exchange plain payloads with other NATS programs.";
}

table! {
    BROKER_POSTGRES:
    C dsn                      secret()     "Connection string.";
    C tls                      section(&[TLS]) "TLS to PostgreSQL.";
    C pool_size                int(16)      "Connections kept open.";
    C num_shards               int(8)       "Workers that deliver in parallel.";
    C cleanup_interval         secs(60)     "How often old rows are removed.";
    C idempotent_result_ttl    secs(300)    "How long idempotency keys are remembered.";
    C binary_data              bool(false)  "Store payloads as bytes, not as JSON.";
    C stream_retention         secs(86_400) "Least time that offset and epoch are remembered.";
    C use_notify               bool(false)  "Wake up by LISTEN and NOTIFY.";
    C notify_dsn               secret()     "Direct connection for LISTEN, past a pooler.";
    C table_prefix             text("cf")   "How table names begin.";
    C skip_schema_init         bool(false)  "Do not create tables.";
    C outbox                   section(&[OUTBOX]) "How delivery polls.";
    C partition_lookahead_days int(2)       "Daily partitions made in advance.";
    C partition_retention_days int(7)       "Days until a partition is dropped.";
}

table! {
    REDIS_NATS:
    C nats  section(&[NATS_PREFIX, NATS, NATS_MORE]) "NATS half.";
    C redis section(&[PREFIX, REDIS, HISTORY_LISTS]) "Redis half.";
}

table! {
    BROKER:
    B enabled   bool(false)    "Use a broker of its own in place of the engine's." [flag];
    B type      text("memory") "Kind of that broker: `memory`, `redis`, `nats` (no history) or `postgres`." [flag];
    B redis     section(&[PREFIX, REDIS, HISTORY_LISTS]) "Redis as broker.";
    B nats      section(&[NATS_PREFIX, NATS, NATS_MORE]) "NATS as broker.";
    C postgres  section(&[BROKER_POSTGRES]) "PostgreSQL as broker.";
    C redisnats section(&[REDIS_NATS]) "A combination that was never released; refused." [hidden];
}

table! {
    PRESENCE_MANAGER:
    B enabled bool(false)    "Use a presence store of its own in place of the engine's." [flag];
    B type    text("memory") "Kind of that presence store: `memory` or `redis`." [flag];
    B redis   section(&[PREFIX, REDIS, PRESENCE]) "Redis for presence.";
}

table! {
    MAP_REDIS:
    C cleanup_interval      off(1)      "How often expired keys are removed; negative means never.";
    C cleanup_batch_size    int(100)    "Keys removed per channel each time.";
    C idempotent_result_ttl secs(300)   "How long idempotency keys are remembered.";
    C skip_pub_sub          bool(false) "Only store, tell nobody.";
}

table! {
    MAP_POSTGRES:
    C dsn                      secret()     "Connection string.";
    C tls                      section(&[TLS]) "TLS to PostgreSQL.";
    C pool_size                int(16)      "Connections kept open.";
    C num_shards               int(8)       "Workers that deliver in parallel.";
    C ttl_check_interval       secs(1)      "How often expired keys are looked for.";
    C cleanup_interval         secs(60)     "How often old rows are removed.";
    C idempotent_result_ttl    secs(300)    "How long idempotency keys are remembered.";
    C binary_data              bool(false)  "Store payloads as bytes, not as JSON.";
    C stream_retention         secs(86_400) "Life of rows that record changes.";
    C use_notify               bool(false)  "Wake up by LISTEN and NOTIFY.";
    C notify_dsn               secret()     "Direct connection for LISTEN, past a pooler.";
    C table_prefix             text("cf")   "How table names begin.";
    C skip_schema_init         bool(false)  "Do not create tables.";
    C outbox                   section(&[OUTBOX]) "How delivery polls.";
    C partition_lookahead_days int(2)       "Daily partitions made in advance; at least one.";
    C partition_retention_days int(7)       "Days until a partition is dropped.";
}

table! {
    MAP_BROKER:
    C type     text("memory") "Storage of map channels: `memory`, `redis` or `postgres`." [flag, only(&["memory"])];
    C redis    section(&[PREFIX, REDIS, MAP_REDIS]) "Redis for map channels.";
    C postgres section(&[MAP_POSTGRES]) "PostgreSQL for map channels.";
}

table! {
    CONTROLLER_POSTGRES:
    C dsn                        secret()    "Connection string.";
    C tls                        section(&[TLS]) "TLS to PostgreSQL.";
    C pool_size                  int(8)      "Connections kept open.";
    C num_shards                 int(1)      "Shards in which publishing is put in order.";
    C table_prefix               text("cf")  "How table names begin.";
    C poll_interval              millis(50)  "How often to look while nothing happens.";
    C use_notify                 bool(false) "Wake up by LISTEN and NOTIFY.";
    C notify_dsn                 secret()    "Direct connection for LISTEN, past a pooler.";
    C partition_retention_days   int(1)      "Days until a partition is dropped.";
    C partition_lookahead_days   int(2)      "Daily partitions made in advance.";
    C partition_cleanup_interval secs(60)    "How often partitions are looked after.";
    C batch_size                 int(1000)   "Rows read at once.";
    C skip_schema_init           bool(false) "Do not create tables.";
}

table! {
    CONTROLLER:
    C enabled  bool(false) "Send messages between nodes this way, not through the broker." [missing];
    C type     text("")    "`postgres` is the only one.";
    C postgres section(&[CONTROLLER_POSTGRES]) "PostgreSQL as controller.";
}
