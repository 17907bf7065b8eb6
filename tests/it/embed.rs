//! The gateway inside another program: the example that is one, spoken to by the official JavaScript SDK.

use std::time::Duration;

use centripetal::server::Stop;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::support::{free_ports, sdk_javascript};

#[expect(dead_code, reason = "its `main` is for those who run it as an example")]
#[path = "../../examples/embed.rs"]
mod chat;

/// How long everything may take.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_with_its_own_rules_serves_the_official_client() {
    let Some(program) = sdk_javascript("embed.mjs") else {
        return;
    };
    let ([port], stop) = (free_ports(), Stop::default());
    let address = format!("127.0.0.1:{port}");
    let people = async {
        let listening = async {
            while TcpStream::connect(&address).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(
            timeout(LIMIT, listening).await.is_ok(),
            "it does not listen"
        );
        let output = program.run_alone(&[&address], LIMIT).await;
        stop.wish();
        output
    };
    let (served, output) = tokio::join!(chat::serve(port, &stop), people);
    assert!(served.is_ok(), "{served:?}");
    assert!(
        output.success && output.text.contains("ok"),
        "{}",
        output.text
    );
}
