//! One client over any of the transports, spoken to in JSON values.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Code, transport::Channel};

use super::{
    front::Front,
    grpc::{Call, channel},
    listener::{Listener, Way},
    protobuf::{HEX, decode, delimited, encode, hex, payload},
    schema::{BODIES_V1, COMMAND, METHODS, PUSH_V1, REPLY},
    socket::Socket,
    sockjs::SockJs,
    stream::{Form, Stream},
};
use crate::support::Server;

/// Nothing a test waits for takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(10);

/// The disconnect before which nothing is written any more.
const SLOW: u32 = 3008;

/// The ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The canonical stream.
    Grpc,
    /// WebSocket, JSON.
    Json,
    /// WebSocket, Protobuf.
    Protobuf,
    /// HTTP stream, JSON.
    HttpStream,
    /// HTTP stream, Protobuf.
    HttpStreamProtobuf,
    /// Server-sent events.
    Sse,
    /// SockJS without a WebSocket.
    SockJs,
    /// WebSocket of a client that only listens.
    UniWebSocket,
    /// Server-sent events of a client that only listens.
    UniSse,
    /// HTTP stream of a client that only listens.
    UniHttpStream,
    /// gRPC stream of a client that only listens.
    UniGrpc,
}

impl Transport {
    /// Those that carry commands themselves.
    pub(crate) const ALL: [Self; 3] = [Self::Grpc, Self::Json, Self::Protobuf];

    /// Its messages are JSON, or are given to a test as such.
    pub(crate) const fn is_json(self) -> bool {
        !matches!(self, Self::Grpc | Self::Protobuf | Self::HttpStreamProtobuf)
    }

    /// Its commands come by requests to `/emulation`.
    pub(crate) const fn is_emulated(self) -> bool {
        matches!(
            self,
            Self::HttpStream | Self::HttpStreamProtobuf | Self::Sse
        )
    }

    /// The end is told by a push.
    const fn pushes_the_end(self) -> bool {
        !matches!(self, Self::Json | Self::Protobuf | Self::SockJs)
    }

    /// The way of a client that only listens.
    const fn way(self) -> Option<Way> {
        match self {
            Self::UniWebSocket => Some(Way::WebSocket),
            Self::UniSse => Some(Way::Events),
            Self::UniHttpStream => Some(Way::HttpStream),
            Self::UniGrpc => Some(Way::Grpc),
            _ => None,
        }
    }

    fn form(self) -> Form {
        match self {
            Self::HttpStreamProtobuf => Form::Protobuf,
            Self::Sse => Form::Events,
            _ => Form::Json,
        }
    }

    /// Opens a connection and sends nothing.
    pub(crate) async fn open(self, server: &Server) -> Client {
        match self.open_with(server, &[]).await {
            Ok(client) => client,
            Err(close) => panic!("refused: {close:?}"),
        }
    }

    /// Opens a connection with headers or metadata, unless it is refused at once.
    pub(crate) async fn open_with(
        self,
        server: &Server,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, Close> {
        if let Some(way) = self.way() {
            let listener = Listener::new(server, way, headers);
            return Ok(Client::over(self, Wire::Listener(Box::new(listener))));
        }
        let wire = match self {
            Self::Grpc => Wire::Grpc(Box::new(Call::open(server, headers).await?)),
            Self::SockJs => Wire::SockJs(Box::new(SockJs::open(server, headers).await?)),
            Self::Json => Wire::Socket(Box::new(Socket::open(server, false, headers).await?)),
            Self::Protobuf => Wire::Socket(Box::new(Socket::open(server, true, headers).await?)),
            _ => Wire::Stream(Box::new(Stream::new(server, self.form(), headers))),
        };
        Ok(Client::over(self, wire))
    }

    /// Opens a connection through a front, with TLS, and sends nothing.
    pub(crate) async fn through(self, front: &Front) -> Client {
        let wire = match self {
            Self::Grpc => Wire::Grpc(Box::new(Call::early(&front.channel().await, &[]).await)),
            Self::Json => Wire::Socket(Box::new(Socket::through(front, false).await)),
            Self::Protobuf => Wire::Socket(Box::new(Socket::through(front, true).await)),
            Self::SockJs => Wire::SockJs(Box::new(SockJs::through(front).await)),
            Self::HttpStream | Self::HttpStreamProtobuf | Self::Sse => {
                Wire::Stream(Box::new(Stream::through(front, self.form())))
            }
            _ => panic!("{self:?} has tests of its own behind fronts"),
        };
        Client::over(self, wire)
    }

    /// Opens a connection and connects with this request.
    pub(crate) async fn connect(self, server: &Server, request: Value) -> Client {
        let mut client = self.open(server).await;
        client.connect(request).await;
        client
    }

    /// A connection of this user.
    pub(crate) async fn user(self, server: &Server, user: &str) -> Client {
        let token = Server::token(&json!({"sub": user}));
        self.connect(server, json!({"token": token})).await
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    /// Disconnect code; 0 when the transport ended without a word.
    pub(crate) code: u32,
    /// Reason text.
    pub(crate) reason: String,
    /// Status of the gRPC call; OK elsewhere.
    pub(crate) status: Code,
}

impl Close {
    /// With a code.
    pub(super) fn told(code: u32, reason: &str) -> Self {
        let (reason, status) = (reason.to_owned(), Code::Ok);
        Self {
            code,
            reason,
            status,
        }
    }

    /// Without a word.
    pub(super) fn silent() -> Self {
        Self::told(0, "")
    }
}

#[derive(Debug)]
enum Wire {
    Grpc(Box<Call>),
    Socket(Box<Socket>),
    Stream(Box<Stream>),
    SockJs(Box<SockJs>),
    Listener(Box<Listener>),
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    transport: Transport,
    wire: Wire,
    last_id: u64,
    /// Methods of the older generation by the id of their command.
    methods: HashMap<u64, usize>,
    /// Received, not yet looked at.
    backlog: VecDeque<Vec<u8>>,
    /// Of the same frame as the message before.
    incoming: VecDeque<Vec<u8>>,
    /// The disconnect push of a gRPC stream, which must agree with the trailer.
    told: Option<(Value, String)>,
    /// Speaks the older generation.
    older: bool,
    /// Client id, once connected.
    pub(crate) id: String,
}

impl Client {
    /// Clients that share one HTTP/2 connection.
    pub(crate) async fn streams<const N: usize>(server: &Server) -> [Self; N] {
        let channel = channel(server).await;
        let calls = join_all((0..N).map(|_| Call::on(&channel, &[]))).await;
        let clients = calls.into_iter().map(|call| match call {
            Ok(call) => Self::over(Transport::Grpc, Wire::Grpc(Box::new(call))),
            Err(close) => panic!("refused: {close:?}"),
        });
        clients.collect::<Vec<_>>().try_into().unwrap()
    }

    /// A stream with this metadata on a connection of the test's own making, unless it is refused.
    pub(crate) async fn stream(
        channel: &Channel,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Close> {
        let call = Call::on(channel, headers).await?;
        Ok(Self::over(Transport::Grpc, Wire::Grpc(Box::new(call))))
    }

    /// A further stream on an HTTP/2 connection, without waiting for the beginning of the response.
    pub(crate) async fn early(channel: &Channel) -> Self {
        let call = Call::early(channel, &[]).await;
        Self::over(Transport::Grpc, Wire::Grpc(Box::new(call)))
    }

    /// A further stream on an HTTP/2 connection.
    pub(crate) async fn on(channel: &Channel) -> Self {
        match Call::on(channel, &[]).await {
            Ok(call) => Self::over(Transport::Grpc, Wire::Grpc(Box::new(call))),
            Err(close) => panic!("refused: {close:?}"),
        }
    }

    fn over(transport: Transport, wire: Wire) -> Self {
        Self {
            transport,
            wire,
            last_id: 0,
            methods: HashMap::new(),
            backlog: VecDeque::new(),
            incoming: VecDeque::new(),
            told: None,
            older: false,
            id: String::new(),
        }
    }

    /// Sends a command as it is.
    pub(crate) async fn send(&mut self, command: Value) {
        self.send_all(&[command]).await;
    }

    /// Sends commands in one frame, on gRPC one after the other.
    pub(crate) async fn send_all(&mut self, commands: &[Value]) {
        let encoded: Vec<_> = commands
            .iter()
            .map(|command| self.encode(command))
            .collect();
        match &mut self.wire {
            Wire::Socket(socket) => socket.send(&encoded).await,
            Wire::Stream(stream) => stream.send(&encoded).await.unwrap(),
            Wire::SockJs(session) => session.send(&encoded).await,
            Wire::Listener(listener) => {
                for command in commands {
                    listener.send(command).await.unwrap();
                }
            }
            Wire::Grpc(call) => {
                for command in encoded {
                    call.send(command).await;
                }
            }
        }
    }

    /// Sends bytes as one frame or one gRPC message.
    pub(crate) async fn raw(&mut self, bytes: impl Into<Vec<u8>>) {
        match &mut self.wire {
            Wire::Socket(socket) => socket.raw(bytes.into()).await,
            Wire::Stream(stream) => stream.raw(bytes.into()).await.unwrap(),
            Wire::SockJs(session) => session.raw(&bytes.into()).await,
            Wire::Listener(_) => panic!("who only listens says nothing"),
            Wire::Grpc(call) => call.send(bytes.into()).await,
        }
    }

    /// Takes what comes for the older generation, before a command has told.
    pub(crate) fn speak_older(&mut self) {
        self.older = true;
        self.methods.insert(1, 0);
    }

    /// Sends a command given in both encodings, framed as its transport does it.
    pub(crate) async fn raw_command(&mut self, json: &[u8], protobuf: &[u8]) {
        match self.transport {
            Transport::Protobuf | Transport::HttpStreamProtobuf => {
                self.raw(delimited(protobuf)).await;
            }
            Transport::Grpc => self.raw(protobuf).await,
            _ => self.raw(json).await,
        }
    }

    /// Publishes exactly these bytes and waits for the reply.
    pub(crate) async fn publish_bytes(&mut self, channel: &str, payload: &[u8]) {
        let id = self.publish_unseen(channel, payload).await;
        assert_eq!(self.answer(id).await, json!({"publish": {}}));
    }

    /// Publishes exactly these bytes, which may be more than this client could understand.
    pub(crate) async fn publish_unseen(&mut self, channel: &str, payload: &[u8]) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let head = format!(r#"{{"id":{id},"publish":{{"channel":"{channel}","data":"#);
        let json = [head.as_bytes(), payload, b"}}"].concat();
        let data = json!({HEX: hex(payload)});
        let command = json!({"id": id, "publish": {"channel": channel, "data": data}});
        self.raw_command(&json, &encode(&COMMAND, &command)).await;
        id
    }

    /// Sends bytes below the frames of a WebSocket.
    pub(crate) async fn below(&mut self, bytes: &[u8]) {
        let Wire::Socket(socket) = &mut self.wire else {
            panic!("only a WebSocket has a below");
        };
        socket.below(bytes).await;
    }

    /// Sends a request with a fresh id and returns the reply without it; what else comes is kept for later.
    pub(crate) async fn call(&mut self, request: Value) -> Value {
        let id = self.request(request).await;
        self.answer(id).await
    }

    /// Sends a request with a fresh id.
    pub(crate) async fn request(&mut self, mut request: Value) -> u64 {
        self.last_id += 1;
        request["id"] = json!(self.last_id);
        self.send(request).await;
        self.last_id
    }

    /// The reply to the command with this id.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        let kept = self.backlog.iter().position(|m| self.id_of(m) == Some(id));
        if let Some(message) = kept.and_then(|at| self.backlog.remove(at)) {
            return without_id(self.decode(&message));
        }
        loop {
            let message = self.message().await;
            if self.id_of(&message) == Some(id) {
                return without_id(self.decode(&message));
            }
            self.backlog.push_back(message);
        }
    }

    /// Sends a request that must fail and returns its code.
    pub(crate) async fn refused(&mut self, request: Value) -> u64 {
        let text = request.to_string();
        let reply = self.call(request).await;
        let code = reply["error"]["code"].as_u64();
        code.unwrap_or_else(|| panic!("{text} is answered with {reply}"))
    }

    /// Connects with this request and returns the result.
    pub(crate) async fn connect(&mut self, request: Value) -> Value {
        let mut reply = self.call(json!({"connect": request})).await;
        let Some(id) = reply["connect"]["client"].as_str() else {
            panic!("not connected: {reply}");
        };
        self.id = id.to_owned();
        reply["connect"].take()
    }

    /// Subscribes and returns the result.
    pub(crate) async fn subscribe(&mut self, request: Value) -> Value {
        let reply = self.call(json!({"subscribe": request})).await;
        let Some(result) = reply.get("subscribe") else {
            panic!("not subscribed: {reply}");
        };
        result.clone()
    }

    /// Publishes into a channel.
    pub(crate) async fn publish(&mut self, channel: &str, data: Value) {
        let request = json!({"publish": {"channel": channel, "data": data}});
        assert_eq!(self.call(request).await, json!({"publish": {}}));
    }

    /// The next message, whatever it is.
    pub(crate) async fn next(&mut self) -> Value {
        let message = self.next_raw().await;
        self.decode(&message)
    }

    /// The next message, or the end.
    pub(crate) async fn try_next(&mut self) -> Result<Value, Close> {
        match self.backlog.pop_front() {
            Some(message) => Ok(self.decode(&message)),
            None => self.event().await.map(|message| self.decode(&message)),
        }
    }

    /// The next message as it came: a line of JSON or a Protobuf message.
    pub(crate) async fn next_raw(&mut self) -> Vec<u8> {
        match self.backlog.pop_front() {
            Some(message) => message,
            None => self.message().await,
        }
    }

    /// Offsets of the publications up to this one; pings are answered, and nothing else may come.
    pub(crate) async fn offsets(&mut self, top: u64) -> Vec<u64> {
        let mut offsets = Vec::new();
        while offsets.last() != Some(&top) {
            let mut message = self.next().await;
            if message == json!({}) {
                self.send(json!({})).await;
                continue;
            }
            let publication = message["push"]["pub"].take();
            assert_ne!(publication, Value::Null, "{message}");
            offsets.push(publication["offset"].as_u64().unwrap());
        }
        offsets
    }

    /// The next message, which must be a push.
    pub(crate) async fn push(&mut self) -> Value {
        let mut next = self.next().await;
        assert!(next.get("push").is_some(), "no push but {next}");
        next["push"].take()
    }

    /// What came before the reply to a harmless command, so that "nothing came" needs no waiting.
    pub(crate) async fn so_far(&mut self) -> Vec<Value> {
        let reply = self
            .call(json!({"unsubscribe": {"channel": "nothing"}}))
            .await;
        assert_eq!(reply, json!({"unsubscribe": {}}));
        let backlog = std::mem::take(&mut self.backlog);
        backlog.iter().map(|message| self.decode(message)).collect()
    }

    /// Waits for the end, whatever comes before it.
    pub(crate) async fn close(&mut self) -> Close {
        loop {
            match self.event().await {
                Ok(message) => self.backlog.push_back(message),
                Err(close) => return close,
            }
        }
    }

    /// The end must have this code and reason.
    pub(crate) async fn closed(&mut self, code: u32, reason: &str) {
        let close = self.close().await;
        let kept: Vec<_> = self.backlog.iter().map(|m| self.decode(m)).collect();
        assert_eq!(close, Close::told(code, reason), "{kept:?}");
    }

    /// The peer sends no more commands: half-close on gRPC, close frame on WebSocket.
    pub(crate) async fn leave(self) {
        match self.wire {
            Wire::Socket(socket) => socket.close().await,
            Wire::Stream(stream) => drop(stream),
            Wire::SockJs(session) => drop(session),
            Wire::Listener(listener) => drop(listener),
            Wire::Grpc(mut call) => {
                call.half_close();
                while timeout(PATIENCE, call.receive()).await.unwrap().is_ok() {}
            }
        }
    }

    /// Sends commands to this node from now on.
    pub(crate) fn answer_through(&mut self, node: &Server) {
        let Wire::Stream(stream) = &mut self.wire else {
            panic!("only commands that come by requests can go elsewhere");
        };
        stream.answer_through(node);
    }

    /// Posts a frame for a session, as this client does it for its own, and returns the status.
    pub(crate) async fn post(&self, session: &str, node: &str, frame: &[u8]) -> u16 {
        let Wire::Stream(stream) = &self.wire else {
            panic!("only clients of HTTP streams post");
        };
        stream.post(session, node, frame.to_vec()).await.as_u16()
    }

    /// Session and node, once they are told.
    pub(crate) fn address(&self) -> (String, String) {
        match &self.wire {
            Wire::Stream(stream) => stream.address().cloned().expect("connected"),
            _ => panic!("only clients of HTTP streams have one"),
        }
    }

    /// Sends no more commands on a stream.
    pub(crate) fn half_close(&mut self) {
        let Wire::Grpc(call) = &mut self.wire else {
            panic!("only a gRPC stream can be closed by half");
        };
        call.half_close();
    }

    async fn message(&mut self) -> Vec<u8> {
        match self.event().await {
            Ok(message) => message,
            Err(close) => panic!("the connection ended: {close:?}"),
        }
    }

    async fn event(&mut self) -> Result<Vec<u8>, Close> {
        loop {
            if let Some(message) = self.incoming.pop_front() {
                return Ok(message);
            }
            let received = match &mut self.wire {
                Wire::Socket(socket) => timeout(PATIENCE, socket.receive()).await,
                Wire::Stream(stream) => timeout(PATIENCE, stream.receive()).await,
                Wire::SockJs(session) => timeout(PATIENCE, session.receive()).await,
                Wire::Listener(listener) => timeout(PATIENCE, listener.receive()).await,
                Wire::Grpc(call) => {
                    let received = timeout(PATIENCE, call.receive()).await;
                    received.map(|received| received.map(|message| vec![message]))
                }
            };
            match received {
                Ok(Ok(messages)) => self.take_in(messages),
                Ok(Err(close)) => {
                    let close = self.understood(close);
                    self.check_told(&close);
                    return Err(close);
                }
                Err(_elapsed) => panic!("nothing came for {PATIENCE:?} on {:?}", self.transport),
            }
        }
    }

    /// Disconnect pushes belong to the end of a stream and are kept for it. A WebSocket has close frames instead.
    fn take_in(&mut self, messages: Vec<Vec<u8>>) {
        for message in messages {
            assert_eq!(self.told, None, "something follows a disconnect push");
            let push = if self.transport.pushes_the_end() {
                self.disconnect(&message)
            } else {
                Value::Null
            };
            if push.is_null() {
                self.incoming.push_back(message);
            } else {
                let reason = push["reason"].as_str().unwrap_or_default();
                self.told = Some((push["code"].clone(), reason.to_owned()));
            }
        }
    }

    /// The disconnect push, if it is one. What is nested deeper than this client could read is none.
    fn disconnect(&self, message: &[u8]) -> Value {
        let mut message: Value = if self.transport.is_json() {
            serde_json::from_slice(message).unwrap_or_default()
        } else {
            self.decode(message)
        };
        message["push"]["disconnect"].take()
    }

    /// Before SockJS knows the generation of a client it tells the end as for the older one, and clients read both.
    fn understood(&self, mut close: Close) -> Close {
        if self.transport == Transport::SockJs
            && !self.older
            && let Ok(told) = serde_json::from_str::<Value>(&close.reason)
            && let Some(reason) = told["reason"].as_str()
        {
            close.reason = reason.to_owned();
        }
        close
    }

    /// The push says what the trailer says; a slow reader's queue is dropped, and the older generation and refused messages have the trailer only.
    fn check_told(&self, close: &Close) {
        let pushed = self.transport.pushes_the_end()
            && close.status == Code::Ok
            && ![0, SLOW].contains(&close.code)
            && !self.older;
        let expected = pushed.then(|| (json!(close.code), close.reason.clone()));
        assert_eq!(self.told, expected, "disconnect push, {close:?}");
    }

    fn encode(&mut self, command: &Value) -> Vec<u8> {
        let newer = |field: &&str| command.get(*field).is_some();
        let newest = COMMAND.0.iter().filter(|field| field.number > 3);
        if !newest.map(|field| field.name).any(|name| newer(&name)) && command != &json!({}) {
            return self.encode_older(command);
        }
        if self.transport.is_json() {
            return command.to_string().into_bytes();
        }
        encode(&COMMAND, command)
    }

    /// A command of the older generation: a method and its parameters.
    fn encode_older(&mut self, command: &Value) -> Vec<u8> {
        self.older = true;
        let method = command["method"].as_u64().unwrap_or_default();
        let method = usize::try_from(method).unwrap();
        self.methods
            .insert(command["id"].as_u64().unwrap_or_default(), method);
        if self.transport.is_json() {
            return command.to_string().into_bytes();
        }
        let mut command = command.clone();
        if let (Some(params), Some((request, _))) = (command.get("params"), METHODS.get(method)) {
            command["params"] = json!({HEX: hex(&encode(request, params))});
        }
        encode(&COMMAND, &command)
    }

    fn decode(&self, message: &[u8]) -> Value {
        if self.transport.is_json() {
            return serde_json::from_slice(message).unwrap();
        }
        let mut reply = decode(&REPLY, message);
        if !self.older || reply.get("error").is_some() {
            return reply;
        }
        let result = reply.get("result").map(payload).unwrap_or_default();
        match reply["id"].as_u64() {
            None => reply["result"] = push_of_older(&result),
            Some(id) => match self.methods.get(&id).copied() {
                Some(7) | None => {}
                Some(method) => reply["result"] = decode(METHODS[method].1, &result),
            },
        }
        reply
    }

    fn id_of(&self, message: &[u8]) -> Option<u64> {
        self.decode(message)["id"].as_u64()
    }
}

fn push_of_older(bytes: &[u8]) -> Value {
    let mut push = decode(&PUSH_V1, bytes);
    let body = payload(&push["data"]);
    let kind = push["type"].as_u64().unwrap_or_default();
    push["data"] = decode(BODIES_V1[usize::try_from(kind).unwrap()], &body);
    push
}

fn without_id(mut reply: Value) -> Value {
    if let Some(reply) = reply.as_object_mut() {
        reply.remove("id");
    }
    reply
}
