//! Networks, policies and attachments in the operator's API.

use crate::api::manage::{self as v1, Action, Kind};
use crate::config::{Entry, ObjectName, RefusedEntry, Summary};
use crate::nva::authority::{Authority, NveState};
use crate::nva::catalogue::Change;
use crate::nva::inbox::AuthorityHandle;
use crate::nva::model::{Object, ObjectKey};
use crate::nva::scope::Sight;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Objects that one look goes through: the authority does nothing else meanwhile.
const LOOK: usize = 500;
/// Refusals of one NVE that a list of NVEs shows.
const REFUSALS: usize = 10;
/// Bytes after which a page ends.
const PAGE_BYTES: usize = 256 << 10;
/// Pages that wait for an operator.
const WAITING: usize = 2;

/// What a list is to show.
pub(in crate::nva) struct Wanted {
    kind: Kind,
    nve: Option<String>,
    network: Option<String>,
    name: Option<String>,
    documents: bool,
    sight: Sight,
}

impl Wanted {
    /// Reads a request.
    pub(super) fn read(request: v1::ObjectListRequest) -> Result<Self, Status> {
        let kind = kind(request.kind())?;
        let v1::ObjectListRequest { nve, network, name, documents, .. } = request;
        let some = |text: String| (!text.is_empty()).then_some(text);
        Ok(Wanted {
            kind,
            nve: some(nve),
            network: some(network),
            name: some(name),
            documents,
            sight: Sight::default(),
        })
    }

    /// All networks.
    pub(in crate::nva) fn networks() -> Self {
        let (nve, network, name) = (None, None, None);
        Wanted { kind: Kind::Network, nve, network, name, documents: false, sight: Sight::default() }
    }

    /// The same of what may be seen.
    pub(in crate::nva) fn within(self, sight: Sight) -> Self {
        Wanted { sight, ..self }
    }

    fn takes(&self, key: &ObjectKey, entry: &Entry) -> bool {
        let (kind, name) = match &key.name {
            ObjectName::Network(name) => (Kind::Network, name),
            ObjectName::Policy { from, .. } => (Kind::Policy, from),
            ObjectName::Attachment(name) => (Kind::Attachment, name),
        };
        kind == self.kind
            && self.sight.of_object(key, entry)
            && self.nve.as_ref().is_none_or(|nve| *nve == key.nve)
            && self.name.as_ref().is_none_or(|wanted| wanted == name)
            && self.network.as_ref().is_none_or(|network| {
                kind == Kind::Network && network == name || entry.networks().contains(&network.as_str())
            })
    }

    /// One look from behind `after`: what it takes, and where it ended, if there is more.
    pub(in crate::nva) fn look(
        &self,
        authority: &Authority,
        after: Option<&ObjectKey>,
    ) -> (Vec<v1::Object>, Option<ObjectKey>) {
        let catalogue = authority.registry().catalogue();
        let mut refused: HashMap<&ObjectName, Vec<(&str, &RefusedEntry)>> = HashMap::new();
        for nve in authority.nves() {
            for one in nve.provisioned.iter().flat_map(|(_, refused)| *refused) {
                refused.entry(&one.name).or_default().push((nve.name, one));
            }
        }
        let (mut found, mut last, mut bytes) = (Vec::new(), None, 0);
        for (n, (key, entry, object)) in catalogue.after(after).enumerate() {
            if n == LOOK || bytes >= PAGE_BYTES {
                return (found, last);
            }
            if self.takes(key, entry) {
                let attachments = match &key.name {
                    ObjectName::Network(name) => catalogue.attachments_of(name),
                    ObjectName::Policy { .. } | ObjectName::Attachment(_) => 0,
                };
                let refused = refused.get(&key.name).into_iter().flatten();
                let concerned = refused.filter(|(nve, _)| key.nve.is_empty() || *nve == key.nve);
                let refused: Vec<_> = concerned.map(|(nve, refused)| refusal(nve, refused)).collect();
                let mut shown = self.show(key, entry.summary(), object, (attachments, refused));
                if let ObjectName::Network(name) = &key.name
                    && let Some((sir_prefix, vnid)) = catalogue.number_of(name)
                {
                    let (held, most) = authority.registry().count_in(sir_prefix, vnid);
                    shown.identifiers = held as u64;
                    shown.max_identifiers = most.map(|most| most as u64);
                }
                bytes += prost::Message::encoded_len(&shown);
                found.push(shown);
            }
            last = Some(key.clone());
        }
        (found, None)
    }

    fn show(
        &self,
        key: &ObjectKey,
        summary: Summary,
        object: &Object,
        (attachments, refused): (usize, Vec<v1::Refusal>),
    ) -> v1::Object {
        let (name, to) = match &key.name {
            ObjectName::Network(name) | ObjectName::Attachment(name) => (name.clone(), String::new()),
            ObjectName::Policy { from, to } => (from.clone(), to.clone()),
        };
        let Summary { vnid, domain, prefixes, port, vlan, mac, network, addresses, via } = summary;
        v1::Object {
            kind: self.kind.into(),
            nve: key.nve.clone(),
            name,
            to,
            sequence: object.sequence,
            document: if self.documents { object.document.clone() } else { String::new() },
            refused,
            vnid,
            domain,
            prefixes,
            attachments: attachments as u64,
            port,
            vlan,
            mac,
            network,
            addresses,
            via,
            ..v1::Object::default()
        }
    }
}

/// What there is of an object now; nothing if it is gone.
pub(super) fn summary(authority: &Authority, key: &ObjectKey) -> Summary {
    authority.registry().catalogue().entry(key).map(Entry::summary).unwrap_or_default()
}

/// What an NVE refuses: the first of it.
pub(super) fn refusals(nve: &NveState<'_>) -> Vec<v1::Refusal> {
    let refused = nve.provisioned.iter().flat_map(|(_, refused)| *refused);
    refused.take(REFUSALS).map(|refused| refusal(nve.name, refused)).collect()
}

fn refusal(nve: &str, refused: &RefusedEntry) -> v1::Refusal {
    v1::Refusal { nve: nve.to_owned(), object: refused.name.to_string(), why: refused.why.clone() }
}

/// Pages of what is wanted.
pub(super) fn list(
    handle: AuthorityHandle,
    wanted: Arc<Wanted>,
) -> ReceiverStream<Result<v1::ObjectPage, Status>> {
    let (sender, pages) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut after: Option<ObjectKey> = None;
        loop {
            let wanted = wanted.clone();
            let from = after.take();
            let looked =
                handle.look(move |authority: &Authority| wanted.look(authority, from.as_ref())).await;
            let (objects, last) = match looked {
                Ok(looked) => looked,
                Err(gone) => {
                    let _ = sender.send(Err(gone.into())).await;
                    return;
                }
            };
            // Whoever asked may have seen enough.
            if !objects.is_empty() && sender.send(Ok(v1::ObjectPage { objects })).await.is_err() {
                return;
            }
            if last.is_none() || sender.is_closed() {
                return;
            }
            after = last;
        }
    });
    ReceiverStream::new(pages)
}

/// What an operator does to which object.
pub(super) fn read(request: v1::ObjectWriteRequest) -> Result<(ObjectKey, Change), Status> {
    let (kind, action) = (kind(request.kind())?, request.action());
    let v1::ObjectWriteRequest { nve, document, name, to, sequence, .. } = request;
    match (kind, nve.is_empty()) {
        (Kind::Attachment, true) => return wrong("an attachment is wanted at an NVE; name it"),
        (Kind::Network | Kind::Policy, false) => {
            return wrong("only an attachment is wanted at an NVE; name none");
        }
        _ => {}
    }
    let entry = || {
        let entry = match kind {
            Kind::Network => Entry::network(&document),
            Kind::Policy => Entry::policy(&document),
            Kind::Attachment | Kind::Unspecified => Entry::attachment(&document),
        };
        entry.map_err(Status::invalid_argument)
    };
    let (name, change) = match action {
        Action::Unspecified => return wrong("no action; write add, set or delete"),
        Action::Add => {
            let entry = entry()?;
            (entry.name().clone(), Change::Add(entry, document))
        }
        Action::Set => {
            let entry = entry()?;
            (entry.name().clone(), Change::Set(entry, document, sequence))
        }
        Action::Delete => {
            let name = match kind {
                Kind::Network => ObjectName::Network(name),
                Kind::Policy => ObjectName::Policy { from: name, to },
                Kind::Attachment | Kind::Unspecified => ObjectName::Attachment(name),
            };
            (name, Change::Delete(sequence))
        }
    };
    Ok((ObjectKey { nve, name }, change))
}

fn kind(kind: Kind) -> Result<Kind, Status> {
    match kind {
        Kind::Unspecified => wrong("no kind; write network, policy or attachment"),
        kind => Ok(kind),
    }
}

fn wrong<T>(why: &str) -> Result<T, Status> {
    Err(Status::invalid_argument(why))
}
