use super::*;
use crate::config::Entry;
use crate::ila::Locator;
use crate::mapping::{Departure, Presence, TunnelEnds, Tunnels};
use crate::nva::message::{InFlight, Mode, MoveState, Place, Sign, Token};
use crate::nva::model::Known;
use crate::table::PortId;
use std::net::IpAddr;

const SIR: u64 = 0x2001_0db8_dddd_0000;
const OWN: u128 = 0xfd00_000f_0001_0000_0000_0000_0000_0001;
const PEER: u128 = 0xfd00_000f_0002_0000_0000_0000_0000_0001;
const ENTRY: &str = r#"{"name": "vm", "port": "access0", "mac": "02:00:00:00:00:01", "identifiers": ["2001:db8:dddd:0:2000::1"]}"#;
const FILE: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64", vni: 7}]
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
ports:
  - {name: fabric0, device: net_null0, role: fabric, addresses: ["fd00:f:1::1/64"]}
  - {name: access0, device: net_null1, role: access}
"#;

fn config(attached: bool) -> Arc<Config> {
    let attachment = if attached { format!("attachments: [{ENTRY}]\n") } else { String::new() };
    Arc::new(Config::parse(&format!("{FILE}{attachment}"), "t.yaml").unwrap())
}

fn entry() -> Arc<Entry> {
    Arc::new(Entry::attachment(ENTRY).unwrap())
}

fn wanted(there: bool, revision: u64) -> Arc<Objects> {
    let mut objects = Objects { known: Known { epoch: vec![1], revision }, ..Objects::default() };
    if there {
        let name = ObjectName::Attachment("vm".to_owned());
        let seen = Seen { name: name.clone(), sequence: 1, sir_prefix: 0, entry: entry() };
        let mut all = (*objects.all).clone();
        all.extend([(name, seen)]);
        objects.all = Arc::new(all);
    }
    Arc::new(objects)
}

fn told(role: Role, state: MoveState) -> MoveTold {
    let expected = role == Role::New && state.is_before_commit();
    MoveTold {
        id: MoveId(9),
        sequence: 1,
        state,
        role,
        attachment: "vm".to_owned(),
        entry: expected.then(entry),
        keys: vec![Key { sir_prefix: SIR, identifier: 0x2000_0000_0000_0001 }],
        peer: "other".to_owned(),
        peer_locators: vec![Place { sir_prefix: SIR, locator: Locator(0xfd00_0001_0000_0002) }],
        peer_vtep: Some(IpAddr::from(PEER.to_be_bytes())),
        vtep: Some(IpAddr::from(OWN.to_be_bytes())),
        peer_done: false,
        mode: Mode::Hot,
        in_flight: InFlight::Auto,
        token: expected.then_some(Token([7; 16])),
        left_ms: Some(60_000),
        overdue: false,
        idle_ms: 2_000,
    }
}

fn at() -> AttachmentKey {
    AttachmentKey { port: PortId(1), vlan: 0, mac: "02:00:00:00:00:01".parse().unwrap() }
}

fn tunnels() -> Tunnels {
    Tunnels { to: OWN, from: vec![PEER], copies: false }
}

fn departed(until_ms: u64, in_flight: crate::mapping::InFlight, may_send: bool) -> Presence {
    Presence::Departed(Departure {
        locators: vec![(0, Locator(0xfd00_0001_0000_0002))],
        tunnel: Some(TunnelEnds { from: OWN, to: PEER }),
        in_flight: Some(in_flight),
        until_ms,
        may_send,
    })
}

/// A node at the authority's word: its part, its time, and when it asked whether who moves is there.
struct Node(Parts, u64, Vec<u64>);

impl Node {
    fn new(here: bool) -> Self {
        let mut node = Node(Parts::new(wanted(here, 1)), 0, Vec::new());
        assert_eq!(node.learns(Input::Config(config(here))), []);
        node
    }

    fn learns(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.0.step(self.1, input);
        let (asked, rest): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Probe(_)));
        assert!(asked.iter().all(|effect| *effect == Effect::Probe(at())));
        self.2.extend(asked.iter().map(|_| self.1));
        if !asked.is_empty() {
            // The control thread has it asked at once.
            assert_eq!(self.0.step(self.1, Input::Asked(at(), true)), []);
        }
        rest
    }

    fn is_told(&mut self, role: Role, state: MoveState) -> Vec<Effect> {
        let told = told(role, state);
        self.learns(Input::Told(Arc::new(BTreeMap::from([(told.id, told)]))))
    }

    fn in_force(&mut self) -> Vec<Effect> {
        self.learns(Input::InForce(at(), Ok(())))
    }
}

fn says(sight: Sight) -> Vec<Effect> {
    vec![Effect::Say(MoveId(9), sight)]
}

fn has_the_entry(effects: &[Effect]) -> bool {
    let [Effect::Objects(objects), ..] = effects else { panic!("{effects:?}") };
    objects.all.contains_key(&ObjectName::Attachment("vm".to_owned()))
}

#[test]
fn what_is_expected_is_never_here_before_it_arrives() {
    let mut node = Node::new(false);
    let first = node.is_told(Role::New, MoveState::Preparing);
    assert_eq!(first, [Effect::Presence(at(), Presence::Expected(tunnels()))]);
    // Its entry comes into force once every worker knows that it is not here.
    assert!(has_the_entry(&node.in_force()));
    assert_eq!(node.0.not_here().len(), 1);
    assert_eq!(node.learns(Input::Config(config(true))), says(Sight::Ready));
    assert_eq!(node.is_told(Role::New, MoveState::Prepared), []);
    assert_eq!(node.is_told(Role::New, MoveState::Detached), []);
    let arrived = node.learns(Input::Seen(at(), path::Sign::Reverse));
    // Nobody else serves it: what was held is delivered, and its identifiers are not the node's yet.
    let here = Effect::Presence(at(), Presence::Here(Tunnels { copies: true, ..tunnels() }));
    assert_eq!(arrived, [here, Effect::Say(MoveId(9), Sight::Arrived(Sign::Rarp))]);
    assert_eq!(node.0.not_here().len(), 1);
    assert_eq!(node.learns(Input::Seen(at(), path::Sign::Frame)), []);
    // Only the authority makes them so. From then on copies to groups come here.
    let committed = node.is_told(Role::New, MoveState::Spreading);
    assert_eq!(committed, [Effect::Presence(at(), Presence::Here(tunnels()))]);
    assert!(node.0.not_here().is_empty());
    // It never goes, whichever word comes first.
    assert_eq!(node.in_force(), []);
    assert!(has_the_entry(&node.learns(Input::Wanted(wanted(true, 2)))));
    assert_eq!(node.is_told(Role::New, MoveState::Draining), []);
    assert_eq!(node.learns(Input::Told(Arc::default())), []);
    // What is in the tunnel still comes out of it.
    node.1 = 1_999;
    assert_eq!(node.learns(Input::Tick(0)), []);
    node.1 = 2_000;
    assert_eq!(node.learns(Input::Tick(0)), [Effect::Presence(at(), Presence::default())]);
}

#[test]
fn what_has_not_left_its_old_node_is_here_only_by_the_word_of_the_authority() {
    let mut node = Node::new(false);
    let _ = node.is_told(Role::New, MoveState::Preparing);
    let _ = node.in_force();
    let _ = node.learns(Input::Config(config(true)));
    assert_eq!(node.is_told(Role::New, MoveState::Prepared), []);
    assert_eq!(node.learns(Input::Seen(at(), path::Sign::Reverse)), says(Sight::Arrived(Sign::Rarp)));
    let committed = node.is_told(Role::New, MoveState::Spreading);
    assert_eq!(committed, [Effect::Presence(at(), Presence::Here(tunnels()))]);
}

#[test]
fn a_mute_one_is_asked_while_it_is_expected_and_its_link_is_up_and_its_answer_is_its_arrival() {
    let mut node = Node::new(false);
    let _ = node.is_told(Role::New, MoveState::Preparing);
    let _ = node.in_force();
    let _ = node.learns(Input::Config(config(true)));
    let _ = node.learns(Input::Link(PortId(1), false));
    assert_eq!(node.is_told(Role::New, MoveState::Prepared), []);
    assert!(node.2.is_empty(), "nobody hears it");
    let _ = node.learns(Input::Link(PortId(1), true));
    assert_eq!(std::mem::take(&mut node.2), [0]);
    node.1 = 100;
    let _ = node.is_told(Role::New, MoveState::Detached);
    for now_ms in (100..300).step_by(10) {
        node.1 = now_ms;
        assert_eq!(node.learns(Input::Tick(0)), []);
    }
    assert_eq!(std::mem::take(&mut node.2), [100, 150, 250]);
    let arrived = node.learns(Input::Seen(at(), path::Sign::Answer));
    let here = Effect::Presence(at(), Presence::Here(Tunnels { copies: true, ..tunnels() }));
    assert_eq!(arrived, [here, Effect::Say(MoveId(9), Sight::Arrived(Sign::Probe))]);
    node.1 = 9_000;
    let _ = node.learns(Input::Tick(0));
    assert!(node.2.is_empty(), "it is there");
}

#[test]
fn who_is_about_to_leave_and_answers_no_more_has_left_if_that_is_configured() {
    use crate::mapping::InFlight::Auto;
    for (questions, answers, leaves) in [(0, true, false), (3, false, false), (3, true, true)] {
        let text = format!("{FILE}attachments: [{ENTRY}]\nmoves: {{silence_questions: {questions}}}\n");
        let mut node = Node::new(true);
        let _ = node.learns(Input::Config(Arc::new(Config::parse(&text, "t.yaml").unwrap())));
        let _ = node.is_told(Role::Old, MoveState::Preparing);
        let _ = node.is_told(Role::Old, MoveState::Prepared);
        if answers {
            let _ = node.learns(Input::Answered(at()));
        }
        let mut effects = Vec::new();
        for now_ms in (50..20_000).step_by(50) {
            node.1 = now_ms;
            effects.extend(node.learns(Input::Tick(0)));
        }
        let expected = match leaves {
            true => vec![
                Effect::Presence(at(), departed(600_000, Auto, true)),
                Effect::Say(MoveId(9), Sight::Detached(Sign::Silence)),
            ],
            false => vec![],
        };
        assert_eq!(effects, expected, "{questions} {answers}");
        assert_eq!(node.2.is_empty(), questions == 0);
        if leaves {
            assert!(node.2.len() < 8 && node.2.last().is_some_and(|last| *last < 3_000), "{:?}", node.2);
        }
    }
}

#[test]
fn what_came_and_is_deleted_before_its_move_is_over_goes_at_once() {
    for state in [MoveState::Spreading, MoveState::Draining] {
        let mut node = Node::new(false);
        let _ = node.is_told(Role::New, MoveState::Preparing);
        let _ = node.in_force();
        let _ = node.learns(Input::Config(config(true)));
        let _ = node.is_told(Role::New, MoveState::Spreading);
        let _ = node.in_force();
        // The word that operators want it here may come late: until then it stays.
        assert!(has_the_entry(&node.learns(Input::Wanted(wanted(false, 2)))));
        assert!(has_the_entry(&node.learns(Input::Wanted(wanted(true, 3)))));
        let _ = node.is_told(Role::New, state);
        assert!(!has_the_entry(&node.learns(Input::Wanted(wanted(false, 4)))), "{state:?}");
    }
}

#[test]
fn what_leaves_gets_its_packets_sent_on_until_they_stop() {
    use crate::mapping::InFlight::Auto;
    let mut node = Node::new(true);
    assert_eq!(node.is_told(Role::Old, MoveState::Preparing), says(Sight::Ready));
    assert_eq!(node.is_told(Role::Old, MoveState::Prepared), []);
    let left = node.is_told(Role::Old, MoveState::Detached);
    assert_eq!(left, [Effect::Presence(at(), departed(600_000, Auto, true))]);
    assert_eq!(node.in_force(), says(Sight::Ready));
    // Operators want it elsewhere. Here it stays, for what is in flight.
    assert!(has_the_entry(&node.learns(Input::Wanted(wanted(false, 2)))));
    // It is the other's: what it sends from here is its no more.
    let spreads = node.is_told(Role::Old, MoveState::Spreading);
    assert_eq!(spreads, [Effect::Presence(at(), departed(600_000, Auto, false))]);
    assert_eq!(node.in_force(), []);
    assert_eq!(node.0.not_here().len(), 1);
    node.1 = 1_000;
    let drains = node.is_told(Role::Old, MoveState::Draining);
    assert_eq!(drains, [Effect::Presence(at(), departed(61_000, Auto, false))]);
    assert_eq!(node.in_force(), []);
    node.1 = 2_500;
    assert_eq!(node.learns(Input::Tick(10)), []);
    node.1 = 4_400;
    assert_eq!(node.learns(Input::Tick(10)), []);
    node.1 = 4_500;
    assert_eq!(node.learns(Input::Tick(10)), says(Sight::Drained));
    assert!(!has_the_entry(&node.learns(Input::Told(Arc::default()))));
}

#[test]
fn what_loses_its_link_has_left_if_it_was_about_to() {
    use crate::mapping::InFlight::Auto;
    let mut node = Node::new(true);
    assert_eq!(node.is_told(Role::Old, MoveState::Preparing), says(Sight::Ready));
    assert_eq!(node.is_told(Role::Old, MoveState::Prepared), []);
    // That of another port says nothing of it, nor one that comes back at once.
    assert_eq!(node.learns(Input::Link(PortId(0), false)), []);
    assert_eq!(node.learns(Input::Link(PortId(1), false)), []);
    node.1 = 249;
    assert_eq!(node.learns(Input::Tick(0)), []);
    assert_eq!(node.learns(Input::Link(PortId(1), true)), []);
    node.1 = 500;
    assert_eq!(node.learns(Input::Link(PortId(1), false)), []);
    node.1 = 750;
    let left = node.learns(Input::Tick(0));
    let departed = Effect::Presence(at(), departed(600_000, Auto, true));
    assert_eq!(left, [departed, Effect::Say(MoveId(9), Sight::Detached(Sign::Carrier))]);
}

#[test]
fn what_comes_back_while_its_first_move_drains_is_decided_by_the_second_alone() {
    let mut node = Node::new(true);
    let both = |node: &mut Node, first, second| {
        let first = told(Role::Old, first);
        let second = MoveTold { id: MoveId(10), ..told(Role::New, second) };
        node.learns(Input::Told(Arc::new(BTreeMap::from([(first.id, first), (second.id, second)]))))
    };
    let _ = node.is_told(Role::Old, MoveState::Detached);
    let _ = node.in_force();
    let _ = node.learns(Input::Wanted(wanted(false, 2)));
    // Not everybody knows yet where it is.
    assert_eq!(node.is_told(Role::Old, MoveState::Spreading).len(), 1);
    assert_eq!(node.in_force(), []);
    assert!(has_the_entry(&both(&mut node, MoveState::Spreading, MoveState::Preparing)));
    let expected =
        [Effect::Presence(at(), Presence::Expected(tunnels())), Effect::Say(MoveId(9), Sight::Drained)];
    assert_eq!(both(&mut node, MoveState::Draining, MoveState::Preparing), expected);
    let ready = [Effect::Say(MoveId(10), Sight::Ready)];
    assert_eq!(node.in_force(), ready);
    assert_eq!(node.0.not_here().len(), 1);
    // The first one is over, and says no more.
    let second = |state| MoveTold { id: MoveId(10), ..told(Role::New, state) };
    let alone = |one: MoveTold| Input::Told(Arc::new(BTreeMap::from([(one.id, one)])));
    assert_eq!(node.learns(alone(second(MoveState::Detached))), []);
    let here = node.learns(alone(second(MoveState::Spreading)));
    assert_eq!(here, [Effect::Presence(at(), Presence::Here(tunnels()))]);
    assert!(node.0.not_here().is_empty());
}

#[test]
fn what_does_not_arrive_goes_back_with_what_was_held() {
    use crate::mapping::InFlight::Auto;
    let mut new = Node::new(false);
    let _ = new.is_told(Role::New, MoveState::Preparing);
    let _ = new.in_force();
    let _ = new.learns(Input::Config(config(true)));
    // What is held goes back when the old node takes it.
    assert_eq!(new.is_told(Role::New, MoveState::Aborting), []);
    let done = MoveTold { peer_done: true, ..told(Role::New, MoveState::Aborting) };
    let back = new.learns(Input::Told(Arc::new(BTreeMap::from([(done.id, done)]))));
    assert_eq!(back, [Effect::Presence(at(), departed(60_000, Auto, false))]);
    let undone = new.in_force();
    assert!(!has_the_entry(&undone));
    assert_eq!(undone[1..], says(Sight::Drained));
    assert_eq!(new.learns(Input::Told(Arc::default())), []);
    // It is to come again at once: not before its entry is out of force, which would take along what is said of it.
    assert_eq!(new.is_told(Role::New, MoveState::Preparing), []);
    assert_eq!(new.learns(Input::Tick(0)), []);
    let again = new.learns(Input::Config(config(false)));
    assert_eq!(again, [Effect::Presence(at(), Presence::Expected(tunnels()))]);
    assert!(has_the_entry(&new.in_force()));
    assert_eq!(new.learns(Input::Config(config(true))), says(Sight::Ready));

    let mut old = Node::new(true);
    let _ = old.is_told(Role::Old, MoveState::Detached);
    let _ = old.in_force();
    let back = old.is_told(Role::Old, MoveState::Aborting);
    assert_eq!(back, [Effect::Presence(at(), Presence::Here(tunnels()))]);
    assert_eq!(old.in_force(), says(Sight::Drained));
    assert_eq!(old.learns(Input::Told(Arc::default())), []);
    old.1 = 2_000;
    assert_eq!(old.learns(Input::Tick(0)), [Effect::Presence(at(), Presence::default())]);
}

#[test]
fn what_arrives_while_nobody_can_say_so_is_here_after_a_second() {
    let mut node = Node::new(false);
    let _ = node.is_told(Role::New, MoveState::Prepared);
    let _ = node.in_force();
    node.1 = 100;
    assert_eq!(node.learns(Input::Tick(0)), []);
    assert_eq!(node.learns(Input::Seen(at(), path::Sign::Frame)), says(Sight::Arrived(Sign::Frame)));
    node.1 = 1_099;
    assert_eq!(node.learns(Input::Tick(0)), []);
    node.1 = 1_100;
    let here = Presence::Here(Tunnels { copies: true, ..tunnels() });
    assert_eq!(node.learns(Input::Tick(0)), [Effect::Presence(at(), here)]);
    // It stays so until the authority says what is. Then copies to groups come here.
    node.1 = 9_000;
    let committed = node.is_told(Role::New, MoveState::Spreading);
    assert_eq!(committed, [Effect::Presence(at(), Presence::Here(tunnels()))]);
}

#[test]
fn what_cannot_be_is_said_with_the_way_out() {
    let mut node = Node::new(false);
    let _ = node.is_told(Role::New, MoveState::Preparing);
    let why = "domain tasks has no VNI".to_owned();
    let refused = node.learns(Input::InForce(at(), Err(why.clone())));
    assert_eq!(refused.last(), Some(&Effect::Say(MoveId(9), Sight::Failed(why))));

    let mut node = Node::new(false);
    let mut elsewhere = told(Role::New, MoveState::Preparing);
    elsewhere.vtep = Some("fd00:9::9".parse().unwrap());
    let effects = node.learns(Input::Told(Arc::new(BTreeMap::from([(MoveId(9), elsewhere)]))));
    let Some(Effect::Say(_, Sight::Failed(why))) = effects.last() else { panic!("{effects:?}") };
    assert!(why.contains("fd00:9::9") && why.contains("nves[].vtep"), "{why}");

    // What refuses the entry may still be on its way.
    let mut node = Node::new(false);
    let _ = node.is_told(Role::New, MoveState::Preparing);
    let _ = node.in_force();
    let name = ObjectName::Attachment("vm".to_owned());
    let refused = vec![RefusedEntry { name, why: "no such network".to_owned() }];
    assert_eq!(node.learns(Input::Refused(refused.clone())), []);
    assert_eq!(node.0.of_operators(refused), []);
    node.1 = 4_000;
    let failed = node.learns(Input::Tick(0));
    assert_eq!(failed, says(Sight::Failed("no such network".to_owned())));
}

/// The parts in moves of a node that starts again so many milliseconds after it ended, and what is in force from the
/// beginning.
fn started_again(
    mut node: Node,
    after_ms: u64,
    wanted: Arc<Objects>,
) -> (Node, Vec<(AttachmentKey, Presence)>, Arc<Objects>) {
    const BEGAN_MS: u64 = 1_700_000_000_000;
    let kept = node.0.take_kept(BEGAN_MS).unwrap();
    assert!(kept.iter().all(|one| one.told.token.is_none()), "a token is not for the disk");
    assert_eq!(node.0.take_kept(BEGAN_MS), None);
    let unix_ms = BEGAN_MS + node.1 + after_ms;
    let mut again = Node(Parts::new(wanted), 0, Vec::new());
    let (presences, objects) = again.0.resume(&config(false), kept, (0, unix_ms));
    (again, presences, objects)
}

#[test]
fn design_6_a_node_that_starts_in_the_middle_of_a_move_knows_its_part_at_once_and_the_time_left() {
    use crate::mapping::InFlight::Auto;
    let name = ObjectName::Attachment("vm".to_owned());
    // What is expected is expected, whoever answers, and its entry is in force.
    for state in [MoveState::Preparing, MoveState::Prepared, MoveState::Detached] {
        let mut node = Node::new(false);
        let _ = node.is_told(Role::New, state);
        let _ = node.in_force();
        let (again, presences, objects) = started_again(node, 5_000, wanted(false, 1));
        assert_eq!(presences, [(at(), Presence::Expected(tunnels()))], "{state:?}");
        assert!(objects.all.contains_key(&name));
        assert_eq!(again.0.told_of()[&MoveId(9)].state, state);
        assert_eq!(again.0.not_here().len(), 1);
    }
    // What has left is sent on, also once operators want it elsewhere, and no longer than before.
    let mut node = Node::new(true);
    for state in [MoveState::Preparing, MoveState::Prepared, MoveState::Detached] {
        let _ = node.is_told(Role::Old, state);
        let _ = node.in_force();
    }
    let _ = node.learns(Input::Wanted(wanted(false, 2)));
    node.1 = 1_000;
    let _ = node.is_told(Role::Old, MoveState::Draining);
    node.1 = 2_000;
    let (mut again, presences, objects) = started_again(node, 20_000, wanted(false, 2));
    assert_eq!(presences, [(at(), departed(39_000, Auto, false))]);
    assert!(objects.all.contains_key(&name));
    // It says what it said before, and is told the end of it.
    assert_eq!(again.learns(Input::Config(config(true))), []);
    again.1 = 2_100;
    assert_eq!(again.learns(Input::Tick(0)), says(Sight::Drained));
    assert!(!has_the_entry(&again.learns(Input::Told(Arc::default()))));
    // What came is here, without a word of the authority.
    let mut node = Node::new(false);
    let _ = node.is_told(Role::New, MoveState::Prepared);
    let _ = node.in_force();
    let _ = node.learns(Input::Seen(at(), path::Sign::Frame));
    node.1 = 1_500;
    let _ = node.learns(Input::Tick(0));
    let (mut again, presences, _) = started_again(node, 100, wanted(false, 1));
    assert_eq!(presences, [(at(), Presence::Here(Tunnels { copies: true, ..tunnels() }))]);
    assert_eq!(again.learns(Input::Config(config(true))), says(Sight::Arrived(Sign::Frame)));
}

#[test]
fn what_is_in_force_of_an_earlier_order_is_not_taken_for_the_last_one() {
    let mut node = Node::new(true);
    let _ = node.is_told(Role::Old, MoveState::Detached);
    // It stays, and leaves again, before the tables know of either.
    let _ = node.is_told(Role::Old, MoveState::Aborting);
    let again = MoveTold { id: MoveId(10), ..told(Role::Old, MoveState::Detached) };
    let _ = node.learns(Input::Told(Arc::new(BTreeMap::from([(again.id, again)]))));
    assert_eq!((node.in_force(), node.in_force()), (Vec::new(), Vec::new()));
    assert_eq!(node.in_force(), [Effect::Say(MoveId(10), Sight::Ready)]);
}

#[test]
fn a_clock_that_was_set_back_makes_no_time_longer() {
    use crate::mapping::InFlight::Auto;
    let mut node = Node::new(true);
    let _ = node.is_told(Role::Old, MoveState::Detached);
    let _ = node.is_told(Role::Old, MoveState::Draining);
    let kept = node.0.take_kept(1_700_000_000_000).unwrap();
    let mut again = Node(Parts::new(wanted(true, 1)), 0, Vec::new());
    let (presences, _) = again.0.resume(&config(false), kept, (0, 1_000));
    assert_eq!(presences, [(at(), departed(60_000, Auto, false))]);
}

#[test]
fn a_move_that_is_over_is_kept_no_longer() {
    let mut node = Node::new(true);
    assert_eq!(node.0.take_kept(0), None);
    let _ = node.is_told(Role::Old, MoveState::Preparing);
    assert_eq!(node.0.take_kept(0).unwrap().len(), 1);
    let _ = node.learns(Input::Tick(0));
    assert_eq!(node.0.take_kept(0), None);
    let _ = node.learns(Input::Told(Arc::default()));
    assert_eq!(node.0.take_kept(0), Some(Vec::new()));
}
