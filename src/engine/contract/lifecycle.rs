//! Subscribing, control commands and the end of an engine (engines.md 1.4 and 1.8).

use super::{ChannelEvent, Duration, PublishOptions, Subject, all, kept, member, numbered};
use crate::{
    engine::Error,
    model::{ClientId, Control, Disconnect, Target},
};

pub(crate) async fn subscribing_and_unsubscribing_may_be_repeated(mut subject: Subject) {
    let channel = subject.channel().await;
    subject.subscribe(&channel).await;
    let broker = subject.engine.broker.clone();
    subject.fill(&channel, 1..=1).await;
    subject.drain(1).await;
    subject.quiet(&channel).await;
    broker.unsubscribe(&channel).await.unwrap();
    broker.unsubscribe(&channel).await.unwrap();
    // What is published after the return of a subscribe arrives.
    subject.subscribe(&channel).await;
    let options = PublishOptions::default();
    subject.publish(&channel, numbered(7), &options).await;
    assert_eq!(subject.publication().await.0.data, "7");
}

pub(crate) async fn a_control_command_does_not_come_back(mut subject: Subject) {
    let channel = subject.channel().await;
    let target = Target::default();
    let command = Control::Disconnect(target, Disconnect::FORCE_DISCONNECT, Vec::new());
    let control = subject.engine.control.clone();
    control.send(None, &command).await.unwrap();
    control.send(None, &Control::Shutdown).await.unwrap();
    subject.quiet(&channel).await;
}

pub(crate) async fn a_closed_engine_refuses_everything(subject: Subject) {
    let channel = subject.channel().await;
    let broker = &subject.engine.broker;
    let presence = &subject.engine.presence;
    broker.close().await;
    broker.close().await;
    let closed = |result: Result<(), Error>| assert!(matches!(result, Err(Error::Closed)));
    for options in [PublishOptions::default(), kept(5)] {
        let result = broker.publish(&channel, numbered(1), &options).await;
        closed(result.map(drop));
    }
    let join = ChannelEvent::Join(member("1", "user"));
    closed(broker.announce(&channel, join).await);
    closed(broker.subscribe(&channel).await);
    closed(broker.unsubscribe(&channel).await);
    closed(broker.history(&channel, &all()).await.map(drop));
    closed(broker.remove_history(&channel, Duration::ZERO).await);
    closed(presence.add(&channel, &member("1", "user")).await);
    closed(presence.remove(&channel, &ClientId::from("1")).await);
    closed(presence.list(&channel).await.map(drop));
    closed(presence.stats(&channel).await.map(drop));
}
