//! Which endpoint a path below the prefix names, and which methods it knows (client-protocol.md 3.6). Pure text.

use http::Method;

/// Longest name of a session, bytes; those of clients have eight.
const MAX_KEY: usize = 255;

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    /// The prefix without its slash.
    Prefix,
    /// The prefix with its slash.
    Greeting,
    /// What a client asks first.
    Info,
    /// The page that runs the client on this origin.
    Iframe,
    /// WebSocket without the framing of SockJS.
    RawWebSocket,
    /// One of the transports, and the session that is meant.
    Session(&'p str, Leg),
}

/// One way of one transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    /// Both ways.
    WebSocket,
    /// To the client, as one long answer.
    XhrStreaming,
    /// To the client, one frame an answer.
    Xhr,
    /// To the client, as server-sent events.
    EventSource,
    /// To the client, as a page of scripts.
    HtmlFile,
    /// To the client, one call of a function an answer.
    Jsonp,
    /// From the client.
    XhrSend,
    /// From the client, as a form.
    JsonpSend,
}

impl Leg {
    const ALL: [(&'static str, Self); 8] = [
        ("websocket", Self::WebSocket),
        ("xhr_streaming", Self::XhrStreaming),
        ("xhr", Self::Xhr),
        ("eventsource", Self::EventSource),
        ("htmlfile", Self::HtmlFile),
        ("jsonp", Self::Jsonp),
        ("xhr_send", Self::XhrSend),
        ("jsonp_send", Self::JsonpSend),
    ];

    /// The client sends on it.
    pub(super) const fn is_send(self) -> bool {
        matches!(self, Self::XhrSend | Self::JsonpSend)
    }

    /// Content type of what is answered when all is well.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::XhrStreaming | Self::Xhr | Self::Jsonp | Self::WebSocket => {
                "application/javascript; charset=UTF-8"
            }
            Self::EventSource => "text/event-stream; charset=UTF-8",
            Self::HtmlFile => "text/html; charset=UTF-8",
            Self::XhrSend | Self::JsonpSend => "text/plain; charset=UTF-8",
        }
    }
}

impl<'p> Route<'p> {
    /// Reads what stands behind the prefix.
    pub(super) fn of(rest: &'p str) -> Option<Self> {
        match rest {
            "" => return Some(Self::Prefix),
            "/" => return Some(Self::Greeting),
            "/info" => return Some(Self::Info),
            "/websocket" => return Some(Self::RawWebSocket),
            rest if is_iframe(rest) => return Some(Self::Iframe),
            _ => {}
        }
        let mut parts = rest.strip_prefix('/')?.split('/');
        let (server, key, leg) = (parts.next()?, parts.next()?, parts.next()?);
        let named = |part: &str| !part.is_empty() && !part.contains('.');
        if parts.next().is_some() || !named(server) || !named(key) || key.len() > MAX_KEY {
            return None;
        }
        let leg = Leg::ALL.into_iter().find(|(name, _)| *name == leg)?.1;
        Some(Self::Session(key, leg))
    }

    /// Methods it knows, as `Allow` names them.
    pub(super) const fn methods(self) -> &'static str {
        match self {
            Self::Info => "OPTIONS, GET",
            Self::Session(_, Leg::XhrStreaming | Leg::Xhr | Leg::XhrSend) => "POST, OPTIONS",
            Self::Session(_, Leg::JsonpSend) => "POST",
            Self::Session(_, Leg::Jsonp) => "GET, OPTIONS",
            Self::Prefix
            | Self::Greeting
            | Self::Iframe
            | Self::RawWebSocket
            | Self::Session(_, Leg::WebSocket | Leg::EventSource | Leg::HtmlFile) => "GET",
        }
    }

    /// Is the method one of them?
    pub(super) fn knows(self, method: &Method) -> bool {
        let methods = self.methods().split(", ");
        methods.into_iter().any(|known| known == method.as_str())
    }

    /// Methods that a preflight offers.
    pub(super) const fn offered(self) -> &'static str {
        match self {
            Self::Info => "OPTIONS, GET",
            _ => "OPTIONS, POST",
        }
    }
}

/// `/iframe….html`, with digits, dots, dashes, underscores and small letters between.
fn is_iframe(rest: &str) -> bool {
    let name = rest.strip_prefix("/iframe");
    let name = name.and_then(|rest| rest.strip_suffix(".html"));
    name.is_some_and(|name| {
        name.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'.' | b'a'..=b'z' | b'_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_endpoints() {
        for (path, route) in [
            ("", Some(Route::Prefix)),
            ("/", Some(Route::Greeting)),
            ("/info", Some(Route::Info)),
            ("/iframe.html", Some(Route::Iframe)),
            ("/iframe-0.3.4.min.html", Some(Route::Iframe)),
            ("/iframe_a-1.html", Some(Route::Iframe)),
            ("/iframe-A.html", None),
            ("/iframe", None),
            ("/iframe.htm", None),
            ("/websocket", Some(Route::RawWebSocket)),
            ("/000/k/xhr", Some(Route::Session("k", Leg::Xhr))),
            ("/a/k/xhr_send", Some(Route::Session("k", Leg::XhrSend))),
            ("/a/k/websocket", Some(Route::Session("k", Leg::WebSocket))),
            ("/a.b/k/xhr", None),
            ("/a/k.l/xhr", None),
            ("//k/xhr", None),
            ("/a//xhr", None),
            ("/a/k/", None),
            ("/a/k/nothing", None),
            ("/a/k/xhr/", None),
            ("/k/xhr", None),
            ("x/a/k/xhr", None),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
        let long = format!("/a/{}/xhr", "k".repeat(MAX_KEY + 1));
        assert_eq!(Route::of(&long), None);
    }

    #[test]
    fn endpoints_know_their_methods() {
        let knows = |path: &str, method| Route::of(path).unwrap().knows(&method);
        for leg in ["xhr", "xhr_streaming", "xhr_send"] {
            let path = format!("/a/k/{leg}");
            assert!(knows(&path, Method::POST) && knows(&path, Method::OPTIONS));
            assert!(!knows(&path, Method::GET) && !knows(&path, Method::PUT));
        }
        for path in [
            "/a/k/eventsource",
            "/a/k/htmlfile",
            "/a/k/websocket",
            "/iframe.html",
        ] {
            assert!(knows(path, Method::GET) && !knows(path, Method::POST));
        }
        assert!(knows("/a/k/jsonp", Method::OPTIONS) && !knows("/a/k/jsonp", Method::POST));
        assert!(!knows("/a/k/jsonp_send", Method::OPTIONS));
        assert!(knows("/info", Method::GET) && !knows("/info", Method::POST));
    }
}
