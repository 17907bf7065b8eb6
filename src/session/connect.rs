//! The connect command (client-protocol.md 4.4): who is this, may they, and the server-side subscriptions they come with.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    Call, Effect, Effects, Expiry, Identified, MAX_TTL, Pending, Session, State,
    subscribe::Start,
    subscription::{Purpose, Side, State as Sub},
};
use crate::{
    model::{
        Channel, ClientError, ClientInfo, Disconnect, Now, Rejection, SubscribeOptions,
        SubscriptionKey, Version,
    },
    protocol::{
        ConnectRequest, ConnectResult, Push, PushBody, ReplyBody, SubscribeRequest,
        SubscribeResult, frame::PositionFormat,
    },
};

/// A connect in progress.
#[derive(Debug)]
pub(super) struct Connecting {
    id: u32,
    /// What the client knows of server-side subscriptions.
    subs: BTreeMap<Channel, SubscribeRequest>,
    /// Options of the server-side subscriptions to make.
    channels: BTreeMap<Channel, SubscribeOptions>,
    data: Bytes,
    /// Joins that have not ended.
    joins: usize,
    failure: Option<Rejection>,
}

impl Session {
    /// The connect request of a unidirectional connection; a second one is ignored.
    pub(crate) fn open(&mut self, request: ConnectRequest, out: &mut Effects) {
        if matches!(self.state, State::New) {
            self.busy += 1;
            self.connect(0, request, out);
        }
    }

    pub(super) fn connect(&mut self, id: u32, mut request: ConnectRequest, out: &mut Effects) {
        if !matches!(self.state, State::New) {
            return self.close(Disconnect::BAD_REQUEST, out);
        }
        if self.version == Version::V1 && request.name.is_empty() {
            // Clients old enough not to send a name may be old enough to count in seq and gen.
            self.positions = PositionFormat::Both;
        }
        // The hooks see the names only, positions stay here.
        let subs = request.subs.clone();
        for sub in request.subs.values_mut() {
            *sub = SubscribeRequest::default();
        }
        self.state = State::Connecting(Box::new(Connecting {
            id,
            subs,
            channels: BTreeMap::new(),
            data: Bytes::new(),
            joins: 0,
            failure: None,
        }));
        self.call(Call::Connect(Box::new(request)), Pending::Connect, out);
    }

    pub(super) fn identified(
        &mut self,
        now: Now,
        result: Result<Box<Identified>, Rejection>,
        out: &mut Effects,
    ) {
        let State::Connecting(connecting) = &mut self.state else {
            return;
        };
        let answer = match result {
            Ok(answer) => *answer,
            Err(why) => return self.connect_failed(why, out),
        };
        let expire_at = answer.expire_at.map(|at| at.min(now.unix() + MAX_TTL));
        if answer.channels.len() > self.config.channel_limit {
            return self.connect_failed(Disconnect::CHANNEL_LIMIT.into(), out);
        }
        if Self::ttl(now, expire_at, false).is_err() {
            return self.connect_failed(ClientError::EXPIRED.into(), out);
        }
        connecting.channels = answer.channels;
        connecting.data = answer.data;
        self.meta = answer.meta;
        self.emulated = answer.headers;
        self.expiry = Expiry {
            at: expire_at,
            server_side: answer.server_side_refresh,
        };
        self.info = Arc::new(ClientInfo {
            user: answer.user.clone(),
            client: self.birth.client.clone(),
            conn_info: answer.info,
            chan_info: Bytes::new(),
        });
        let call = Call::Register {
            user: answer.user,
            single_connection: answer.single_connection,
        };
        self.call(call, Pending::Register, out);
    }

    pub(super) fn registered(
        &mut self,
        now: Now,
        result: Result<(), Rejection>,
        out: &mut Effects,
    ) {
        let State::Connecting(connecting) = &mut self.state else {
            return;
        };
        if let Err(why) = result {
            return self.connect_failed(why, out);
        }
        let channels = std::mem::take(&mut connecting.channels);
        connecting.joins = channels.len();
        let requests: Vec<_> = channels
            .into_iter()
            .map(|(channel, options)| {
                let request = connecting.subs.remove(&channel).unwrap_or_default();
                (channel, options, request)
            })
            .collect();
        connecting.subs.clear();
        if requests.is_empty() {
            return self.connected(now, out);
        }
        for (channel, options, request) in requests {
            let key = self.reserve(channel, Side::Server, Purpose::Connect, Box::new(request));
            self.start_join(
                key,
                Start {
                    options,
                    position: None,
                },
                out,
            );
        }
    }

    /// One server-side subscription of the connect is joined (its state keeps the result) or failed.
    pub(super) fn connect_join_ended(
        &mut self,
        now: Now,
        failure: Option<Rejection>,
        out: &mut Effects,
    ) {
        let State::Connecting(connecting) = &mut self.state else {
            return;
        };
        connecting.joins = connecting.joins.saturating_sub(1);
        if connecting.failure.is_none() {
            connecting.failure = failure;
        }
        if connecting.joins > 0 {
            return;
        }
        match connecting.failure.take() {
            Some(why) => self.connect_failed_registered(why, out),
            None => self.connected(now, out),
        }
    }

    fn connected(&mut self, now: Now, out: &mut Effects) {
        let mut subs = BTreeMap::new();
        let keys = self.table.keys();
        for key in &keys {
            match self.settle(now, *key) {
                Ok(Some((channel, result))) => {
                    subs.insert(channel, result);
                }
                Ok(None) => {}
                Err(why) => return self.connect_failed_registered(why, out),
            }
        }
        let State::Connecting(connecting) = std::mem::replace(&mut self.state, State::Connected)
        else {
            return;
        };
        let result = self.connect_result(now, connecting.data, subs);
        self.say_connected(connecting.id, Box::new(result), out);
        self.start_timers(now);
        for key in keys {
            self.commit(now, key, out);
        }
    }

    /// The reply, or the first push of a connection that only listens.
    fn say_connected(&mut self, id: u32, result: Box<ConnectResult>, out: &mut Effects) {
        if !self.is_unidirectional() {
            return self.reply(id, ReplyBody::Connect(result), out);
        }
        self.busy = self.busy.saturating_sub(1);
        let push = Push {
            channel: Channel::default(),
            body: PushBody::Connect(result),
        };
        self.push(push, out);
    }

    fn connect_result(
        &self,
        now: Now,
        data: Bytes,
        subs: BTreeMap<Channel, SubscribeResult>,
    ) -> ConnectResult {
        let ping = self.ping_interval();
        let session = self.birth.session.as_ref();
        let node = session.filter(|_| !self.is_unidirectional());
        ConnectResult {
            client: self.birth.client.clone(),
            version: self.config.version.clone(),
            ttl: Self::ttl(now, self.expiry.at, self.expiry.server_side).unwrap_or(Some(1)),
            data,
            subs,
            ping: ping.map_or(0, |every| {
                u32::try_from(every.as_secs()).unwrap_or(u32::MAX)
            }),
            pong: ping.is_some() && self.pong_timeout().is_some(),
            session: session.map_or_else(String::new, |(session, _)| session.to_string()),
            node: node.map_or_else(String::new, |(_, node)| node.to_string()),
            time: if self.config.include_server_time {
                now.unix_ms
            } else {
                0
            },
        }
    }

    /// Takes a registration back, with all subscriptions, then refuses.
    fn connect_failed_registered(&mut self, why: Rejection, out: &mut Effects) {
        if let Rejection::Disconnect(why) = why {
            // The end of the connection leaves everything.
            return self.close(why, out);
        }
        let keys: Vec<SubscriptionKey> = self.table.keys();
        for key in keys {
            let joined = self
                .table
                .get_mut(key)
                .is_some_and(|s| matches!(s.state, Sub::Joining(_)));
            if joined {
                self.undo(key, out);
            }
        }
        self.call(
            Call::Deregister(self.info.user.clone()),
            Pending::Nothing,
            out,
        );
        self.connect_failed(why, out);
    }

    /// Refuses the connect: V2 is of no use afterwards, V1 may try again.
    fn connect_failed(&mut self, why: Rejection, out: &mut Effects) {
        let State::Connecting(connecting) = std::mem::replace(&mut self.state, State::New) else {
            return;
        };
        self.info = Arc::new(ClientInfo {
            client: self.birth.client.clone(),
            ..ClientInfo::default()
        });
        self.expiry = Expiry::default();
        match why {
            Rejection::Error(error) if self.is_unidirectional() => {
                let disconnect = self.config.unidirectional.of(&error);
                out.push(Effect::Unconnected(error));
                self.close(disconnect, out);
            }
            Rejection::Error(error) => {
                self.reply(connecting.id, ReplyBody::Error(error), out);
                if self.version == Version::V2 {
                    self.state = State::Refused;
                    out.push(Effect::Refused);
                }
            }
            Rejection::Disconnect(disconnect) => self.close(disconnect, out),
        }
    }
}
