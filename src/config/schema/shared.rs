//! Tables that occur at several places (config.md 7.1–7.5, 7.7–7.9).

use super::table::{
    bool, int, map, millis, objects, pem, secret, secs, section, text, texts, uint32, unix,
};

table! {
    /// config.md 7.1. As a server: `cert_pem`, `key_pem`, `client_ca_pem`; as a client the rest as well.
    TLS:
    A enabled              bool(false) "Switches TLS on.";
    A cert_pem             pem()       "Certificate chain: the PEM text, base64 of it, or a file with it.";
    A key_pem              pem()       "Private key of the certificate, in the same three forms.";
    B server_ca_pem        pem()       "As a client: authority that signed the server; empty means the system's.";
    B client_ca_pem        pem()       "As a server: authority of client certificates; when set, clients must have one.";
    C insecure_skip_verify bool(false) "As a client: accept any server certificate. For tests only.";
    C server_name          text("")    "As a client: name to send and to look for in the certificate.";
}

table! {
    REPLICA_CLIENT:
    C enabled bool(false) "Switches reads from replicas on.";
}

table! {
    /// config.md 7.2.
    REDIS:
    A address              texts(&["redis://127.0.0.1:6379"]) "Addresses; with several, channels are spread over them. `host:port`, redis://, rediss://, redis+sentinel://, redis+cluster:// or unix://.";
    B connect_timeout      secs(1)        "Longest wait for a connection.";
    B io_timeout           secs(4)        "Longest wait for one answer.";
    B db                   int(0)         "Number of the database; a cluster has only 0.";
    B user                 text("")       "User of Redis' access lists.";
    A password             secret()       "Password.";
    C client_name          text("")       "Name that Redis shows for the connection.";
    C force_resp2          bool(false)    "Speak RESP2 even if the server knows RESP3.";
    B cluster_address      texts(&[])     "Seed nodes of Redis clusters: one entry a cluster, its seeds separated by commas. Goes before the other addresses.";
    B tls                  section(&[TLS]) "TLS to Redis.";
    B sentinel_address     texts(&[])     "Sentinels: one entry a group.";
    C sentinel_user        text("")       "User at the sentinels.";
    B sentinel_password    secret()       "Password at the sentinels.";
    B sentinel_master_name text("")       "Name of the master that the sentinels watch.";
    C sentinel_client_name text("")       "Name that sentinels show for the connection.";
    C sentinel_tls         section(&[TLS]) "TLS to the sentinels.";
    C replica_client       section(&[REPLICA_CLIENT]) "Reading from replicas.";
}

table! {
    /// config.md 7.3.
    NATS:
    B url           text("nats://localhost:4222") "Address of the server; may hold user and password.";
    B dial_timeout  secs(1)         "Longest wait for a connection.";
    C write_timeout secs(1)         "Longest wait for one flush.";
    B tls           section(&[TLS]) "TLS to NATS.";
}

table! {
    TO_ERROR:
    C code      uint32(0)   "Number of the error.";
    C message   text("")    "Text of the error.";
    C temporary bool(false) "True tells the client to try again.";
}

table! {
    TO_DISCONNECT:
    C code   uint32(0) "Number of the disconnect.";
    C reason text("")  "Text of the disconnect.";
}

table! {
    STATUS_TRANSFORM:
    C status_code   int(0)                    "HTTP status that this rule is for.";
    C to_error      section(&[TO_ERROR])      "Error that the client then gets.";
    C to_disconnect section(&[TO_DISCONNECT]) "Disconnect that the client then gets.";
}

table! {
    PROXY_HTTP:
    B tls                       section(&[TLS])               "TLS to the backend.";
    B static_headers            map()                         "Headers added to every request.";
    C status_to_code_transforms objects(&[STATUS_TRANSFORM])  "Turns HTTP statuses into errors or disconnects for the client.";
}

table! {
    PROXY_GRPC:
    B tls               section(&[TLS]) "TLS to the backend.";
    C credentials_key   text("")        "Metadata name sent with every call.";
    C credentials_value secret()        "Value of that metadata.";
    C compression       bool(false)     "Compress requests with gzip.";
    C static_metadata   map()           "Metadata added to every call.";
}

table! {
    /// config.md 7.4.
    PROXY:
    A endpoint                text("")    "Where the backend listens: http://, https://, grpc://host:port or host:port.";
    A timeout                 secs(1)     "Longest wait for one answer; must be above zero.";
    A http_headers            texts(&[])  "Request headers of the client that are passed on.";
    B grpc_metadata           texts(&[])  "gRPC metadata of the client that are passed on, in lower case.";
    B emulated_headers        texts(&[])  "Headers that clients may send inside the connect frame.";
    C binary_encoding         bool(false) "Send payloads as base64, for binary data over JSON.";
    B include_connection_meta bool(false) "Send the connection's meta along.";
    B http                    section(&[PROXY_HTTP]) "Only for HTTP endpoints.";
    B grpc                    section(&[PROXY_GRPC]) "Only for gRPC endpoints.";
}

table! {
    /// config.md 7.5; what the options mean is in tokens.md.
    TOKEN:
    A hmac_secret_key             secret()  "Shared secret for HS256, HS384 and HS512.";
    B hmac_previous_secret_key    secret()  "Old secret, still accepted while you change over.";
    C hmac_previous_secret_key_valid_until unix(0) "Tokens issued after this moment (Unix seconds) need the new secret; 0 sets no end.";
    B rsa_public_key              text("")  "Public key (PEM text) for RS256, RS384 and RS512.";
    B ecdsa_public_key            text("")  "Public key (PEM text) for ES256, ES384 and ES512.";
    B jwks_public_endpoint        text("")  "Address of a key set; used instead of the keys above. May hold {{group}} names from the patterns below.";
    B audience                    text("")  "Value that `aud` must have.";
    C audience_regex              text("")  "Pattern that `aud` must match; not together with `audience`.";
    B issuer                      text("")  "Value that `iss` must have.";
    C issuer_regex                text("")  "Pattern that `iss` must match; not together with `issuer`.";
    C user_id_claim               text("")  "Claim with the user, if it is not `sub`.";
    C insecure_skip_jwks_endpoint_safety_check bool(false) "Only warn about patterns that let a token choose where keys come from.";
}

table! {
    RESPONSE:
    C status_code int(0)   "HTTP status of the answer.";
    C body        text("") "Body of the answer; empty means the text of the error.";
}

table! {
    RESPONSE_RULE:
    C code uint32(0)            "Error or close code that this rule is for.";
    C to   section(&[RESPONSE]) "The answer.";
}

table! {
    /// config.md 7.7.
    CONNECT_RESPONSES:
    C enabled    bool(false)               "Answer failed connects with an HTTP status instead of a stream that ends at once.";
    C transforms objects(&[RESPONSE_RULE]) "Which code becomes which answer; codes without a rule become 500.";
}

table! {
    /// config.md 7.8.
    OUTBOX:
    C poll_interval millis(100) "How often to look while nothing happens.";
    C batch_size    int(1000)   "Rows read at once.";
}

/// config.md 7.9: the same seven options, named after the part of a message that carries the value.
macro_rules! data_mode {
    ($name:ident $channels:ident $key:ident $delta:ident $version:ident $epoch:ident $tags:ident) => {
        table! {
            $name:
            B enabled   bool(false)                        "Take messages as payloads to publish, not as API commands.";
            B $channels text("centrifugo-channels")        "Where the channels stand, separated by commas.";
            B $key      text("centrifugo-idempotency-key") "Where the idempotency key stands.";
            C $delta    text("centrifugo-delta")           "Where the delta flag stands.";
            C $version  text("centrifugo-version")         "Where the version stands.";
            C $epoch    text("centrifugo-version-epoch")   "Where the epoch of the version stands.";
            C $tags     text("centrifugo-tag-")            "Names that begin like this carry tags.";
        }
    };
}

data_mode! { HEADER_MODE channels_header idempotency_key_header delta_header version_header version_epoch_header tags_header_prefix }
data_mode! { VALUE_MODE channels_value idempotency_key_value delta_value version_value version_epoch_value tags_value_prefix }
data_mode! { ATTRIBUTE_MODE channels_attribute idempotency_key_attribute delta_attribute version_attribute version_epoch_attribute tags_attribute_prefix }
data_mode! { PROPERTY_MODE channels_property idempotency_key_property delta_property version_property version_epoch_property tags_property_prefix }
