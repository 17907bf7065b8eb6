//! A client of SockJS by `xhr-streaming`: answers that end after a while and are asked for again, and requests that carry the
//! commands as JSON strings.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{
    client::Close,
    front::Front,
    stream::{Headers, client, owned},
};
use crate::support::Server;

/// One client.
#[derive(Debug)]
pub(super) struct SockJs {
    http: reqwest::Client,
    /// The session.
    url: String,
    response: Response,
    rest: Vec<u8>,
    opened: bool,
    ended: Option<Close>,
}

impl SockJs {
    /// Opens a session, unless it is refused.
    pub(super) async fn open(
        server: &Server,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Close> {
        let base = format!("http://{}", server.http_target());
        Self::at(client(), &base, &owned(headers)).await
    }

    /// The same through a front, with TLS.
    pub(super) async fn through(front: &Front) -> Self {
        match Self::at(front.http(), &front.url(""), &Vec::new()).await {
            Ok(client) => client,
            Err(close) => panic!("refused: {close:?}"),
        }
    }

    async fn at(http: reqwest::Client, base: &str, headers: &Headers) -> Result<Self, Close> {
        let session = uuid::Uuid::new_v4();
        let url = format!("{base}/connection/sockjs/0/{session}");
        let mut request = http.post(format!("{url}/xhr_streaming"));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.unwrap();
        if response.status() != StatusCode::OK {
            return Err(Close::told(response.status().as_u16().into(), "refused"));
        }
        Ok(Self {
            http,
            url,
            response,
            rest: Vec::new(),
            opened: false,
            ended: None,
        })
    }

    /// Commands in one frame.
    pub(super) async fn send(&self, commands: &[Vec<u8>]) {
        self.raw(&commands.join(&b'\n')).await;
    }

    /// Bytes as one frame. A session that has ended takes none; the end tells.
    pub(super) async fn raw(&self, frame: &[u8]) {
        let body = json!([String::from_utf8_lossy(frame)]).to_string();
        let request = self.http.post(format!("{}/xhr_send", self.url));
        drop(request.body(body).send().await);
    }

    /// The messages of the next frame, or the end.
    pub(super) async fn receive(&mut self) -> Result<Vec<Vec<u8>>, Close> {
        loop {
            if let Some(close) = &self.ended {
                return Err(close.clone());
            }
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.rest.drain(..=end).collect();
                let messages = self.frame(&line[..end]);
                if !messages.is_empty() {
                    return Ok(messages);
                }
            }
            if self.ended.is_none() {
                self.read().await;
            }
        }
    }

    async fn read(&mut self) {
        match self.response.chunk().await {
            Ok(Some(chunk)) => self.rest.extend_from_slice(&chunk),
            Ok(None) => {
                // Enough for one answer: the session goes on in the next.
                let next = self.http.post(format!("{}/xhr_streaming", self.url));
                match next.send().await {
                    Ok(response) => self.response = response,
                    Err(_) => self.ended = Some(Close::silent()),
                }
            }
            Err(_) => self.ended = Some(Close::silent()),
        }
    }

    fn frame(&mut self, line: &[u8]) -> Vec<Vec<u8>> {
        match line.split_first() {
            Some((b'h', _)) => Vec::new(),
            Some((b'o', [])) => {
                // Whoever opens anew has lost the session.
                if std::mem::replace(&mut self.opened, true) {
                    self.ended = Some(Close::silent());
                }
                Vec::new()
            }
            Some((b'a', array)) => {
                let messages: Vec<String> = serde_json::from_slice(array).unwrap();
                let messages = messages.iter().flat_map(|message| message.split('\n'));
                messages
                    .map(|message| message.as_bytes().to_vec())
                    .collect()
            }
            Some((b'c', array)) => {
                let (code, reason): (u32, String) = serde_json::from_slice(array).unwrap();
                self.ended = Some(Close::told(code, &reason));
                Vec::new()
            }
            _ => panic!("no frame of SockJS: {:?}", Value::from(line)),
        }
    }
}
