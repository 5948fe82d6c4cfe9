//! An `ila-nva` process, and sessions of NVEs with it.
#![allow(missing_docs, unreachable_pub)]

use hyper_util::rt::TokioIo;
use ilagate::config::TlsFiles;
use ilagate::nva::v1::{self, down, nva_client::NvaClient, up};
use ilagate::tls::{client, pki};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Status, Streaming};

pub const TIMEOUT: Duration = Duration::from_secs(30);
pub const SIR: u64 = 0x2001_0db8_dddd_0000;
pub const TASK: u64 = 0x2000_0000_0000_0001;

/// A running authority of the domain `lab`, which knows nve1 (with a locator), nve2 (with another) and no more.
pub struct Authority {
    pub directory: tempfile::TempDir,
    pub address: SocketAddr,
    /// Where sessions are in the clear.
    /// What starts it.
    words: Vec<String>,
    pub metrics: SocketAddr,
    pub process: Child,
    pub log: Arc<Mutex<String>>,
}

impl Authority {
    /// With a store of its own in a file.
    pub fn start() -> Authority {
        Authority::over("nva1", None, &[])
    }

    /// Of this name, and before an etcd if there is one. It is started by `words`, if there are some.
    pub fn over(name: &str, etcd: Option<SocketAddr>, words: &[&str]) -> Authority {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        pki::make_authority(path, "lab", 2).unwrap();
        for who in [
            &format!("nva/{name}"),
            "nve/nve1",
            "nve/nve2",
            "nve/stranger",
            "operator/alice",
            "operator/oscar",
            "operator/rita",
            "operator/victor",
            "operator/nobody",
        ] {
            pki::issue(path, &format!("ilagate://lab/{who}").parse().unwrap(), 1).unwrap();
        }
        // Both at once, so that they differ.
        let [address, metrics, plain] = [(); 3]
            .map(|()| TcpListener::bind("127.0.0.1:0").unwrap())
            .map(|free| free.local_addr().unwrap());
        let at = |name: &str| path.join(name).display().to_string();
        let store = match etcd {
            Some(etcd) => format!("{{etcd: {{endpoints: [\"http://{etcd}\"], prefix: /ilagate/lab}}}}"),
            None => format!("{{path: {}}}", at("nva.redb")),
        };
        let config = format!(
            "nva: {{name: {name}}}\nlisten: [\"https://{address}\", \"http://{plain}\"]\n\
             tls: {{certificate: {}, key: {}, authorities: {}}}\n\
             store: {store}\n\
             metrics: {{listen: \"{metrics}\"}}\n\
             sessions: {{lease_s: 60}}\n\
             operators:\n\
             - {{name: alice, role: admin}}\n\
             - {{name: oscar, role: operator}}\n\
             - {{name: rita, role: operator, networks: [red, blue]}}\n\
             - {{name: victor}}\n\
             sir_domains: [{{name: tasks, prefix: \"2001:db8:dddd::/64\"}}]\n\
             nves:\n\
             - {{name: nve1, locators: [{{prefix: \"fd00:1::/64\", domain: tasks}}]}}\n\
             - {{name: nve2, locators: [{{prefix: \"fd00:2::/64\", domain: tasks}}]}}\n",
            at(&format!("nva-{name}.pem")),
            at(&format!("nva-{name}.key")),
            at("ca.pem"),
        );
        std::fs::write(path.join("nva.yaml"), config).unwrap();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (process, log) = launch(path, &words);
        Authority { directory, address, metrics, words, process, log }
    }

    /// The process ends at once, and another one begins.
    pub fn again(&mut self, meanwhile: impl FnOnce(&Path)) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        meanwhile(self.directory.path());
        (self.process, self.log) = launch(self.directory.path(), &self.words);
    }

    pub fn files(&self, who: &str) -> TlsFiles {
        let at = |name: &str| self.directory.path().join(name);
        TlsFiles {
            certificate: at(&format!("{who}.pem")),
            key: at(&format!("{who}.key")),
            authorities: at("ca.pem"),
        }
    }

    /// A connection with the certificate of `who`.
    pub async fn connect(&self, who: &str) -> Result<Channel, String> {
        self.connect_with(&self.files(who)).await
    }

    pub async fn connect_with(&self, files: &TlsFiles) -> Result<Channel, String> {
        let connector = TlsConnector::from(client::config(files).unwrap().0);
        let address = self.address;
        let connect = move |_: Uri| {
            let connector = connector.clone();
            async move {
                let stream = tokio::net::TcpStream::connect(address).await?;
                connector.connect(ServerName::IpAddress(address.ip().into()), stream).await.map(TokioIo::new)
            }
        };
        let endpoint = Endpoint::from_static("http://nva");
        let connected = endpoint.connect_with_connector(tower::service_fn(connect)).await;
        connected.map_err(|why| format!("{why:?}"))
    }

    /// A session with the certificate of `who`, before Hello.
    pub async fn open(&self, who: &str) -> Result<Session, Status> {
        Session::over(self.connect(who).await.map_err(Status::unavailable)?).await
    }

    /// A session that was welcomed.
    pub async fn welcome(&self, who: &str) -> Session {
        self.open(&format!("nve-{who}")).await.unwrap().greet(who, false).await
    }

    pub fn said(&self, text: &str) -> bool {
        self.log.lock().unwrap().contains(text)
    }

    pub fn is_well(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

fn launch(directory: &Path, words: &[String]) -> (Child, Arc<Mutex<String>>) {
    let program = env!("CARGO_BIN_EXE_ila-nva").to_owned();
    let mut words = words.iter().chain([&program]);
    let mut process = Command::new(words.next().unwrap())
        .args(words)
        .args(["run", "--config"])
        .arg(directory.join("nva.yaml"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let log = Arc::new(Mutex::new(String::new()));
    while !log.lock().unwrap().contains("serving") {
        let line = lines.next().expect("the authority ended").unwrap();
        *log.lock().unwrap() += &line;
    }
    let kept = log.clone();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| *kept.lock().unwrap() += &line));
    (process, log)
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub struct Session {
    pub up: mpsc::Sender<v1::Up>,
    pub downs: Streaming<v1::Down>,
}

impl Session {
    pub async fn over(channel: Channel) -> Result<Session, Status> {
        let (up, ups) = mpsc::channel(16);
        let mut client = NvaClient::new(channel).max_encoding_message_size(64 << 20);
        let downs = client.session(ReceiverStream::new(ups)).await?.into_inner();
        Ok(Session { up, downs })
    }

    /// Says who it is, and whether it asks, and is welcomed.
    pub async fn greet(mut self, nve: &str, asks: bool) -> Session {
        let (versions, nve) = (vec![1], nve.to_owned());
        let hello =
            v1::Hello { versions, nve, boot: 1, asks, digests: false, moves: Vec::new(), groups: false };
        self.say(up::Message::Hello(hello)).await;
        assert!(matches!(self.next().await, Ok(Some(down::Message::Welcome(_)))));
        self
    }

    pub async fn say(&self, message: up::Message) {
        let _ = self.up.send(v1::Up { message: Some(message) }).await;
    }

    /// What comes next; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<down::Message>, Status> {
        let next = tokio::time::timeout(TIMEOUT, self.downs.message()).await.expect("no answer");
        Ok(next?.and_then(|down| down.message))
    }

    pub async fn register(&mut self, identifier: u64, locator: u64) -> down::Message {
        self.claim(identifier, locator, 0).await
    }

    /// Registers what it had with this sequence.
    pub async fn claim(&mut self, identifier: u64, locator: u64, known_sequence: u64) -> down::Message {
        let key = Some(v1::Key { sir_prefix: SIR, identifier });
        let locators = vec![v1::Locator { prefix: locator, priority: 0, weight: 1 }];
        self.say(up::Message::Register(v1::Register { id: 7, key, locators, known_sequence, mac: 0 })).await;
        self.next().await.unwrap().unwrap()
    }
}

pub fn locator(n: u64) -> u64 {
    0xfd00_0000_0000_0000 | n << 32
}
