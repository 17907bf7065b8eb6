//! A TCP proxy for one link that breaks what it is told to break. It understands Redis's answers, so that single PUB/SUB messages
//! can be lost or doubled while everything else arrives.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::resp::{Kind, kind, length};

/// What the link does to what goes through it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Nothing moves, nothing ends.
    pub(crate) stalled: bool,
    /// Nothing comes down the connections that are used for PUB/SUB; nothing ends.
    pub(crate) deaf: bool,
    /// New connections are closed at once.
    pub(crate) refused: bool,
    /// Bytes a second towards the client.
    pub(crate) throttle: Option<u32>,
    /// Part of the PUB/SUB messages that is lost.
    pub(crate) lost: f64,
    /// Part of them that arrives twice.
    pub(crate) doubled: f64,
}

/// How often everything was cut, and PUB/SUB alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cuts {
    all: u64,
    pubsub: u64,
}

#[derive(Debug, Default)]
struct Counted {
    messages: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
    cut: AtomicU64,
}

/// A running proxy; ends with its value.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    faults: watch::Sender<Faults>,
    cuts: watch::Sender<Cuts>,
    counted: Arc<Counted>,
    _tasks: JoinSet<()>,
}

/// What every connection of a proxy knows.
#[derive(Clone, Debug)]
struct Link {
    target: u16,
    faults: watch::Receiver<Faults>,
    cuts: watch::Receiver<Cuts>,
    counted: Arc<Counted>,
}

impl Proxy {
    /// Listens on a free port for a server on this machine.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (faults, cuts) = (watch::Sender::default(), watch::Sender::default());
        let counted = Arc::new(Counted::default());
        let link = Link {
            target,
            faults: faults.subscribe(),
            cuts: cuts.subscribe(),
            counted: Arc::clone(&counted),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, link));
        Self {
            port,
            faults,
            cuts,
            counted,
            _tasks: tasks,
        }
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Changes what it breaks.
    pub(crate) fn breaks(&self, change: impl FnOnce(&mut Faults)) {
        self.faults.send_modify(change);
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| cuts.all += 1);
    }

    /// Ends the connections that are used for PUB/SUB.
    pub(crate) fn cut_pubsub(&self) {
        self.cuts.send_modify(|cuts| cuts.pubsub += 1);
    }

    /// PUB/SUB messages that came to it.
    pub(crate) fn messages(&self) -> u64 {
        self.counted.messages.load(Ordering::SeqCst)
    }

    /// PUB/SUB messages it has lost.
    pub(crate) fn lost(&self) -> u64 {
        self.counted.lost.load(Ordering::SeqCst)
    }

    /// PUB/SUB messages it has doubled.
    pub(crate) fn doubled(&self) -> u64 {
        self.counted.doubled.load(Ordering::SeqCst)
    }

    /// Connections it has cut.
    pub(crate) fn was_cut(&self) -> u64 {
        self.counted.cut.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, link: Link) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        if !link.faults.borrow().refused {
            connections.spawn(carry(client, link.clone()));
        }
    }
}

/// Carries one connection until one side ends it or it is cut.
async fn carry(client: TcpStream, mut link: Link) {
    let before = *link.cuts.borrow_and_update();
    let Ok(server) = connect(link.target).await else {
        return;
    };
    let _delay = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (pubsub, is_pubsub) = watch::channel(false);
    let (cuts, counted) = (link.cuts.clone(), Arc::clone(&link.counted));
    let up = upwards(from_client, to_server, link.faults.clone());
    let down = downwards(from_server, to_client, link, pubsub);
    tokio::select! {
        _end = up => {}
        _end = down => {}
        () = until_cut(before, cuts, is_pubsub) => {
            counted.cut.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Takes little at a time, so that what is not taken fills the server's buffers and not the system's.
async fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(32 << 10)?;
    socket
        .connect(SocketAddr::from(([127, 0, 0, 1], port)))
        .await
}

async fn until_cut(
    mut before: Cuts,
    mut cuts: watch::Receiver<Cuts>,
    pubsub: watch::Receiver<bool>,
) {
    while cuts.changed().await.is_ok() {
        let now = *cuts.borrow_and_update();
        if now.all != before.all || (now.pubsub != before.pubsub && *pubsub.borrow()) {
            return;
        }
        before = now;
    }
    // The proxy itself is gone.
}

async fn upwards(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Faults>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        moving(&mut faults).await;
        to.write_all(&buffer[..read]).await?;
    }
}

async fn downwards(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: Link,
    pubsub: watch::Sender<bool>,
) -> io::Result<()> {
    let mut waiting = Vec::new();
    loop {
        hearing(&mut link.faults, &pubsub).await;
        if from.read_buf(&mut waiting).await? == 0 {
            return Ok(());
        }
        hearing(&mut link.faults, &pubsub).await;
        let (mut at, mut out) = (0, Vec::new());
        while let Some(length) = length(&waiting[at..]) {
            let value = &waiting[at..at + length];
            at += length;
            let copies = match kind(value) {
                Kind::Message => link.copies(),
                Kind::Subscribed => {
                    pubsub.send_replace(true);
                    1
                }
                Kind::Other => 1,
            };
            (0..copies).for_each(|_| out.extend_from_slice(value));
        }
        waiting.drain(..at);
        let throttle = link.faults.borrow().throttle;
        to.write_all(&out).await?;
        if let Some(rate) = throttle {
            let seconds = f64::from(u32::try_from(out.len()).unwrap_or(u32::MAX)) / f64::from(rate);
            sleep(Duration::from_secs_f64(seconds)).await;
        }
    }
}

async fn hearing(faults: &mut watch::Receiver<Faults>, pubsub: &watch::Sender<bool>) {
    let deaf = *pubsub.borrow();
    // An error means that the proxy is gone.
    let _hears = faults
        .wait_for(|faults| !(faults.stalled || faults.deaf && deaf))
        .await;
}

async fn moving(faults: &mut watch::Receiver<Faults>) {
    // An error means that the proxy is gone.
    let _moves = faults.wait_for(|faults| !faults.stalled).await;
}

impl Link {
    /// How often the next message arrives. Which ones are hit is the same in every run.
    fn copies(&self) -> usize {
        let number = self.counted.messages.fetch_add(1, Ordering::SeqCst);
        let (lost, doubled) = {
            let faults = self.faults.borrow();
            (faults.lost, faults.doubled)
        };
        let chance = chance(number);
        if chance < lost {
            self.counted.lost.fetch_add(1, Ordering::SeqCst);
            0
        } else if chance < lost + doubled {
            self.counted.doubled.fetch_add(1, Ordering::SeqCst);
            2
        } else {
            1
        }
    }
}

/// A number between 0 and 1 that looks random.
fn chance(number: u64) -> f64 {
    let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A server that answers with what it is told to, and the two ends of a connection through a proxy to it.
    async fn link() -> (Proxy, TcpStream, TcpStream) {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Proxy::to(server.local_addr().unwrap().port()).await;
        let client = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        let accepted = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
        (proxy, client, accepted.0)
    }

    fn message(text: &str) -> Vec<u8> {
        format!(
            "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${}\r\n{text}\r\n",
            text.len()
        )
        .into_bytes()
    }

    async fn read(client: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = client.read_exact(&mut bytes);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        bytes
    }

    #[tokio::test]
    async fn messages_are_lost_and_doubled_and_nothing_else_is() {
        let (proxy, mut client, mut server) = link().await;
        proxy.breaks(|faults| faults.lost = 1.0);
        server.write_all(&message("a")).await.unwrap();
        server.write_all(b"+OK\r\n").await.unwrap();
        assert_eq!(read(&mut client, 5).await, b"+OK\r\n");
        proxy.breaks(|faults| (faults.lost, faults.doubled) = (0.0, 1.0));
        let whole = message("b");
        // In two parts, so that the value ends later than the packet.
        server.write_all(&whole[..10]).await.unwrap();
        server.write_all(&whole[10..]).await.unwrap();
        assert_eq!(read(&mut client, 2 * whole.len()).await, whole.repeat(2));
        assert_eq!((proxy.messages(), proxy.lost(), proxy.doubled()), (2, 1, 1));
        client.write_all(b"up").await.unwrap();
        assert_eq!(read(&mut server, 2).await, b"up");
    }

    #[tokio::test]
    async fn a_stalled_link_moves_nothing_and_loses_nothing() {
        let (proxy, mut client, mut server) = link().await;
        proxy.breaks(|faults| faults.stalled = true);
        server.write_all(b"+OK\r\n").await.unwrap();
        let mut byte = [0];
        let early = timeout(Duration::from_millis(100), client.read_exact(&mut byte)).await;
        assert!(early.is_err());
        proxy.breaks(|faults| faults.stalled = false);
        assert_eq!(read(&mut client, 5).await, b"+OK\r\n");
    }

    #[tokio::test]
    async fn a_throttled_link_is_slow() {
        let (proxy, mut client, mut server) = link().await;
        proxy.breaks(|faults| faults.throttle = Some(10_000));
        let begun = tokio::time::Instant::now();
        for _ in 0..2 {
            let value = message(&"x".repeat(2000));
            server.write_all(&value).await.unwrap();
            read(&mut client, value.len()).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn pubsub_is_cut_without_the_rest() {
        let (proxy, mut client, mut server) = link().await;
        proxy.cut_pubsub();
        server
            .write_all(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
            .await
            .unwrap();
        read(&mut client, 30).await;
        proxy.cut_pubsub();
        let end = timeout(PATIENCE, client.read(&mut [0; 8])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");

        let (proxy, mut client, _server) = link().await;
        proxy.cut();
        let end = timeout(PATIENCE, client.read(&mut [0; 8])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        assert_eq!(proxy.was_cut(), 1);
    }

    #[test]
    fn chances_are_spread_evenly() {
        let hit = (0..100_000).filter(|number| chance(*number) < 0.01).count();
        assert!((800..1200).contains(&hit), "{hit}");
    }
}
