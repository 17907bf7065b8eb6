//! The gRPC adapter, through tonic's client, against the recorded answers.

use serde_json::{Value, json};
use tonic::{
    metadata::{MetadataKey, MetadataValue},
    transport::Uri,
};

use super::*;
use crate::api::tests::{CONFIG, api, golden};

fn grpc_config(recorded: &Value) -> GrpcConfig {
    GrpcConfig {
        enabled: true,
        error_mode: serde_json::from_value(
            recorded.get("error_mode").cloned().unwrap_or(json!("")),
        )
        .unwrap(),
        address: String::new(),
        port: 10000,
        key: recorded["key"].as_str().unwrap_or_default().into(),
        reflection: false,
        max_receive_message_size: recorded["max_receive_message_size"]
            .as_u64()
            .map_or(0, |size| usize::try_from(size).unwrap()),
    }
}

/// Bytes in both directions.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Messages;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Messages {
        Messages
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        use bytes::BufMut as _;
        out.put(item);
        Ok(())
    }
}

struct Question {
    method: String,
    body: Vec<u8>,
    metadata: Vec<(String, String)>,
    gzip: bool,
}

async fn ask(service: &Service, question: Question) -> Result<Bytes, Status> {
    let mut client =
        tonic::client::Grpc::with_origin(service.clone(), Uri::from_static("http://localhost"));
    if question.gzip {
        client = client.send_compressed(CompressionEncoding::Gzip);
    }
    let mut request = tonic::Request::new(Bytes::from(question.body));
    for (name, value) in &question.metadata {
        let name: MetadataKey<_> = name.parse().unwrap();
        request
            .metadata_mut()
            .append(name, MetadataValue::try_from(value).unwrap());
    }
    client.ready().await.unwrap();
    let path = format!("/{NAME}/{}", question.method).parse().unwrap();
    client
        .unary(request, path, Raw)
        .await
        .map(tonic::Response::into_inner)
}

async fn call(service: &Service, method: &str, body: &[u8]) -> Result<Bytes, Status> {
    ask(
        service,
        Question {
            method: method.to_owned(),
            body: body.to_vec(),
            metadata: Vec::new(),
            gzip: false,
        },
    )
    .await
}

/// Recorded fields as a message: number, kind (`s` text, `v` integer, `m` message, `x` hex, `big` so many bytes), value.
fn pack(fields: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields.as_array().into_iter().flatten() {
        let number = usize::try_from(field[0].as_u64().unwrap()).unwrap();
        let value = &field[2];
        let body = match field[1].as_str().unwrap() {
            "v" => {
                prost::encode_length_delimiter(number << 3, &mut out).unwrap();
                let value = value.as_i64().unwrap().cast_unsigned();
                prost::encode_length_delimiter(usize::try_from(value).unwrap(), &mut out).unwrap();
                continue;
            }
            "m" => pack(value),
            "x" => unhex(value.as_str().unwrap()),
            "big" => vec![b'x'; usize::try_from(value.as_u64().unwrap()).unwrap()],
            _ => value.as_str().unwrap().as_bytes().to_vec(),
        };
        prost::encode_length_delimiter(number << 3 | 2, &mut out).unwrap();
        prost::encode_length_delimiter(body.len(), &mut out).unwrap();
        out.extend(body);
    }
    out
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn recorded_question(step: &Value, key: &str) -> Question {
    let mut metadata: Vec<_> = step["metadata"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|pair| {
            (
                pair[0].as_str().unwrap().to_owned(),
                pair[1].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    if !key.is_empty() && step["key"] != json!(false) {
        metadata.push(("authorization".to_owned(), format!("apikey {key}")));
    }
    Question {
        method: step["method"].as_str().unwrap().to_owned(),
        body: step["hex"]
            .as_str()
            .map_or_else(|| pack(&step["fields"]), unhex),
        metadata,
        gzip: step["gzip"] == json!(true),
    }
}

/// True when the answer does not depend on namespaces, engine or connections.
fn before_the_node(name: &str, expected: &Value) -> bool {
    if matches!(name, "publish_empty_data" | "batch" | "publish_history") {
        return false;
    }
    if expected["code"] == json!("OK") {
        let error = expected["response"]["error"]["code"].as_u64();
        return matches!(error, Some(100 | 102 | 104 | 107)) || expected["hex"] == json!("");
    }
    let by_node = [
        "not available",
        "unrecoverable position",
        "internal server error",
    ];
    !by_node.contains(&expected["message"].as_str().unwrap())
}

fn code_name(code: Code) -> String {
    let name = format!("{code:?}");
    name.chars().fold(String::new(), |mut out, c| {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
        out
    })
}

fn compare(name: &str, expected: &Value, seen: &Result<Bytes, Status>) {
    match seen {
        Ok(bytes) => {
            assert_eq!(expected["code"], json!("OK"), "{name}");
            assert_eq!(expected["hex"], json!(hex(bytes)), "{name}");
        }
        Err(status) => {
            assert_eq!(
                expected["code"],
                json!(code_name(status.code())),
                "{name} {status:?}"
            );
            let text = expected["message"].as_str().unwrap();
            let prefix = "grpc: error unmarshalling request: ";
            if text.starts_with(prefix) {
                assert!(status.message().starts_with(prefix), "{name} {status:?}");
            } else if text.contains("<size>") {
                let limits = ["(5242888 vs. 4194304)", "(2006 vs. 1000)"];
                assert!(
                    limits
                        .iter()
                        .any(|l| *status.message() == text.replace("(<size> vs. <size>)", l)),
                    "{name} {status:?}"
                );
            } else {
                assert_eq!(text, status.message(), "{name}");
            }
            let details = expected["details"].as_str().unwrap_or_default();
            assert_eq!(details, hex(status.details()), "{name}");
        }
    }
}

#[tokio::test]
async fn recorded_answers_that_need_no_node() {
    let requests = golden("grpc.json");
    let mut compared = 0;
    for (config_name, config) in requests["configs"].as_object().unwrap() {
        let config = grpc_config(&config["grpc_api"]);
        let (api, _, _) = api(CONFIG);
        let service = service(api, &config);
        let expected = golden(&format!("expected/grpc_{config_name}.json"));
        for case in requests["cases"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            if case["config"] != json!(config_name)
                || name.starts_with("other_Map")
                || name.starts_with("other_Shared")
            {
                continue;
            }
            let steps = match case["steps"].as_array() {
                Some(steps) => steps.clone(),
                None => vec![json!({ "request": case })],
            };
            if steps.iter().any(|step| step.get("request").is_none()) {
                continue; // Needs connections.
            }
            for (step, expected) in steps.iter().zip(expected[name].as_array().unwrap()) {
                let step = &step["request"];
                if before_the_node(name, expected) {
                    let seen = ask(&service, recorded_question(step, config.key.expose())).await;
                    compare(name, expected, &seen);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 28, "{compared} answers compared");
}

#[tokio::test]
async fn methods_that_are_not_served_say_so_behind_the_key() {
    let (api, _, _) = api(CONFIG);
    let open = service(api.clone(), &grpc_config(&json!({})));
    let guarded = service(api, &grpc_config(&json!({ "key": "k" })));
    for (_, method) in UNSERVED {
        let status = call(&open, method, b"").await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(status.message(), format!("method {method} not implemented"));
        assert_eq!(
            call(&guarded, method, b"").await.unwrap_err().code(),
            Code::Unauthenticated
        );
    }
    let unknown = call(&guarded, "NoSuch", b"").await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    let all = Method::ALL.iter().map(|method| method.rpc_name());
    for method in all.chain(["Batch"]) {
        assert_eq!(
            call(&guarded, method, b"").await.unwrap_err().code(),
            Code::Unauthenticated
        );
        assert!(call(&open, method, b"").await.is_ok(), "{method}");
    }
}

#[tokio::test]
async fn undecodable_messages_are_internal_for_every_method() {
    let (api, _, _) = api(CONFIG);
    let service = service(api, &grpc_config(&json!({})));
    let all = Method::ALL.iter().map(|method| method.rpc_name());
    for method in all.chain(["Batch"]) {
        for body in [
            &b"\x0a\xff"[..],
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let status = call(&service, method, body).await.unwrap_err();
            assert_eq!(status.code(), Code::Internal, "{method}");
            assert!(
                status
                    .message()
                    .starts_with("grpc: error unmarshalling request: "),
                "{status:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_batch_carries_each_answer_in_its_field() {
    let (api, registry, _) = api(CONFIG);
    let service = service(api, &grpc_config(&json!({})));
    // publish {}, nothing, disconnect {user: "u"}, connections {}, channels {}, channels {pattern: "["}
    let commands = json!([
        [1, "m", [[4, "m", []]]],
        [1, "m", []],
        [1, "m", [[8, "m", [[1, "s", "u"]]]]],
        [1, "m", [[17, "m", []]]],
        [1, "m", [[16, "m", []]]],
        [1, "m", [[16, "m", [[1, "s", "["]]]]]
    ]);
    let expected = json!([
        [1, "m", [[2, "m", [[1, "v", 107], [2, "s", "bad request"]]]]],
        [1, "m", [[2, "m", [[1, "v", 104], [2, "s", "not found"]]]]],
        [1, "m", [[8, "m", []]]],
        [1, "m", [[2, "m", [[1, "v", 104], [2, "s", "not found"]]]]],
        [1, "m", [[16, "m", []]]],
        [
            1,
            "m",
            [[2, "m", [[1, "v", 100], [2, "s", "internal server error"]]]]
        ]
    ]);
    for parallel in [0, 1] {
        let mut body = pack(&commands);
        body.extend(pack(&json!([[2, "v", parallel]])));
        assert_eq!(
            hex(&call(&service, "Batch", &body).await.unwrap()),
            hex(&pack(&expected))
        );
    }
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    assert!(
        text.contains("errors_total{error=\"104\",method=\"unknown\",protocol=\"grpc\"} 4"),
        "{text}"
    );
    assert!(
        text.contains("seconds_count{method=\"disconnect\",protocol=\"grpc\"} 2"),
        "{text}"
    );
}

#[test]
fn statuses_carry_the_error() {
    for (error, code) in [
        (Error::Internal, Code::Internal),
        (Error::UnknownChannel, Code::NotFound),
        (Error::NotFound, Code::NotFound),
        (Error::BadRequest, Code::InvalidArgument),
        (Error::NotAvailable, Code::InvalidArgument),
        (Error::UnrecoverablePosition, Code::OutOfRange),
    ] {
        let status = status(error);
        assert_eq!(
            (status.code(), status.message()),
            (code, error.to_string().as_str())
        );
        let details = Details::decode(status.details()).unwrap();
        assert_eq!(
            Failure::decode(details.details[0].value.as_slice()).unwrap(),
            error.into()
        );
    }
    let recorded = golden("expected/grpc_open.json");
    for (n, error) in [
        (2, Error::NotAvailable),
        (4, Error::UnrecoverablePosition),
        (5, Error::Internal),
    ] {
        compare(
            "transport_metadata",
            &recorded["transport_metadata"][n],
            &Err(status(error)),
        );
    }
}

#[test]
fn an_unrecoverable_position_is_not_taken_for_a_large_message() {
    let response = with_limit_status(status(Error::UnrecoverablePosition).into_http());
    assert_eq!(
        Status::from_header_map(response.headers()).unwrap().code(),
        Code::OutOfRange
    );
}

#[tokio::test]
async fn the_service_fits_into_a_server() {
    let (api, _, _) = api(CONFIG);
    let service = service(api, &grpc_config(&json!({})));
    let mut routes = tonic::service::Routes::new(service);
    let request = http::Request::post(format!("/{NAME}/Channels"))
        .header("content-type", "application/grpc")
        .body(Body::new(http_body_util::Full::new(Bytes::from_static(&[
            0, 0, 0, 0, 0,
        ]))))
        .unwrap();
    let response = tower::Service::call(&mut routes, request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(
        body.to_bytes(),
        &[0, 0, 0, 0, 2, 0x12, 0][..],
        "an empty result"
    );
}
