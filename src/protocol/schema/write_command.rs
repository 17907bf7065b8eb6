//! Commands as fields to write: what a client does (client-protocol.md 1.3, 1.7, 1.8).

use super::{Field, Sink, field};
use crate::{
    model::{Channel, FilterNode, Version},
    protocol::{
        message::{
            Command, ConnectRequest, HistoryRequest, PublishRequest, Request, SubRefreshRequest,
            SubscribeRequest,
        },
        v1::UNKNOWN_METHOD,
    },
};

/// A whole command.
pub(in crate::protocol) fn command<S: Sink>(w: &mut S, command: &Command, version: Version) {
    w.unsigned(field!(1, "id"), command.id.into());
    match &command.request {
        Request::Connect(value) => asked(w, version, (0, field!(4, "connect")), |w| {
            connect(w, value, version);
        }),
        Request::Subscribe(value) => asked(w, version, (1, field!(5, "subscribe")), |w| {
            subscribe(w, value, version);
        }),
        Request::Unsubscribe(value) => {
            asked(w, version, (2, field!(6, "unsubscribe")), |w| {
                channel(w, value);
            });
        }
        Request::Publish(value) => asked(w, version, (3, field!(7, "publish")), |w| {
            publish(w, value, version);
        }),
        Request::Presence(value) => asked(w, version, (4, field!(8, "presence")), |w| {
            channel(w, value);
        }),
        Request::PresenceStats(value) => {
            asked(w, version, (5, field!(9, "presence_stats")), |w| {
                channel(w, value);
            });
        }
        Request::History(value) => asked(w, version, (6, field!(10, "history")), |w| {
            history(w, value, version);
        }),
        Request::Ping => asked(w, version, (7, field!(11, "ping")), |_| {}),
        other => rest(w, other, version),
    }
}

fn rest<S: Sink>(w: &mut S, request: &Request, version: Version) {
    match request {
        Request::Send(data) => asked(w, version, (8, field!(12, "send")), |w| {
            w.payload(field!(1, "data"), data);
        }),
        Request::Rpc(value) => asked(w, version, (9, field!(13, "rpc")), |w| {
            w.payload(field!(1, "data"), &value.data);
            w.text(field!(2, "method"), &value.method);
        }),
        Request::Refresh(token) => asked(w, version, (10, field!(14, "refresh")), |w| {
            w.text(field!(1, "token"), token);
        }),
        Request::SubRefresh(value) => {
            asked(w, version, (11, field!(15, "sub_refresh")), |w| {
                sub_refresh(w, value, version);
            });
        }
        Request::UnknownMethod => w.unsigned(field!(2, "method"), UNKNOWN_METHOD.into()),
        _ => {}
    }
}

/// A request: a field of its own in V2, method and `params` in V1.
fn asked<S: Sink>(
    w: &mut S,
    version: Version,
    (method, typed): (u64, Field),
    body: impl Fn(&mut S),
) {
    match version {
        Version::V1 => {
            w.unsigned(field!(2, "method"), method);
            w.embedded(field!(3, "params"), body);
        }
        Version::V2 => w.message(typed, body),
    }
}

fn channel<S: Sink>(w: &mut S, channel: &Channel) {
    w.text(field!(1, "channel"), channel.as_str());
}

fn connect<S: Sink>(w: &mut S, value: &ConnectRequest, version: Version) {
    w.text(field!(1, "token"), &value.token);
    w.payload(field!(2, "data"), &value.data);
    w.map(field!(3, "subs"), &value.subs, |w, sub| {
        subscribe(w, sub, version);
    });
    w.text(field!(4, "name"), &value.name);
    w.text(field!(5, "version"), &value.version);
    if version == Version::V2 {
        w.texts(field!(6, "headers"), &value.headers);
        w.signed(field!(7, "flag"), value.flag);
        w.text(field!(8, "dict"), &value.dict);
        w.text(field!(9, "profile"), &value.profile);
    }
}

fn subscribe<S: Sink>(w: &mut S, value: &SubscribeRequest, version: Version) {
    channel(w, &value.channel);
    w.text(field!(2, "token"), &value.token);
    w.boolean(field!(3, "recover"), value.recover);
    if version == Version::V1 {
        w.unsigned(field!(4, "seq"), value.seq.into());
        w.unsigned(field!(5, "gen"), value.r#gen.into());
    }
    w.text(field!(6, "epoch"), &value.epoch);
    w.unsigned(field!(7, "offset"), value.offset);
    w.payload(field!(8, "data"), &value.data);
    if version == Version::V2 {
        w.boolean(field!(9, "positioned"), value.positioned);
        w.boolean(field!(10, "recoverable"), value.recoverable);
        w.boolean(field!(11, "join_leave"), value.join_leave);
        w.text(field!(12, "delta"), &value.delta);
        if let Some(node) = &value.tags_filter {
            w.message(field!(13, "tf"), |w| filter(w, node));
        }
        w.signed(field!(14, "flag"), value.flag);
        w.signed(field!(15, "type"), value.kind.into());
    }
}

fn filter<S: Sink>(w: &mut S, node: &FilterNode) {
    w.text(field!(1, "op"), &node.op);
    w.text(field!(2, "key"), &node.key);
    w.text(field!(3, "cmp"), &node.cmp);
    w.text(field!(4, "val"), &node.val);
    w.strings(field!(5, "vals"), &node.vals);
    w.list(field!(6, "nodes"), &node.nodes, filter);
}

fn publish<S: Sink>(w: &mut S, value: &PublishRequest, version: Version) {
    channel(w, &value.channel);
    w.payload(field!(2, "data"), &value.data);
    if version == Version::V2 {
        w.signed(field!(3, "type"), value.kind.into());
    }
}

/// V1 says "no publications" with `use_limit`, because a limit of 0 cannot be seen in Protobuf. JSON needs the key then.
fn history<S: Sink>(w: &mut S, value: &HistoryRequest, version: Version) {
    channel(w, &value.channel);
    let limit = value.limit.unwrap_or(0);
    if version == Version::V1 {
        w.boolean(field!(5, "use_limit"), value.limit == Some(0));
    }
    w.signed(field!(7, "limit"), limit.into());
    if let Some(since) = &value.since {
        w.message(field!(8, "since"), |w| {
            w.unsigned(field!(1, "offset"), since.offset);
            w.text(field!(2, "epoch"), since.epoch.as_str());
        });
    }
    w.boolean(field!(9, "reverse"), value.reverse);
}

fn sub_refresh<S: Sink>(w: &mut S, value: &SubRefreshRequest, version: Version) {
    channel(w, &value.channel);
    w.text(field!(2, "token"), &value.token);
    if version == Version::V2 {
        w.signed(field!(3, "type"), value.kind.into());
    }
}
