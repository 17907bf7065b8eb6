//! What keys and PUB/SUB channels are called (engines.md 3.1 and 3.2). Plain concatenation, shared with Centrifugo.

use crate::{
    engine::Error,
    model::{Channel, NodeId},
};

/// The names of one shard.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    /// Channel names stand in braces, so that all keys of a channel are in one slot.
    cluster: bool,
    /// History is in lists, not streams.
    lists: bool,
}

impl Names {
    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "two independent options of the scheme"
    )]
    pub(super) fn new(prefix: &str, cluster: bool, lists: bool) -> Self {
        Self {
            prefix: prefix.to_owned(),
            cluster,
            lists,
        }
    }

    pub(super) const fn lists(&self) -> bool {
        self.lists
    }

    fn key(&self, kind: &str, channel: &Channel) -> String {
        let prefix = &self.prefix;
        if self.cluster {
            format!("{prefix}.{kind}.{{{channel}}}")
        } else {
            format!("{prefix}.{kind}.{channel}")
        }
    }

    const fn kind(&self) -> (&'static str, &'static str) {
        if self.lists {
            ("list", "list.meta")
        } else {
            ("stream", "stream.meta")
        }
    }

    pub(super) fn history(&self, channel: &Channel) -> String {
        self.key(self.kind().0, channel)
    }

    pub(super) fn meta(&self, channel: &Channel) -> String {
        self.key(self.kind().1, channel)
    }

    pub(super) fn result(&self, channel: &Channel, key: &str) -> String {
        format!("{}.{key}", self.key("result", channel))
    }

    /// Expiry of clients, their infos, expiry of users, connections of users.
    pub(super) fn presence(&self, channel: &Channel) -> Vec<String> {
        [
            "presence.expire",
            "presence.data",
            "presence.user.expire",
            "presence.user.clients",
        ]
        .map(|kind| self.key(kind, channel))
        .into()
    }

    /// Where publications, joins and leaves of a channel are spread.
    pub(super) fn client(&self, channel: &Channel) -> String {
        self.key("client", channel)
    }

    /// The channel behind a PUB/SUB channel.
    pub(super) fn channel<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name
            .strip_prefix(self.prefix.as_str())?
            .strip_prefix(".client.")?;
        if self.cluster {
            rest.strip_prefix('{')?.strip_suffix('}')
        } else {
            Some(rest)
        }
    }

    /// Commands to all nodes.
    pub(super) fn control(&self) -> String {
        format!("{}.control", self.prefix)
    }

    /// Commands to one node.
    pub(super) fn node(&self, node: &NodeId) -> String {
        format!("{}.node.{node}", self.prefix)
    }

    /// Shows that a connection for PUB/SUB hears what is published.
    pub(super) fn service(&self) -> String {
        format!("{}.shard.0", self.prefix)
    }

    /// The same for the connection that hears control commands.
    pub(super) fn control_probe(&self, node: &NodeId) -> String {
        format!("{}.node.{node}.probe", self.prefix)
    }

    /// A key to read at the start, to see that streams are understood and may be read.
    pub(super) fn check(&self) -> String {
        format!("{}.__.check.stream", self.prefix)
    }

    /// Refuses names whose keys would be those of another channel, or would be spread over slots.
    ///
    /// # Errors
    /// [`Error::BadChannel`].
    pub(super) fn permit(&self, channel: &Channel, history: bool) -> Result<(), Error> {
        let name = channel.as_str();
        if self.cluster && name.starts_with('}') {
            return Err(Error::BadChannel(
                "begins with `}`, which Redis Cluster reads as no name",
            ));
        }
        if history && !self.cluster && name.starts_with("meta.") {
            return Err(Error::BadChannel(
                "begins with `meta.` and has history, whose key is the position of another channel",
            ));
        }
        Ok(())
    }
}

impl std::fmt::Display for Names {
    /// For the log at the start: what must be equal on every node of a fleet.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let channel = Channel::from("CHANNEL");
        write!(
            f,
            "keys {} and {}, PUB/SUB {}",
            self.history(&channel),
            self.meta(&channel),
            self.client(&channel)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_tables() {
        let channel = Channel::from("news");
        let plain = Names::new("p", false, false);
        assert_eq!(plain.history(&channel), "p.stream.news");
        assert_eq!(plain.meta(&channel), "p.stream.meta.news");
        assert_eq!(plain.result(&channel, "k"), "p.result.news.k");
        assert_eq!(plain.result(&channel, ""), "p.result.news.");
        assert_eq!(plain.client(&channel), "p.client.news");
        assert_eq!(
            plain.presence(&channel),
            [
                "p.presence.expire.news",
                "p.presence.data.news",
                "p.presence.user.expire.news",
                "p.presence.user.clients.news"
            ]
        );
    }

    #[test]
    fn names_in_a_cluster_carry_tags() {
        let channel = Channel::from("news");
        let plain = Names::new("p", false, false);
        let cluster = Names::new("p", true, true);
        assert_eq!(cluster.history(&channel), "p.list.{news}");
        assert_eq!(cluster.meta(&channel), "p.list.meta.{news}");
        assert_eq!(cluster.result(&channel, "k"), "p.result.{news}.k");
        assert_eq!(cluster.client(&channel), "p.client.{news}");
        for names in [plain, cluster] {
            for channel in ["news", "a.b", "{x}y", "канал"] {
                let name = names.client(&Channel::from(channel));
                assert_eq!(names.channel(&name), Some(channel));
            }
            assert_eq!(names.channel("q.client.news"), None);
            assert_eq!(names.control(), "p.control");
            assert_eq!(names.node(&NodeId::from("n")), "p.node.n");
        }
    }

    #[test]
    fn names_that_meet_others_are_refused() {
        let refused = |names: &Names, channel: &str, history| {
            names.permit(&Channel::from(channel), history).is_err()
        };
        let (plain, cluster) = (Names::new("p", false, false), Names::new("p", true, false));
        assert!(refused(&plain, "meta.x", true));
        assert!(!refused(&plain, "meta.x", false));
        assert!(!refused(&plain, "metal", true));
        assert!(!refused(&cluster, "meta.x", true));
        assert!(refused(&cluster, "}x", false));
        assert!(!refused(&plain, "}x", true));
        assert!(!refused(&cluster, "x}{", true));
    }
}
