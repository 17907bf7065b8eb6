//! A whole server on free ports: both transports, limits, and its end.

use futures_util::{SinkExt, StreamExt};
use prometheus::Registry;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error as WsError, Message},
};

use super::*;
use crate::transport::{
    ClientConfig, Origins,
    grpc::{Communicate, Routes},
    testing::{self, Echo},
    websocket,
};

const GRACE: ShutdownConfig = ShutdownConfig {
    timeout: Duration::from_secs(5),
};

struct Running {
    http: SocketAddr,
    grpc: SocketAddr,
    stop: Stop,
    done: tokio::task::JoinSet<Outcome>,
}

fn client() -> ClientConfig {
    ClientConfig {
        allowed_origins: Vec::new(),
        ping_interval: None,
        pong_timeout: None,
        stale_close_delay: Duration::from_secs(10),
        user_id_http_header: String::new(),
    }
}

fn websocket_config() -> websocket::Config {
    websocket::Config {
        disabled: false,
        handler_prefix: "/connection/websocket".to_owned(),
        compression: false,
        compression_min_size: 0,
        compression_level: 1,
        write_timeout: Duration::from_secs(1),
        message_size_limit: 65536,
        decompressed_message_size_limit: 0,
    }
}

/// WebSocket behind a limit, and health.
fn paths(echo: &Echo, sessions: &Tasks, most: usize) -> http::Paths {
    let (config, client, registry) = (websocket_config(), client(), Registry::new());
    let endpoint = websocket::Endpoint::new(websocket::Parts {
        serve: echo.clone(),
        config: &config,
        uni: None,
        client: &client,
        origins: Arc::new(Origins::new(&client.allowed_origins).unwrap()),
        peers: Arc::default(),
        tasks: sessions.clone(),
        metrics: transport::Metrics::new(&registry, "centrifugo").unwrap(),
    });
    let limits = limits::Config {
        connection_limit: most,
        connection_rate_limit: 0,
    };
    let counted = sessions.clone();
    let now = move || counted.reap();
    let limits = limits::ConnectionLimits::new(limits, &registry, "centrifugo", now).unwrap();
    let guarded = Arc::new(limits).guard(endpoint.into_router());
    let mut paths = http::Paths::default();
    paths
        .exact("websocket", &config.handler_prefix, guarded)
        .unwrap();
    paths.exact("health", "/health", health()).unwrap();
    paths
}

fn services(echo: &Echo, sessions: &Tasks, health: &Health) -> Router {
    let communicate = Communicate::new(
        echo.clone(),
        &testing::grpc_config(),
        Duration::from_secs(1),
        Arc::default(),
        sessions.clone(),
    );
    let routes = grpc::routes(Routes {
        communicate,
        health: health.clone(),
        reflection: true,
        more: None,
    });
    routes.unwrap()
}

/// A server with both transports; gRPC shares the HTTP port as well.
async fn start(most: usize, goodbye: impl FnOnce(Tasks) -> Steps) -> Running {
    let (echo, sessions) = (Echo::default(), Tasks::default());
    let (health, grpc_config, client) = (Health::serving().await, testing::grpc_config(), client());
    let services = services(&echo, &sessions, &health);
    let listener = |paths, grpc| HttpListener {
        host: "127.0.0.1".to_owned(),
        port: 0,
        paths,
        grpc,
        h2c: false,
        entrance: Entrance::default(),
    };
    let server = Server::bind(Parts {
        http: vec![
            listener(paths(&echo, &sessions, most), Some(services.clone())),
            listener(http::Paths::default(), None),
        ],
        grpc: vec![grpc_listener(0, services)],
        grpc_config: &grpc_config,
        client: &client,
        health,
        sessions: sessions.clone(),
        metrics: http::Metrics::new(&Registry::new(), "centrifugo", false).unwrap(),
    });
    let server = server.await.unwrap();
    let addresses = server.http_addresses().unwrap();
    assert_eq!(addresses.len(), 1, "a listener without handlers was opened");
    let grpc = server.grpc_addresses().unwrap()[0];
    let (stop, steps) = (Stop::default(), goodbye(sessions));
    let (mut done, wish) = (tokio::task::JoinSet::new(), stop.clone());
    done.spawn(async move { server.run(&wish, GRACE, steps).await });
    Running {
        http: addresses[0],
        grpc,
        stop,
        done,
    }
}

fn nothing(_: Tasks) -> Steps {
    Steps {
        sessions: Box::pin(async {}),
        engine: Box::pin(async {}),
        telemetry: Box::pin(async {}),
    }
}

/// Sessions are ended from outside, as a node would.
fn abort(sessions: Tasks) -> Steps {
    Steps {
        sessions: Box::pin(async move {
            sessions.abort_all();
        }),
        ..nothing(Tasks::default())
    }
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

impl Running {
    async fn websocket(&self) -> Result<Socket, WsError> {
        let url = format!("ws://{}/connection/websocket", self.http);
        connect_async(url).await.map(|(socket, _)| socket)
    }

    async fn end(&mut self) -> Outcome {
        self.done.join_next().await.unwrap().unwrap()
    }
}

async fn channel(address: SocketAddr) -> tonic::transport::Channel {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

async fn check_health(address: SocketAddr) -> i32 {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let mut client = HealthClient::new(channel(address).await);
    let answer = client.check(HealthCheckRequest::default()).await.unwrap();
    answer.into_inner().status
}

#[tokio::test]
async fn everything_is_served_until_the_end() {
    let mut running = start(0, abort).await;
    let mut socket = running.websocket().await.unwrap();
    socket.send(Message::text("hi")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hi"));
    assert_eq!(check_health(running.grpc).await, 1);
    assert_eq!(check_health(running.http).await, 1);
    running.stop.wish();
    let outcome = running.end().await;
    assert_eq!(outcome, Outcome::default());
    assert!(!matches!(socket.next().await, Some(Ok(_))));
    assert!(running.websocket().await.is_err());
}

#[tokio::test]
async fn a_full_node_refuses_before_the_upgrade() {
    let running = start(1, nothing).await;
    let _first = running.websocket().await.unwrap();
    let Err(WsError::Http(answer)) = running.websocket().await else {
        panic!("not refused");
    };
    assert_eq!(answer.status(), 503);
    assert!(answer.body().as_ref().is_none_or(Vec::is_empty));
    assert!(
        answer
            .headers()
            .get("access-control-allow-origin")
            .is_none()
    );
}

#[tokio::test]
async fn sessions_that_stay_are_aborted_when_it_is_urgent() {
    let mut running = start(0, nothing).await;
    let mut socket = running.websocket().await.unwrap();
    running.stop.wish();
    running.stop.wish();
    let outcome = running.end().await;
    assert!(outcome.aborted >= 1, "{outcome:?}");
    assert!(!matches!(socket.next().await, Some(Ok(_))));
}

#[tokio::test]
async fn watchers_of_health_do_not_hold_the_end_up() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let mut running = start(0, nothing).await;
    let mut client = HealthClient::new(channel(running.grpc).await);
    let watch = client.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    running.stop.wish();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
    assert_eq!(watch.message().await.unwrap(), None);
    drop((watch, client));
    assert_eq!(running.end().await, Outcome::default());
}

#[tokio::test]
async fn a_taken_port_stops_the_start() {
    let running = start(0, nothing).await;
    let config = grpc::Config {
        port: running.grpc.port(),
        ..testing::grpc_config()
    };
    let parts = Parts {
        http: Vec::new(),
        grpc: vec![grpc_listener(running.grpc.port(), Router::new())],
        grpc_config: &config,
        client: &client(),
        health: Health::serving().await,
        sessions: Tasks::default(),
        metrics: http::Metrics::new(&Registry::new(), "centrifugo", false).unwrap(),
    };
    assert!(matches!(Server::bind(parts).await, Err(Error::Bind(_))));
}

#[test]
fn exit_codes_tell_a_clean_end_from_others() {
    let unclean = Outcome {
        aborted: 1,
        unfinished: false,
    };
    let code = |outcome: Outcome| format!("{:?}", outcome.exit_code());
    assert_ne!(code(Outcome::default()), code(unclean));
}

fn grpc_listener(port: u16, router: Router) -> GrpcListener {
    GrpcListener {
        name: "gRPC",
        host: "127.0.0.1".to_owned(),
        port,
        required: true,
        router,
        entrance: Entrance::default(),
    }
}
