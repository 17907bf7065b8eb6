use opentelemetry::Key;

use super::*;

fn variables(pairs: &[(&str, &str)]) -> Variables {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

const IDENTITY: Identity<'static> = Identity {
    service: "centrifugo",
    node: "n1",
};

fn attribute(resource: &Resource, name: &'static str) -> Option<String> {
    let value = resource.get(&Key::from_static_str(name))?;
    Some(value.as_str().into_owned())
}

#[test]
fn a_resource_says_who_it_is_and_nothing_else() {
    let resource = resource::resource(IDENTITY, &Variables::default()).unwrap();
    assert_eq!(resource.len(), 3);
    let of = |name| attribute(&resource, name);
    assert_eq!(of("service.name").as_deref(), Some("centrifugo"));
    assert_eq!(of("service.instance.id").as_deref(), Some("n1"));
    assert_eq!(of("version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
}

#[test]
fn variables_go_on_top_and_the_name_of_the_service_wins() {
    let given = variables(&[
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=res, version=v9,a=b%20c,d=50%",
        ),
        ("OTEL_SERVICE_NAME", "own"),
    ]);
    let resource = resource::resource(IDENTITY, &given).unwrap();
    let of = |name| attribute(&resource, name);
    assert_eq!(of("service.name").as_deref(), Some("own"));
    assert_eq!(of("version").as_deref(), Some("v9"));
    assert_eq!(of("a").as_deref(), Some("b c"));
    assert_eq!(of("d").as_deref(), Some("50%"));
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let start = |pairs: &[(&str, &str)]| {
        Exporters::start(
            IDENTITY,
            &variables(pairs),
            &Registry::new(),
            &More::default(),
        )
        .map(drop)
    };
    let refused = [
        (("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"), "http/json"),
        (("OTEL_RESOURCE_ATTRIBUTES", "broken"), "[broken]"),
        (
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nosuch/ca.pem"),
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
        ),
    ];
    for (pair, expected) in refused {
        let error = start(&[pair]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(start(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).is_ok());
    assert!(start(&[]).is_ok());
}

#[test]
fn headers_do_not_show_in_debug() {
    let given = variables(&[(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "authorization=Bearer%20s3cret",
    )]);
    assert!(!format!("{given:?}").contains("s3cret"));
}
