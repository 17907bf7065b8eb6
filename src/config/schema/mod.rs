//! The one definition of every option: key, type, default, tier, help, and whether its feature exists.
//!
//! Pure data. File, environment and flag parsing, the default listings, the reference page and the example file all
//! walk these tables; nothing here reads a file or the environment. Tables that occur at several places
//! (config.md 7) are written once and mounted.

#[macro_use]
mod table;

mod channel;
mod client;
mod consumer;
mod engine;
mod own;
mod server;
mod shared;
mod transport;

pub use table::{Field, Flag, Form, Gate, Kind, Table, Tables, Tier, Width};

use table::{bool, named, section, text};

table! {
    /// The top level of a configuration (config.md 8, 11).
    ROOT_TABLE:
    A http_server       section(&[server::HTTP_SERVER])        "HTTP listeners: one for clients and, on request, a second one for operators.";
    A log               section(&[server::LOG])                "What is written to the log, and where.";
    A engine            section(&[engine::ENGINE])             "Where publications, history and presence live.";
    B broker            section(&[engine::BROKER])             "A broker of its own, replacing that half of the engine.";
    B presence_manager  section(&[engine::PRESENCE_MANAGER])   "A presence store of its own, replacing that half of the engine.";
    C map_broker        section(&[engine::MAP_BROKER])         "Storage behind map channels.";
    C controller        section(&[engine::CONTROLLER])         "A separate way for messages between nodes.";
    C shared_poll       section(&[client::SHARED_POLL])        "Settings that all shared-poll channels have in common.";
    A client            section(&[client::CLIENT])             "Client connections: who may connect, and within which limits.";
    A channel           section(&[channel::CHANNEL])           "Channels, their namespaces, and the rules of their names.";
    A rpc               section(&[channel::RPC])               "Calls from clients that your backend answers.";
    B proxies           named(&[channel::NAMED_PROXY, shared::PROXY]) "Named backend proxies that namespaces can refer to.";
    A http_api          section(&[server::HTTP_API])           "Server API over HTTP, for your backend.";
    A grpc_api          section(&[server::GRPC_API])           "Server API over gRPC, for your backend.";
    B consumers         named(&[consumer::CONSUMER])           "Queues from which API commands are read." [missing];
    A websocket         section(&[transport::WEBSOCKET])       "WebSocket for bidirectional clients.";
    B sse               section(&[transport::SSE])             "Server-sent events for bidirectional clients.";
    B http_stream       section(&[transport::HTTP_STREAM])     "HTTP streaming for bidirectional clients.";
    C webtransport      section(&[transport::WEBTRANSPORT])    "WebTransport over HTTP/3.";
    B uni_sse           section(&[transport::UNI_SSE])         "Server-sent events for clients that only listen.";
    B uni_http_stream   section(&[transport::UNI_HTTP_STREAM]) "HTTP streaming for clients that only listen.";
    B uni_websocket     section(&[transport::UNI_WEBSOCKET])   "WebSocket for clients that only listen.";
    A uni_grpc          section(&[transport::UNI_GRPC])        "gRPC stream for clients that only listen.";
    B emulation         section(&[transport::EMULATION])       "Back-channel of SSE and HTTP streaming; serves whenever one of them does.";
    A admin             section(&[server::ADMIN])              "Web interface for operators.";
    A prometheus        section(&[server::PROMETHEUS])         "Metrics endpoint for Prometheus.";
    A health            section(&[server::HEALTH])             "Liveness endpoint.";
    C swagger           section(&[server::SWAGGER])            "Browsable description of the HTTP API.";
    B debug             section(&[server::DEBUG])              "Profiling endpoints.";
    C init              section(&[server::INIT])               "Endpoint that prepares a browser for connecting.";
    B opentelemetry     section(&[server::OPENTELEMETRY])      "Traces, exported as the OTEL_ variables say.";
    C graphite          section(&[server::GRAPHITE])           "Metrics pushed to Graphite.";
    B usage_stats       section(&[server::USAGE_STATS])        "Kept so that existing files load; nothing is ever sent.";
    B node              section(&[server::NODE])               "How this node calls itself in the cluster.";
    B shutdown          section(&[server::SHUTDOWN])           "How the process ends.";
    C pid_file          text("")                               "File that holds the process number while the server runs." [flag];
    C enable_unreleased_features bool(false)                   "Accepted so that existing files load; has no effect.";
    A centripetal       section(&[own::CENTRIPETAL])           "Options of Centripetal alone; the compatible server does not know them." [own];
}

/// The root as the walkers take it.
pub const ROOT: Tables = &[ROOT_TABLE];

/// Top-level entry with this key.
#[must_use]
pub fn top(key: &str) -> Option<&'static Field> {
    ROOT_TABLE.iter().find(|field| field.key == key)
}

/// Calls `visit` with the dotted path of every option below `tables`, sections included, depth first.
///
/// Entries of lists appear as `name[]`.
pub fn walk(tables: Tables, prefix: &str, visit: &mut dyn FnMut(&str, &'static Field)) {
    for field in fields(tables) {
        let path = join(prefix, field.key);
        visit(&path, field);
        match field.kind {
            Kind::Section(inner) => walk(inner, &path, visit),
            Kind::Objects(inner) | Kind::Named(inner) => walk(inner, &format!("{path}[]"), visit),
            _ => {}
        }
    }
}

/// The fields of a composition of tables, in order.
pub fn fields(tables: Tables) -> impl Iterator<Item = &'static Field> {
    tables.iter().flat_map(|table| table.iter())
}

/// Two parts of a dotted path.
#[must_use]
pub fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}
