//! A chat server with the gateway inside: its own idea of who people are, its own remote calls, its own page.
//!
//! Run it with `cargo run --example embed`, then open http://localhost:3000/?name=ann and, in another tab, ?name=bob.

use std::{error::Error, sync::Arc};

use async_trait::async_trait;
use axum::{
    Router,
    extract::Request,
    http::header::CONTENT_TYPE,
    middleware::{Next, from_fn},
    response::{Html, Response},
    routing::get,
};
use bytes::Bytes;
use centripetal::{
    config::Config,
    hooks::{Client, Hooks, PublishAnswer},
    model::{Channel, ClientError, Credentials, Rejection, UserId},
    server::{Gateway, Stop},
};
use serde_json::{Value, json};

const SDK: &str = include_str!("../src/dev/centrifuge.js");

/// The chat's rules, on top of those of the configuration.
struct Chat(Arc<dyn Hooks>);

#[async_trait]
impl Hooks for Chat {
    fn standard(&self) -> Option<&dyn Hooks> {
        Some(&*self.0)
    }

    /// People speak in their own name.
    async fn publish(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
        data: Bytes,
    ) -> Result<PublishAnswer, Rejection> {
        let Ok(Value::String(text)) = serde_json::from_slice(&data) else {
            return Err(ClientError::BAD_REQUEST.into());
        };
        let message = json!({"from": client.user.as_str(), "text": text}).to_string();
        self.0
            .publish(client, channel, subscribed, message.into())
            .await
    }

    async fn rpc(&self, client: &Client, method: &str, data: Bytes) -> Result<Bytes, Rejection> {
        match method {
            "whoami" => Ok(json!(client.user.as_str()).to_string().into()),
            "shout" => Ok(data.to_ascii_uppercase().into()),
            _ => self.0.rpc(client, method, data).await,
        }
    }
}

/// Who is it? Here whoever the address names; in earnest the owner of a session cookie.
async fn identify(mut request: Request, next: Next) -> Response {
    let name = request
        .uri()
        .query()
        .and_then(|query| query.strip_prefix("name="));
    if let Some(user) = name.filter(|name| !name.is_empty()).map(UserId::from) {
        request.extensions_mut().insert(Credentials {
            user,
            ..Credentials::default()
        });
    }
    next.run(request).await
}

/// Serves the chat until it is told to stop.
pub(crate) async fn serve(port: u16, stop: &Stop) -> Result<(), Box<dyn Error>> {
    let config = Config::from_value(json!({
        "http_server": {"address": "127.0.0.1", "port": port},
        "client": {"allowed_origins": ["http://localhost:*"]},
        "channel": {"namespaces": [{"name": "chat", "presence": true, "join_leave": true, "force_push_join_leave": true,
            "history_size": 100, "history_ttl": "1h", "force_recovery": true, "allow_subscribe_for_client": true,
            "allow_publish_for_subscriber": true, "allow_history_for_subscriber": true, "allow_presence_for_subscriber": true}]},
        "centripetal": {"grpc": {"enabled": false}},
    }))?;
    let page = Router::new()
        .route("/", get(|| async { Html(include_str!("embed.html")) }))
        .route(
            "/centrifuge.js",
            get(|| async { ([(CONTENT_TYPE, "text/javascript")], SDK) }),
        );
    let gateway = Gateway::builder(&config)
        .hooks(|standard| Arc::new(Chat(standard)))
        .around_clients(|clients| clients.layer(from_fn(identify)))
        .page("/", page)
        .build()
        .await?;
    gateway.run(stop).await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = Stop::default();
    let end = async {
        tokio::signal::ctrl_c().await?;
        stop.wish();
        Ok(())
    };
    tokio::try_join!(serve(3000, &stop), end).map(|_ended| ())
}
