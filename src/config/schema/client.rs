//! Client connections, HMAC credentials and the common part of shared poll (config.md 8.8, 8.9; tokens.md 9.1, 10.1).

use super::{
    shared::{PROXY, TO_DISCONNECT, TOKEN},
    table::{bool, int, objects, off, secret, secs, section, signed, text, texts, uint32, unix},
};

table! {
    SHARED_POLL:
    C hmac_secret_key          secret() "Secret of track signatures; needed by shared-poll namespaces.";
    C hmac_previous_secret_key secret() "Old secret, still accepted while you change over.";
    C hmac_previous_secret_key_valid_until unix(0) "Signatures issued after this moment (Unix seconds) need the new secret; 0 sets no end.";
    C concurrency_limit        int(0)   "Poll requests under way at once; 0 means any number.";
}

table! {
    PROXY_SWITCH:
    A enabled bool(false) "Switches this proxy on.";
}

table! {
    PROXIES:
    A connect section(&[PROXY_SWITCH, PROXY]) "Asked about connections that bring no token.";
    B refresh section(&[PROXY_SWITCH, PROXY]) "Asked when connections expire.";
}

table! {
    SUBSCRIPTION_TOKEN_SWITCH:
    B enabled bool(false) "Check subscription tokens with the settings here, not with those of connection tokens.";
}

table! {
    PERSONAL_CHANNEL:
    B enabled                    bool(false) "Subscribe every user to a channel of its own.";
    B personal_channel_namespace text("")    "Namespace of these channels; empty means none.";
    B single_connection          bool(false) "Keep only the newest connection of a user; needs presence there.";
}

table! {
    DISCONNECT_RULE:
    C code uint32(0)                 "Connect error that this rule is for.";
    C to   section(&[TO_DISCONNECT]) "The disconnect.";
}

table! {
    CONNECT_CODES:
    C enabled    bool(false)                 "Use these rules.";
    C transforms objects(&[DISCONNECT_RULE]) "Which connect error becomes which disconnect.";
}

table! {
    LEGACY:
    B enabled                 bool(false) "Accept the plain form of older releases; needs the safe form switched on.";
    B secret_key              secret()    "Secret of this form alone; must be no other secret.";
    B timestamp_meaning       text("exp") "What the timestamp says: `exp` the end, `issued` the beginning.";
    B lifetime                secs(3600)  "With `issued`: how long credentials live.";
    C allow_without_timestamp bool(false) "Accept credentials without a timestamp. For development only.";
    C disable_after           unix(0)     "Refuse this form after that moment (Unix seconds); set it, so that the old form ends one day.";
}

table! {
    HMAC_CREDENTIALS:
    B enabled             bool(false)  "Accept signed credentials (`h1`) in place of a token.";
    B secret_key          secret()     "Shared secret, at least 16 bytes; must not be used for tokens or shared poll.";
    B previous_secret_key secret()     "Old secret, still accepted while you change over.";
    C previous_secret_key_valid_until unix(0) "Credentials accepted with the old secret until this moment (Unix seconds); 0 sets no end.";
    B max_ttl             secs(86_400) "Credentials that would live longer are refused.";
    C data_field          text("hmac") "Member of the connect data that may hold them.";
    B disallow_anonymous  bool(false)  "Refuse the empty user.";
    C insecure_short_key  bool(false)  "Allow secrets under 16 bytes. For tests only.";
    C tls_terminated_upstream bool(false) "TLS ends in front of this node: no warning about plain listeners.";
    B legacy              section(&[LEGACY]) "The plain form of older releases.";
}

table! {
    CLIENT:
    A proxy              section(&[PROXIES]) "Questions about connections for your backend.";
    A allowed_origins    texts(&[])          "Patterns of page origins that may connect, such as `https://*.example.com`; empty admits only requests without Origin, `*` all.";
    A token              section(&[TOKEN])   "How connection tokens are checked.";
    B subscription_token section(&[SUBSCRIPTION_TOKEN_SWITCH, TOKEN]) "How subscription tokens are checked, if differently.";
    A allow_anonymous_connect_without_token bool(false) "Admit clients without a token as the empty user.";
    B disallow_anonymous_connection_tokens  bool(false) "Refuse tokens whose user is empty.";
    B ping_interval                  off(25)       "How often clients are pinged; negative switches pings off.";
    B pong_timeout                   off(8)        "How long to wait for the answer, less than `ping_interval`; negative means none is expected.";
    B expired_close_delay            secs(25)      "Time to refresh an expired connection.";
    B expired_sub_close_delay        secs(25)      "Time to refresh an expired subscription.";
    B stale_close_delay              secs(10)      "Time for the connect frame to arrive.";
    A channel_limit                  int(128)      "Subscriptions of one connection.";
    B queue_max_size                 int(1_048_576) "Bytes waiting for a slow client before it is closed (3008).";
    C write_delay                    secs(0)       "Let everything for a client wait so long for more to write at once; 0 means not at all.";
    C max_messages_in_frame          signed(0)     "Messages that end this wait early; 0 means 16, -1 any number.";
    B presence_update_interval       secs(27)      "How often presence is renewed.";
    B concurrency                    int(0)        "Frames of one connection handled at once; 0 and 1 mean one after another.";
    C channel_position_check_delay   secs(40)      "How often the positions of subscribers are checked.";
    C channel_position_max_time_lag  secs(0)       "Largest delay of delivery before a subscriber must recover; 0 means any.";
    B connection_limit               int(0)        "Connections on this node; 0 means any number.";
    B user_connection_limit          int(0)        "Connections of one user on this node; 0 means any number.";
    B connection_rate_limit          int(0)        "New connections a second on this node; 0 means any number.";
    C connect_include_server_time    bool(false)   "Tell clients the time when they connect.";
    B history_max_publication_limit  int(300)      "Most publications a client gets from one history call.";
    B recovery_max_publication_limit int(300)      "Most publications recovered at once; who missed more is told so.";
    C insecure_skip_token_signature_verify bool(false) "Believe every token. For tests only.";
    B user_id_http_header            text("")      "Request header with the user, set by a proxy that you trust.";
    B insecure                       bool(false)   "No authentication, every client may do everything. For development only." [flag];
    B subscribe_to_user_personal_channel section(&[PERSONAL_CHANNEL]) "A channel for each user.";
    C connect_code_to_unidirectional_disconnect section(&[CONNECT_CODES]) "Other disconnects for unidirectional clients.";
    B hmac_credentials               section(&[HMAC_CREDENTIALS]) "Signed credentials, a light form of token (own to Centripetal)." [own];
}
