//! One life of a listening connection: greeting, subscribing again what is wanted, then reading until something breaks.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    sync::{mpsc, oneshot, watch},
    time::{Instant, interval, timeout},
};

use super::{
    super::{
        Failure,
        link::{Server, Shard, Wire},
    },
    Asked, Ear, Plan, WISHES, Wish,
    probe::{Probe, proved},
    resp::{self, Said},
};

/// Names in one SUBSCRIBE.
const BATCH: usize = 512;
/// Read at once.
const READ_BUFFER: usize = 32 << 10;
/// Silence after which the server is asked whether it is there.
const QUIET: Duration = Duration::from_secs(1);

/// What a failure is counted as.
type Broken = (&'static str, Failure);

/// Everything one life needs.
pub(super) struct Session<'a, E> {
    pub(super) shard: &'a Arc<Shard>,
    pub(super) plan: &'a Plan,
    pub(super) wanted: &'a Mutex<HashSet<String>>,
    pub(super) expose: &'a watch::Sender<Option<mpsc::Sender<Wish>>>,
    pub(super) ear: &'a E,
}

/// The connection while it lives.
struct Live<'a, E> {
    session: &'a Session<'a, E>,
    reading: ReadHalf<Box<dyn Wire>>,
    writing: WriteHalf<Box<dyn Wire>>,
    buffer: BytesMut,
    asked: VecDeque<Asked>,
    /// When anything was heard last, and when a message was.
    heard: Instant,
    message: Instant,
    limit: Duration,
}

impl<E: Ear> Session<'_, E> {
    /// Lives until something breaks, and tells what.
    pub(super) async fn run(
        &self,
        attempt: usize,
        moved: Option<&mut watch::Receiver<Arc<Server>>>,
    ) -> Broken {
        let ended = match moved {
            None => self.live(attempt).await,
            Some(moved) => {
                moved.mark_unchanged();
                tokio::select! {
                    ended = self.live(attempt) => ended,
                    _ = moved.changed() => Err(lost("Redis has another master")),
                }
            }
        };
        match ended {
            Ok(never) => match never {},
            Err(broken) => broken,
        }
    }

    async fn live(&self, attempt: usize) -> Result<std::convert::Infallible, Broken> {
        let server = self
            .shard
            .listening(attempt, self.plan.key())
            .map_err(|why| ("connection", why))?;
        let opened = server.dialer().open(&server.endpoint).await;
        let wire = opened.map_err(|why| ("connection", why))?;
        let (reading, writing) = split(wire);
        let now = Instant::now();
        let mut live = Live {
            session: self,
            reading,
            writing,
            buffer: BytesMut::new(),
            asked: VecDeque::new(),
            heard: now,
            message: now,
            limit: server.io_timeout(),
        };
        live.greet(&server).await?;
        let names = self.plan.always.clone();
        live.subscribe_all(names)
            .await
            .map_err(|(_, why)| ("subscribe_shard_channel", why))?;
        let wanted: Vec<String> = self.wanted.lock().iter().cloned().collect();
        live.subscribe_all(wanted.clone()).await?;
        let (queue, wishes) = mpsc::channel(WISHES);
        self.expose.send_replace(Some(queue));
        live.drop_unwanted(wanted).await?;
        self.ear.restored().await;
        live.listen(wishes).await
    }
}

fn lost(why: impl std::fmt::Display) -> Broken {
    ("connection", Failure::Lost(why.to_string()))
}

impl<E: Ear> Live<'_, E> {
    /// User, password and name. The number of the database does not matter for PUB/SUB.
    async fn greet(&mut self, server: &Server) -> Result<(), Broken> {
        let greeting = &server.dialer().greeting;
        let (user, password) = (&greeting.login.user, greeting.login.password.expose());
        let mut commands: Vec<Vec<&[u8]>> = Vec::new();
        match (user.is_empty(), password.is_empty()) {
            (true, true) => {}
            (true, false) => commands.push(vec![b"AUTH", password.as_bytes()]),
            (false, _) => commands.push(vec![b"AUTH", user.as_bytes(), password.as_bytes()]),
        }
        if !greeting.client_name.is_empty() {
            commands.push(vec![b"CLIENT", b"SETNAME", greeting.client_name.as_bytes()]);
        }
        for command in commands {
            let mut out = Vec::new();
            resp::command(command.into_iter(), &mut out);
            self.write(&out).await?;
            match self.next_within().await? {
                Said::Refused(why) => {
                    let address = server.endpoint.to_string();
                    return Err(("connection", Failure::Login { address, why }));
                }
                _fine => {}
            }
        }
        Ok(())
    }

    /// Subscribes in batches; messages that arrive in between are heard.
    async fn subscribe_all(&mut self, names: Vec<String>) -> Result<(), Broken> {
        for batch in names.chunks(BATCH) {
            let (done, mut answer) = oneshot::channel();
            let waiting = vec![done];
            self.ask(true, batch.iter().map(String::as_str), waiting)
                .await?;
            while answer.is_empty() {
                let said = self.next_within().await?;
                self.handle(said).await?;
            }
            match answer.try_recv() {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return Err(("subscribe_channel", why)),
                Err(_) => return Err(lost("no answer to SUBSCRIBE")),
            }
        }
        Ok(())
    }

    /// What was unsubscribed while everything was subscribed again.
    async fn drop_unwanted(&mut self, subscribed: Vec<String>) -> Result<(), Broken> {
        let unwanted: Vec<String> = {
            let wanted = self.session.wanted.lock();
            let unwanted = subscribed.into_iter().filter(|name| !wanted.contains(name));
            unwanted.collect()
        };
        for batch in unwanted.chunks(BATCH) {
            self.ask(false, batch.iter().map(String::as_str), Vec::new())
                .await?;
        }
        Ok(())
    }

    async fn listen(
        &mut self,
        mut wishes: mpsc::Receiver<Wish>,
    ) -> Result<std::convert::Infallible, Broken> {
        let mut ticks = interval(QUIET);
        let mut batch = Vec::new();
        let mut probe = None;
        loop {
            // All complete messages of the buffer before anything else is read.
            while let Some(said) = self.buffered()? {
                self.handle(said).await?;
            }
            tokio::select! {
                read = self.reading.read_buf(&mut self.buffer) => {
                    if read.map_err(lost)? == 0 {
                        return Err(lost("closed by Redis"));
                    }
                    self.heard = Instant::now();
                }
                _ = wishes.recv_many(&mut batch, BATCH) => self.fulfil(&mut batch).await?,
                _ = ticks.tick() => {
                    self.check_pulse().await?;
                    self.check_hearing(&mut probe)?;
                }
                accepted = proved(&mut probe) => {
                    if let Some(probe) = &mut probe {
                        probe.accepted = Some(accepted);
                    }
                }
            }
        }
    }

    /// Asks the server whether it is there, and gives up when it does not say so in time.
    async fn check_pulse(&mut self) -> Result<(), Broken> {
        let silent = self.heard.elapsed();
        if silent > QUIET + self.limit {
            return Err(("connection", Failure::Timeout(self.limit)));
        }
        if silent >= QUIET {
            let mut out = Vec::new();
            resp::command([&b"PING"[..]].into_iter(), &mut out);
            self.write(&out).await?;
        }
        Ok(())
    }

    /// A connection may be alive and hear nothing. After some silence a message is published; when that was accepted and
    /// does not arrive, the connection is made anew (engines.md 3.9).
    fn check_hearing(&mut self, probe: &mut Option<Probe>) -> Result<(), Broken> {
        let plan = self.session.plan;
        let Some(channel) = &plan.probe else {
            return Ok(());
        };
        if self.message.elapsed() < plan.silence {
            *probe = None;
            return Ok(());
        }
        match probe {
            None => *probe = Some(Probe::new(self.session.shard, plan, channel)),
            Some(sent) if sent.since.elapsed() >= plan.silence => match sent.accepted {
                Some(true) => return Err(("probe_timeout", Failure::Timeout(plan.silence))),
                // A probe that was not published proves nothing.
                Some(false) | None => {
                    let failure = Failure::Timeout(plan.silence);
                    self.session.ear.failed("probe_publish", &failure);
                    *probe = None;
                }
            },
            Some(_) => {}
        }
        Ok(())
    }

    /// Carries out wishes; consecutive ones of one kind in one command.
    async fn fulfil(&mut self, batch: &mut Vec<Wish>) -> Result<(), Broken> {
        let mut wishes = batch.drain(..).peekable();
        while let Some(first) = wishes.next() {
            let hear = first.hear;
            let (mut names, mut waiting) = (vec![first.name], vec![first.done]);
            while let Some(next) = wishes.next_if(|next| next.hear == hear) {
                names.push(next.name);
                waiting.push(next.done);
            }
            self.ask(hear, names.iter().map(String::as_str), waiting)
                .await?;
        }
        Ok(())
    }

    async fn ask<'n>(
        &mut self,
        hear: bool,
        names: impl ExactSizeIterator<Item = &'n str>,
        waiting: Vec<oneshot::Sender<Result<(), Failure>>>,
    ) -> Result<(), Broken> {
        let command: &[u8] = match (self.session.plan.sharded, hear) {
            (false, true) => b"SUBSCRIBE",
            (false, false) => b"UNSUBSCRIBE",
            (true, true) => b"SSUBSCRIBE",
            (true, false) => b"SUNSUBSCRIBE",
        };
        let left = names.len();
        let mut parts = vec![command];
        parts.extend(names.map(str::as_bytes));
        let mut out = Vec::new();
        resp::command(parts.into_iter(), &mut out);
        self.asked.push_back(Asked { left, waiting });
        self.write(&out).await
    }

    async fn handle(&mut self, said: Said) -> Result<(), Broken> {
        match said {
            Said::Message(channel, payload) => {
                self.message = Instant::now();
                self.session.ear.hear(&channel, payload).await;
                // The ear may have waited long, and nothing was read meanwhile.
                self.heard = Instant::now();
            }
            // Nobody asks for that: the server does not own the slot any more.
            Said::Ended(name) if self.is_always(&name) => return Err(lost("the slot has moved")),
            Said::Confirmed | Said::Ended(_) => self.confirmed(),
            Said::Refused(why) => {
                let Some(asked) = self.asked.pop_front() else {
                    return Err(("connection", Failure::Refused(why)));
                };
                for done in asked.waiting {
                    drop(done.send(Err(Failure::Refused(why.clone()))));
                }
                if why.starts_with("MOVED") {
                    return Err(lost("the slot has moved"));
                }
            }
            Said::Pong | Said::Fine | Said::Other => {}
        }
        Ok(())
    }

    fn is_always(&self, name: &[u8]) -> bool {
        let mut always = self.session.plan.always.iter();
        always.any(|always| always.as_bytes() == name)
    }

    fn confirmed(&mut self) {
        let Some(first) = self.asked.front_mut() else {
            return;
        };
        first.left = first.left.saturating_sub(1);
        if first.left == 0
            && let Some(asked) = self.asked.pop_front()
        {
            for done in asked.waiting {
                drop(done.send(Ok(())));
            }
        }
    }

    fn buffered(&mut self) -> Result<Option<Said>, Broken> {
        let said = resp::take(&mut self.buffer).map_err(lost)?;
        if said.is_none() {
            self.buffer.reserve(READ_BUFFER);
        }
        Ok(said)
    }

    /// The next thing the server says, within the time limit.
    async fn next_within(&mut self) -> Result<Said, Broken> {
        let limit = self.limit;
        let next = async {
            loop {
                if let Some(said) = self.buffered()? {
                    return Ok(said);
                }
                let read = self.reading.read_buf(&mut self.buffer).await;
                if read.map_err(lost)? == 0 {
                    return Err(lost("closed by Redis"));
                }
                self.heard = Instant::now();
            }
        };
        timeout(limit, next)
            .await
            .unwrap_or(Err(("connection", Failure::Timeout(limit))))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let limit = self.limit;
        let written = async {
            self.writing.write_all(bytes).await?;
            self.writing.flush().await
        };
        match timeout(limit, written).await {
            Ok(written) => written.map_err(lost),
            Err(_elapsed) => Err(("connection", Failure::Timeout(limit))),
        }
    }
}
