//! V2 replies as fields to read: what a client does (client-protocol.md 1.4 to 1.7).

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use super::{Name, Source, name, payload, read_push::push, read_text};
use crate::{
    model::{Channel, ClientError, ClientId, ClientInfo, Epoch, Publication, UserId},
    protocol::{
        decode::Malformed,
        message::{
            ConnectResult, HistoryResult, PresenceResult, PresenceStatsResult, RefreshResult,
            Reply, ReplyBody, SubRefreshResult, SubscribeResult,
        },
    },
};

const REPLY: [Name; 13] = [
    name(1, "id"),
    name(2, "error"),
    name(4, "push"),
    name(5, "connect"),
    name(6, "subscribe"),
    name(7, "unsubscribe"),
    name(8, "publish"),
    name(9, "presence"),
    name(10, "presence_stats"),
    name(11, "history"),
    name(13, "rpc"),
    name(14, "refresh"),
    name(15, "sub_refresh"),
];

/// Reads one reply; `None` for a push of a kind that is not known here.
pub(in crate::protocol) fn reply<'a, S: Source<'a>>(
    source: &mut S,
) -> Result<Option<Reply>, Malformed> {
    let mut id = 0;
    let mut body = None;
    let mut is_unknown = false;
    source.fields(&REPLY, |source, number| {
        match number {
            1 => id = source.u32()?,
            2 => body = Some(ReplyBody::Error(error(source)?)),
            4 => {
                body = push(source)?.map(ReplyBody::Push);
                is_unknown = body.is_none();
            }
            5..=15 => body = result(source, number)?,
            _ => {}
        }
        Ok(())
    })?;
    if is_unknown {
        return Ok(None);
    }
    let nothing = if id == 0 {
        ReplyBody::Ping
    } else {
        ReplyBody::Pong
    };
    let body = body.unwrap_or(nothing);
    Ok(Some(Reply { id, body }))
}

fn result<'a, S: Source<'a>>(source: &mut S, number: u32) -> Result<Option<ReplyBody>, Malformed> {
    Ok(Some(match number {
        5 => ReplyBody::Connect(Box::new(connect_result(source)?)),
        6 => ReplyBody::Subscribe(Box::new(subscribe_result(source)?)),
        7 => empty(source, ReplyBody::Unsubscribe)?,
        8 => empty(source, ReplyBody::Publish)?,
        9 => ReplyBody::Presence(presence_result(source)?),
        10 => ReplyBody::PresenceStats(presence_stats_result(source)?),
        11 => ReplyBody::History(history_result(source)?),
        13 => ReplyBody::Rpc(data(source)?),
        14 => ReplyBody::Refresh(refresh_result(source)?),
        15 => ReplyBody::SubRefresh(SubRefreshResult {
            ttl: expiry(source, 1)?,
        }),
        _ => return Ok(None),
    }))
}

fn empty<'a, S: Source<'a>>(source: &mut S, body: ReplyBody) -> Result<ReplyBody, Malformed> {
    source.fields(&[], |_, _| Ok(()))?;
    Ok(body)
}

fn error<'a, S: Source<'a>>(source: &mut S) -> Result<ClientError, Malformed> {
    const NAMES: [Name; 3] = [name(1, "code"), name(2, "message"), name(3, "temporary")];
    let mut error = ClientError {
        code: 0,
        message: Cow::Borrowed(""),
        temporary: false,
    };
    source.fields(&NAMES, |source, number| {
        match number {
            1 => error.code = source.u32()?,
            2 => error.message = Cow::Owned(read_text(source)?),
            3 => error.temporary = source.boolean()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(error)
}

/// A message that is nothing but `expires` and `ttl`.
pub(super) fn expiry<'a, S: Source<'a>>(
    source: &mut S,
    first: u32,
) -> Result<Option<u32>, Malformed> {
    let mut expiry = Expiry::default();
    source.fields(
        &[name(first, "expires"), name(first + 1, "ttl")],
        |source, number| expiry.field(source, number + 1 - first),
    )?;
    Ok(expiry.ttl())
}

/// `expires` and `ttl` while they are read.
#[derive(Default)]
struct Expiry {
    expires: bool,
    ttl: u32,
}

impl Expiry {
    /// The first field of the two, or the second.
    fn field<'a, S: Source<'a>>(&mut self, source: &mut S, which: u32) -> Result<(), Malformed> {
        match which {
            1 => self.expires = source.boolean()?,
            2 => self.ttl = source.u32()?,
            _ => {}
        }
        Ok(())
    }

    fn ttl(&self) -> Option<u32> {
        self.expires.then_some(self.ttl)
    }
}

fn connect_result<'a, S: Source<'a>>(source: &mut S) -> Result<ConnectResult, Malformed> {
    const NAMES: [Name; 11] = [
        name(1, "client"),
        name(2, "version"),
        name(3, "expires"),
        name(4, "ttl"),
        payload(5, "data"),
        name(6, "subs"),
        name(7, "ping"),
        name(8, "pong"),
        name(9, "session"),
        name(10, "node"),
        name(11, "time"),
    ];
    let mut result = ConnectResult::default();
    let mut expiry = Expiry::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 => result.client = ClientId::from(&*source.text()?),
            2 => result.version = read_text(source)?,
            3 | 4 => expiry.field(source, number - 2)?,
            5 => result.data = source.payload()?,
            6 => source.entries(|source, channel| {
                let sub = subscribe_result(source)?;
                result.subs.insert(Channel::from(&*channel), sub);
                Ok(())
            })?,
            7 => result.ping = source.u32()?,
            8 => result.pong = source.boolean()?,
            9 => result.session = read_text(source)?,
            10 => result.node = read_text(source)?,
            11 => result.time = source.i64()?,
            _ => {}
        }
        Ok(())
    })?;
    result.ttl = expiry.ttl();
    Ok(result)
}

fn refresh_result<'a, S: Source<'a>>(source: &mut S) -> Result<RefreshResult, Malformed> {
    const NAMES: [Name; 4] = [
        name(1, "client"),
        name(2, "version"),
        name(3, "expires"),
        name(4, "ttl"),
    ];
    let mut result = RefreshResult::default();
    let mut expiry = Expiry::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 => result.client = ClientId::from(&*source.text()?),
            2 => result.version = read_text(source)?,
            3 | 4 => expiry.field(source, number - 2)?,
            _ => {}
        }
        Ok(())
    })?;
    result.ttl = expiry.ttl();
    Ok(result)
}

fn subscribe_result<'a, S: Source<'a>>(source: &mut S) -> Result<SubscribeResult, Malformed> {
    const NAMES: [Name; 12] = [
        name(1, "expires"),
        name(2, "ttl"),
        name(3, "recoverable"),
        name(6, "epoch"),
        name(7, "publications"),
        name(8, "recovered"),
        name(9, "offset"),
        name(10, "positioned"),
        payload(11, "data"),
        name(12, "was_recovering"),
        name(13, "delta"),
        name(14, "id"),
    ];
    let mut result = SubscribeResult::default();
    let mut expiry = Expiry::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 | 2 => expiry.field(source, number)?,
            3 => result.recoverable = source.boolean()?,
            6 => result.epoch = read_text(source)?,
            7 => source.items(|source| {
                result.publications.push(Arc::new(publication(source)?));
                Ok(())
            })?,
            8 => result.recovered = source.boolean()?,
            9 => result.offset = source.u64()?,
            10 => result.positioned = source.boolean()?,
            11 => result.data = source.payload()?,
            12 => result.was_recovering = source.boolean()?,
            13 => result.delta = source.boolean()?,
            14 => result.number = source.u32()?,
            _ => {}
        }
        Ok(())
    })?;
    result.ttl = expiry.ttl();
    Ok(result)
}

fn presence_result<'a, S: Source<'a>>(source: &mut S) -> Result<PresenceResult, Malformed> {
    let mut result = PresenceResult::default();
    source.fields(&[name(1, "presence")], |source, number| {
        if number != 1 {
            return Ok(());
        }
        source.entries(|source, client| {
            let info = Arc::new(client_info(source)?);
            result.presence.insert(ClientId::from(&*client), info);
            Ok(())
        })
    })?;
    Ok(result)
}

fn presence_stats_result<'a, S: Source<'a>>(
    source: &mut S,
) -> Result<PresenceStatsResult, Malformed> {
    let mut result = PresenceStatsResult::default();
    source.fields(
        &[name(1, "num_clients"), name(2, "num_users")],
        |source, number| {
            match number {
                1 => result.num_clients = source.u32()?,
                2 => result.num_users = source.u32()?,
                _ => {}
            }
            Ok(())
        },
    )?;
    Ok(result)
}

fn history_result<'a, S: Source<'a>>(source: &mut S) -> Result<HistoryResult, Malformed> {
    const NAMES: [Name; 3] = [name(1, "publications"), name(2, "epoch"), name(3, "offset")];
    let mut result = HistoryResult::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 => source.items(|source| {
                result.publications.push(Arc::new(publication(source)?));
                Ok(())
            })?,
            2 => result.epoch = read_text(source)?,
            3 => result.offset = source.u64()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(result)
}

/// A message that is nothing but a payload.
pub(super) fn data<'a, S: Source<'a>>(source: &mut S) -> Result<Bytes, Malformed> {
    let mut data = Bytes::new();
    source.fields(&[payload(1, "data")], |source, number| {
        if number == 1 {
            data = source.payload()?;
        }
        Ok(())
    })?;
    Ok(data)
}

pub(super) fn client_info<'a, S: Source<'a>>(source: &mut S) -> Result<ClientInfo, Malformed> {
    const NAMES: [Name; 4] = [
        name(1, "user"),
        name(2, "client"),
        payload(3, "conn_info"),
        payload(4, "chan_info"),
    ];
    let mut info = ClientInfo::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 => info.user = UserId::from(&*source.text()?),
            2 => info.client = ClientId::from(&*source.text()?),
            3 => info.conn_info = source.payload()?,
            4 => info.chan_info = source.payload()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(info)
}

pub(super) fn publication<'a, S: Source<'a>>(source: &mut S) -> Result<Publication, Malformed> {
    const NAMES: [Name; 7] = [
        payload(4, "data"),
        name(5, "info"),
        name(6, "offset"),
        name(7, "tags"),
        name(8, "delta"),
        name(14, "epoch"),
        name(16, "version"),
    ];
    let mut publication = Publication::default();
    let mut tags = std::collections::BTreeMap::new();
    source.fields(&NAMES, |source, number| {
        match number {
            4 => publication.data = source.payload()?,
            5 => publication.info = Some(Arc::new(client_info(source)?)),
            6 => publication.offset = source.u64()?,
            7 => source.entries(|source, key| {
                tags.insert(key.into_owned(), read_text(source)?);
                Ok(())
            })?,
            8 => publication.delta = source.boolean()?,
            14 => publication.epoch = Epoch::from(&*source.text()?),
            16 => publication.version = source.u64()?,
            _ => {}
        }
        Ok(())
    })?;
    publication.tags = (!tags.is_empty()).then(|| Arc::new(tags));
    Ok(publication)
}
