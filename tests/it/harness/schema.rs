//! The messages of the client protocol as tables, written from client-protocol.md 1 and not from our own schema: a second
//! opinion on every field number.

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Bool,
    /// Varint that is never negative.
    Uint,
    /// Two's complement varint.
    Int,
    /// UTF-8.
    Text,
    /// A payload: raw JSON in the JSON encoding.
    Bytes,
    /// A message of the older generation within another.
    Opaque,
    /// A message.
    One(&'static Message),
    /// Messages.
    Many(&'static Message),
    /// Text to message.
    Map(&'static Message),
    /// Text to text.
    Tags,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) number: u64,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// In JSON the key is there even when the value is empty.
    pub(super) always: bool,
}

/// One message.
#[derive(Debug)]
pub(super) struct Message(pub(super) &'static [Field]);

const fn f(number: u64, name: &'static str, kind: Kind) -> Field {
    Field {
        number,
        name,
        kind,
        always: false,
    }
}

const fn always(number: u64, name: &'static str, kind: Kind) -> Field {
    Field {
        number,
        name,
        kind,
        always: true,
    }
}

use Kind::{Bool, Bytes, Int, Many, Map, One, Opaque, Tags, Text, Uint};

/// What clients send.
pub(super) static COMMAND: Message = Message(&[
    f(1, "id", Uint),
    f(2, "method", Uint),
    f(3, "params", Opaque),
    f(4, "connect", One(&CONNECT_REQUEST)),
    f(5, "subscribe", One(&SUBSCRIBE_REQUEST)),
    f(6, "unsubscribe", One(&CHANNEL_REQUEST)),
    f(7, "publish", One(&PUBLISH_REQUEST)),
    f(8, "presence", One(&CHANNEL_REQUEST)),
    f(9, "presence_stats", One(&CHANNEL_REQUEST)),
    f(10, "history", One(&HISTORY_REQUEST)),
    f(11, "ping", One(&EMPTY)),
    f(12, "send", One(&DATA)),
    f(13, "rpc", One(&RPC_REQUEST)),
    f(14, "refresh", One(&TOKEN_REQUEST)),
    f(15, "sub_refresh", One(&SUB_REFRESH_REQUEST)),
]);

/// What servers send.
pub(super) static REPLY: Message = Message(&[
    f(1, "id", Uint),
    f(2, "error", One(&ERROR)),
    f(3, "result", Opaque),
    f(4, "push", One(&PUSH)),
    f(5, "connect", One(&CONNECT_RESULT)),
    f(6, "subscribe", One(&SUBSCRIBE_RESULT)),
    f(7, "unsubscribe", One(&EMPTY)),
    f(8, "publish", One(&EMPTY)),
    f(9, "presence", One(&PRESENCE_RESULT)),
    f(10, "presence_stats", One(&PRESENCE_STATS_RESULT)),
    f(11, "history", One(&HISTORY_RESULT)),
    f(12, "ping", One(&EMPTY)),
    f(13, "rpc", One(&DATA)),
    f(14, "refresh", One(&REFRESH_RESULT)),
    f(15, "sub_refresh", One(&SUB_REFRESH_RESULT)),
]);

/// Requests and results of the older generation by method.
pub(super) static METHODS: [(&Message, &Message); 12] = [
    (&CONNECT_REQUEST, &CONNECT_RESULT),
    (&SUBSCRIBE_REQUEST, &SUBSCRIBE_RESULT),
    (&CHANNEL_REQUEST, &EMPTY),
    (&PUBLISH_REQUEST, &EMPTY),
    (&CHANNEL_REQUEST, &PRESENCE_RESULT),
    (&CHANNEL_REQUEST, &PRESENCE_STATS_RESULT),
    (&HISTORY_REQUEST, &HISTORY_RESULT),
    (&EMPTY, &EMPTY),
    (&DATA, &EMPTY),
    (&RPC_REQUEST, &DATA),
    (&TOKEN_REQUEST, &REFRESH_RESULT),
    (&SUB_REFRESH_REQUEST, &SUB_REFRESH_RESULT),
];

/// The older generation's push.
pub(super) static PUSH_V1: Message = Message(&[
    f(1, "type", Uint),
    f(2, "channel", Text),
    always(3, "data", Opaque),
]);

/// Bodies of the older generation's pushes by type.
pub(super) static BODIES_V1: [&Message; 9] = [
    &PUBLICATION,
    &INFO,
    &INFO,
    &UNSUBSCRIBE,
    &DATA,
    &SUBSCRIBE_PUSH,
    &EMPTY,
    &DISCONNECT,
    &REFRESH,
];

static EMPTY: Message = Message(&[]);
static DATA: Message = Message(&[f(1, "data", Bytes)]);
static CHANNEL_REQUEST: Message = Message(&[f(1, "channel", Text)]);
static TOKEN_REQUEST: Message = Message(&[f(1, "token", Text)]);
static INFO: Message = Message(&[f(1, "info", One(&CLIENT_INFO))]);

static ERROR: Message = Message(&[
    f(1, "code", Uint),
    f(2, "message", Text),
    f(3, "temporary", Bool),
]);

pub(super) static PUSH: Message = Message(&[
    f(1, "id", Int),
    f(2, "channel", Text),
    f(4, "pub", One(&PUBLICATION)),
    f(5, "join", One(&INFO)),
    f(6, "leave", One(&INFO)),
    f(7, "unsubscribe", One(&UNSUBSCRIBE)),
    f(8, "message", One(&DATA)),
    f(9, "subscribe", One(&SUBSCRIBE_PUSH)),
    f(10, "connect", One(&CONNECT_PUSH)),
    f(11, "disconnect", One(&DISCONNECT)),
    f(12, "refresh", One(&REFRESH)),
]);

static CLIENT_INFO: Message = Message(&[
    always(1, "user", Text),
    always(2, "client", Text),
    f(3, "conn_info", Bytes),
    f(4, "chan_info", Bytes),
]);

static PUBLICATION: Message = Message(&[
    f(1, "seq", Uint),
    f(2, "gen", Uint),
    f(4, "data", Bytes),
    f(5, "info", One(&CLIENT_INFO)),
    f(6, "offset", Uint),
    f(7, "tags", Tags),
    f(8, "delta", Bool),
    f(9, "time", Int),
    f(10, "channel", Text),
    f(14, "epoch", Text),
    f(16, "version", Uint),
]);

static POSITION: Message = Message(&[f(1, "offset", Uint), f(2, "epoch", Text)]);

pub(super) static CONNECT_REQUEST: Message = Message(&[
    f(1, "token", Text),
    f(2, "data", Bytes),
    f(3, "subs", Map(&SUBSCRIBE_REQUEST)),
    f(4, "name", Text),
    f(5, "version", Text),
    f(6, "headers", Tags),
    f(7, "flag", Int),
]);

static CONNECT_RESULT: Message = Message(&[
    f(1, "client", Text),
    f(2, "version", Text),
    f(3, "expires", Bool),
    f(4, "ttl", Uint),
    f(5, "data", Bytes),
    f(6, "subs", Map(&SUBSCRIBE_RESULT)),
    f(7, "ping", Uint),
    f(8, "pong", Bool),
    f(9, "session", Text),
    f(10, "node", Text),
    f(11, "time", Int),
    f(12, "flag", Int),
]);

static CONNECT_PUSH: Message = Message(&[
    f(1, "client", Text),
    f(2, "version", Text),
    f(3, "data", Bytes),
    f(4, "subs", Map(&SUBSCRIBE_RESULT)),
    f(5, "expires", Bool),
    f(6, "ttl", Uint),
    f(7, "ping", Uint),
    f(8, "pong", Bool),
    f(9, "session", Text),
    f(10, "node", Text),
    f(11, "time", Int),
]);

static REFRESH_RESULT: Message = Message(&[
    f(1, "client", Text),
    f(2, "version", Text),
    f(3, "expires", Bool),
    f(4, "ttl", Uint),
]);

static SUBSCRIBE_REQUEST: Message = Message(&[
    f(1, "channel", Text),
    f(2, "token", Text),
    f(3, "recover", Bool),
    f(4, "seq", Uint),
    f(5, "gen", Uint),
    f(6, "epoch", Text),
    f(7, "offset", Uint),
    f(8, "data", Bytes),
    f(9, "positioned", Bool),
    f(10, "recoverable", Bool),
    f(11, "join_leave", Bool),
    f(12, "delta", Text),
    f(13, "tf", One(&FILTER)),
    f(14, "flag", Int),
    f(15, "type", Int),
]);

/// Without the values of `in` and `nin`.
static FILTER: Message = Message(&[
    f(1, "op", Text),
    f(2, "key", Text),
    f(3, "cmp", Text),
    f(4, "val", Text),
    f(6, "nodes", Many(&FILTER)),
]);

static SUBSCRIBE_RESULT: Message = Message(&[
    f(1, "expires", Bool),
    f(2, "ttl", Uint),
    f(3, "recoverable", Bool),
    f(4, "seq", Uint),
    f(5, "gen", Uint),
    f(6, "epoch", Text),
    f(7, "publications", Many(&PUBLICATION)),
    f(8, "recovered", Bool),
    f(9, "offset", Uint),
    f(10, "positioned", Bool),
    f(11, "data", Bytes),
    f(12, "was_recovering", Bool),
    f(13, "delta", Bool),
    f(14, "id", Int),
    f(15, "type", Int),
]);

static SUB_REFRESH_REQUEST: Message = Message(&[
    f(1, "channel", Text),
    f(2, "token", Text),
    f(3, "type", Int),
]);

static SUB_REFRESH_RESULT: Message = Message(&[f(1, "expires", Bool), f(2, "ttl", Uint)]);

static PUBLISH_REQUEST: Message = Message(&[
    f(1, "channel", Text),
    f(2, "data", Bytes),
    f(3, "type", Int),
    f(4, "key", Text),
    f(5, "removed", Bool),
]);

static PRESENCE_RESULT: Message = Message(&[always(1, "presence", Map(&CLIENT_INFO))]);

static PRESENCE_STATS_RESULT: Message =
    Message(&[always(1, "num_clients", Uint), always(2, "num_users", Uint)]);

static HISTORY_REQUEST: Message = Message(&[
    f(1, "channel", Text),
    f(7, "limit", Int),
    f(8, "since", One(&POSITION)),
    f(9, "reverse", Bool),
]);

static HISTORY_RESULT: Message = Message(&[
    always(1, "publications", Many(&PUBLICATION)),
    always(2, "epoch", Text),
    always(3, "offset", Uint),
]);

static RPC_REQUEST: Message = Message(&[f(1, "data", Bytes), f(2, "method", Text)]);

static UNSUBSCRIBE: Message = Message(&[f(2, "code", Uint), f(3, "reason", Text)]);

static SUBSCRIBE_PUSH: Message = Message(&[
    f(1, "recoverable", Bool),
    f(4, "epoch", Text),
    f(5, "offset", Uint),
    f(6, "positioned", Bool),
    f(7, "data", Bytes),
]);

static DISCONNECT: Message = Message(&[
    f(1, "code", Uint),
    f(2, "reason", Text),
    f(3, "reconnect", Bool),
]);

static REFRESH: Message = Message(&[f(1, "expires", Bool), f(2, "ttl", Uint)]);
