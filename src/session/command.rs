//! Dispatch of one command (client-protocol.md 4.3), and the commands that are a question and an answer (4.5).

use std::sync::Arc;

use bytes::Bytes;

use super::{Call, Effects, Pending, Session, State, leave, subscription::State as Sub};
use crate::{
    model::{Channel, ClientError, ClientInfo, Disconnect, Now, Version},
    protocol::{Command, HistoryRequest, PublishRequest, ReplyBody, Request},
};

impl Session {
    /// A command arrived. Only to be called while [`Session::ready`].
    pub(crate) fn command(&mut self, now: Now, command: Command, out: &mut Effects) {
        let Command { id, request } = command;
        match self.state {
            State::Closed | State::Connecting(_) => return,
            State::Refused => return self.close(Disconnect::BAD_REQUEST, out),
            State::New if !matches!(request, Request::Connect(_)) => {
                return self.close(Disconnect::BAD_REQUEST, out);
            }
            State::New | State::Connected => {}
        }
        match request {
            Request::Pong if self.is_connected() => return self.pong(out),
            Request::Send(data) => {
                self.busy += 1;
                return self.call(Call::Message(data), Pending::Message, out);
            }
            Request::Pong | Request::Nothing => return self.close(Disconnect::BAD_REQUEST, out),
            _ if id == 0 => return self.close(Disconnect::BAD_REQUEST, out),
            _ => {}
        }
        self.busy += 1;
        self.dispatch(now, id, request, out);
    }

    fn dispatch(&mut self, now: Now, id: u32, request: Request, out: &mut Effects) {
        match request {
            Request::Connect(request) => self.connect(id, *request, out),
            Request::Subscribe(request) => self.subscribe(id, request, out),
            Request::Unsubscribe(channel) => self.unsubscribe(now, id, &channel, out),
            Request::Publish(request) => self.publish(id, request, out),
            Request::Presence(channel) => self.presence(id, channel, out),
            Request::PresenceStats(channel) => self.presence_stats(id, channel, out),
            Request::History(request) => self.history(id, request, out),
            Request::Rpc(request) => {
                let call = Call::Rpc {
                    method: request.method,
                    data: request.data,
                };
                self.call(call, Pending::Reply(id), out);
            }
            Request::Refresh(token) => self.refresh(id, token, out),
            Request::SubRefresh(request) => self.sub_refresh(id, request, out),
            Request::Ping => self.reply(id, ReplyBody::Pong, out),
            Request::UnknownMethod => self.reject(id, ClientError::METHOD_NOT_FOUND, out),
            Request::Send(_) | Request::Pong | Request::Nothing => {
                self.close(Disconnect::BAD_REQUEST, out)
            }
        }
    }

    fn unsubscribe(&mut self, now: Now, id: u32, channel: &Channel, out: &mut Effects) {
        if channel.is_empty() {
            return self.close(Disconnect::BAD_REQUEST, out);
        }
        match self.table.find(channel) {
            Some(key) => self.leave_when_settled(now, key, leave::End::Command(id), out),
            None => self.reply(id, ReplyBody::Unsubscribe, out),
        }
    }

    /// True while this connection has an established subscription of the channel, with its info.
    fn established(&mut self, channel: &Channel) -> Option<Arc<ClientInfo>> {
        let key = self.table.find(channel)?;
        let subscription = self.table.get_mut(key)?;
        matches!(subscription.state, Sub::Live(_)).then(|| Arc::clone(&subscription.info))
    }

    fn publish(&mut self, id: u32, request: PublishRequest, out: &mut Effects) {
        let PublishRequest {
            channel,
            data,
            kind,
        } = request;
        // V1 never let an empty payload pass, V2 leaves that to the data format of the channel.
        let hollow = self.version == Version::V1 && data.is_empty();
        if channel.is_empty() || hollow {
            return self.close(Disconnect::BAD_REQUEST, out);
        }
        let established = self.established(&channel);
        let subscribed = established.is_some();
        let info = established.unwrap_or_else(|| self.info_with(&Bytes::new()));
        self.call(
            Call::Publish {
                channel,
                data,
                kind,
                subscribed,
                info,
            },
            Pending::Reply(id),
            out,
        );
    }

    fn presence(&mut self, id: u32, channel: Channel, out: &mut Effects) {
        if channel.is_empty() {
            return self.close(Disconnect::BAD_REQUEST, out);
        }
        let subscribed = self.established(&channel).is_some();
        self.call(
            Call::Presence {
                channel,
                subscribed,
            },
            Pending::Reply(id),
            out,
        );
    }

    fn presence_stats(&mut self, id: u32, channel: Channel, out: &mut Effects) {
        if channel.is_empty() {
            return self.close(Disconnect::BAD_REQUEST, out);
        }
        let subscribed = self.established(&channel).is_some();
        self.call(
            Call::PresenceStats {
                channel,
                subscribed,
            },
            Pending::Reply(id),
            out,
        );
    }

    fn history(&mut self, id: u32, request: HistoryRequest, out: &mut Effects) {
        let HistoryRequest {
            channel,
            limit,
            since,
            reverse,
        } = request;
        if channel.is_empty() {
            return self.close(Disconnect::BAD_REQUEST, out);
        }
        let most = self.config.history_limit;
        let limit = match limit {
            Some(limit) => usize::try_from(limit).map_or(most, |limit| limit.min(most)),
            // The oldest V1 clients know no limit and expect everything (client-protocol.md 1.8).
            None if self.version == Version::V1 => most,
            None => 0,
        };
        let subscribed = self.established(&channel).is_some();
        self.call(
            Call::History {
                channel,
                subscribed,
                limit,
                since,
                reverse,
            },
            Pending::Reply(id),
            out,
        );
    }
}
