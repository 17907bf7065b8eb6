//! The name in a client certificate (gateway.md 2, row 3). The certificate was verified before; only its text is read here.

use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use super::config::Identity;
use crate::model::UserId;

/// The name that counts; `None` when the certificate has none of that kind, or one that is no text a user could have.
pub(super) fn name(certificate: &[u8], identity: Identity) -> Option<UserId> {
    use x509_parser::prelude::FromDer as _;
    if identity == Identity::Nobody {
        return None;
    }
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let found = match identity {
        Identity::Nobody => None,
        Identity::CommonName => common_name(&certificate),
        Identity::SanUri => alternative(&certificate, |name| match name {
            GeneralName::URI(uri) => Some(uri),
            _ => None,
        }),
        Identity::SanDns => alternative(&certificate, |name| match name {
            GeneralName::DNSName(host) => Some(host),
            _ => None,
        }),
    };
    found
        .filter(|name| !name.is_empty() && !name.contains(char::is_control))
        .map(UserId::from)
}

fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    let mut names = certificate.subject().iter_common_name();
    names.next()?.as_str().ok()
}

/// The first alternative name of this kind.
fn alternative<'a>(
    certificate: &'a X509Certificate<'_>,
    kind: impl Fn(&'a GeneralName<'_>) -> Option<&'a str>,
) -> Option<&'a str> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(kind)
}
