//! Command connections to one server: one for orders and one for reads, multiplexed, opened on first use and anew after a loss.
//!
//! Orders of all callers share a connection, so they leave together in one write and are executed as they were given; long
//! answers to reads do not delay them. Nothing is sent twice by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Cmd, ProtocolVersion, RedisConnectionInfo, RedisError, Value,
    aio::MultiplexedConnection, cmd,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    super::{Failure, address::Endpoint, error},
    dial::Dialer,
};

/// Which connection a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::redis) enum Road {
    /// What changes or sends something: short answers, in the order in which it was given.
    Orders,
    /// What only reads, whose answers may be long.
    Reads,
}

/// What came of a command that reached a server.
pub(in crate::engine::redis) type Answer = Result<Value, RedisError>;

/// One server and the connections to it.
#[derive(Debug)]
pub(in crate::engine::redis) struct Server {
    pub(in crate::engine::redis) endpoint: Endpoint,
    dialer: Dialer,
    orders: Line,
    reads: Line,
    generation: AtomicU64,
    /// The tasks that drive the connections; they end with the server.
    drivers: Mutex<JoinSet<()>>,
}

/// A place for one connection.
#[derive(Default)]
struct Line {
    open: Mutex<Option<Open>>,
    /// One attempt at a time; holds when the last one failed and why.
    gate: tokio::sync::Mutex<Option<(Instant, Failure)>>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    generation: u64,
}

impl Server {
    pub(in crate::engine::redis) fn new(endpoint: Endpoint, dialer: Dialer) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            dialer,
            orders: Line::default(),
            reads: Line::default(),
            generation: AtomicU64::new(0),
            drivers: Mutex::new(JoinSet::new()),
        })
    }

    /// Sends a command and waits for the answer, or the time limit.
    pub(in crate::engine::redis) async fn ask(
        &self,
        road: Road,
        command: &Cmd,
    ) -> Result<Answer, Failure> {
        self.ask_after(road, None, command).await
    }

    /// The same, right behind another command whose answer does not matter.
    pub(in crate::engine::redis) async fn ask_after(
        &self,
        road: Road,
        before: Option<&Cmd>,
        command: &Cmd,
    ) -> Result<Answer, Failure> {
        let line = match road {
            Road::Orders => &self.orders,
            Road::Reads => &self.reads,
        };
        let mut open = self.line(line).await?;
        let limit = self.dialer.greeting.io_timeout;
        let sent = async {
            if let Some(before) = before {
                open.connection.send_packed_command(before).await?;
            }
            open.connection.send_packed_command(command).await
        };
        let answer = match timeout(limit, sent).await {
            Ok(answer) => answer.and_then(Value::extract_error),
            Err(_elapsed) => {
                Self::give_up(line, open.generation);
                return Err(Failure::Timeout(limit));
            }
        };
        if let Err(error) = &answer
            && error::lost(error)
        {
            Self::give_up(line, open.generation);
            return Err(Failure::of_command(error, limit));
        }
        Ok(answer)
    }

    /// Where the connection for PUB/SUB goes, and how it is opened.
    pub(in crate::engine::redis) const fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Ends all connections.
    pub(in crate::engine::redis) async fn close(&self) {
        for line in [&self.orders, &self.reads] {
            line.open.lock().take();
        }
        let mut drivers = std::mem::take(&mut *self.drivers.lock());
        drivers.shutdown().await;
    }

    /// The next command makes a new connection; those under way on the old one keep it.
    fn give_up(line: &Line, generation: u64) {
        let mut open = line.open.lock();
        if open
            .as_ref()
            .is_some_and(|open| open.generation == generation)
        {
            *open = None;
        }
    }

    async fn line(&self, line: &Line) -> Result<Open, Failure> {
        if let Some(open) = line.open.lock().clone() {
            return Ok(open);
        }
        let asked = Instant::now();
        let mut last = line.gate.lock().await;
        if let Some(open) = line.open.lock().clone() {
            return Ok(open);
        }
        // Who waited for an attempt that failed has its result; it does not try again in line behind the others.
        if let Some((failed, why)) = &*last
            && *failed >= asked
        {
            return Err(why.clone());
        }
        match self.connect().await {
            Ok(connection) => {
                let open = Open {
                    connection,
                    generation: self.generation.fetch_add(1, Ordering::Relaxed),
                };
                *line.open.lock() = Some(open.clone());
                *last = None;
                Ok(open)
            }
            Err(why) => {
                *last = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let wire = self.dialer.open(&self.endpoint).await?;
        let greeting = &self.dialer.greeting;
        let address = || self.endpoint.to_string();
        let limit = greeting.connect_timeout + greeting.io_timeout;
        // Every call has its limit already; a second timer for each would cost and say nothing more.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let information = self.information();
        let made = MultiplexedConnection::new_with_config(&information, wire, config);
        let (mut connection, driver) = timeout(limit, made)
            .await
            .map_err(|_elapsed| Failure::Timeout(limit))?
            .map_err(|error| Failure::of_greeting(&error, address()))?;
        {
            let mut drivers = self.drivers.lock();
            while drivers.try_join_next().is_some() {}
            drivers.spawn(driver);
        }
        if !greeting.client_name.is_empty() {
            let mut named = cmd("CLIENT");
            named.arg("SETNAME").arg(&greeting.client_name);
            let answer = timeout(limit, connection.send_packed_command(&named)).await;
            answer
                .map_err(|_elapsed| Failure::Timeout(limit))?
                .map_err(|error| Failure::of_greeting(&error, address()))?;
        }
        Ok(connection)
    }

    fn information(&self) -> RedisConnectionInfo {
        let greeting = &self.dialer.greeting;
        let protocol = if greeting.resp2 {
            ProtocolVersion::RESP2
        } else {
            ProtocolVersion::RESP3
        };
        let mut information = RedisConnectionInfo::default()
            .set_protocol(protocol)
            .set_db(i64::from(greeting.db));
        if !greeting.login.user.is_empty() {
            information = information.set_username(&greeting.login.user);
        }
        if !greeting.login.password.is_empty() {
            information = information.set_password(greeting.login.password.expose());
        }
        information
    }

    /// How long an answer may take.
    pub(in crate::engine::redis) const fn io_timeout(&self) -> Duration {
        self.dialer.greeting.io_timeout
    }
}
