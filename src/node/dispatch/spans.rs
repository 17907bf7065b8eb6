//! A span around what a client asks for, when commands have spans (`centripetal.telemetry.command_spans`).

use super::{Caller, Performed};
use crate::{
    model::{Channel, Rejection},
    session::{Call, Outcome},
    trace::{self, Span, Tracer},
};

impl Caller {
    /// Carries a call out inside of a span. What the connection does of its own accord has none.
    pub(in crate::node) async fn perform_traced(self, tracer: Tracer, call: Call) -> Performed {
        let Some((name, channel)) = described(&call) else {
            return self.perform(call).await;
        };
        let parent = trace::from_pairs(&self.client.peer.headers);
        let span = tracer.server(name, &parent);
        span.set("centripetal.client", self.client.id.to_string());
        span.set("centripetal.transport", self.client.peer.transport);
        if let Some(channel) = channel {
            span.set("centrifugo.channel", channel.as_str().to_owned());
        }
        let performed = span.inside(self.perform(call)).await;
        if let Some(why) = refusal(&performed.outcome) {
            fail(&span, why);
        }
        span.end();
        performed
    }
}

/// Name of the span and channel of a call that a client makes.
fn described(call: &Call) -> Option<(&'static str, Option<&Channel>)> {
    Some(match call {
        Call::Connect(_) => ("client connect", None),
        Call::Subscribe(request) => ("client subscribe", Some(&request.channel)),
        Call::Join(join) => ("client join", Some(&join.channel)),
        Call::Publish { channel, .. } => ("client publish", Some(channel)),
        Call::Presence { channel, .. } => ("client presence", Some(channel)),
        Call::PresenceStats { channel, .. } => ("client presence_stats", Some(channel)),
        Call::History { channel, .. } => ("client history", Some(channel)),
        Call::Rpc { .. } => ("client rpc", None),
        Call::Message(_) => ("client send", None),
        Call::Refresh(_) => ("client refresh", None),
        Call::SubRefresh { channel, .. } => ("client sub_refresh", Some(channel)),
        Call::Register { .. }
        | Call::Deregister(_)
        | Call::Renew
        | Call::SubRenew(_)
        | Call::AnnounceJoin(..)
        | Call::Leave(_)
        | Call::RenewPresence(_)
        | Call::Top(..)
        | Call::ReadOn { .. } => return None,
    })
}

fn refusal(outcome: &Outcome) -> Option<&Rejection> {
    match outcome {
        Outcome::Connect(Err(why))
        | Outcome::Registered(Err(why))
        | Outcome::Subscribe(Err(why))
        | Outcome::Joined(Err(why))
        | Outcome::Reply(Err(why))
        | Outcome::Message(Err(why))
        | Outcome::Refresh(Err(why))
        | Outcome::SubRefresh(Err(why))
        | Outcome::Renewed(Err(why))
        | Outcome::SubRenewed(Err(why)) => Some(why),
        _ => None,
    }
}

fn fail(span: &Span, why: &Rejection) {
    let (code, text) = match why {
        Rejection::Error(error) => (error.code, error.message.to_string()),
        Rejection::Disconnect(disconnect) => (disconnect.code, disconnect.reason.to_string()),
    };
    span.fail(format!("{code}: {text}"));
}
