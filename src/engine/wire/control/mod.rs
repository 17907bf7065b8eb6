//! Messages between nodes as Protobuf (engines.md 1.8).
//!
//! No input makes it panic; unknown fields are skipped. Conditions nested deeper than the decoder goes are refused.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    model::{
        Channel, ClientId, Control, Disconnect, LabelFilter, NodeId, NodeInfo, Notification,
        Refresh, StreamPosition, SubscribeCommand, SubscribeOptions, SurveyRequest, SurveyResponse,
        Target, Unsubscribe, UserId,
    },
    pb::control as pb,
};

/// Longest identifier of a node. It becomes part of the channel the node is answered on.
const NODE_ID_MAX: usize = 128;

/// Why a message is dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a message at all.
    #[error("malformed control message")]
    Malformed(#[from] prost::DecodeError),
    /// No sender, or one that cannot be a node.
    #[error("control message of no node")]
    Sender,
    /// A message of a kind this version does not know.
    #[error("control message of an unknown kind")]
    Unknown,
}

/// The message as bytes.
#[must_use]
pub fn encode(from: &NodeId, control: &Control) -> Bytes {
    let mut command = pb::Command {
        uid: from.to_string(),
        ..pb::Command::default()
    };
    match control {
        Control::Node(info) => command.node = Some(node_to_wire(info)),
        Control::Shutdown => command.shutdown = Some(pb::Shutdown {}),
        Control::Subscribe(target, subscribe) => {
            command.subscribe = Some(subscribe_to_wire(target, subscribe));
        }
        Control::Unsubscribe(target, channel, why) => {
            command.unsubscribe = Some(unsubscribe_to_wire(target, channel, why));
        }
        Control::Disconnect(target, why, keep) => {
            command.disconnect = Some(disconnect_to_wire(target, why, keep));
        }
        Control::Refresh(target, refresh) => {
            command.refresh = Some(refresh_to_wire(target, refresh));
        }
        Control::SurveyRequest(SurveyRequest { id, op, data }) => {
            command.survey_request = Some(pb::SurveyRequest {
                id: *id,
                op: op.clone(),
                data: data.clone(),
            });
        }
        Control::SurveyResponse(SurveyResponse { id, code, data }) => {
            command.survey_response = Some(pb::SurveyResponse {
                id: *id,
                code: *code,
                data: data.clone(),
            });
        }
        Control::Notification(Notification { op, data }) => {
            command.notification = Some(pb::Notification {
                op: op.clone(),
                data: data.clone(),
            });
        }
    }
    Bytes::from(command.encode_to_vec())
}

/// Who sent it, and what. Of several parts only the first counts, in the order the other product looks.
///
/// # Errors
/// The message is to be dropped and counted.
pub fn decode(data: Bytes) -> Result<(NodeId, Control), Error> {
    let command = pb::Command::decode(data)?;
    if command.uid.is_empty() || command.uid.len() > NODE_ID_MAX {
        return Err(Error::Sender);
    }
    let from = NodeId::from(command.uid);
    let control = if let Some(node) = command.node {
        Control::Node(Box::new(node_from_wire(node)?))
    } else if command.shutdown.is_some() {
        Control::Shutdown
    } else if let Some(unsubscribe) = command.unsubscribe {
        unsubscribe_from_wire(unsubscribe)
    } else if let Some(subscribe) = command.subscribe {
        subscribe_from_wire(subscribe)
    } else if let Some(disconnect) = command.disconnect {
        disconnect_from_wire(disconnect)
    } else if let Some(pb::SurveyRequest { id, op, data }) = command.survey_request {
        Control::SurveyRequest(SurveyRequest { id, op, data })
    } else if let Some(pb::SurveyResponse { id, code, data }) = command.survey_response {
        Control::SurveyResponse(SurveyResponse { id, code, data })
    } else if let Some(pb::Notification { op, data }) = command.notification {
        Control::Notification(Notification { op, data })
    } else if let Some(refresh) = command.refresh {
        refresh_from_wire(refresh)
    } else {
        return Err(Error::Unknown);
    };
    Ok((from, control))
}

fn node_to_wire(info: &NodeInfo) -> pb::Node {
    pb::Node {
        uid: info.uid.to_string(),
        name: info.name.clone(),
        version: info.version.clone(),
        num_clients: info.num_clients,
        num_users: info.num_users,
        num_channels: info.num_channels,
        uptime: info.uptime,
        metrics: info.metrics.as_ref().map(|(interval, items)| pb::Metrics {
            interval: *interval,
            items: items.clone().into_iter().collect(),
        }),
        data: info.data.clone(),
        num_subs: info.num_subs,
    }
}

fn node_from_wire(node: pb::Node) -> Result<NodeInfo, Error> {
    if node.uid.is_empty() || node.uid.len() > NODE_ID_MAX {
        return Err(Error::Sender);
    }
    Ok(NodeInfo {
        uid: NodeId::from(node.uid),
        name: node.name,
        version: node.version,
        num_clients: node.num_clients,
        num_users: node.num_users,
        num_channels: node.num_channels,
        num_subs: node.num_subs,
        uptime: node.uptime,
        metrics: node
            .metrics
            .map(|metrics| (metrics.interval, metrics.items.into_iter().collect())),
        data: node.data,
    })
}

fn subscribe_to_wire(target: &Target, subscribe: &SubscribeCommand) -> pb::Subscribe {
    let options = &subscribe.options;
    pb::Subscribe {
        user: target.user.to_string(),
        channel: subscribe.channel.to_string(),
        emit_presence: options.presence,
        emit_join_leave: options.join_leave,
        expire_at: options.expire_at.unwrap_or_default(),
        // Recovery includes it; the other product says only what was asked for by itself.
        position: options.positioned && !options.recoverable,
        recover: options.recoverable,
        channel_info: options.info.clone(),
        client: client_to_wire(target),
        data: options.data.clone(),
        recover_since: subscribe
            .recover_since
            .as_ref()
            .map(|since| pb::StreamPosition {
                offset: since.offset,
                epoch: since.epoch.to_string(),
            }),
        session: target.session.clone().unwrap_or_default(),
        push_join_leave: options.push_join_leave,
        source: options.source as u32,
        label_filter: labels_to_wire(target),
        all_users: target.all_users,
    }
}

/// What the message does not carry keeps its default: whoever carries it out asks the namespace.
fn subscribe_from_wire(subscribe: pb::Subscribe) -> Control {
    let command = SubscribeCommand {
        channel: Channel::from(subscribe.channel),
        options: SubscribeOptions {
            presence: subscribe.emit_presence,
            join_leave: subscribe.emit_join_leave,
            push_join_leave: subscribe.push_join_leave,
            positioned: subscribe.position,
            recoverable: subscribe.recover,
            expire_at: (subscribe.expire_at != 0).then_some(subscribe.expire_at),
            info: subscribe.channel_info,
            data: subscribe.data,
            source: subscribe.source.into(),
            ..SubscribeOptions::default()
        },
        recover_since: subscribe.recover_since.map(|since| StreamPosition {
            offset: since.offset,
            epoch: since.epoch.into(),
        }),
    };
    let conditions = (
        subscribe.client,
        subscribe.session,
        subscribe.label_filter,
        subscribe.all_users,
    );
    Control::Subscribe(target(subscribe.user, conditions), Box::new(command))
}

fn unsubscribe_to_wire(target: &Target, channel: &Channel, why: &Unsubscribe) -> pb::Unsubscribe {
    pb::Unsubscribe {
        channel: channel.to_string(),
        user: target.user.to_string(),
        client: client_to_wire(target),
        session: target.session.clone().unwrap_or_default(),
        code: why.code,
        reason: why.reason.to_string(),
        label_filter: labels_to_wire(target),
        all_users: target.all_users,
    }
}

fn unsubscribe_from_wire(unsubscribe: pb::Unsubscribe) -> Control {
    let conditions = (
        unsubscribe.client,
        unsubscribe.session,
        unsubscribe.label_filter,
        unsubscribe.all_users,
    );
    Control::Unsubscribe(
        target(unsubscribe.user, conditions),
        Channel::from(unsubscribe.channel),
        Unsubscribe {
            code: unsubscribe.code,
            reason: unsubscribe.reason.into(),
        },
    )
}

fn disconnect_to_wire(target: &Target, why: &Disconnect, keep: &[ClientId]) -> pb::Disconnect {
    pb::Disconnect {
        user: target.user.to_string(),
        whitelist: keep.iter().map(ToString::to_string).collect(),
        code: why.code,
        reason: why.reason.to_string(),
        reconnect: false,
        client: client_to_wire(target),
        session: target.session.clone().unwrap_or_default(),
        label_filter: labels_to_wire(target),
        all_users: target.all_users,
    }
}

fn disconnect_from_wire(disconnect: pb::Disconnect) -> Control {
    let conditions = (
        disconnect.client,
        disconnect.session,
        disconnect.label_filter,
        disconnect.all_users,
    );
    Control::Disconnect(
        target(disconnect.user, conditions),
        Disconnect {
            code: disconnect.code,
            reason: disconnect.reason.into(),
        },
        disconnect
            .whitelist
            .into_iter()
            .map(ClientId::from)
            .collect(),
    )
}

fn refresh_to_wire(target: &Target, refresh: &Refresh) -> pb::Refresh {
    pb::Refresh {
        user: target.user.to_string(),
        client: client_to_wire(target),
        expired: refresh.expired,
        expire_at: refresh.expire_at,
        info: refresh.info.clone(),
        session: target.session.clone().unwrap_or_default(),
        label_filter: labels_to_wire(target),
        all_users: target.all_users,
    }
}

fn refresh_from_wire(refresh: pb::Refresh) -> Control {
    let conditions = (
        refresh.client,
        refresh.session,
        refresh.label_filter,
        refresh.all_users,
    );
    Control::Refresh(
        target(refresh.user, conditions),
        Refresh {
            expired: refresh.expired,
            expire_at: refresh.expire_at,
            info: refresh.info,
        },
    )
}

fn client_to_wire(target: &Target) -> String {
    target
        .client
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn labels_to_wire(target: &Target) -> Option<pb::FilterNode> {
    target.labels.as_deref().map(filter_to_wire)
}

fn filter_to_wire(filter: &LabelFilter) -> pb::FilterNode {
    pb::FilterNode {
        op: filter.op.clone(),
        key: filter.key.clone(),
        cmp: filter.cmp.clone(),
        val: filter.val.clone(),
        vals: filter.vals.clone(),
        nodes: filter.nodes.iter().map(filter_to_wire).collect(),
    }
}

fn filter_from_wire(filter: pb::FilterNode) -> LabelFilter {
    LabelFilter {
        op: filter.op,
        key: filter.key,
        cmp: filter.cmp,
        val: filter.val,
        vals: filter.vals,
        nodes: filter.nodes.into_iter().map(filter_from_wire).collect(),
    }
}

/// Connection, session, labels, all users.
type Conditions = (String, String, Option<pb::FilterNode>, bool);

fn target(user: String, (client, session, labels, all_users): Conditions) -> Target {
    Target {
        user: UserId::from(user),
        client: (!client.is_empty()).then(|| ClientId::from(client)),
        session: (!session.is_empty()).then_some(session),
        labels: labels.map(|labels| Box::new(filter_from_wire(labels))),
        all_users,
    }
}

#[cfg(test)]
mod tests;
