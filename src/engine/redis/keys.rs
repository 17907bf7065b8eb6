//! What keys and PUB/SUB channels are called (engines.md 3.1 and 3.2). Plain concatenation, shared with Centrifugo.

use super::partition::Partitions;
use crate::{
    engine::Error,
    model::{Channel, NodeId},
};

/// How names of a section are formed, beside the prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scheme {
    /// Channel names stand in braces, so that all keys of a channel are in one slot.
    pub(super) cluster: bool,
    /// Those of PUB/SUB as well, as Centrifugo 6.6 and newer have it.
    pub(super) channel_tags: bool,
    /// History is in lists, not streams.
    pub(super) lists: bool,
    /// Partitions of sharded PUB/SUB; none without it.
    pub(super) partitions: Option<Partitions>,
}

/// The names of one shard.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    scheme: Scheme,
}

impl Names {
    pub(super) fn new(prefix: &str, scheme: Scheme) -> Self {
        Self {
            prefix: prefix.to_owned(),
            scheme,
        }
    }

    pub(super) const fn lists(&self) -> bool {
        self.scheme.lists
    }

    /// The partition of a channel; 0 where there is but one.
    pub(super) fn partition(&self, channel: &Channel) -> usize {
        let partitions = self.scheme.partitions.as_ref();
        partitions.map_or(0, |partitions| partitions.of(channel))
    }

    fn key(&self, kind: &str, channel: &Channel) -> String {
        let prefix = &self.prefix;
        match &self.scheme.partitions {
            Some(partitions) => {
                let tag = partitions.tag(partitions.of(channel));
                format!("{prefix}.{kind}.{{{tag}}}.{channel}")
            }
            None => self.tagged(kind, channel),
        }
    }

    /// With the channel as tag, also where there are partitions.
    fn tagged(&self, kind: &str, channel: &Channel) -> String {
        let prefix = &self.prefix;
        if self.scheme.cluster {
            format!("{prefix}.{kind}.{{{channel}}}")
        } else {
            format!("{prefix}.{kind}.{channel}")
        }
    }

    const fn kind(&self) -> (&'static str, &'static str) {
        if self.scheme.lists {
            ("list", "list.meta")
        } else {
            ("stream", "stream.meta")
        }
    }

    /// PUB/SUB is sharded.
    pub(super) const fn is_sharded(&self) -> bool {
        self.scheme.partitions.is_some()
    }

    /// The command that sends to whoever listens.
    pub(super) const fn publish(&self) -> &'static str {
        if self.is_sharded() {
            "SPUBLISH"
        } else {
            "PUBLISH"
        }
    }

    /// The same as an argument of scripts.
    pub(super) fn command(&self) -> Vec<u8> {
        self.publish().to_ascii_lowercase().into_bytes()
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
        .map(|kind| self.tagged(kind, channel))
        .into()
    }

    /// Where publications, joins and leaves of a channel are spread.
    pub(super) fn client(&self, channel: &Channel) -> String {
        if self.scheme.channel_tags || self.scheme.partitions.is_some() {
            self.key("client", channel)
        } else {
            format!("{}.client.{channel}", self.prefix)
        }
    }

    /// The channel behind a PUB/SUB channel.
    pub(super) fn channel<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name
            .strip_prefix(self.prefix.as_str())?
            .strip_prefix(".client.")?;
        if self.scheme.partitions.is_some() {
            let (_tag, channel) = rest.strip_prefix('{')?.split_once('.')?;
            Some(channel)
        } else if self.scheme.cluster && self.scheme.channel_tags {
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

    /// Of every connection that listens to channels, what shows that it hears what is published.
    pub(super) fn services(&self) -> Vec<String> {
        let service = format!("{}.shard.0", self.prefix);
        match &self.scheme.partitions {
            None => vec![service],
            Some(partitions) => (0..partitions.count())
                .map(|number| format!("{service}.{{{}}}", partitions.tag(number)))
                .collect(),
        }
    }

    /// Where nobody listens, to see that sharded PUB/SUB is understood and allowed.
    pub(super) fn check_sharded(&self) -> String {
        format!("{}.__check.spublish", self.prefix)
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
        if self.scheme.cluster && name.starts_with('}') {
            return Err(Error::BadChannel(
                "begins with `}`, which Redis Cluster reads as no name",
            ));
        }
        if history && !self.scheme.cluster && name.starts_with("meta.") {
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
        )?;
        if let Some(partitions) = &self.scheme.partitions {
            write!(f, " in {} partitions", partitions.count())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Scheme = Scheme {
        cluster: false,
        channel_tags: true,
        lists: false,
        partitions: None,
    };

    const CLUSTER: Scheme = Scheme {
        cluster: true,
        ..PLAIN
    };

    fn names(scheme: Scheme) -> Names {
        Names::new("p", scheme)
    }

    #[test]
    fn names_are_those_of_the_tables() {
        let channel = Channel::from("news");
        let plain = names(PLAIN);
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
        let (plain, cluster) = (
            names(PLAIN),
            names(Scheme {
                lists: true,
                ..CLUSTER
            }),
        );
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
    fn names_in_partitions_carry_their_tags() {
        let partitioned = |precomputed| {
            let scheme = Scheme {
                cluster: true,
                channel_tags: true,
                lists: false,
                partitions: Partitions::new(16, precomputed),
            };
            Names::new("p", scheme)
        };
        // engines.md appendix C: `news` is in partition 3 of 16, `chat:index` in 0.
        let (news, chat) = (Channel::from("news"), Channel::from("chat:index"));
        let plain = partitioned(false);
        assert_eq!(plain.history(&news), "p.stream.{3}.news");
        assert_eq!(plain.meta(&chat), "p.stream.meta.{0}.chat:index");
        assert_eq!(plain.result(&news, "k"), "p.result.{3}.news.k");
        assert_eq!(plain.client(&news), "p.client.{3}.news");
        assert_eq!(plain.presence(&news)[1], "p.presence.data.{news}");
        assert_eq!(plain.services()[3], "p.shard.0.{3}");
        assert_eq!(plain.channel("p.client.{3}.a.b"), Some("a.b"));
        assert_eq!(plain.channel("p.client.3.a"), None);
        assert_eq!(plain.publish(), "SPUBLISH");
        let tagged = partitioned(true);
        assert_eq!(tagged.history(&chat), "p.stream.{ms3}.chat:index");
        assert_eq!(tagged.channel(&tagged.client(&news)), Some("news"));
    }

    #[test]
    fn older_nodes_of_a_cluster_spread_without_tags() {
        let scheme = Scheme {
            cluster: true,
            ..Scheme::default()
        };
        let old = Names::new("p", scheme);
        let channel = Channel::from("news");
        assert_eq!(old.history(&channel), "p.stream.{news}");
        assert_eq!(old.client(&channel), "p.client.news");
        assert_eq!(old.channel("p.client.news"), Some("news"));
    }

    #[test]
    fn names_that_meet_others_are_refused() {
        let refused = |names: &Names, channel: &str, history| {
            names.permit(&Channel::from(channel), history).is_err()
        };
        let (plain, cluster) = (names(PLAIN), names(CLUSTER));
        assert!(refused(&plain, "meta.x", true));
        assert!(!refused(&plain, "meta.x", false));
        assert!(!refused(&plain, "metal", true));
        assert!(!refused(&cluster, "meta.x", true));
        assert!(refused(&cluster, "}x", false));
        assert!(!refused(&plain, "}x", true));
        assert!(!refused(&cluster, "x}{", true));
    }
}
