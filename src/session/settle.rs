//! What a subscribe comes to: what is granted of the request, what was missed, and in which form it is told
//! (client-protocol.md 5.5, 5.8, 5.12).

use std::sync::Arc;

use super::{
    Session,
    recovery::{self, Settled},
    subscription::{Joining, Purpose, State as Sub, Subscription},
};
use crate::{
    model::{
        Channel, ClientError, ClientId, Disconnect, Encoding, Filter, FilterNode, Now, Publication,
        RecoveryMode, Rejection, StreamPosition, SubscribeOptions, SubscriptionKey, Version,
    },
    protocol::{
        SubscribeRequest, SubscribeResult, delta,
        frame::{Delta, PositionFormat, Style},
    },
};

/// `SubscribeRequest.flag`: the client understands numbers in place of names.
const FLAG_COMPACT: i64 = 1;
/// `SubscribeRequest.flag`: answer 112 instead of an unrecovered subscription.
const FLAG_REJECT_UNRECOVERED: i64 = 2;

/// What is granted of the wishes about pushes.
pub(super) fn style(
    request: &SubscribeRequest,
    purpose: Purpose,
    options: &SubscribeOptions,
) -> Style {
    let wanted = request.delta == "fossil" && options.delta && request.tags_filter.is_none();
    let delta = match wanted {
        false => Delta::Off,
        true if options.is_positioned() => Delta::Patches,
        true => Delta::Complete,
    };
    let compact = options.compaction
        && request.flag & FLAG_COMPACT != 0
        && matches!(purpose, Purpose::Command(_));
    Style { delta, compact }
}

/// The tags filter that is granted: one has to be allowed, and be one (client-protocol.md 5.10).
pub(super) fn filter(
    wanted: Option<&FilterNode>,
    options: &SubscribeOptions,
) -> Result<Option<Arc<Filter>>, ClientError> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    if !options.allow_tags_filter {
        return Err(ClientError::BAD_REQUEST);
    }
    let filter = Filter::compile(wanted).map_err(|_invalid| ClientError::BAD_REQUEST)?;
    Ok(Some(Arc::new(filter)))
}

/// The position to recover from; `None` begins at the top.
pub(super) fn asked(
    request: &SubscribeRequest,
    given: Option<StreamPosition>,
    options: &SubscribeOptions,
) -> Option<StreamPosition> {
    let asked = given.or_else(|| request.recover.then(|| position_of(request)));
    let asked = if is_automatic(options) {
        Some(asked.unwrap_or_default())
    } else {
        asked
    };
    asked.filter(|_| options.recoverable)
}

/// The newest publication is given without being asked for.
fn is_automatic(options: &SubscribeOptions) -> bool {
    options.recoverable
        && options.auto_cache_recover
        && options.recovery_mode == RecoveryMode::Cache
}

impl Session {
    /// Decides on recovery, fixes the position, and makes the result that the client is told. The subscription goes on holding
    /// until [`Session::commit`]. `None` when it is not joining.
    pub(super) fn settle(
        &mut self,
        now: Now,
        key: SubscriptionKey,
    ) -> Result<Option<(Channel, SubscribeResult)>, Rejection> {
        let (version, encoding) = (self.version, self.birth.encoding);
        let Some(subscription) = self.table.get_mut(key) else {
            return Ok(None);
        };
        let Subscription {
            channel,
            state: Sub::Joining(joining),
            options,
            style,
            number,
            ..
        } = subscription
        else {
            return Ok(None);
        };
        let Some(joined) = joining.joined.take() else {
            return Ok(None);
        };
        *number = joined.number;
        let ttl = Self::ttl(now, options.expire_at, options.server_side_refresh).unwrap_or(Some(1));
        let mut result = SubscribeResult {
            ttl,
            data: options.data.clone(),
            // Told whenever it was asked for, also when nothing could come of it.
            was_recovering: joining.request.recover || is_automatic(options),
            delta: style.delta != Delta::Off,
            number: *number,
            ..SubscribeResult::default()
        };
        if options.is_positioned() {
            let mode = options.recovery_mode;
            let asked = joining.asked.as_ref();
            let settled = recovery::settle(asked, mode, joined, &joining.held)
                .map_err(|recovery::Gap| Disconnect::INSUFFICIENT_STATE)?;
            let rejects =
                version == Version::V2 && joining.request.flag & FLAG_REJECT_UNRECOVERED != 0;
            if asked.is_some() && !settled.recovered && rejects {
                return Err(ClientError::UNRECOVERABLE_POSITION.into());
            }
            result.positioned = true;
            result.recoverable = options.recoverable;
            result.recovered = settled.recovered;
            result.epoch = settled.position.epoch.as_str().to_owned();
            result.offset = told_offset(version, asked, &settled);
            result.publications = missed(
                joining,
                settled,
                (&self.birth.client, options.filter.as_deref()),
            );
            if style.delta != Delta::Off {
                as_deltas(&mut result.publications, encoding);
            } else if mode == RecoveryMode::Cache {
                let older = result.publications.len().saturating_sub(1);
                result.publications.drain(..older);
            }
            order_publications(version, &joining.request, &mut result, self.positions);
        }
        Ok(Some((channel.clone(), result)))
    }
}

/// What this client is given of what was missed; the position is kept for the commit.
fn missed(
    joining: &mut Joining,
    settled: Settled,
    (client, filter): (&ClientId, Option<&Filter>),
) -> Vec<Arc<Publication>> {
    let Settled {
        recovered,
        mut publications,
        position,
    } = settled;
    let is_other = |publication: &Arc<Publication>| publication.except.as_ref() != Some(client);
    // When nothing is missing the client has the payload at its position; otherwise it must be given the last one.
    joining.has_base = recovered && publications.last().is_none_or(is_other);
    let is_wanted = |publication: &Arc<Publication>| {
        filter.is_none_or(|filter| filter.matches(publication.tags.as_deref()))
    };
    // The completeness was judged before: what the filter keeps back is not missing.
    publications.retain(|publication| is_other(publication) && is_wanted(publication));
    joining.joined = Some(super::Joined {
        top: position,
        ..super::Joined::default()
    });
    publications
}

/// The first one stays complete, the others become deltas where those are shorter and can be written.
fn as_deltas(publications: &mut [Arc<Publication>], encoding: Encoding) {
    for at in (1..publications.len()).rev() {
        let (base, publication) = (&publications[at - 1], &publications[at]);
        let Some(patch) = delta::shorter(&base.data, &publication.data) else {
            continue;
        };
        let is_writable = encoding == Encoding::Protobuf
            || std::str::from_utf8(&patch).is_ok() && crate::protocol::is_json(&publication.data);
        if is_writable {
            publications[at] = Arc::new(Publication {
                data: patch.into(),
                delta: true,
                ..(**publication).clone()
            });
        }
    }
}

/// The position a client sends: an offset, or the two halves of the oldest clients (client-protocol.md 1.10).
fn position_of(request: &SubscribeRequest) -> StreamPosition {
    let halves = (u64::from(request.r#gen) << 32) + u64::from(request.seq);
    let offset = if halves > 0 { halves } else { request.offset };
    StreamPosition {
        offset,
        epoch: request.epoch.as_str().into(),
    }
}

/// V2 moves its position by the publications it is given, V1 takes the position it is told.
fn told_offset(version: Version, asked: Option<&StreamPosition>, settled: &Settled) -> u64 {
    match (version, asked) {
        (Version::V2, Some(asked)) if settled.recovered => asked.offset,
        _ => settled.position.offset,
    }
}

/// The oldest V1 clients expect recovered publications newest first and counted in seq and gen (client-protocol.md 1.10).
fn order_publications(
    version: Version,
    request: &SubscribeRequest,
    result: &mut SubscribeResult,
    positions: PositionFormat,
) {
    if version == Version::V2 {
        return;
    }
    let halves = request.seq > 0 || request.r#gen > 0;
    let from_start = request.offset == 0 && positions == PositionFormat::Both;
    if halves || from_start {
        result.publications.reverse();
        result.publication_positions = Some(PositionFormat::SeqGen);
    }
}
