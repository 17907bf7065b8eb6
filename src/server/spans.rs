//! Server spans of API requests, over HTTP and gRPC (metrics.md 16.2). What a request asks for is written into the span by
//! `api`, which knows it.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::HttpBody as _,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::{
    HeaderMap, HeaderName, Version,
    header::{HOST, USER_AGENT},
    uri::Authority,
};

use crate::{
    api,
    trace::{self, Span, Tracer},
    transport::RemoteAddress,
};

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A route and who makes its spans.
#[derive(Debug)]
struct Route {
    tracer: Tracer,
    path: String,
}

/// A span around every request of a route of the HTTP API, refused ones too.
pub(super) fn http(router: Router, path: &str, tracer: &Tracer) -> Router {
    let route = Arc::new(Route {
        tracer: tracer.clone(),
        path: path.to_owned(),
    });
    router.layer(from_fn_with_state(route, over_http))
}

async fn over_http(State(route): State<Arc<Route>>, request: Request, next: Next) -> Response {
    let name = format!("{} {}", request.method(), route.path);
    let span = begin(&route.tracer, name, request.headers());
    if span.is_recording() {
        describe(&span, &route.path, &request);
    }
    let response = span.inside(next.run(request)).await;
    span.set(
        "http.response.status_code",
        i64::from(response.status().as_u16()),
    );
    if let Some(size) = response.body().size_hint().exact().filter(|size| *size > 0) {
        span.set("http.response.body.size", int(size));
    }
    span.end();
    response
}

fn begin(tracer: &Tracer, name: String, headers: &HeaderMap) -> Span {
    tracer.server(name, &trace::from_headers(headers))
}

/// The attributes of an HTTP request; those that most people look for first, since there may be a limit.
fn describe(span: &Span, route: &str, request: &Request) {
    span.set("http.request.method", request.method().as_str().to_owned());
    server(span, request, true);
    let peer = request
        .extensions()
        .get::<RemoteAddress>()
        .map(|peer| peer.0);
    if let Some(peer) = peer {
        span.set("network.peer.address", peer.ip().to_canonical().to_string());
        span.set("network.peer.port", i64::from(peer.port()));
    }
    if let Some(client) = client(request.headers(), peer) {
        span.set("client.address", client);
    }
    if let Some(agent) = text(request.headers(), &USER_AGENT) {
        span.set("user_agent.original", agent.to_owned());
    }
    span.set("url.path", request.uri().path().to_owned());
    span.set("http.route", route.to_owned());
    let version = match request.version() {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    };
    span.set("network.protocol.version", version);
}

/// The address that the request names; without a port when it names none.
fn server(span: &Span, request: &Request, scheme: bool) {
    let host = text(request.headers(), &HOST).and_then(|host| host.parse::<Authority>().ok());
    let authority = host.as_ref().or_else(|| request.uri().authority());
    if let Some(authority) = authority {
        let host = authority.host().trim_matches(['[', ']']);
        span.set("server.address", host.to_owned());
    }
    if scheme {
        let secured = request.uri().scheme_str() == Some("https");
        span.set("url.scheme", if secured { "https" } else { "http" });
    }
    if let Some(port) = authority.and_then(Authority::port_u16) {
        span.set("server.port", i64::from(port));
    }
}

/// The first address of `X-Forwarded-For`, else the peer's.
fn client(headers: &HeaderMap, peer: Option<SocketAddr>) -> Option<String> {
    let forwarded = text(headers, &FORWARDED).and_then(|list| list.split(',').next());
    let forwarded = forwarded.map(str::trim).filter(|first| !first.is_empty());
    let peer = || peer.map(|peer| peer.ip().to_canonical().to_string());
    forwarded.map(str::to_owned).or_else(peer)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn int(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A span around every call of the API over gRPC; unknown methods have none.
pub(super) fn grpc(router: Router, tracer: &Tracer) -> Router {
    router.layer(from_fn_with_state(tracer.clone(), over_grpc))
}

async fn over_grpc(State(tracer): State<Tracer>, request: Request, next: Next) -> Response {
    let Some(method) = api::grpc::known(request.uri().path()).map(str::to_owned) else {
        return next.run(request).await;
    };
    let span = begin(&tracer, method.clone(), request.headers());
    if span.is_recording() {
        span.set("rpc.system.name", "grpc");
        span.set("rpc.method", method);
        server(&span, &request, false);
    }
    let response = span.inside(next.run(request)).await;
    // A refusal has its status in the headers; what has a message was carried out.
    let status = tonic::Status::from_header_map(response.headers());
    let code = status.map_or(tonic::Code::Ok, |status| status.code());
    span.set("rpc.response.status_code", name(code));
    span.end();
    response
}

/// A status code as gRPC spells it.
const fn name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
