//! The authority's listeners: connections in, each with what its certificate proves.
//!
//! Whoever has not proved who it is costs little and waits for nobody: at most [`UNPROVEN`] handshakes are under way,
//! the oldest makes room for the next, and none takes longer than [`HANDSHAKE`]. Whoever has proved it opens as many
//! connections as its role may ([`allowance`]), and has at most [`TOGETHER`]. A connection that carries no call ends after
//! [`UNUSED`].

use crate::tls::server::{Chain, Trust, chain_of};
use crate::tls::{Identity, Role};
use rustls::ServerConfig;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

/// Handshakes under way.
const UNPROVEN: usize = 512;
/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Time until a connection carries its first call.
const UNUSED: Duration = Duration::from_secs(10);
/// Connections at the same time.
pub(super) const CONNECTIONS: usize = 16_384;
/// Connections that one identity may have at the same time: one that is in use, and others that broke unnoticed.
const TOGETHER: usize = 16;
/// Calls that one connection carries in all: whoever wants more opens another one, at its rate.
pub(super) const CALLS_IN_ALL: u32 = 64;
/// Pause after the system gave no connection, for example for want of file descriptors.
const REFUSED: Duration = Duration::from_millis(50);
/// At most one line of the log about failed handshakes in this time.
const TOLD: Duration = Duration::from_secs(1);

/// Where whoever comes by a Unix socket comes from.
const UNIX: &str = "unix";

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Its certificates; none on a Unix socket or a loopback address in the clear.
    pub(super) chain: Option<Chain>,
    /// Where it comes from, for logs.
    pub(super) from: Arc<str>,
    used: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

impl Connection {
    /// Who is at its other end.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Peer {
    /// Whether it came by a Unix socket.
    pub(super) fn is_unix(&self) -> bool {
        self.chain.is_none() && &*self.from == UNIX
    }

    /// Counts a call. Gives whether the connection may carry it.
    pub(super) fn may_call(&self) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) < CALLS_IN_ALL
    }

    /// Notes that the connection carries a call.
    pub(super) fn use_it(&self) {
        self.used.store(true, Ordering::Relaxed);
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    peer: Peer,
    /// Until it carries a call.
    unused_until: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

/// Room for a connection: one of all, and one of its identity.
type Place = (OwnedSemaphorePermit, Option<Arc<()>>);

impl Connection {
    fn new(stream: Box<dyn Stream>, chain: Option<Chain>, from: Arc<str>, place: Place) -> Self {
        let peer = Peer { chain, from, used: Arc::default(), calls: Arc::default() };
        let unused_until = Some(Box::pin(tokio::time::sleep(UNUSED)));
        Connection { stream, peer, unused_until, _place: place }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(until) = &mut self.unused_until
            && until.as_mut().poll_deadline(cx)
        {
            self.unused_until = None;
            if !self.peer.used.load(Ordering::Relaxed) {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "no call on this connection",
                )));
            }
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

/// Whether a sleep is over; it wakes the task when it is.
trait Deadline {
    fn poll_deadline(self, cx: &mut Context<'_>) -> bool;
}

impl Deadline for Pin<&mut Sleep> {
    fn poll_deadline(self, cx: &mut Context<'_>) -> bool {
        std::future::Future::poll(self, cx).is_ready()
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Where new connections go.
pub(super) type Incoming = mpsc::Sender<io::Result<Connection>>;

/// A listener of connections in the clear.
pub(super) enum Plain {
    /// A Unix socket.
    Unix(UnixListener),
    /// A loopback address.
    Loopback(TcpListener),
}

impl Plain {
    async fn next(&self) -> io::Result<(Box<dyn Stream>, Arc<str>)> {
        match self {
            Plain::Unix(listener) => Ok((Box::new(listener.accept().await?.0), Arc::from(UNIX))),
            Plain::Loopback(listener) => {
                let (stream, from) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), Arc::from(from.to_string())))
            }
        }
    }
}

/// Accepts connections in the clear.
pub(super) async fn plain(listener: Plain, limit: Arc<Semaphore>, into: Incoming) {
    while let Ok(permit) = limit.clone().acquire_owned().await {
        match listener.next().await {
            Ok((stream, from)) => {
                if into.send(Ok(Connection::new(stream, None, from, (permit, None)))).await.is_err() {
                    return;
                }
            }
            Err(why) => refused(&why).await,
        }
    }
}

async fn refused(why: &io::Error) {
    tracing::error!(%why, "no connection can be accepted");
    tokio::time::sleep(REFUSED).await;
}

/// Which of the two kinds of handshake of a [`Trust`].
pub(super) type Handshake = fn(&Trust) -> Arc<ServerConfig>;

/// Accepts connections by mutual TLS, as the trust says that is in force when each comes.
pub(super) async fn tls(
    listener: TcpListener,
    (trust, config): (watch::Receiver<Arc<Trust>>, Handshake),
    limit: Arc<Semaphore>,
    into: Incoming,
) {
    let mut handshakes = Handshakes::default();
    let mut rates = Rates::default();
    let mut failures = Failures::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let config = config(&trust.borrow());
                    handshakes.begin(handshake(stream, TlsAcceptor::from(config), from.to_string()));
                }
                Err(why) => refused(&why).await,
            },
            Some(done) = handshakes.next() => match done {
                Ok((stream, chain, from)) => {
                    let named = chain.first().map(Identity::of);
                    let Some(Ok(identity)) = named else {
                        failures.tell(&from, "its certificate names no identity");
                        continue;
                    };
                    let Some(own) = rates.admit(&identity, Instant::now()) else {
                        failures.tell(&from, &format!("{identity} opens too many connections"));
                        continue;
                    };
                    let Ok(permit) = limit.clone().try_acquire_owned() else {
                        failures.tell(&from, "too many connections are open");
                        continue;
                    };
                    let place = (permit, Some(own));
                    if into.send(Ok(Connection::new(stream, Some(chain), Arc::from(from), place))).await.is_err() {
                        return;
                    }
                }
                Err((from, why)) => failures.tell(&from, &why),
            },
        }
    }
}

type Shaken = Result<(Box<dyn Stream>, Chain, String), (String, String)>;

async fn handshake(stream: TcpStream, acceptor: TlsAcceptor, from: String) -> Shaken {
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let chain = chain_of(stream.get_ref().1);
            Ok((Box::new(stream), chain, from))
        }
        Ok(Err(why)) => Err((from, why.to_string())),
        Err(_) => Err((from, format!("no handshake within {} s", HANDSHAKE.as_secs()))),
    }
}

/// Handshakes under way. Beyond [`UNPROVEN`] the oldest ends.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<(u64, Shaken)>,
    under_way: BTreeMap<u64, AbortHandle>,
    next: u64,
}

impl Handshakes {
    fn begin(&mut self, work: impl Future<Output = Shaken> + Send + 'static) {
        let number = self.next;
        self.next += 1;
        self.under_way.insert(number, self.tasks.spawn(async move { (number, work.await) }));
        if self.under_way.len() > UNPROVEN
            && let Some((_, oldest)) = self.under_way.pop_first()
        {
            oldest.abort();
        }
    }

    /// The next one that ended by itself; none while there is none under way.
    async fn next(&mut self) -> Option<Shaken> {
        loop {
            if let Ok((number, done)) = self.tasks.join_next().await? {
                self.under_way.remove(&number);
                return Some(done);
            }
        }
    }
}

/// Connections that an identity of this role may open at once, and then in each second. Operators run programs that
/// connect for each question.
fn allowance(role: Role) -> (u32, u32) {
    match role {
        Role::Nve | Role::Nva => (10, 1),
        Role::Operator => (100, 10),
    }
}

/// How many connections each identity may open now.
#[derive(Default)]
struct Rates {
    of: HashMap<Identity, Rate>,
}

struct Rate {
    spent: u32,
    since: Instant,
    /// Each open connection has a clone.
    open: Arc<()>,
}

impl Rates {
    /// What a connection of this identity holds as long as it is open, if it may be opened.
    fn admit(&mut self, identity: &Identity, now: Instant) -> Option<Arc<()>> {
        if self.of.len() > CONNECTIONS {
            self.of.retain(|_, Rate { spent, since, open }| {
                Arc::strong_count(open) > 1 || now.duration_since(*since).as_secs() < u64::from(*spent)
            });
        }
        let (burst, rate) = allowance(identity.role());
        let new = || Rate { spent: 0, since: now, open: Arc::default() };
        let Rate { spent, since, open } = self.of.entry(identity.clone()).or_insert_with(new);
        let earned = now.duration_since(*since).as_secs();
        if earned > 0 {
            *spent =
                u32::try_from(earned).map_or(0, |earned| spent.saturating_sub(earned.saturating_mul(rate)));
            *since += Duration::from_secs(earned);
        }
        // One of them is here.
        let admitted = *spent < burst && Arc::strong_count(open) <= TOGETHER;
        *spent += u32::from(admitted);
        admitted.then(|| open.clone())
    }
}

/// Handshakes that failed: told at most once a second, with how many were not told.
#[derive(Default)]
struct Failures {
    told: Option<Instant>,
    untold: u64,
}

impl Failures {
    fn tell(&mut self, from: &dyn fmt::Display, why: &str) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now.duration_since(told) < TOLD) {
            self.untold += 1;
            return;
        }
        self.told = Some(now);
        let untold = std::mem::take(&mut self.untold);
        tracing::warn!(%from, why, untold, "a connection is refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_opens_so_many_connections_at_once_and_then_so_many_a_second() {
        let (mut rates, begin) = (Rates::default(), Instant::now());
        let one = Identity::new("lab", Role::Nve, "nve1").unwrap();
        let other = Identity::new("lab", Role::Nve, "nve2").unwrap();
        let admitted = |rates: &mut Rates, n: u32, at: Duration| {
            (0..n).filter(|_| rates.admit(&one, begin + at).is_some()).count()
        };
        assert_eq!(admitted(&mut rates, 20, Duration::ZERO), 10);
        assert!(rates.admit(&other, begin).is_some());
        assert_eq!(admitted(&mut rates, 20, Duration::from_millis(2500)), 2);
        assert_eq!(admitted(&mut rates, 20, Duration::from_millis(2900)), 0);
        assert_eq!(admitted(&mut rates, 20, Duration::from_secs(3)), 1);
        assert_eq!(admitted(&mut rates, 20, Duration::from_secs(3600)), 10);
        let operator = Identity::new("lab", Role::Operator, "nve1").unwrap();
        assert_eq!((0..200).filter(|_| rates.admit(&operator, begin).is_some()).count(), 100);
        let later = begin + Duration::from_secs(1);
        assert_eq!((0..200).filter(|_| rates.admit(&operator, later).is_some()).count(), 10);
    }

    #[test]
    fn an_identity_that_closes_nothing_has_sixteen_connections_and_no_more() {
        let (mut rates, begin) = (Rates::default(), Instant::now());
        let one = Identity::new("lab", Role::Nve, "nve1").unwrap();
        let at = |n: u64| begin + Duration::from_secs(n);
        let mut open: Vec<_> = (0..100).filter_map(|n| rates.admit(&one, at(n))).collect();
        assert_eq!(open.len(), TOGETHER);
        open.pop();
        assert_eq!(
            (101..200).filter_map(|n| rates.admit(&one, at(n)).map(|place| open.push(place))).count(),
            1
        );
    }

    #[tokio::test]
    async fn a_crowd_of_silent_handshakes_pushes_out_the_oldest_and_not_the_next() {
        let mut handshakes = Handshakes::default();
        for _ in 0..10 * UNPROVEN {
            handshakes.begin(std::future::pending());
        }
        assert_eq!(handshakes.under_way.len(), UNPROVEN);
        handshakes.begin(async { Err((String::new(), "the honest one".to_owned())) });
        let done = handshakes.next().await;
        assert!(matches!(done, Some(Err((_, why))) if why == "the honest one"));
    }
}
