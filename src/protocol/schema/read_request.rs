//! Requests as fields to read, for both generations (client-protocol.md 1.7, 1.8).

use bytes::Bytes;

use super::{Name, Source, name, payload, read_text};
use crate::{
    model::{Channel, Epoch, FilterNode, StreamPosition, Version},
    protocol::{
        decode::Malformed,
        message::{
            ConnectRequest, EmulationRequest, HistoryRequest, PublishRequest, RpcRequest,
            SubRefreshRequest, SubscribeRequest,
        },
    },
};

pub(super) fn channel<'a, S: Source<'a>>(source: &mut S) -> Result<Channel, Malformed> {
    let mut channel = Channel::default();
    source.fields(&[name(1, "channel")], |source, number| {
        if number == 1 {
            channel = read_channel(source)?;
        }
        Ok(())
    })?;
    Ok(channel)
}

fn read_channel<'a, S: Source<'a>>(source: &mut S) -> Result<Channel, Malformed> {
    Ok(Channel::from(&*source.text()?))
}

pub(in crate::protocol) fn connect<'a, S: Source<'a>>(
    source: &mut S,
    version: Version,
) -> Result<ConnectRequest, Malformed> {
    const NAMES: [Name; 9] = [
        name(1, "token"),
        payload(2, "data"),
        name(3, "subs"),
        name(4, "name"),
        name(5, "version"),
        name(6, "headers"),
        name(7, "flag"),
        name(8, "dict"),
        name(9, "profile"),
    ];
    let v2 = version == Version::V2;
    let mut request = ConnectRequest::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 => request.token = read_text(source)?,
            2 => request.data = source.payload()?,
            3 => source.entries(|source, channel| {
                let sub = subscribe(source, version)?;
                request.subs.insert(Channel::from(&*channel), sub);
                Ok(())
            })?,
            4 => request.name = read_text(source)?,
            5 => request.version = read_text(source)?,
            6 if v2 => source.entries(|source, key| {
                let value = read_text(source)?;
                request.headers.insert(key.into_owned(), value);
                Ok(())
            })?,
            7 if v2 => request.flag = source.i64()?,
            8 if v2 => request.dict = read_text(source)?,
            9 if v2 => request.profile = read_text(source)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(request)
}

/// A frame of commands that is not on the connection itself.
pub(in crate::protocol) fn emulation<'a, S: Source<'a>>(
    source: &mut S,
) -> Result<EmulationRequest, Malformed> {
    let mut request = EmulationRequest::default();
    let names = [name(1, "node"), name(2, "session"), payload(3, "data")];
    source.fields(&names, |source, number| {
        match number {
            1 => request.node = read_text(source)?,
            2 => request.session = read_text(source)?,
            3 => request.data = source.payload()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(request)
}

pub(super) fn subscribe<'a, S: Source<'a>>(
    source: &mut S,
    version: Version,
) -> Result<SubscribeRequest, Malformed> {
    const NAMES: [Name; 15] = [
        name(1, "channel"),
        name(2, "token"),
        name(3, "recover"),
        name(4, "seq"),
        name(5, "gen"),
        name(6, "epoch"),
        name(7, "offset"),
        payload(8, "data"),
        name(9, "positioned"),
        name(10, "recoverable"),
        name(11, "join_leave"),
        name(12, "delta"),
        name(13, "tf"),
        name(14, "flag"),
        name(15, "type"),
    ];
    let mut request = SubscribeRequest::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 => request.channel = read_channel(source)?,
            2 => request.token = read_text(source)?,
            3 => request.recover = source.boolean()?,
            6 => request.epoch = read_text(source)?,
            7 => request.offset = source.u64()?,
            8 => request.data = source.payload()?,
            4 if version == Version::V1 => request.seq = source.u32()?,
            5 if version == Version::V1 => request.r#gen = source.u32()?,
            _ if version == Version::V2 => subscribe_v2(source, number, &mut request)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(request)
}

/// The fields of a subscribe request that V1 ignores.
fn subscribe_v2<'a, S: Source<'a>>(
    source: &mut S,
    number: u32,
    request: &mut SubscribeRequest,
) -> Result<(), Malformed> {
    match number {
        9 => request.positioned = source.boolean()?,
        10 => request.recoverable = source.boolean()?,
        11 => request.join_leave = source.boolean()?,
        12 => request.delta = read_text(source)?,
        13 => {
            let mut left = FilterNode::MAX_NODES;
            let filter = filter(source, FilterNode::MAX_DEPTH, &mut left)?;
            request.tags_filter = Some(Box::new(filter.unwrap_or_default()));
        }
        14 => request.flag = source.i64()?,
        15 => request.kind = source.i32()?,
        _ => {}
    }
    Ok(())
}

/// A node of a tags filter with everything below it; `None` once it is deeper than `depth`, or has more nodes than are left.
fn filter<'a, S: Source<'a>>(
    source: &mut S,
    depth: usize,
    left: &mut usize,
) -> Result<Option<FilterNode>, Malformed> {
    const NAMES: [Name; 6] = [
        name(1, "op"),
        name(2, "key"),
        name(3, "cmp"),
        name(4, "val"),
        name(5, "vals"),
        name(6, "nodes"),
    ];
    let (Some(depth), Some(others)) = (depth.checked_sub(1), left.checked_sub(1)) else {
        // Nothing is read of it, so the source steps over it.
        return Ok(None);
    };
    *left = others;
    let mut node = FilterNode::default();
    let mut fits = true;
    source.fields(&NAMES, |source, number| {
        match number {
            1 => node.op = read_text(source)?,
            2 => node.key = read_text(source)?,
            3 => node.cmp = read_text(source)?,
            4 => node.val = read_text(source)?,
            5 => source.items(|source| {
                node.vals.push(read_text(source)?);
                Ok(())
            })?,
            6 => source.items(|source| {
                match filter(source, depth, left)? {
                    Some(child) => node.nodes.push(child),
                    None => fits = false,
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(fits.then_some(node))
}

pub(super) fn publish<'a, S: Source<'a>>(
    source: &mut S,
    version: Version,
) -> Result<PublishRequest, Malformed> {
    const NAMES: [Name; 3] = [name(1, "channel"), payload(2, "data"), name(3, "type")];
    let mut request = PublishRequest::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 => request.channel = read_channel(source)?,
            2 => request.data = source.payload()?,
            3 if version == Version::V2 => request.kind = source.i32()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(request)
}

fn position<'a, S: Source<'a>>(source: &mut S) -> Result<StreamPosition, Malformed> {
    let mut position = StreamPosition::default();
    source.fields(&[name(1, "offset"), name(2, "epoch")], |source, number| {
        match number {
            1 => position.offset = source.u64()?,
            2 => position.epoch = Epoch::from(&*source.text()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(position)
}

pub(super) fn history_v2<'a, S: Source<'a>>(source: &mut S) -> Result<HistoryRequest, Malformed> {
    const NAMES: [Name; 4] = [
        name(1, "channel"),
        name(7, "limit"),
        name(8, "since"),
        name(9, "reverse"),
    ];
    let mut request = HistoryRequest {
        limit: Some(0),
        ..HistoryRequest::default()
    };
    source.fields(&NAMES, |source, number| {
        match number {
            1 => request.channel = read_channel(source)?,
            7 => request.limit = Some(source.i32()?),
            8 => request.since = Some(position(source)?),
            9 => request.reverse = source.boolean()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(request)
}

/// All three generations of the V1 request. In JSON the key `limit` serves two of them, and 0 counts if it is written.
pub(super) fn history_v1<'a, S: Source<'a>>(source: &mut S) -> Result<HistoryRequest, Malformed> {
    const JSON_LIMIT: u32 = u32::MAX;
    const NAMES: [Name; 8] = [
        name(1, "channel"),
        name(2, "use_since"),
        name(3, "offset"),
        name(4, "epoch"),
        name(5, "use_limit"),
        name(JSON_LIMIT, "limit"),
        name(8, "since"),
        name(9, "reverse"),
    ];
    let mut request = HistoryRequest::default();
    let (mut use_since, mut use_limit, mut middle_limit) = (false, false, 0);
    let mut middle_since = StreamPosition::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 => request.channel = read_channel(source)?,
            2 => use_since = source.boolean()?,
            3 => middle_since.offset = source.u64()?,
            4 => middle_since.epoch = Epoch::from(&*source.text()?),
            5 => use_limit = source.boolean()?,
            6 => middle_limit = source.i32()?,
            7 => request.limit = Some(source.i32()?).filter(|limit| *limit != 0),
            JSON_LIMIT => request.limit = Some(source.i32()?),
            8 => request.since = Some(position(source)?),
            9 => request.reverse = source.boolean()?,
            _ => {}
        }
        Ok(())
    })?;
    if request.limit.is_none() && use_limit {
        request.limit = Some(middle_limit);
    }
    if request.since.is_none() && use_since {
        request.since = Some(middle_since);
    }
    Ok(request)
}

pub(super) fn send<'a, S: Source<'a>>(source: &mut S) -> Result<Bytes, Malformed> {
    let mut data = Bytes::new();
    source.fields(&[payload(1, "data")], |source, number| {
        if number == 1 {
            data = source.payload()?;
        }
        Ok(())
    })?;
    Ok(data)
}

pub(super) fn rpc<'a, S: Source<'a>>(source: &mut S) -> Result<RpcRequest, Malformed> {
    let mut request = RpcRequest::default();
    source.fields(
        &[payload(1, "data"), name(2, "method")],
        |source, number| {
            match number {
                1 => request.data = source.payload()?,
                2 => request.method = read_text(source)?,
                _ => {}
            }
            Ok(())
        },
    )?;
    Ok(request)
}

pub(super) fn refresh<'a, S: Source<'a>>(source: &mut S) -> Result<String, Malformed> {
    let mut token = String::new();
    source.fields(&[name(1, "token")], |source, number| {
        if number == 1 {
            token = read_text(source)?;
        }
        Ok(())
    })?;
    Ok(token)
}

pub(super) fn sub_refresh<'a, S: Source<'a>>(
    source: &mut S,
    version: Version,
) -> Result<SubRefreshRequest, Malformed> {
    const NAMES: [Name; 3] = [name(1, "channel"), name(2, "token"), name(3, "type")];
    let mut request = SubRefreshRequest::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 => request.channel = read_channel(source)?,
            2 => request.token = read_text(source)?,
            3 if version == Version::V2 => request.kind = source.i32()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(request)
}
