//! The store of an authority before an etcd on loopback.
#![allow(missing_docs, unreachable_pub)]

use ilagate::config::EtcdConfig;
use ilagate::ila::Locator;
use ilagate::net::Mac;
use ilagate::nva::authority::Commit;
use ilagate::nva::model::{Choice, Key, Record, Transaction};
use ilagate::nva::store::{EPOCH, Order, Report, Running, etcd};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(30);

/// How an authority names it.
pub fn config(address: SocketAddr) -> EtcdConfig {
    let endpoints = vec![format!("http://{address}")];
    EtcdConfig { endpoints, prefix: "/ilagate/lab".to_owned(), tls: None }
}

/// The store of one authority.
pub struct Store {
    pub running: Running,
    pub revision: u64,
    /// What was told of sessions.
    pub sessions: Vec<Report>,
}

impl Store {
    pub fn open(name: &str, address: SocketAddr) -> Store {
        Store::try_open(name, address).unwrap()
    }

    pub fn try_open(name: &str, address: SocketAddr) -> Result<Store, String> {
        let running = etcd::open(&config(address), name, [7; EPOCH]).map_err(|why| why.to_string())?;
        let revision = running.stored.revision;
        Ok(Store { running, revision, sessions: Vec::new() })
    }

    /// What is told next of transactions, within a time.
    pub fn within(&mut self, time: Duration) -> Option<Report> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            match self.running.reports.try_recv() {
                Ok(
                    told @ (Report::AtOthers(_)
                    | Report::Nowhere(_)
                    | Report::AppliedAt(..)
                    | Report::Forgotten),
                ) => self.sessions.push(told),
                Ok(report) => {
                    if let Report::Durable | Report::Others(..) = report {
                        self.revision += 1;
                    }
                    return Some(report);
                }
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        None
    }

    pub fn next(&mut self) -> Report {
        self.within(TIMEOUT).expect("nothing was told")
    }

    pub fn commit(&self, transaction: Transaction) {
        self.commit_as(self.revision + 1, transaction, &[]);
    }

    pub fn commit_as(&self, revision: u64, transaction: Transaction, opened: &[&str]) {
        let opened = opened.iter().map(|nve| (*nve).into()).collect();
        self.running.orders.send(Order::Commit(Commit { revision, transaction, opened })).unwrap();
    }

    /// Ends as an authority ends.
    pub fn end(self) {
        let Running { orders, thread, .. } = self.running;
        drop(orders);
        thread.join().unwrap();
    }
}

pub fn key(n: u64) -> Key {
    Key { sir_prefix: 0x2001_0db8 << 32, identifier: 1 << 61 | n }
}

pub fn record(sequence: u64, locators: u64) -> Record {
    let choice = |n| Choice { locator: Locator(0xfd00 << 48 | n), priority: n as u8, weight: 1 + n as u16 };
    Record {
        choices: (0..locators).map(choice).collect(),
        owner: format!("nve{sequence}").into(),
        sequence,
        mac: sequence.is_multiple_of(2).then_some(Mac([2, 0, 0, 0, 0, 7])),
        since: if sequence.is_multiple_of(4) { sequence / 2 } else { sequence },
    }
}

pub fn writes(keys: impl IntoIterator<Item = u64>, sequence: u64) -> Transaction {
    let writes = keys.into_iter().map(|n| (key(n), record(sequence, 2))).collect();
    Transaction { writes, ..Transaction::default() }
}
