//! Client transports (config.md 8.16–8.24).

use super::{
    shared::{CONNECT_RESPONSES, TLS},
    table::{bool, int, port, secs, section, text},
};

table! {
    WEBSOCKET:
    B disabled                  bool(false) "Serve no WebSocket.";
    A handler_prefix            text("/connection/websocket") "Path of the endpoint.";
    B compression               bool(false) "Compress messages (permessage-deflate).";
    C compression_min_size      int(0)      "Messages below this size stay as they are.";
    C compression_level         int(1)      "Effort, 1 to 9.";
    C read_buffer_size          int(0)      "Bytes; 0 means 4096.";
    C use_write_buffer_pool     bool(false) "Share write buffers between connections.";
    C write_buffer_size         int(0)      "Bytes; 0 means 4096.";
    B write_timeout             secs(1)     "Longest time for one write before the client is closed.";
    A message_size_limit        int(65_536) "Largest frame a client may send, in bytes.";
    C decompressed_message_size_limit int(0) "Largest frame once decompressed; 0 means ten times `message_size_limit`.";
}

table! {
    SSE:
    B enabled               bool(false)             "Serve SSE to bidirectional clients." [flag];
    B handler_prefix        text("/connection/sse") "Path of the endpoint.";
    C max_request_body_size int(65_536)             "Largest connect body, in bytes.";
}

table! {
    HTTP_STREAM:
    B enabled               bool(false)                     "Serve HTTP streaming to bidirectional clients." [flag];
    B handler_prefix        text("/connection/http_stream") "Path of the endpoint.";
    C max_request_body_size int(65_536)                     "Largest connect body, in bytes.";
}

table! {
    WEBTRANSPORT:
    C enabled            bool(false)                      "Serve WebTransport; needs HTTP/3." [missing];
    C handler_prefix     text("/connection/webtransport") "Path of the endpoint.";
    C message_size_limit int(65_536)                      "Largest frame a client may send, in bytes.";
}

table! {
    EMULATION:
    B handler_prefix        text("/emulation") "Path of the endpoint.";
    C max_request_body_size int(65_536)        "Largest body, in bytes.";
}

table! {
    UNI_WEBSOCKET:
    B enabled                   bool(false) "Serve WebSocket to clients that only listen." [flag];
    B handler_prefix            text("/connection/uni_websocket") "Path of the endpoint.";
    C compression               bool(false) "Compress messages (permessage-deflate).";
    C compression_min_size      int(0)      "Messages below this size stay as they are.";
    C compression_level         int(1)      "Effort, 1 to 9.";
    C read_buffer_size          int(0)      "Bytes; 0 means 4096.";
    C use_write_buffer_pool     bool(false) "Share write buffers between connections.";
    C write_buffer_size         int(0)      "Bytes; 0 means 4096.";
    C write_timeout             secs(1)     "Longest time for one write before the client is closed.";
    C message_size_limit        int(65_536) "Largest connect frame, in bytes.";
    C decompressed_message_size_limit int(0) "Largest connect frame once decompressed; 0 means ten times `message_size_limit`.";
    C disable_closing_handshake bool(false) "Send no close frame.";
    C disable_disconnect_push   bool(false) "Send no disconnect push before closing.";
    C join_push_messages        bool(false) "Put several pushes into one WebSocket message.";
}

table! {
    UNI_SSE:
    B enabled               bool(false)                 "Serve SSE to clients that only listen." [flag];
    B handler_prefix        text("/connection/uni_sse") "Path of the endpoint.";
    C max_request_body_size int(65_536)                 "Largest connect body, in bytes.";
    C connect_code_to_http_response section(&[CONNECT_RESPONSES]) "HTTP statuses for failed connects.";
}

table! {
    UNI_HTTP_STREAM:
    B enabled               bool(false)                         "Serve HTTP streaming to clients that only listen." [flag];
    B handler_prefix        text("/connection/uni_http_stream") "Path of the endpoint.";
    C max_request_body_size int(65_536)                         "Largest connect body, in bytes.";
    C connect_code_to_http_response section(&[CONNECT_RESPONSES]) "HTTP statuses for failed connects.";
}

table! {
    UNI_GRPC:
    A enabled bool(false)     "Serve gRPC to clients that only listen." [flag];
    B address text("")        "Host to listen on; empty means all interfaces.";
    A port    port(11000)     "Port of the unidirectional gRPC listener." [flag];
    C max_receive_message_size int(0) "Largest request in bytes; 0 means 4 MiB.";
    B tls     section(&[TLS]) "TLS on this listener.";
}
