//! Authorities before one store, and NVEs of which some are lost: groups fail over, whatever breaks.

use super::*;
use std::cell::RefCell;

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// An authority does not look at the stored session: it hears of no session at another one.
    WithoutGeneration,
    /// An authority that starts waits for nobody.
    NoGrace,
}

/// An authority, and how far it has read.
pub(super) struct Server {
    pub(super) authority: Authority,
    pub(super) commit: Option<Commit>,
    seen: u64,
    /// When its clock was 0.
    began_ms: u64,
}

/// An NVE: at which authority it has its session, and what it was told.
#[derive(Default)]
pub(super) struct SimNve {
    pub(super) session: Option<(usize, SessionId)>,
    pub(super) is_dead: bool,
    pub(super) told: BTreeMap<String, GroupTold>,
    /// When it said something last, to any authority.
    pub(super) said_ms: u64,
}

pub(super) struct World {
    store: RefCell<Memory>,
    revision: u64,
    log: Vec<(Commit, usize)>,
    pub(super) servers: Vec<Option<Server>>,
    pub(super) nves: BTreeMap<String, SimNve>,
    pub(super) now_ms: u64,
    pub(super) events: Vec<Event>,
    answers: BTreeMap<u64, Result<(u64, u64), String>>,
    numbers: u64,
    pub(super) flaw: Option<Flaw>,
    /// Groups whose identifiers were taken from an NVE that was alive and had a session a moment ago.
    pub(super) stolen: Vec<String>,
    pub(super) failovers: u64,
}

pub(super) const LEASE_MS: u64 = 10_000;
pub(super) const GRACE_MS: u64 = 30_000;

impl World {
    /// `authorities` before one store; vm1 with both families is at nve1.
    pub(super) fn new(authorities: usize, count: u64, flaw: Option<Flaw>) -> Self {
        let mut world = World {
            store: RefCell::default(),
            revision: 0,
            log: Vec::new(),
            servers: (0..authorities).map(|_| None).collect(),
            nves: (1..=count).map(|n| (name(n), SimNve::default())).collect(),
            now_ms: 0,
            events: Vec::new(),
            answers: BTreeMap::new(),
            numbers: 0,
            flaw,
            stolen: Vec::new(),
            failovers: 0,
        };
        (0..authorities).for_each(|a| world.start(a));
        (1..=count).for_each(|n| world.open(&name(n), 0));
        for (key, change) in [
            network("red", 1, ", ipv6: {prefix: 'fd00:9::/96'}"),
            attachment("nve1", "vm1", 11, "red", "10.1.0.5, 'fd00:9::5'"),
        ] {
            let done = world.ask(0, |ticket| Input::Change(ticket, key, change));
            assert!(done.is_ok(), "{done:?}");
        }
        for key in keys() {
            world.says("nve1", Up::Register { id: key.identifier, key, choices: at(1), known: 0, mac: None });
        }
        assert_eq!(world.owners(), [Some(name(1)), Some(name(1))]);
        world
    }

    pub(super) fn start(&mut self, a: usize) {
        let stored = self.stored();
        let count = self.nves.len() as u64;
        let grace_ms = if self.flaw == Some(Flaw::NoGrace) { 0 } else { GRACE_MS };
        let rules = GroupRules { grace_ms, ..GroupRules::default() };
        let catalogue = Catalogue::new(provision_rules(), stored.objects);
        let registry = Registry::new(nves(count), stored.records, stored.revision, (0, 0))
            .with_catalogue(catalogue)
            .with_groups(rules, stored.groups);
        let mut settings = settings(1, LIMITS);
        settings.commits.is_shared = self.servers.len() > 1;
        settings.began_unix_ms = self.now_ms;
        let authority = Authority::new(settings, registry);
        let (seen, began_ms) = (self.revision, self.now_ms);
        self.servers[a] = Some(Server { authority, commit: None, seen, began_ms });
        let others = |a: usize, nves: &BTreeMap<String, SimNve>| {
            let there = nves.iter().filter(|(_, nve)| nve.session.is_some_and(|(at, _)| at != a));
            there.map(|(name, nve)| (name.clone(), format!("nva{}", nve.session.unwrap().0))).collect()
        };
        let others = others(a, &self.nves);
        self.step(a, Input::AtOthers(others));
    }

    /// An authority dies: its lease in the store ends, and the others hear that nobody has a session there.
    pub(super) fn kill(&mut self, a: usize) {
        self.servers[a] = None;
        let gone: Vec<String> = self
            .nves
            .iter()
            .filter(|(_, nve)| nve.session.is_some_and(|(at, _)| at == a))
            .map(|it| it.0.clone())
            .collect();
        for nve in gone {
            self.nves.get_mut(&nve).unwrap().session = None;
            (0..self.servers.len()).for_each(|other| self.step(other, Input::Nowhere(nve.clone())));
        }
    }

    /// What the store holds.
    pub(super) fn stored(&self) -> Stored {
        self.store.borrow_mut().load().unwrap()
    }

    pub(super) fn at(&self, a: usize) -> &Authority {
        &self.servers[a].as_ref().unwrap().authority
    }

    pub(super) fn step(&mut self, a: usize, input: Input) {
        let input = match (input, self.flaw) {
            (Input::Others(transaction, _), Some(Flaw::WithoutGeneration)) => {
                Input::Others(transaction, Vec::new())
            }
            (Input::AtOthers(_), Some(Flaw::WithoutGeneration)) => Input::AtOthers(Vec::new()),
            (input, _) => input,
        };
        let Some(server) = &mut self.servers[a] else { return };
        for effect in server.authority.step(self.now_ms - server.began_ms, input) {
            match effect {
                Effect::Down(id, down) => self.hears(a, id, down),
                Effect::Close(id, _) => {
                    let of = self.nves.values_mut().filter(|nve| nve.session == Some((a, id)));
                    of.for_each(|nve| nve.session = None);
                }
                Effect::Released(Ticket(ticket), told) => _ = self.answers.insert(ticket, told),
                Effect::Event(event) => self.events.push(event),
                Effect::Applied(_) => {}
                Effect::Left(nve) => {
                    if self.servers.len() > 1 && self.nves[&*nve].session.is_none() {
                        let others = (0..self.servers.len()).filter(|other| *other != a);
                        others.for_each(|other| self.step(other, Input::Nowhere(nve.to_string())));
                    }
                }
                Effect::Commit(commit) => {
                    let server = self.servers[a].as_mut().unwrap();
                    assert!(server.commit.replace(commit).is_none());
                }
            }
        }
    }

    fn hears(&mut self, a: usize, id: SessionId, down: Down<Encoded>) {
        let weight = down.weight();
        let Some(nve) = self.nves.values_mut().find(|nve| nve.session == Some((a, id))) else { return };
        if let Down::Groups(part) = read_down(write_down(down)).unwrap() {
            if part.whole {
                nve.told.clear();
            }
            part.over.iter().for_each(|name| _ = nve.told.remove(name));
            nve.told.extend(part.groups.into_iter().map(|one| (one.name.clone(), one)));
        }
        self.step(a, Input::Ready(id, weight));
    }

    /// An NVE opens a session at an authority.
    pub(super) fn open(&mut self, nve: &str, a: usize) {
        if self.servers[a].is_none() || self.nves[nve].is_dead {
            return;
        }
        self.numbers += 1;
        let id = SessionId(self.numbers);
        let said_ms = self.now_ms;
        let one = self.nves.get_mut(nve).unwrap();
        (one.session, one.said_ms) = (Some((a, id)), said_ms);
        self.step(a, Input::Opened(id, Some(nve.to_owned())));
        let (nve, versions, moves) = (nve.to_owned(), vec![1], Modes::default());
        let hello = Up::Hello { versions, nve, boot: 1, asks: false, digests: false, moves, groups: true };
        self.step(a, Input::Up(id, hello));
        self.settle();
    }

    /// The stream of an NVE ends.
    pub(super) fn close(&mut self, nve: &str) {
        if let Some((a, id)) = self.nves.get_mut(nve).unwrap().session.take() {
            self.step(a, Input::Closed(id));
            self.settle();
        }
    }

    /// An NVE is lost.
    pub(super) fn dies(&mut self, nve: &str) {
        self.nves.get_mut(nve).unwrap().is_dead = true;
        self.close(nve);
    }

    pub(super) fn says(&mut self, nve: &str, up: Up) {
        let said_ms = self.now_ms;
        let one = self.nves.get_mut(nve).unwrap();
        if let Some((a, id)) = one.session {
            one.said_ms = said_ms;
            self.step(a, Input::Up(id, up));
            self.settle();
        }
    }

    /// The commit of an authority is offered to the store, which takes it if nothing came between.
    pub(super) fn offers(&mut self, a: usize) -> bool {
        let Some(server) = &mut self.servers[a] else { return false };
        let Some(commit) = server.commit.take() else { return false };
        if server.seen != self.revision {
            self.follows(a);
            return true;
        }
        if !commit.is_empty() {
            self.revision = commit.revision;
            server.seen = commit.revision;
            self.watch_for_theft(&commit);
            self.store.get_mut().commit(commit.revision, &commit.transaction).unwrap();
            self.log.push((commit, a));
        }
        self.step(a, Input::Committed(Ok(())));
        true
    }

    /// An authority hears what the others wrote.
    pub(super) fn follows(&mut self, a: usize) {
        while let Some(server) = &mut self.servers[a]
            && server.seen < self.revision
        {
            server.seen += 1;
            server.commit = None;
            let (commit, by) = &self.log[server.seen as usize - 1];
            let opened = commit.opened.iter().map(|nve| (nve.to_string(), format!("nva{by}"))).collect();
            let transaction = commit.transaction.clone();
            self.step(a, Input::Others(transaction, opened));
        }
    }

    /// Notes failovers that take something from an NVE that is alive and was heard within its lease.
    fn watch_for_theft(&mut self, commit: &Commit) {
        for (name, group) in &commit.transaction.groups {
            let before = self.stored().groups.into_iter().find(|it| it.name == *name);
            let (Some(before), Some(group)) = (before, group) else { continue };
            if group.failovers == before.failovers {
                continue;
            }
            self.failovers += 1;
            for member in before.active().filter(|member| !group.is_active(&member.nve)) {
                let nve = &self.nves[&member.nve];
                if !nve.is_dead && self.now_ms < nve.said_ms + LEASE_MS {
                    self.stolen.push(format!("{name} from {} at {} ms", member.nve, self.now_ms));
                }
            }
        }
    }

    /// Everything that is on its way arrives.
    pub(super) fn settle(&mut self) {
        for _ in 0..50 {
            let mut is_some = false;
            for a in 0..self.servers.len() {
                self.follows(a);
                is_some |= self.offers(a);
                let due = |server: &Server| server.authority.due_ms().map(|due_ms| due_ms + server.began_ms);
                let due = self.servers[a].as_ref().and_then(due);
                if due.is_some_and(|due_ms| due_ms <= self.now_ms) {
                    self.step(a, Input::Due);
                    is_some = true;
                }
            }
            if !is_some {
                return;
            }
        }
    }

    /// Time passes; those that live say so, unless they have no session.
    pub(super) fn wait(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms = (self.now_ms + 200).min(until_ms);
            if self.now_ms.is_multiple_of(LEASE_MS / 4) {
                let alive: Vec<String> =
                    self.nves.iter().filter(|(_, nve)| !nve.is_dead).map(|it| it.0.clone()).collect();
                alive.iter().for_each(|nve| self.says(nve, Up::Beat));
            }
            (0..self.servers.len()).for_each(|a| self.step(a, Input::Tick));
            self.settle();
        }
    }

    /// An operator asks, and is answered.
    pub(super) fn ask(
        &mut self,
        a: usize,
        input: impl FnOnce(Ticket) -> Input,
    ) -> Result<(u64, u64), String> {
        self.numbers += 1;
        let ticket = self.numbers;
        self.step(a, input(Ticket(ticket)));
        self.settle();
        self.answers.remove(&ticket).unwrap()
    }

    pub(super) fn wish(&mut self, wish: GroupWish) -> Result<(u64, u64), String> {
        self.ask(0, |ticket| Input::Group(ticket, "alice".to_owned(), wish))
    }

    /// Declares a group of these NVEs for vm1.
    pub(super) fn declare(&mut self, kind: GroupKind, members: &[u64]) -> Result<(u64, u64), String> {
        let member = |n: &u64| MemberRequest {
            nve: name(*n),
            port: (*n > 1).then(|| "a".to_owned()),
            vlan: (*n > 1).then_some(22),
            weight: *n as u16,
        };
        self.wish(GroupWish::Add(GroupRequest {
            name: "db".to_owned(),
            attachment: "vm1".to_owned(),
            kind,
            members: members.iter().map(member).collect(),
        }))
    }

    /// Those that have vm1, by the store.
    pub(super) fn active(&self) -> Vec<String> {
        let groups = self.stored().groups;
        groups.iter().flat_map(Group::active).map(|member| member.nve.clone()).collect()
    }

    /// Who has both identifiers of vm1.
    pub(super) fn owners(&self) -> [Option<String>; 2] {
        let records: BTreeMap<Key, Record> = self.stored().records.into_iter().collect();
        keys().map(|key| records.get(&key).filter(|it| it.is_held()).map(|it| it.owner.to_string()))
    }

    /// The attachments that operators want, by NVE.
    pub(super) fn attached(&self) -> Vec<String> {
        let objects = self.stored().objects.into_iter();
        objects.filter(|(key, _)| !key.nve.is_empty()).map(|(key, _)| key.nve).collect()
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        self.events.iter().filter(|event| event.kind == kind).count()
    }
}

/// The identifiers of vm1.
pub(super) fn keys() -> [Key; 2] {
    let ids = [Identifier::tenant_ipv4(1, 0x0a01_0005), Identifier::tenant_ipv6(1, 5)];
    ids.map(|id| Key { sir_prefix: SIR, identifier: id.0 })
}
