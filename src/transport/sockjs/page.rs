//! The two pages of SockJS: the one that runs the client inside a frame of this origin, and the head of an htmlfile stream.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Browsers show nothing of a page before they have this much.
const HTMLFILE_HEAD: usize = 1024;

/// The page of `iframe….html`, which does not change while the server runs.
#[derive(Clone, Debug)]
pub(super) struct Iframe {
    pub(super) html: Bytes,
    /// Name of its content.
    pub(super) etag: String,
}

impl Iframe {
    /// The page that loads the client from `url`; without one it loads nothing.
    pub(super) fn new(url: &str) -> Self {
        let script = if url.is_empty() {
            String::new()
        } else {
            format!("<script src=\"{}\"></script>\n", attribute(url))
        };
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"UTF-8\">\n\
             <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\">\n<title>SockJS</title>\n{script}\
             <script>\nif (window.SockJS) {{ SockJS.bootstrap_iframe(); }}\n</script>\n</head>\n\
             <body>\n<p>This page is part of a connection and has nothing to show.</p>\n</body>\n</html>\n"
        );
        let digest = Sha256::digest(html.as_bytes());
        let etag = digest.iter().take(16).map(|byte| format!("{byte:02x}"));
        Self {
            etag: etag.collect(),
            html: html.into(),
        }
    }
}

/// The head of an htmlfile stream: `p` gives a frame to the callback of the page around it. The callback is checked already.
pub(super) fn htmlfile(callback: &str) -> Bytes {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"UTF-8\">\n\
         <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\">\n<title>SockJS</title>\n</head>\n<body>\n\
         <script>\ndocument.domain = document.domain;\nvar c = parent.{callback};\nc.start();\n\
         function p(d) {{ c.message(d); }}\nwindow.onload = function () {{ c.stop(); }};\n</script>\n"
    );
    while page.len() < HTMLFILE_HEAD {
        page.push(' ');
    }
    page.push_str("\r\n\r\n");
    page.into()
}

/// A text inside quotes of an attribute.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(url: &str) -> String {
        String::from_utf8(Iframe::new(url).html.to_vec()).unwrap()
    }

    #[test]
    fn the_page_loads_what_is_configured() {
        assert!(html("https://a/s.js").contains("<script src=\"https://a/s.js\"></script>"));
        assert!(!html("").contains("src="));
        assert!(html("").contains("SockJS.bootstrap_iframe()"));
        let odd = html("a\"><script>x</script>&b");
        assert!(
            odd.contains("src=\"a&quot;&gt;&lt;script&gt;x&lt;/script&gt;&amp;b\""),
            "{odd}"
        );
    }

    #[test]
    fn its_tag_follows_its_content() {
        assert_eq!(Iframe::new("a").etag, Iframe::new("a").etag);
        assert_ne!(Iframe::new("a").etag, Iframe::new("b").etag);
        assert_eq!(Iframe::new("a").etag.len(), 32);
    }

    #[test]
    fn an_htmlfile_is_long_enough() {
        let page = htmlfile("_jp.abc");
        assert!(page.len() >= HTMLFILE_HEAD);
        let page = String::from_utf8(page.to_vec()).unwrap();
        assert!(page.contains("var c = parent._jp.abc;"));
    }
}
