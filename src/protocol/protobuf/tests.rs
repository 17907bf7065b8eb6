//! The generated types as an independent opinion on what is written and read here.

use bytes::Bytes;
use proptest::{prelude::*, sample::select};
use prost::Message;

use crate::{
    model::{Encoding, Publication, Unsubscribe, Version},
    pb::client as pb,
    protocol::{
        Decoder, Push, PushBody, Reply, ReplyBody, SubscribeResult, decode_reply, encode_command,
        frame::{self, Framing, PositionFormat, WireForm},
        tests::values::{command, reply, v1_reply, v2_reply},
    },
};

fn encode(version: Version, positions: PositionFormat, reply: &Reply) -> Bytes {
    let form = WireForm {
        version,
        encoding: Encoding::Protobuf,
        positions,
        framing: Framing::None,
        bare: false,
    };
    frame::encode(form, reply).unwrap()
}

/// Type and body of a V1 push in the fields of V2.
fn push_v1_as_v2(push: &pb::PushV1) -> Result<pb::Push, prost::DecodeError> {
    let body = &*push.data;
    let mut v2 = pb::Push {
        channel: push.channel.clone(),
        ..pb::Push::default()
    };
    match push.r#type {
        0 => v2.r#pub = Some(pb::Publication::decode(body)?),
        1 => v2.join = Some(pb::Join::decode(body)?),
        2 => v2.leave = Some(pb::Leave::decode(body)?),
        3 => {
            let body = pb::UnsubscribeV1::decode(body)?;
            assert_eq!(body.resubscribe, body.code >= 2500);
            v2.unsubscribe = Some(pb::Unsubscribe {
                code: body.code,
                reason: body.reason,
            });
        }
        4 => v2.message = Some(pb::Message::decode(body)?),
        5 => v2.subscribe = Some(pb::Subscribe::decode(body)?),
        7 => v2.disconnect = Some(pb::Disconnect::decode(body)?),
        8 => v2.refresh = Some(pb::Refresh::decode(body)?),
        other => panic!("unknown type {other}"),
    }
    Ok(v2)
}

/// The result of a V1 reply in the field of V2.
fn v1_as_v2(v1: &pb::Reply, original: &Reply) -> Result<pb::Reply, prost::DecodeError> {
    let result = &*v1.result;
    let mut v2 = pb::Reply {
        id: v1.id,
        error: v1.error.clone(),
        ..pb::Reply::default()
    };
    match original.body {
        ReplyBody::Push(_) => v2.push = Some(push_v1_as_v2(&pb::PushV1::decode(result)?)?),
        ReplyBody::Connect(_) => v2.connect = Some(pb::ConnectResult::decode(result)?),
        ReplyBody::Subscribe(_) => v2.subscribe = Some(pb::SubscribeResult::decode(result)?),
        ReplyBody::Unsubscribe => v2.unsubscribe = Some(pb::UnsubscribeResult::decode(result)?),
        ReplyBody::Publish => v2.publish = Some(pb::PublishResult::decode(result)?),
        ReplyBody::Presence(_) => v2.presence = Some(pb::PresenceResult::decode(result)?),
        ReplyBody::PresenceStats(_) => {
            v2.presence_stats = Some(pb::PresenceStatsResult::decode(result)?);
        }
        ReplyBody::History(_) => v2.history = Some(pb::HistoryResult::decode(result)?),
        ReplyBody::Rpc(_) => v2.rpc = Some(pb::RpcResult::decode(result)?),
        ReplyBody::Refresh(_) => v2.refresh = Some(pb::RefreshResult::decode(result)?),
        ReplyBody::SubRefresh(_) => v2.sub_refresh = Some(pb::SubRefreshResult::decode(result)?),
        ReplyBody::Error(_) | ReplyBody::Ping | ReplyBody::Pong => assert!(result.is_empty()),
    }
    Ok(v2)
}

proptest! {
    #[test]
    fn generated_types_agree_on_commands(
        (version, command) in select(&[Version::V1, Version::V2][..])
            .prop_flat_map(|version| (Just(version), command(version, Encoding::Protobuf)))
    ) {
        let ours = encode_command(version, Encoding::Protobuf, &command).unwrap();
        let theirs = pb::Command::decode(ours.clone()).unwrap().encode_to_vec();
        prop_assert_eq!(ours.len(), theirs.len());
        let mut decoder = Decoder::new(Encoding::Protobuf, Some(version), Framing::None, usize::MAX);
        let decoded = decoder.frame(theirs.into()).next(&mut decoder);
        prop_assert_eq!(decoded, Some(Ok(command)));
    }

    #[test]
    fn generated_types_agree_on_replies_of_v2(reply in reply(Encoding::Protobuf)) {
        let ours = encode(Version::V2, PositionFormat::Offset, &reply);
        let theirs = pb::Reply::decode(ours.clone()).unwrap().encode_to_vec();
        // Entries of maps may come in another order.
        prop_assert_eq!(ours.len(), theirs.len());
        prop_assert_eq!(decode_reply(Encoding::Protobuf, theirs.into()), Ok(v2_reply(reply)));
    }

    #[test]
    fn generated_types_agree_on_replies_of_v1(reply in reply(Encoding::Protobuf)) {
        let ours = encode(Version::V1, PositionFormat::Offset, &reply);
        let v1 = pb::Reply::decode(ours).unwrap();
        let v2 = v1_as_v2(&v1, &reply).unwrap().encode_to_vec();
        let decoded = decode_reply(Encoding::Protobuf, v2.into());
        prop_assert_eq!(decoded, Ok(v1_reply(reply, Encoding::Protobuf)));
    }

    #[test]
    fn positions_are_split_for_old_clients(offset in 0..(1u64 << 53)) {
        let publication = Publication { offset, ..Publication::default() };
        let result = SubscribeResult {
            offset,
            publications: vec![publication.into()],
            publication_positions: Some(PositionFormat::SeqGen),
            ..SubscribeResult::default()
        };
        let reply = Reply { id: 1, body: ReplyBody::Subscribe(Box::new(result)) };
        let halves = (u32::try_from(offset % (1 << 32)).unwrap(), u32::try_from(offset >> 32).unwrap());
        for (positions, with_offset, with_halves) in [
            (PositionFormat::Offset, offset, (0, 0)),
            (PositionFormat::SeqGen, 0, halves),
            (PositionFormat::Both, offset, halves),
        ] {
            let v1 = pb::Reply::decode(encode(Version::V1, positions, &reply)).unwrap();
            let result = pb::SubscribeResult::decode(v1.result).unwrap();
            prop_assert_eq!((result.offset, (result.seq, result.r#gen)), (with_offset, with_halves));
            let publication = &result.publications[0];
            prop_assert_eq!((publication.offset, (publication.seq, publication.r#gen)), (0, halves));
            let v2 = pb::Reply::decode(encode(Version::V2, positions, &reply)).unwrap();
            let result = v2.subscribe.unwrap();
            prop_assert_eq!((result.offset, result.seq, result.r#gen), (offset, 0, 0));
            prop_assert_eq!(result.publications[0].offset, offset);
        }
    }
}

#[test]
fn offsets_beyond_32_bits_have_two_halves_on_the_wire() {
    // client-protocol.md 8.8, row 108.
    let publication = Publication {
        offset: 4_294_967_301,
        data: Bytes::from_static(b"1"),
        ..Publication::default()
    };
    let push = Push {
        channel: "c".into(),
        body: PushBody::Publication(publication.into()),
    };
    let reply = Reply {
        id: 0,
        body: ReplyBody::Push(push),
    };
    let bytes = encode(Version::V1, PositionFormat::SeqGen, &reply);
    let push = pb::PushV1::decode(pb::Reply::decode(bytes).unwrap().result).unwrap();
    assert_eq!(&*push.data, b"\x08\x05\x10\x01\x22\x01\x31");
}

#[test]
fn v1_clients_are_told_to_subscribe_again() {
    let push = |unsubscribe: Unsubscribe| {
        let push = Push {
            channel: "news".into(),
            body: PushBody::Unsubscribe(unsubscribe),
        };
        let body = ReplyBody::Push(push);
        let bytes = encode(Version::V1, PositionFormat::Offset, &Reply { id: 0, body });
        let push = pb::PushV1::decode(pb::Reply::decode(bytes).unwrap().result).unwrap();
        assert_eq!((push.r#type, &*push.channel), (3, "news"));
        pb::UnsubscribeV1::decode(push.data).unwrap()
    };
    let again = push(Unsubscribe::EXPIRED);
    assert_eq!((again.resubscribe, again.code), (true, 2501));
    let ended = push(Unsubscribe::SERVER);
    assert_eq!(
        (ended.resubscribe, ended.code, &*ended.reason),
        (false, 2000, "server unsubscribe")
    );
    // client-protocol.md 8.4, row 56: the oldest form has nothing else.
    let oldest = pb::Reply {
        result: pb::PushV1 {
            r#type: pb::PushType::Unsubscribe as u32,
            channel: "news".into(),
            data: pb::UnsubscribeV1 {
                resubscribe: true,
                ..Default::default()
            }
            .encode_to_vec()
            .into(),
        }
        .encode_to_vec()
        .into(),
        ..Default::default()
    };
    assert_eq!(
        oldest.encode_to_vec(),
        b"\x1a\x0c\x08\x03\x12\x04news\x1a\x02\x08\x01"
    );
}
