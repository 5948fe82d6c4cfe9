//! One session of an NVE, as far as a measurement needs it.

use super::lab::{Lab, key, locator, name};
use ilagate::config::{NvaEndpoint, TlsFiles};
use ilagate::nva::v1::{self, down, nva_client::NvaClient, up};
use ilagate::tls::connect::connect;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Messages that wait to be sent.
const WAITING: usize = 256;

/// How to reach the authority as one NVE.
#[derive(Clone)]
pub(super) struct Nve {
    endpoint: NvaEndpoint,
    files: TlsFiles,
    name: String,
    locator: u64,
    /// Moves that it takes.
    moves: Vec<i32>,
}

impl Nve {
    /// That of an NVE of the lab.
    pub(super) fn of(lab: &Lab, nve: usize) -> Nve {
        let (endpoint, files) = (lab.endpoint.clone(), lab.files(nve));
        Nve { endpoint, files, name: name(nve), locator: locator(nve), moves: Vec::new() }
    }

    /// The same, which takes hot moves.
    pub(super) fn moving(self) -> Nve {
        Nve { moves: vec![v1::MoveMode::Hot.into()], ..self }
    }

    /// A session that was welcomed.
    pub(super) async fn open(&self) -> Result<Session, String> {
        let channel = connect(&self.endpoint, Some(&self.files), |_| Ok(())).await?;
        let mut client = NvaClient::new(channel).max_decoding_message_size(1 << 20);
        let (up, ups) = mpsc::channel(WAITING);
        let hello = v1::Hello {
            versions: vec![1],
            nve: self.name.clone(),
            boot: 1,
            asks: false,
            digests: false,
            moves: self.moves.clone(),
            groups: false,
        };
        up.try_send(v1::Up { message: Some(up::Message::Hello(hello)) }).map_err(|why| why.to_string())?;
        let downs =
            client.session(ReceiverStream::new(ups)).await.map_err(|why| why.to_string())?.into_inner();
        let mut session = Session { up, downs, locator: self.locator, revision: 0, epoch: Vec::new() };
        match session.next().await? {
            down::Message::Welcome(welcome) => {
                session.revision = welcome.revision;
                session.epoch = welcome.epoch.to_vec();
                Ok(session)
            }
            other => Err(format!("{other:?} instead of Welcome")),
        }
    }
}

/// A session.
pub(super) struct Session {
    /// What goes up.
    pub(super) up: mpsc::Sender<v1::Up>,
    downs: Streaming<v1::Down>,
    locator: u64,
    /// The registry's revision when it began.
    pub(super) revision: u64,
    /// The registry's epoch.
    pub(super) epoch: Vec<u8>,
}

impl Session {
    /// The next message.
    pub(super) async fn next(&mut self) -> Result<down::Message, String> {
        let message = self.downs.message().await.map_err(|why| why.to_string())?;
        message.and_then(|down| down.message).ok_or_else(|| "the stream ended".to_owned())
    }

    /// Sends a message; the authority is gone if it cannot be sent.
    pub(super) async fn say(&self, message: up::Message) {
        let _ = self.up.send(v1::Up { message: Some(message) }).await;
    }

    /// Registers a task.
    pub(super) async fn register(&self, id: u64, number: u64) {
        let key = key(number);
        let key = Some(v1::Key { sir_prefix: key.sir_prefix, identifier: key.identifier });
        let locators = vec![v1::Locator { prefix: self.locator, priority: 0, weight: 1 }];
        self.say(up::Message::Register(v1::Register { id, key, locators, known_sequence: 0, mac: 0 })).await;
    }

    /// Subscribes to everything after `applied`, or to everything.
    pub(super) async fn subscribe(&self, applied: Option<u64>) {
        let epoch = applied.map_or_else(Vec::new, |_| self.epoch.clone());
        self.say(up::Message::Subscribe(v1::Subscribe {
            scopes: Vec::new(),
            epoch: epoch.into(),
            applied: applied.unwrap_or(0),
        }))
        .await;
    }

    /// Says that it lives.
    pub(super) async fn beat(&self) {
        self.say(up::Message::Beat(v1::Beat {})).await;
    }

    /// Says what is in force.
    pub(super) async fn applied(&self, revision: u64) {
        self.say(up::Message::Applied(v1::Applied { revision })).await;
    }
}
