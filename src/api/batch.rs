//! Several commands in one call (server-api.md 9), for HTTP and gRPC alike.

use futures_util::{StreamExt as _, stream};
use serde::{Serialize, Serializer, de::MapAccess, ser::SerializeMap as _};

use super::{
    Api, Error, Failure, Via,
    json::{Fields, Place},
    method::{Answer, Call},
    metrics::UNKNOWN,
    publish::IN_FLIGHT,
    request::Command,
};

/// What a batch asks. A command is `None` when JSON says `null`, which Protobuf cannot.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) commands: Vec<Option<Command>>,
    pub(super) parallel: bool,
}

/// The Protobuf form of [`Batch`].
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BatchRequest {
    #[prost(message, repeated, tag = "1")]
    commands: Vec<Command>,
    #[prost(bool, tag = "2")]
    parallel: bool,
}

impl From<BatchRequest> for Batch {
    fn from(request: BatchRequest) -> Self {
        Self {
            commands: request.commands.into_iter().map(Some).collect(),
            parallel: request.parallel,
        }
    }
}

impl Fields for Batch {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        values: &mut A,
    ) -> Result<bool, A::Error> {
        if name.eq_ignore_ascii_case("commands") {
            values.next_value_seed(Place(&mut self.commands))?;
        } else if name.eq_ignore_ascii_case("parallel") {
            values.next_value_seed(Place(&mut self.parallel))?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl Command {
    /// The one field that is run when several are set; `None` when none is served.
    pub(super) fn into_call(self) -> Option<Call> {
        fn call<T: Into<Call>>(field: Option<Box<T>>) -> Option<Call> {
            field.map(|request| (*request).into())
        }
        call(self.publish)
            .or_else(|| call(self.broadcast))
            .or_else(|| call(self.subscribe))
            .or_else(|| call(self.unsubscribe))
            .or_else(|| call(self.disconnect))
            .or_else(|| call(self.history))
            .or_else(|| call(self.history_remove))
            .or_else(|| call(self.presence))
            .or_else(|| call(self.presence_stats))
            .or_else(|| call(self.info))
            .or_else(|| call(self.rpc))
            .or_else(|| call(self.refresh))
            .or_else(|| call(self.channels))
    }
}

impl Api {
    /// Runs a batch; the answers are in the order of the commands, whatever fails.
    pub(super) async fn batch(&self, via: Via, batch: Batch) -> Vec<Answer> {
        let in_flight = if batch.parallel { IN_FLIGHT } else { 1 };
        stream::iter(batch.commands)
            .map(|command| self.command(via, command))
            .buffered(in_flight)
            .collect()
            .await
    }

    async fn command(&self, via: Via, command: Option<Command>) -> Answer {
        let error = match command.map(Command::into_call) {
            Some(Some(call)) => return self.call(via, call).await,
            Some(None) => Error::NotFound,
            None => Error::BadRequest,
        };
        let code = error.code().to_string();
        self.shared.metrics.failed(via, UNKNOWN, &code);
        Err(error)
    }
}

/// The answer to a batch in JSON.
#[derive(Serialize)]
pub(super) struct BatchResponse<'a> {
    #[serde(serialize_with = "replies")]
    replies: &'a [Answer],
}

impl<'a> From<&'a [Answer]> for BatchResponse<'a> {
    fn from(replies: &'a [Answer]) -> Self {
        Self { replies }
    }
}

fn replies<S: Serializer>(answers: &[Answer], sink: S) -> Result<S::Ok, S::Error> {
    sink.collect_seq(answers.iter().map(Reply))
}

/// An object with one key: `error`, or the name of the method.
struct Reply<'a>(&'a Answer);

impl Serialize for Reply<'_> {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        let mut object = sink.serialize_map(Some(1))?;
        match self.0 {
            Ok(outcome) => object.serialize_entry(outcome.method().name(), outcome)?,
            Err(error) => object.serialize_entry("error", &Failure::from(*error))?,
        }
        object.end()
    }
}
