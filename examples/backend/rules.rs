//! What the chat application decides. Knows nothing of HTTP and gRPC.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

/// A question, from either side of the house.
#[derive(Debug, Default)]
pub(crate) struct Question {
    /// `connect`, `refresh`, `subscribe`, `publish`, `sub_refresh` or `rpc`.
    pub(crate) kind: &'static str,
    pub(crate) user: String,
    pub(crate) channel: String,
    pub(crate) method: String,
    /// Payload; empty for none.
    pub(crate) data: Vec<u8>,
    /// Connection meta; empty for none.
    pub(crate) meta: Vec<u8>,
    /// Channels that a connection asks for.
    pub(crate) channels: Vec<String>,
    /// Headers or metadata, in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// How payloads come: `json` or `binary`.
    pub(crate) encoding: String,
    /// What the question has besides, by name.
    pub(crate) about: BTreeMap<&'static str, String>,
}

/// What is granted. What does not fit the question stays empty.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    pub(crate) user: String,
    pub(crate) expired: bool,
    pub(crate) expire_at: i64,
    pub(crate) info: Option<Value>,
    pub(crate) meta: Option<Value>,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) channels: Vec<String>,
    pub(crate) presence: Option<bool>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// How a question is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Yes, like this.
    Granted(Box<Granted>),
    /// Nothing is known, which means different things for different questions.
    Nothing,
    /// An error for the client: code and text.
    Error(u32, &'static str),
    /// The end of the connection: code and reason.
    Disconnect(u32, &'static str),
    /// HTTP status 403, gRPC status PERMISSION_DENIED.
    Forbidden,
}

impl From<Granted> for Answer {
    fn from(granted: Granted) -> Self {
        Self::Granted(Box::new(granted))
    }
}

/// The application.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    /// Questions so far, by kind.
    asked: Mutex<BTreeMap<&'static str, u64>>,
}

impl Chat {
    /// Counts something that happened.
    pub(crate) fn count(&self, what: &'static str) {
        if let Ok(mut asked) = self.asked.lock() {
            *asked.entry(what).or_default() += 1;
        }
    }

    /// Answers a question.
    pub(crate) async fn answer(&self, question: Question) -> Answer {
        self.count(question.kind);
        match question.kind {
            "connect" => {
                think(&parsed(&question.data)["think_ms"]).await;
                connect(&question)
            }
            "refresh" => refresh(&question),
            "subscribe" => subscribe(&question),
            "publish" => publish(&question),
            "sub_refresh" => sub_refresh(&question),
            _ => self.rpc(question).await,
        }
    }

    async fn rpc(&self, question: Question) -> Answer {
        let data = parsed(&question.data);
        let reply = match question.method.as_str() {
            "add" | "chat:add" => {
                let number = |name: &str| data[name].as_i64().unwrap_or_default();
                json!({"sum": number("a") + number("b")})
            }
            "whoami" => json!({
                "user": question.user,
                "meta": parsed(&question.meta),
                "headers": question.headers,
                "encoding": question.encoding,
                "about": question.about,
            }),
            "asked" => {
                let asked = self.asked.lock();
                json!(asked.map(|asked| asked.clone()).unwrap_or_default())
            }
            "echo" => {
                return Answer::from(Granted {
                    data: Some(question.data),
                    ..Granted::default()
                });
            }
            "think" => {
                let time = data["ms"].as_u64().unwrap_or(1000);
                think(&json!(time)).await;
                json!({"thought": time})
            }
            "export" => {
                let bytes = data["bytes"].as_u64().unwrap_or_default();
                json!("x".repeat(usize::try_from(bytes).unwrap_or_default()))
            }
            "quit" => return Answer::Disconnect(4501, "come back never"),
            "nothing" => return Answer::Nothing,
            _ => return Answer::Error(1404, "no such method"),
        };
        Answer::from(Granted {
            data: Some(reply.to_string().into_bytes()),
            ..Granted::default()
        })
    }
}

/// Takes so many milliseconds, as an application does that asks others.
async fn think(time: &Value) {
    if let Some(time) = time.as_u64() {
        tokio::time::sleep(Duration::from_millis(time)).await;
    }
}

/// Whoever says a name gets in. `news` is for all, rooms of the list that begin with `rooms:` as well.
fn connect(question: &Question) -> Answer {
    let data = parsed(&question.data);
    let Some(name) = data["name"].as_str() else {
        return Answer::Nothing;
    };
    match name {
        "banned" => return Answer::Disconnect(4501, "banned"),
        "nobody" => return Answer::Error(1001, "who are you"),
        "forbidden" => return Answer::Forbidden,
        _ => {}
    }
    let asked = question.channels.iter();
    let rooms = asked
        .filter(|channel| channel.starts_with("rooms:"))
        .cloned();
    let more = data["channels"].as_array().into_iter().flatten();
    let more = more.filter_map(Value::as_str).map(str::to_owned);
    Answer::from(Granted {
        user: name.to_owned(),
        expire_at: after(&data["ttl"]),
        info: Some(json!({"name": name})),
        meta: Some(json!({"since": "today"})),
        data: Some(json!({"hello": name}).to_string().into_bytes()),
        channels: rooms.chain(more).chain(["news".to_owned()]).collect(),
        ..Granted::default()
    })
}

/// Everybody may stay for another hour, except `gone`.
fn refresh(question: &Question) -> Answer {
    match question.user.as_str() {
        "forbidden" => Answer::Forbidden,
        "nothing" => Answer::Nothing,
        user => Answer::from(Granted {
            expired: user == "gone",
            expire_at: unix() + 3600,
            info: Some(json!({"name": user, "refreshed": true})),
            ..Granted::default()
        }),
    }
}

/// All rooms are open, except for the secret ones.
fn subscribe(question: &Question) -> Answer {
    let room = question.channel.rsplit(':').next().unwrap_or_default();
    let data = parsed(&question.data);
    match room {
        "secret" => Answer::Error(1403, "this room is secret"),
        "forbidden" => Answer::Forbidden,
        "private" => Answer::Disconnect(4502, "stay away"),
        "plain" => Answer::Nothing,
        _ => Answer::from(Granted {
            expire_at: after(&data["ttl"]),
            info: Some(json!({"seat": 3})),
            data: Some(json!({"topic": room}).to_string().into_bytes()),
            presence: Some(true),
            ..Granted::default()
        }),
    }
}

/// What is said is marked as checked; spam is refused.
fn publish(question: &Question) -> Answer {
    let mut data = parsed(&question.data);
    if data["text"] == "spam" {
        return Answer::Error(1400, "no spam here");
    }
    let Some(said) = data.as_object_mut() else {
        return Answer::Nothing;
    };
    said.insert("checked".to_owned(), json!(true));
    Answer::from(Granted {
        data: Some(data.to_string().into_bytes()),
        tags: BTreeMap::from([("lang".to_owned(), "en".to_owned())]),
        ..Granted::default()
    })
}

/// A subscription goes on for an hour, except in a room that closes.
fn sub_refresh(question: &Question) -> Answer {
    Answer::from(Granted {
        expired: question.channel.ends_with("closing"),
        expire_at: unix() + 3600,
        ..Granted::default()
    })
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_default()
}

/// So many seconds from now; 0 stands for never.
fn after(ttl: &Value) -> i64 {
    ttl.as_i64().map_or(0, |ttl| unix() + ttl)
}

#[expect(clippy::disallowed_methods, reason = "an application has a clock")]
fn unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
