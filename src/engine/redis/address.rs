//! Addresses of Redis as people write them (engines.md 3.14, config.md 7.2). Pure.

use std::{fmt, path::PathBuf, time::Duration};

use url::Url;

use super::{Options, Tls};
use crate::model::Secret;

/// Port of Redis.
const PORT: u16 = 6379;
/// Port of Redis Sentinel.
const SENTINEL_PORT: u16 = 26_379;

/// An address cannot be used. Never repeats it: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis address number {number}: {why}")]
pub struct AddressError {
    number: usize,
    why: String,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Endpoint {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// User and password.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret,
}

/// How a server is greeted.
#[derive(Clone, Debug)]
pub(super) struct Greeting {
    pub(super) login: Login,
    pub(super) db: u32,
    pub(super) client_name: String,
    pub(super) resp2: bool,
    pub(super) tls: Option<Tls>,
    pub(super) connect_timeout: Duration,
    pub(super) io_timeout: Duration,
}

/// How servers of a shard are found.
#[derive(Clone, Debug)]
pub(super) enum Topology {
    /// One server.
    Single(Endpoint),
    /// The master of this name, which these sentinels know.
    Sentinel {
        sentinels: Vec<Endpoint>,
        greeting: Box<Greeting>,
        master: String,
    },
    /// A cluster with these seeds.
    Cluster(Vec<Endpoint>),
}

/// One shard: where it is and how its servers are greeted.
#[derive(Clone, Debug)]
pub(super) struct Location {
    pub(super) topology: Topology,
    pub(super) greeting: Greeting,
}

impl Location {
    /// `standalone`, `sentinel` or `cluster`, for logs.
    pub(super) const fn mode(&self) -> &'static str {
        match self.topology {
            Topology::Single(_) => "standalone",
            Topology::Sentinel { .. } => "sentinel",
            Topology::Cluster(_) => "cluster",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl Endpoint {
    /// `host:port`, `host`, `[address]:port`.
    fn read(text: &str, port: u16) -> Result<Self, String> {
        let text = text.trim();
        let (host, given) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("has no host".to_owned());
        }
        let port = given.map_or(Ok(port), str::parse);
        let port = port.map_err(|_| "has a port that is no number".to_owned())?;
        Ok(Self::Tcp(host.to_owned(), port))
    }

    fn list(text: &str, port: u16) -> Result<Vec<Self>, String> {
        text.split(',').map(|one| Self::read(one, port)).collect()
    }
}

/// The shards of a section, in order.
///
/// # Errors
/// An address that cannot be used, or sentinels without the name of a master.
pub(super) fn locations(options: &Options) -> Result<Vec<Location>, AddressError> {
    let (entries, read): (_, fn(&Options, &str) -> Result<Location, String>) =
        if !options.cluster_address.is_empty() {
            (&options.cluster_address, cluster)
        } else if !options.sentinel_address.is_empty() {
            (&options.sentinel_address, sentinel)
        } else {
            (&options.address, address)
        };
    if entries.is_empty() {
        return Err(AddressError {
            number: 1,
            why: "is missing".to_owned(),
        });
    }
    let numbered = entries.iter().zip(1..);
    numbered
        .map(|(entry, number)| read(options, entry).map_err(|why| AddressError { number, why }))
        .collect()
}

fn cluster(options: &Options, entry: &str) -> Result<Location, String> {
    if entry.contains("://") {
        return address(options, entry);
    }
    finish(
        Topology::Cluster(Endpoint::list(entry, PORT)?),
        greeting(options),
    )
}

fn sentinel(options: &Options, entry: &str) -> Result<Location, String> {
    if entry.contains("://") {
        return address(options, entry);
    }
    let topology = Topology::Sentinel {
        sentinels: Endpoint::list(entry, SENTINEL_PORT)?,
        greeting: Box::new(sentinel_greeting(options)),
        master: options.sentinel_master_name.clone(),
    };
    finish(topology, greeting(options))
}

fn finish(topology: Topology, greeting: Greeting) -> Result<Location, String> {
    if let Topology::Sentinel { master, .. } = &topology
        && master.is_empty()
    {
        return Err("names sentinels, which need sentinel_master_name".to_owned());
    }
    if matches!(topology, Topology::Cluster(_)) && greeting.db != 0 {
        return Err("names a cluster, which has no database but 0".to_owned());
    }
    Ok(Location { topology, greeting })
}

fn greeting(options: &Options) -> Greeting {
    Greeting {
        login: Login {
            user: options.user.clone(),
            password: options.password.clone(),
        },
        db: options.db,
        client_name: options.client_name.clone(),
        resp2: options.force_resp2,
        tls: options.tls.clone(),
        connect_timeout: options.connect_timeout,
        io_timeout: options.io_timeout,
    }
}

fn sentinel_greeting(options: &Options) -> Greeting {
    Greeting {
        login: Login {
            user: options.sentinel_user.clone(),
            password: options.sentinel_password.clone(),
        },
        db: 0,
        client_name: options.sentinel_client_name.clone(),
        resp2: true,
        tls: options.sentinel_tls.clone(),
        connect_timeout: options.connect_timeout,
        io_timeout: options.io_timeout,
    }
}

/// What a scheme says.
struct Scheme {
    tls: bool,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

fn scheme(name: &str) -> Option<Scheme> {
    let (tls, kind) = match name {
        "redis" | "tcp" => (false, Kind::Single),
        "rediss" => (true, Kind::Single),
        "redis+sentinel" => (false, Kind::Sentinel),
        "rediss+sentinel" => (true, Kind::Sentinel),
        "redis+cluster" => (false, Kind::Cluster),
        "rediss+cluster" => (true, Kind::Cluster),
        _ => return None,
    };
    Some(Scheme { tls, kind })
}

fn address(options: &Options, entry: &str) -> Result<Location, String> {
    let entry = entry.trim();
    let Some((name, rest)) = entry.split_once("://") else {
        return finish(
            Topology::Single(Endpoint::read(entry, PORT)?),
            greeting(options),
        );
    };
    if name == "unix" {
        let path = rest.split('?').next().unwrap_or(rest);
        if path.is_empty() {
            return Err("has no path".to_owned());
        }
        let greeting = Greeting {
            tls: None,
            ..greeting(options)
        };
        return finish(Topology::Single(Endpoint::Unix(path.into())), greeting);
    }
    let Some(scheme) = scheme(name) else {
        return Err(format!("has the unknown scheme {name}"));
    };
    let url = Url::parse(entry).map_err(|error| format!("is no address: {error}"))?;
    let mut draft = Draft {
        options: options.clone(),
        sentinel_tls: scheme.tls && scheme.kind == Kind::Sentinel,
        tls: scheme.tls,
        seeds: Vec::new(),
    };
    let port = match scheme.kind {
        Kind::Sentinel => SENTINEL_PORT,
        Kind::Single | Kind::Cluster => PORT,
    };
    draft.read(&url, port)?;
    draft.into_location(scheme.kind)
}

/// A section with what a URL says laid over it.
struct Draft {
    options: Options,
    tls: bool,
    sentinel_tls: bool,
    seeds: Vec<Endpoint>,
}

impl Draft {
    fn read(&mut self, url: &Url, port: u16) -> Result<(), String> {
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("has no host")?.trim_matches(['[', ']']);
        let endpoint = Endpoint::Tcp(host.to_owned(), url.port().unwrap_or(port));
        self.seeds.push(endpoint);
        if !url.username().is_empty() {
            self.options.user = decoded(url.username())?;
        }
        if let Some(password) = url.password() {
            self.options.password = Secret::from(decoded(password)?);
        }
        let db = url.path().trim_matches('/');
        if !db.is_empty() {
            let number = db.parse();
            self.options.db = number.map_err(|_| "has a database that is no number")?;
        }
        for (key, value) in url.query_pairs() {
            self.option(&key, &value, port)?;
        }
        Ok(())
    }

    fn option(&mut self, key: &str, value: &str, port: u16) -> Result<(), String> {
        let flag = || match value {
            "true" | "1" | "t" | "yes" => Ok(true),
            "false" | "0" | "f" | "no" => Ok(false),
            _ => Err(format!(
                "has an option {key} that is neither true nor false"
            )),
        };
        let options = &mut self.options;
        match key {
            "addr" => self.seeds.push(Endpoint::read(value, port)?),
            "connect_timeout" => options.connect_timeout = duration(key, value)?,
            "io_timeout" => options.io_timeout = duration(key, value)?,
            "tls_enabled" => self.tls = flag()?,
            "force_resp2" => options.force_resp2 = flag()?,
            "sentinel_master_name" => value.clone_into(&mut options.sentinel_master_name),
            "sentinel_user" => value.clone_into(&mut options.sentinel_user),
            "sentinel_password" => options.sentinel_password = Secret::from(value.to_owned()),
            "sentinel_tls_enabled" => self.sentinel_tls = flag()?,
            "replica_client_enabled" => {
                if flag()? {
                    return Err("asks for reading from replicas, which is not available".to_owned());
                }
            }
            _ => return Err(format!("has the unknown option {key}")),
        }
        Ok(())
    }

    fn into_location(mut self, kind: Kind) -> Result<Location, String> {
        let options = &mut self.options;
        if self.tls && options.tls.is_none() {
            options.tls = Some(Tls::default());
        }
        if self.sentinel_tls && options.sentinel_tls.is_none() {
            options.sentinel_tls = Some(options.tls.clone().unwrap_or_default());
        }
        let topology = match kind {
            Kind::Cluster => Topology::Cluster(self.seeds),
            Kind::Sentinel => Topology::Sentinel {
                sentinels: self.seeds,
                greeting: Box::new(sentinel_greeting(options)),
                master: options.sentinel_master_name.clone(),
            },
            Kind::Single if self.seeds.len() > 1 => {
                return Err("has several seeds; a cluster begins with redis+cluster://".to_owned());
            }
            Kind::Single => Topology::Single(self.seeds.into_iter().next().ok_or("has no host")?),
        };
        finish(topology, greeting(options))
    }
}

/// A part of a URL without its percent escapes.
fn decoded(text: &str) -> Result<String, String> {
    let pair = format!("x={}", text.replace('+', "%2B"));
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    let value = pairs.next().map(|(_, value)| value.into_owned());
    value.ok_or_else(|| "has an escape that is none".to_owned())
}

/// `4s`, `400ms`, `1m`, or plain seconds.
fn duration(key: &str, value: &str) -> Result<Duration, String> {
    let split = value
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        _ => 0.0,
    };
    let seconds: f64 = number.parse().unwrap_or_default();
    Duration::try_from_secs_f64(seconds * scale)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("has an option {key} that is no duration such as 4s"))
}

#[cfg(test)]
mod tests;
