//! Key sets from a server of our own on loopback.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use super::*;
use crate::auth::{
    Authenticator, Config,
    tests::{anywhere, authenticator, now},
};

/// What the server says next, and how often it was asked.
#[derive(Default)]
struct Script {
    status: Mutex<u16>,
    body: Mutex<String>,
    delay: Mutex<Duration>,
    requests: AtomicUsize,
    paths: Mutex<Vec<String>>,
}

struct KeyServer {
    script: Arc<Script>,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl KeyServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Script {
            status: Mutex::new(200),
            ..Script::default()
        });
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&script);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let script = Arc::clone(&shared);
                connections.spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = socket.read_u8().await else {
                            return;
                        };
                        request.push(byte);
                    }
                    script.requests.fetch_add(1, Ordering::SeqCst);
                    let line = String::from_utf8(request).unwrap();
                    let path = line.split(' ').nth(1).unwrap().to_owned();
                    script.paths.lock().push(path);
                    let delay = *script.delay.lock();
                    tokio::time::sleep(delay).await;
                    let (status, body) = (*script.status.lock(), script.body.lock().clone());
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    // The client may be gone after its time limit.
                    drop(socket.write_all(answer.as_bytes()).await);
                });
            }
        });
        Self {
            script,
            address,
            _tasks: tasks,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "keys are written in place")]
    fn say(&self, keys: Value) {
        *self.script.body.lock() = json!({ "keys": keys }).to_string();
    }

    fn requests(&self) -> usize {
        self.script.requests.load(Ordering::SeqCst)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn authenticator(&self) -> Authenticator {
        let mut config = Config::default();
        config.client.token.jwks_public_endpoint = self.url("/keys");
        config.client.token.hmac_secret_key = "secret".into();
        authenticator(&config)
    }
}

struct Signer {
    key: Ed25519KeyPair,
}

impl Signer {
    fn new() -> Self {
        Self {
            key: Ed25519KeyPair::generate().unwrap(),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": x})
    }

    fn token(&self, header: Value, claims: Value) -> String {
        token(header, claims, |text| self.key.sign(text).as_ref().to_vec())
    }

    fn simple(&self, kid: &str) -> String {
        self.token(json!({"alg": "EdDSA", "kid": kid}), json!({"sub": "42"}))
    }
}

fn token(header: Value, claims: Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

async fn reason(auth: &Authenticator, token: &str) -> Option<Reason> {
    let verified = auth.connection(token, &now(), &anywhere).await;
    verified.err().map(|refusal| refusal.reason)
}

#[tokio::test]
async fn a_key_is_fetched_once_and_then_known() {
    let server = KeyServer::start().await;
    let signer = Signer::new();
    server.say(json!([signer.jwk("a")]));
    let auth = server.authenticator();
    for _ in 0..3 {
        assert_eq!(reason(&auth, &signer.simple("a")).await, None);
    }
    assert_eq!(server.requests(), 1);
    let forged = Signer::new().simple("a");
    assert_eq!(reason(&auth, &forged).await, Some(Reason::Signature));
    let nameless = signer.token(json!({"alg": "EdDSA"}), json!({}));
    assert_eq!(reason(&auth, &nameless).await, Some(Reason::Key));
    let shared = crate::auth::tests::jwt(json!({"sub": "42"}));
    assert_eq!(
        reason(&auth, &shared).await,
        Some(Reason::Key),
        "static keys are not used"
    );
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn concurrent_fetches_are_merged() {
    let server = KeyServer::start().await;
    let signer = Signer::new();
    server.say(json!([signer.jwk("a")]));
    *server.script.delay.lock() = Duration::from_millis(50);
    let auth = server.authenticator();
    let token = signer.simple("a");
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (auth, token) = (auth.clone(), token.clone());
        tasks.spawn(async move { reason(&auth, &token).await });
    }
    assert!(tasks.join_all().await.iter().all(Option::is_none));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn unknown_names_do_not_hammer_the_server() {
    let server = KeyServer::start().await;
    let signer = Signer::new();
    server.say(json!([signer.jwk("a")]));
    let auth = server.authenticator();
    for kid in ["x", "y", "z"] {
        assert_eq!(reason(&auth, &signer.simple(kid)).await, Some(Reason::Key));
    }
    assert_eq!(server.requests(), 1);
    // The pause is over, and the server has rotated.
    server.say(json!([signer.jwk("x")]));
    tokio::time::pause();
    tokio::time::advance(INTERVAL).await;
    tokio::time::resume();
    assert_eq!(reason(&auth, &signer.simple("x")).await, None);
    assert_eq!(server.requests(), 2);
    assert_eq!(
        reason(&auth, &signer.simple("a")).await,
        None,
        "kept until it is too old"
    );
}

#[tokio::test]
async fn two_attempts_and_then_it_is_not_available() {
    let server = KeyServer::start().await;
    let signer = Signer::new();
    server.say(json!([signer.jwk("a")]));
    *server.script.status.lock() = 500;
    let auth = server.authenticator();
    for _ in 0..3 {
        assert_eq!(
            reason(&auth, &signer.simple("a")).await,
            Some(Reason::Unavailable)
        );
    }
    assert_eq!(server.requests(), ATTEMPTS);
    *server.script.status.lock() = 200;
    tokio::time::pause();
    tokio::time::advance(INTERVAL).await;
    tokio::time::resume();
    assert_eq!(reason(&auth, &signer.simple("a")).await, None);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = KeyServer::start().await;
    *server.script.delay.lock() = Duration::from_mins(10);
    let auth = server.authenticator();
    let started = Instant::now();
    let refused = reason(&auth, &Signer::new().simple("a")).await;
    assert_eq!(refused, Some(Reason::Unavailable));
    assert_eq!(server.requests(), ATTEMPTS);
    assert!(started.elapsed() >= TIMEOUT * 2);
}

#[tokio::test]
async fn what_is_no_key_set_is_not_available() {
    let server = KeyServer::start().await;
    for body in [
        String::from("[]"),
        String::from("not json"),
        json!({"keys": 5}).to_string(),
        "x".repeat(BODY_LIMIT + 1),
    ] {
        *server.script.body.lock() = body;
        let auth = server.authenticator();
        let refused = reason(&auth, &Signer::new().simple("a")).await;
        assert_eq!(refused, Some(Reason::Unavailable));
    }
}

#[tokio::test]
async fn keys_live_an_hour_after_their_last_use_but_not_for_ever() {
    let server = KeyServer::start().await;
    let signer = Signer::new();
    server.say(json!([signer.jwk("a")]));
    let sets = KeySets::new(Duration::from_hours(3)).unwrap();
    let url = server.url("/keys");
    let later = async |by| {
        tokio::time::pause();
        tokio::time::advance(by).await;
        tokio::time::resume();
    };
    for _ in 0..3 {
        sets.key(&url, "a").await.unwrap();
        later(Duration::from_mins(59)).await;
    }
    assert_eq!(server.requests(), 1, "each use extends the hour");
    later(Duration::from_mins(3)).await;
    sets.key(&url, "a").await.unwrap();
    assert_eq!(server.requests(), 2, "three hours are the limit");
    later(Duration::from_mins(61)).await;
    sets.key(&url, "a").await.unwrap();
    assert_eq!(server.requests(), 3, "an hour without use");
    later(Duration::from_hours(4)).await;
    *server.script.status.lock() = 500;
    assert_eq!(
        sets.key(&url, "a").await.unwrap_err(),
        Reason::Unavailable,
        "fails closed"
    );
}

#[tokio::test]
async fn every_kind_of_key_is_understood_and_broken_ones_are_skipped() {
    let server = KeyServer::start().await;
    let random = SystemRandom::new();
    let ed = Signer::new();
    let ec = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
    let point = ec.public_key().as_ref();
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let ec_jwk = |kid: &str, alg: Option<&str>| {
        json!({"kty": "EC", "crv": "P-521", "use": "sig", "kid": kid, "alg": alg,
            "x": b64(&point[1..67]), "y": b64(&point[67..])})
    };
    let mut encryption = ed.jwk("enc");
    encryption["use"] = json!("enc");
    server.say(json!([
        5,
        {"kty": "EC", "crv": "P-256", "use": "sig", "kid": "bad", "x": "AA", "y": "AA"},
        {"kty": "oct", "use": "sig", "kid": "oct", "k": "AA"},
        {"kty": "OKP", "crv": "Ed448", "use": "sig", "kid": "448", "x": "AA"},
        encryption,
        ec_jwk("ec", None),
        ec_jwk("named", Some("ES256")),
        ed.jwk("ed"),
    ]));
    let auth = server.authenticator();
    assert_eq!(reason(&auth, &ed.simple("ed")).await, None);
    let es512 = |kid: &str| {
        token(
            json!({"alg": "ES512", "kid": kid}),
            json!({"sub": "42"}),
            |text| ec.sign(&random, text).unwrap().as_ref().to_vec(),
        )
    };
    assert_eq!(reason(&auth, &es512("ec")).await, None);
    assert_eq!(
        reason(&auth, &es512("named")).await,
        Some(Reason::Algorithm)
    );
    assert_eq!(reason(&auth, &es512("ed")).await, Some(Reason::Algorithm));
    for kid in ["bad", "oct", "448", "enc"] {
        assert_eq!(
            reason(&auth, &ed.simple(kid)).await,
            Some(Reason::Key),
            "{kid}"
        );
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_named_algorithm_is_the_only_one() {
    let server = KeyServer::start().await;
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let modulus = rsa.public_key().modulus();
    let modulus = URL_SAFE_NO_PAD.encode(modulus.big_endian_without_leading_zero());
    let jwk = json!({"kty": "RSA", "use": "sig", "kid": "rsa", "alg": "RS256", "n": modulus, "e": "AQAB"});
    server.say(json!([jwk]));
    let auth = server.authenticator();
    let rs = |alg: &str, padding: &'static dyn aws_lc_rs::signature::RsaEncoding| {
        token(json!({"alg": alg, "kid": "rsa"}), json!({}), |text| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(padding, &random, text, &mut signature).unwrap();
            signature
        })
    };
    let rs256 = rs("RS256", &aws_lc_rs::signature::RSA_PKCS1_SHA256);
    assert_eq!(reason(&auth, &rs256).await, None);
    let rs512 = rs("RS512", &aws_lc_rs::signature::RSA_PKCS1_SHA512);
    assert_eq!(
        reason(&auth, &rs512).await,
        Some(Reason::Algorithm),
        "the set says RS256"
    );
}

#[tokio::test]
async fn groups_choose_the_address() {
    let server = KeyServer::start().await;
    let signer = Signer::new();
    server.say(json!([signer.jwk("a")]));
    let mut config = Config::default();
    config.client.token.jwks_public_endpoint = server.url("/{{tenant}}/keys{{nothing}}");
    config.client.token.issuer_regex = "^https://(?P<tenant>one|two|)$".to_owned();
    let auth = authenticator(&config);
    let from =
        |issuer: &str| signer.token(json!({"alg": "EdDSA", "kid": "a"}), json!({"iss": issuer}));
    assert_eq!(reason(&auth, &from("https://one")).await, None);
    assert_eq!(reason(&auth, &from("https://two")).await, None);
    assert_eq!(*server.script.paths.lock(), ["/one/keys", "/two/keys"]);
    assert_eq!(
        reason(&auth, &from("https://three")).await,
        Some(Reason::Issuer)
    );
    assert_eq!(
        reason(&auth, &from("https://")).await,
        Some(Reason::Key),
        "doubled slash"
    );
    assert_eq!(server.requests(), 2);
}

#[test]
fn addresses_are_clean() {
    for clean in [
        "http://a",
        "http://a/",
        "http://a/b/c",
        "http://a/b?x=/../",
        "https://a:1/.well-known/jwks.json",
    ] {
        assert!(is_clean(clean), "{clean}");
    }
    for other in [
        "http://a/b/",
        "http://a//b",
        "http://a/./b",
        "http://a/../b",
        "http://a/b/..",
        "http://a/%2e%2E/b",
        "http://a/b%2f",
    ] {
        assert!(!is_clean(other), "{other}");
    }
}

#[tokio::test]
async fn addresses_and_keys_are_bounded() {
    let sets = KeySets::new(Duration::from_hours(1)).unwrap();
    for at in 0..ADDRESS_LIMIT * 2 {
        sets.set(&format!("http://a/{at}"));
    }
    assert!(sets.sets.lock().len() <= ADDRESS_LIMIT);
    let set = KeySet::default();
    for round in 0..3 {
        let keys = (0..KEY_LIMIT).map(|at| {
            let key = Key::hmac(&"x".into()).unwrap();
            (
                format!("{round}-{at}"),
                Published {
                    key,
                    algorithm: None,
                },
            )
        });
        set.store(keys.collect(), Instant::now());
        assert!(set.keys.lock().len() <= KEY_LIMIT);
    }
}
