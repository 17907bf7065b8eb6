//! What goes wrong: no server, wrong passwords, lost connections, lost scripts, no memory, metadata that vanished.

use super::{
    modes::{event, first_of_another_epoch, kept, numbered, publication},
    *,
};
use crate::{
    engine::{Broker as _, Error, HistoryQuery, Presence as _, PublishOptions},
    model::{Channel, ClientId, ClientInfo},
};

fn refused(opened: Result<(Redis, Vec<EventReceiver>), Failure>) -> String {
    opened.unwrap_err().to_string()
}

#[tokio::test]
async fn without_redis_there_is_no_start() {
    let mut server = RedisServer::start("").await;
    let options = at(server.address());
    server.kill();
    let error = refused(open(options).await);
    assert!(
        error.contains("cannot connect") && error.contains(&server.address()),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let server = RedisServer::start("requirepass right").await;
    let with = |password: &str| Options {
        password: password.into(),
        ..at(server.address())
    };
    let error = refused(open(with("wr0ng")).await);
    assert!(
        error.contains("refuses user or password") && !error.contains("wr0ng"),
        "{error}"
    );
    assert!(refused(open(with("")).await).contains("NOAUTH"));
    assert!(open(with("right")).await.is_ok());
}

#[tokio::test]
async fn hash_field_lives_need_a_newer_server() {
    let server = RedisServer::start("").await;
    let known = server
        .command("COMMAND INFO HEXPIRE")
        .await
        .contains("hexpire");
    let options = Options {
        presence_hash_field_ttl: true,
        ..at(server.address())
    };
    let opened = open(options).await;
    assert_eq!(opened.is_ok(), known);
    if let Err(error) = opened {
        assert!(error.to_string().contains("7.4"), "{error}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_anew_with_all_subscriptions() {
    let server = RedisServer::start("").await;
    let (node, mut heard) = open(at(server.address())).await.unwrap();
    let channels: Vec<_> = (0..1200).map(|n| Channel::from(format!("c:{n}"))).collect();
    let subscribing = channels.iter().map(|channel| node.subscribe(channel));
    futures_util::future::try_join_all(subscribing)
        .await
        .unwrap();
    for round in 0..3 {
        server.command("CLIENT KILL TYPE pubsub").await;
        server.command("CLIENT KILL TYPE normal").await;
        // A subscribe waits for the new connection, on which everything older is subscribed already.
        node.subscribe(&Channel::from("new")).await.unwrap();
        for channel in channels.iter().step_by(97) {
            // The first command on a connection that was killed fails: it may have been executed.
            let mut published = node
                .publish(channel, numbered(round), &PublishOptions::default())
                .await;
            if published.is_err() {
                published = node
                    .publish(channel, numbered(round), &PublishOptions::default())
                    .await;
            }
            published.unwrap();
            assert_eq!(
                publication(&mut heard).await,
                (channel.clone(), round.to_string())
            );
        }
    }
    node.unsubscribe(&channels[0]).await.unwrap();
    assert!(
        server
            .command("PUBSUB NUMSUB centrifugo.client.c:0")
            .await
            .contains(":0")
    );
}

#[tokio::test]
async fn a_restarted_server_gets_its_scripts_again() {
    let mut server = RedisServer::start("").await;
    let (node, mut heard) = open(at(server.address())).await.unwrap();
    let channel = Channel::from("c");
    node.subscribe(&channel).await.unwrap();
    let first = node.publish(&channel, numbered(1), &kept()).await.unwrap();
    assert_eq!(publication(&mut heard).await.1, "1");
    server.command("SCRIPT FLUSH").await;
    let second = node.publish(&channel, numbered(2), &kept()).await.unwrap();
    assert_eq!(
        (second.position.offset, &second.position.epoch),
        (2, &first.position.epoch)
    );
    assert_eq!(publication(&mut heard).await.1, "2");
    server.restart().await;
    // Subscribed again once this returns.
    node.subscribe(&Channel::from("other")).await.unwrap();
    let third = loop {
        // Connections of before the restart end with an error each.
        if let Ok(third) = node.publish(&channel, numbered(3), &kept()).await {
            break third;
        }
    };
    assert_eq!(third.position.offset, 1);
    assert_ne!(third.position.epoch, first.position.epoch);
    assert_eq!(first_of_another_epoch(&mut heard).await.1, "3");
}

#[tokio::test]
async fn a_server_that_hangs_fails_calls_in_time() {
    let server = RedisServer::start("").await;
    let options = Options {
        io_timeout: Duration::from_millis(400),
        ..at(server.address())
    };
    let (node, mut heard) = open(options).await.unwrap();
    let channel = Channel::from("c");
    node.subscribe(&channel).await.unwrap();
    node.publish(&channel, numbered(1), &kept()).await.unwrap();
    assert_eq!(publication(&mut heard).await.1, "1");
    server.hang(true);
    let error = node
        .publish(&channel, numbered(2), &kept())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Redis(Failure::Timeout(_))),
        "{error}"
    );
    assert!(error.to_string().contains("may have been done"));
    server.hang(false);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    // The listening connection may have been given up meanwhile; a subscribe waits for the next.
    while node.subscribe(&channel).await.is_err()
        || node
            .publish(&channel, numbered(3), &PublishOptions::default())
            .await
            .is_err()
    {
        assert!(tokio::time::Instant::now() < deadline);
    }
    loop {
        // The one that timed out may come first.
        if publication(&mut heard).await.1 == "3" {
            return;
        }
    }
}

#[tokio::test]
async fn a_full_server_refuses_and_changes_nothing() {
    let server = RedisServer::start("").await;
    let (node, _heard) = open(at(server.address())).await.unwrap();
    let channel = Channel::from("c");
    node.publish(&channel, numbered(1), &kept()).await.unwrap();
    server.command("CONFIG SET maxmemory 1").await;
    let error = node
        .publish(&channel, numbered(2), &kept())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Redis(Failure::OutOfMemory)),
        "{error}"
    );
    server.command("CONFIG SET maxmemory 0").await;
    let result = node.publish(&channel, numbered(3), &kept()).await.unwrap();
    assert_eq!(result.position.offset, 2);
}

#[tokio::test]
async fn entries_without_their_metadata_are_not_shown() {
    let server = RedisServer::start("").await;
    let (node, _heard) = open(at(server.address())).await.unwrap();
    let channel = Channel::from("c");
    for number in 1..4 {
        node.publish(&channel, numbered(number), &kept())
            .await
            .unwrap();
    }
    server.command("DEL centrifugo.stream.meta.c").await;
    let history = node
        .history(&channel, &HistoryQuery::default())
        .await
        .unwrap();
    assert_eq!(
        (history.publications.len(), history.position.offset),
        (0, 0)
    );
    // Metadata that is older than the entries, as after a restart from old data.
    node.publish(&channel, numbered(1), &kept()).await.unwrap();
    node.publish(&channel, numbered(2), &kept()).await.unwrap();
    server.command("HSET centrifugo.stream.meta.c s 1").await;
    let history = node
        .history(&channel, &HistoryQuery::default())
        .await
        .unwrap();
    assert_eq!(
        (history.publications.len(), history.position.offset),
        (1, 1)
    );
}

/// As after a failover to a replica that lacked the newest publications.
#[tokio::test]
async fn offsets_that_are_given_out_again_are_told_and_nobody_recovers_from_them() {
    let server = RedisServer::start("").await;
    let (node, mut heard) = open(at(server.address())).await.unwrap();
    let node = node.into_engine().broker;
    let channel = Channel::from("c");
    node.subscribe(&channel).await.unwrap();
    let query = HistoryQuery::default();
    node.history(&channel, &query).await.unwrap();
    let mut last = crate::model::StreamPosition::default();
    for number in 1..4 {
        let published = node.publish(&channel, numbered(number), &kept()).await;
        last = published.unwrap().position;
        assert_eq!(publication(&mut heard).await.1, number.to_string());
    }
    server.command("DEL centrifugo.stream.c").await;
    server.command("HSET centrifugo.stream.meta.c s 1").await;
    node.publish(&channel, numbered(12), &kept()).await.unwrap();
    match event(&mut heard).await {
        crate::engine::Event::Channel(_, crate::model::ChannelEvent::InsufficientState(None)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(publication(&mut heard).await.1, "12");
    node.publish(&channel, numbered(13), &kept()).await.unwrap();
    let since = |offset| HistoryQuery {
        since: Some(crate::model::StreamPosition {
            offset,
            epoch: last.epoch.clone(),
        }),
        ..HistoryQuery::default()
    };
    // The last position is there again, and is not what it was.
    let refused = node.history(&channel, &since(last.offset)).await;
    assert!(
        matches!(refused, Err(Error::UnrecoverablePosition(_))),
        "{refused:?}"
    );
    let whole = node.history(&channel, &since(1)).await.unwrap();
    assert_eq!(whole.publications.len(), 2);
}

#[tokio::test]
async fn names_that_would_meet_are_refused() {
    let server = RedisServer::start("").await;
    let (node, _heard) = open(at(server.address())).await.unwrap();
    let channel = Channel::from("meta.x");
    let refused = node.publish(&channel, numbered(1), &kept()).await;
    assert!(matches!(refused, Err(Error::BadChannel(_))));
    node.publish(&channel, numbered(1), &PublishOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn presence_nobody_renews_ends_by_the_clock_of_the_server() {
    let server = RedisServer::start("").await;
    for presence_user_mapping in [false, true] {
        let options = Options {
            presence_ttl: Duration::from_secs(3),
            presence_user_mapping,
            prefix: format!("p{presence_user_mapping}"),
            ..at(server.address())
        };
        let (node, _heard) = open(options).await.unwrap();
        let channel = Channel::from("c");
        let info = |client: &str| {
            std::sync::Arc::new(ClientInfo {
                client: client.into(),
                user: "u".into(),
                ..ClientInfo::default()
            })
        };
        node.add(&channel, &info("gone")).await.unwrap();
        node.add(&channel, &info("stays")).await.unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            node.add(&channel, &info("stays")).await.unwrap();
            let stats = node.stats(&channel).await.unwrap();
            assert_eq!(stats.users, 1);
            if stats.clients == 1 {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline);
        }
        assert!(
            node.list(&channel)
                .await
                .unwrap()
                .contains_key(&ClientId::from("stays"))
        );
        // One connection of the user is counted once, although another has expired.
        node.remove(&channel, &"stays".into()).await.unwrap();
        let stats = node.stats(&channel).await.unwrap();
        assert_eq!((stats.clients, stats.users), (0, 0));
    }
}

#[tokio::test]
async fn garbage_in_a_channel_is_counted_and_harms_nobody() {
    let server = RedisServer::start("").await;
    let (events, mut heard) = event_channel(1, 16, Duration::from_secs(5));
    let registry = prometheus::Registry::new();
    let node = Node {
        id: NodeId::from("n"),
        events,
        registry: registry.clone(),
        namespace: "centrifugo".to_owned(),
    };
    let redis = Redis::connect(at(server.address()), node).await.unwrap();
    let channel = Channel::from("c");
    redis.subscribe(&channel).await.unwrap();
    for payload in ["__p__x", "__x", "nonsense", "__d1:1:e:99:"] {
        server
            .command(&format!("PUBLISH centrifugo.client.c {payload}"))
            .await;
        server
            .command(&format!("PUBLISH centrifugo.control {payload}"))
            .await;
    }
    redis
        .publish(&channel, numbered(1), &PublishOptions::default())
        .await
        .unwrap();
    drop(event(&mut heard).await);
    let families = registry.gather();
    let errors = families
        .iter()
        .find(|family| family.name() == "centrifugo_broker_redis_pub_sub_errors")
        .unwrap();
    let counted: f64 = errors
        .get_metric()
        .iter()
        .map(|metric| metric.get_counter().get_value())
        .sum();
    assert!(counted >= 4.0, "{counted}");
}
