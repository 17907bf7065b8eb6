//! What the backend decides, and what a client then sees (proxy.md 8 to 13, 21).

use serde_json::{Value, json};

use super::{Backend, Way, introduced, on_all_proxies, on_both_ways, rpc, series};
use crate::{
    harness::{HEX, Transport, eventually, server},
    support::Server,
};

on_both_ways!(
    the_backend_says_who_connects,
    a_token_makes_no_question,
    whoever_the_backend_does_not_know_needs_another_way_in,
    channels_of_a_connection_are_the_backends,
    an_expired_connection_goes_on_while_the_backend_says_so,
    the_backend_opens_rooms,
    an_expired_subscription_goes_on_while_the_backend_says_so,
    what_is_published_is_the_backends,
    methods_have_namespaces,
    refusals_reach_the_client,
    binary_payloads_travel_as_base64,
    meta_goes_along_when_it_may,
    every_transport_is_served,
    questions_are_counted,
);

async fn the_backend_says_who_connects(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    let mut client = Transport::Json.open(&server).await;
    let result = client
        .connect(json!({"data": {"name": "ann"}, "subs": {"rooms:asked": {}, "open:asked": {}}}))
        .await;
    assert_eq!(result["data"], json!({"hello": "ann"}));
    let subs = result["subs"].as_object().unwrap();
    assert_eq!(
        subs.keys().collect::<Vec<_>>(),
        ["news", "rooms:asked"],
        "only what the backend echoes"
    );
    let told = rpc(&mut client, "whoami", Value::Null).await;
    assert_eq!(told["user"], "ann");
    for (name, code) in [("nobody", 1001), ("forbidden", 100)] {
        let mut refused = Transport::Json.open(&server).await;
        let request = json!({"connect": {"data": {"name": name}}});
        assert_eq!(refused.refused(request).await, code, "{name}");
    }
    let mut banned = Transport::Json.open(&server).await;
    banned
        .request(json!({"connect": {"data": {"name": "banned"}}}))
        .await;
    banned.closed(4501, "banned").await;
}

async fn a_token_makes_no_question(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    let mut client = Transport::Json.user(&server, "bob").await;
    rpc(&mut client, "add", json!({})).await;
    assert_eq!(backend.asked("connect").await, 0);
}

async fn whoever_the_backend_does_not_know_needs_another_way_in(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    let closed = server(settings.clone()).await;
    let mut unknown = Transport::Json.open(&closed).await;
    unknown.request(json!({"connect": {}})).await;
    unknown.closed(3501, "bad request").await;
    settings["client"]["allow_anonymous_connect_without_token"] = json!(true);
    let open = server(settings).await;
    let mut unknown = Transport::Json.connect(&open, json!({})).await;
    assert_eq!(rpc(&mut unknown, "whoami", Value::Null).await["user"], "");
    // A refusal is a refusal, whoever else might come in.
    let mut banned = Transport::Json.open(&open).await;
    let request = json!({"connect": {"data": {"name": "nobody"}}});
    assert_eq!(banned.refused(request).await, 1001);
}

async fn channels_of_a_connection_are_the_backends(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    let mut client = Transport::Json.open(&server).await;
    let request = json!({"connect": {"data": {"name": "ann", "channels": ["zz:1"]}}});
    assert_eq!(client.refused(request).await, 102);
    let mut late = Transport::Json.open(&server).await;
    let request = json!({"connect": {"data": {"name": "ann", "ttl": -10}}});
    assert_eq!(late.refused(request).await, 110);
}

async fn an_expired_connection_goes_on_while_the_backend_says_so(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    let mut stays = Transport::Json.open(&server).await;
    let result = stays
        .connect(json!({"data": {"name": "ann", "ttl": 2}}))
        .await;
    assert_eq!(
        result.get("expires"),
        None,
        "the server refreshes: {result}"
    );
    let mut fails = Transport::Json.open(&server).await;
    fails
        .connect(json!({"data": {"name": "bob", "ttl": 2}}))
        .await;
    for (name, code, reason) in [
        ("gone", 3005, "connection expired"),
        ("nothing", 3005, "connection expired"),
    ] {
        let mut ends = Transport::Json.open(&server).await;
        ends.connect(json!({"data": {"name": name, "ttl": 1}}))
            .await;
        ends.closed(code, reason).await;
    }
    // A client has no business refreshing what the server refreshes.
    fails.request(json!({"refresh": {"token": "x"}})).await;
    fails.closed(3501, "bad request").await;
    eventually("all are asked about", || async {
        backend.asked("refresh").await >= 3
    })
    .await;
    assert_eq!(rpc(&mut stays, "whoami", Value::Null).await["user"], "ann");
}

async fn the_backend_opens_rooms(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    let mut client = introduced(Transport::Json, &server, "ann").await;
    let result = client
        .subscribe(json!({"channel": "rooms:one", "recoverable": true, "positioned": true}))
        .await;
    assert_eq!(result["data"], json!({"topic": "one"}));
    assert_eq!(result.get("recoverable"), None, "wishes do not count here");
    let presence = client
        .call(json!({"presence": {"channel": "rooms:one"}}))
        .await;
    // The namespace has no presence, so the feature is off, although this subscription would have it.
    assert_eq!(presence["error"]["code"], 108);
    let plain = client.subscribe(json!({"channel": "rooms:plain"})).await;
    assert_eq!(plain, json!({}), "an empty answer is a permission");
    let request = |room: &str| json!({"subscribe": {"channel": room}});
    assert_eq!(client.refused(request("rooms:secret")).await, 1403);
    assert_eq!(client.refused(request("rooms:forbidden")).await, 100);
    let late = json!({"subscribe": {"channel": "rooms:x", "data": {"ttl": -5}}});
    assert_eq!(client.refused(late).await, 110);
    client.request(request("rooms:private")).await;
    client.closed(4502, "stay away").await;
}

async fn an_expired_subscription_goes_on_while_the_backend_says_so(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    let mut client = introduced(Transport::Json, &server, "ann").await;
    for room in ["rooms:staying", "rooms:closing"] {
        let result = client
            .subscribe(json!({"channel": room, "data": {"ttl": 1}}))
            .await;
        assert_eq!(result.get("expires"), None, "the server refreshes");
    }
    let push = client.push().await;
    assert_eq!(push["channel"], "rooms:closing");
    assert_eq!(push["unsubscribe"]["code"], 2501);
    eventually("both are asked about", || async {
        backend.asked("sub_refresh").await >= 2
    })
    .await;
    assert!(client.so_far().await.is_empty(), "the other one stays");
    let frame = json!({"sub_refresh": {"channel": "rooms:staying", "token": "x"}});
    client.request(frame).await;
    client.closed(3501, "bad request").await;
}

async fn what_is_published_is_the_backends(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    let mut client = introduced(Transport::Json, &server, "ann").await;
    client.subscribe(json!({"channel": "said:all"})).await;
    client.publish("said:all", json!({"text": "hi"})).await;
    let push = client.push().await;
    assert_eq!(push["pub"]["data"], json!({"text": "hi", "checked": true}));
    assert_eq!(push["pub"]["tags"], json!({"lang": "en"}));
    assert_eq!(push["pub"]["info"]["user"], "ann");
    assert_eq!(push["pub"]["info"]["conn_info"], json!({"name": "ann"}));
    // Nothing was replaced: the payload as it came.
    client.publish("said:all", json!(5)).await;
    assert_eq!(client.push().await["pub"]["data"], 5);
    let spam = json!({"publish": {"channel": "said:all", "data": {"text": "spam"}}});
    assert_eq!(client.refused(spam).await, 1400);
    let unknown = json!({"publish": {"channel": "zz:1", "data": 1}});
    assert_eq!(client.refused(unknown).await, 102);
    let asked = backend.asked("publish").await;
    assert_eq!(asked, 3, "what is refused here is not asked there");
}

async fn methods_have_namespaces(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    let mut client = Transport::Json.user(&server, "ann").await;
    let numbers = json!({"a": 2, "b": 3});
    for method in ["add", "chat:add"] {
        let sum = rpc(&mut client, method, numbers.clone()).await;
        assert_eq!(sum, json!({"sum": 5}), "{method}");
    }
    let request = |method: &str| json!({"rpc": {"method": method}});
    assert_eq!(client.refused(request("nowhere:add")).await, 104);
    assert_eq!(client.refused(request("off:add")).await, 108);
    assert_eq!(client.refused(request("unknown")).await, 1404);
    let nothing = client.call(request("nothing")).await;
    assert_eq!(nothing, json!({"rpc": {}}), "no result is an empty answer");
    client.request(request("quit")).await;
    client.closed(4501, "come back never").await;
}

async fn refusals_reach_the_client(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    let rules = json!([{"status_code": 403, "to_error": {"code": 1403, "message": "not for you"}}]);
    on_all_proxies(&mut settings, |proxy| {
        proxy["http"] = json!({"status_to_code_transforms": rules});
    });
    let server = server(settings).await;
    let mut client = introduced(Transport::Json, &server, "ann").await;
    let request = json!({"subscribe": {"channel": "rooms:forbidden"}});
    let failed = series(&server, "centrifugo_proxy_errors", way, "subscribe").await;
    let (code, failures) = match way {
        Way::Http => (1403, 0.0),
        // gRPC statuses are not interpreted.
        Way::Grpc => (100, 1.0),
    };
    assert_eq!(client.refused(request).await, code);
    let counted = failed.value().await;
    assert!((counted - failures).abs() < f64::EPSILON, "{counted}");
}

async fn binary_payloads_travel_as_base64(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    {
        let plain = server(settings.clone()).await;
        let mut client = Transport::Protobuf.user(&plain, "ann").await;
        let told = rpc(&mut client, "whoami", Value::Null).await;
        assert_eq!(told["encoding"], "json");
        assert_eq!(told["about"]["protocol"], "protobuf");
        // Without base64 HTTP can carry JSON only; gRPC carries any bytes.
        let binary = json!({"rpc": {"method": "echo", "data": {HEX: "00ff"}}});
        let reply = client.call(binary).await;
        match way {
            Way::Http => assert_eq!(reply["error"]["code"], 100, "{reply}"),
            Way::Grpc => assert_eq!(reply["rpc"]["data"], json!({HEX: "00ff"})),
        }
    }
    on_all_proxies(&mut settings, |proxy| {
        proxy["binary_encoding"] = json!(true)
    });
    let binary = server(settings).await;
    let mut client = Transport::Protobuf.user(&binary, "ann").await;
    let told = rpc(&mut client, "echo", json!({HEX: "00ff"})).await;
    assert_eq!(told, json!({HEX: "00ff"}));
}

async fn meta_goes_along_when_it_may(way: Way) {
    let backend = Backend::start().await;
    let mut settings = backend.settings(way);
    let without = server(settings.clone()).await;
    let mut client = introduced(Transport::Json, &without, "ann").await;
    assert_eq!(
        rpc(&mut client, "whoami", json!({})).await["meta"],
        Value::Null
    );
    on_all_proxies(&mut settings, |proxy| {
        proxy["include_connection_meta"] = json!(true);
    });
    let with = server(settings).await;
    let mut client = introduced(Transport::Json, &with, "ann").await;
    let told = rpc(&mut client, "whoami", json!({})).await;
    assert_eq!(told["meta"], json!({"since": "today"}));
    let token = Server::token(&json!({"sub": "bob", "meta": {"role": "admin"}}));
    let mut client = Transport::Json
        .connect(&with, json!({"token": token}))
        .await;
    let told = rpc(&mut client, "whoami", json!({})).await;
    assert_eq!(told["meta"], json!({"role": "admin"}));
}

async fn every_transport_is_served(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    for on in Transport::ALL {
        let mut client = introduced(on, &server, "ann").await;
        let told = rpc(&mut client, "whoami", json!({})).await;
        let expected = match on {
            Transport::Grpc => ("grpc", "protobuf"),
            Transport::Json => ("websocket", "json"),
            _ => ("websocket", "protobuf"),
        };
        assert_eq!(told["about"]["transport"], expected.0);
        assert_eq!(told["about"]["protocol"], expected.1);
        assert_eq!(told["about"]["client"], client.id.as_str());
        let sum = rpc(&mut client, "add", json!({"a": 1, "b": 2})).await;
        assert_eq!(sum, json!({"sum": 3}));
    }
}

async fn questions_are_counted(way: Way) {
    let backend = Backend::start().await;
    let server = server(backend.settings(way)).await;
    let took = series(
        &server,
        "centrifugo_proxy_duration_seconds_count",
        way,
        "rpc",
    )
    .await;
    let histogram = "centrifugo_proxy_duration_seconds_histogram_count";
    let histogram = series(&server, histogram, way, "rpc").await;
    let running = series(&server, "centrifugo_proxy_inflight_requests", way, "rpc").await;
    let shown = server.get("/metrics").await.1;
    for kind in [
        "connect",
        "refresh",
        "subscribe",
        "publish",
        "sub_refresh",
        "rpc",
    ] {
        let protocol = way.protocol();
        let series = format!(
            "centrifugo_proxy_errors{{name=\"default\",protocol=\"{protocol}\",type=\"{kind}\"}} 0"
        );
        assert!(
            shown.contains(&series),
            "series are there from the beginning: {series}"
        );
    }
    let mut client = Transport::Json.user(&server, "ann").await;
    rpc(&mut client, "add", json!({"a": 1})).await;
    let think = client
        .request(json!({"rpc": {"method": "think", "data": {"ms": 1000}}}))
        .await;
    running.increased().await;
    assert_eq!(client.answer(think).await["rpc"]["data"]["thought"], 1000);
    assert!(running.value().await.abs() < f64::EPSILON);
    assert!((took.value().await - 2.0).abs() < f64::EPSILON);
    assert!((histogram.value().await - 2.0).abs() < f64::EPSILON);
}
