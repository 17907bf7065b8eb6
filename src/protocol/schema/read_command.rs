//! Commands as fields to read, and which generation they speak (client-protocol.md 1.2, 1.3, 1.8).
//!
//! The envelope only; requests are read by `read_request`.

use super::{
    Name, Source, name,
    read_request::{
        channel, connect, history_v1, history_v2, publish, refresh, rpc, send, sub_refresh,
        subscribe,
    },
};
use crate::{
    model::Version,
    protocol::{
        decode::Malformed,
        message::{Command, Request},
    },
};

const COMMAND: [Name; 15] = [
    name(1, "id"),
    name(2, "method"),
    name(3, "params"),
    name(4, "connect"),
    name(5, "subscribe"),
    name(6, "unsubscribe"),
    name(7, "publish"),
    name(8, "presence"),
    name(9, "presence_stats"),
    name(10, "history"),
    name(PING, "ping"),
    name(SEND, "send"),
    name(RPC, "rpc"),
    name(14, "refresh"),
    name(15, "sub_refresh"),
];
const PING: u32 = 11;
const SEND: u32 = 12;
const RPC: u32 = 13;

/// Reads one command. The generation is that of the connection or, if there is none yet, the one the command tells.
pub(in crate::protocol) fn command<'a, S: Source<'a>>(
    source: &mut S,
    version: Option<Version>,
) -> Result<(Version, Command), Malformed> {
    let mut seen = Seen {
        version,
        id: 0,
        method: None,
        params: None,
        typed: None,
        has_send: false,
    };
    source.fields(&COMMAND, |source, number| seen.field(source, number))?;
    seen.decide()
}

/// What was found in a command so far.
struct Seen<S> {
    version: Option<Version>,
    id: u32,
    /// Place of the V1 method; read once it is clear that the command is one of V1.
    method: Option<S>,
    /// Place of the V1 request.
    params: Option<S>,
    /// The first V2 request in the order of client-protocol.md 1.3, with its place in this order.
    typed: Option<(u32, Request)>,
    has_send: bool,
}

impl<'a, S: Source<'a>> Seen<S> {
    fn field(&mut self, source: &mut S, number: u32) -> Result<(), Malformed> {
        match number {
            1 => self.id = source.u32()?,
            2 if self.version != Some(Version::V2) => self.method = Some(*source),
            3 if self.version != Some(Version::V2) => self.params = Some(source.embedded()?),
            4..=15 if self.version != Some(Version::V1) => {
                // Only V2 has these fields, so that the rest of the command is V2 as well.
                self.version = Some(Version::V2);
                let request = typed(source, number)?;
                self.has_send |= number == SEND;
                let rank = rank(number);
                if self.typed.as_ref().is_none_or(|(held, _)| rank <= *held) {
                    self.typed = Some((rank, request));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn decide(self) -> Result<(Version, Command), Malformed> {
        let says_v1 = self.id != 0 || self.method.is_some() || self.params.is_some();
        let version = match self.version {
            Some(version) => version,
            None if says_v1 => Version::V1,
            None => return Err(Malformed),
        };
        let id = self.id;
        let request = match version {
            Version::V1 => self.v1()?,
            Version::V2 => self.v2(),
        };
        Ok((version, Command { id, request }))
    }

    /// Without an id only a send is a request; everything else is a pong.
    fn v2(self) -> Request {
        if self.id == 0 && !self.has_send {
            return Request::Pong;
        }
        match self.typed {
            Some((_, request)) if self.id != 0 || matches!(request, Request::Send(_)) => request,
            _ => Request::Nothing,
        }
    }

    fn v1(self) -> Result<Request, Malformed> {
        let method = match self.method {
            Some(mut source) => source.method()?,
            None => 0,
        };
        Ok(match method {
            0 => Request::Connect(Box::new(request(self.params, |source| {
                connect(source, Version::V1)
            })?)),
            1 => Request::Subscribe(Box::new(request(self.params, |source| {
                subscribe(source, Version::V1)
            })?)),
            2 => Request::Unsubscribe(request(self.params, channel)?),
            3 => Request::Publish(request(self.params, |source| publish(source, Version::V1))?),
            4 => Request::Presence(request(self.params, channel)?),
            5 => Request::PresenceStats(request(self.params, channel)?),
            6 => Request::History(request(self.params, history_v1)?),
            7 => Request::Ping,
            8 => Request::Send(request(self.params, send)?),
            9 => Request::Rpc(request(self.params, rpc)?),
            10 => Request::Refresh(request(self.params, refresh)?),
            11 => Request::SubRefresh(request(self.params, |source| {
                sub_refresh(source, Version::V1)
            })?),
            _ => Request::UnknownMethod,
        })
    }
}

/// Place of a request field in the order of precedence: that of the numbers, but `rpc` before `send` and `ping` last.
const fn rank(number: u32) -> u32 {
    match number {
        PING => u32::MAX,
        SEND => RPC,
        RPC => SEND,
        other => other,
    }
}

/// A missing V1 request is an empty one.
fn request<S, T: Default>(
    params: Option<S>,
    read: impl FnOnce(&mut S) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    params.map_or_else(|| Ok(T::default()), |mut source| read(&mut source))
}

fn typed<'a, S: Source<'a>>(source: &mut S, number: u32) -> Result<Request, Malformed> {
    Ok(match number {
        4 => Request::Connect(Box::new(connect(source, Version::V2)?)),
        5 => Request::Subscribe(Box::new(subscribe(source, Version::V2)?)),
        6 => Request::Unsubscribe(channel(source)?),
        7 => Request::Publish(publish(source, Version::V2)?),
        8 => Request::Presence(channel(source)?),
        9 => Request::PresenceStats(channel(source)?),
        10 => Request::History(history_v2(source)?),
        SEND => Request::Send(send(source)?),
        RPC => Request::Rpc(rpc(source)?),
        14 => Request::Refresh(refresh(source)?),
        15 => Request::SubRefresh(sub_refresh(source, Version::V2)?),
        _ => {
            source.fields(&[], |_, _| Ok(()))?;
            Request::Nothing
        }
    })
}
