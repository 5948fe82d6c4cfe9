//! A running `ila-nva` with certificates for its NVEs, all in a directory that is gone afterwards.

use ilagate::config::{NvaEndpoint, ObjectName, TlsFiles};
use ilagate::ila::Locator;
use ilagate::nva::model::{Choice, Key, Object, ObjectKey, Record, Transaction};
use ilagate::nva::store::{Embedded, Store};
use ilagate::tls::{Identity, Role, pki};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// SIR prefix of the one domain.
pub(super) const SIR: u64 = 0x2001_0db8_dddd_0000;
/// The locator of the first NVE; each has the next one.
const LOCATOR: u64 = 0xfd00_0000_0001_0000;
/// Mappings that are written into the store at once.
const PORTION: u64 = 10_000;
/// Ticks of the clock of `/proc/PID/stat` in a second.
const TICKS: f64 = 100.0;

/// The key of a task.
pub(super) fn key(number: u64) -> Key {
    Key { sir_prefix: SIR, identifier: 0x2000_0000_0000_0000 | number }
}

/// The locator of an NVE.
pub(super) fn locator(nve: usize) -> u64 {
    LOCATOR + nve as u64
}

/// The name of an NVE.
pub(super) fn name(nve: usize) -> String {
    format!("nve{nve}")
}

/// The authority, and where it is.
pub(super) struct Lab {
    directory: tempfile::TempDir,
    /// Where NVEs reach it.
    pub(super) endpoint: NvaEndpoint,
    nves: usize,
    process: Option<Child>,
}

impl Lab {
    /// Certificates and a configuration for so many NVEs, and a store with so many mappings of the first one.
    pub(super) fn new(nves: usize, mappings: u64) -> Lab {
        Lab::with_vms(nves, mappings, 0)
    }

    /// The same with so many attachments at the first NVE, each with a mapping.
    pub(super) fn with_vms(nves: usize, mappings: u64, vms: u64) -> Lab {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        pki::make_authority(path, "lab", 2).expect("a certificate authority");
        let issue = |role: Role, name: &str| {
            pki::issue(path, &Identity::new("lab", role, name).expect("a name"), 1).expect("a certificate");
        };
        issue(Role::Nva, "nva1");
        (0..nves).for_each(|nve| issue(Role::Nve, &name(nve)));
        fill(&path.join("nva.redb"), mappings, vms);
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        std::fs::write(path.join("nva.yaml"), config(path, address, nves)).expect("a file");
        let mut lab = Lab { directory, endpoint: NvaEndpoint::Tls(address), nves, process: None };
        lab.start();
        lab
    }

    /// Starts the authority, and waits until it serves.
    pub(super) fn start(&mut self) {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ila-nva"))
            .args(["run", "--config"])
            .arg(self.directory.path().join("nva.yaml"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("ila-nva");
        let mut lines = BufReader::new(process.stderr.take().expect("its log")).lines();
        let is_serving = lines.by_ref().map_while(Result::ok).any(|line| line.contains("serving"));
        assert!(is_serving, "ila-nva does not start");
        // It must never wait for a reader of its log.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        self.process = Some(process);
    }

    /// Where operators reach it.
    pub(super) fn operators(&self) -> NvaEndpoint {
        NvaEndpoint::Unix(self.directory.path().join("nva.sock"))
    }

    /// Kills the authority.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a process to kill");
            process.wait().expect("a process that ends");
        }
    }

    /// The files of an NVE's certificate.
    pub(super) fn files(&self, nve: usize) -> TlsFiles {
        assert!(nve < self.nves);
        let at = |end: &str| self.directory.path().join(format!("nve-{}.{end}", name(nve)));
        let authorities = self.directory.path().join("ca.pem");
        TlsFiles { certificate: at("pem"), key: at("key"), authorities }
    }

    /// Memory of the authority in bytes.
    pub(super) fn resident(&self) -> u64 {
        let text = std::fs::read_to_string(self.file("statm")).expect("its memory");
        text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
    }

    /// Its highest memory so far, in bytes.
    pub(super) fn peak(&self) -> u64 {
        let text = std::fs::read_to_string(self.file("status")).expect("its memory");
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB") * 1024
    }

    /// Time on a processor that it used so far.
    pub(super) fn busy(&self) -> Duration {
        let text = std::fs::read_to_string(self.file("stat")).expect("its times");
        let after = text.rsplit_once(") ").map_or("", |(_, after)| after);
        let ticks: f64 =
            after.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        Duration::from_secs_f64(ticks / TICKS)
    }

    fn file(&self, name: &str) -> PathBuf {
        let id = self.process.as_ref().expect("a running authority").id();
        Path::new("/proc").join(id.to_string()).join(name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.kill();
    }
}

fn config(path: &Path, address: SocketAddr, nves: usize) -> String {
    let at = |name: &str| path.join(name).display().to_string();
    let mut text = format!(
        "nva: {{name: nva1}}\nlisten: [\"https://{address}\", \"unix:{}\"]\n\
         tls: {{certificate: {}, key: {}, authorities: {}}}\n\
         store: {{path: {}}}\n\
         sessions: {{requests_per_second: 1000000}}\n\
         log: {{level: info}}\n\
         sir_domains: [{{name: tasks, prefix: \"2001:db8:dddd::/64\"}}]\nnves:\n",
        at("nva.sock"),
        at("nva-nva1.pem"),
        at("nva-nva1.key"),
        at("ca.pem"),
        at("nva.redb"),
    );
    for nve in 0..nves {
        let prefix = std::net::Ipv6Addr::from(u128::from(locator(nve)) << 64);
        let locators = format!("[{{prefix: \"{prefix}/64\", domain: tasks}}]");
        let _ = writeln!(text, "- {{name: {}, locators: {locators}, max_identifiers: 8000000}}", name(nve));
    }
    text
}

/// Writes mappings of the first NVE into a new store.
fn fill(file: &Path, mappings: u64, vms: u64) {
    let mut store = Embedded::open(file, [7; 16]).expect("a store");
    let choice = Choice { locator: Locator(locator(0)), priority: 0, weight: 1 };
    let record = || Record { choices: vec![choice], owner: name(0).into(), sequence: 1, mac: None, since: 1 };
    for (n, first) in (0..mappings).step_by(PORTION as usize).enumerate() {
        let portion = (first..mappings.min(first + PORTION)).map(|number| (key(number << 16), record()));
        let transaction = Transaction { writes: portion.collect(), ..Transaction::default() };
        store.commit(n as u64 + 1, &transaction).expect("a commit");
    }
    for vm in 0..vms {
        let revision = mappings.div_ceil(PORTION) + vm + 1;
        let place = ObjectKey { nve: name(0), name: ObjectName::Attachment(vm_name(vm)) };
        let sir = std::net::Ipv6Addr::from(u128::from(SIR) << 64 | u128::from(vm_key(vm).identifier));
        let document = format!(
            "{{\"name\":\"{}\",\"port\":\"a\",\"mac\":\"02:00:00:01:{:02x}:{:02x}\",\"identifiers\":[\"{sir}\"]}}",
            vm_name(vm),
            vm >> 8,
            vm & 0xff
        );
        let record = Record { sequence: revision, ..record() };
        let transaction = Transaction {
            writes: vec![(vm_key(vm), record)],
            objects: vec![(place, Some(Object { document, sequence: revision }))],
            ..Transaction::default()
        };
        store.commit(revision, &transaction).expect("a commit");
    }
}

/// The name of an attachment.
pub(super) fn vm_name(vm: u64) -> String {
    format!("vm{vm}")
}

/// Its identifier.
fn vm_key(vm: u64) -> Key {
    key(1 << 50 | vm << 16)
}

/// Waits until something holds, and gives the time that it took.
pub(super) async fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}
