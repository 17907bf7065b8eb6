//! Metrics on their way to the collector, over HTTP or gRPC. Spans and log records go through the library's exporters; its
//! exporter of metrics takes only what was measured with the library.

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use opentelemetry_http::{HttpClient as _, HttpError, Request};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
};
use prost::Message as _;
use tonic::{
    codec::CompressionEncoding,
    metadata::{MetadataKey, MetadataMap, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::{
    Error, Variables,
    client::{Post, TIMEOUT, grpc_tls},
    resource::decoded,
};

/// One way to a collector.
#[derive(Debug)]
pub(super) enum Sender {
    Http {
        client: Post,
        address: String,
        headers: Vec<(String, String)>,
        gzip: bool,
    },
    Grpc {
        client: MetricsServiceClient<Channel>,
        metadata: MetadataMap,
    },
}

const ADDRESS: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
const HEADERS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
];
const COMPRESSION: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
];

impl Sender {
    pub(super) fn new(variables: &Variables, grpc: bool) -> Result<Self, Error> {
        let headers = headers(variables);
        let gzip = variables.first(&COMPRESSION) == Some("gzip");
        let general = variables.get("OTEL_EXPORTER_OTLP_ENDPOINT");
        if !grpc {
            let address = match (variables.get(ADDRESS), general) {
                (Some(whole), _) => whole.to_owned(),
                (None, Some(start)) => format!("{}/v1/metrics", start.trim_end_matches('/')),
                (None, None) => "http://localhost:4318/v1/metrics".to_owned(),
            };
            return Ok(Self::Http {
                client: Post::new(variables)?,
                address,
                headers,
                gzip,
            });
        }
        let address = variables.get(ADDRESS).or(general);
        let address = address.unwrap_or("http://localhost:4317");
        let address = if address.contains("://") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        let secured = address.starts_with("https://");
        let mut endpoint = Endpoint::from_shared(address)?.timeout(TIMEOUT);
        let tls = grpc_tls(variables)?;
        if let Some(tls) = tls.or_else(|| secured.then(super::client::native)) {
            endpoint = endpoint.tls_config(tls)?;
        }
        let mut client = MetricsServiceClient::new(endpoint.connect_lazy());
        if gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        Ok(Self::Grpc {
            client,
            metadata: metadata(&headers),
        })
    }

    /// Sends once; what is lost comes again with the next, since all of it is cumulative.
    pub(super) async fn send(&self, request: ExportMetricsServiceRequest) -> Result<(), HttpError> {
        match self {
            Self::Http {
                client,
                address,
                headers,
                gzip,
            } => {
                let mut body = request.encode_to_vec();
                let mut post = Request::post(address).header("content-type", PROTOBUF);
                if *gzip {
                    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                    encoder.write_all(&body)?;
                    body = encoder.finish()?;
                    post = post.header("content-encoding", "gzip");
                }
                for (name, value) in headers {
                    post = post.header(name, value);
                }
                let answer = client.send_bytes(post.body(body.into())?).await?;
                if !answer.status().is_success() {
                    return Err(
                        format!("metrics export: {} from {address}", answer.status()).into(),
                    );
                }
            }
            Self::Grpc { client, metadata } => {
                let mut request = tonic::Request::new(request);
                metadata.clone_into(request.metadata_mut());
                client.clone().export(request).await?;
            }
        }
        Ok(())
    }
}

const PROTOBUF: &str = "application/x-protobuf";

fn headers(variables: &Variables) -> Vec<(String, String)> {
    let given = variables.first(&HEADERS).unwrap_or_default();
    let pairs = given.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| {
            let value = decoded(value.trim()).into_owned();
            (name.trim().to_ascii_lowercase(), value)
        })
        .collect()
}

fn metadata(headers: &[(String, String)]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (name, value) in headers {
        let (name, value) = (
            MetadataKey::from_bytes(name.as_bytes()),
            MetadataValue::try_from(value),
        );
        if let (Ok(name), Ok(value)) = (name, value) {
            metadata.insert(name, value);
        }
    }
    metadata
}

/// How often metrics are pushed unless the variable says.
pub(super) fn interval(variables: &Variables) -> Duration {
    let milliseconds = variables.number("OTEL_METRIC_EXPORT_INTERVAL");
    let milliseconds = milliseconds.and_then(|number| u64::try_from(number).ok());
    let given = milliseconds.filter(|number| *number > 0);
    given.map_or(Duration::from_secs(60), Duration::from_millis)
}
