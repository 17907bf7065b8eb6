//! Which headers and metadata of a client reach the backend (proxy.md 5, 21.10, 21.11, 21.15), and TLS on the way there.

use serde_json::{Value, json};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{Backend, Way, introduced, on_all_proxies, on_both_ways, rpc};
use crate::{
    harness::{Client, Transport, server},
    support::{Certificates, Server},
};

on_both_ways!(
    nothing_is_passed_on_unless_it_is_listed,
    emulated_headers_never_pass_as_real_ones,
    metadata_of_streams_is_passed_on,
    constant_headers_go_first,
    credentials_of_the_gateway_stay_here,
    the_way_to_the_backend_may_be_encrypted,
);

/// A connection of a user with headers or metadata, and emulated headers.
async fn connected(
    on: Transport,
    server: &Server,
    headers: &[(&'static str, &str)],
    emulated: Value,
) -> Client {
    let mut client = on.open_with(server, headers).await.unwrap();
    let token = Server::token(&json!({"sub": "ann"}));
    client
        .connect(json!({"token": token, "headers": emulated}))
        .await;
    client
}

/// What the backend gets of a header when it is asked much later.
async fn seen(client: &mut Client, name: &str) -> Value {
    let told = rpc(client, "whoami", json!({})).await;
    told["headers"][name].clone()
}

async fn nothing_is_passed_on_unless_it_is_listed(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    settings["rpc"]["proxy"]["http_headers"] = json!(["X-Real", "Content-Length", "Host"]);
    let server = server(settings).await;
    let headers = [("x-real", "r"), ("x-hidden", "h")];
    let mut client = connected(Transport::Json, &server, &headers, json!({})).await;
    assert_eq!(seen(&mut client, "x-real").await, "r");
    assert_eq!(seen(&mut client, "x-hidden").await, Value::Null);
    let host = seen(&mut client, "host").await;
    assert_ne!(
        host,
        server.http_target(),
        "the name of the gateway is not the backend's"
    );
}

async fn emulated_headers_never_pass_as_real_ones(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    let proxy = &mut settings["rpc"]["proxy"];
    proxy["http_headers"] = json!(["Authorization", "X-Both"]);
    proxy["emulated_headers"] = json!(["X-Emulated", "x-both"]);
    let server = server(settings).await;
    let emulated = json!({
        "Authorization": "Bearer forged",
        "X-EMULATED": "e",
        "X-Both": "emulated",
        "X-Other": "o",
    });
    let mut client = connected(Transport::Json, &server, &[], emulated.clone()).await;
    assert_eq!(seen(&mut client, "authorization").await, Value::Null);
    assert_eq!(seen(&mut client, "x-emulated").await, "e");
    assert_eq!(seen(&mut client, "x-both").await, "emulated");
    assert_eq!(seen(&mut client, "x-other").await, Value::Null);
    let real = [("x-both", "real"), ("authorization", "Basic eA==")];
    let mut client = connected(Transport::Json, &server, &real, emulated).await;
    assert_eq!(seen(&mut client, "x-both").await, "real");
    assert_eq!(seen(&mut client, "authorization").await, "Basic eA==");
}

async fn metadata_of_streams_is_passed_on(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    on_all_proxies(&mut settings, |proxy| {
        proxy["grpc_metadata"] = json!(["authorization", "x-trace"]);
        proxy["http_headers"] = json!(["x-header"]);
    });
    let server = server(settings).await;
    // The connect proxy takes `authorization`, so it is not taken for a token here.
    let headers = [
        ("authorization", "Bearer of the application"),
        ("x-trace", "t"),
        ("x-header", "h"),
    ];
    let mut client = Transport::Grpc.open_with(&server, &headers).await.unwrap();
    client.connect(json!({"data": {"name": "ann"}})).await;
    assert_eq!(
        seen(&mut client, "authorization").await,
        "Bearer of the application"
    );
    assert_eq!(seen(&mut client, "x-trace").await, "t");
    assert_eq!(
        seen(&mut client, "x-header").await,
        Value::Null,
        "metadata are no headers"
    );
    let mut client = connected(Transport::Json, &server, &headers[1..], json!({})).await;
    assert_eq!(seen(&mut client, "x-trace").await, Value::Null);
    assert_eq!(seen(&mut client, "x-header").await, "h");
}

async fn constant_headers_go_first(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    let constant = json!({"x-constant": "c", "x-real": "constant", "content-type": "text/plain"});
    let proxy = &mut settings["rpc"]["proxy"];
    proxy["http_headers"] = json!(["x-real"]);
    proxy["http"] = json!({"static_headers": constant});
    proxy["grpc"] = json!({
        "static_metadata": constant,
        "credentials_key": "x-key",
        "credentials_value": "secret",
        "compression": true,
    });
    let server = server(settings).await;
    let mut client = connected(Transport::Json, &server, &[], json!({})).await;
    assert_eq!(seen(&mut client, "x-constant").await, "c");
    assert_eq!(seen(&mut client, "x-real").await, "constant");
    match way {
        Way::Http => {
            let kind = seen(&mut client, "content-type").await;
            assert_eq!(kind, "application/json");
        }
        Way::Grpc => assert_eq!(seen(&mut client, "x-key").await, "secret"),
    }
    let mut client = connected(Transport::Json, &server, &[("x-real", "r")], json!({})).await;
    assert_eq!(seen(&mut client, "x-real").await, "r");
}

async fn credentials_of_the_gateway_stay_here(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    settings["client"]["hmac_credentials"] =
        json!({"enabled": true, "secret_key": "another-secret-of-32-bytes-and-more"});
    settings["rpc"]["proxy"]["emulated_headers"] = json!(["Centripetal-Credentials", "x-ok"]);
    let server = server(settings).await;
    let mut client = introduced(Transport::Json, &server, "ann").await;
    assert_eq!(
        seen(&mut client, "centripetal-credentials").await,
        Value::Null
    );
    let mut client = Transport::Json.open(&server).await;
    let headers = json!({"x-ok": "o"});
    client
        .connect(json!({"data": {"name": "ann"}, "headers": headers}))
        .await;
    assert_eq!(seen(&mut client, "x-ok").await, "o");
}

/// Takes TLS off in front of a backend.
async fn terminate(listener: TcpListener, acceptor: TlsAcceptor, backend: String) {
    let mut running = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (acceptor, backend) = (acceptor.clone(), backend.clone());
        running.spawn(async move {
            if let (Ok(mut from), Ok(mut to)) = (
                acceptor.accept(socket).await,
                TcpStream::connect(backend).await,
            ) {
                drop(copy_bidirectional(&mut from, &mut to).await);
            }
        });
    }
}

async fn the_way_to_the_backend_may_be_encrypted(way: Way) {
    let backend = Backend::start().await;
    let certificates = Certificates::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut front = JoinSet::new();
    // HTTP/2 is used where the backend offers it.
    let acceptor = certificates.acceptor(b"h2");
    front.spawn(terminate(listener, acceptor, backend.http.clone()));
    let mut settings = backend.settings(way);
    let tls = json!({
        "enabled": true,
        "server_ca_pem": certificates.path("ca.pem"),
        "cert_pem": certificates.path("client.pem"),
        "key_pem": certificates.path("client.key"),
        "server_name": "localhost",
    });
    let mut anonymous = tls.clone();
    anonymous["cert_pem"] = json!("");
    anonymous["key_pem"] = json!("");
    let mut other = tls.clone();
    other["server_name"] = json!("elsewhere.example");
    let proxies = [("good", tls), ("anonymous", anonymous), ("other", other)];
    let endpoint = match way {
        Way::Http => format!("https://127.0.0.1:{port}/rpc"),
        Way::Grpc => format!("grpc://127.0.0.1:{port}"),
    };
    settings["proxies"] = proxies
        .iter()
        .map(|(name, tls)| {
            let tls = json!({"tls": tls});
            json!({"name": name, "endpoint": endpoint, "timeout": "10s", "http": tls, "grpc": tls})
        })
        .collect();
    settings["rpc"]["namespaces"] = proxies
        .iter()
        .map(|(name, _)| json!({"name": name, "proxy_enabled": true, "proxy_name": name}))
        .collect();
    settings["rpc"]["namespaces"][0]["name"] = json!("chat");
    let server = server(settings).await;
    let mut client = Transport::Json.user(&server, "ann").await;
    let numbers = json!({"a": 1, "b": 2});
    let sum = rpc(&mut client, "chat:add", numbers).await;
    assert_eq!(sum, json!({"sum": 3}));
    for namespace in ["anonymous", "other"] {
        let request = json!({"rpc": {"method": format!("{namespace}:add"), "data": {}}});
        assert_eq!(client.refused(request).await, 100, "{namespace}");
    }
}
