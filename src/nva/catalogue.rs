//! What operators want at NVEs: networks, policies between them, and attachments. It is judged by the rules of a node's
//! file, and each NVE sees of it what it has a part in.

mod groups;
mod moving;

use super::beside::Beside;
use super::claims::Networks;
use super::model::{Key, Network, Nve, Object, ObjectKey};
use crate::config::{Claim, Entry, Judged, ObjectName, ProvisionRules};
use crate::ila::Locator;
use crate::net::Mac;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Attachments that operators may want at one NVE.
const MAX_ATTACHMENTS: usize = 16_384;
/// Hosts of a network that a list of copies may have.
const MAX_HOSTS: usize = 256;

/// What an operator does to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes it. There must be none.
    Add(Entry, String),
    /// Replaces it. There must be one, and with this sequence if one is named.
    Set(Entry, String, Option<u64>),
    /// Deletes it. There must be one, and with this sequence if one is named.
    Delete(Option<u64>),
}

/// An object as an NVE sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: ObjectName,
    /// Its sequence.
    pub sequence: u64,
    /// Of a network: the SIR prefix of its domain. 0 for others.
    pub sir_prefix: u64,
    /// The entry.
    pub entry: Arc<Entry>,
}

/// Whose view a change touches.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// These NVEs.
    pub(super) nves: BTreeSet<String>,
    /// Those who see one of these networks.
    pub(super) networks: BTreeSet<String>,
}

/// A network as some see it.
#[derive(Debug)]
struct Shown {
    /// What it is made of.
    of: (Arc<Entry>, Vec<Locator>),
    entry: Arc<Entry>,
}

#[derive(Debug, Clone)]
struct Held {
    entry: Arc<Entry>,
    object: Object,
}

/// All objects.
#[derive(Debug, Default)]
pub struct Catalogue {
    rules: ProvisionRules,
    objects: BTreeMap<ObjectKey, Held>,
    /// Attachments that are on their way to an NVE: their places there are taken, and nobody sees them.
    expected: BTreeMap<ObjectKey, Arc<Entry>>,
    /// Whose an address is.
    claims: HashMap<Claim, ObjectKey>,
    /// What refers to a network, by its name.
    referrers: HashMap<String, BTreeSet<ObjectKey>>,
    /// How many attachments a network has at each NVE, by its name.
    attached: HashMap<String, BTreeMap<String, usize>>,
    /// Networks as those see them who have tenants in them, and as others do: made once for all.
    shown: Mutex<HashMap<(String, bool), Shown>>,
    /// What cannot be read, and why.
    unread: BTreeMap<ObjectKey, (Object, String)>,
    /// Attachments by their network and MAC address.
    macs: BTreeMap<(String, Mac), BTreeSet<ObjectKey>>,
    /// How many attachments each NVE has.
    counts: HashMap<String, usize>,
    /// NVEs that were judged last.
    beside: Beside,
    /// By VNID.
    networks: Networks,
}

impl Catalogue {
    /// What a store held.
    pub fn new(rules: ProvisionRules, stored: impl IntoIterator<Item = (ObjectKey, Object)>) -> Self {
        let mut catalogue = Catalogue { rules, ..Catalogue::default() };
        stored.into_iter().for_each(|(key, object)| catalogue.insert(key, object));
        catalogue
    }

    /// What comes is judged by these rules: those before and further domains.
    pub(super) fn judge_by(&mut self, rules: ProvisionRules) {
        self.rules = rules;
        self.beside.clear();
    }

    /// Objects that cannot be read, and why. They are kept, and nobody is told of them.
    pub fn unread(&self) -> impl Iterator<Item = (&ObjectKey, &str)> {
        self.unread.iter().map(|(key, (_, why))| (key, why.as_str()))
    }

    /// Every object behind a key, in the order of keys.
    pub fn after(&self, key: Option<&ObjectKey>) -> impl Iterator<Item = (&ObjectKey, &Entry, &Object)> {
        use std::ops::Bound;
        let after = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.objects
            .range::<ObjectKey, _>((after, Bound::Unbounded))
            .map(|(key, held)| (key, &*held.entry, &held.object))
    }

    /// What is wanted by this name.
    #[must_use]
    pub fn entry(&self, key: &ObjectKey) -> Option<&Entry> {
        self.objects.get(key).map(|held| &*held.entry)
    }

    /// The same, and its sequence.
    pub(super) fn wanted(&self, key: &ObjectKey) -> Option<(&Entry, u64)> {
        self.objects.get(key).map(|held| (&*held.entry, held.object.sequence))
    }

    /// A network, and the SIR prefix of its domain.
    pub(super) fn network(&self, key: &ObjectKey) -> Option<(&Entry, u64)> {
        let entry = &self.objects.get(key)?.entry;
        Some((entry, self.sir_prefix(entry.domain()?)?))
    }

    /// The SIR prefix of a domain.
    pub(super) fn sir_prefix(&self, domain: &str) -> Option<u64> {
        self.rules.prefix_of(domain).map(|prefix| prefix.0)
    }

    /// The name of a network.
    #[must_use]
    pub fn name_of(&self, sir_prefix: u64, vnid: u32) -> Option<&str> {
        self.networks.name_of(sir_prefix, vnid)
    }

    /// The SIR prefix and the VNID of a network.
    #[must_use]
    pub fn number_of(&self, network: &str) -> Option<(u64, u32)> {
        let key = ObjectKey { nve: String::new(), name: ObjectName::Network(network.to_owned()) };
        self.number(self.entry(&key)?)
    }

    fn number(&self, network: &Entry) -> Option<(u64, u32)> {
        Some((self.sir_prefix(network.domain()?)?, network.summary().vnid.parse().ok()?))
    }

    /// VNIDs of networks.
    pub(super) fn vnids(&self) -> impl Iterator<Item = u32> {
        let networks = self.objects.iter().filter(|(key, _)| matches!(key.name, ObjectName::Network(_)));
        networks.filter_map(|(_, held)| held.entry.summary().vnid.parse().ok())
    }

    /// Whether an address is an attachment's.
    pub(super) fn is_claimed(&self, claim: &Claim) -> bool {
        self.claims.contains_key(claim)
    }

    /// Why an NVE may not have an identifier, if operators want it elsewhere.
    pub(super) fn denies(&self, nve: &str, key: Key) -> Option<String> {
        let is_at =
            |network: &str, nve: &str| self.attached.get(network).is_some_and(|nves| nves.contains_key(nve));
        self.networks.denies(&self.claims, is_at, nve, key)
    }

    /// The attachment with a MAC address of a network, if operators want it at another NVE and nobody with it at this one.
    pub(super) fn denies_mac(&self, nve: &str, (sir_prefix, vnid): Network, mac: Mac) -> Option<&ObjectKey> {
        let network = self.name_of(sir_prefix, vnid)?;
        let owners = self.macs.get(&(network.to_owned(), mac))?;
        owners.iter().all(|owner| owner.nve != nve).then(|| owners.first())?
    }

    /// How many attachments a network has.
    #[must_use]
    pub fn attachments_of(&self, network: &str) -> usize {
        self.attached.get(network).into_iter().flat_map(BTreeMap::values).sum()
    }

    /// Takes over what is durable.
    pub(super) fn apply(&mut self, objects: &[(ObjectKey, Option<Object>)]) {
        // What goes makes room for what comes: an attachment that moves is both.
        let (gone, there): (Vec<_>, Vec<_>) = objects.iter().partition(|(_, object)| object.is_none());
        for (key, object) in gone.into_iter().chain(there) {
            self.remove(key);
            if let Some(object) = object {
                self.insert(key.clone(), object.clone());
            }
            match key.name {
                ObjectName::Attachment(_) => {
                    let entry = self.objects.get(key).map(|held| &*held.entry);
                    self.beside.set(&key.nve, &key.name, entry);
                }
                ObjectName::Network(_) | ObjectName::Policy { .. } => self.beside.clear(),
            }
        }
    }

    /// What makes of these objects all that there are.
    pub(super) fn differences(&self, all: Vec<(ObjectKey, Object)>) -> Vec<(ObjectKey, Option<Object>)> {
        let all: BTreeMap<ObjectKey, Object> = all.into_iter().collect();
        let old = self.objects.keys().chain(self.unread.keys());
        let gone: Vec<_> = old.filter(|key| !all.contains_key(key)).map(|key| (key.clone(), None)).collect();
        let same = |key: &ObjectKey, object: &Object| {
            let held = self.objects.get(key).map(|held| &held.object);
            held.or_else(|| self.unread.get(key).map(|(object, _)| object)) == Some(object)
        };
        let new = all.into_iter().filter(|(key, object)| !same(key, object));
        let new: Vec<_> = new.map(|(key, object)| (key, Some(object))).collect();
        gone.into_iter().chain(new).collect()
    }

    /// Whose view these changes touch. They are not applied yet.
    pub(super) fn touched(&self, objects: &[(ObjectKey, Option<Object>)]) -> Touched {
        let mut touched = Touched::default();
        for (key, object) in objects {
            if !key.nve.is_empty() {
                touched.nves.insert(key.nve.clone());
            }
            let new = object.as_ref().and_then(|object| Entry::named(&key.name, &object.document).ok());
            let old = self.objects.get(key).map(|held| &*held.entry);
            for entry in new.iter().chain(old) {
                touched.networks.extend(entry.networks().into_iter().map(str::to_owned));
            }
            if let ObjectName::Network(name) = &key.name {
                touched.networks.insert(name.clone());
            }
        }
        touched
    }

    /// Judges a change by an operator. Gives the object afterwards. `revision` is that of the registry.
    ///
    /// # Errors
    /// There is none to change, one already, or another one than the operator saw; something refers to what is deleted;
    /// it breaks a rule of a node's file, alone or with what is there; an address or a place is taken; with the way out.
    pub(super) fn judge(
        &mut self,
        nves: &HashMap<String, Nve>,
        key: &ObjectKey,
        change: Change,
        revision: u64,
    ) -> Result<Option<Object>, String> {
        let before = self.objects.get(key).map(|held| held.object.sequence);
        let before = before.or_else(|| self.unread.get(key).map(|(object, _)| object.sequence));
        let (entry, document, expected) = match (change, before) {
            (Change::Add(..), Some(_)) => return Err(format!("{key} is there already; `set` replaces it")),
            (Change::Set(..), None) => return Err(format!("{key} is not there; `add` makes it")),
            (Change::Delete(_), None) => return Err(format!("{key} is not there; `list` shows what is")),
            (Change::Add(entry, document), None) => (Some(entry), document, None),
            (Change::Set(entry, document, expected), Some(_)) => (Some(entry), document, expected),
            (Change::Delete(expected), Some(_)) => (None, String::new(), expected),
        };
        if let (Some(sequence), Some(expected)) = (before, expected)
            && sequence != expected
        {
            return Err(format!(
                "{key} has sequence {sequence} and not {expected}: somebody changed it; look at it again"
            ));
        }
        let Some(entry) = entry else {
            self.judge_deletion(key)?;
            return Ok(None);
        };
        if self.expected.contains_key(key) {
            return Err(format!("{key} is on its way there; `ilactl vm show` tells from where"));
        }
        if before.is_none() && matches!(key.name, ObjectName::Attachment(_)) {
            self.judge_place(nves, key)?;
        }
        self.judge_claims(key, &entry)?;
        self.judge_hosts(key, &entry)?;
        let object = Object { document, sequence: before.unwrap_or(0).max(revision) + 1 };
        if self.admits(nves, key, &entry) {
            return Ok(Some(object));
        }
        let unread = self.unread.get(key).cloned();
        let old = self.remove(key);
        self.hold(key.clone(), Held { entry: Arc::new(entry), object: object.clone() });
        let (is_refused, judged) = self.refused(nves, key);
        self.remove(key);
        // What is refused without it as well is not its fault.
        let was_refused = if is_refused.is_empty() { BTreeMap::new() } else { self.refused(nves, key).0 };
        if let (Some(judged), Some(nve)) = (judged, nves.get(&key.nve)) {
            let durable = old.as_ref().map(|held| &*held.entry);
            self.beside.keep((&key.nve, &nve.locators), judged, (&key.name, durable));
        }
        if let Some(old) = old {
            self.hold(key.clone(), old);
        }
        if let Some(unread) = unread {
            self.unread.insert(key.clone(), unread);
        }
        match is_refused.into_iter().find(|(key, why)| was_refused.get(key) != Some(why)) {
            Some((_, why)) => Err(why),
            None => Ok(Some(object)),
        }
    }

    /// Whether an attachment breaks no rule, as far as that is known without a look at all others of its NVE.
    fn admits(&mut self, nves: &HashMap<String, Nve>, key: &ObjectKey, entry: &Entry) -> bool {
        let Some(nve) = nves.get(&key.nve).filter(|_| matches!(key.name, ObjectName::Attachment(_))) else {
            return false;
        };
        if self.expected_at(&key.nve).next().is_some() {
            return false;
        }
        // The first of a network brings what others of it are judged by.
        let mut networks = entry.networks().into_iter();
        let is_there = |network| self.attached.get(network).is_some_and(|nves| nves.contains_key(&key.nve));
        let before = self.objects.get(key).map(|held| held.entry.clone());
        networks.all(is_there)
            && self.beside.admits((&key.nve, &nve.locators), (&key.name, entry), before.as_deref())
    }

    fn judge_deletion(&self, key: &ObjectKey) -> Result<(), String> {
        let ObjectName::Network(name) = &key.name else { return Ok(()) };
        match self.referrers.get(name).and_then(|all| Some((all.iter().next_back()?, all.len()))) {
            None => Ok(()),
            Some((one, 1)) => Err(format!("{key} is named by {one}; delete that first")),
            Some((one, count)) => {
                Err(format!("{key} is named by {one} and {} others; delete them first", count - 1))
            }
        }
    }

    fn judge_place(&self, nves: &HashMap<String, Nve>, key: &ObjectKey) -> Result<(), String> {
        if !nves.contains_key(&key.nve) {
            let nve: String = key.nve.chars().take(64).collect();
            return Err(format!("`{}` is no NVE of this authority; add it to nves", nve.escape_debug()));
        }
        let there = self.counts.get(&key.nve).copied().unwrap_or(0);
        if there + self.expected_at(&key.nve).count() >= MAX_ATTACHMENTS {
            return Err(format!(
                "{} has {MAX_ATTACHMENTS} attachments, with those on their way there; an NVE has no more",
                key.nve
            ));
        }
        Ok(())
    }

    fn judge_claims(&self, key: &ObjectKey, entry: &Entry) -> Result<(), String> {
        for claim in entry.claims() {
            if let Some(other) = self.claims.get(&claim).filter(|other| *other != key) {
                let what = match claim {
                    Claim::Tenant(network, address) => format!("{address} of network {network}"),
                    Claim::Task(sir) => sir.to_string(),
                };
                return Err(format!("{what} is that of {other}; an address has one attachment"));
            }
        }
        Ok(())
    }

    /// Whether copies reach all hosts of the networks concerned.
    fn judge_hosts(&self, key: &ObjectKey, entry: &Entry) -> Result<(), String> {
        let is_over = |name: &str, entry: &Entry, nve: Option<&str>| {
            if entry.names_hosts() {
                return Ok(());
            }
            let hosts = self.hosts_with_expected(name);
            let more = nve.is_some_and(|nve| !hosts.contains(nve));
            let hosts = hosts.len();
            let is_over = hosts + usize::from(more) > MAX_HOSTS;
            match is_over && (more || nve.is_none()) {
                false => Ok(()),
                true => Err(format!(
                    "network {name} has tenants at {hosts} NVEs, and copies of its broadcast and groups go to \
                     {MAX_HOSTS} at most; place it at one of those, or name the hosts of copies in the network's \
                     replicate_to"
                )),
            }
        };
        match &key.name {
            ObjectName::Network(name) => is_over(name, entry, None),
            ObjectName::Policy { .. } => Ok(()),
            ObjectName::Attachment(_) => entry.networks().into_iter().try_for_each(|name| {
                let of = ObjectKey { nve: String::new(), name: ObjectName::Network(name.to_owned()) };
                self.entry(&of).map_or(Ok(()), |network| is_over(name, network, Some(&key.nve)))
            }),
        }
    }

    /// What is refused of what a change of this object concerns, and why; and what the next attachment at its NVE may be
    /// judged beside.
    fn refused(
        &self,
        nves: &HashMap<String, Nve>,
        key: &ObjectKey,
    ) -> (BTreeMap<ObjectKey, String>, Option<Judged>) {
        let mut beside = None;
        let mut refused = BTreeMap::new();
        let concerned: BTreeSet<&str> = match &key.name {
            ObjectName::Attachment(_) => BTreeSet::from([key.nve.as_str()]),
            ObjectName::Policy { .. } => BTreeSet::new(),
            ObjectName::Network(name) => self.nves_of(name).collect(),
        };
        if key.nve.is_empty() {
            let all: Vec<&Held> =
                self.objects.iter().filter(|(key, _)| key.nve.is_empty()).map(|(_, it)| it).collect();
            let locators = nves.values().flat_map(|nve| &nve.locators);
            let (judged, _) = self.rules.judge(locators, &in_order(all));
            refused.extend(
                judged.into_iter().map(|it| (ObjectKey { nve: String::new(), name: it.name }, it.why)),
            );
        }
        for nve in concerned {
            let Some(known) = nves.get(nve) else { continue };
            let view = self.view(nves, nve);
            let expected = self.expected_at(nve).map(|entry| &**entry);
            let entries: Vec<&Entry> = view.iter().map(|seen| &*seen.entry).chain(expected).collect();
            let (judged, good) = self.rules.judge(&known.locators, &entries);
            // What is expected is not kept among those that are there.
            beside = good.filter(|_| nve == key.nve && self.expected_at(nve).next().is_none());
            let its = judged.into_iter().filter(|it| matches!(it.name, ObjectName::Attachment(_)));
            refused.extend(its.map(|it| (ObjectKey { nve: nve.to_owned(), name: it.name }, it.why)));
        }
        (refused, beside)
    }

    /// What an NVE sees: its attachments; the networks that these are in, and those that are expected there; the policies
    /// of those; the networks that policies and peers of those name, as they look from outside. One that is told of all networks sees all networks
    /// and policies. Networks come first, then policies, then attachments, each the oldest first.
    #[must_use]
    pub fn view(&self, nves: &HashMap<String, Nve>, nve: &str) -> Vec<Seen> {
        let sees_all = nves.get(nve).is_some_and(|known| known.all_networks);
        let mut own: BTreeSet<&str> = BTreeSet::new();
        let mut seen: Vec<&ObjectKey> = Vec::new();
        for (key, held) in self.of_nve(nve) {
            own.extend(held.entry.networks());
            seen.push(key);
        }
        own.extend(self.expected_at(nve).flat_map(|entry| entry.networks()));
        if sees_all {
            seen.extend(self.objects.keys().filter(|key| key.nve.is_empty()));
        } else {
            let network =
                |name: &str| ObjectKey { nve: String::new(), name: ObjectName::Network(name.to_owned()) };
            let mut named: HashSet<&str> = HashSet::new();
            for name in &own {
                let Some((_, held)) = self.objects.get_key_value(&network(name)) else { continue };
                named.extend(held.entry.networks());
                let referrers = self.referrers.get(*name).into_iter().flatten();
                for key in referrers.filter(|key| matches!(key.name, ObjectName::Policy { .. })) {
                    let Some(policy) = self.objects.get(key) else { continue };
                    named.extend(policy.entry.networks());
                    seen.push(key);
                }
            }
            named.extend(&own);
            let networks = named.iter().filter_map(|name| self.objects.get_key_value(&network(name)));
            seen.extend(networks.map(|(key, _)| key));
        }
        // A policy between two of its networks is named by both.
        seen.sort_unstable();
        seen.dedup();
        let mut view: Vec<Seen> =
            seen.into_iter().filter_map(|key| self.seen(nves, key, &own, sees_all)).collect();
        view.sort_by(|a, b| kind(&a.name).cmp(&kind(&b.name)).then(a.sequence.cmp(&b.sequence)));
        view
    }

    fn seen(
        &self,
        nves: &HashMap<String, Nve>,
        key: &ObjectKey,
        own: &BTreeSet<&str>,
        sees_all: bool,
    ) -> Option<Seen> {
        let Held { entry, object } = self.objects.get(key)?;
        let mut entry = entry.clone();
        let mut sir_prefix = 0;
        if let ObjectName::Network(name) = &key.name {
            sir_prefix = self.rules.prefix_of(entry.domain()?)?.0;
            entry = match own.contains(name.as_str()) {
                true => self.shown(name, &entry, Some(self.hosts(nves, name, sir_prefix)))?,
                false if sees_all => entry,
                false => self.shown(name, &entry, None)?,
            };
        }
        Some(Seen { name: key.name.clone(), sequence: object.sequence, sir_prefix, entry })
    }

    /// A network as those see it who have tenants in it, with its hosts, or as others do.
    fn shown(&self, name: &str, entry: &Arc<Entry>, hosts: Option<Vec<Locator>>) -> Option<Arc<Entry>> {
        let key = (name.to_owned(), hosts.is_some());
        let hosts_now = hosts.unwrap_or_default();
        let mut all = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = all.get(&key)
            && Arc::ptr_eq(&shown.of.0, entry)
            && shown.of.1 == hosts_now
        {
            return Some(shown.entry.clone());
        }
        let made = match key.1 {
            true => entry.copied_to(hosts_now.clone()),
            false => entry.from_outside(),
        };
        let made = made.ok()?;
        let made = if made == **entry { entry.clone() } else { Arc::new(made) };
        all.insert(key, Shown { of: (entry.clone(), hosts_now), entry: made.clone() });
        Some(made)
    }

    /// A locator of each NVE with tenants in a network: what is for all of them is copied there.
    fn hosts(&self, nves: &HashMap<String, Nve>, network: &str, sir_prefix: u64) -> Vec<Locator> {
        let locator = |nve: &str| {
            let own = nves.get(nve)?.locators.iter();
            own.filter(|(_, sir)| **sir == sir_prefix).map(|(locator, _)| *locator).min()
        };
        let hosts: Vec<Locator> = self.nves_of(network).filter_map(locator).collect();
        if hosts.len() > MAX_HOSTS { Vec::new() } else { hosts }
    }

    fn of_nve<'c>(&'c self, nve: &str) -> impl Iterator<Item = (&'c ObjectKey, &'c Held)> {
        let first = ObjectKey { nve: nve.to_owned(), name: ObjectName::Network(String::new()) };
        let nve = nve.to_owned();
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.nve == nve)
            .filter(|(key, _)| !key.nve.is_empty())
    }

    /// The NVEs with tenants in a network.
    pub(super) fn nves_of<'c>(&'c self, network: &str) -> impl Iterator<Item = &'c str> {
        self.attached.get(network).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    fn insert(&mut self, key: ObjectKey, object: Object) {
        match Entry::named(&key.name, &object.document) {
            Ok(entry) => self.hold(key, Held { entry: Arc::new(entry), object }),
            Err(why) => _ = self.unread.insert(key, (object, why)),
        }
    }

    fn hold(&mut self, key: ObjectKey, held: Held) {
        for network in held.entry.networks() {
            self.referrers.entry(network.to_owned()).or_default().insert(key.clone());
            if !key.nve.is_empty() {
                let nves = self.attached.entry(network.to_owned()).or_default();
                *nves.entry(key.nve.clone()).or_default() += 1;
            }
        }
        if matches!(key.name, ObjectName::Attachment(_)) {
            *self.counts.entry(key.nve.clone()).or_default() += 1;
        }
        for claim in held.entry.claims() {
            self.claims.entry(claim).or_insert_with(|| key.clone());
        }
        for place in macs_of(&held.entry) {
            self.macs.entry(place).or_default().insert(key.clone());
        }
        if let ObjectName::Network(name) = &key.name
            && let Some(sir_prefix) = held.entry.domain().and_then(|domain| self.sir_prefix(domain))
        {
            self.networks.hold(name, &held.entry, sir_prefix);
        }
        self.objects.insert(key, held);
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Held> {
        self.unread.remove(key);
        let held = self.objects.remove(key)?;
        for network in held.entry.networks() {
            if let Some(referrers) = self.referrers.get_mut(network) {
                referrers.remove(key);
                if referrers.is_empty() {
                    self.referrers.remove(network);
                }
            }
            if let Some(nves) = self.attached.get_mut(network)
                && let Some(count) = nves.get_mut(&key.nve)
            {
                *count -= 1;
                if *count == 0 {
                    nves.remove(&key.nve);
                }
                if nves.is_empty() {
                    self.attached.remove(network);
                }
            }
        }
        if matches!(key.name, ObjectName::Attachment(_))
            && let Some(count) = self.counts.get_mut(&key.nve)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key.nve);
            }
        }
        if let ObjectName::Network(name) = &key.name {
            self.networks.remove(name, &held.entry);
            let shown = self.shown.get_mut().unwrap_or_else(PoisonError::into_inner);
            [true, false].into_iter().for_each(|inside| _ = shown.remove(&(name.clone(), inside)));
        }
        for place in macs_of(&held.entry) {
            if let Some(owners) = self.macs.get_mut(&place) {
                owners.remove(key);
                if owners.is_empty() {
                    self.macs.remove(&place);
                }
            }
        }
        for claim in held.entry.claims() {
            if self.claims.get(&claim) == Some(key) {
                self.claims.remove(&claim);
            }
        }
        Some(held)
    }
}

/// The network and the MAC address of an attachment.
fn macs_of(entry: &Entry) -> impl Iterator<Item = (String, Mac)> {
    let mac = entry.tenant_mac();
    entry.networks().into_iter().map(str::to_owned).filter_map(move |network| Some((network, mac?)))
}

fn kind(name: &ObjectName) -> u8 {
    match name {
        ObjectName::Network(_) => 0,
        ObjectName::Policy { .. } => 1,
        ObjectName::Attachment(_) => 2,
    }
}

/// The entries, the oldest first.
fn in_order(mut all: Vec<&Held>) -> Vec<&Entry> {
    all.sort_by_key(|held| held.object.sequence);
    all.into_iter().map(|held| &*held.entry).collect()
}
