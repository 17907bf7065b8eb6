//! Arbitrary commands and replies, and what of them each generation can carry.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

use crate::{
    model::{
        Channel, ClientError, ClientId, ClientInfo, Disconnect, Encoding, FilterNode, Publication,
        StreamPosition, Unsubscribe, Version,
    },
    protocol::{
        Command, ConnectRequest, ConnectResult, HistoryRequest, HistoryResult, PresenceResult,
        PresenceStatsResult, PublishRequest, Push, PushBody, RefreshResult, Reply, ReplyBody,
        Request, RpcRequest, SubRefreshRequest, SubRefreshResult, SubscribePush, SubscribeRequest,
        SubscribeResult,
    },
};

pub(in crate::protocol) fn text() -> impl Strategy<Value = String> {
    let char = prop_oneof![
        any::<char>(),
        proptest::sample::select(vec!['"', '\\', '<', '\n', '\u{2028}', '\0', 'a', ':']),
    ];
    vec(char, 0..8).prop_map(|chars| chars.into_iter().collect())
}

fn channel() -> impl Strategy<Value = Channel> {
    text().prop_map(Channel::from)
}

/// A payload this encoding can carry.
pub(in crate::protocol) fn payload(encoding: Encoding) -> BoxedStrategy<Bytes> {
    match encoding {
        Encoding::Json => {
            let scalar = prop_oneof![
                Just("null".to_owned()),
                any::<f64>().prop_map(|number| serde_json::json!(number).to_string()),
                text().prop_map(|text| serde_json::json!(text).to_string()),
            ];
            let json = scalar.prop_recursive(4, 16, 4, |inner| {
                prop_oneof![
                    vec(inner.clone(), 0..4).prop_map(|items| format!("[ {}]", items.join(" ,"))),
                    (text(), inner).prop_map(|(key, value)| {
                        format!("{{{} :\t{value}}}", serde_json::json!(key))
                    }),
                ]
            });
            prop_oneof![3 => json.prop_map(Bytes::from), 1 => Just(Bytes::new())].boxed()
        }
        Encoding::Protobuf => vec(any::<u8>(), 0..200).prop_map(Bytes::from).boxed(),
    }
}

fn map<K: Strategy, V: Strategy>(
    key: K,
    value: V,
) -> impl Strategy<Value = BTreeMap<K::Value, V::Value>>
where
    K::Value: Ord,
{
    vec((key, value), 0..3).prop_map(|entries| entries.into_iter().collect())
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..300u64, 0..(1u64 << 53)]
}

fn tags_filter(depth: u32) -> impl Strategy<Value = FilterNode> {
    let leaf = (text(), text(), text(), text(), vec(text(), 0..3)).prop_map(
        |(op, key, cmp, val, vals)| FilterNode {
            op,
            key,
            cmp,
            val,
            vals,
            nodes: Vec::new(),
        },
    );
    leaf.prop_recursive(depth, 16, 3, |inner| {
        (text(), vec(inner, 1..3)).prop_map(|(op, nodes)| FilterNode {
            op,
            nodes,
            ..FilterNode::default()
        })
    })
}

fn subscribe(encoding: Encoding) -> impl Strategy<Value = SubscribeRequest> {
    (
        (channel(), text(), text(), text(), payload(encoding)),
        any::<[bool; 4]>(),
        option::of(tags_filter(3).prop_map(Box::new)),
        (
            any::<u32>(),
            any::<u32>(),
            number(),
            any::<i64>(),
            any::<i32>(),
        ),
    )
        .prop_map(
            |((channel, token, epoch, delta, data), flags, tags_filter, numbers)| {
                let [recover, positioned, recoverable, join_leave] = flags;
                let (seq, r#gen, offset, flag, kind) = numbers;
                SubscribeRequest {
                    channel,
                    token,
                    recover,
                    seq,
                    r#gen,
                    epoch,
                    offset,
                    data,
                    positioned,
                    recoverable,
                    join_leave,
                    delta,
                    tags_filter,
                    flag,
                    kind,
                }
            },
        )
}

fn connect(encoding: Encoding) -> impl Strategy<Value = ConnectRequest> {
    (
        (
            text(),
            payload(encoding),
            map(channel(), subscribe(encoding)),
        ),
        (
            text(),
            text(),
            map(text(), text()),
            any::<i64>(),
            text(),
            text(),
        ),
    )
        .prop_map(|((token, data, subs), rest)| {
            let (name, version, headers, flag, dict, profile) = rest;
            ConnectRequest {
                token,
                data,
                subs,
                name,
                version,
                headers,
                flag,
                dict,
                profile,
            }
        })
}

fn position() -> impl Strategy<Value = StreamPosition> {
    (number(), text()).prop_map(|(offset, epoch)| StreamPosition {
        offset,
        epoch: epoch.into(),
    })
}

fn request(encoding: Encoding) -> impl Strategy<Value = Request> {
    let data = move || payload(encoding);
    prop_oneof![
        connect(encoding).prop_map(|request| Request::Connect(Box::new(request))),
        subscribe(encoding).prop_map(|request| Request::Subscribe(Box::new(request))),
        channel().prop_map(Request::Unsubscribe),
        (channel(), data(), any::<i32>()).prop_map(|(channel, data, kind)| {
            Request::Publish(PublishRequest {
                channel,
                data,
                kind,
            })
        }),
        channel().prop_map(Request::Presence),
        channel().prop_map(Request::PresenceStats),
        (
            channel(),
            proptest::option::of(-1..3i32),
            proptest::option::of(position()),
            any::<bool>()
        )
            .prop_map(|(channel, limit, since, reverse)| Request::History(
                HistoryRequest {
                    channel,
                    limit,
                    since,
                    reverse
                }
            )),
        (data(), text()).prop_map(|(data, method)| Request::Rpc(RpcRequest { data, method })),
        data().prop_map(Request::Send),
        text().prop_map(Request::Refresh),
        (channel(), text(), any::<i32>()).prop_map(|(channel, token, kind)| {
            Request::SubRefresh(SubRefreshRequest {
                channel,
                token,
                kind,
            })
        }),
        Just(Request::Ping),
        Just(Request::Pong),
        Just(Request::UnknownMethod),
    ]
}

/// A command this generation can carry, in a form that survives it.
pub(in crate::protocol) fn command(
    version: Version,
    encoding: Encoding,
) -> impl Strategy<Value = Command> {
    (1..=u32::MAX, any::<bool>(), request(encoding)).prop_map(move |(id, has_id, request)| {
        let request = match version {
            Version::V1 => v1_request(request),
            Version::V2 => v2_request(request),
        };
        let id = match request {
            Request::Pong => 0,
            Request::Send(_) if !has_id => 0,
            _ => id,
        };
        Command { id, request }
    })
}

fn v1_subscribe(request: SubscribeRequest) -> SubscribeRequest {
    SubscribeRequest {
        positioned: false,
        recoverable: false,
        join_leave: false,
        delta: String::new(),
        tags_filter: None,
        flag: 0,
        kind: 0,
        ..request
    }
}

fn v2_subscribe(request: SubscribeRequest) -> SubscribeRequest {
    SubscribeRequest {
        seq: 0,
        r#gen: 0,
        ..request
    }
}

fn v1_request(mut request: Request) -> Request {
    match &mut request {
        Request::Connect(connect) => {
            **connect = ConnectRequest {
                subs: std::mem::take(&mut connect.subs)
                    .into_iter()
                    .map(|(channel, sub)| (channel, v1_subscribe(sub)))
                    .collect(),
                headers: BTreeMap::new(),
                flag: 0,
                dict: String::new(),
                profile: String::new(),
                ..std::mem::take(connect)
            };
        }
        Request::Subscribe(subscribe) => **subscribe = v1_subscribe(std::mem::take(subscribe)),
        Request::Publish(publish) => publish.kind = 0,
        Request::SubRefresh(refresh) => refresh.kind = 0,
        Request::Pong => request = Request::Ping,
        _ => {}
    }
    request
}

fn v2_request(mut request: Request) -> Request {
    match &mut request {
        Request::Connect(connect) => {
            connect.subs = std::mem::take(&mut connect.subs)
                .into_iter()
                .map(|(channel, sub)| (channel, v2_subscribe(sub)))
                .collect();
        }
        Request::Subscribe(subscribe) => **subscribe = v2_subscribe(std::mem::take(subscribe)),
        Request::History(history) => history.limit = history.limit.or(Some(0)),
        Request::Ping | Request::UnknownMethod => request = Request::Pong,
        _ => {}
    }
    request
}

fn client_info(encoding: Encoding) -> impl Strategy<Value = Arc<ClientInfo>> {
    (text(), text(), payload(encoding), payload(encoding)).prop_map(
        |(user, client, conn_info, chan_info)| {
            Arc::new(ClientInfo {
                user: user.into(),
                client: client.into(),
                conn_info,
                chan_info,
            })
        },
    )
}

pub(in crate::protocol) fn publication(
    encoding: Encoding,
) -> impl Strategy<Value = Arc<Publication>> {
    (
        (number(), text(), payload(encoding), number()),
        proptest::option::of(client_info(encoding)),
        map(text(), text()),
    )
        .prop_map(|((offset, epoch, data, version), info, tags)| {
            Arc::new(Publication {
                offset,
                epoch: epoch.into(),
                data,
                info,
                tags: (!tags.is_empty()).then(|| Arc::new(tags)),
                version,
                ..Publication::default()
            })
        })
}

fn ttl() -> impl Strategy<Value = Option<u32>> {
    proptest::option::of(any::<u32>())
}

fn subscribe_result(encoding: Encoding) -> impl Strategy<Value = SubscribeResult> {
    (
        (ttl(), text(), vec(publication(encoding), 0..3)),
        any::<[bool; 4]>(),
        (number(), payload(encoding), any::<u32>()),
    )
        .prop_map(
            |((ttl, epoch, publications), flags, (offset, data, number))| {
                let [recoverable, recovered, positioned, was_recovering] = flags;
                SubscribeResult {
                    ttl,
                    recoverable,
                    epoch,
                    publications,
                    publication_positions: None,
                    recovered,
                    offset,
                    positioned,
                    data,
                    was_recovering,
                    // Payloads of subscriptions with deltas have another form.
                    delta: false,
                    number,
                }
            },
        )
}

fn connect_result(encoding: Encoding) -> impl Strategy<Value = ConnectResult> {
    (
        (text(), text(), ttl(), payload(encoding)),
        map(channel(), subscribe_result(encoding)),
        (any::<u32>(), any::<bool>(), text(), text(), any::<i64>()),
    )
        .prop_map(|((client, version, ttl, data), subs, rest)| {
            let (ping, pong, session, node, time) = rest;
            ConnectResult {
                client: client.into(),
                version,
                ttl,
                data,
                subs,
                ping,
                pong,
                session,
                node,
                time,
            }
        })
}

fn push_body(encoding: Encoding) -> impl Strategy<Value = PushBody> {
    prop_oneof![
        publication(encoding).prop_map(PushBody::Publication),
        client_info(encoding).prop_map(PushBody::Join),
        client_info(encoding).prop_map(PushBody::Leave),
        (any::<u32>(), text()).prop_map(|(code, reason)| PushBody::Unsubscribe(Unsubscribe {
            code,
            reason: reason.into(),
        })),
        payload(encoding).prop_map(PushBody::Message),
        (any::<[bool; 2]>(), position(), payload(encoding)).prop_map(
            |([recoverable, positioned], position, data)| PushBody::Subscribe(SubscribePush {
                recoverable,
                position,
                positioned,
                data,
            })
        ),
        (any::<u32>(), text()).prop_map(|(code, reason)| PushBody::Disconnect(Disconnect {
            code,
            reason: reason.into(),
        })),
        ttl().prop_map(PushBody::Refresh),
    ]
}

fn result(encoding: Encoding) -> impl Strategy<Value = ReplyBody> {
    prop_oneof![
        (any::<u32>(), text(), any::<bool>()).prop_map(|(code, message, temporary)| {
            ReplyBody::Error(ClientError {
                code,
                message: message.into(),
                temporary,
            })
        }),
        connect_result(encoding).prop_map(|result| ReplyBody::Connect(Box::new(result))),
        subscribe_result(encoding).prop_map(|result| ReplyBody::Subscribe(Box::new(result))),
        Just(ReplyBody::Unsubscribe),
        Just(ReplyBody::Publish),
        map(text().prop_map(ClientId::from), client_info(encoding))
            .prop_map(|presence| ReplyBody::Presence(PresenceResult { presence })),
        any::<[u32; 2]>().prop_map(|[num_clients, num_users]| {
            ReplyBody::PresenceStats(PresenceStatsResult {
                num_clients,
                num_users,
            })
        }),
        (vec(publication(encoding), 0..3), text(), number()).prop_map(
            |(publications, epoch, offset)| ReplyBody::History(HistoryResult {
                publications,
                epoch,
                offset,
            })
        ),
        payload(encoding).prop_map(ReplyBody::Rpc),
        (text(), text(), ttl()).prop_map(|(client, version, ttl)| {
            ReplyBody::Refresh(RefreshResult {
                client: client.into(),
                version,
                ttl,
            })
        }),
        ttl().prop_map(|ttl| ReplyBody::SubRefresh(SubRefreshResult { ttl })),
        Just(ReplyBody::Pong),
    ]
}

/// A reply with everything set that some generation can carry.
pub(in crate::protocol) fn reply(encoding: Encoding) -> impl Strategy<Value = Reply> {
    prop_oneof![
        2 => (1..=u32::MAX, result(encoding)).prop_map(|(id, body)| Reply { id, body }),
        1 => (channel(), push_body(encoding)).prop_map(|(channel, body)| Reply {
            id: 0,
            body: ReplyBody::Push(Push { channel, body }),
        }),
        1 => Just(Reply { id: 0, body: ReplyBody::Ping }),
    ]
}

/// What is left of a reply that was written in V2.
pub(in crate::protocol) fn v2_reply(mut reply: Reply) -> Reply {
    if let ReplyBody::Refresh(result) = &mut reply.body {
        result.version.clear();
    }
    reply
}

/// What is left of a reply that was written in V1 with offsets.
pub(in crate::protocol) fn v1_reply(mut reply: Reply, encoding: Encoding) -> Reply {
    let publication = |publication: &mut Arc<Publication>| {
        let publication = Arc::make_mut(publication);
        publication.epoch = "".into();
        publication.version = 0;
        if encoding == Encoding::Json && publication.data.is_empty() {
            publication.data = Bytes::from_static(b"null");
        }
    };
    let subscription = |result: &mut SubscribeResult| {
        result.was_recovering = false;
        result.number = 0;
        result.publications.iter_mut().for_each(publication);
    };
    match &mut reply.body {
        ReplyBody::Error(error) => error.temporary = false,
        ReplyBody::Connect(result) => {
            result.subs.values_mut().for_each(subscription);
            result.ping = 0;
            result.pong = false;
            result.session.clear();
            result.node.clear();
            result.time = 0;
        }
        ReplyBody::Subscribe(result) => subscription(result),
        ReplyBody::History(result) => result.publications.iter_mut().for_each(publication),
        ReplyBody::Push(Push {
            body: PushBody::Publication(value),
            ..
        }) => publication(value),
        _ => {}
    }
    reply
}
