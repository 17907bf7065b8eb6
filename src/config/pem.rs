//! PEM options: the text itself, base64 of it, or a file with it, tried in this order (config.md 4).

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};

const MARK: &str = "-----BEGIN";

/// The text is no PEM in any of its three forms. Never repeats it: it may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither PEM nor base64 of PEM nor the path of a readable file with PEM")]
pub struct NoPem;

/// The PEM that an option stands for. Relative paths count from the working directory of the process.
///
/// # Errors
/// None of the three forms fits.
pub fn read_pem(option: &str) -> Result<String, NoPem> {
    if option.contains(MARK) {
        return Ok(option.to_owned());
    }
    let decoded = BASE64_STANDARD
        .decode(option.trim())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| text.contains(MARK));
    if let Some(text) = decoded {
        return Ok(text);
    }
    std::fs::read_to_string(Path::new(option))
        .ok()
        .filter(|text| text.contains(MARK))
        .ok_or(NoPem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----";

    #[test]
    fn all_three_forms_are_understood() {
        assert_eq!(read_pem(PEM).as_deref(), Ok(PEM));
        assert_eq!(read_pem(&BASE64_STANDARD.encode(PEM)).as_deref(), Ok(PEM));
        let path = std::env::temp_dir().join(format!("centripetal-{}.pem", std::process::id()));
        std::fs::write(&path, PEM).unwrap();
        let read = read_pem(path.to_str().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.as_deref(), Ok(PEM));
    }

    #[test]
    fn anything_else_is_refused() {
        for option in ["", "nosuch.pem", "eA==", "Cargo.toml"] {
            assert_eq!(read_pem(option), Err(NoPem), "{option}");
        }
    }
}
