//! The scripts: their texts are files beside, called by digest, and by text where a server does not know them yet.

use std::sync::LazyLock;

use redis::{Cmd, cmd};

/// A script and its digest.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    digest: String,
}

/// Keys and arguments of one call; the first key decides which server of a cluster is asked.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) script: &'static Script,
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let text = parts.concat();
        let digest = redis::Script::new(&text).get_hash().to_owned();
        Self { text, digest }
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
    ($($(#[$meta:meta])* $name:ident: $($file:literal)+;)+) => {
        $(
            $(#[$meta])*
            pub(super) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new(&[$(include_str!($file)),+]));
        )+
    };
}

scripts! {
    PUBLISH_STREAM: "publish_stream.lua";
    PUBLISH_LIST: "publish_list.lua";
    /// Without history, with an idempotency key.
    PUBLISH_ONCE: "publish_once.lua";
    HISTORY_STREAM: "history_stream.lua";
    HISTORY_LIST: "history_list.lua";
    PRESENCE_ADD: "presence_shared.lua" "presence_add.lua";
    PRESENCE_REMOVE: "presence_shared.lua" "presence_remove.lua";
    PRESENCE_GET: "presence_shared.lua" "presence_get.lua";
    PRESENCE_STATS: "presence_shared.lua" "presence_stats.lua";
}
