//! Append-only logs of publishers and clients: a line of JSON an event, written before anything else happens, read afterwards.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::time::Instant;

/// One thing that happened to a publisher or a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A publisher is about to publish.
    Sent {
        /// Where.
        channel: String,
        /// The number inside the payload; no other publication has it.
        id: u64,
    },
    /// A publisher has its answer.
    Accepted {
        /// Where.
        channel: String,
        /// Which.
        id: u64,
        /// Place in the stream.
        offset: u64,
        /// Of this life of it.
        epoch: String,
    },
    /// A publisher was told that it failed: nobody knows whether it did.
    Failed {
        /// Where.
        channel: String,
        /// Which.
        id: u64,
    },
    /// A client subscribed.
    Subscribed {
        /// To this.
        channel: String,
        /// It has, or will be sent, everything after this.
        offset: u64,
        /// Of this life of the stream.
        epoch: String,
        /// It asked to recover.
        asked: bool,
        /// It was told that nothing is missing.
        recovered: bool,
    },
    /// A client got a publication.
    Got {
        /// Where.
        channel: String,
        /// Which.
        id: u64,
        /// Place in the stream, as told.
        offset: u64,
    },
    /// A client was told that its subscription or connection ended.
    Told {
        /// Why.
        code: u32,
    },
    /// A client went by itself: nothing after its newest publication was promised any more.
    Left {
        /// From here.
        channel: String,
    },
}

/// The log of one publisher or client as it is read: its name, and its entries with the microsecond of each.
pub(crate) type Log = (String, Vec<(u64, Entry)>);

/// The log of one publisher or client.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    file: Arc<Mutex<File>>,
    begun: Instant,
}

impl Journal {
    /// Opens a log of this name in a folder.
    pub(crate) fn open(folder: &Path, name: &str, begun: Instant) -> Self {
        let path = folder.join(format!("{name}.journal"));
        let file = File::options().create(true).append(true).open(path);
        Self {
            file: Arc::new(Mutex::new(file.unwrap())),
            begun,
        }
    }

    /// Appends an entry.
    pub(crate) fn write(&self, entry: &Entry) {
        let at = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let line = format!("{}\n", to_json(at, entry));
        self.file
            .lock()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
    }
}

/// All logs of a folder.
pub(crate) fn read(folder: &Path) -> Vec<Log> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "journal"))
        .collect();
    files.sort();
    let logs = files.into_iter().map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let lines = BufReader::new(File::open(&path).unwrap()).lines();
        let entries = lines.map(|line| from_json(&serde_json::from_str(&line.unwrap()).unwrap()));
        (name, entries.collect())
    });
    logs.collect()
}

fn to_json(at: u64, entry: &Entry) -> Value {
    match entry {
        Entry::Sent { channel, id } => json!({"at": at, "what": "sent", "ch": channel, "id": id}),
        Entry::Accepted {
            channel,
            id,
            offset,
            epoch,
        } => {
            json!({"at": at, "what": "accepted", "ch": channel, "id": id, "offset": offset, "epoch": epoch})
        }
        Entry::Failed { channel, id } => {
            json!({"at": at, "what": "failed", "ch": channel, "id": id})
        }
        Entry::Subscribed {
            channel,
            offset,
            epoch,
            asked,
            recovered,
        } => json!({
            "at": at, "what": "subscribed", "ch": channel, "offset": offset, "epoch": epoch,
            "asked": asked, "recovered": recovered,
        }),
        Entry::Got {
            channel,
            id,
            offset,
        } => json!({"at": at, "what": "got", "ch": channel, "id": id, "offset": offset}),
        Entry::Told { code } => json!({"at": at, "what": "told", "code": code}),
        Entry::Left { channel } => json!({"at": at, "what": "left", "ch": channel}),
    }
}

fn from_json(line: &Value) -> (u64, Entry) {
    let text = |key: &str| line[key].as_str().unwrap().to_owned();
    let number = |key: &str| line[key].as_u64().unwrap();
    let entry = match line["what"].as_str().unwrap() {
        "sent" => Entry::Sent {
            channel: text("ch"),
            id: number("id"),
        },
        "accepted" => Entry::Accepted {
            channel: text("ch"),
            id: number("id"),
            offset: number("offset"),
            epoch: text("epoch"),
        },
        "failed" => Entry::Failed {
            channel: text("ch"),
            id: number("id"),
        },
        "subscribed" => Entry::Subscribed {
            channel: text("ch"),
            offset: number("offset"),
            epoch: text("epoch"),
            asked: line["asked"] == true,
            recovered: line["recovered"] == true,
        },
        "got" => Entry::Got {
            channel: text("ch"),
            id: number("id"),
            offset: number("offset"),
        },
        "told" => Entry::Told {
            code: u32::try_from(number("code")).unwrap(),
        },
        "left" => Entry::Left {
            channel: text("ch"),
        },
        other => panic!("unknown entry {other}"),
    };
    (number("at"), entry)
}

#[test]
fn what_is_written_is_read() {
    let entries = [
        Entry::Sent {
            channel: "a".into(),
            id: 1,
        },
        Entry::Accepted {
            channel: "a".into(),
            id: 1,
            offset: 2,
            epoch: "e".into(),
        },
        Entry::Failed {
            channel: "a".into(),
            id: 3,
        },
        Entry::Subscribed {
            channel: "a".into(),
            offset: 4,
            epoch: "e".into(),
            asked: true,
            recovered: false,
        },
        Entry::Got {
            channel: "a".into(),
            id: 1,
            offset: 2,
        },
        Entry::Told { code: 2500 },
        Entry::Left {
            channel: "a".into(),
        },
    ];
    for entry in entries {
        assert_eq!(from_json(&to_json(7, &entry)), (7, entry));
    }
}
