//! An etcd of one member on loopback.
#![allow(missing_docs, unreachable_pub)]

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
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
    process: Option<Child>,
}

impl Etcd {
    /// None where there is no etcd.
    pub fn start(options: &'static [&'static str]) -> Option<Etcd> {
        if Command::new(program("etcd")).arg("--version").output().is_err() {
            eprintln!("skipped: there is no etcd here; scripts/setup installs it");
            return None;
        }
        let (directory, client, peer) = (tempfile::tempdir().unwrap(), free_address(), free_address());
        let mut etcd = Etcd { directory, client, peer, options, process: None };
        etcd.again();
        Some(etcd)
    }

    pub fn ctl(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(program("etcdctl"));
        command.args(["--endpoints", &self.client.to_string()]).args(words);
        let done = command.output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        done.status.success().then_some(text).ok_or(String::from_utf8_lossy(&done.stderr).into_owned())
    }

    /// The revision of etcd.
    pub fn revision(&self) -> Result<i64, String> {
        let status = self.ctl(&["get", "/ilagate/lab/head", "-w", "json"])?;
        let (_, rest) = status.split_once("\"revision\":").unwrap();
        Ok(rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap())
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it, and waits until it answers.
    pub fn again(&mut self) {
        self.process = Some(spawn(&self.directory, self.client, self.peer, self.options));
        let began = Instant::now();
        while self.revision().is_err() {
            assert!(began.elapsed() < TIMEOUT, "etcd does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
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
