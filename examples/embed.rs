//! A whole gateway inside a program of yours, which publishes into it without a network in between.
//!
//! Run it with `cargo run --example embed`, then listen with `cargo run -- sub clock`. Ctrl-C ends both.

use std::{error::Error, time::Duration};

use centripetal::{
    config::Config,
    model::Channel,
    node::Publish,
    server::{Gateway, Stop},
};
use serde_json::json;
use tokio::time::interval;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // What a configuration file would hold; keys and defaults are the same.
    let config = Config::from_value(json!({
        "http_server": {"address": "127.0.0.1"},
        "client": {"insecure": true},
    }))?;
    // `from_value` checks rules; a program should also not switch on what does not exist yet.
    config.refuse_missing()?;

    let gateway = Gateway::build(&config, None).await?;
    let node = gateway.node().clone();
    let stop = Stop::default();

    let clock = async {
        let (channel, mut seconds) = (Channel::from("clock"), interval(Duration::from_secs(1)));
        for tick in 0_u64.. {
            seconds.tick().await;
            let data = json!({"tick": tick}).to_string().into();
            let publish = Publish {
                data,
                ..Publish::default()
            };
            node.publish(&channel, publish).await?;
        }
        Ok::<(), centripetal::node::Error>(())
    };
    let work = async {
        // Whatever happens first ends the gateway: Ctrl-C, or a publish that failed.
        let result: Result<(), Box<dyn Error>> = tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed.map_err(Into::into),
            failed = clock => failed.map_err(Into::into),
        };
        stop.wish();
        result
    };
    let (outcome, result) = tokio::join!(gateway.run(&stop), work);
    result?;
    // Connections that did not end within the grace period were cut off and counted.
    assert_eq!(outcome.aborted, 0);
    Ok(())
}
