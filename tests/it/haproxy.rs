//! One public address through HAProxy, with the very file that is shipped.

use crate::{
    harness::{Client, Front, Transport, on_every_transport, server},
    nginx::{
        breaks::{MESSAGES, many_streams_receive, pour, token},
        settings, talk,
    },
    support::HaProxy,
};

on_every_transport!(everything_works_on_one_port);

fn front(haproxy: &HaProxy) -> Front {
    Front::new(haproxy.port(), &haproxy.authority())
}

async fn everything_works_on_one_port(on: Transport) {
    let server = server(settings()).await;
    let Some(haproxy) = HaProxy::start(&server).await else {
        return;
    };
    talk(&mut on.through(&front(&haproxy)).await, &server).await;
    // It had nothing to complain about, and what it says it says about the file.
    let log = haproxy.log();
    assert!(!log.contains("WARNING") && !log.contains("ALERT"), "{log}");
}

#[tokio::test]
async fn streams_live_and_share_a_connection() {
    let server = server(settings()).await;
    let Some(haproxy) = HaProxy::start(&server).await else {
        return;
    };
    let channel = front(&haproxy).channel().await;
    // Here a client may wait for the beginning of the response before it sends anything.
    let mut client = Client::on(&channel).await;
    client.connect(token()).await;
    assert_eq!(pour(&mut client).await, MESSAGES);
    many_streams_receive(&channel, &server).await;
}
