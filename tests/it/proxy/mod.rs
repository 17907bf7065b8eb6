//! The application answers (proxy.md): the example backend of `examples/backend/` as a process of its own, asked over HTTP
//! and over gRPC.

mod application;
mod clients;
mod faults;
mod headers;
mod streams;

use serde_json::{Value, json};

use crate::{
    harness::{Client, Metric, Transport},
    support::{Running, Server, backend_python, backend_rust, http_client},
};

/// How the backend is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Http,
    Grpc,
}

impl Way {
    /// Label of metrics.
    fn protocol(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// Turns behaviours, `async fn name(way: Way)`, into a test for each way.
macro_rules! on_both_ways {
    ($($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            use super::super::Way;

            #[tokio::test]
            async fn http() {
                Box::pin(super::$behaviour(Way::Http)).await;
            }

            #[tokio::test]
            async fn grpc() {
                Box::pin(super::$behaviour(Way::Grpc)).await;
            }
        }
    )+};
}

use on_both_ways;

/// A running backend.
#[derive(Debug)]
struct Backend {
    _process: Running,
    http: String,
    grpc: String,
}

impl Backend {
    /// The one in Rust, on any port.
    async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// The one in Rust, on this port; it listens when this returns.
    async fn start_at(address: &str) -> Self {
        let mut process = backend_rust(address).start_alone("backend");
        let line = process.line().await;
        let address = line.rsplit(' ').next().unwrap_or_default().to_owned();
        Self {
            _process: process,
            http: address.clone(),
            grpc: address,
        }
    }

    /// The one in Python.
    async fn python() -> Option<Self> {
        let program = backend_python("127.0.0.1:0", "127.0.0.1:0")?;
        let mut process = program.start_alone("backend in Python");
        let line = process.line().await;
        let mut words = line.rsplit(' ');
        let (grpc, http) = (words.next(), words.next());
        Some(Self {
            grpc: grpc.unwrap_or_default().to_owned(),
            http: http.unwrap_or_default().to_owned(),
            _process: process,
        })
    }

    /// How often something was asked, by the backend's own count.
    async fn asked(&self, what: &str) -> u64 {
        let url = format!("http://{}/rpc", self.http);
        let question = http_client().post(url).body(r#"{"method":"asked"}"#);
        let answer = question.send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["result"]["data"][what].as_u64().unwrap_or_default()
    }

    /// Options of the proxy for one kind of question.
    fn proxy(&self, way: Way, kind: &str) -> Value {
        let endpoint = match way {
            Way::Http => format!("http://{}/{kind}", self.http),
            Way::Grpc => format!("grpc://{}", self.grpc),
        };
        // The machine may be busy; what is about time has settings of its own.
        json!({"endpoint": endpoint, "timeout": "10s"})
    }

    /// A gateway that asks about everything. `rooms` and `said` ask, `open` does not; RPC has namespaces.
    fn settings(&self, way: Way) -> Value {
        let proxy = |kind| self.proxy(way, kind);
        let on = |mut proxy: Value| {
            proxy["enabled"] = json!(true);
            proxy
        };
        let mut settings = json!({
            "client": {
                "proxy": {"connect": on(proxy("connect")), "refresh": on(proxy("refresh"))},
                "presence_update_interval": "1s",
                "expired_sub_close_delay": "1s",
            },
            "channel": {
                "proxy": {
                    "subscribe": proxy("subscribe"),
                    "publish": proxy("publish"),
                    "sub_refresh": proxy("sub_refresh"),
                },
                "namespaces": [
                    {"name": "rooms", "subscribe_proxy_enabled": true, "sub_refresh_proxy_enabled": true,
                        "history_size": 10, "history_ttl": "60s", "allow_recovery": true,
                        "allow_presence_for_subscriber": true},
                    {"name": "said", "publish_proxy_enabled": true, "allow_subscribe_for_client": true},
                    {"name": "open", "allow_subscribe_for_client": true, "allow_publish_for_client": true},
                ],
            },
            "rpc": {
                "proxy": proxy("rpc"),
                "without_namespace": {"proxy_enabled": true},
                "namespaces": [{"name": "chat", "proxy_enabled": true}, {"name": "off"}],
            },
        });
        if way == Way::Grpc {
            settings["channel"]["proxy"]["subscribe_stream"] = proxy("");
        }
        settings
    }
}

/// Puts options on every proxy of the settings.
fn on_all_proxies(settings: &mut Value, change: impl Fn(&mut Value)) {
    for place in [
        "/client/proxy/connect",
        "/client/proxy/refresh",
        "/channel/proxy/subscribe",
        "/channel/proxy/publish",
        "/channel/proxy/sub_refresh",
        "/rpc/proxy",
    ] {
        let proxy = settings.pointer_mut(place);
        change(proxy.unwrap_or_else(|| panic!("no {place}")));
    }
}

/// A call that must be answered.
async fn rpc(client: &mut Client, method: &str, data: Value) -> Value {
    let mut reply = client
        .call(json!({"rpc": {"method": method, "data": data}}))
        .await;
    assert!(reply.get("rpc").is_some(), "{method}: {reply}");
    reply["rpc"]["data"].take()
}

/// A counter or gauge of one kind of question to a default proxy.
async fn series<'a>(server: &'a Server, name: &'static str, way: Way, kind: &str) -> Metric<'a> {
    let labels = [
        ("protocol", way.protocol()),
        ("type", kind),
        ("name", "default"),
    ];
    Metric::of(server, name, &labels).await
}

/// A connection that the backend lets in.
async fn introduced(on: Transport, server: &Server, name: &str) -> Client {
    on.connect(server, json!({"data": {"name": name}})).await
}
