//! Four NVEs, an authority, and a store that outlives it: attachments move between the NVEs, whatever breaks.

use super::*;

/// An NVE: its half of the session, and what its node was told.
pub(super) struct SimNve {
    pub(super) client: Client,
    /// The session, and what is on its way in it.
    pub(super) stream: Option<(SessionId, VecDeque<Up>, VecDeque<Down<Encoded>>)>,
    pub(super) moves: Arc<NodeMoves>,
    pub(super) objects: Arc<Objects>,
    /// It says nothing of what it applied.
    pub(super) is_slow: bool,
    applying: usize,
}

pub(super) struct World {
    pub(super) store: Memory,
    pub(super) authority: Option<Authority>,
    pub(super) commit: Option<Commit>,
    pub(super) nves: Vec<SimNve>,
    pub(super) now_ms: u64,
    pub(super) events: Vec<Event>,
    /// What the other authorities were told is applied here.
    pub(super) applied: Vec<u64>,
    /// Whether there are other authorities.
    is_shared: bool,
    answers: BTreeMap<u64, Result<(u64, u64), String>>,
    sessions: u64,
    tickets: u64,
    tokens: u8,
}

pub(super) const NVES: u64 = 4;

fn client(n: u64) -> Client {
    // The last one is of an older release, and the one before takes cold moves only.
    let modes = match n {
        4 => Modes::default(),
        3 => [Mode::Cold].into_iter().collect(),
        _ => Modes::ALL,
    };
    Client::new(name(n), 1, 1, n, None).provisioned(Arc::default()).moving(modes)
}

impl World {
    /// vm1 with both families is at nve1.
    pub(super) fn new() -> Self {
        World::with(false)
    }

    /// The same, of an authority that is not alone.
    pub(super) fn shared() -> Self {
        World::with(true)
    }

    fn with(is_shared: bool) -> Self {
        let nve = |n| SimNve {
            client: client(n),
            stream: None,
            moves: Arc::default(),
            objects: Arc::default(),
            is_slow: false,
            applying: 0,
        };
        let mut world = World {
            store: Memory::default(),
            authority: None,
            commit: None,
            nves: (1..=NVES).map(nve).collect(),
            now_ms: 0,
            events: Vec::new(),
            applied: Vec::new(),
            is_shared,
            answers: BTreeMap::new(),
            sessions: 0,
            tickets: 0,
            tokens: 0,
        };
        world.start();
        world.settle();
        for (key, change) in [
            network("red", 1, ", ipv6: {prefix: 'fd00:9::/96'}"),
            attachment("nve1", "vm1", 11, "red", "10.1.0.5, 'fd00:9::5'"),
        ] {
            let done = world.ask(|ticket| Input::Change(ticket, key, change));
            assert!(done.is_ok(), "{done:?}");
        }
        world.settle();
        assert_eq!(world.owners(), [Some(name(1)), Some(name(1))]);
        world
    }

    /// An authority starts on the store.
    pub(super) fn start(&mut self) {
        let stored = self.store.load().unwrap();
        let known = known();
        let catalogue = Catalogue::new(rules(), stored.objects);
        let registry = Registry::new(known, stored.records, stored.revision, (self.now_ms, 0))
            .with_catalogue(catalogue)
            .with_limits(Quotas::default(), FreezeRules { changes: 3, within_ms: 600_000, for_ms: 600_000 })
            .with_moves(MoveRules::default(), stored.moves, (self.now_ms, self.now_ms));
        let commits = CommitRules { is_shared: self.is_shared, ..CommitRules::OWN };
        let settings = Settings { commits, ..settings(1, LIMITS) };
        let settings = with_sessions(settings, |sessions| sessions.lease_ms = 60_000);
        self.authority = Some(Authority::new(settings, registry));
    }

    /// The authority dies, and another one starts on the store.
    pub(super) fn restart(&mut self) {
        self.kill();
        self.start();
    }

    /// The authority dies.
    pub(super) fn kill(&mut self) {
        (self.authority, self.commit) = (None, None);
        for n in 0..self.nves.len() {
            if self.nves[n].stream.take().is_some() {
                self.client(n, client::Input::Closed("killed".to_owned()));
            }
        }
    }

    pub(super) fn at(&self) -> &Authority {
        self.authority.as_ref().unwrap()
    }

    pub(super) fn step(&mut self, input: Input) {
        let Some(authority) = &mut self.authority else { return };
        for effect in authority.step(self.now_ms, input) {
            match effect {
                Effect::Down(id, down) => {
                    let streams = self.nves.iter_mut().filter_map(|nve| nve.stream.as_mut());
                    for (_, _, downs) in streams.filter(|(session, ..)| *session == id) {
                        downs.push_back(down.clone());
                    }
                }
                Effect::Close(id, why) => {
                    assert!(why.contains("opened another session"), "{why}");
                    for nve in &mut self.nves {
                        nve.stream = nve.stream.take().filter(|(session, ..)| *session != id);
                    }
                }
                Effect::Released(Ticket(ticket), told) => _ = self.answers.insert(ticket, told),
                Effect::Event(event) => self.events.push(event),
                Effect::Left(_) => {}
                Effect::Applied(revision) => self.applied.push(revision),
                Effect::Commit(commit) => assert!(self.commit.replace(commit).is_none()),
            }
        }
    }

    pub(super) fn client(&mut self, n: usize, input: client::Input) {
        for effect in self.nves[n].client.step(self.now_ms, input) {
            match effect {
                client::Effect::Open(_) if self.authority.is_none() => {
                    self.client(n, client::Input::Closed("nobody is there".to_owned()));
                }
                client::Effect::Open(_) => {
                    self.sessions += 1;
                    let id = SessionId(self.sessions);
                    self.nves[n].stream = Some((id, VecDeque::new(), VecDeque::new()));
                    self.step(Input::Opened(id, Some(name(n as u64 + 1))));
                    self.client(n, client::Input::Opened);
                }
                client::Effect::Up(up) => {
                    if let Some((_, ups, _)) = &mut self.nves[n].stream {
                        ups.push_back(up);
                    }
                }
                client::Effect::Provision(objects) => {
                    self.nves[n].objects = objects.clone();
                    let registry = self.authority.as_ref().map(|it| it.registry().catalogue());
                    let own =
                        objects.all.iter().filter(|(name, _)| matches!(name, ObjectName::Attachment(_)));
                    let keys = own.flat_map(|(_, seen)| {
                        registry.map_or(Vec::new(), |it| it.keys_of(&seen.entry).unwrap())
                    });
                    let attached = keys.map(|key| (key, bound(n as u64 + 1))).collect();
                    self.client(n, client::Input::Attached(attached));
                    self.client(n, client::Input::Provisioned(objects.known.clone(), Vec::new()));
                }
                client::Effect::Moves(moves) => self.nves[n].moves = moves,
                client::Effect::Blocks(_)
                | client::Effect::Found(..)
                | client::Effect::Own(..)
                | client::Effect::Groups(_) => {}
                client::Effect::Apply { .. } => self.nves[n].applying += 1,
                client::Effect::Compare => self.client(n, client::Input::Compared(Vec::new())),
                client::Effect::Close => {
                    if let Some((session, ..)) = self.nves[n].stream.take() {
                        self.step(Input::Closed(session));
                    }
                }
                client::Effect::Tell(_) => {}
            }
        }
    }

    /// The commit under way ends.
    pub(super) fn commits(&mut self, is_done: bool) -> bool {
        let Some(commit) = self.commit.take() else { return false };
        if is_done && !commit.is_empty() {
            self.store.commit(commit.revision, &commit.transaction).unwrap();
        }
        self.step(Input::Committed(is_done.then_some(()).ok_or("refused".to_owned())));
        true
    }

    /// One message of each NVE arrives, each way. Gives whether there was one.
    pub(super) fn deliver(&mut self, n: usize) -> bool {
        let nve = &mut self.nves[n];
        let is_applied = nve.applying > 0 && !nve.is_slow;
        if is_applied {
            nve.applying -= 1;
            self.client(n, client::Input::Applied);
        }
        let Some((id, ups, downs)) = &mut self.nves[n].stream else { return is_applied };
        let (id, up, down) = (*id, ups.pop_front(), downs.pop_front());
        let is_some = up.is_some() || down.is_some();
        if let Some(up) = up {
            self.step(Input::Up(id, read_up(write_up(up)).unwrap()));
        }
        if let Some(down) = down {
            let weight = down.weight();
            self.client(n, client::Input::Down(read_down(write_down(down)).unwrap()));
            self.step(Input::Ready(id, weight));
        }
        is_some || is_applied
    }

    pub(super) fn tick(&mut self, passed_ms: u64) {
        self.now_ms += passed_ms;
        self.step(Input::Tick);
        (0..self.nves.len()).for_each(|n| self.client(n, client::Input::Tick));
    }

    /// Everything that is on its way arrives.
    pub(super) fn settle(&mut self) {
        for _ in 0..2 {
            // An NVE says what it applied at most so often.
            self.tick(60);
            loop {
                let mut is_some = self.commits(true);
                (0..self.nves.len()).for_each(|n| is_some |= self.deliver(n));
                if !is_some && self.authority.as_ref().is_none_or(|it| it.due_ms().is_none()) {
                    break;
                }
                self.step(Input::Due);
            }
        }
    }

    /// Time passes, and what is on its way arrives.
    pub(super) fn wait(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            // As long as a process may stand still.
            self.tick((until_ms - self.now_ms).min(1_000));
            self.settle();
        }
    }

    /// What an operator was answered, if that was done.
    pub(super) fn answer(&mut self, ticket: u64) -> Option<(u64, u64)> {
        self.answers.remove(&ticket)?.ok()
    }

    /// An NVE may have so many identifiers from now on.
    pub(super) fn most_identifiers(&mut self, nve: u64, most: usize) {
        let mut known = known();
        known.get_mut(&name(nve)).unwrap().max_identifiers = most;
        let sessions = sessions(60_000, 10_000);
        let (rules, moves) = (rules(), MoveRules::default());
        let configured = Configured { nves: known, rules, moves, sessions, ..Configured::default() };
        self.step(Input::Reconfigured(configured));
        self.settle();
    }

    /// An operator asks, and is answered.
    pub(super) fn ask(&mut self, input: impl FnOnce(Ticket) -> Input) -> Result<(u64, u64), String> {
        self.tickets += 1;
        let ticket = self.tickets;
        self.step(input(Ticket(ticket)));
        self.settle();
        self.answers.remove(&ticket).unwrap()
    }

    pub(super) fn request(&mut self, from: u64, to: u64, mode: Mode) -> MoveRequest {
        self.tokens = self.tokens.wrapping_add(1);
        MoveRequest {
            attachment: "vm1".to_owned(),
            from: name(from),
            to: name(to),
            port: "b".to_owned(),
            vlan: Some(22),
            mode,
            in_flight: None,
            token: Token([self.tokens; TOKEN_BYTES]),
        }
    }

    pub(super) fn begin(&mut self, from: u64, to: u64, mode: Mode) -> Result<MoveId, String> {
        let request = self.request(from, to, mode);
        let begun = self.ask(|ticket| Input::Move(ticket, "alice".to_owned(), request));
        begun.map(|(id, _)| MoveId(id))
    }

    pub(super) fn says(&mut self, fact: Fact) -> Result<(u64, u64), String> {
        let said = MoveCommand { which: Which::Of("vm1".to_owned(), None), fact };
        self.ask(|ticket| Input::MoveSaid(ticket, "alice".to_owned(), said))
    }

    /// A node sees something of a move.
    pub(super) fn sees(&mut self, nve: u64, id: MoveId, sight: Sight) {
        self.client(nve as usize - 1, client::Input::Move(id, sight));
        self.settle();
    }

    /// An NVE says something, whatever its client thinks of that.
    pub(super) fn lies(&mut self, nve: u64, id: MoveId, what: MoveWhat) {
        let (session, ..) = self.nves[nve as usize - 1].stream.as_ref().unwrap();
        let session = *session;
        self.step(Input::Up(session, Up::Move(MoveReport { id, what, state: None })));
        self.settle();
    }

    /// A hot move from one to the other, as far as this state.
    pub(super) fn comes_to(&mut self, from: u64, to: u64, state: MoveState) -> MoveId {
        let id = self.begin(from, to, Mode::Hot).unwrap();
        let slow = |world: &mut World, is_slow| world.nves.iter_mut().for_each(|nve| nve.is_slow = is_slow);
        if state == MoveState::Preparing {
            return id;
        }
        self.sees(from, id, Sight::Ready);
        self.sees(to, id, Sight::Ready);
        match state {
            MoveState::Preparing | MoveState::Prepared => {}
            MoveState::Aborting => _ = self.says(Fact::Abort).unwrap(),
            MoveState::Detached => self.sees(from, id, Sight::Detached(Sign::Carrier)),
            MoveState::Spreading | MoveState::Draining => {
                self.sees(from, id, Sight::Detached(Sign::Carrier));
                slow(self, true);
                self.sees(to, id, Sight::Arrived(Sign::GratuitousArp));
                if state == MoveState::Draining {
                    slow(self, false);
                    self.settle();
                }
            }
        }
        assert_eq!(self.state(id), Some(state));
        id
    }

    pub(super) fn state(&self, id: MoveId) -> Option<MoveState> {
        self.at().moves().get(id).map(|one| one.state)
    }

    /// What both NVEs were told of a move.
    pub(super) fn told(&self, nve: u64, id: MoveId) -> Option<&MoveTold> {
        self.nves[nve as usize - 1].moves.get(&id)
    }

    /// Who has both identifiers of vm1.
    pub(super) fn owners(&self) -> [Option<String>; 2] {
        keys().map(|key| {
            let record = self.at().registry().record(key);
            record.filter(|record| record.is_held()).map(|record| record.owner.to_string())
        })
    }

    /// vm1 is at this NVE and nowhere else, and nothing is left of any move.
    pub(super) fn assert_clean(&mut self, nve: u64) {
        self.wait(70_000);
        assert_eq!(self.owners(), [Some(name(nve)), Some(name(nve))]);
        let registry = self.at().registry();
        let places: Vec<&str> = registry
            .catalogue()
            .after(None)
            .filter(|(key, ..)| matches!(key.name, ObjectName::Attachment(_)))
            .map(|(key, ..)| key.nve.as_str())
            .collect();
        assert_eq!(places, [name(nve)]);
        assert_eq!((registry.moves().iter().count(), registry.catalogue().expected_count()), (0, 0));
        assert_eq!(registry.counts().0, 2);
        let stored = self.store.load().unwrap();
        assert_eq!((stored.moves.len(), stored.objects.len(), stored.records.len()), (0, 2, 2));
        for (n, sim) in self.nves.iter().enumerate() {
            assert_eq!(sim.moves.len(), 0, "nve{}", n + 1);
            let has =
                |kind: fn(&ObjectName) -> bool| sim.objects.all.iter().filter(|(name, _)| kind(name)).count();
            let is_there = usize::from(n as u64 + 1 == nve);
            let attachments = has(|name| matches!(name, ObjectName::Attachment(_)));
            let networks = has(|name| matches!(name, ObjectName::Network(_)));
            assert_eq!((attachments, networks), (is_there, is_there), "nve{}", n + 1);
        }
    }
}

/// The NVEs, each with an end of tunnels.
fn known() -> HashMap<String, Nve> {
    let mut known = nves(NVES);
    known.values_mut().for_each(|nve| nve.vtep = Some("192.0.2.1".parse().unwrap()));
    known
}

/// All locators of an NVE in the domain, as its node registers them.
fn bound(nve: u64) -> Binding {
    let mut all: Vec<Choice> =
        (0..2).map(|n| Choice { locator: locator(nve, n), priority: 0, weight: 1 }).collect();
    all.sort_unstable();
    Binding { choices: all, mac: Mac::from_bits(0x0200_0000_000a) }
}

/// The identifiers of vm1.
pub(super) fn keys() -> [Key; 2] {
    let key = |identifier: Identifier| Key { sir_prefix: SIR, identifier: identifier.0 };
    [key(Identifier::tenant_ipv4(1, 0x0a01_0005)), key(Identifier::tenant_ipv6(1, 5))]
}
