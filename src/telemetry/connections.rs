//! The open connections, and which of them gives way to a new one.
//!
//! A new connection is always let in: its request may be a probe. What has to go is first what waits for a request,
//! then a scrape, then a probe; among these the oldest.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What a connection is busy with, least important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Busy {
    /// Its request has not come yet.
    Waiting,
    /// Metrics, or what is not here.
    Scrape,
    /// A probe.
    Probe,
}

#[derive(Debug)]
struct Open {
    number: u64,
    client: IpAddr,
    busy: Arc<AtomicU8>,
    cut: Arc<Notify>,
}

#[derive(Debug, Default)]
struct List {
    /// Oldest first.
    open: Vec<Open>,
    last: u64,
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    list: Mutex<List>,
    most: usize,
    most_of_client: usize,
}

/// One open connection; it is forgotten when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    all: Arc<Connections>,
    number: u64,
    busy: Arc<AtomicU8>,
    cut: Arc<Notify>,
}

impl Connections {
    /// None yet; `most` at a time, and `most_of_client` of one client, which is an IPv4 address or a /64 of IPv6.
    pub(super) fn new(most: usize, most_of_client: usize) -> Arc<Self> {
        Arc::new(Connections { list: Mutex::default(), most, most_of_client })
    }

    /// Lets a connection in, and cuts another one where there are too many.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Connection {
        let client = client(from);
        let mut list = self.list();
        let own = list.open.iter().filter(|open| open.client == client).count();
        if own >= self.most_of_client {
            list.cut(|open| open.client == client);
        } else if list.open.len() >= self.most {
            list.cut(|_| true);
        }
        list.last += 1;
        let (busy, cut) = (Arc::new(AtomicU8::new(Busy::Waiting as u8)), Arc::new(Notify::new()));
        let number = list.last;
        list.open.push(Open { number, client, busy: busy.clone(), cut: cut.clone() });
        Connection { all: self.clone(), number, busy, cut }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// Cuts the least important connection among those that `may` go.
    fn cut(&mut self, may: impl Fn(&Open) -> bool) {
        let all = self.open.iter().enumerate().filter(|(_, open)| may(open));
        let least = all.min_by_key(|(n, open)| (open.busy.load(Ordering::Relaxed), *n));
        if let Some((n, _)) = least {
            self.open.remove(n).cut.notify_one();
        }
    }
}

impl Connection {
    /// Notes what its request is.
    pub(super) fn busy(&self, with: Busy) {
        self.busy.store(with as u8, Ordering::Relaxed);
    }

    /// Completes when the connection has to give way.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.list().open.retain(|open| open.number != self.number);
    }
}

/// Whom an address belongs to: a host has all addresses of its /64.
fn client(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn is_cut(connection: &Connection) -> bool {
        tokio::time::timeout(Duration::ZERO, connection.cut()).await.is_ok()
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_client_with_too_many_connections_loses_its_own_oldest_and_nobody_elses() {
        let all = Connections::new(8, 2);
        let other = all.enter(at("192.0.2.2"));
        let one = all.enter(at("2001:db8::1"));
        let two = all.enter(at("2001:db8::2"));
        let three = all.enter(at("2001:db8::3"));
        assert_eq!((is_cut(&other).await, is_cut(&one).await, is_cut(&two).await), (false, true, false));
        // The place of one that ended is free.
        drop(two);
        let _four = all.enter(at("2001:db8::4"));
        assert!(!is_cut(&three).await);
    }

    #[tokio::test]
    async fn who_waits_gives_way_before_a_scrape_and_a_scrape_before_a_probe() {
        let all = Connections::new(3, 3);
        let mut connections: Vec<Connection> =
            (1..=3).map(|n| all.enter(at(&format!("192.0.2.{n}")))).collect();
        connections[0].busy(Busy::Probe);
        connections[1].busy(Busy::Scrape);
        for (n, gone) in [(4, 2), (5, 3), (6, 4), (7, 1)] {
            let connection = all.enter(at(&format!("192.0.2.{n}")));
            if n == 6 {
                connection.busy(Busy::Probe);
            }
            connections.push(connection);
            assert!(is_cut(&connections[gone]).await, "{n}");
        }
        // Only probes are left, and the newest, which may be one.
        assert!(!is_cut(&connections[0]).await && !is_cut(&connections[5]).await);
    }

    #[test]
    fn all_addresses_of_a_host_are_one_client() {
        assert_eq!(client(at("2001:db8::1:2")), client(at("2001:db8::ffff:0:0:9")));
        assert_ne!(client(at("2001:db8:0:1::1")), client(at("2001:db8:0:2::1")));
        assert_eq!(client(at("::ffff:192.0.2.1")), at("192.0.2.1"));
        assert_ne!(client(at("192.0.2.1")), client(at("192.0.2.2")));
        assert_eq!(client(at("::1")), at("::1"));
    }
}
