//! Options of Centripetal itself (config.md 11, gateway.md 7). An explicit zero or `false` counts here.

use super::{
    shared::TLS,
    table::{bool, int, port, secs, section, text, texts},
};

table! {
    API:
    B max_request_body_size int(67_108_864) "Largest request of the server API, in bytes; 0 means any.";
    C strict_unsubscribe    bool(false)     "Answer an unsubscribe without channel with error 107.";
}

table! {
    TOKEN:
    C allow_ps     bool(false)  "Accept PS256, PS384 and PS512 as well.";
    C jwks_max_age secs(86_400) "Longest use of a fetched key before it is fetched again.";
}

table! {
    READINESS:
    B enabled        bool(false)    "Serve a path that tells whether this node should get clients: it serves, and its engine answers.";
    B handler_prefix text("/ready") "The path.";
}

table! {
    METRICS:
    C namespace         text("centrifugo") "How compatible metric names begin.";
    C channel_namespace bool(false)        "Fill the label `channel_namespace`." [missing];
    C client_names      texts(&[])         "Client names that may appear as label values.";
}

table! {
    TELEMETRY:
    C own_service_name bool(false) "Call the service `centripetal` in traces, not `centrifugo`.";
    C command_spans    bool(false) "A span for every command of a client; its parent is the `traceparent` that the connection began with.";
    C proxy_spans      bool(false) "A span for every question to the backend, which is told of it by `traceparent`.";
    C metrics          bool(false) "Push the metrics over OTLP as well, every `OTEL_METRIC_EXPORT_INTERVAL`.";
    C logs             bool(false) "Send log lines over OTLP as well.";
    C engine_spans     bool(false) "Inside of a recorded trace, a span for every call of the engine, and one on each node that delivers the publication.";
}

table! {
    GRPC:
    A enabled                bool(true)   "Serve the canonical gRPC stream.";
    B address                text("")     "Host to listen on; empty means as `http_server.address`.";
    A port                   port(8001)   "Port to listen on. If you do not set it and it is taken, the server runs without this listener.";
    B shared                 bool(false)  "Serve the stream on the HTTP port as well.";
    B api                    bool(false)  "Serve the server API here too, with `grpc_api.key`.";
    B reflection             bool(false)  "Describe the services to tools such as grpcurl.";
    B require_credentials    bool(false)  "Refuse streams that bring no credentials in their metadata.";
    C identity               text("")     "Take the user from the client certificate: `san_uri`, `san_dns` or `common_name`. Needs `tls.client_ca_pem`.";
    C compression            bool(false)  "Compress replies for clients that offer it.";
    B message_size_limit     int(65_536)  "Largest command a client may send, in bytes.";
    C max_concurrent_streams int(4096)    "Streams on one HTTP/2 connection.";
    C keepalive_interval     secs(25)     "How often a quiet connection is probed.";
    C keepalive_timeout      secs(10)     "How long a probe may go unanswered.";
    C max_connection_age     secs(0)      "Age at which clients are sent elsewhere, with jitter; 0 means never.";
    B tls                    section(&[TLS]) "TLS on this listener.";
}

table! {
    HTTP:
    B bearer bool(false) "Take `Authorization: Bearer` on WebSocket upgrades and HTTP transports for a connection token.";
}

table! {
    SOCKJS:
    C enabled         bool(false)                "Serve SockJS, with the limits of `websocket`.";
    C handler_prefix  text("/connection/sockjs") "Path of the endpoint.";
    C url             text("")                   "Address of the SockJS script for its iframe page; empty names none.";
    C heartbeat_delay secs(25)                   "Time between heartbeats; 0 means none.";
    C raw_websocket   bool(false)                "Serve a WebSocket without the framing of SockJS below the path as well.";
}

table! {
    PROXY:
    B concurrency       int(1024)      "Questions that one proxy asks at a time.";
    B max_waiting       int(16_384)    "Questions that may wait for their turn at one proxy; more are refused with error 100.";
    C wait_timeout      secs(10)       "Longest wait for a turn, before the timeout of the proxy begins.";
    C max_response_size int(4_194_304) "Largest answer of a backend, in bytes.";
}

table! {
    REDIS:
    C sharded_pub_sub_partitions int(0)      "Redis Cluster only: spread PUB/SUB over its servers in so many partitions, each a connection of every node; 0 means plain PUB/SUB. Equal on every node.";
    C precomputed_partition_tags bool(false) "Spread 16, 32, 64 or 128 partitions evenly over any number of servers. Equal on every node.";
    C cluster_channel_tags       bool(true)  "Names of PUB/SUB in a cluster as Centrifugo 6.6 and newer have them; off for a fleet with older nodes.";
}

table! {
    CENTRIPETAL:
    A grpc            section(&[GRPC])      "The canonical gRPC stream.";
    B http            section(&[HTTP])      "HTTP requests of clients.";
    B api             section(&[API])       "The server API, over HTTP and gRPC.";
    C token           section(&[TOKEN])     "Which tokens are accepted beyond the compatible ones.";
    B readiness       section(&[READINESS]) "Readiness endpoint.";
    C publish_timeout secs(5)               "Longest wait of a publication for its turn; then error 100, never a silent loss.";
    B proxy           section(&[PROXY])     "Bounds of every proxy to your backend.";
    C redis           section(&[REDIS])     "Redis beyond the compatible options, for the engine and the broker.";
    B trusted_proxies texts(&[])            "Networks whose `X-Forwarded-` headers are believed, such as `10.0.0.0/8`.";
    C proxy_protocol  text("off")           "`required`: client connections begin with the PROXY protocol; from `trusted_proxies` only.";
    C sockjs          section(&[SOCKJS])    "SockJS, for very old browsers.";
    C metrics         section(&[METRICS])   "What metrics are called.";
    C telemetry       section(&[TELEMETRY]) "What traces contain.";
    C publish_proxy_honours_delta_publish bool(false) "Let `delta_publish` apply to publications that a proxy allowed.";
}
