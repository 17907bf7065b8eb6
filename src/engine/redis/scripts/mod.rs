//! The scripts: their texts are files beside, called by digest, and by text where a server does not know them yet.

use std::sync::LazyLock;

use redis::{Cmd, cmd};

use super::link::Road;

/// A script and its digest.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    digest: String,
    pub(super) road: Road,
}

/// Keys and arguments of one call; the first key decides which server of a cluster is asked.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) script: &'static Script,
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl Script {
    fn new(road: Road, parts: &[&str]) -> Self {
        let text = parts.concat();
        let digest = redis::Script::new(&text).get_hash().to_owned();
        Self { text, digest, road }
    }
}

impl Invocation {
    /// The short form.
    pub(super) fn by_digest(&self) -> Cmd {
        self.command("EVALSHA", &self.script.digest)
    }

    /// The long form, after which the server knows the digest.
    pub(super) fn by_text(&self) -> Cmd {
        self.command("EVAL", &self.script.text)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len());
        for key in &self.keys {
            command.arg(key);
        }
        for argument in &self.arguments {
            command.arg(argument.as_slice());
        }
        command
    }
}

macro_rules! scripts {
    ($($(#[$meta:meta])* $name:ident: $road:ident $($file:literal)+;)+) => {
        $(
            $(#[$meta])*
            pub(super) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new(Road::$road, &[$(include_str!($file)),+]));
        )+
    };
}

scripts! {
    PUBLISH_STREAM: Orders "publish_stream.lua";
    PUBLISH_LIST: Orders "publish_list.lua";
    /// Without history, with an idempotency key.
    PUBLISH_ONCE: Orders "publish_once.lua";
    HISTORY_STREAM: Reads "history_stream.lua";
    HISTORY_LIST: Reads "history_list.lua";
    PRESENCE_ADD: Orders "presence_shared.lua" "presence_add.lua";
    PRESENCE_REMOVE: Orders "presence_shared.lua" "presence_remove.lua";
    PRESENCE_GET: Reads "presence_shared.lua" "presence_get.lua";
    PRESENCE_STATS: Reads "presence_shared.lua" "presence_stats.lua";
}
