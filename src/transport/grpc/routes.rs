//! What a gRPC listener answers: the stream, health, reflection, and more when given; everything else politely.

use std::convert::Infallible;

use axum::{Router, extract::Request, response::IntoResponse};
use http::{StatusCode, header::CONTENT_TYPE};
use tonic::server::NamedService;
use tonic_health::server::HealthReporter;
use tower::Service;

use crate::transport::drained;

/// Schemas of this crate, for reflection.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
/// Names under which health is told.
const NAMES: [&str; 2] = ["", "proto.Centrifuge"];

/// Reflection cannot read the schemas.
#[derive(Debug, thiserror::Error)]
#[error("unreadable schemas")]
pub struct ReflectionError(#[source] tonic_reflection::server::Error);

/// Health as told over gRPC. Cloning is a reference count.
#[derive(Clone, Debug)]
pub struct Health(pub(super) HealthReporter);

impl Health {
    /// Serving, under the empty name and that of the stream.
    pub async fn serving() -> Self {
        let health = Self(HealthReporter::new());
        health.tell(tonic_health::ServingStatus::Serving).await;
        health
    }

    /// The first step of a drain.
    pub async fn not_serving(&self) {
        self.tell(tonic_health::ServingStatus::NotServing).await;
    }

    /// The last step: whoever watches is told that there is nothing to watch any more.
    pub async fn close(&mut self) {
        for name in NAMES {
            self.0.clear_service_status(name).await;
        }
    }

    async fn tell(&self, status: tonic_health::ServingStatus) {
        for name in NAMES {
            self.0.set_service_status(name, status).await;
        }
    }
}

/// What to mount.
#[derive(Debug)]
pub struct Routes<C> {
    /// The stream: [`Communicate`](super::Communicate), usually behind the interceptor.
    pub communicate: C,
    /// Health.
    pub health: Health,
    /// Also reflection.
    pub reflection: bool,
    /// Further gRPC services, such as the server API.
    pub more: Option<Router>,
}

/// Everything a gRPC listener serves, as one router.
///
/// # Errors
/// When the schemas for reflection are unreadable.
pub fn routes<C>(parts: Routes<C>) -> Result<Router, ReflectionError>
where
    C: Service<::http::Request<tonic::body::Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    C::Response: IntoResponse,
    C::Future: Send + 'static,
{
    use tonic_health::{pb::health_server::HealthServer, server::HealthService};
    let health = HealthService::from_health_reporter(parts.health.0);
    let mut routes =
        tonic::service::Routes::new(parts.communicate).add_service(HealthServer::new(health));
    if parts.reflection {
        routes = routes.add_service(reflection()?);
        // Some official clients have not moved on from the older name.
        let older = described().build_v1alpha().map_err(ReflectionError)?;
        routes = routes.add_service(older);
    }
    let mut router = Router::new();
    if let Some(more) = parts.more {
        router = router.merge(more);
    }
    // The fallback of tonic's own router is replaced, so that other requests get an answer they understand.
    Ok(router
        .merge(routes.into_axum_router().reset_fallback())
        .fallback(other))
}

/// The reflection service over all schemas of this crate.
///
/// # Errors
/// When they are unreadable.
pub fn reflection() -> Result<
    impl Service<
        ::http::Request<tonic::body::Body>,
        Response = ::http::Response<tonic::body::Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + NamedService
    + Clone
    + Send
    + Sync
    + 'static,
    ReflectionError,
> {
    described().build_v1().map_err(ReflectionError)
}

fn described() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// A gRPC call nobody serves, or no gRPC at all. Such a request is read to its end before it is answered.
async fn other(request: Request) -> axum::response::Response {
    let grpc = is_grpc(request.headers());
    if grpc {
        return tonic::Status::unimplemented("").into_http::<axum::body::Body>();
    }
    drained(request.into_body()).await;
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "gRPC only\n").into_response()
}

/// True for `application/grpc` and its kin.
pub fn is_grpc(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}
