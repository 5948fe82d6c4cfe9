//! Where an attachment may be while it moves: of what was answered everything is done, an authority of an earlier release
//! makes no second one, and what is on its way has its room.

use super::*;
use crate::nva::catalogue::Change;
use crate::nva::model::{Object, ObjectKey, Transaction};

fn vm1_at(nve: u64) -> ObjectKey {
    ObjectKey { nve: name(nve), name: ObjectName::Attachment("vm1".to_owned()) }
}

/// An authority of an earlier release, before the same store, does this.
fn others(world: &mut World, objects: Vec<(ObjectKey, Option<Object>)>) {
    let transaction = Transaction { objects, ..Transaction::default() };
    world.store.commit(world.at().registry().revision() + 1, &transaction).unwrap();
    world.step(Input::Others(transaction, Vec::new()));
    world.settle();
}

fn unregister(world: &mut World, nve: u64, id: u64) -> Vec<Down<Encoded>> {
    let (session, ..) = world.nves[nve as usize - 1].stream.as_ref().unwrap();
    let session = *session;
    world.step(Input::Up(session, Up::Unregister { id, key: keys()[0] }));
    while world.commits(true) {}
    let (_, _, downs) = world.nves[nve as usize - 1].stream.as_ref().unwrap();
    downs.iter().cloned().collect()
}

#[test]
fn what_a_move_brought_is_released_truly_or_refused_and_never_answered_and_kept() {
    for state in [MoveState::Spreading, MoveState::Draining] {
        let mut world = World::new();
        world.comes_to(1, 2, state);
        let downs = unregister(&mut world, 2, 990);
        let refused = downs.iter().find_map(|down| match down {
            Down::Refused { id: 990, why, temporary, .. } => Some((why.clone(), *temporary)),
            _ => None,
        });
        let (why, temporary) = refused.expect("it is refused");
        assert!(temporary && why.contains("came to nve2 by a move that is not over"), "{why}");
        assert_eq!(world.owners()[0], Some(name(2)), "{state:?}");
        // Its attachment is deleted: so it goes, whatever becomes of the move.
        world.ask(|ticket| Input::Change(ticket, vm1_at(2), Change::Delete(None))).unwrap();
        let downs = unregister(&mut world, 2, 991);
        assert!(downs.iter().any(|down| matches!(down, Down::Registered { id: 991, .. })), "{downs:?}");
        assert_eq!(world.owners()[0], None, "{state:?}");
    }
}

#[test]
fn an_attachment_that_is_gone_at_its_old_nve_does_not_come_to_the_new_one() {
    for state in BEFORE_ARRIVAL {
        let mut world = World::new();
        let id = world.comes_to(1, 2, state);
        others(&mut world, vec![(vm1_at(1), None)]);
        if state == MoveState::Detached {
            assert!(world.events.iter().any(|event| event.kind == Kind::MoveFailed), "it is told");
        } else {
            assert_eq!(world.state(id), Some(MoveState::Aborting), "{state:?}");
        }
        let objects = world.store.load().unwrap().objects;
        world.lies(2, id, MoveWhat::Arrived(Token([1; TOKEN_BYTES]), Sign::Frame));
        assert_eq!(world.store.load().unwrap().objects, objects, "{state:?}");
        if state == MoveState::Detached {
            let said = MoveCommand { which: Which::Id(id), fact: Fact::ToldArrived };
            let told = world.ask(|ticket| Input::MoveSaid(ticket, String::new(), said));
            let why = told.unwrap_err();
            assert!(why.contains("no attachment vm1 at nve1 is wanted any more; abort the move"), "{why}");
            world.says(Fact::Abort).unwrap();
        }
        world.wait(6_000);
        assert_eq!((world.state(id), world.at().registry().catalogue().expected_count()), (None, 0));
    }
}

#[test]
fn an_attachment_that_somebody_made_at_the_new_nve_is_not_overwritten() {
    for state in BEFORE_ARRIVAL {
        let mut world = World::new();
        let id = world.comes_to(1, 2, state);
        let document = world.at().moves().get(id).unwrap().document.replace("10.1.0.5", "10.1.0.77");
        let sequence = world.at().registry().revision() + 1;
        let made = Object { document, sequence };
        others(&mut world, vec![(vm1_at(2), Some(made.clone()))]);
        world.lies(2, id, MoveWhat::Arrived(Token([1; TOKEN_BYTES]), Sign::Frame));
        let objects = world.store.load().unwrap().objects;
        assert!(objects.contains(&(vm1_at(2), made)) && objects.iter().any(|(key, _)| *key == vm1_at(1)));
        assert_eq!(world.owners()[1], Some(name(1)));
        if state == MoveState::Detached {
            world.says(Fact::Abort).unwrap();
        }
        world.wait(6_000);
        assert_eq!(world.state(id), None, "{state:?}");
    }
}

#[test]
fn what_is_on_its_way_to_an_nve_counts_among_what_it_may_have() {
    let mut world = World::new();
    world.most_identifiers(2, 3);
    let id = world.comes_to(1, 2, MoveState::Prepared);
    let register = |world: &mut World, number: u64| {
        let session = world.nves[1].stream.as_ref().unwrap().0;
        let (key, choices) = (super::key(number), at(2));
        world.step(Input::Up(session, Up::Register { id: 900 + number, key, choices, known: 0, mac: None }));
        while world.commits(true) {}
        world.at().registry().is_held_by("nve2", key)
    };
    // Two come, and one is free.
    assert_eq!((register(&mut world, 1), register(&mut world, 2)), (true, false));
    world.sees(2, id, Sight::Arrived(Sign::Frame));
    assert_eq!(world.at().registry().count_of("nve2"), 3);
    // One that does not come gives its room back.
    let mut world = World::new();
    world.most_identifiers(2, 2);
    let id = world.comes_to(1, 2, MoveState::Prepared);
    assert!(!register(&mut world, 1));
    world.says(Fact::Abort).unwrap();
    world.sees(1, id, Sight::Drained);
    world.sees(2, id, Sight::Drained);
    assert!(register(&mut world, 1));
}
