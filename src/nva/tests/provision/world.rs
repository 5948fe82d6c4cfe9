//! Three NVEs and an authority whose streams and commits break: what operators want reaches everybody in the end.

use super::*;

/// An authority over a store, three NVEs that take what operators want, and streams that break.
struct World {
    random: u64,
    store: Memory,
    authority: Authority,
    commit: Option<Transaction>,
    clients: Vec<Client>,
    /// The session of each NVE, and what is on its way.
    streams: Vec<Option<Stream>>,
    /// What each node was told, and took over.
    taken: Vec<Arc<Objects>>,
    sessions: u64,
    now_ms: u64,
    answers: usize,
}

/// A session, and what is on its way.
type Stream = (SessionId, VecDeque<Up>, VecDeque<Told>);
type Told = Down<crate::nva::message::Encoded>;

impl World {
    fn new(seed: u64) -> Self {
        let client = |n| Client::new(name(n), 1, 1, seed ^ n, None).provisioned(Arc::default());
        let store = Memory::default();
        let authority = Self::authority(&mut Memory::default());
        World {
            random: seed,
            store,
            authority,
            commit: None,
            clients: (1..=3).map(client).collect(),
            streams: vec![None, None, None],
            taken: vec![Arc::default(); 3],
            sessions: 0,
            now_ms: 0,
            answers: 0,
        }
    }

    fn authority(store: &mut Memory) -> Authority {
        let stored = store.load().unwrap();
        let catalogue = Catalogue::new(rules(), stored.objects);
        let registry =
            Registry::new(known(), stored.records, stored.revision, (0, 0)).with_catalogue(catalogue);
        let settings = with_sessions(settings(1, LIMITS), |sessions| {
            (sessions.lease_ms, sessions.requests_per_second) = (60_000, 1_000);
        });
        Authority::new(settings, registry)
    }

    fn below(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 33) % below
    }

    fn step(&mut self, input: authority::Input) {
        for effect in self.authority.step(self.now_ms, input) {
            match effect {
                authority::Effect::Down(id, down) => {
                    let stream = self.streams.iter_mut().flatten().find(|(session, ..)| *session == id);
                    if let Some((_, _, downs)) = stream {
                        downs.push_back(down);
                    }
                }
                authority::Effect::Close(_, why) => panic!("{why}"),
                authority::Effect::Released(..) => self.answers += 1,
                authority::Effect::Event(_) => {}
                authority::Effect::Left(_) | authority::Effect::Applied(_) => panic!("{effect:?}"),
                authority::Effect::Commit(commit) => self.commit = Some(commit.transaction),
            }
        }
    }

    fn client(&mut self, n: usize, input: client::Input) {
        for effect in self.clients[n].step(self.now_ms, input) {
            match effect {
                client::Effect::Open(_) => {
                    self.sessions += 1;
                    let id = SessionId(self.sessions);
                    self.streams[n] = Some((id, VecDeque::new(), VecDeque::new()));
                    self.step(authority::Input::Opened(id, None));
                    self.client(n, client::Input::Opened);
                }
                client::Effect::Up(up) => {
                    if let Some((_, ups, _)) = &mut self.streams[n] {
                        ups.push_back(up);
                    }
                }
                client::Effect::Provision(objects) => {
                    let known = objects.known.clone();
                    self.taken[n] = objects;
                    // A node that refuses something now and then.
                    let refused = self.taken[n].all.iter().map(|(name, _)| name.clone()).take(n);
                    let refused = refused.map(|name| RefusedEntry { name, why: "no".into() }).collect();
                    self.client(n, client::Input::Provisioned(known, refused));
                }
                client::Effect::Apply { .. } => self.client(n, client::Input::Applied),
                client::Effect::Compare => self.client(n, client::Input::Compared(Vec::new())),
                client::Effect::Close => self.streams[n] = None,
                client::Effect::Tell(_) | client::Effect::Found(..) => {}
                client::Effect::Moves(_)
                | client::Effect::Blocks(_)
                | client::Effect::Own(..)
                | client::Effect::Groups(_) => {}
            }
        }
    }

    fn commit_ends(&mut self, done: bool) {
        let Some(transaction) = self.commit.take() else { return };
        if done {
            let revision = self.store.load().unwrap().revision + 1;
            self.store.commit(revision, &transaction).unwrap();
        }
        self.step(authority::Input::Committed(done.then_some(()).ok_or("refused".to_owned())));
    }

    /// An operator does something, which may be wrong.
    fn operate(&mut self) {
        let names = ["red", "blue", "green"];
        let (a, b) = (self.below(3) as usize, self.below(3) as usize);
        let vnid = a as u32 + 1;
        let change = match self.below(4) {
            0 => {
                let mtu = 1300 + self.below(100);
                network(names[a], vnid, &format!(", mtu: {mtu}"))
            }
            1 => policy(names[a], names[b]),
            _ => {
                let (host, vm) = (1 + self.below(2), self.below(5));
                attachment(
                    &name(host),
                    &format!("vm{vm}"),
                    10 + vm as u32,
                    names[a],
                    &format!("10.{vnid}.0.{}", 5 + vm),
                )
            }
        };
        let change = match self.below(3) {
            0 => delete(change, None),
            1 => set(change, None),
            _ => change,
        };
        self.step(authority::Input::Change(Ticket(1), change.0, change.1));
    }

    fn break_stream(&mut self, n: usize) {
        if let Some((id, ..)) = self.streams[n].take() {
            self.step(authority::Input::Closed(id));
            self.client(n, client::Input::Closed("broken".to_owned()));
        }
    }

    fn deliver(&mut self, n: usize) {
        let Some((id, ups, downs)) = &mut self.streams[n] else { return };
        let id = *id;
        let (up, down) = (ups.pop_front(), downs.pop_front());
        if let Some(up) = up {
            self.step(authority::Input::Up(id, read_up(write_up(up)).unwrap()));
        }
        if let Some(down) = down {
            let weight = down.weight();
            self.client(n, client::Input::Down(read_down(write_down(down)).unwrap()));
            self.step(authority::Input::Ready(id, weight));
        }
    }

    fn tick(&mut self) {
        self.now_ms += 200;
        self.step(authority::Input::Tick);
        (0..3).for_each(|n| self.client(n, client::Input::Tick));
    }
}

#[test]
fn every_nve_has_what_operators_want_in_the_end_whatever_breaks() {
    let (mut committed, mut told) = (0, 0);
    for seed in 1..60 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            let n = world.below(3) as usize;
            match world.below(40) {
                0..6 => world.operate(),
                6..12 => world.commit_ends(true),
                12 => world.commit_ends(false),
                13 => world.break_stream(n),
                14 => {
                    (0..3).for_each(|n| world.break_stream(n));
                    world.commit = None;
                    world.authority = World::authority(&mut world.store);
                }
                15..20 => world.tick(),
                _ => world.deliver(n),
            }
        }
        for _ in 0..400 {
            world.commit_ends(true);
            world.tick();
            (0..20).for_each(|round| world.deliver(round % 3));
        }
        let revision = world.authority.registry().revision();
        committed += revision;
        for n in 0..3 {
            let view = world.authority.registry().view(&name(n as u64 + 1));
            let view: Vec<_> = view.into_iter().map(|seen| (seen.name.clone(), seen)).collect();
            told += view.len();
            let taken = &world.taken[n];
            assert_eq!(*taken.all, view.into_iter().collect(), "seed {seed}, nve{}", n + 1);
            let state = world.authority.nves().find(|nve| nve.name == name(n as u64 + 1)).unwrap();
            let (in_force, refused) = state.provisioned.unwrap();
            assert_eq!(
                (in_force, refused.len()),
                (taken.known.revision, n.min(taken.all.len())),
                "seed {seed}"
            );
            assert!(in_force <= revision);
        }
    }
    assert!(committed > 300 && told > 200, "{committed} {told}");
}

#[test]
fn an_nve_that_does_not_ask_is_told_nothing_and_one_that_breaks_the_order_loses_its_session() {
    let mut world = World::new(1);
    let open = |world: &mut World, id| {
        let mut ends = Vec::new();
        let mut step = |world: &mut World, input| {
            for effect in world.authority.step(0, input) {
                match effect {
                    authority::Effect::Close(_, why) => ends.push(why),
                    authority::Effect::Down(_, Down::Provision(_)) => ends.push("told".into()),
                    _ => {}
                }
            }
        };
        step(world, authority::Input::Opened(SessionId(id), None));
        step(
            world,
            authority::Input::Up(
                SessionId(id),
                Up::Hello {
                    versions: vec![1],
                    nve: name(1),
                    boot: 1,
                    asks: false,
                    digests: false,
                    moves: Modes::default(),
                    groups: false,
                },
            ),
        );
        ends
    };
    assert_eq!(open(&mut world, 71), [""; 0]);
    let said = Up::Provisioned { revision: 1, refused: Vec::new() };
    let effects = world.authority.step(0, authority::Input::Up(SessionId(71), said));
    assert!(
        matches!(&effects[..], [authority::Effect::Event(_), authority::Effect::Close(_, why)] if why == "Provisioned without TakeProvision")
    );
    assert_eq!(open(&mut world, 72), [""; 0]);
    let effects = world.authority.step(0, authority::Input::Up(SessionId(72), Up::Provision));
    let whole = Provision { revision: 0, whole: true, last: true, ..Provision::default() };
    assert_eq!(effects, [authority::Effect::Down(SessionId(72), Down::Provision(whole))]);
    // What it was not told of it does not refuse.
    let refused = vec![RefusedEntry { name: ObjectName::Network("x".into()), why: "\u{1b}[2J".into() }];
    let read = read_up(write_up(Up::Provisioned { revision: 9, refused })).unwrap();
    let Up::Provisioned { refused, .. } = &read else { panic!() };
    assert_eq!(refused[0].why, " [2J");
    let _ = world.authority.step(0, authority::Input::Up(SessionId(72), read));
    let state = world.authority.nves().find(|nve| nve.name == name(1)).unwrap();
    assert_eq!(state.provisioned, Some((0, &[][..])));
    let effects = world.authority.step(0, authority::Input::Up(SessionId(72), Up::Provision));
    let [authority::Effect::Event(_), authority::Effect::Close(_, why)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(why, "a second TakeProvision");
}

#[test]
fn much_comes_in_parts_that_count_together() {
    let mut office = Office::new();
    office.does(network("red", 1, "")).unwrap();
    for vm in 0..250u32 {
        let text = attachment_text(&format!("vm{vm}"), 100 + vm, "red", &format!("10.1.0.{}", 2 + vm));
        // A limit of each kind makes it long.
        let limit = "{per_second: 1000000, burst: 1000000}";
        let kinds = ["arp", "nd", "rarp", "dad", "unknown", "icmp_errors", "copies"];
        let limits = kinds.map(|kind| format!("{kind}: {limit}")).join(", ");
        let text = text.replace("port: a", &format!("port: a, limits: {{{limits}}}"));
        office.does(add("nve1", Entry::attachment(&text))).unwrap();
    }
    let mut provisioning = crate::nva::provision::Provisioning::default();
    let mut parts = Vec::new();
    while let Some(Down::Provision(part)) = provisioning.next("nve1", &office.0) {
        parts.push(part);
    }
    assert!(parts.len() > 1, "{}", parts.len());
    let (first, last) = (parts.first().unwrap(), parts.last().unwrap());
    assert!(first.whole && last.last && parts.iter().filter(|part| part.last).count() == 1);
    assert_eq!(parts.iter().map(|part| part.objects.len()).sum::<usize>(), 251);
}

#[test]
fn one_change_is_judged_in_a_step_and_the_next_one_at_once() {
    let mut authority = World::authority(&mut Memory::default());
    let answers = |effects: Vec<authority::Effect>| {
        effects.iter().filter(|it| matches!(it, authority::Effect::Released(_, Err(_)))).count()
    };
    let (key, change) = network("red", 1, "");
    let _ = authority.step(0, authority::Input::Change(Ticket(1), key, change));
    for ticket in 2..5 {
        let (key, change) = delete(network("none", 1, ""), None);
        assert_eq!(answers(authority.step(0, authority::Input::Change(Ticket(ticket), key, change))), 0);
    }
    assert_eq!(authority.due_ms(), None);
    assert_eq!(answers(authority.step(0, authority::Input::Committed(Ok(())))), 1);
    for left in [1, 0] {
        assert_eq!(authority.due_ms(), Some(0));
        assert_eq!(answers(authority.step(0, authority::Input::Due)), 1);
        assert_eq!(authority.due_ms().is_some(), left > 0);
    }
}
