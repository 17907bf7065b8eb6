//! Which proxy answers which method of a client's call (proxy.md 12).

use std::collections::BTreeMap;

use super::{
    Error,
    config::{RpcConfig, RpcOptionsConfig},
    namespace::is_name,
};
use crate::model::ClientError;

/// Methods by namespace, ready for use.
#[derive(Debug)]
pub(super) struct Calls {
    /// The built-in method, when it is on.
    pub(super) ping: Option<String>,
    boundary: String,
    /// Names of proxies; `None` where the backend is not asked.
    without: Option<String>,
    namespaces: BTreeMap<String, Option<String>>,
}

impl Calls {
    pub(super) fn new(config: &RpcConfig) -> Result<Self, Error> {
        let mut namespaces = BTreeMap::new();
        for entry in &config.namespaces {
            if !is_name(&entry.name) {
                return Err(Error::Name(entry.name.clone()));
            }
            let proxy = proxy(&entry.options);
            if namespaces.insert(entry.name.clone(), proxy).is_some() {
                return Err(Error::Duplicate(entry.name.clone()));
            }
        }
        Ok(Self {
            ping: config.ping.enabled.then(|| config.ping.method.clone()),
            boundary: config.namespace_boundary.clone(),
            without: proxy(&config.without_namespace),
            namespaces,
        })
    }

    /// The name of the proxy that answers a method.
    pub(super) fn proxy(&self, method: &str) -> Result<&str, ClientError> {
        let asks = self.namespaces.values().any(Option::is_some) || self.without.is_some();
        if !asks {
            // Without any handler the feature is off, with the built-in one the method is unknown.
            return Err(match self.ping {
                Some(_) => ClientError::METHOD_NOT_FOUND,
                None => ClientError::NOT_AVAILABLE,
            });
        }
        let boundary = self.boundary.as_str();
        let split = (!boundary.is_empty()).then(|| method.split_once(boundary));
        let proxy = match split.flatten() {
            Some((namespace, _)) => self
                .namespaces
                .get(namespace)
                .ok_or(ClientError::METHOD_NOT_FOUND)?,
            None => &self.without,
        };
        proxy.as_deref().ok_or(ClientError::NOT_AVAILABLE)
    }
}

fn proxy(options: &RpcOptionsConfig) -> Option<String> {
    options.proxy_enabled.then(|| options.proxy_name.clone())
}

#[cfg(test)]
mod tests {
    use super::{super::config::RpcNamespaceConfig, *};
    use crate::policy::Config;

    fn options(enabled: bool, name: &str) -> RpcOptionsConfig {
        RpcOptionsConfig {
            proxy_enabled: enabled,
            proxy_name: name.to_owned(),
        }
    }

    #[test]
    fn the_namespace_of_a_method_names_its_proxy() {
        let mut config = Config::default().rpc;
        config.without_namespace = options(true, "default");
        for (name, options) in [
            ("chat", options(true, "other")),
            ("off", options(false, "")),
        ] {
            config.namespaces.push(RpcNamespaceConfig {
                name: name.to_owned(),
                options,
            });
        }
        let calls = Calls::new(&config).unwrap();
        assert_eq!(calls.proxy("m"), Ok("default"));
        assert_eq!(calls.proxy(""), Ok("default"));
        assert_eq!(calls.proxy("chat:m:n"), Ok("other"));
        assert_eq!(calls.proxy("nn:m"), Err(ClientError::METHOD_NOT_FOUND));
        assert_eq!(calls.proxy(":m"), Err(ClientError::METHOD_NOT_FOUND));
        assert_eq!(calls.proxy("off:m"), Err(ClientError::NOT_AVAILABLE));
        config.namespace_boundary = "/".to_owned();
        let calls = Calls::new(&config).unwrap();
        assert_eq!(calls.proxy("chat/m"), Ok("other"));
        assert_eq!(calls.proxy("nn:m"), Ok("default"));
    }

    #[test]
    fn names_of_namespaces_are_checked() {
        let mut config = Config::default().rpc;
        for name in ["chat", "chat"] {
            config.namespaces.push(RpcNamespaceConfig {
                name: name.to_owned(),
                options: options(false, ""),
            });
        }
        assert!(matches!(Calls::new(&config), Err(Error::Duplicate(_))));
        config.namespaces[0].name = "x y".to_owned();
        assert!(matches!(Calls::new(&config), Err(Error::Name(_))));
    }
}
