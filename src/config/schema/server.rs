//! Listeners, server APIs, operator endpoints, logs and process (config.md 8.1, 8.2, 8.13, 8.14, 8.25–8.35).

use super::{
    shared::TLS,
    table::{bool, int, port, secret, secs, section, text, texts},
};

table! {
    AUTOCERT:
    B enabled        bool(false) "Get certificates by ACME.";
    B host_whitelist texts(&[])  "Host names to get them for; empty means any.";
    B cache_dir      text("")    "Folder that keeps them.";
    C email          text("")    "Address that the authority may write to.";
    C server_name    text("")    "Name to assume when the client sends none.";
    C http           bool(false) "Answer the authority's questions over HTTP on a listener of its own.";
    C http_addr      text(":80") "Address of that listener.";
}

table! {
    HTTP3:
    C enabled bool(false) "Serve HTTP/3; needs certificates from files.";
}

table! {
    HTTP_SERVER:
    A address          text("")            "Host on which clients are served; empty means all interfaces." [short('a')];
    A port             port(8000)          "Port on which clients are served." [short('p')];
    B internal_address text("")            "Host for operators' endpoints; empty means as `address`." [flag];
    A internal_port    text("")            "Port for operators' endpoints; empty means as `port`. Keep it from the public." [flag];
    A tls              section(&[TLS])     "TLS on these listeners.";
    B tls_autocert     section(&[AUTOCERT]) "Certificates that come and renew by themselves." [missing];
    B tls_external     bool(false)         "TLS for clients only, not for operators.";
    B internal_tls     section(&[TLS])     "Other TLS settings for operators' endpoints on a port of their own.";
    C http3            section(&[HTTP3])   "HTTP/3 on the external listener." [missing];
    C h2c_external     bool(false)         "HTTP/2 without TLS for clients; needs a separate `internal_port`.";
}

table! {
    LOG:
    A level text("info") "Least severe lines to write: `trace`, `debug`, `info`, `warn`, `error`, `fatal`, or `none`." [flag];
    B file  text("")     "File to append to; empty means the standard streams." [flag];
}

table! {
    HTTP_API:
    B disabled       bool(false)  "Do not serve the API over HTTP.";
    B handler_prefix text("/api") "Path under which it is served.";
    A key            secret()     "Key that callers must send as `X-API-Key`.";
    C error_mode     text("")     "`transport` answers errors with HTTP statuses; empty puts them into the body.";
    B external       bool(false)  "Serve the HTTP API where clients are served, not with operators' endpoints." [flag];
    B insecure       bool(false)  "Ask for no key in the HTTP API. For development only." [flag];
}

table! {
    GRPC_API:
    A enabled    bool(false)     "Serve the server API over gRPC." [flag];
    C error_mode text("")        "`transport` answers errors with gRPC statuses; empty puts them into the reply.";
    B address    text("")        "Host to listen on; empty means all interfaces.";
    A port       port(10000)     "Port of the server API over gRPC." [flag];
    A key        secret()        "Key that callers must send; empty means none is asked for.";
    B tls        section(&[TLS]) "TLS on this listener.";
    B reflection bool(false)     "Describe the service to tools such as grpcurl.";
    C max_receive_message_size int(0) "Largest request in bytes; 0 means 4 MiB.";
}

table! {
    ADMIN:
    A enabled           bool(false) "Serve the web interface for operators." [flag];
    B handler_prefix    text("")    "Path under which it is served.";
    A password          secret()    "Password of the operator.";
    A secret            secret()    "Secret that signs operators' sessions.";
    B insecure          bool(false) "Ask for no password in the web interface. For development only." [flag];
    C web_path          text("")    "Folder with another interface.";
    C web_proxy_address text("")    "Server with another interface, reached through this one.";
    B external          bool(false) "Serve the web interface where clients are served." [flag];
}

table! {
    PROMETHEUS:
    A enabled                          bool(false)      "Serve metrics for Prometheus." [flag];
    B handler_prefix                   text("/metrics") "Path of the endpoint.";
    C instrument_http_handlers         bool(false)      "Count HTTP requests by handler.";
    C recovered_publications_histogram bool(false)      "Add a histogram of recovered publications." [missing];
    C native_histograms                bool(false)      "Native histograms in place of summaries." [missing];
}

table! {
    HEALTH:
    A enabled        bool(false)     "Serve the health endpoint; `healthcheck` asks it." [flag];
    B handler_prefix text("/health") "Path of the endpoint.";
}

table! {
    SWAGGER:
    C enabled        bool(false)      "Serve a browsable description of the HTTP API." [flag, missing];
    C handler_prefix text("/swagger") "Path of the pages.";
}

table! {
    DEBUG:
    B enabled        bool(false)          "Serve profiling endpoints; they tell much, keep them internal." [flag, missing];
    C handler_prefix text("/debug/pprof") "Path of the endpoints.";
}

table! {
    INIT:
    C enabled        bool(false)              "Serve the endpoint that prepares a browser for connecting." [flag];
    C handler_prefix text("/connection/init") "Path of the endpoint.";
}

table! {
    OPENTELEMETRY:
    B enabled               bool(false) "Export traces." [missing];
    B api                   bool(false) "A span for every call of the server API.";
    C consuming             bool(false) "Attributes for consumed messages.";
    C google_cloud_adc_auth bool(false) "Use Google's credentials towards the collector.";
}

table! {
    GRAPHITE:
    C enabled  bool(false)        "Push metrics." [missing];
    C host     text("localhost")  "Host of the server.";
    C port     port(2003)         "Port of the server.";
    C prefix   text("centrifugo") "How metric names begin; may hold dots.";
    C interval secs(10)           "How often to push.";
    C tags     bool(false)        "Write labels as tags.";
}

table! {
    USAGE_STATS:
    B disabled bool(false) "Accepted; Centripetal reports to nobody, whatever stands here.";
}

table! {
    NODE:
    B name text("") "Name of this node, unique in the cluster; empty means host name and port.";
    C info_metrics_aggregate_interval secs(60) "Time between the metric snapshots that `info` shows.";
}

table! {
    SHUTDOWN:
    B timeout secs(30) "Longest time for an orderly end; what is left then is cut off.";
}
