//! Clients that only listen: they connect with one request and get pushes. What comes is given the shape of replies, as other
//! clients get them, so that a behaviour sees no difference.

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest as _,
        http::{HeaderName, HeaderValue},
    },
};
use tonic::{
    Request, Streaming, client::Grpc, codegen::http::uri::PathAndQuery, metadata::MetadataKey,
    transport::Channel,
};

use super::{
    client::Close,
    grpc::{Raw, ended},
    protobuf::{decode, encode},
    schema::{CONNECT_REQUEST, PUSH},
    stream::{Headers, client, owned},
};
use crate::support::Server;

/// The four ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    WebSocket,
    Events,
    HttpStream,
    Grpc,
}

#[derive(Debug)]
enum Source {
    /// Nothing was asked yet.
    None,
    Socket(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
    Body(Response),
    Grpc(Box<Streaming<bytes::Bytes>>),
}

/// One client.
#[derive(Debug)]
pub(super) struct Listener {
    way: Way,
    http: String,
    grpc: String,
    headers: Headers,
    /// Id of the command that asked, which the connect push answers.
    id: Value,
    source: Source,
    rest: Vec<u8>,
    told: Option<Close>,
}

impl Listener {
    /// A client that has not asked yet.
    pub(super) fn new(server: &Server, way: Way, headers: &[(&'static str, &str)]) -> Self {
        Self {
            way,
            http: server.http_target(),
            grpc: server.uni_grpc_target(),
            headers: owned(headers),
            id: Value::Null,
            source: Source::None,
            rest: Vec::new(),
            told: None,
        }
    }

    /// The one thing this client says.
    pub(super) async fn send(&mut self, command: &Value) -> Result<(), Close> {
        let request = &command["connect"];
        assert!(request.is_object(), "who only listens never says {command}");
        assert!(matches!(self.source, Source::None), "asked a second time");
        self.id = command["id"].clone();
        self.source = match self.way {
            Way::WebSocket => self.socket(request).await,
            Way::Events => self.body("uni_sse", request).await?,
            Way::HttpStream => self.body("uni_http_stream", request).await?,
            Way::Grpc => self.call(request).await?,
        };
        Ok(())
    }

    async fn socket(&self, connect: &Value) -> Source {
        let tcp = TcpStream::connect(&self.http).await.unwrap();
        let url = format!("ws://{}/connection/uni_websocket", self.http);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(value).unwrap();
            let headers = request.headers_mut();
            headers.insert(HeaderName::from_static(name), value);
        }
        let opened = client_async(request, MaybeTlsStream::Plain(tcp)).await;
        let (mut socket, _) = opened.unwrap();
        let message = Message::text(connect.to_string());
        socket.send(message).await.unwrap();
        Source::Socket(Box::new(socket))
    }

    async fn body(&self, path: &str, connect: &Value) -> Result<Source, Close> {
        let url = format!("http://{}/connection/{path}", self.http);
        let mut request = client().post(url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let response = request.body(connect.to_string()).send().await.unwrap();
        if response.status() != StatusCode::OK {
            return Err(Close::told(response.status().as_u16().into(), "refused"));
        }
        Ok(Source::Body(response))
    }

    async fn call(&self, connect: &Value) -> Result<Source, Close> {
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc)).unwrap();
        let mut client = Grpc::new(endpoint.connect().await.unwrap());
        client.ready().await.unwrap();
        let body = bytes::Bytes::from(encode(&CONNECT_REQUEST, connect));
        let mut request = Request::new(body);
        for (name, value) in &self.headers {
            let key = MetadataKey::from_static(name);
            request.metadata_mut().insert(key, value.parse().unwrap());
        }
        let path = "/centrifugal.centrifugo.unistream.CentrifugoUniStream/Consume";
        let path = PathAndQuery::from_static(path);
        let response = client.server_streaming(request, path, Raw).await;
        let streaming = response.map_err(|status| ended(&status))?.into_inner();
        Ok(Source::Grpc(Box::new(streaming)))
    }

    /// The next messages, or the end.
    pub(super) async fn receive(&mut self) -> Result<Vec<Vec<u8>>, Close> {
        let pushes = loop {
            match &mut self.source {
                // Nothing was asked, so nothing comes.
                Source::None => return std::future::pending().await,
                Source::Socket(socket) => match socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let lines = text.split('\n').map(serde_json::from_str);
                        break lines.map(Result::unwrap).collect();
                    }
                    Some(Ok(Message::Close(Some(frame)))) => {
                        let code = u16::from(frame.code).into();
                        return Err(Close::told(code, frame.reason.as_str()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(Close::silent()),
                },
                Source::Body(response) => {
                    let Ok(Some(chunk)) = response.chunk().await else {
                        return Err(self.told.clone().unwrap_or_else(Close::silent));
                    };
                    self.rest.extend_from_slice(&chunk);
                    let pushes = self.split();
                    if !pushes.is_empty() {
                        break pushes;
                    }
                }
                Source::Grpc(streaming) => match streaming.message().await {
                    Ok(Some(message)) => break vec![decode(&PUSH, &message)],
                    Ok(None) => return Err(self.told.clone().unwrap_or_else(Close::silent)),
                    Err(status) => return Err(ended(&status)),
                },
            }
        };
        Ok(pushes.into_iter().map(|push| self.reply(push)).collect())
    }

    /// Complete pushes of a body.
    fn split(&mut self) -> Vec<Value> {
        let events = self.way == Way::Events;
        let end: &[u8] = if events { b"\n\n" } else { b"\n" };
        let mut pushes = Vec::new();
        loop {
            if events && self.rest.starts_with(b"\r\n") {
                self.rest.drain(..2);
            }
            let mut windows = self.rest.windows(end.len());
            let Some(at) = windows.position(|window| window == end) else {
                return pushes;
            };
            let message: Vec<_> = self.rest.drain(..at + end.len()).collect();
            let message = &message[..at];
            let message = if events {
                message.strip_prefix(b"data: ").expect("an event")
            } else {
                message
            };
            pushes.push(serde_json::from_slice(message).unwrap());
        }
    }

    /// What a client with commands would get.
    fn reply(&mut self, mut push: Value) -> Vec<u8> {
        let disconnect = &push["disconnect"];
        if let Some(code) = disconnect["code"].as_u64() {
            let reason = disconnect["reason"].as_str().unwrap_or_default();
            self.told = Some(Close::told(u32::try_from(code).unwrap(), reason));
        }
        if push["connect"].is_object() {
            return json!({"id": self.id, "connect": push["connect"].take()})
                .to_string()
                .into_bytes();
        }
        // Looking has left a null.
        if let Some(push) = push.as_object_mut() {
            push.retain(|_, value| !value.is_null());
        }
        if push == json!({}) {
            return b"{}".to_vec();
        }
        json!({"push": push}).to_string().into_bytes()
    }
}
