//! An etcd of one member on loopback, and stores of authorities before it.
#![allow(dead_code, missing_docs, unreachable_pub)]

use ilagate::config::EtcdConfig;
use ilagate::ila::Locator;
use ilagate::nva::authority::Commit;
use ilagate::nva::model::{Choice, Key, Record, Transaction};
use ilagate::nva::store::{EPOCH, Order, Report, Running, etcd};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

pub const TIMEOUT: Duration = Duration::from_secs(30);

pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A program of etcd: the machine's, or that of the directory which `ILAGATE_ETCD` names.
fn program(name: &str) -> PathBuf {
    std::env::var_os("ILAGATE_ETCD").map(PathBuf::from).unwrap_or_default().join(name)
}

/// An etcd of one member.
pub struct Etcd {
    directory: tempfile::TempDir,
    pub client: SocketAddr,
    peer: SocketAddr,
    options: &'static [&'static str],
    process: Child,
}

impl Etcd {
    /// None where there is no etcd.
    pub fn start(options: &'static [&'static str]) -> Option<Etcd> {
        if Command::new(program("etcd")).arg("--version").output().is_err() {
            eprintln!("skipped: there is no etcd here; scripts/setup installs it");
            return None;
        }
        let (directory, client, peer) = (tempfile::tempdir().unwrap(), free_address(), free_address());
        let process = spawn(&directory, client, peer, options);
        let etcd = Etcd { directory, client, peer, options, process };
        etcd.wait();
        Some(etcd)
    }

    pub fn wait(&self) {
        let began = Instant::now();
        while self.ctl(&["get", "/"]).is_err() {
            assert!(began.elapsed() < TIMEOUT, "etcd does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn ctl(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(program("etcdctl"));
        command.args(["--endpoints", &self.client.to_string()]).args(words);
        let done = command.output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        done.status.success().then_some(text).ok_or(String::from_utf8_lossy(&done.stderr).into_owned())
    }

    /// The revision of etcd.
    pub fn revision(&self) -> i64 {
        let status = self.ctl(&["get", "/ilagate/lab/head", "-w", "json"]).unwrap();
        let (_, rest) = status.split_once("\"revision\":").unwrap();
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn again(&mut self) {
        self.process = spawn(&self.directory, self.client, self.peer, self.options);
        self.wait();
    }

    pub fn open(&self, name: &str) -> Store {
        Store::open(name, self.client)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(directory: &tempfile::TempDir, client: SocketAddr, peer: SocketAddr, options: &[&str]) -> Child {
    let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
    Command::new(program("etcd"))
        .args(["--name", "one", "--data-dir"])
        .arg(directory.path())
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("one={peer}")])
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

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
                Ok(told @ (Report::AtOthers(_) | Report::Nowhere(_) | Report::Forgotten)) => {
                    self.sessions.push(told)
                }
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
    Record { choices: (0..locators).map(choice).collect(), owner: format!("nve{sequence}"), sequence }
}

pub fn writes(keys: impl IntoIterator<Item = u64>, sequence: u64) -> Transaction {
    let writes = keys.into_iter().map(|n| (key(n), record(sequence, 2))).collect();
    Transaction { writes, ..Transaction::default() }
}

/// Forwards connections, as long as it may.
pub struct Proxy {
    pub address: SocketAddr,
    /// Whether answers are swallowed, and whether nothing is accepted.
    pub is_deaf: Arc<AtomicBool>,
    pub is_closed: Arc<AtomicBool>,
    /// Bytes of requests that were passed on.
    pub passed: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn before(to: SocketAddr) -> Proxy {
        Proxy::far_from(to, Duration::ZERO)
    }

    /// What passes it takes so long each way.
    pub fn far_from(to: SocketAddr, way: Duration) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            is_deaf: Arc::default(),
            is_closed: Arc::default(),
            passed: Arc::default(),
            open: Arc::default(),
        };
        let (is_deaf, is_closed) = (proxy.is_deaf.clone(), proxy.is_closed.clone());
        let (passed, open) = (proxy.passed.clone(), proxy.open.clone());
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                if is_closed.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(to) else { continue };
                open.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                let never = Arc::new(AtomicBool::new(false));
                pass(near.try_clone().unwrap(), far.try_clone().unwrap(), way, never, passed.clone());
                pass(far, near, way, is_deaf.clone(), Arc::default());
            }
        });
        proxy
    }

    /// Cuts everything that is open.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    way: Duration,
    is_deaf: Arc<AtomicBool>,
    passed: Arc<AtomicUsize>,
) {
    let (begins, arrives) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        for (at, bytes) in arrives {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if !is_deaf.load(Ordering::SeqCst) && to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            passed.fetch_add(count, Ordering::SeqCst);
            if begins.send((Instant::now() + way, bytes[..count].to_vec())).is_err() {
                break;
            }
        }
    });
}
