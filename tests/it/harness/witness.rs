//! Clients that have nothing to do with what happens beside them: they must get every publication, in order, and the server
//! must be as it was before when it is over.

use std::{cell::Cell, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep};

use super::{Client, Transport};
use crate::support::Server;

/// Where the witnesses listen. Clients must be allowed to.
const CHANNEL: &str = "witness";
/// Pause between two publications.
const PACE: Duration = Duration::from_millis(10);
/// Bytes a server may keep from what is over.
const KEPT: u64 = 64 << 20;
/// How long it may work for what is over.
const AFTERWARDS: Duration = Duration::from_secs(30);
/// A server is idle when it works less than this part of the time.
const IDLE: (Duration, Duration) = (Duration::from_millis(40), Duration::from_millis(400));

/// Does something while one witness on every transport gets a numbered stream of publications; fails when one misses any.
pub(crate) async fn watched<T>(server: &Server, deed: impl Future<Output = T>) -> T {
    let mut witnesses = Vec::new();
    for transport in Transport::ALL {
        let mut client = transport.user(server, "witness").await;
        client.subscribe(json!({"channel": CHANNEL})).await;
        witnesses.push(client);
    }
    let over = Cell::new(false);
    let deed = async {
        let done = deed.await;
        over.set(true);
        done
    };
    let publish = async {
        let (mut published, mut pace) = (0_u64, interval(PACE));
        while !over.get() {
            pace.tick().await;
            server.publish(CHANNEL, &json!(published)).await;
            published += 1;
        }
        server.publish(CHANNEL, &json!("over")).await;
        published
    };
    let watch = futures_util::future::join_all(witnesses.iter_mut().map(watch));
    let (done, published, watched) = tokio::join!(Box::pin(deed), publish, watch);
    assert_eq!(watched, vec![published; Transport::ALL.len()]);
    done
}

/// Takes publications until they are over and returns how many there were.
async fn watch(witness: &mut Client) -> u64 {
    let mut expected = 0;
    loop {
        let mut push = witness.push().await;
        let data: Value = push["pub"]["data"].take();
        if data == json!("over") {
            return expected;
        }
        assert_eq!(data, json!(expected), "something was lost");
        expected += 1;
    }
}

/// What a server was like before.
#[derive(Debug)]
pub(crate) struct Calm {
    memory: u64,
}

impl Calm {
    /// Notes how it is.
    pub(crate) fn before(server: &Server) -> Self {
        Self {
            memory: server.memory(),
        }
    }

    /// No more memory than it had before and may keep.
    pub(crate) fn bounded(&self, server: &Server) {
        let grown = server.memory().saturating_sub(self.memory);
        assert!(grown <= KEPT, "{} MiB more than before", grown >> 20);
    }

    /// Waits until it is as before: idle, and with bounded memory.
    pub(crate) async fn again(&self, server: &mut Server) {
        let deadline = Instant::now() + AFTERWARDS;
        loop {
            let before = server.worked();
            sleep(IDLE.1).await;
            let worked = server.worked() - before;
            if worked <= IDLE.0 {
                break;
            }
            assert!(Instant::now() < deadline, "still busy: {worked:?}");
        }
        self.bounded(server);
        assert!(server.alive(), "{}", server.log());
    }
}
