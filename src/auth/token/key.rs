//! Algorithms and keys: which signature fits which key (tokens.md 2).
//!
//! A key is only ever used with algorithms of its own family and, for elliptic curves, of its own curve.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm as Jwa, DecodingKey, crypto};
use serde::Deserialize;

use crate::model::Secret;

/// Algorithms of tokens, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Algorithm {
    Hmac(Jwa),
    Rsa(Jwa),
    /// Off unless the operator allows it.
    Pss(Jwa),
    Es256,
    Es384,
    /// Verified here, because jsonwebtoken does not know P-521.
    Es512,
    EdDsa,
}

impl Algorithm {
    /// The algorithm a header names; `None` for `none` and everything else that is not supported.
    pub(in crate::auth) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hmac(Jwa::HS256),
            "HS384" => Self::Hmac(Jwa::HS384),
            "HS512" => Self::Hmac(Jwa::HS512),
            "RS256" => Self::Rsa(Jwa::RS256),
            "RS384" => Self::Rsa(Jwa::RS384),
            "RS512" => Self::Rsa(Jwa::RS512),
            "PS256" => Self::Pss(Jwa::PS256),
            "PS384" => Self::Pss(Jwa::PS384),
            "PS512" => Self::Pss(Jwa::PS512),
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }
}

/// Why a configured key is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Neither a public key nor a certificate in PEM.
    #[error("not a PEM public key or certificate")]
    Pem,
    /// A key of another kind, on another curve, or of a refused size.
    #[error("key has the wrong type or size")]
    Kind,
}

/// A verification key of one family.
pub(in crate::auth) enum Key {
    Hmac(DecodingKey),
    Rsa(DecodingKey),
    P256(DecodingKey),
    P384(DecodingKey),
    P521(ParsedPublicKey),
    Ed25519(DecodingKey),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A shared secret; `None` when there is none, because an empty one must never verify anything.
    pub(in crate::auth) fn hmac(secret: &Secret) -> Option<Self> {
        (!secret.is_empty())
            .then(|| Self::Hmac(DecodingKey::from_secret(secret.expose().as_bytes())))
    }

    /// An RSA public key or certificate in PEM.
    pub(in crate::auth) fn rsa_pem(pem: &str) -> Result<Self, KeyError> {
        refuse_private(pem)?;
        let key = DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_opaque| KeyError::Pem)?;
        let der = key.try_get_as_bytes().map_err(|_opaque| KeyError::Pem)?;
        ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(|_opaque| KeyError::Kind)?;
        Ok(Self::Rsa(key))
    }

    /// An elliptic curve public key or certificate in PEM; its curve decides the algorithm.
    pub(in crate::auth) fn ec_pem(pem: &str) -> Result<Self, KeyError> {
        refuse_private(pem)?;
        let key = DecodingKey::from_ec_pem(pem.as_bytes()).map_err(|_opaque| KeyError::Pem)?;
        let point = key.try_get_as_bytes().map_err(|_opaque| KeyError::Pem)?;
        Self::ec_point(point)
    }

    fn ec_point(point: &[u8]) -> Result<Self, KeyError> {
        let valid =
            |algorithm| ParsedPublicKey::new(algorithm, point).map_err(|_opaque| KeyError::Kind);
        match point.len() {
            65 => valid(&ECDSA_P256_SHA256_FIXED)
                .map(|_checked| Self::P256(DecodingKey::from_ec_der(point))),
            97 => valid(&ECDSA_P384_SHA384_FIXED)
                .map(|_checked| Self::P384(DecodingKey::from_ec_der(point))),
            133 => valid(&ECDSA_P521_SHA512_FIXED).map(Self::P521),
            _ => Err(KeyError::Kind),
        }
    }

    /// The text `message` was signed with this key by this algorithm. `signature` is base64url.
    pub(in crate::auth) fn verifies(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &str,
    ) -> bool {
        let by = |key: &DecodingKey, jwa| {
            crypto::verify(signature, message, key, jwa).unwrap_or_default()
        };
        match (self, algorithm) {
            (Self::Hmac(key), Algorithm::Hmac(jwa))
            | (Self::Rsa(key), Algorithm::Rsa(jwa) | Algorithm::Pss(jwa)) => by(key, jwa),
            (Self::P256(key), Algorithm::Es256) => by(key, Jwa::ES256),
            (Self::P384(key), Algorithm::Es384) => by(key, Jwa::ES384),
            (Self::Ed25519(key), Algorithm::EdDsa) => by(key, Jwa::EdDSA),
            (Self::P521(key), Algorithm::Es512) => URL_SAFE_NO_PAD
                .decode(signature)
                .is_ok_and(|signature| key.verify_sig(message, &signature).is_ok()),
            _ => false,
        }
    }

    /// Whether this key could have signed with this algorithm.
    pub(in crate::auth) const fn fits(&self, algorithm: Algorithm) -> bool {
        matches!(
            (self, algorithm),
            (Self::Hmac(_), Algorithm::Hmac(_))
                | (Self::Rsa(_), Algorithm::Rsa(_) | Algorithm::Pss(_))
                | (Self::P256(_), Algorithm::Es256)
                | (Self::P384(_), Algorithm::Es384)
                | (Self::P521(_), Algorithm::Es512)
                | (Self::Ed25519(_), Algorithm::EdDsa)
        )
    }
}

/// A private key in the place of a public one is a mistake worth stopping for.
fn refuse_private(pem: &str) -> Result<(), KeyError> {
    if pem.contains("PRIVATE KEY") {
        Err(KeyError::Kind)
    } else {
        Ok(())
    }
}

/// One key of a published set (RFC 7517).
#[derive(Debug, Deserialize)]
pub(in crate::auth) struct Jwk {
    kty: String,
    r#use: Option<String>,
    pub(in crate::auth) kid: Option<String>,
    pub(in crate::auth) alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    /// Only keys meant for signatures count.
    pub(in crate::auth) fn is_for_signatures(&self) -> bool {
        self.r#use.as_deref() == Some("sig")
    }

    /// The key itself; `None` for kinds that are not supported and for malformed ones.
    pub(in crate::auth) fn key(&self) -> Option<Key> {
        let part = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (modulus, exponent) = (part(&self.n)?, part(&self.e)?);
                Some(Key::Rsa(DecodingKey::from_rsa_raw_components(
                    &modulus, &exponent,
                )))
            }
            ("EC", Some(curve)) => {
                let size = match curve {
                    "P-256" => 32,
                    "P-384" => 48,
                    "P-521" => 66,
                    _ => return None,
                };
                let (x, y) = (part(&self.x)?, part(&self.y)?);
                if x.len() != size || y.len() != size {
                    return None;
                }
                Key::ec_point(&[&[4], x.as_slice(), y.as_slice()].concat()).ok()
            }
            ("OKP", Some("Ed25519")) => {
                let point = part(&self.x)?;
                ParsedPublicKey::new(&ED25519, &point).ok()?;
                Some(Key::Ed25519(DecodingKey::from_ed_der(&point)))
            }
            _ => None,
        }
    }
}
