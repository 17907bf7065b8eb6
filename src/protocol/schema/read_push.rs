//! V2 pushes as fields to read: what a client does (client-protocol.md 1.5, 1.7).

use std::{borrow::Cow, sync::Arc};

use super::{
    Name, Source, name, payload,
    read_reply::{client_info, data, expiry, publication},
    read_text,
};
use crate::{
    model::{Channel, ClientInfo, Disconnect, Epoch, StreamPosition, Unsubscribe},
    protocol::{
        decode::Malformed,
        message::{Push, PushBody, SubscribePush},
    },
};

/// Reads a push; `None` for one of a kind that is not known here.
pub(super) fn push<'a, S: Source<'a>>(source: &mut S) -> Result<Option<Push>, Malformed> {
    const NAMES: [Name; 9] = [
        name(2, "channel"),
        name(4, "pub"),
        name(5, "join"),
        name(6, "leave"),
        name(7, "unsubscribe"),
        name(8, "message"),
        name(9, "subscribe"),
        name(11, "disconnect"),
        name(12, "refresh"),
    ];
    let mut channel = Channel::default();
    let mut body = None;
    source.fields(&NAMES, |source, number| {
        match number {
            2 => channel = Channel::from(&*source.text()?),
            4 => body = Some(PushBody::Publication(Arc::new(publication(source)?))),
            5 => body = Some(PushBody::Join(member(source)?)),
            6 => body = Some(PushBody::Leave(member(source)?)),
            7 => {
                let (code, reason) = code_and_reason(source, 2)?;
                body = Some(PushBody::Unsubscribe(Unsubscribe { code, reason }));
            }
            8 => body = Some(PushBody::Message(data(source)?)),
            9 => body = Some(PushBody::Subscribe(subscribe_push(source)?)),
            11 => {
                let (code, reason) = code_and_reason(source, 1)?;
                body = Some(PushBody::Disconnect(Disconnect { code, reason }));
            }
            12 => body = Some(PushBody::Refresh(expiry(source, 1)?)),
            _ => {}
        }
        Ok(())
    })?;
    Ok(body.map(|body| Push { channel, body }))
}

/// Join and leave: a message that is nothing but a client info.
fn member<'a, S: Source<'a>>(source: &mut S) -> Result<Arc<ClientInfo>, Malformed> {
    let mut info = ClientInfo::default();
    source.fields(&[name(1, "info")], |source, number| {
        if number == 1 {
            info = client_info(source)?;
        }
        Ok(())
    })?;
    Ok(Arc::new(info))
}

/// `code` and, behind it, `reason`; their numbers differ.
fn code_and_reason<'a, S: Source<'a>>(
    source: &mut S,
    first: u32,
) -> Result<(u32, Cow<'static, str>), Malformed> {
    let (mut code, mut reason) = (0, Cow::Borrowed(""));
    source.fields(
        &[name(first, "code"), name(first + 1, "reason")],
        |source, number| {
            if number == first {
                code = source.u32()?;
            } else if number == first + 1 {
                reason = Cow::Owned(read_text(source)?);
            }
            Ok(())
        },
    )?;
    Ok((code, reason))
}

fn subscribe_push<'a, S: Source<'a>>(source: &mut S) -> Result<SubscribePush, Malformed> {
    const NAMES: [Name; 5] = [
        name(1, "recoverable"),
        name(4, "epoch"),
        name(5, "offset"),
        name(6, "positioned"),
        payload(7, "data"),
    ];
    let mut push = SubscribePush::default();
    let mut position = StreamPosition::default();
    source.fields(&NAMES, |source, number| {
        match number {
            1 => push.recoverable = source.boolean()?,
            4 => position.epoch = Epoch::from(&*source.text()?),
            5 => position.offset = source.u64()?,
            6 => push.positioned = source.boolean()?,
            7 => push.data = source.payload()?,
            _ => {}
        }
        Ok(())
    })?;
    push.position = position;
    Ok(push)
}
