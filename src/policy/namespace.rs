//! Namespaces: their options, checked and ready, and finding the one of a channel (server-api.md 7.1, config.md 9).
//!
//! A lookup allocates nothing and hands out shared options.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use regex::Regex;

use super::{
    Error,
    channel::{Name, Naming},
    config::{ChannelConfig, ChannelOptionsConfig},
};
use crate::{
    auth::pattern,
    model::{
        Batch, ChannelOptions, ClientError, DataFormat, RecoveryMode, SlowPolicy, SubscribeOptions,
        SubscriptionType,
    },
};

/// A namespace, or the channels without one.
#[derive(Debug)]
pub(super) struct Namespace {
    /// What a node needs to know.
    pub(super) channel: Arc<ChannelOptions>,
    /// Everything as configured, permissions above all.
    pub(super) allow: ChannelOptionsConfig,
    pattern: Option<Regex>,
}

/// All namespaces of one configuration.
#[derive(Debug)]
pub(super) struct Namespaces {
    pub(super) naming: Naming,
    pub(super) max_length: usize,
    default: Arc<Namespace>,
    named: HashMap<Box<str>, Arc<Namespace>>,
}

/// Who asks for something, as far as permissions distinguish.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) anonymous: bool,
    /// Is subscribed to the channel, or about to be.
    pub(super) subscribed: bool,
}

/// A channel whose namespace was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved<'a> {
    pub(super) name: Name<'a>,
    pub(super) namespace: &'a Namespace,
}

impl Namespaces {
    pub(super) fn new(config: &ChannelConfig) -> Result<Self, Error> {
        let mut named = BTreeMap::new();
        for entry in &config.namespaces {
            if !is_name(&entry.name) {
                return Err(Error::Name(entry.name.clone()));
            }
            let namespace = Namespace::new(&entry.name, &entry.options, config)?;
            if named.insert(entry.name.clone(), namespace).is_some() {
                return Err(Error::Duplicate(entry.name.clone()));
            }
        }
        let shared = |(name, namespace): (String, Namespace)| (name.into(), Arc::new(namespace));
        Ok(Self {
            naming: Naming::from(config),
            max_length: config.max_length,
            default: Arc::new(Namespace::new("", &config.without_namespace, config)?),
            named: named.into_iter().map(shared).collect(),
        })
    }

    /// The namespace of this name; empty for channels without one.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Namespace>> {
        if name.is_empty() {
            Some(&self.default)
        } else {
            self.named.get(name)
        }
    }

    /// Finds the namespace of a channel.
    pub(super) fn resolve<'a>(&'a self, channel: &'a str) -> Result<Resolved<'a>, ClientError> {
        let name = self.naming.parse(channel);
        self.get(name.namespace.unwrap_or_default())
            .map(|namespace| Resolved { name, namespace })
            .ok_or(ClientError::UNKNOWN_CHANNEL)
    }
}

/// What every subscriber is granted; the name of an option that cannot be.
fn granted(
    options: &ChannelOptionsConfig,
    recovery_mode: RecoveryMode,
) -> Result<SubscribeOptions, &'static str> {
    Ok(SubscribeOptions {
        presence: options.presence,
        join_leave: options.join_leave,
        push_join_leave: options.force_push_join_leave,
        positioned: options.force_positioning,
        recoverable: options.force_recovery,
        recovery_mode,
        auto_cache_recover: options.auto_cache_recover,
        delta: !options.allowed_delta_types.is_empty(),
        compaction: options.allow_channel_compaction,
        allow_tags_filter: options.allow_tags_filter,
        batch: batch(options).ok_or("batch_max_delay")?,
        slow_policy: slow_policy(options).ok_or("slow_policy")?,
        server_side_refresh: options.sub_refresh_proxy_enabled,
        ..SubscribeOptions::default()
    })
}

/// Nobody waits without an end, and of publications that build upon each other none may be left out.
fn batch(options: &ChannelOptionsConfig) -> Option<Batch> {
    let batch = Batch {
        max_size: options.batch_max_size,
        max_delay: options.batch_max_delay,
        flush_latest: options.batch_flush_latest,
    };
    let endless = batch.max_delay.is_zero() && (batch.max_size > 0 || batch.flush_latest);
    let breaks = batch.flush_latest && !options.allowed_delta_types.is_empty();
    (!endless && !breaks).then_some(batch)
}

fn slow_policy(options: &ChannelOptionsConfig) -> Option<SlowPolicy> {
    match options.slow_policy.as_str() {
        "" | "disconnect" => Some(SlowPolicy::Disconnect),
        "latest" if options.allowed_delta_types.is_empty() => Some(SlowPolicy::Latest),
        "recover" if options.history_size > 0 => Some(SlowPolicy::Recover),
        _ => None,
    }
}

impl Resolved<'_> {
    /// Clients may use a name that matches the namespace's pattern; without a pattern it must be ASCII.
    pub(super) fn check_name(&self) -> Result<(), ClientError> {
        let valid = match &self.namespace.pattern {
            Some(pattern) => pattern.is_match(self.name.rest),
            None => self.name.full.is_ascii(),
        };
        if valid {
            Ok(())
        } else {
            Err(ClientError::BAD_REQUEST)
        }
    }
}

impl Namespace {
    fn new(
        name: &str,
        options: &ChannelOptionsConfig,
        channel: &ChannelConfig,
    ) -> Result<Self, Error> {
        check_history(name, options, channel)?;
        let invalid = |option| Error::Option {
            namespace: name.to_owned(),
            option,
        };
        if options
            .allowed_delta_types
            .iter()
            .any(|kind| kind != "fossil")
        {
            return Err(invalid("allowed_delta_types"));
        }
        let pattern = (!options.channel_regex.is_empty())
            .then(|| pattern::compile(&options.channel_regex))
            .transpose()
            .map_err(|source| Error::Pattern {
                namespace: name.to_owned(),
                source,
            })?;
        let format = match options.publication_data_format.as_str() {
            "" => channel.publication_data_format.as_str(),
            own => own,
        };
        let recovery_mode = recovery_mode(&options.force_recovery_mode)
            .ok_or_else(|| invalid("force_recovery_mode"))?;
        if options.auto_cache_recover
            && !(options.force_recovery && recovery_mode == RecoveryMode::Cache)
        {
            return Err(invalid("auto_cache_recover"));
        }
        Ok(Self {
            channel: Arc::new(ChannelOptions {
                namespace: name.to_owned(),
                presence: options.presence,
                join_leave: options.join_leave,
                history_size: options.history_size,
                history_ttl: options.history_ttl,
                history_meta_ttl: meta_ttl(options, channel),
                data_format: data_format(format)
                    .ok_or_else(|| invalid("publication_data_format"))?,
                subscription_type: subscription_type(&options.subscription_type)
                    .ok_or_else(|| invalid("subscription_type"))?,
                delta_publish: options.delta_publish,
                subscribe: granted(options, recovery_mode).map_err(invalid)?,
            }),
            allow: options.clone(),
            pattern,
        })
    }

    /// Access to history; `insecure` is not looked at here.
    pub(super) fn allows_history(&self, who: Standing) -> bool {
        let allow = &self.allow;
        (allow.allow_history_for_client || who.subscribed && allow.allow_history_for_subscriber)
            && (!who.anonymous || allow.allow_history_for_anonymous)
    }

    /// Access to presence.
    pub(super) fn allows_presence(&self, who: Standing) -> bool {
        let allow = &self.allow;
        (allow.allow_presence_for_client || who.subscribed && allow.allow_presence_for_subscriber)
            && (!who.anonymous || allow.allow_presence_for_anonymous)
    }

    /// Permission to publish.
    pub(super) fn allows_publish(&self, who: Standing) -> bool {
        let allow = &self.allow;
        (allow.allow_publish_for_client || who.subscribed && allow.allow_publish_for_subscriber)
            && (!who.anonymous || allow.allow_publish_for_anonymous)
    }

    /// Permission to subscribe without a token.
    pub(super) fn allows_subscribe(&self, anonymous: bool) -> bool {
        let allow = &self.allow;
        allow.allow_subscribe_for_client && (!anonymous || allow.allow_subscribe_for_anonymous)
    }

    /// The backend decides about subscriptions.
    pub(super) const fn asks_on_subscribe(&self) -> bool {
        self.allow.subscribe_proxy_enabled || self.allow.subscribe_stream_proxy_enabled
    }
}

pub(super) fn is_name(name: &str) -> bool {
    name.len() >= 2
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn meta_ttl(options: &ChannelOptionsConfig, channel: &ChannelConfig) -> std::time::Duration {
    if options.history_meta_ttl.is_zero() {
        channel.history_meta_ttl
    } else {
        options.history_meta_ttl
    }
}

fn check_history(
    name: &str,
    options: &ChannelOptionsConfig,
    channel: &ChannelConfig,
) -> Result<(), Error> {
    let invalid = |option| {
        Err(Error::Option {
            namespace: name.to_owned(),
            option,
        })
    };
    let (ttl, meta) = (options.history_ttl, meta_ttl(options, channel));
    if (options.history_size > 0) == ttl.is_zero() {
        return invalid("history_size and history_ttl");
    }
    if ttl.subsec_nanos() != 0 {
        return invalid("history_ttl");
    }
    if meta.subsec_nanos() != 0 || meta < ttl {
        return invalid("history_meta_ttl");
    }
    if options.force_recovery && ttl.is_zero() {
        return invalid("force_recovery");
    }
    Ok(())
}

fn recovery_mode(text: &str) -> Option<RecoveryMode> {
    match text {
        "" | "stream" => Some(RecoveryMode::Stream),
        "cache" => Some(RecoveryMode::Cache),
        _ => None,
    }
}

fn data_format(text: &str) -> Option<DataFormat> {
    match text {
        "" => Some(DataFormat::NonEmpty),
        "json" => Some(DataFormat::Json),
        "json_object" => Some(DataFormat::JsonObject),
        "binary" => Some(DataFormat::Binary),
        _ => None,
    }
}

fn subscription_type(text: &str) -> Option<SubscriptionType> {
    match text {
        "" | "stream" => Some(SubscriptionType::Stream),
        "map" | "map_clients" | "map_users" => Some(SubscriptionType::Map),
        "shared_poll" => Some(SubscriptionType::SharedPoll),
        _ => None,
    }
}
