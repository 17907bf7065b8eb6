//! Channels, namespaces, RPC and named proxies (config.md 7.6, 8.10–8.12).

use super::{
    shared::PROXY,
    table::{bool, int, named, off, secs, section, text, texts},
};

table! {
    MAP:
    C mode                         text("")    "How keys live: `ephemeral`, `recoverable` or `persistent`. Needed for map channels.";
    C key_ttl                      secs(0)     "Life of a key; needed unless keys are persistent, and then not allowed.";
    C stream_size                  int(0)      "Changes kept for those who come back; 0 means 100.";
    C stream_ttl                   secs(0)     "Life of these changes; 0 means one minute.";
    C meta_ttl                     secs(0)     "Life of offset and epoch; 0 takes it from the other two.";
    C remove_client_on_unsubscribe bool(false) "Remove the client's key when it unsubscribes.";
    C client_key                   text("")    "Key that clients write under: `client_id`, `user_id`, or empty for their own choice.";
    C allow_publish_for_client     bool(false) "Every client may write.";
    C allow_publish_for_subscriber bool(false) "Subscribers may write.";
    C allow_publish_for_anonymous  bool(false) "The two rules above hold for the empty user as well.";
    C allow_remove_for_client      bool(false) "Every client may remove keys.";
    C allow_remove_for_subscriber  bool(false) "Subscribers may remove keys.";
    C allow_remove_for_anonymous   bool(false) "The two rules above hold for the empty user as well.";
    C publish_proxy_enabled        bool(false) "Ask the backend before a key is written." [missing];
    C publish_proxy_name           text("default") "Proxy to ask then.";
    C remove_proxy_enabled         bool(false) "Ask the backend before a key is removed." [missing];
    C remove_proxy_name            text("default") "Proxy to ask then.";
    C default_page_size            int(0)      "Keys on a page when the client does not say; 0 means 100.";
    C min_page_size                int(0)      "Smallest page; 0 means 100.";
    C max_page_size                int(0)      "Largest page; 0 means 1000.";
    C live_transition_max_publication_limit int(0) "Changes read when a subscriber goes live; 0 means the largest page.";
    C subscribe_catch_up_timeout   off(0)      "Longest time for catching up; 0 means 5 s, negative none.";
}

table! {
    SHARED_POLL:
    C proxy_name                text("")    "Proxy to poll; empty means `channel.proxy.shared_poll_refresh`.";
    C refresh_interval          secs(0)     "How often to poll; 0 means 10 s.";
    C refresh_batch_size        int(0)      "Keys in one call; 0 means 1000.";
    C max_keys_per_connection   int(0)      "Keys one connection may track; 0 means 5000.";
    C mode                      text("")    "`versionless` (the same as empty) or `versioned`.";
    C channel_shutdown_delay    off(0)      "Keep polling this long after the last key; 0 means 1 s, negative not at all.";
    C track_expired_extra_delay secs(0)     "Grace after a track signature ends; 0 means 25 s.";
    C publish_enabled           bool(false) "Accept values from the server API; only in versioned mode.";
}

table! {
    /// config.md 7.6. Nothing is inherited between namespaces.
    OPTIONS:
    A presence              bool(false) "Keep track of who is in the channel.";
    A join_leave            bool(false) "Announce who comes and goes.";
    B force_push_join_leave bool(false) "Deliver these announcements to every subscriber, asked for or not.";
    C map_clients_presence_channel_prefix text("") "Presence by client as a map channel whose name begins like this." [missing];
    C map_users_presence_channel_prefix   text("") "Presence by user as a map channel whose name begins like this." [missing];
    A history_size          int(0)      "Publications kept for those who come back; 0 keeps none. Goes with `history_ttl`.";
    A history_ttl           secs(0)     "How long they are kept, in whole seconds. Goes with `history_size`.";
    C history_meta_ttl      secs(0)     "How long offset and epoch are remembered; 0 means `channel.history_meta_ttl`.";
    B force_positioning     bool(false) "Watch every subscriber for missed publications.";
    B allow_positioning     bool(false) "Watch those subscribers who ask for it.";
    A force_recovery        bool(false) "Give every subscriber what it missed; needs history.";
    B allow_recovery        bool(false) "Give it to those subscribers who ask for it.";
    B force_recovery_mode   text("")    "`stream` (the same as empty): all that was missed; `cache`: only the newest publication.";
    C auto_cache_recover    bool(false) "Send the newest publication with every subscribe; needs cache mode.";
    B allowed_delta_types   texts(&[])  "Delta formats that clients may ask for; `fossil` is the only one.";
    C allow_tags_filter     bool(false) "Clients may choose publications by their tags.";
    B delta_publish         bool(false) "Every publication counts as one made for deltas.";
    C allow_channel_compaction bool(false) "Clients may ask for a number in place of the channel's name in everything they are sent of it.";
    C exclude_publisher     bool(false) "What a client publishes does not come back to this very connection.";
    C batch_max_size        int(0)      "Write so many publications of a channel to a subscriber at once; 0 means any number. Needs `batch_max_delay`.";
    C batch_max_delay       secs(0)     "Let publications of a channel wait so long for each other; 0 means not at all.";
    C batch_flush_latest    bool(false) "Write only the newest publication of a batch; not together with deltas.";
    C slow_policy           text("disconnect") "When a client reads too slowly: `disconnect`, `latest` keeps the newest publication, `recover` brings it up to date from history.";
    A allow_subscribe_for_anonymous bool(false) "The next rule holds for the empty user as well.";
    A allow_subscribe_for_client    bool(false) "Clients may subscribe without a token.";
    B allow_publish_for_anonymous   bool(false) "The two rules below hold for the empty user as well.";
    A allow_publish_for_subscriber  bool(false) "Subscribers may publish.";
    A allow_publish_for_client      bool(false) "Every client may publish.";
    B allow_presence_for_anonymous  bool(false) "The two rules below hold for the empty user as well.";
    A allow_presence_for_subscriber bool(false) "Subscribers may ask who is there.";
    B allow_presence_for_client     bool(false) "Every client may ask who is there.";
    B allow_history_for_anonymous   bool(false) "The two rules below hold for the empty user as well.";
    A allow_history_for_subscriber  bool(false) "Subscribers may read history.";
    B allow_history_for_client      bool(false) "Every client may read history.";
    B allow_user_limited_channels   bool(false) "Honour a list of users in the channel's name, as in `news#ann,bob`.";
    C channel_regex         text("")    "Pattern for the name behind the namespace; also allows letters beyond ASCII.";
    C publication_data_format text("")  "What payloads must be: `json`, `json_object`, `binary`; empty means as `channel.publication_data_format` says.";
    A subscribe_proxy_enabled       bool(false)     "Ask the backend about subscriptions.";
    B subscribe_proxy_name          text("default") "Proxy to ask then.";
    A publish_proxy_enabled         bool(false)     "Ask the backend about publications of clients.";
    B publish_proxy_name            text("default") "Proxy to ask then.";
    B sub_refresh_proxy_enabled     bool(false)     "Ask the backend when a subscription expires.";
    B sub_refresh_proxy_name        text("default") "Proxy to ask then.";
    C subscribe_stream_proxy_enabled bool(false)    "Let a stream from the backend feed each subscription.";
    C subscribe_stream_proxy_name   text("default") "Proxy that streams then.";
    C subscribe_stream_proxy_bidirectional bool(false) "Clients may send into that stream.";
    C subscription_type     text("")    "Kind of channel: empty or `stream`, `map`, `map_clients`, `map_users`, `shared_poll`." [only(&["", "stream"])];
    C map                   section(&[MAP])         "Only for map channels.";
    C shared_poll           section(&[SHARED_POLL]) "Only for shared-poll channels.";
}

table! {
    NAMESPACE:
    A name text("") "Name: two or more of letters, digits, `-`, `_`, `.`; channels are called `name:rest`.";
}

table! {
    PROXIES:
    A subscribe           section(&[PROXY]) "Asked about subscriptions.";
    A publish             section(&[PROXY]) "Asked about publications.";
    B sub_refresh         section(&[PROXY]) "Asked when subscriptions expire.";
    C subscribe_stream    section(&[PROXY]) "Streams into subscriptions; gRPC only.";
    C map_publish         section(&[PROXY]) "Asked before map keys are written.";
    C map_remove          section(&[PROXY]) "Asked before map keys are removed.";
    C shared_poll_refresh section(&[PROXY]) "Polled for shared-poll channels.";
}

table! {
    CHANNEL:
    A proxy                   section(&[PROXIES])  "The proxies called `default`, one for each question.";
    A without_namespace       section(&[OPTIONS])  "Options of channels whose name has no namespace.";
    A namespaces              named(&[NAMESPACE, OPTIONS]) "Namespaces: channels with options of their own.";
    B history_meta_ttl        secs(2_592_000)      "How long offset and epoch are remembered, in whole seconds.";
    C publication_data_format text("")             "What payloads must be everywhere: `json`, `json_object`, `binary`; empty means JSON for JSON clients.";
    B max_length              int(255)             "Longest channel name a client may use, in bytes.";
    B private_prefix          text("$")            "Channels that begin like this need a token.";
    B namespace_boundary      text(":")            "Between namespace and rest of a name.";
    B user_boundary           text("#")            "Before the list of users in a name.";
    C user_separator          text(",")            "Between users in that list.";
}

table! {
    RPC_OPTIONS:
    A proxy_enabled bool(false)     "Let the backend answer these methods.";
    B proxy_name    text("default") "Proxy to ask then.";
}

table! {
    RPC_NAMESPACE:
    B name text("") "Name: two or more of letters, digits, `-`, `_`, `.`; methods are called `name:rest`.";
}

table! {
    PING:
    C enabled bool(false)  "Answer this method without asking anybody.";
    C method  text("ping") "Name of the method.";
}

table! {
    RPC:
    A proxy              section(&[PROXY])       "The proxy called `default`.";
    A without_namespace  section(&[RPC_OPTIONS]) "Methods whose name has no namespace.";
    B namespaces         named(&[RPC_NAMESPACE, RPC_OPTIONS]) "Groups of methods with options of their own.";
    C ping               section(&[PING])        "A built-in method for trying things out.";
    C namespace_boundary text(":")               "Between namespace and rest of a method's name.";
}

table! {
    NAMED_PROXY:
    B name text("") "Name: two or more of letters, digits, `-`, `_`, `.`; `default` is taken.";
}
