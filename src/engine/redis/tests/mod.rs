//! The contract against a real server, in every mode, and what only Redis can get wrong.

use std::{future::pending, time::Duration};

use proptest::prelude::proptest;

use super::{Failure, Node, Options, Redis, fixture::RedisServer};
use crate::{
    engine::{
        EventReceiver,
        contract::{self, Clock, Subject, engine_contract},
        event_channel,
    },
    model::NodeId,
};

mod faults;
mod modes;
mod sharded;

/// An engine on this address, and its events.
async fn open(options: Options) -> Result<(Redis, Vec<EventReceiver>), Failure> {
    let (events, receivers) = event_channel(4, 256, Duration::from_secs(5));
    let node = Node {
        id: NodeId::from(uuid::Uuid::new_v4().to_string()),
        events,
        registry: prometheus::Registry::new(),
        namespace: "centrifugo".to_owned(),
    };
    Ok((Redis::connect(options, node).await?, receivers))
}

fn at(address: String) -> Options {
    Options {
        address: vec![address],
        ..Options::default()
    }
}

/// A subject whose servers end with its engine.
async fn subject(servers: Vec<RedisServer>, options: Options) -> Subject {
    let (redis, events) = open(options).await.unwrap();
    redis.tasks.lock().spawn(async move {
        let _servers = servers;
        pending().await
    });
    Subject {
        engine: redis.into_engine(),
        events,
        clock: Clock::Real,
    }
}

async fn standalone() -> Subject {
    let server = RedisServer::start("").await;
    let options = at(server.address());
    subject(vec![server], options).await
}

/// History in lists, RESP2, users in a hash of their own, two shards.
async fn lists() -> Subject {
    let servers = vec![RedisServer::start("").await, RedisServer::start("").await];
    let options = Options {
        address: servers.iter().map(RedisServer::address).collect(),
        history_use_lists: true,
        force_resp2: true,
        presence_user_mapping: true,
        ..Options::default()
    };
    subject(servers, options).await
}

async fn cluster() -> Subject {
    let server = RedisServer::start_cluster().await;
    let options = at(format!("redis+cluster://{}", server.address()));
    subject(vec![server], options).await
}

mod streams {
    use super::engine_contract;

    engine_contract!(
        crate::engine::redis::tests::standalone,
        tokio::test,
        publish,
        idempotency,
        version,
        history,
        announce,
        presence,
        lifecycle,
    );
    engine_contract!(
        crate::engine::redis::tests::standalone,
        tokio::test(flavor = "multi_thread", worker_threads = 2),
        concurrency,
    );
}

mod in_lists {
    use super::engine_contract;

    // Lists have no versions (engines.md 3.5), so neither group that needs them is here.
    engine_contract!(
        crate::engine::redis::tests::lists,
        tokio::test,
        publish,
        history,
        announce,
        presence,
        lifecycle,
        concurrency,
    );
}

mod in_a_cluster {
    use super::engine_contract;

    engine_contract!(
        crate::engine::redis::tests::cluster,
        tokio::test,
        publish,
        idempotency,
        version,
        history,
        announce,
        presence,
        lifecycle,
        concurrency,
    );
}

/// Random sequences against a naive model, on one engine: every sequence has a channel of its own.
fn model(open: impl AsyncFn() -> Subject) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let subject = parking_lot::Mutex::new(runtime.block_on(open()));
    proptest!(proptest::prelude::ProptestConfig::with_cases(64), |(steps in contract::model::steps())| {
        let subject = &mut *subject.lock();
        runtime.block_on(contract::model::history_agrees_with_a_naive_model(subject, steps));
    });
}

#[test]
fn streams_agree_with_a_naive_model() {
    model(standalone);
}

#[test]
fn lists_agree_with_a_naive_model() {
    model(lists);
}
