//! The table of methods, and a call and its outcome as values.
//!
//! Everything that depends on the method only (names, numbers, message types) is one row of `methods!`; the transports
//! look it up here and treat all methods alike.

use bytes::{Buf, BufMut};
use prost::{DecodeError, EncodeError, Message as _};
use serde::Serialize;

use super::{
    Api,
    error::{Error, Failure},
    json,
    request::{
        BroadcastRequest, ChannelsRequest, DisconnectRequest, HistoryRemoveRequest, HistoryRequest,
        InfoRequest, PresenceRequest, PresenceStatsRequest, PublishRequest, RefreshRequest,
        RpcRequest, SubscribeRequest, UnsubscribeRequest,
    },
    result::{
        BroadcastResult, ChannelsResult, DisconnectResult, HistoryRemoveResult, HistoryResult,
        InfoResult, PresenceResult, PresenceStatsResult, PublishResult, RefreshResult, RpcResult,
        SubscribeResult, UnsubscribeResult,
    },
};

/// A row: variant, name (also route, batch field and method of [`Api`]), gRPC name, legacy number, number of the field
/// in `Command` and `Reply`, request and result.
macro_rules! methods {
    ($($variant:ident $name:ident $rpc:literal $legacy:literal $field:literal $request:ident $result:ident;)+) => {
        /// A method of the server API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are those of server-api.md 8")]
        pub enum Method {
            $($variant,)+
        }

        impl Method {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Name as in routes, batch fields, legacy commands and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)+
                }
            }

            /// Name of the gRPC method.
            #[must_use]
            pub const fn rpc_name(self) -> &'static str {
                match self {
                    $(Self::$variant => $rpc,)+
                }
            }

            /// Number in the legacy format.
            pub(super) const fn legacy_number(self) -> i64 {
                match self {
                    $(Self::$variant => $legacy,)+
                }
            }

            /// Number of the field in `Command` and `Reply`.
            pub(super) const fn field(self) -> usize {
                match self {
                    $(Self::$variant => $field,)+
                }
            }
        }

        /// A decoded command.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "the names are those of server-api.md 8")]
        pub enum Call {
            $($variant($request),)+
        }

        impl Call {
            /// The method called.
            #[must_use]
            pub const fn method(&self) -> Method {
                match self {
                    $(Self::$variant(_) => Method::$variant,)+
                }
            }

            /// Decodes the JSON request of a method.
            pub(super) fn from_json(method: Method, body: &[u8]) -> Result<Self, json::Error> {
                Ok(match method {
                    $(Method::$variant => Self::$variant(json::decode(body)?),)+
                })
            }

            /// Decodes the Protobuf request of a method.
            pub(super) fn from_protobuf(method: Method, body: impl Buf) -> Result<Self, DecodeError> {
                Ok(match method {
                    $(Method::$variant => Self::$variant($request::decode(body)?),)+
                })
            }

            /// Runs it.
            pub(super) async fn run(self, api: &Api) -> Result<Outcome, Error> {
                match self {
                    $(Self::$variant(request) => api.$name(request).await.map(Outcome::$variant),)+
                }
            }
        }

        $(
            impl From<$request> for Call {
                fn from(request: $request) -> Self {
                    Self::$variant(request)
                }
            }
        )+

        /// What a successful command answers.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        #[expect(missing_docs, reason = "the names are those of server-api.md 8")]
        pub enum Outcome {
            $($variant($result),)+
        }

        impl Outcome {
            /// The method that was called.
            #[must_use]
            pub const fn method(&self) -> Method {
                match self {
                    $(Self::$variant(_) => Method::$variant,)+
                }
            }

            fn encoded_len(&self) -> usize {
                match self {
                    $(Self::$variant(result) => result.encoded_len(),)+
                }
            }

            /// Writes the result as an embedded message.
            fn encode(&self, field: usize, out: &mut impl BufMut) -> Result<(), EncodeError> {
                match self {
                    $(Self::$variant(result) => encode_field(result, field, out),)+
                }
            }
        }
    };
}

methods! {
    Publish publish "Publish" 0 4 PublishRequest PublishResult;
    Broadcast broadcast "Broadcast" 1 5 BroadcastRequest BroadcastResult;
    Subscribe subscribe "Subscribe" 11 6 SubscribeRequest SubscribeResult;
    Unsubscribe unsubscribe "Unsubscribe" 2 7 UnsubscribeRequest UnsubscribeResult;
    Disconnect disconnect "Disconnect" 3 8 DisconnectRequest DisconnectResult;
    Presence presence "Presence" 4 9 PresenceRequest PresenceResult;
    PresenceStats presence_stats "PresenceStats" 5 10 PresenceStatsRequest PresenceStatsResult;
    History history "History" 6 11 HistoryRequest HistoryResult;
    HistoryRemove history_remove "HistoryRemove" 7 12 HistoryRemoveRequest HistoryRemoveResult;
    Info info "Info" 9 13 InfoRequest InfoResult;
    Rpc rpc "RPC" 10 14 RpcRequest RpcResult;
    Refresh refresh "Refresh" 12 15 RefreshRequest RefreshResult;
    Channels channels "Channels" 8 16 ChannelsRequest ChannelsResult;
}

/// Methods that exist in the protocol and are not served: name and gRPC name. Map and shared poll methods wait for their
/// feature; the others belong to the commercial edition (server-api.md 10, 12).
pub(super) const UNSERVED: &[(&str, &str)] = &[
    ("map_publish", "MapPublish"),
    ("map_remove", "MapRemove"),
    ("map_read_state", "MapReadState"),
    ("map_read_stream", "MapReadStream"),
    ("map_stats", "MapStats"),
    ("map_clear", "MapClear"),
    ("shared_poll_publish", "SharedPollPublish"),
    ("connections", "Connections"),
    ("update_user_status", "UpdateUserStatus"),
    ("get_user_status", "GetUserStatus"),
    ("delete_user_status", "DeleteUserStatus"),
    ("block_user", "BlockUser"),
    ("unblock_user", "UnblockUser"),
    ("revoke_token", "RevokeToken"),
    ("invalidate_user_tokens", "InvalidateUserTokens"),
    ("device_register", "DeviceRegister"),
    ("device_update", "DeviceUpdate"),
    ("device_remove", "DeviceRemove"),
    ("device_list", "DeviceList"),
    ("device_topic_list", "DeviceTopicList"),
    ("device_topic_update", "DeviceTopicUpdate"),
    ("user_topic_list", "UserTopicList"),
    ("user_topic_update", "UserTopicUpdate"),
    ("send_push_notification", "SendPushNotification"),
    ("update_push_status", "UpdatePushStatus"),
    ("cancel_push", "CancelPush"),
];

/// A command's answer: `{Method}Response` on its own, one field of `Reply` inside a batch.
pub(super) type Answer = Result<Outcome, Error>;

/// Numbers of the fields `error` and `result` of every `{Method}Response`.
const RESPONSE_ERROR: usize = 1;
const RESPONSE_RESULT: usize = 2;
/// Number of the field `error` of `Reply`.
const REPLY_ERROR: usize = 2;
/// Number of the field `replies` of `BatchResponse`.
const BATCH_REPLIES: usize = 1;

/// Writes a `{Method}Response`.
pub(super) fn encode_response(answer: &Answer, out: &mut impl BufMut) -> Result<(), EncodeError> {
    match answer {
        Ok(outcome) => outcome.encode(RESPONSE_RESULT, out),
        Err(error) => encode_field(&Failure::from(*error), RESPONSE_ERROR, out),
    }
}

/// Writes a `BatchResponse`.
pub(super) fn encode_batch(answers: &[Answer], out: &mut impl BufMut) -> Result<(), EncodeError> {
    for answer in answers {
        match answer {
            Ok(outcome) => {
                let field = outcome.method().field();
                encode_head(BATCH_REPLIES, field_len(field, outcome.encoded_len()), out)?;
                outcome.encode(field, out)?;
            }
            Err(error) => {
                let failure = Failure::from(*error);
                let length = field_len(REPLY_ERROR, failure.encoded_len());
                encode_head(BATCH_REPLIES, length, out)?;
                encode_field(&failure, REPLY_ERROR, out)?;
            }
        }
    }
    Ok(())
}

/// Writes one embedded message.
fn encode_field(
    message: &impl prost::Message,
    field: usize,
    out: &mut impl BufMut,
) -> Result<(), EncodeError> {
    encode_head(field, message.encoded_len(), out)?;
    message.encode(out)
}

/// Writes what stands before an embedded message: the key (number and wire type 2) and the length, both varints.
fn encode_head(field: usize, length: usize, out: &mut impl BufMut) -> Result<(), EncodeError> {
    prost::encode_length_delimiter(field << 3 | 2, out)?;
    prost::encode_length_delimiter(length, out)
}

/// Length of an embedded message with what stands before it.
fn field_len(field: usize, length: usize) -> usize {
    prost::length_delimiter_len(field << 3 | 2) + prost::length_delimiter_len(length) + length
}
