//! The limit of request headers. HTTP/1 enforces it while it reads; HTTP/2 has a wider one of the library's, so that this side
//! can refuse, and count, what lies between.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header::CONTENT_TYPE};

use crate::transport::grpc;

/// Largest block of request headers, in both generations of HTTP; more is 431.
pub(super) const LIMIT: usize = 16 * 1024;
/// What HTTP/2 announces, and refuses with 431 by itself. Four times as much is no mistake any more and ends the connection.
pub(super) const ANNOUNCED: u32 = 64 * 1024;
/// What a field costs beside its bytes (RFC 9113 6.5.2).
const FIELD: usize = 32;

/// True for an HTTP/2 request beyond the limit.
pub(super) fn too_large<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && size(request.headers()) > LIMIT
}

fn size(headers: &HeaderMap) -> usize {
    let field = |(name, value): (&http::HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + FIELD
    };
    headers.iter().map(field).sum()
}

/// 431; a gRPC client reads the status beside it.
pub(super) fn refusal(headers: &HeaderMap) -> Response {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    if !grpc::is_grpc(headers) {
        return status.into_response();
    }
    let told = tonic::Status::resource_exhausted("headers larger than 16 KiB");
    let mut response = told.into_http::<Body>();
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, value: usize) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        let value = HeaderValue::try_from("y".repeat(value)).unwrap();
        request.headers_mut().insert("x", value);
        request
    }

    #[test]
    fn fields_count_as_http2_counts_them() {
        let fits = LIMIT - FIELD - 1;
        assert!(!too_large(&request(Version::HTTP_2, fits)));
        assert!(too_large(&request(Version::HTTP_2, fits + 1)));
        assert!(!too_large(&request(Version::HTTP_11, fits + 1)));
    }

    #[test]
    fn each_is_told_in_its_own_language() {
        let plain = refusal(&HeaderMap::new());
        assert_eq!((plain.status().as_u16(), plain.headers().len()), (431, 0));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let grpc = refusal(&headers);
        assert_eq!(grpc.status().as_u16(), 431);
        assert_eq!(grpc.headers()["grpc-status"], "8");
    }
}
