//! Publications and client infos as they are kept and sent (engines.md 1.1): Protobuf, fields in ascending order.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use crate::{
    model::{ClientId, ClientInfo, Epoch, Publication, StreamPosition, TraceContext, UserId},
    pb::stream as pb,
};

/// Bytes that are no message.
#[derive(Debug, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed(#[from] prost::DecodeError);

/// The publication as bytes, without its position: that is told beside it.
#[must_use]
pub fn encode(publication: &Publication) -> Vec<u8> {
    let tags = publication.tags.as_deref();
    pb::Publication {
        data: publication.data.clone(),
        info: publication.info.as_deref().map(info_to_wire),
        tags: tags.cloned().unwrap_or_default(),
        time: publication.time,
        version: publication.version,
        trace: publication
            .trace
            .as_deref()
            .map(|trace| Bytes::copy_from_slice(&trace.to_bytes()))
            .unwrap_or_default(),
        exclude_client: publication
            .except
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        ..pb::Publication::default()
    }
    .encode_to_vec()
}

/// A publication at a position, and the epoch it counts in. A position inside goes before the one beside (engines.md 3.4).
///
/// # Errors
/// The bytes are no publication.
pub fn decode(data: Bytes, beside: StreamPosition) -> Result<(Publication, Epoch), Malformed> {
    let wire = pb::Publication::decode(data)?;
    let offset = if wire.offset > 0 {
        wire.offset
    } else {
        beside.offset
    };
    let epoch = if wire.epoch.is_empty() {
        beside.epoch
    } else {
        Epoch::from(wire.epoch)
    };
    let publication = Publication {
        offset,
        // Only the first publication tells the epoch to subscribers that saw an empty stream (client-protocol.md 1.6).
        epoch: if offset == 1 {
            epoch.clone()
        } else {
            Epoch::default()
        },
        data: wire.data,
        info: wire.info.map(|info| Arc::new(info_from_wire(info))),
        tags: (!wire.tags.is_empty()).then(|| Arc::new(wire.tags)),
        version: wire.version,
        time: wire.time,
        trace: TraceContext::from_bytes(&wire.trace).map(Box::new),
        except: (!wire.exclude_client.is_empty()).then(|| ClientId::from(wire.exclude_client)),
        ..Publication::default()
    };
    Ok((publication, epoch))
}

/// The info as bytes.
#[must_use]
pub fn encode_info(info: &ClientInfo) -> Vec<u8> {
    info_to_wire(info).encode_to_vec()
}

/// The info from bytes.
///
/// # Errors
/// The bytes are no info.
pub fn decode_info(data: Bytes) -> Result<ClientInfo, Malformed> {
    Ok(info_from_wire(pb::ClientInfo::decode(data)?))
}

fn info_to_wire(info: &ClientInfo) -> pb::ClientInfo {
    pb::ClientInfo {
        user: info.user.to_string(),
        client: info.client.to_string(),
        conn_info: info.conn_info.clone(),
        chan_info: info.chan_info.clone(),
    }
}

fn info_from_wire(wire: pb::ClientInfo) -> ClientInfo {
    ClientInfo {
        user: UserId::from(wire.user),
        client: ClientId::from(wire.client),
        conn_info: wire.conn_info,
        chan_info: wire.chan_info,
    }
}
