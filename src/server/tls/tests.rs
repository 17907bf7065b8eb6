//! Certificates in all forms, handshakes, names, and what a reload changes.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, IsCa, Issuer, KeyPair, SanType,
    string::Ia5String,
};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsConnector;

use super::*;
use crate::config::{Sources, load};

/// An authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new([]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn server(&self) -> Pair {
        self.sign(|params| {
            let names = vec!["localhost".to_owned()];
            params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
        })
    }
}

fn config(tree: Value) -> Config {
    let tree = load(&Sources::value(tree)).unwrap().config;
    tree.section("").unwrap()
}

fn section(pair: &Pair) -> Value {
    json!({"enabled": true, "cert_pem": pair.certificate, "key_pem": pair.key})
}

/// TLS on the gRPC listener.
fn grpc(tls: &Value, identity: &str) -> Config {
    config(json!({"centripetal": {"grpc": {"tls": tls, "identity": identity}}}))
}

fn refusal(tls: &Value) -> String {
    let config = grpc(tls, "");
    let error = config.check().unwrap_err().to_string();
    assert_eq!(Endpoints::new(&config).unwrap_err().to_string(), error);
    error
}

#[test]
fn certificates_come_as_text_base64_or_file() {
    let pair = Authority::new().server();
    let file = |text: &str| {
        let path = std::env::temp_dir().join(format!("centripetal-{}.pem", uuid::Uuid::new_v4()));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let files = [file(&pair.certificate), file(&pair.key)];
    let base64 = |text: &str| BASE64_STANDARD.encode(text);
    for (certificate, key) in [
        (pair.certificate.clone(), pair.key.clone()),
        (base64(&pair.certificate), base64(&pair.key)),
        (files[0].clone(), files[1].clone()),
    ] {
        let tls = json!({"enabled": true, "cert_pem": certificate, "key_pem": key});
        grpc(&tls, "").check().unwrap();
    }
    for file in files {
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn what_cannot_be_used_is_named_and_not_shown() {
    let authority = Authority::new();
    let (pair, other) = (authority.server(), authority.server());
    let broken =
        |label: &str| format!("-----BEGIN {label}-----\nc2VjcmV0\n-----END {label}-----\n");
    let encrypted = broken("ENCRYPTED PRIVATE KEY");
    for (key, value, part) in [
        ("cert_pem", "nosuch.pem", "neither PEM"),
        ("cert_pem", &*pair.key, "no certificate"),
        ("cert_pem", &broken("CERTIFICATE"), "unusable"),
        ("cert_pem", "-----BEGIN CERTIFICATE-----\n?\n", "malformed"),
        ("key_pem", &pair.certificate, "no private key"),
        (
            "key_pem",
            &encrypted,
            "no private key in the PEM; an encrypted",
        ),
        ("key_pem", &broken("PRIVATE KEY"), "unusable"),
        ("key_pem", &other.key, "does not belong"),
        ("client_ca_pem", &broken("CERTIFICATE"), "unusable"),
        ("client_ca_pem", &pair.key, "no certificate"),
        ("client_ca_pem", "x", "neither PEM"),
    ] {
        let mut tls = section(&pair);
        tls[key] = value.into();
        let error = refusal(&tls);
        let place = format!("in centripetal.grpc.tls.{key}: ");
        assert!(error.starts_with(&place) && error.contains(part), "{error}");
        assert!(
            !error.contains("c2VjcmV0") && !error.contains("secret"),
            "{error}"
        );
    }
}

/// Which section each listener takes, by label.
fn sections(tree: Value) -> Vec<(&'static str, &'static str)> {
    let config = config(tree);
    let places = Place::ALL.into_iter();
    let taken = places.filter_map(|place| Some((place.label(), config.of(place)?.0)));
    taken.collect()
}

#[test]
fn every_listener_takes_its_section() {
    let on = || json!({"enabled": true});
    assert!(sections(json!({})).is_empty());
    assert_eq!(
        sections(json!({"http_server": {"tls": on()}})),
        [("http", "http_server.tls")],
        "one listener"
    );
    assert_eq!(
        sections(json!({"http_server": {"tls": on(), "internal_port": "9000"}})),
        [
            ("http", "http_server.tls"),
            ("http_internal", "http_server.tls")
        ],
        "both listeners"
    );
    let external = json!({"tls": on(), "internal_port": "9000", "tls_external": true});
    assert_eq!(
        sections(json!({"http_server": external})),
        [("http", "http_server.tls")]
    );
    let own = json!({"tls": on(), "internal_port": "9000", "internal_tls": on()});
    assert_eq!(
        sections(json!({"http_server": own})),
        [
            ("http", "http_server.tls"),
            ("http_internal", "http_server.internal_tls")
        ],
    );
    let only = json!({"internal_port": "9000", "internal_tls": on(), "tls_external": true});
    assert_eq!(
        sections(json!({"http_server": only})),
        [("http_internal", "http_server.internal_tls")]
    );
    assert!(sections(json!({"http_server": {"internal_tls": on()}})).is_empty());
    let autocert = json!({"tls": on(), "tls_autocert": on()});
    assert!(sections(json!({"http_server": autocert})).is_empty());
    assert_eq!(
        sections(json!({
            "grpc_api": {"enabled": true, "tls": on()},
            "centripetal": {"grpc": {"tls": on()}},
        })),
        [
            ("grpc", "centripetal.grpc.tls"),
            ("grpc_api", "grpc_api.tls")
        ]
    );
    assert!(
        sections(json!({
            "grpc_api": {"tls": on()},
            "centripetal": {"grpc": {"enabled": false, "tls": on()}},
        }))
        .is_empty()
    );
}

/// A peer that trusts this authority, shows this certificate and offers these protocols.
fn peer(authority: &Authority, own: Option<&Pair>, protocols: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes());
            builder
                .with_client_auth_cert(vec![chain.unwrap()], key.unwrap())
                .unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// One handshake: what the server knows then, and the certificate that the peer saw.
async fn shake(
    endpoint: &Endpoint,
    peer: &TlsConnector,
) -> io::Result<(Secured, CertificateDer<'static>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let socket = TcpStream::connect(listener.local_addr()?).await?;
    let server = async {
        let (socket, _) = listener.accept().await?;
        let mut secured = endpoint.accept(socket).await?;
        secured.stream.write_all(b"!").await?;
        secured.stream.flush().await?;
        Ok::<_, io::Error>(secured)
    };
    let name = ServerName::try_from("localhost").unwrap();
    let client = async {
        let mut stream = peer.connect(name, socket).await?;
        let seen = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        // Tickets come before the first byte, as does a refusal after the client's side is done.
        stream.read_u8().await?;
        Ok::<_, io::Error>(seen)
    };
    let (server, client) = tokio::join!(server, client);
    Ok((server?, client?))
}

#[tokio::test]
async fn protocols_are_agreed_upon() {
    let authority = Authority::new();
    let tls = section(&authority.server());
    let tree = json!({"http_server": {"tls": tls}, "centripetal": {"grpc": {"tls": tls}}});
    let endpoints = Endpoints::new(&config(tree)).unwrap();
    let http = endpoints.of(Place::Http).unwrap();
    let grpc = endpoints.of(Place::Grpc).unwrap();
    assert!(endpoints.of(Place::Internal).is_none());
    assert!(endpoints.of(Place::GrpcApi).is_none());
    for (endpoint, offered, agreed) in [
        (&http, &[][..], Some(Protocol::Unsaid)),
        (&http, &[material::HTTP_1], Some(Protocol::Http1)),
        (&http, &[material::HTTP_2], Some(Protocol::Http2)),
        (
            &http,
            &[material::HTTP_1, material::HTTP_2],
            Some(Protocol::Http2),
        ),
        (&http, &[b"other"], None),
        (&grpc, &[], Some(Protocol::Unsaid)),
        (&grpc, &[material::HTTP_2], Some(Protocol::Http2)),
        (&grpc, &[material::HTTP_1], None),
    ] {
        let shaken = shake(endpoint, &peer(&authority, None, offered)).await;
        let protocol = shaken.ok().map(|(secured, _)| secured.protocol);
        assert_eq!(protocol, agreed, "{offered:?}");
    }
}

fn ascii(text: &str) -> Ia5String {
    Ia5String::try_from(text).unwrap()
}

/// A client certificate with these names, of each kind two.
fn client(authority: &Authority) -> Pair {
    authority.sign(|params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "käse");
        params.subject_alt_names = vec![
            SanType::Rfc822Name(ascii("a@example.com")),
            SanType::DnsName(ascii("orders.internal")),
            SanType::DnsName(ascii("second.internal")),
            SanType::URI(ascii("spiffe://example.com/orders")),
            SanType::URI(ascii("spiffe://example.com/second")),
        ];
    })
}

#[tokio::test]
async fn certificates_of_clients_are_verified_and_name_them() {
    let authority = Authority::new();
    let mut tls = section(&authority.server());
    tls["client_ca_pem"] = authority.pem.clone().into();
    let pair = client(&authority);
    for (identity, name) in [
        ("", None),
        ("san_uri", Some("spiffe://example.com/orders")),
        ("san_dns", Some("orders.internal")),
        ("common_name", Some("käse")),
    ] {
        let endpoints = Endpoints::new(&grpc(&tls, identity)).unwrap();
        let endpoint = endpoints.of(Place::Grpc).unwrap();
        let ours = peer(&authority, Some(&pair), &[material::HTTP_2]);
        // The second time the session is resumed, and the name is the same.
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (secured, _) = shake(&endpoint, &ours).await.unwrap();
            let (_, connection) = secured.stream.get_ref();
            assert_eq!(connection.handshake_kind(), Some(kind));
            let found = secured.certified.map(|name| name.0);
            assert_eq!(found.as_ref().map(|name| name.as_str()), name);
        }
        let nobody = peer(&authority, None, &[]);
        assert!(shake(&endpoint, &nobody).await.is_err(), "no certificate");
        let stranger = client(&Authority::new());
        let stranger = peer(&authority, Some(&stranger), &[]);
        assert!(
            shake(&endpoint, &stranger).await.is_err(),
            "another authority"
        );
    }
}

#[test]
fn names_that_are_none_name_nobody() {
    let authority = Authority::new();
    let der = |pair: &Pair| CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let bare = der(&authority.sign(|params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
    }));
    let odd = der(&authority.sign(|params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = DnValue::Utf8String("a\0b".to_owned());
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![
            SanType::URI(ascii("")),
            SanType::URI(ascii("second")),
            SanType::DnsName(ascii("a\nb")),
        ];
    }));
    use config::Identity::{CommonName, SanDns, SanUri};
    for identity in [SanUri, SanDns, CommonName] {
        assert_eq!(identity::name(&bare, identity), None, "{identity:?}");
        assert_eq!(identity::name(&odd, identity), None, "{identity:?}");
        assert_eq!(identity::name(b"no certificate", identity), None);
    }
}

#[test]
fn only_listeners_of_clients_take_names() {
    let pair = Authority::new().server();
    let mut config = grpc(&section(&pair), "san_dns");
    let named = |config: &Config| {
        let places = Place::ALL.into_iter();
        let named = places.filter(|place| config.identity(*place) != config::Identity::Nobody);
        named.map(Place::label).collect::<Vec<_>>()
    };
    assert_eq!(named(&config), ["http", "grpc", "uni_grpc"]);
    config = grpc(&section(&pair), "");
    assert!(named(&config).is_empty());
}

#[tokio::test]
async fn a_reload_changes_all_or_nothing() {
    let authority = Authority::new();
    let tree = |http: &Pair, grpc: &Pair| json!({"http_server": {"tls": section(http)}, "centripetal": {"grpc": {"tls": section(grpc)}}});
    let [old, new] = [authority.server(), authority.server()];
    let endpoints = Endpoints::new(&config(tree(&old, &old))).unwrap();
    let visitor = peer(&authority, None, &[]);
    let shown = async |place| {
        let endpoint = endpoints.of(place).unwrap();
        shake(&endpoint, &visitor).await.unwrap().1
    };
    let der = |pair: &Pair| CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    assert_eq!(shown(Place::Http).await, der(&old));
    let broken = Pair {
        key: old.key.clone(),
        ..new.clone()
    };
    let error = endpoints.prepare(&config(tree(&new, &broken))).unwrap_err();
    assert!(
        error.to_string().contains("centripetal.grpc.tls.key_pem"),
        "{error}"
    );
    assert_eq!(
        shown(Place::Http).await,
        der(&old),
        "nothing, since one is broken"
    );
    let prepared = endpoints.prepare(&config(tree(&new, &new))).unwrap();
    assert_eq!(
        shown(Place::Http).await,
        der(&old),
        "not before it is installed"
    );
    prepared.install();
    assert_eq!(
        shown(Place::Http).await,
        der(&new),
        "although it had a ticket"
    );
    assert_eq!(shown(Place::Grpc).await, der(&new));
    // A section that is off now, or new, is for the next start.
    let off = json!({"grpc_api": {"enabled": true, "tls": section(&old)}});
    endpoints.prepare(&config(off)).unwrap().install();
    assert_eq!(shown(Place::Http).await, der(&new));
    assert!(endpoints.of(Place::GrpcApi).is_none());
}
