//! A client of HTTP stream or SSE: one response that never ends, and requests that carry the commands.
//!
//! The request waits for the first commands, since it carries them. The requests may go to another node than the response
//! comes from.

use std::collections::VecDeque;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{client::Close, front::Front, protobuf};
use crate::support::Server;

/// Headers of a test's own.
pub(super) type Headers = Vec<(&'static str, String)>;

/// Headers to keep.
pub(super) fn owned(headers: &[(&'static str, &str)]) -> Headers {
    let owned = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
    headers.iter().map(owned).collect()
}

/// The three forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Protobuf,
    Events,
}

/// One client.
#[derive(Debug)]
pub(super) struct Stream {
    http: reqwest::Client,
    form: Form,
    /// Where the response comes from, and where commands go.
    stream: String,
    back: String,
    headers: Headers,
    response: Option<Response>,
    rest: Vec<u8>,
    ready: VecDeque<Vec<u8>>,
    /// Session and node, once the client is told.
    address: Option<(String, String)>,
    /// The disconnect push.
    told: Option<Close>,
    ended: Option<Close>,
}

impl Stream {
    /// A client that has not said anything yet.
    pub(super) fn new(server: &Server, form: Form, headers: &[(&'static str, &str)]) -> Self {
        let path = match form {
            Form::Json | Form::Protobuf => "http_stream",
            Form::Events => "sse",
        };
        Self {
            http: client(),
            form,
            stream: format!("http://{}/connection/{path}", server.http_target()),
            back: format!("http://{}/emulation", server.http_target()),
            headers: owned(headers),
            response: None,
            rest: Vec::new(),
            ready: VecDeque::new(),
            address: None,
            told: None,
            ended: None,
        }
    }

    /// The same through a front, with TLS.
    pub(super) fn through(front: &Front, form: Form) -> Self {
        let path = match form {
            Form::Json | Form::Protobuf => "http_stream",
            Form::Events => "sse",
        };
        Self {
            http: front.http(),
            form,
            stream: front.url(&format!("/connection/{path}")),
            back: front.url("/emulation"),
            headers: Vec::new(),
            response: None,
            rest: Vec::new(),
            ready: VecDeque::new(),
            address: None,
            told: None,
            ended: None,
        }
    }

    /// Sends commands to this node from now on.
    pub(super) fn answer_through(&mut self, server: &Server) {
        self.back = format!("http://{}/emulation", server.http_target());
    }

    /// Commands in one frame.
    pub(super) async fn send(&mut self, commands: &[Vec<u8>]) -> Result<(), Close> {
        let frame = if self.form == Form::Protobuf {
            let framed = commands.iter().map(|command| protobuf::delimited(command));
            framed.collect::<Vec<_>>().concat()
        } else {
            commands.join(&b'\n')
        };
        self.raw(frame).await
    }

    /// Bytes as one frame: the first is the body of the request that is answered with the stream.
    pub(super) async fn raw(&mut self, frame: Vec<u8>) -> Result<(), Close> {
        if self.response.is_none() {
            return self.open(frame).await;
        }
        // Only a client that was told where it is can say more.
        while self.address.is_none() {
            let Ok(messages) = self.read().await else {
                return Ok(());
            };
            self.ready.extend(messages);
        }
        let Some((session, node)) = self.address.clone() else {
            return Ok(());
        };
        let status = self.post(&session, &node, frame).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        Ok(())
    }

    async fn open(&mut self, frame: Vec<u8>) -> Result<(), Close> {
        let mut request = self.http.post(&self.stream);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if self.form == Form::Protobuf {
            request = request.header("content-type", "application/octet-stream");
        }
        let response = request.body(frame).send().await.unwrap();
        if response.status() != StatusCode::OK {
            return Err(Close::told(response.status().as_u16().into(), "refused"));
        }
        self.response = Some(response);
        Ok(())
    }

    /// A frame for a session; returns the status.
    pub(super) async fn post(&self, session: &str, node: &str, frame: Vec<u8>) -> StatusCode {
        let request = self.http.post(&self.back);
        let request = if self.form == Form::Protobuf {
            let field = |number: u8, value: &[u8]| {
                let mut out = vec![number << 3 | 2];
                out.extend(protobuf::delimited(value));
                out
            };
            let body = [
                field(1, node.as_bytes()),
                field(2, session.as_bytes()),
                field(3, &frame),
            ];
            let request = request.header("content-type", "application/octet-stream");
            request.body(body.concat())
        } else {
            let data = String::from_utf8_lossy(&frame);
            let body = json!({"session": session, "node": node, "data": data});
            let request = request.header("content-type", "application/json");
            request.body(body.to_string())
        };
        request.send().await.unwrap().status()
    }

    /// Session and node.
    pub(super) fn address(&self) -> Option<&(String, String)> {
        self.address.as_ref()
    }

    /// The next messages, or the end.
    pub(super) async fn receive(&mut self) -> Result<Vec<Vec<u8>>, Close> {
        if !self.ready.is_empty() {
            return Ok(self.ready.drain(..).collect());
        }
        self.read().await
    }

    async fn read(&mut self) -> Result<Vec<Vec<u8>>, Close> {
        loop {
            let messages = self.split();
            if !messages.is_empty() {
                return Ok(messages);
            }
            if let Some(close) = &self.ended {
                return Err(close.clone());
            }
            let Some(response) = &mut self.response else {
                // Nothing was asked, so nothing comes.
                return std::future::pending().await;
            };
            match response.chunk().await {
                Ok(Some(chunk)) => self.rest.extend_from_slice(&chunk),
                _ => {
                    assert!(self.rest.is_empty(), "half a message: {:?}", self.rest);
                    let close = self.told.take().unwrap_or_else(Close::silent);
                    self.ended = Some(close.clone());
                    return Err(close);
                }
            }
        }
    }

    /// Takes complete messages out of what was read; keeps what the client has to know of them.
    fn split(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some((message, taken)) = self.first() {
            self.rest.drain(..taken);
            if let Some(message) = message {
                self.look(&message);
                messages.push(message);
            }
        }
        messages
    }

    /// The first message and how many bytes it takes.
    fn first(&self) -> Option<(Option<Vec<u8>>, usize)> {
        match self.form {
            Form::Json => {
                let end = self.rest.iter().position(|byte| *byte == b'\n')?;
                Some((Some(self.rest[..end].to_vec()), end + 1))
            }
            Form::Events if self.rest.starts_with(b"\r\n") => Some((None, 2)),
            Form::Events => {
                let end = self.rest.windows(2).position(|pair| pair == b"\n\n")?;
                let message = self.rest[..end].strip_prefix(b"data: ");
                Some((Some(message.expect("an event").to_vec()), end + 2))
            }
            Form::Protobuf => {
                let (length, start) = protobuf::varint_at(&self.rest)?;
                let message = self.rest.get(start..start + length)?;
                Some((Some(message.to_vec()), start + length))
            }
        }
    }

    fn look(&mut self, message: &[u8]) {
        let reply: Value = if self.form == Form::Protobuf {
            protobuf::decode(&super::schema::REPLY, message)
        } else {
            // What is nested too deep for this client has nothing that it has to know.
            serde_json::from_slice(message).unwrap_or_default()
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let connect = &reply["connect"];
        if connect["session"].is_string() {
            self.address = Some((text(&connect["session"]), text(&connect["node"])));
        }
        let disconnect = &reply["push"]["disconnect"];
        if let Some(code) = disconnect["code"].as_u64() {
            let code = u32::try_from(code).unwrap();
            self.told = Some(Close::told(code, &text(&disconnect["reason"])));
        }
    }
}

/// A client without a limit on the time of a response.
pub(super) fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy();
    builder.pool_max_idle_per_host(0).build().unwrap()
}
