//! What the nodes of a fleet tell each other (engines.md 1.8): actions on connections, who is there, surveys.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Channel, ClientId, Disconnect, NodeId, Refresh, SubscribeCommand, Target, Unsubscribe,
};

/// A message between nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// Make a server-side subscription.
    Subscribe(Target, Box<SubscribeCommand>),
    /// End a subscription of any side. The channel may be empty: then only the push is sent.
    Unsubscribe(Target, Channel, Unsubscribe),
    /// Close connections, except those listed.
    Disconnect(Target, Disconnect, Vec<ClientId>),
    /// Change the expiration.
    Refresh(Target, Refresh),
    /// A node tells of itself.
    Node(Box<NodeInfo>),
    /// The sender leaves.
    Shutdown,
    /// A question every addressed node answers.
    SurveyRequest(SurveyRequest),
    /// The answer of the sender.
    SurveyResponse(SurveyResponse),
    /// Something to know, without an answer.
    Notification(Notification),
}

impl Control {
    /// What must be carried out in order: commands of one user, else those of one sender (engines.md 3.10).
    #[must_use]
    pub fn order_key<'a>(&'a self, from: &'a NodeId) -> &'a str {
        let user = match self {
            Self::Subscribe(target, _)
            | Self::Unsubscribe(target, ..)
            | Self::Disconnect(target, ..)
            | Self::Refresh(target, _) => target.user.as_str(),
            Self::Node(_)
            | Self::Shutdown
            | Self::SurveyRequest(_)
            | Self::SurveyResponse(_)
            | Self::Notification(_) => "",
        };
        if user.is_empty() { from.as_str() } else { user }
    }
}

/// What a node tells of itself (server-api.md 8.11).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeInfo {
    /// Node identifier.
    pub uid: NodeId,
    /// Configured name.
    pub name: String,
    /// Version text.
    pub version: String,
    /// Connections.
    pub num_clients: u32,
    /// Distinct users.
    pub num_users: u32,
    /// Channels with a subscriber.
    pub num_channels: u32,
    /// Subscriptions.
    pub num_subs: u32,
    /// Seconds since start.
    pub uptime: u32,
    /// Metric snapshot: seconds it covers, values by name.
    pub metrics: Option<(f64, BTreeMap<String, f64>)>,
    /// What the application of the node adds; empty for nothing.
    pub data: Bytes,
}

/// A question to nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurveyRequest {
    /// Number of the question, counted by the node that asks.
    pub id: u64,
    /// What is asked.
    pub op: String,
    /// Arguments.
    pub data: Bytes,
}

/// The answer of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurveyResponse {
    /// Number of the question.
    pub id: u64,
    /// 0, or why there is no answer: 1 internal error, 2 bad request, 3 unknown question.
    pub code: u32,
    /// The answer.
    pub data: Bytes,
}

/// Something to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// What it is about.
    pub op: String,
    /// Its content.
    pub data: Bytes,
}

/// A condition on the labels of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelFilter {
    /// Empty for a comparison, else `and`, `or`, `not`.
    pub op: String,
    /// Label.
    pub key: String,
    /// Comparison.
    pub cmp: String,
    /// Value to compare with.
    pub val: String,
    /// Values of `in` and `nin`.
    pub vals: Vec<String>,
    /// What is combined.
    pub nodes: Vec<Self>,
}

impl LabelFilter {
    /// Whether a connection without labels fits, as all are here. What is not understood fits nobody.
    #[must_use]
    pub fn fits_unlabelled(&self) -> bool {
        self.judge() == Some(true)
    }

    /// `None` for a condition that is not understood, which no `not` turns into consent.
    fn judge(&self) -> Option<bool> {
        let mut parts = self.nodes.iter().map(Self::judge);
        match self.op.as_str() {
            "" => match self.cmp.as_str() {
                "neq" | "nin" | "nex" => Some(true),
                "eq" | "in" | "ex" | "sw" | "ew" | "ct" | "lt" | "lte" | "gt" | "gte" => {
                    Some(false)
                }
                _ => None,
            },
            "and" => parts.try_fold(true, |all, part| part.map(|part| all && part)),
            "or" => parts.try_fold(false, |any, part| part.map(|part| any || part)),
            "not" if self.nodes.len() == 1 => parts.next().flatten().map(|part| !part),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(cmp: &str) -> LabelFilter {
        LabelFilter {
            key: "k".to_owned(),
            cmp: cmp.to_owned(),
            ..LabelFilter::default()
        }
    }

    fn combined(op: &str, nodes: &[LabelFilter]) -> LabelFilter {
        LabelFilter {
            op: op.to_owned(),
            nodes: nodes.to_vec(),
            ..LabelFilter::default()
        }
    }

    #[test]
    fn a_connection_without_labels_fits_only_what_asks_for_absence() {
        for (filter, fits) in [
            (leaf("eq"), false),
            (leaf("neq"), true),
            (leaf("nex"), true),
            (leaf("gte"), false),
            (leaf("like"), false),
            (combined("and", &[leaf("neq"), leaf("eq")]), false),
            (combined("or", &[leaf("neq"), leaf("eq")]), true),
            (combined("not", &[leaf("eq")]), true),
            (combined("not", &[leaf("like")]), false),
            (combined("not", &[]), false),
            (combined("xor", &[leaf("neq")]), false),
            (combined("or", &[leaf("neq"), leaf("like")]), false),
        ] {
            assert_eq!(filter.fits_unlabelled(), fits, "{filter:?}");
        }
    }

    #[test]
    fn commands_are_ordered_by_user_and_else_by_sender() {
        let from = NodeId::from("node");
        let target = |user: &str| Target {
            user: user.into(),
            ..Target::default()
        };
        let refresh = |user| Control::Refresh(target(user), Refresh::default());
        assert_eq!(refresh("u").order_key(&from), "u");
        assert_eq!(refresh("").order_key(&from), "node");
        assert_eq!(Control::Shutdown.order_key(&from), "node");
    }
}
