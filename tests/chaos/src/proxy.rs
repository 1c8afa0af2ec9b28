//! A small TCP proxy between one process and the servers, so that its connections can be hurt without
//! hurting anybody else's.
//!
//! ```text
//! service ──► 127.0.0.1:p1 ─┐              ┌─► server 1
//!         ──► 127.0.0.1:p2 ─┼─ Proxy: mode ┼─► server 2
//!         ──► 127.0.0.1:p3 ─┘              └─► server 3
//! ```
//!
//! What must hold: bytes are never lost or changed within a connection. It is cut as a whole, or its bytes
//! wait, as TCP's own would. The proxy tells when the process had no connection, and whose server it had.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clock::Moment;
use crate::fault::Direction;

const CHUNK: usize = 32 * 1024;
/// What a slow line does to each chunk: about 300 KB a second, and a quarter of a second of delay.
const SLOW_CHUNK: usize = 8 * 1024;
const SLOW_PAUSE: Duration = Duration::from_millis(25);

/// A proxy of one process. Dropping it closes all.
#[derive(Debug)]
pub struct Proxy {
    ports: Vec<u16>,
    mode: watch::Sender<Mode>,
    dark: Arc<Mutex<Dark>>,
    _tasks: JoinSet<()>,
}

/// What passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mode {
    /// How often all connections were closed.
    cuts: u64,
    /// How many faults of each sort hold now: they may overlap.
    refused: u32,
    slow: u32,
    stalled_up: u32,
    stalled_down: u32,
}

/// A time without a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Since when.
    pub from: Moment,
    /// Until when; nothing when it lasts.
    pub to: Option<Moment>,
}

#[derive(Debug, Default)]
struct Dark {
    open: usize,
    gaps: Vec<Gap>,
}

impl Proxy {
    /// Listens on as many ports as there are servers.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(servers: &[u16]) -> io::Result<Self> {
        let (mode, watched) = watch::channel(Mode::default());
        let dark = Arc::new(Mutex::new(Dark::default()));
        let mut tasks = JoinSet::new();
        let mut ports = Vec::new();
        for server in servers {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            ports.push(listener.local_addr()?.port());
            tasks.spawn(listen(listener, *server, watched.clone(), dark.clone()));
        }
        Ok(Self {
            ports,
            mode,
            dark,
            _tasks: tasks,
        })
    }

    /// The addresses for the process, with one server of its own in front: `--nats` takes them.
    #[must_use]
    pub fn urls(&self, first: usize) -> String {
        let count = self.ports.len();
        let turned = (0..count).map(|offset| self.ports[(first + offset) % count]);
        let urls: Vec<String> = turned
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        urls.join(",")
    }

    /// Closes all connections, and refuses new ones for a while.
    pub async fn cut(&self, span: Duration) {
        self.mode.send_modify(|mode| {
            mode.cuts += 1;
            mode.refused += 1;
        });
        sleep(span).await;
        self.mode.send_modify(|mode| mode.refused -= 1);
    }

    /// Makes the line slow for a while.
    pub async fn slow(&self, span: Duration) {
        self.mode.send_modify(|mode| mode.slow += 1);
        sleep(span).await;
        self.mode.send_modify(|mode| mode.slow -= 1);
    }

    /// Lets nothing pass for a while.
    pub async fn stall(&self, direction: Direction, span: Duration) {
        let (up, down) = match direction {
            Direction::Up => (1, 0),
            Direction::Down => (0, 1),
            Direction::Both => (1, 1),
        };
        self.mode.send_modify(|mode| {
            mode.stalled_up += up;
            mode.stalled_down += down;
        });
        sleep(span).await;
        self.mode.send_modify(|mode| {
            mode.stalled_up -= up;
            mode.stalled_down -= down;
        });
    }

    /// When there was no connection.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        lock(&self.dark).gaps.clone()
    }
}

impl Dark {
    fn opened(&mut self) {
        self.open += 1;
        if let Some(gap) = self.gaps.last_mut() {
            gap.to.get_or_insert_with(Moment::now);
        }
    }

    fn closed(&mut self) {
        self.open -= 1;
        if self.open == 0 {
            let from = Moment::now();
            self.gaps.push(Gap { from, to: None });
        }
    }
}

fn lock(dark: &Mutex<Dark>) -> std::sync::MutexGuard<'_, Dark> {
    dark.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(
    listener: TcpListener,
    server: u16,
    mode: watch::Receiver<Mode>,
    dark: Arc<Mutex<Dark>>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if mode.borrow().refused > 0 {
                    continue;
                }
                connections.spawn(carry(client, server, mode.clone(), dark.clone()));
            }
        }
    }
}

/// Carries one connection until either end closes it, or it is cut.
async fn carry(
    client: TcpStream,
    server: u16,
    mut mode: watch::Receiver<Mode>,
    dark: Arc<Mutex<Dark>>,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    // Without it the proxy itself would delay small messages.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let cuts = mode.borrow().cuts;
    let (client_reader, client_writer) = client.into_split();
    let (server_reader, server_writer) = server.into_split();
    let up = pump(client_reader, server_writer, mode.clone(), |mode| {
        mode.stalled_up > 0
    });
    let down = pump(server_reader, client_writer, mode.clone(), |mode| {
        mode.stalled_down > 0
    });
    lock(&dark).opened();
    tokio::select! {
        _ = up => {}
        _ = down => {}
        _ = mode.wait_for(|mode| mode.cuts != cuts) => {}
    }
    lock(&dark).closed();
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    is_stalled: fn(&Mode) -> bool,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let slow = mode.borrow().slow > 0;
        let room = if slow { SLOW_CHUNK } else { CHUNK };
        let read = from.read(&mut chunk[..room]).await?;
        if read == 0 {
            return Ok(());
        }
        if mode.borrow().slow > 0 {
            sleep(SLOW_PAUSE).await;
        }
        let open = mode.wait_for(|mode| !is_stalled(mode)).await;
        open.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        to.write_all(&chunk[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// A server that gives back what it gets, behind a proxy, and a connection to it.
    async fn echoing() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut reader, mut writer) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut reader, &mut writer).await });
            }
        });
        let proxy = Proxy::start(&[port]).await.unwrap();
        let client = TcpStream::connect(("127.0.0.1", proxy.ports[0]))
            .await
            .unwrap();
        (proxy, client)
    }

    async fn echo(client: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        client.write_all(text).await?;
        let mut back = vec![0; text.len()];
        client.read_exact(&mut back).await?;
        Ok(back)
    }

    const MOMENT: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn bytes_pass_in_both_directions() {
        let (_proxy, mut client) = echoing().await;
        assert_eq!(echo(&mut client, b"hello").await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn what_waits_while_nothing_passes_one_way_comes_afterwards() {
        let (proxy, mut client) = echoing().await;
        assert_eq!(echo(&mut client, b"first").await.unwrap(), b"first");
        for direction in [Direction::Up, Direction::Down, Direction::Both] {
            let stalled = proxy.stall(direction, MOMENT);
            let early = async {
                let waiting = timeout(MOMENT / 2, echo(&mut client, b"later"));
                assert!(waiting.await.is_err(), "{direction:?}");
            };
            tokio::join!(stalled, early);
            let mut back = [0; 5];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"later", "{direction:?}");
        }
    }

    #[tokio::test]
    async fn a_cut_closes_what_is_open_and_is_seen_as_a_gap() {
        let (proxy, mut client) = echoing().await;
        echo(&mut client, b"hello").await.unwrap();
        proxy.cut(Duration::ZERO).await;
        assert!(echo(&mut client, b"hello").await.is_err());
        let gaps = proxy.gaps();
        assert!(matches!(gaps[..], [Gap { to: None, .. }]), "{gaps:?}");
        let mut again = TcpStream::connect(("127.0.0.1", proxy.ports[0]))
            .await
            .unwrap();
        echo(&mut again, b"hello").await.unwrap();
        assert!(proxy.gaps()[0].to.is_some());
    }
}
