//! The vocabulary every other module speaks: channels, clients, publications, codes, time.
//!
//! Plain values only. This module never imports anything of ours, knows no runtime, no wire format and no policy.

mod channel;
mod client;
mod code;
mod command;
mod control;
mod filter;
mod publication;
mod secret;
mod time;
mod trace;

pub use channel::{
    Batch, Channel, ChannelOptions, DataFormat, RecoveryMode, SlowPolicy, SubscriptionType,
};
pub use client::{
    Certified, ClientId, ClientInfo, Credentials, Direction, Encoding, NodeId, Peer, UserId,
    Version,
};
pub use code::{ClientError, Disconnect, Refused, Rejection, Unsubscribe};
pub use command::{Refresh, SubscribeCommand, SubscribeOptions, SubscribeSource, Target};
pub use control::{Control, LabelFilter, NodeInfo, Notification, SurveyRequest, SurveyResponse};
pub use filter::{Filter, FilterNode, InvalidFilter};
pub use publication::{
    Broadcast, ChannelEvent, Complete, Delivery, Epoch, Frame, Publication, StreamPosition,
    SubscriptionKey, Tags, Watch, Withheld,
};
pub use secret::Secret;
pub use time::Now;
pub use trace::TraceContext;
