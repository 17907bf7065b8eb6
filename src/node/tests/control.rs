//! Calls made at another node than the one the client is connected to.

use super::{bus::*, *};
use crate::model::{
    Control as Message, NodeId, RecoveryMode, Refresh, StreamPosition, SubscribeSource,
};

fn user(name: &str) -> Target {
    Target {
        user: name.into(),
        ..Target::default()
    }
}

fn subscribe(channel: &str) -> SubscribeCommand {
    SubscribeCommand {
        channel: channel.into(),
        options: SubscribeOptions {
            source: SubscribeSource::ServerApi,
            data: r#"{"d":1}"#.into(),
            ..granted()
        },
        recover_since: None,
    }
}

#[tokio::test]
async fn actions_reach_the_connections_of_other_nodes() {
    let (_bus, [(a, _), (b, _)]) = Bus::fleet().await;
    let mut client = connected(&b, "u").await;
    let mut bystander = connected(&b, "v").await;
    a.subscribe(user("u"), subscribe("ch")).await.unwrap();
    let push = client.next().await;
    assert_eq!(push["push"]["subscribe"]["positioned"], true, "{push}");
    assert_eq!(push["push"]["subscribe"]["data"]["d"], 1);
    assert_eq!(client.next().await["push"]["join"]["info"]["user"], "u");
    // What is published at one node arrives at the other.
    a.publish(&"ch".into(), publish("1")).await.unwrap();
    assert_eq!(client.next().await["push"]["pub"]["offset"], 1);
    assert_eq!(a.presence(&"ch".into()).await.unwrap().len(), 1);
    a.unsubscribe(user("u"), "ch".into(), Unsubscribe::SERVER)
        .await
        .unwrap();
    assert_eq!(client.next().await["push"]["unsubscribe"]["code"], 2000);
    let refresh = Refresh {
        expire_at: Shared::now().unix() + 3600,
        ..Refresh::default()
    };
    a.refresh(user("u"), refresh).await.unwrap();
    let push = client.next().await;
    assert_eq!(push["push"]["refresh"]["expires"], true, "{push}");
    a.disconnect(user("u"), Disconnect::FORCE_DISCONNECT, vec![])
        .await
        .unwrap();
    assert_eq!(client.close_code().await, 3503);
    bystander
        .send(&[json!({"id": 2, "presence": {"channel": "ch"}})])
        .await;
    assert_eq!(bystander.next().await["presence"]["presence"], json!({}));
}

#[tokio::test]
async fn conditions_narrow_on_every_node() {
    let (_bus, [(a, _), (b, _)]) = Bus::fleet().await;
    let mut kept = connected(&b, "u").await;
    kept.send(&[json!({"id": 2, "subscribe": {"channel": "ch"}})])
        .await;
    kept.next().await;
    let keep = a.presence(&"ch".into()).await.unwrap();
    let keep = keep.keys().next().unwrap().clone();
    let other = connected(&b, "u").await;
    let here = connected(&a, "u").await;
    let anonymous = connected(&b, "").await;
    let why = Disconnect::FORCE_DISCONNECT;
    for missing in [
        Target {
            client: Some("nobody".into()),
            ..user("u")
        },
        Target {
            session: Some("s".to_owned()),
            ..user("u")
        },
        Target {
            labels: Some(Box::default()),
            ..user("u")
        },
    ] {
        a.disconnect(missing, why.clone(), vec![]).await.unwrap();
    }
    a.disconnect(user("u"), why.clone(), vec![keep])
        .await
        .unwrap();
    assert_eq!(other.close_code().await, 3503);
    assert_eq!(here.close_code().await, 3503);
    // The empty user is the anonymous one.
    a.disconnect(user(""), Disconnect::SHUTDOWN, vec![])
        .await
        .unwrap();
    assert_eq!(anonymous.close_code().await, 3001);
    kept.send(&[json!({"id": 3, "presence_stats": {"channel": "ch"}})])
        .await;
    let reply = kept.next().await;
    assert_eq!(reply["presence_stats"]["num_clients"], 1, "{reply}");
    let everybody = Target {
        all_users: true,
        ..Target::default()
    };
    a.disconnect(everybody, Disconnect::FORCE_RECONNECT, vec![])
        .await
        .unwrap();
    assert_eq!(kept.close_code().await, 3011);
}

#[tokio::test]
async fn nothing_is_done_here_when_the_others_cannot_be_told() {
    let (_bus, [(a, plug), _]) = Bus::fleet().await;
    let mut client = connected(&a, "u").await;
    plug.faults.lock().dumb = true;
    let refused = |result: Result<(), super::super::Error>| {
        assert!(matches!(
            result,
            Err(super::super::Error::Internal(Some(_)))
        ));
    };
    refused(a.subscribe(user("u"), subscribe("ch")).await);
    refused(
        a.unsubscribe(user("u"), "ch".into(), Unsubscribe::SERVER)
            .await,
    );
    refused(a.refresh(user("u"), Refresh::default()).await);
    refused(
        a.disconnect(user("u"), Disconnect::FORCE_DISCONNECT, vec![])
            .await,
    );
    client.send(&[json!({"id": 2, "rpc": {"data": 1}})]).await;
    let reply = client.next().await;
    assert_eq!(reply["rpc"]["data"], 1, "no push came before: {reply}");
}

#[tokio::test]
async fn codes_are_taken_as_sent_and_an_empty_channel_is_only_told() {
    let (bus, [(_a, _)]) = Bus::fleet().await;
    let (b, _plug) = bus.node("b");
    let mut client = subscribed(&b, "u", false).await;
    let from = NodeId::from("elsewhere");
    let none = || Unsubscribe {
        code: 0,
        reason: "".into(),
    };
    let unsubscribe = Message::Unsubscribe(user("u"), "".into(), Unsubscribe::SERVER);
    bus.deliver(&from, None, &unsubscribe).await;
    let push = client.next().await;
    assert_eq!(
        push,
        json!({"push": {"unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}})
    );
    bus.deliver(
        &from,
        None,
        &Message::Unsubscribe(user("u"), "ch".into(), none()),
    )
    .await;
    let push = client.next().await;
    assert_eq!(
        push,
        json!({"push": {"channel": "ch", "unsubscribe": {"code": 0, "reason": ""}}})
    );
    let why = Disconnect {
        code: 0,
        reason: "".into(),
    };
    bus.deliver(&from, None, &Message::Disconnect(user("u"), why, vec![]))
        .await;
    assert_eq!(client.close_code().await, 0);
}

#[tokio::test]
async fn a_subscription_of_another_node_takes_the_rest_from_the_namespace() {
    let (bus, [(b, _)]) = Bus::fleet().await;
    let from = NodeId::from("elsewhere");
    let sent = |channel: &str, options| {
        let command = SubscribeCommand {
            channel: channel.into(),
            options,
            recover_since: Some(StreamPosition {
                offset: 0,
                epoch: "gone".into(),
            }),
        };
        Message::Subscribe(user("u"), Box::new(command))
    };
    let mut client = connected(&b, "u").await;
    // Recovery needs a position, whether the sender says so or not.
    let options = SubscribeOptions {
        recoverable: true,
        expire_at: Some(Shared::now().unix() + 60),
        ..SubscribeOptions::default()
    };
    bus.deliver(&from, None, &sent("ch", options)).await;
    let push = client.next().await;
    let subscribe = &push["push"]["subscribe"];
    assert_eq!(
        (&subscribe["recoverable"], &subscribe["positioned"]),
        (&json!(true), &json!(true)),
        "{push}"
    );
    // Nobody is subscribed to what has expired, or to nothing.
    let expired = SubscribeOptions {
        expire_at: Some(1),
        ..SubscribeOptions::default()
    };
    bus.deliver(&from, None, &sent("ch:old", expired)).await;
    bus.deliver(&from, None, &sent("", SubscribeOptions::default()))
        .await;
    bus.deliver(&from, None, &sent("ch:new", SubscribeOptions::default()))
        .await;
    assert_eq!(client.next().await["push"]["channel"], "ch:new");
    let command = SubscribeCommand {
        channel: "ch".into(),
        options: SubscribeOptions {
            recovery_mode: RecoveryMode::Cache,
            auto_cache_recover: true,
            ..SubscribeOptions::default()
        },
        recover_since: None,
    };
    let resolved = b.shared.resolved(command).options;
    assert_eq!(resolved.recovery_mode, RecoveryMode::Stream);
    assert!(!resolved.auto_cache_recover);
    assert!(resolved.server_side_refresh, "as the namespace says");
}

#[tokio::test]
async fn a_single_connection_displaces_the_one_at_another_node() {
    let (_bus, [(a, _), (b, _)]) = Bus::fleet().await;
    let first = connected(&a, "single").await;
    until_present(&a).await;
    let mut second = connected(&b, "single").await;
    assert_eq!(first.close_code().await, 3504);
    second.send(&[json!({"id": 2, "rpc": {"data": 1}})]).await;
    loop {
        let reply = second.next().await;
        if reply["id"] == 2 {
            break;
        }
    }
}

async fn until_present(node: &Node) {
    while node.presence(&"ch#single".into()).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}
