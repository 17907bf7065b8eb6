//! The standard [`Hooks`]: namespaces, permissions, and what a verified identity is granted.
//!
//! Asks [`crate::auth`] who somebody is and decides, in the fixed order of tokens.md 1 and 8, what they may do.
//! Holds no connection, no subscription and no data; everything it needs comes with the question.
//! Settings are replaced whole ([`Policy::reload`]); a question sees one set of settings from beginning to end.

mod backend;
mod calls;
mod channel;
mod config;
mod connect;
mod namespace;
mod note;
mod publish;
mod refresh;
mod subscribe;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use self::{
    calls::Calls,
    config::PersonalChannelConfig,
    namespace::{Namespaces, Resolved},
    note::Note,
};
use crate::{
    auth::{Authenticator, Pace, PatternError},
    hooks::{
        Client, ConnectAnswer, ConnectQuestion, Hooks, PublishAnswer, Read, RefreshAnswer,
        SubRefreshAnswer, SubscribeAnswer, SubscribeQuestion,
    },
    model::{Channel, ChannelOptions, ClientError, Disconnect, Rejection, Version},
    proxy::Proxies,
};

pub use channel::{Name, Naming};
pub use config::{
    ChannelConfig, ChannelOptionsConfig, ClientConfig, Config, NamespaceConfig, RpcConfig,
    RpcNamespaceConfig, RpcOptionsConfig, RpcPingConfig,
};

/// Why a policy cannot be built. Every one of these stops the start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A namespace has a name that no channel could have.
    #[error("namespace name {0:?} is not of the form ^[-a-zA-Z0-9_.]{{2,}}$")]
    Name(String),
    /// Two namespaces have one name.
    #[error("namespace {0:?} is there twice")]
    Duplicate(String),
    /// An option has a value that makes no sense, alone or with the others.
    #[error("namespace {namespace:?}: {option} cannot be so")]
    Option {
        /// Name of the namespace; empty for channels without one.
        namespace: String,
        /// Option concerned.
        option: &'static str,
    },
    /// The pattern for names is broken.
    #[error("namespace {namespace:?}: channel_regex cannot be used")]
    Pattern {
        /// Name of the namespace; empty for channels without one.
        namespace: String,
        /// What is wrong.
        source: PatternError,
    },
    /// The personal channel has no namespace.
    #[error("namespace {0:?} of the personal channel does not exist")]
    PersonalNamespace(String),
    /// A single connection is found out by presence.
    #[error("single_connection needs presence in the namespace of the personal channel")]
    SingleConnection,
}

/// The standard owner of a node.
#[derive(Debug)]
pub struct Policy {
    auth: Authenticator,
    proxies: Proxies,
    settings: RwLock<Arc<Settings>>,
    pace: Pace<{ Note::COUNT }>,
}

/// One whole set of settings, checked and ready.
#[derive(Debug)]
struct Settings {
    namespaces: Namespaces,
    insecure: bool,
    anonymous: bool,
    personal: PersonalChannelConfig,
    calls: Calls,
    honours_delta_publish: bool,
}

impl Config {
    /// Checks settings without using them.
    ///
    /// # Errors
    /// As [`Policy::new`].
    pub fn check(&self) -> Result<(), Error> {
        Settings::new(self).map(|_unused| ())
    }
}

impl Policy {
    /// A policy with these settings, asking `auth` for identities.
    ///
    /// # Errors
    /// [`Error`] for settings that break a rule of config.md 9.
    pub fn new(config: &Config, auth: Authenticator) -> Result<Self, Error> {
        Ok(Self {
            auth,
            proxies: Proxies::default(),
            settings: RwLock::new(Arc::new(Settings::new(config)?)),
            pace: Pace::default(),
        })
    }

    /// The same policy with these backends to ask. Without any, what needs one is refused with 108.
    #[must_use]
    pub fn with_proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// The backends that are asked.
    #[must_use]
    pub const fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Takes other settings for every question from now on. Those of [`Authenticator::reload`] are apart.
    ///
    /// # Errors
    /// As [`Policy::new`]; the old settings stay.
    pub fn reload(&self, config: &Config) -> Result<(), Error> {
        *self.settings.write() = Arc::new(Settings::new(config)?);
        Ok(())
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }
}

impl Settings {
    fn new(config: &Config) -> Result<Self, Error> {
        let namespaces = Namespaces::new(&config.channel)?;
        let personal = config.client.subscribe_to_user_personal_channel.clone();
        if personal.enabled {
            let name = &personal.personal_channel_namespace;
            let namespace = namespaces
                .get(name)
                .ok_or_else(|| Error::PersonalNamespace(name.clone()))?;
            if personal.single_connection && !namespace.channel.presence {
                return Err(Error::SingleConnection);
            }
        }
        Ok(Self {
            namespaces,
            insecure: config.client.insecure,
            anonymous: config.client.allow_anonymous_connect_without_token,
            personal,
            calls: Calls::new(&config.rpc)?,
            honours_delta_publish: config.centripetal.publish_proxy_honours_delta_publish,
        })
    }

    fn channel(&self, channel: &Channel) -> Result<Arc<ChannelOptions>, ClientError> {
        let resolved = self.namespaces.resolve(channel.as_str())?;
        Ok(Arc::clone(&resolved.namespace.channel))
    }

    /// What every operation on a channel begins with: a name (3501), a known namespace (102), a valid name (107).
    fn open<'a>(&'a self, channel: &'a Channel) -> Result<Resolved<'a>, Rejection> {
        if channel.is_empty() {
            return Err(Disconnect::BAD_REQUEST.into());
        }
        let resolved = self.namespaces.resolve(channel.as_str())?;
        resolved.check_name()?;
        Ok(resolved)
    }
}

#[async_trait]
impl Hooks for Policy {
    fn channel(&self, channel: &Channel) -> Result<Arc<ChannelOptions>, ClientError> {
        self.settings.read().channel(channel)
    }

    async fn connect(
        &self,
        client: &Client,
        question: ConnectQuestion,
    ) -> Result<ConnectAnswer, Rejection> {
        self.answer_connect(client, question).await
    }

    async fn subscribe(
        &self,
        client: &Client,
        question: SubscribeQuestion,
    ) -> Result<SubscribeAnswer, Rejection> {
        self.answer_subscribe(client, question).await
    }

    async fn publish(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
        data: Bytes,
    ) -> Result<PublishAnswer, Rejection> {
        self.answer_publish(client, channel, subscribed, data).await
    }

    async fn read(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
        what: Read,
    ) -> Result<(), Rejection> {
        self.answer_read(client, channel, subscribed, what)
    }

    async fn rpc(&self, client: &Client, method: &str, data: Bytes) -> Result<Bytes, Rejection> {
        self.answer_rpc(client, method, data).await
    }

    async fn message(&self, client: &Client, _: Bytes) -> Result<(), Rejection> {
        match client.version {
            Version::V1 => Ok(()),
            Version::V2 => Err(Disconnect::NOT_AVAILABLE.into()),
        }
    }

    async fn refresh(&self, client: &Client, token: &str) -> Result<RefreshAnswer, Rejection> {
        self.answer_refresh(client, token).await
    }

    async fn sub_refresh(
        &self,
        client: &Client,
        channel: &Channel,
        token: &str,
    ) -> Result<SubRefreshAnswer, Rejection> {
        self.answer_sub_refresh(client, channel, token).await
    }

    async fn renew(&self, client: &Client) -> Result<RefreshAnswer, Rejection> {
        self.answer_renew(client).await
    }

    async fn sub_renew(
        &self,
        client: &Client,
        channel: &Channel,
    ) -> Result<Option<SubRefreshAnswer>, Rejection> {
        self.answer_sub_renew(client, channel).await
    }
}

#[cfg(test)]
mod tests;
