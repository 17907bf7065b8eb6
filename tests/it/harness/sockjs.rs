//! One client of SockJS over HTTP: streamed answers towards it, requests with its commands.

use std::sync::LazyLock;

use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

use super::client::Close;
use crate::support::Server;

/// A client whose answers may take as long as they like. Its connections belong to one test, so none are kept.
static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    let builder = Client::builder().no_proxy().pool_max_idle_per_host(0);
    builder.build().unwrap()
});

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    url: String,
    headers: Vec<(&'static str, String)>,
    answer: Option<Response>,
    read: Vec<u8>,
    opened: bool,
}

impl Session {
    /// A session with a name of its own, which its first answer opens.
    pub(super) async fn open(server: &Server, headers: &[(&'static str, &str)]) -> Self {
        let (host, name) = (server.http_target(), uuid::Uuid::new_v4());
        let owned = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
        let mut session = Self {
            url: format!("http://{host}/connection/sockjs/000/{name}"),
            headers: headers.iter().map(owned).collect(),
            answer: None,
            read: Vec::new(),
            opened: false,
        };
        session.ask_on().await;
        session
    }

    fn request(&self, path: &str) -> RequestBuilder {
        let request = CLIENT.post(format!("{}/{path}", self.url));
        let headers = self.headers.iter();
        headers.fold(request, |request, (name, value)| {
            request.header(*name, value)
        })
    }

    /// Opens the next streamed answer.
    async fn ask_on(&mut self) {
        let answer = self.request("xhr_streaming").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        self.answer = Some(answer);
    }

    /// Commands in one frame.
    pub(super) async fn send(&self, commands: &[Vec<u8>]) {
        self.raw(commands.join(&b'\n')).await;
    }

    /// A text as one frame. A session that has ended takes none; its last frame tells.
    pub(super) async fn raw(&self, frame: Vec<u8>) {
        let frame = String::from_utf8_lossy(&frame).into_owned();
        let payload = serde_json::json!([frame]).to_string();
        let answer = self.request("xhr_send").body(payload).send().await;
        if let Ok(answer) = answer {
            let status = answer.status().as_u16();
            assert!([204, 404, 500].contains(&status), "{status}");
        }
    }

    /// The messages of the next frame, or the end.
    pub(super) async fn receive(&mut self) -> Result<Vec<Vec<u8>>, Close> {
        loop {
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if let Some(messages) = self.line(&line[..end])? {
                    return Ok(messages);
                }
            }
            let Some(answer) = &mut self.answer else {
                return Err(Close::silent());
            };
            match answer.chunk().await {
                Ok(Some(chunk)) => self.read.extend_from_slice(&chunk),
                // So much was sent that the rest comes in another answer.
                Ok(None) => self.ask_on().await,
                Err(_) => return Err(Close::silent()),
            }
        }
    }

    /// What a line says; nothing but that the server is there, in most cases.
    fn line(&mut self, line: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Close> {
        let (kind, rest) = line.split_first().expect("no line is empty");
        let value = || -> Value { serde_json::from_slice(rest).unwrap() };
        match kind {
            // The second time it is another session, since the server has ended this one without a word.
            b'o' if std::mem::replace(&mut self.opened, true) => Err(Close::silent()),
            b'o' => Ok(None),
            b'h' if rest.iter().all(|byte| *byte == b'h') => Ok(None),
            b'a' => {
                let frames: Vec<String> = serde_json::from_value(value()).unwrap();
                assert!(!frames.is_empty(), "an empty array");
                let messages = frames.iter().flat_map(|frame| frame.split('\n'));
                Ok(Some(messages.map(Into::into).collect()))
            }
            b'c' => {
                let end = value();
                let code = end[0].as_u64().and_then(|code| code.try_into().ok());
                self.answer = None;
                Err(Close::told(code.unwrap(), end[1].as_str().unwrap()))
            }
            _ => panic!("{:?}", String::from_utf8_lossy(line)),
        }
    }
}
