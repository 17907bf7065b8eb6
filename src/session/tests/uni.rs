//! Connections that only listen, and those whose commands come from elsewhere (client-protocol.md 3.5, 3.9).

use super::*;
use crate::protocol::ConnectRequest;

fn listening(config: Config) -> Wire {
    let mut wire = Wire::towards(config, Version::V2, Direction::Push);
    wire.open(ConnectRequest::default());
    wire
}

impl Wire {
    fn open(&mut self, request: ConnectRequest) {
        let mut out = Effects::new();
        self.session.open(request, &mut out);
        self.run(out);
    }

    fn pushed(&self, index: usize) -> &PushBody {
        match &self.replies[index] {
            Reply {
                id: 0,
                body: ReplyBody::Push(push),
            } => &push.body,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_first_push_tells_of_the_connection() {
    let mut wire = listening(config());
    wire.answer(Outcome::Connect(Ok(Box::new(identified()))));
    wire.answer(Outcome::Registered(Ok(())));
    let PushBody::Connect(result) = wire.pushed(0) else {
        panic!("{:?}", wire.replies);
    };
    assert_eq!((&*result.session, &*result.node), ("secret", ""));
    assert_eq!((result.ping, result.pong), (25, false));
    // A second request changes nothing, and nothing is expected after a ping.
    wire.open(ConnectRequest::default());
    assert!(wire.calls.is_empty());
    wire.pass(Duration::from_secs(60));
    assert_eq!((wire.closed.clone(), wire.replies.len()), (None, 3));
}

#[test]
fn an_emulated_connection_is_told_where_it_is() {
    let mut wire = Wire::towards(config(), Version::V2, Direction::Emulated);
    wire.send(Request::Connect(Box::default()));
    wire.answer(Outcome::Connect(Ok(Box::new(identified()))));
    wire.answer(Outcome::Registered(Ok(())));
    let ReplyBody::Connect(result) = &wire.replies[0].body else {
        panic!("{:?}", wire.replies);
    };
    assert_eq!((&*result.session, &*result.node), ("secret", "node"));
    assert!(result.pong);
}

#[test]
fn errors_become_disconnects() {
    let own = Disconnect {
        code: 4777,
        reason: "own".into(),
    };
    let mut with_rule = config();
    with_rule.unidirectional = Unidirectional(vec![(109, own.clone())]);
    for (config, error, why) in [
        (config(), ClientError::TOKEN_EXPIRED, Disconnect::EXPIRED),
        (config(), ClientError::EXPIRED, Disconnect::EXPIRED),
        (
            config(),
            ClientError::TOO_MANY_REQUESTS,
            Disconnect::TOO_MANY_REQUESTS,
        ),
        (
            config(),
            ClientError::PERMISSION_DENIED,
            Disconnect::PERMISSION_DENIED,
        ),
        (config(), ClientError::INTERNAL, Disconnect::SERVER_ERROR),
        (with_rule.clone(), ClientError::TOKEN_EXPIRED, own),
        (with_rule, ClientError::EXPIRED, Disconnect::EXPIRED),
    ] {
        let mut wire = listening(config);
        wire.answer(Outcome::Connect(Err(error.clone().into())));
        assert_eq!(wire.closed.as_ref(), Some(&why));
        assert_eq!(wire.unconnected, Some(error));
        assert_eq!(wire.pushed(0), &PushBody::Disconnect(why));
    }
    let mut wire = listening(config());
    wire.answer(Outcome::Connect(Err(Disconnect::INVALID_TOKEN.into())));
    assert_eq!(wire.closed, Some(Disconnect::INVALID_TOKEN));
    assert_eq!(wire.unconnected, None);
}
