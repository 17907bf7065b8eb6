//! The root configuration: read from file, environment and flags, checked, and handed to the modules' own structs.
//!
//! One option is defined once, in `schema`; file keys, variables, flags, defaults, listings and documents come from
//! there. This module reads and judges; it never starts, binds or spawns anything. Callers: `cli`, `server`, `main`.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::telemetry::Config as LogConfig;

mod check;
mod convert;
pub mod doc;
mod environment;
mod file;
mod listing;
mod pem;
mod resolve;
pub mod schema;
mod tree;
mod typed;
mod value;
mod warning;

pub use check::Invalid;
pub use environment::{COMPATIBLE_PREFIX, Environment, OWN_PREFIX};
pub use file::{Format, Unreadable, Unwritable};
pub use listing::{environment_lines, minimal, shown};
pub use pem::{NoPem, read_pem};
pub use resolve::{Flags, Unresolved};
pub use typed::{Autocert, EngineChoice, Health, HttpServer, Node, Shutdown, Tls};
pub use warning::Warning;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("error reading config file {}: {why}", path.display())]
    File {
        /// Its path, as given.
        path: PathBuf,
        /// Why.
        #[source]
        why: Unreadable,
    },
    /// A value cannot be used.
    #[error(transparent)]
    Value(#[from] Unresolved),
    /// A section does not fit the struct of the module that owns it.
    #[error("section {key:?}: {why}")]
    Section {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        why: serde_json::Error,
    },
}

/// Where the file part comes from.
#[derive(Clone, Debug)]
pub enum File {
    /// A path; a relative one counts from the working directory of the sources.
    Path(PathBuf),
    /// A tree made in memory, as a file would hold it.
    Value(Value),
}

/// Everything a configuration is made from, so that it can be read again.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Working directory.
    pub directory: PathBuf,
    /// File part.
    pub file: File,
    /// Variables.
    pub environment: Environment,
    /// Command line, by key.
    pub flags: Flags,
}

impl Sources {
    /// Only a tree, for tests, embedders and `dev`.
    #[must_use]
    pub fn value(tree: Value) -> Self {
        Self {
            directory: PathBuf::new(),
            file: File::Value(tree),
            environment: Environment::default(),
            flags: Flags::new(),
        }
    }

    /// A file and variables, without flags.
    #[must_use]
    pub fn path(directory: &Path, path: &Path, environment: Environment) -> Self {
        Self {
            directory: directory.to_owned(),
            file: File::Path(path.to_owned()),
            environment,
            flags: Flags::new(),
        }
    }

    /// Adds the variables of `.env` in the working directory, if there is one. Only the server does this.
    #[must_use]
    pub fn with_dotenv(mut self) -> Self {
        if let Ok(lines) = std::fs::read_to_string(self.directory.join(".env")) {
            self.environment = self.environment.with_lines(&lines);
        }
        self
    }

    /// The tree of the file, or nothing when it does not exist.
    fn read(&self) -> Result<Option<Value>, Error> {
        let path = match &self.file {
            File::Value(tree) => return Ok(Some(tree.clone())),
            File::Path(path) => path,
        };
        let failed = |why| Error::File {
            path: path.clone(),
            why,
        };
        let text = match std::fs::read_to_string(self.directory.join(path)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let format = Format::of(path).map_err(failed)?;
        format.parse(&text).map(Some).map_err(failed)
    }
}

/// Variables of a standard that is not ours, by the beginning of their names, as the process was given them.
pub fn variables(prefix: &str) -> impl Iterator<Item = (String, String)> {
    Environment::process().beginning(prefix)
}

/// Checks the text of a flag before anything is read.
///
/// # Errors
/// The text cannot be read as a value of this option.
pub fn accepts(field: &schema::Field, text: &str) -> Result<(), String> {
    convert::from_text(&field.kind, text)
        .map(drop)
        .map_err(|unfit| unfit.to_string())
}

/// A configuration as it was read, before it is judged.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What to tell about it, in order.
    pub warnings: Vec<Warning>,
    /// Keys of the file that no option has.
    pub unknown: Vec<String>,
    /// The file that was read, if it exists.
    pub path: Option<PathBuf>,
}

impl Loaded {
    /// May the server start with this? All rules, then features that do not exist, then unknown keys when strict.
    ///
    /// # Errors
    /// The first thing in the way.
    pub fn judge(&self, strict: bool) -> Result<(), Invalid> {
        self.config.validate()?;
        self.config.refuse_missing()?;
        if strict {
            self.refuse_unknown()?;
        }
        Ok(())
    }

    /// Refuses keys that no option has.
    ///
    /// # Errors
    /// All such keys.
    pub fn refuse_unknown(&self) -> Result<(), Invalid> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        let keys = self.unknown.join(", ");
        Err(Invalid::new(format!("unknown keys in config: {keys}")))
    }
}

/// Reads all sources into one complete configuration.
///
/// # Errors
/// The file cannot be read, or a value cannot be used.
pub fn load(sources: &Sources) -> Result<Loaded, Error> {
    let file = sources.read()?;
    let mut warnings = Vec::new();
    let path = match (&sources.file, &file) {
        (File::Path(path), Some(_)) => Some(path.clone()),
        (File::Path(_), None) => {
            warnings.push(Warning::missing_file());
            None
        }
        (File::Value(_), _) => None,
    };
    let resolved = resolve::resolve(
        &file.unwrap_or_default(),
        &sources.environment,
        &sources.flags,
    )?;
    warnings.extend(resolved.warnings);
    warnings.extend(tree::negatives(&resolved.tree));
    let config = Config::new(resolved.tree, resolved.given)?;
    Ok(Loaded {
        config,
        warnings,
        unknown: resolved.unknown,
        path,
    })
}

/// Every option of every module.
///
/// The sections that concern the process as a whole are typed here; a module takes its own with [`Config::section`].
#[derive(Clone)]
pub struct Config {
    /// Log level and file.
    pub log: LogConfig,
    /// HTTP listeners.
    pub http_server: HttpServer,
    /// Choice of engine.
    pub engine: EngineChoice,
    /// Health endpoint.
    pub health: Health,
    /// Name of this node.
    pub node: Node,
    /// Orderly end.
    pub shutdown: Shutdown,
    /// File for the process number; empty for none.
    pub pid_file: String,
    tree: Value,
    typed: Value,
    given: BTreeSet<String>,
}

impl Config {
    fn new(tree: Value, given: BTreeSet<String>) -> Result<Self, Error> {
        let typed = tree::typed(schema::ROOT, &tree);
        Ok(Self {
            log: part(&typed, "log")?,
            http_server: part(&typed, "http_server")?,
            engine: part(&typed, "engine")?,
            health: part(&typed, "health")?,
            node: part(&typed, "node")?,
            shutdown: part(&typed, "shutdown")?,
            pid_file: part(&typed, "pid_file")?,
            tree,
            typed,
            given,
        })
    }

    /// A configuration from a tree as a file would hold it, checked like any other.
    ///
    /// # Errors
    /// A value cannot be used, or breaks a rule.
    pub fn from_value(tree: Value) -> Result<Self, Rejected> {
        let config = load(&Sources::value(tree))?.config;
        config.validate()?;
        Ok(config)
    }

    /// The options below a dotted key as a module's own struct; the empty key is the root.
    ///
    /// # Errors
    /// The struct has a field that the schema has not, or another type for it.
    pub fn section<T: DeserializeOwned>(&self, key: &str) -> Result<T, Error> {
        part(&self.typed, key)
    }

    /// True when a source set this key, even to its default.
    #[must_use]
    pub fn is_given(&self, key: &str) -> bool {
        self.given.contains(key)
    }

    /// Every rule that can be checked without starting anything (config.md 9).
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        check::validate(self)
    }

    /// Refuses options that switch on what this version does not have.
    ///
    /// # Errors
    /// The first such key.
    pub fn refuse_missing(&self) -> Result<(), Invalid> {
        check::missing(&self.tree)
    }

    /// Insecure switches and other things to say at every start.
    #[must_use]
    pub fn start_warnings(&self) -> Vec<Warning> {
        check::start_warnings(&self.tree)
    }

    /// Keys that differ from an older configuration and take effect only with a restart (config.md 6).
    #[must_use]
    pub fn restart_keys(&self, older: &Self) -> Vec<String> {
        let mut keys = tree::differences(&older.tree, &self.tree);
        keys.retain(|key| !takes_effect_at_once(key));
        keys
    }
}

/// Options that are read on use: tokens, channels, RPC, limits of clients; and certificates, which are read with them.
fn takes_effect_at_once(key: &str) -> bool {
    const CERTIFICATES: [&str; 3] = ["cert_pem", "key_pem", "client_ca_pem"];
    const LISTENERS: [&str; 4] = [
        "http_server.tls",
        "http_server.internal_tls",
        "centripetal.grpc.tls",
        "grpc_api.tls",
    ];
    if let Some((section, option)) = key.rsplit_once('.')
        && LISTENERS.contains(&section)
        && CERTIFICATES.contains(&option)
    {
        return true;
    }
    const CONSTRUCTED: [&str; 4] = [
        "client.proxy.",
        "channel.proxy.",
        "rpc.proxy.",
        "client.allowed_origins",
    ];
    ["client.", "channel.", "rpc."]
        .iter()
        .any(|section| key.starts_with(section))
        && !CONSTRUCTED.iter().any(|section| key.starts_with(section))
}

fn part<T: DeserializeOwned>(typed: &Value, key: &str) -> Result<T, Error> {
    let value = if key.is_empty() {
        typed
    } else {
        tree::Section::new(typed).get(key)
    };
    T::deserialize(value).map_err(|why| Error::Section {
        key: key.to_owned(),
        why,
    })
}

impl fmt::Debug for Config {
    /// Only which keys were given: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

/// Why [`Config::from_value`] refuses a tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// A value cannot be used.
    #[error(transparent)]
    Unusable(#[from] Error),
    /// A rule is broken.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

#[cfg(test)]
mod tests;
