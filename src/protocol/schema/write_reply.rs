//! Replies and pushes as fields (client-protocol.md 1.4 to 1.7, 1.9, 1.10).

use super::{Dialect, Field, Sink, always, field};
use crate::{
    model::{Channel, ClientError, ClientInfo, Disconnect, Publication, Unsubscribe, Version},
    protocol::{
        frame::Look,
        message::{
            ConnectResult, HistoryResult, PresenceResult, PushBody, RefreshResult, Reply,
            ReplyBody, SubscribePush, SubscribeResult,
        },
        v1,
    },
};

/// A whole reply.
pub(in crate::protocol) fn reply<S: Sink>(w: &mut S, reply: &Reply, dialect: Dialect) {
    w.unsigned(field!(1, "id"), reply.id.into());
    match &reply.body {
        ReplyBody::Error(value) => w.message(field!(2, "error"), |w| error(w, value, dialect)),
        ReplyBody::Push(value) => push(w, &value.channel, &value.body, dialect),
        ReplyBody::Ping | ReplyBody::Pong => {}
        body => result(w, body, dialect),
    }
}

/// The push of a publication, without building a [`Reply`] around it.
pub(in crate::protocol) fn publication_push<S: Sink>(
    w: &mut S,
    channel: &Channel,
    value: &Publication,
    dialect: Dialect,
) {
    let body = (0, field!(4, "pub"));
    pushed(w, dialect, channel, body, |w| {
        publication(w, value, dialect);
    });
}

fn result<S: Sink>(w: &mut S, body: &ReplyBody, dialect: Dialect) {
    match body {
        ReplyBody::Connect(value) => answer(w, dialect, field!(5, "connect"), |w| {
            connect_result(w, value, dialect);
        }),
        ReplyBody::Subscribe(value) => answer(w, dialect, field!(6, "subscribe"), |w| {
            subscribe_result(w, value, dialect);
        }),
        ReplyBody::Unsubscribe => answer(w, dialect, field!(7, "unsubscribe"), |_| {}),
        ReplyBody::Publish => answer(w, dialect, field!(8, "publish"), |_| {}),
        ReplyBody::Presence(value) => answer(w, dialect, field!(9, "presence"), |w| {
            presence_result(w, value);
        }),
        ReplyBody::PresenceStats(value) => answer(w, dialect, field!(10, "presence_stats"), |w| {
            w.unsigned(always!(1, "num_clients"), value.num_clients.into());
            w.unsigned(always!(2, "num_users"), value.num_users.into());
        }),
        ReplyBody::History(value) => answer(w, dialect, field!(11, "history"), |w| {
            history_result(w, value, dialect);
        }),
        ReplyBody::Rpc(data) => answer(w, dialect, field!(13, "rpc"), |w| {
            w.payload(field!(1, "data"), data);
        }),
        ReplyBody::Refresh(value) => answer(w, dialect, field!(14, "refresh"), |w| {
            refresh_result(w, value, dialect);
        }),
        ReplyBody::SubRefresh(value) => answer(w, dialect, field!(15, "sub_refresh"), |w| {
            expiry(w, 1, value.ttl);
        }),
        ReplyBody::Error(_) | ReplyBody::Push(_) | ReplyBody::Ping | ReplyBody::Pong => {}
    }
}

/// A result: a field of its own in V2, embedded into `result` in V1.
fn answer<S: Sink>(w: &mut S, dialect: Dialect, typed: Field, body: impl Fn(&mut S)) {
    match dialect.version {
        Version::V1 => w.embedded(field!(3, "result"), body),
        Version::V2 => w.message(typed, body),
    }
}

fn error<S: Sink>(w: &mut S, error: &ClientError, dialect: Dialect) {
    let v1 = dialect.is_v1();
    w.unsigned(field!(1, "code").always_if(v1), error.code.into());
    w.text(field!(2, "message").always_if(v1), &error.message);
    w.boolean(field!(3, "temporary"), error.temporary && !v1);
}

/// `expires` and, behind it, `ttl`; they are neighbours wherever they appear.
fn expiry<S: Sink>(w: &mut S, first: u32, ttl: Option<u32>) {
    w.boolean(field!(first, "expires"), ttl.is_some());
    w.unsigned(field!(first + 1, "ttl"), ttl.unwrap_or(0).into());
}

fn connect_result<S: Sink>(w: &mut S, value: &ConnectResult, dialect: Dialect) {
    let v1 = dialect.is_v1();
    w.text(field!(1, "client").always_if(v1), value.client.as_str());
    w.text(field!(2, "version").always_if(v1), &value.version);
    expiry(w, 3, value.ttl);
    w.payload(field!(5, "data"), &value.data);
    w.map(field!(6, "subs"), &value.subs, |w, sub| {
        subscribe_result(w, sub, dialect);
    });
    if v1 {
        return;
    }
    w.unsigned(field!(7, "ping"), value.ping.into());
    w.boolean(field!(8, "pong"), value.pong);
    w.text(field!(9, "session"), &value.session);
    w.text(field!(10, "node"), &value.node);
    w.signed(field!(11, "time"), value.time);
}

/// The same as a push: its fields have other numbers and another order.
fn connect_push<S: Sink>(w: &mut S, value: &ConnectResult, dialect: Dialect) {
    w.text(field!(1, "client"), value.client.as_str());
    w.text(field!(2, "version"), &value.version);
    w.payload(field!(3, "data"), &value.data);
    w.map(field!(4, "subs"), &value.subs, |w, sub| {
        subscribe_result(w, sub, dialect);
    });
    expiry(w, 5, value.ttl);
    w.unsigned(field!(7, "ping"), value.ping.into());
    w.boolean(field!(8, "pong"), value.pong);
    w.text(field!(9, "session"), &value.session);
    w.text(field!(10, "node"), &value.node);
    w.signed(field!(11, "time"), value.time);
}

fn refresh_result<S: Sink>(w: &mut S, value: &RefreshResult, dialect: Dialect) {
    let v1 = dialect.is_v1();
    w.text(field!(1, "client").always_if(v1), value.client.as_str());
    if v1 {
        w.text(always!(2, "version"), &value.version);
    }
    expiry(w, 3, value.ttl);
}

fn subscribe_result<S: Sink>(w: &mut S, value: &SubscribeResult, dialect: Dialect) {
    expiry(w, 1, value.ttl);
    w.boolean(field!(3, "recoverable"), value.recoverable);
    seq_gen(w, 4, value.offset, dialect);
    w.text(field!(6, "epoch"), &value.epoch);
    let recovered = Dialect {
        positions: value.publication_positions.unwrap_or(dialect.positions),
        look: Look {
            number: 0,
            delta: value.delta,
        },
        ..dialect
    };
    w.list(field!(7, "publications"), &value.publications, |w, item| {
        publication(w, item, recovered);
    });
    w.boolean(field!(8, "recovered"), value.recovered);
    offset(w, 9, value.offset, dialect);
    w.boolean(field!(10, "positioned"), value.positioned);
    w.payload(field!(11, "data"), &value.data);
    w.boolean(
        field!(12, "was_recovering"),
        value.was_recovering && !dialect.is_v1(),
    );
    if !dialect.is_v1() {
        w.boolean(field!(13, "delta"), value.delta);
        w.unsigned(field!(14, "id"), value.number.into());
    }
}

fn presence_result<S: Sink>(w: &mut S, value: &PresenceResult) {
    w.map(always!(1, "presence"), &value.presence, |w, info| {
        client_info(w, info);
    });
}

fn history_result<S: Sink>(w: &mut S, value: &HistoryResult, dialect: Dialect) {
    w.list(
        always!(1, "publications"),
        &value.publications,
        |w, item| {
            publication(w, item, dialect);
        },
    );
    w.text(always!(2, "epoch"), &value.epoch);
    w.unsigned(always!(3, "offset"), value.offset);
}

fn client_info<S: Sink>(w: &mut S, info: &ClientInfo) {
    w.text(always!(1, "user"), info.user.as_str());
    w.text(always!(2, "client"), info.client.as_str());
    w.payload(field!(3, "conn_info"), &info.conn_info);
    w.payload(field!(4, "chan_info"), &info.chan_info);
}

fn publication<S: Sink>(w: &mut S, value: &Publication, dialect: Dialect) {
    let v1 = dialect.is_v1();
    seq_gen(w, 1, value.offset, dialect);
    let quoted = dialect.look.delta && S::IS_TEXT;
    let data = field!(4, "data").always_if(v1);
    if value.delta {
        w.patch(data, &value.data);
    } else if quoted {
        w.quoted(data, &value.data);
    } else {
        w.payload(data, &value.data);
    }
    if let Some(info) = &value.info {
        w.message(field!(5, "info"), |w| client_info(w, info));
    }
    offset(w, 6, value.offset, dialect);
    if let Some(tags) = &value.tags {
        w.texts(field!(7, "tags"), tags);
    }
    if value.delta {
        w.boolean(field!(8, "delta"), true);
    } else if !v1 && !quoted {
        w.text(field!(14, "epoch"), value.epoch.as_str());
        w.unsigned(field!(16, "version"), value.version);
    }
}

/// The position in two halves; they are neighbours wherever they appear.
fn seq_gen<S: Sink>(w: &mut S, first: u32, offset: u64, dialect: Dialect) {
    if dialect.is_v1() && dialect.positions.has_seq_gen() {
        let (seq, r#gen) = v1::split(offset);
        w.unsigned(field!(first, "seq"), seq);
        w.unsigned(field!(first + 1, "gen"), r#gen);
    }
}

fn offset<S: Sink>(w: &mut S, number: u32, offset: u64, dialect: Dialect) {
    if !dialect.is_v1() || dialect.positions.has_offset() {
        w.unsigned(field!(number, "offset"), offset);
    }
}

/// A push: the typed field of V2, or number and body of a V1 push.
fn pushed<S: Sink>(
    w: &mut S,
    dialect: Dialect,
    channel: &Channel,
    (number, typed): (u64, Field),
    body: impl Fn(&mut S),
) {
    match dialect.version {
        Version::V1 => w.embedded(field!(3, "result"), |w| {
            w.unsigned(field!(1, "type"), number);
            w.text(field!(2, "channel"), channel.as_str());
            w.embedded(field!(3, "data"), &body);
        }),
        Version::V2 if dialect.bare => {
            w.text(field!(2, "channel"), channel.as_str());
            w.message(typed, &body);
        }
        Version::V2 => w.message(field!(4, "push"), |w| {
            if dialect.look.number > 0 {
                w.unsigned(field!(1, "id"), dialect.look.number.into());
            } else {
                w.text(field!(2, "channel"), channel.as_str());
            }
            w.message(typed, &body);
        }),
    }
}

/// A push of any kind.
pub(in crate::protocol) fn push<S: Sink>(
    w: &mut S,
    channel: &Channel,
    body: &PushBody,
    dialect: Dialect,
) {
    match body {
        PushBody::Publication(value) => publication_push(w, channel, value, dialect),
        PushBody::Join(info) => pushed(w, dialect, channel, (1, field!(5, "join")), |w| {
            w.message(field!(1, "info"), |w| client_info(w, info));
        }),
        PushBody::Leave(info) => pushed(w, dialect, channel, (2, field!(6, "leave")), |w| {
            w.message(field!(1, "info"), |w| client_info(w, info));
        }),
        PushBody::Unsubscribe(value) => {
            pushed(w, dialect, channel, (3, field!(7, "unsubscribe")), |w| {
                unsubscribe(w, value, dialect);
            });
        }
        PushBody::Message(data) => pushed(w, dialect, channel, (4, field!(8, "message")), |w| {
            w.payload(field!(1, "data"), data);
        }),
        PushBody::Subscribe(value) => {
            pushed(w, dialect, channel, (5, field!(9, "subscribe")), |w| {
                subscribe_push(w, value, dialect);
            });
        }
        PushBody::Connect(value) => pushed(w, dialect, channel, (6, field!(10, "connect")), |w| {
            connect_push(w, value, dialect);
        }),
        PushBody::Disconnect(value) => {
            pushed(w, dialect, channel, (7, field!(11, "disconnect")), |w| {
                disconnect(w, value, dialect);
            });
        }
        PushBody::Refresh(ttl) => pushed(w, dialect, channel, (8, field!(12, "refresh")), |w| {
            expiry(w, 1, *ttl);
        }),
    }
}

/// V2 SDKs need both fields (client-protocol.md 6.3); V1 SDKs subscribe again only when told so.
fn unsubscribe<S: Sink>(w: &mut S, value: &Unsubscribe, dialect: Dialect) {
    if dialect.is_v1() {
        w.boolean(field!(1, "resubscribe"), value.code >= 2500);
    }
    w.unsigned(always!(2, "code"), value.code.into());
    w.text(always!(3, "reason"), &value.reason);
}

fn subscribe_push<S: Sink>(w: &mut S, value: &SubscribePush, dialect: Dialect) {
    w.boolean(field!(1, "recoverable"), value.recoverable);
    seq_gen(w, 2, value.position.offset, dialect);
    w.text(field!(4, "epoch"), value.position.epoch.as_str());
    offset(w, 5, value.position.offset, dialect);
    w.boolean(field!(6, "positioned"), value.positioned);
    w.payload(field!(7, "data"), &value.data);
}

fn disconnect<S: Sink>(w: &mut S, value: &Disconnect, dialect: Dialect) {
    w.unsigned(field!(1, "code"), value.code.into());
    w.text(field!(2, "reason"), &value.reason);
    w.boolean(field!(3, "reconnect"), dialect.is_v1() && value.reconnect());
}
