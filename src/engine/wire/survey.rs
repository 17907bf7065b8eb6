//! Arguments and answers of the surveys both products know (engines.md 1.8).

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use crate::{model::Channel, pb::control as pb};

/// Arguments of the survey `channels`: a glob, empty for all channels.
pub(crate) fn encode_pattern(pattern: &str) -> Bytes {
    let request = pb::ChannelsRequest {
        pattern: pattern.to_owned(),
    };
    Bytes::from(request.encode_to_vec())
}

/// The glob of a survey `channels`; `None` when the arguments are malformed.
pub(crate) fn decode_pattern(data: Bytes) -> Option<String> {
    let request = pb::ChannelsRequest::decode(data).ok()?;
    Some(request.pattern)
}

/// A frame for an emulated session.
pub(crate) fn encode_emulation(node: &str, session: &str, data: Bytes) -> Bytes {
    let request = pb::EmulationRequest {
        node: node.to_owned(),
        session: session.to_owned(),
        data,
    };
    Bytes::from(request.encode_to_vec())
}

/// Session and data of a frame for an emulated session; `None` when it is malformed.
pub(crate) fn decode_emulation(data: Bytes) -> Option<(String, Bytes)> {
    let request = pb::EmulationRequest::decode(data).ok()?;
    Some((request.session, request.data))
}

/// The answer to the survey `channels`: subscribers by channel.
pub(crate) fn encode_channels(channels: BTreeMap<Channel, u32>) -> Bytes {
    let channels = channels
        .into_iter()
        .map(|(channel, num_clients)| (channel.to_string(), pb::ChannelInfo { num_clients }));
    let response = pb::ChannelsResponse {
        channels: channels.collect(),
    };
    Bytes::from(response.encode_to_vec())
}

/// Subscribers by channel; `None` when the answer is malformed.
pub(crate) fn decode_channels(data: Bytes) -> Option<BTreeMap<Channel, u32>> {
    let response = pb::ChannelsResponse::decode(data).ok()?;
    let channels = response
        .channels
        .into_iter()
        .map(|(channel, info)| (Channel::from(channel), info.num_clients));
    Some(channels.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_survey_is_understood_and_answered() {
        // Recorded data of `channels` with pattern `hist:*`, and of an answer with two channels.
        assert_eq!(&encode_pattern("hist:*")[..], b"\x0a\x06hist:*");
        assert_eq!(
            decode_pattern(Bytes::from_static(b"\x0a\x06hist:*")).as_deref(),
            Some("hist:*")
        );
        let answer =
            b"\x0a\x0c\x0a\x06hist:r\x12\x02\x08\x01\x0a\x0d\x0a\x07plain:r\x12\x02\x08\x01";
        let channels = decode_channels(Bytes::from_static(answer)).unwrap();
        let expected = ["hist:r", "plain:r"].map(|name| (Channel::from(name), 1));
        assert_eq!(channels, BTreeMap::from(expected));
        assert_eq!(
            decode_channels(encode_channels(channels.clone())),
            Some(channels)
        );
        assert!(encode_channels(BTreeMap::new()).is_empty());
    }

    #[test]
    fn malformed_data_is_refused() {
        assert_eq!(decode_pattern(Bytes::from_static(b"\xff")), None);
        assert_eq!(decode_channels(Bytes::from_static(b"\x0a\x7f")), None);
        assert_eq!(decode_emulation(Bytes::from_static(b"\xff")), None);
        // As recorded.
        let recorded = Bytes::from_static(b"\x12\x06nosuch\x1a\x04\"{}\"");
        let data = Bytes::from_static(b"\"{}\"");
        assert_eq!(encode_emulation("", "nosuch", data.clone()), recorded);
        assert_eq!(
            decode_emulation(recorded),
            Some(("nosuch".to_owned(), data))
        );
    }
}
