//! Laws of moves: every transition, everything said twice, late or never, an authority that dies in each state, two moves
//! at once, and NVEs that lie.

mod mended;
mod places;
mod several;
mod words;
mod world;

use super::provision::{attachment, delete, network, rules};
use super::*;
use crate::config::ObjectName;
use crate::ila::Identifier;
use crate::net::Mac;
use crate::nva::authority::{Authority, Commit, Effect, Input, LIMITS, SessionId, Ticket};
use crate::nva::catalogue::Catalogue;
use crate::nva::client::{self, Client, NodeMoves, Objects, Sight};
use crate::nva::codec::{read_down, read_up, write_down, write_up};
use crate::nva::event::{Event, Kind};
use crate::nva::message::{
    Down, Encoded, InFlight, Mode, MoveId, MoveReport, MoveState, MoveTold, MoveWhat, Role, Sign, Token, Up,
};
use crate::nva::mobility::{Fact, MoveRules, TOKEN_BYTES};
use crate::nva::model::Binding;
use crate::nva::registry::moving::{MoveCommand, MoveRequest, Which};
use crate::nva::registry::{FreezeRules, Quotas, Registry};
use crate::nva::store::{Memory, Store, Stored};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use world::{World, keys};

const BEFORE_ARRIVAL: [MoveState; 3] = [MoveState::Preparing, MoveState::Prepared, MoveState::Detached];

#[test]
fn vmm_7_a_hot_move_goes_through_all_states_and_leaves_nothing_behind() {
    let mut world = World::new();
    let id = world.begin(1, 2, Mode::Hot).unwrap();
    let (old, new) = (world.told(1, id).unwrap(), world.told(2, id).unwrap());
    assert_eq!((old.state, old.role, old.peer.as_str()), (MoveState::Preparing, Role::Old, "nve2"));
    assert_eq!((new.role, new.peer.as_str(), new.in_flight), (Role::New, "nve1", InFlight::Auto));
    assert_eq!((old.keys.as_slice(), new.keys.as_slice()), (&keys()[..], &keys()[..]));
    assert_eq!((old.entry.is_some(), new.entry.is_some()), (false, true));
    assert_eq!((old.token, new.token), (None, Some(Token([1; TOKEN_BYTES]))));
    assert_eq!(old.peer_locators.len(), 2);
    assert!(old.peer_vtep.is_some() && old.left_ms.unwrap() <= 5_000);
    // The new NVE has the network, and not the attachment.
    let names = |world: &World, n: usize| -> Vec<String> {
        let mut all: Vec<_> = world.nves[n].objects.all.iter().map(|(name, _)| name.to_string()).collect();
        all.sort();
        all
    };
    assert_eq!(names(&world, 1), ["network red"]);
    world.sees(2, id, Sight::Ready);
    assert_eq!(world.state(id), Some(MoveState::Preparing));
    world.sees(1, id, Sight::Ready);
    assert_eq!(world.told(1, id).unwrap().state, MoveState::Prepared);
    world.sees(1, id, Sight::Detached(Sign::Carrier));
    assert_eq!(world.told(2, id).unwrap().state, MoveState::Detached);
    assert_eq!(world.owners(), [Some(name(1)), Some(name(1))]);
    let revision = world.at().registry().revision();
    let before = keys().map(|key| world.at().registry().record(key).unwrap().sequence);
    world.sees(2, id, Sight::Arrived(Sign::UnsolicitedNa));
    // One transaction: identifiers, attachment and move; what it wrote is what the node registers, and nothing follows it
    // but that everybody has applied it.
    assert_eq!(
        (world.state(id), world.at().registry().revision()),
        (Some(MoveState::Draining), revision + 2)
    );
    assert_eq!(world.owners(), [Some(name(2)), Some(name(2))]);
    let after = keys().map(|key| world.at().registry().record(key).unwrap().sequence);
    assert_eq!((after[0] > before[0], after), (true, [revision + 1; 2]));
    assert_eq!(
        (names(&world, 0).len(), names(&world, 1)),
        (0, vec!["attachment vm1".to_owned(), "network red".to_owned()])
    );
    assert_eq!((world.told(2, id).unwrap().token, world.told(1, id).unwrap().idle_ms), (None, 2_000));
    world.sees(1, id, Sight::Drained);
    assert_eq!(world.state(id), None);
    let ended: Vec<_> =
        world.at().moves().ended().flat_map(|one| &one.timeline).map(|it| it.what.clone()).collect();
    assert_eq!(ended, ["preparing", "prepared", "detached", "arrived", "spreading", "draining"]);
    world.assert_clean(2);
    assert_eq!((world.at().moves().counts().done, world.at().moves().counts().aborted), (1, 0));
}

#[test]
fn an_arrival_implies_that_the_attachment_left_in_each_state_before_it() {
    for state in BEFORE_ARRIVAL {
        let mut world = World::new();
        let id = world.comes_to(1, 2, state);
        world.sees(2, id, Sight::Arrived(Sign::Frame));
        assert_eq!(world.owners(), [Some(name(2)), Some(name(2))], "{state:?}");
        assert_eq!(world.told(1, id).unwrap().state, MoveState::Draining);
        world.assert_clean(2);
    }
}

#[test]
fn an_operators_word_is_as_good_as_what_nves_see() {
    let mut world = World::new();
    let id = world.comes_to(1, 2, MoveState::Preparing);
    let why = world.says(Fact::ToldDetached).unwrap_err();
    assert!(why.contains("vm1 may not leave nve1 yet: nve1 and nve2 are not ready"), "{why}");
    world.sees(1, id, Sight::Ready);
    world.sees(2, id, Sight::Ready);
    world.says(Fact::ToldDetached).unwrap();
    assert_eq!(world.told(1, id).unwrap().state, MoveState::Detached);
    world.says(Fact::ToldArrived).unwrap();
    // Said again, it is as true as before.
    world.says(Fact::ToldArrived).unwrap();
    let why = world.says(Fact::Abort).unwrap_err();
    assert!(
        why.contains("vm1 is at nve2 already; move it back: ilactl vm move vm1 --from nve2 --to nve1"),
        "{why}"
    );
    world.assert_clean(2);
}

#[test]
fn what_is_said_twice_or_late_or_by_the_wrong_nve_changes_nothing() {
    let whats = |token| {
        [
            MoveWhat::Ready,
            MoveWhat::Failed("too late".to_owned()),
            MoveWhat::Detached(Sign::Silence),
            MoveWhat::Arrived(token, Sign::Rarp),
            MoveWhat::Drained,
        ]
    };
    // Each that does not carry the move on, in each state, by each NVE.
    for state in MoveState::ALL {
        for nve in 1..=4 {
            for (n, what) in whats(Token([1; TOKEN_BYTES])).into_iter().enumerate() {
                use MoveState::{Aborting, Detached, Draining, Prepared, Preparing};
                let goes_on = matches!(
                    (state, n, nve),
                    (Preparing, 0, 1 | 2)
                        | (Detached, 0, 1)
                        | (Preparing | Prepared | Detached, 1, 1 | 2)
                        | (Prepared, 2, 1)
                        | (Preparing | Prepared | Detached, 3, 2)
                        | (Draining, 4, 1)
                        | (Aborting, 4, 1 | 2)
                );
                if goes_on {
                    continue;
                }
                let mut world = World::new();
                let id = world.comes_to(1, 2, *state);
                let before = world.store.load().unwrap();
                world.lies(nve, id, what.clone());
                let after = world.store.load().unwrap();
                assert_eq!(before, after, "{what:?} of nve{nve} in {state:?}");
            }
        }
    }
}

#[test]
fn a_node_that_was_ready_to_begin_does_not_send_on_by_that_word() {
    let mut world = World::new();
    let id = world.comes_to(1, 2, MoveState::Preparing);
    world.sees(1, id, Sight::Ready);
    world.sees(2, id, Sight::Ready);
    let said = MoveCommand { which: Which::Id(id), fact: Fact::ToldDetached };
    world.ask(|ticket| Input::MoveSaid(ticket, String::new(), said)).unwrap();
    // What was said while preparing comes late, or twice.
    let (session, ..) = world.nves[0].stream.as_ref().unwrap();
    let session = *session;
    let ready = |state| Up::Move(MoveReport { id, what: MoveWhat::Ready, state });
    world.step(Input::Up(session, ready(Some(MoveState::Preparing))));
    world.settle();
    assert!(!world.at().moves().get(id).unwrap().said.old, "nobody waits any longer for what is sent on");
    world.step(Input::Up(session, ready(Some(MoveState::Detached))));
    world.settle();
    assert!(world.at().moves().get(id).unwrap().said.old);
}

#[test]
fn vmm_10_without_the_token_of_the_move_nobody_gets_an_identifier() {
    for state in BEFORE_ARRIVAL {
        let mut world = World::new();
        let id = world.comes_to(1, 2, state);
        let wrong = Token([9; TOKEN_BYTES]);
        for (nve, token) in
            [(2, wrong), (3, Token([1; TOKEN_BYTES])), (1, Token([1; TOKEN_BYTES])), (4, wrong)]
        {
            world.lies(nve, id, MoveWhat::Arrived(token, Sign::GratuitousArp));
            assert_eq!((world.state(id), world.owners()), (Some(state), [Some(name(1)), Some(name(1))]));
        }
        let refused = world.events.iter().filter(|event| event.kind == Kind::MoveRefused);
        assert_eq!((refused.count(), world.at().refused_moves()), (4, 4));
        // Nor by registering it.
        for nve in [2, 3] {
            let session = world.nves[nve as usize - 1].stream.as_ref().unwrap().0;
            let register = Up::Register { id: 999, key: keys()[0], choices: at(nve), known: 0, mac: None };
            world.step(Input::Up(session, register));
            world.settle();
            assert_eq!(world.owners(), [Some(name(1)), Some(name(1))]);
        }
        // A token is of one move: the next one has another.
        world.says(Fact::Abort).unwrap();
        world.sees(1, id, Sight::Drained);
        world.sees(2, id, Sight::Drained);
        let next = world.begin(1, 2, Mode::Hot).unwrap();
        world.lies(2, next, MoveWhat::Arrived(Token([1; TOKEN_BYTES]), Sign::Rarp));
        world.lies(2, id, MoveWhat::Arrived(Token([1; TOKEN_BYTES]), Sign::Rarp));
        assert_eq!(world.owners(), [Some(name(1)), Some(name(1))]);
        assert!(!format!("{:?}", world.events).contains("1, 1, 1, 1"), "a token is told to its NVE alone");
    }
}

#[test]
fn an_authority_that_dies_in_any_state_goes_on_from_its_store() {
    for state in MoveState::ALL {
        for is_long in [false, true] {
            let mut world = World::new();
            let id = world.comes_to(1, 2, *state);
            world.kill();
            if is_long {
                world.wait(3_000);
            }
            world.start();
            world.nves.iter_mut().for_each(|nve| nve.is_slow = false);
            world.settle();
            world.wait(1_000);
            let is_at = match state {
                MoveState::Spreading | MoveState::Draining => 2,
                MoveState::Aborting => 1,
                _ => {
                    assert_eq!(world.state(id), Some(*state), "{is_long}");
                    world.sees(1, id, Sight::Ready);
                    world.sees(2, id, Sight::Ready);
                    world.sees(2, id, Sight::Arrived(Sign::Probe));
                    2
                }
            };
            world.assert_clean(is_at);
        }
    }
}

#[test]
fn what_an_nve_says_while_no_authority_is_there_counts_once_one_is() {
    let mut world = World::new();
    let id = world.comes_to(1, 2, MoveState::Prepared);
    world.kill();
    world.wait(2_000);
    world.sees(1, id, Sight::Detached(Sign::Silence));
    world.sees(2, id, Sight::Arrived(Sign::Rarp));
    assert_eq!(world.told(2, id).unwrap().state, MoveState::Prepared);
    world.start();
    world.wait(12_000);
    assert_eq!(world.owners(), [Some(name(2)), Some(name(2))]);
    world.assert_clean(2);
}

#[test]
fn a_store_that_refuses_a_step_is_asked_again() {
    let mut world = World::new();
    let id = world.comes_to(1, 2, MoveState::Detached);
    world.client(1, client::Input::Move(id, Sight::Arrived(Sign::Frame)));
    for _ in 0..50 {
        world.deliver(1);
        world.commits(false);
    }
    assert_eq!(world.owners(), [Some(name(1)), Some(name(1))]);
    world.wait(2_000);
    world.assert_clean(2);
}

#[test]
fn an_abort_before_the_arrival_leaves_it_where_it_was_and_it_may_move_again() {
    for state in BEFORE_ARRIVAL {
        for are_silent in [false, true] {
            let mut world = World::new();
            let id = world.comes_to(1, 2, state);
            world.says(Fact::Abort).unwrap();
            assert_eq!(
                (world.told(1, id).unwrap().state, world.told(2, id).unwrap().state),
                (MoveState::Aborting, MoveState::Aborting)
            );
            // It is too late to arrive.
            world.sees(2, id, Sight::Arrived(Sign::Frame));
            let why = world.says(Fact::ToldArrived).unwrap_err();
            assert!(why.contains("the move of vm1 from nve1 to nve2 is aborted; begin another one"), "{why}");
            if are_silent {
                world.wait(5_000);
            } else {
                world.sees(1, id, Sight::Drained);
                world.sees(2, id, Sight::Drained);
            }
            assert_eq!((world.state(id), world.owners()), (None, [Some(name(1)), Some(name(1))]));
            world.comes_to(1, 2, MoveState::Draining);
            world.assert_clean(2);
            let counts = *world.at().moves().counts();
            assert_eq!((counts.done, counts.aborted), (1, 1));
        }
    }
}

#[test]
fn every_wait_ends() {
    let ends = |state, within_ms: u64| {
        let mut world = World::new();
        let id = world.comes_to(1, 2, state);
        world.nves.iter_mut().for_each(|nve| nve.is_slow = state == MoveState::Spreading);
        world.wait(within_ms - 500);
        assert_eq!(world.state(id), Some(state));
        world.wait(1_000);
        (world.state(id), world)
    };
    assert_eq!(ends(MoveState::Preparing, 5_000).0, Some(MoveState::Aborting));
    assert_eq!(ends(MoveState::Prepared, 3_600_000).0, Some(MoveState::Aborting));
    assert_eq!(ends(MoveState::Spreading, 5_000).0, Some(MoveState::Draining));
    assert_eq!(ends(MoveState::Draining, 60_000).0, None);
    assert_eq!(ends(MoveState::Aborting, 5_000).0, None);
    // Nobody knows where it is: that is told, and it may still arrive, or be given back.
    let (state, mut world) = ends(MoveState::Detached, 30_000);
    assert_eq!(state, Some(MoveState::Detached));
    let id = world.at().moves().iter().next().unwrap().id;
    assert!(world.told(1, id).unwrap().overdue && world.told(2, id).unwrap().left_ms.is_none());
    assert_eq!(world.events.iter().filter(|event| event.kind == Kind::MoveOverdue).count(), 1);
    world.wait(100_000);
    world.sees(2, id, Sight::Arrived(Sign::Rarp));
    world.assert_clean(2);
}

#[test]
fn a_prepared_move_that_is_renewed_waits_on_and_shows_the_last_seed() {
    let mut world = World::new();
    let id = world.begin(1, 2, Mode::Warm).unwrap();
    assert!(world.says(Fact::Renew).unwrap_err().contains("is preparing and waits for no renewal"));
    world.sees(1, id, Sight::Ready);
    world.sees(2, id, Sight::Ready);
    for _ in 0..3 {
        world.wait(3_000_000);
        world.says(Fact::Renew).unwrap();
    }
    let one = world.at().moves().get(id).unwrap();
    assert!(one.seeded_ms.unwrap() > 9_000_000);
    assert_eq!(one.timeline.iter().filter(|moment| moment.what == "seeded").count(), 1);
    assert_eq!((one.in_flight, one.mode), (InFlight::Drop, Mode::Warm));
}

#[test]
fn one_attachment_moves_once_at_a_time_and_again_while_the_first_move_drains() {
    let mut world = World::new();
    let first = world.comes_to(1, 2, MoveState::Prepared);
    let why = world.begin(1, 3, Mode::Cold).unwrap_err();
    let words = format!("attachment vm1 at nve1 moves to nve2 already, as move {}, and is prepared", first.0);
    assert!(why.contains(&words), "{why}");
    world.sees(2, first, Sight::Arrived(Sign::Frame));
    assert_eq!(world.state(first), Some(MoveState::Draining));
    // Back, while the first one drains.
    let second = world.comes_to(2, 1, MoveState::Prepared);
    assert_eq!(world.state(first), Some(MoveState::Draining));
    world.sees(2, second, Sight::Detached(Sign::Carrier));
    // No packet takes two tunnels: what drains to nve1 goes by its mapping from now on.
    assert_eq!((world.state(first), world.told(1, first)), (None, None));
    world.sees(1, second, Sight::Arrived(Sign::Frame));
    world.assert_clean(1);
}

#[test]
fn moves_to_and_fro_freeze_nothing_and_leave_nothing() {
    let mut world = World::new();
    for n in 0..100 {
        let (from, to) = if n % 2 == 0 { (1, 2) } else { (2, 1) };
        let id = world.begin(from, to, Mode::Hot).unwrap();
        world.sees(to, id, Sight::Arrived(Sign::Frame));
    }
    assert_eq!(world.at().registry().frozen_count(), 0);
    world.assert_clean(1);
}

#[test]
fn what_an_nve_cannot_do_is_refused_with_what_another_way_would_cost() {
    let mut world = World::new();
    for (from, to, mode, words) in [
        (1, 4, Mode::Cold, "nve4 takes no moves: its release is older than them; update it"),
        (1, 3, Mode::Hot, "nve3 does not take hot moves; take cold: what moves is shut down"),
        (1, 1, Mode::Hot, "vm1 cannot move from nve1 to itself"),
        (2, 1, Mode::Hot, "no attachment vm1 at nve2 is wanted"),
        (1, 9, Mode::Hot, "`nve9` is no NVE of this authority"),
    ] {
        let why = world.begin(from, to, mode).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
    assert!(world.says(Fact::Abort).unwrap_err().contains("attachment vm1 does not move"));
    // Without a session nothing is held; of one that is shut down nothing needs to be.
    let session = world.nves[0].stream.take().unwrap().0;
    world.step(Input::Closed(session));
    let request = world.request(1, 2, Mode::Hot);
    world.step(Input::Move(Ticket(900), String::new(), request));
    let request = world.request(1, 2, Mode::Cold);
    let begun = world.ask(|ticket| Input::Move(ticket, String::new(), request));
    let id = MoveId(begun.unwrap().0);
    world.client(0, client::Input::Closed("gone".to_owned()));
    world.sees(2, id, Sight::Ready);
    assert_eq!(world.state(id), Some(MoveState::Prepared));
    world.says(Fact::ToldArrived).unwrap();
    world.assert_clean(2);
}

#[test]
fn an_nve_that_cannot_make_ready_ends_the_move_and_says_why() {
    let mut world = World::new();
    let id = world.begin(1, 2, Mode::Hot).unwrap();
    world.sees(2, id, Sight::Failed("there is no port b".to_owned()));
    assert_eq!(world.told(1, id).unwrap().state, MoveState::Aborting);
    let aborting = world.events.iter().find(|event| event.kind == Kind::MoveAborting).unwrap();
    assert_eq!(aborting.why, format!("move {}: nve2: there is no port b", id.0));
    world.assert_clean(1);
    // Once it left, it is somebody's decision.
    let id = world.comes_to(1, 2, MoveState::Detached);
    world.lies(2, id, MoveWhat::Failed("the port is gone".to_owned()));
    world.lies(2, id, MoveWhat::Failed("the port is gone".to_owned()));
    assert_eq!(world.state(id), Some(MoveState::Detached));
    assert_eq!(world.events.iter().filter(|event| event.kind == Kind::MoveFailed).count(), 1);
    world.says(Fact::Abort).unwrap();
    world.assert_clean(1);
}

#[test]
fn what_moves_keeps_both_its_places_until_the_end() {
    let mut world = World::new();
    world.comes_to(1, 2, MoveState::Prepared);
    let mut refuses = |change: (_, _), words: &str| {
        let why = world.ask(|ticket| Input::Change(ticket, change.0, change.1)).unwrap_err();
        assert!(why.contains(words), "{why}");
    };
    let vm1 = attachment("nve1", "vm1", 11, "red", "10.1.0.5");
    refuses(delete(vm1, None), "attachment vm1 at nve1 moves to nve2; wait until it is there, or abort that");
    refuses(attachment("nve2", "vm1", 30, "red", "10.1.0.6"), "is on its way there");
    let port_b =
        "{name: vm2, port: b, vlan: 22, mac: '02:00:00:00:00:0a', network: red, addresses: [10.1.0.7]}";
    refuses(super::provision::add("nve2", crate::config::Entry::attachment(port_b)), "vm1");
    world.says(Fact::Abort).unwrap();
    world.wait(6_000);
    let (key, change) = super::provision::add("nve2", crate::config::Entry::attachment(port_b));
    world.ask(|ticket| Input::Change(ticket, key, change)).unwrap();
    let why = world.begin(1, 2, Mode::Hot).unwrap_err();
    assert!(why.contains("attachments[vm2]"), "{why}");
}

#[test]
fn what_a_move_brought_is_not_released_by_an_nve_that_begins_anew() {
    let mut world = World::new();
    let id = world.comes_to(1, 2, MoveState::Detached);
    world.sees(2, id, Sight::Arrived(Sign::Frame));
    // Its node starts anew and says that all that it has was registered, before it was told of what came.
    let (session, ups, _) = world.nves[1].stream.take().unwrap();
    drop(ups);
    world.step(Input::Closed(session));
    let session = SessionId(5_000);
    world.step(Input::Opened(session, Some(name(2))));
    let hello = Up::Hello {
        versions: vec![1],
        nve: name(2),
        boot: 2,
        asks: false,
        digests: false,
        moves: Modes::ALL,
        groups: false,
    };
    for up in [hello, Up::Complete] {
        world.step(Input::Up(session, up));
        world.commits(true);
    }
    (0..5).for_each(|_| _ = world.commits(true));
    assert_eq!(world.owners(), [Some(name(2)), Some(name(2))]);
}

#[test]
fn a_move_drains_once_every_subscriber_has_applied_it() {
    let mut world = World::new();
    let id = world.comes_to(1, 2, MoveState::Detached);
    world.nves[2].is_slow = true;
    world.sees(2, id, Sight::Arrived(Sign::Frame));
    world.wait(1_000);
    assert_eq!(world.state(id), Some(MoveState::Spreading));
    world.nves[2].is_slow = false;
    world.settle();
    assert_eq!(world.state(id), Some(MoveState::Draining));
    // Nobody waits for one that left.
    world.assert_clean(2);
    let id = world.comes_to(2, 1, MoveState::Detached);
    world.nves[2].is_slow = true;
    world.sees(1, id, Sight::Arrived(Sign::Frame));
    assert_eq!(world.state(id), Some(MoveState::Spreading));
    let session = world.nves[2].stream.take().unwrap().0;
    world.step(Input::Closed(session));
    world.commits(true);
    world.tick(200);
    world.commits(true);
    assert_eq!(world.state(id), Some(MoveState::Draining));
}

#[test]
fn what_another_authority_of_the_store_did_is_told_to_those_who_have_their_session_here() {
    for (to, mode) in [(2, Mode::Hot), (3, Mode::Hot)] {
        let (mut here, mut there) = (World::new(), World::new());
        // There, nobody knows what this one takes.
        there.step(Input::AtOthers(vec![(name(to), "nva1".to_owned())]));
        let request = there.request(1, to, mode);
        there.step(Input::Move(Ticket(1), "alice".to_owned(), request));
        let Commit { revision, transaction, .. } = there.commit.take().unwrap();
        here.store.commit(revision, &transaction).unwrap();
        here.step(Input::Others(transaction, Vec::new()));
        here.settle();
        let id = MoveId(revision);
        if to == 3 {
            let one = here.at().moves().get(id).unwrap();
            let why = &one.timeline.last().unwrap().how;
            assert_eq!(one.state, MoveState::Aborting);
            assert!(why.starts_with("nve3: nve3 does not take hot moves"), "{why}");
            here.assert_clean(1);
            continue;
        }
        assert_eq!(here.told(1, id).unwrap().state, MoveState::Preparing);
        here.sees(1, id, Sight::Ready);
        here.sees(2, id, Sight::Ready);
        here.sees(2, id, Sight::Arrived(Sign::Frame));
        here.assert_clean(2);
    }
}

#[test]
fn a_store_that_is_read_anew_ends_and_begins_moves_for_those_who_are_told_of_them() {
    let mut world = World::new();
    let empty = world.store.load().unwrap();
    let id = world.comes_to(1, 2, MoveState::Prepared);
    let stored = world.store.load().unwrap();
    world.step(Input::Replaced(Stored { revision: stored.revision + 1, ..empty }));
    world.settle();
    assert_eq!((world.told(1, id), world.at().registry().catalogue().expected_count()), (None, 0));
    world.step(Input::Replaced(Stored { revision: stored.revision + 2, ..stored }));
    world.settle();
    assert_eq!(world.told(2, id).unwrap().state, MoveState::Prepared);
    assert_eq!(world.at().registry().catalogue().expected_count(), 1);
}

/// A number below `below`.
fn chance(random: &mut u64, below: u64) -> u64 {
    *random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    (*random >> 33) % below
}

#[test]
fn whatever_breaks_an_attachment_is_at_one_nve_and_nothing_is_left_in_the_end() {
    let (mut done, mut aborted) = (0, 0);
    for seed in 1..40 {
        let (mut world, mut random) = (World::new(), seed);
        for _ in 0..600 {
            let n = chance(&mut random, 2);
            let nve = n as usize;
            match chance(&mut random, 60) {
                0..20 => _ = world.deliver(nve),
                20..30 => _ = world.commits(true),
                30 => _ = world.commits(false),
                31..36 => world.tick(1 + chance(&mut random, 400)),
                36 if chance(&mut random, 3) == 0 => world.restart(),
                37 => {
                    if let Some((session, ..)) = world.nves[nve].stream.take() {
                        world.step(Input::Closed(session));
                        world.client(nve, client::Input::Closed("broken".to_owned()));
                    }
                }
                38..44 => {
                    let request = world.request(n + 1, 2 - n, Mode::Hot);
                    world.step(Input::Move(Ticket(1), String::new(), request));
                }
                44 => {
                    let said = MoveCommand { which: Which::Of("vm1".to_owned(), None), fact: Fact::Abort };
                    world.step(Input::MoveSaid(Ticket(2), String::new(), said));
                }
                _ => {
                    let Some(id) = world.nves[nve].moves.keys().next_back().copied() else { continue };
                    let sight = match chance(&mut random, 5) {
                        0 | 1 => Sight::Ready,
                        2 => Sight::Detached(Sign::Silence),
                        3 => Sight::Arrived(Sign::Frame),
                        _ => Sight::Drained,
                    };
                    world.client(nve, client::Input::Move(id, sight));
                }
            }
            // Both identifiers are at one NVE, where operators want the attachment.
            let [v4, v6] = world.owners();
            assert_eq!(v4, v6, "seed {seed}");
            let objects = world.store.load().unwrap().objects;
            let at: Vec<_> = objects
                .iter()
                .filter(|(key, _)| !key.nve.is_empty())
                .map(|(key, _)| key.nve.clone())
                .collect();
            assert_eq!(at, [v4.unwrap()], "seed {seed}");
        }
        // What was said is heard; one of which nobody says more is for somebody to decide.
        world.wait(15_000);
        let left = world.at().moves().iter().find(|one| one.state.is_before_commit()).map(|one| one.id);
        if let Some(id) = left {
            let said = MoveCommand { which: Which::Id(id), fact: Fact::Abort };
            world.ask(|ticket| Input::MoveSaid(ticket, String::new(), said)).unwrap();
        }
        world.wait(10_000);
        let owner = world.owners()[0].clone().unwrap();
        world.assert_clean(if owner == name(1) { 1 } else { 2 });
        done += world.at().moves().counts().done;
        aborted += world.at().moves().counts().aborted;
    }
    assert!(done > 5 && aborted > 5, "{done} {aborted}");
}
