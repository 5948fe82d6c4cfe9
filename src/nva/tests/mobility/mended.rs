//! Laws of moves that were broken once.

use super::*;

#[test]
fn what_else_becomes_of_a_move_makes_its_state_last_no_longer() {
    let mut world = World::new();
    let id = world.comes_to(1, 2, MoveState::Preparing);
    world.wait(4_000);
    // That is written, and the move is in the same state as before.
    world.sees(1, id, Sight::Ready);
    assert_eq!(world.state(id), Some(MoveState::Preparing));
    world.wait(1_500);
    assert_eq!(world.state(id), Some(MoveState::Aborting));
    let mut world = World::new();
    let id = world.comes_to(1, 2, MoveState::Detached);
    world.wait(29_000);
    world.sees(1, id, Sight::Ready);
    world.wait(2_000);
    assert!(world.told(2, id).unwrap().overdue);
}

#[test]
fn an_arrival_while_the_old_nve_is_not_ready_commits_once_and_what_the_old_one_says_later_changes_nothing() {
    let mut world = World::new();
    let id = world.comes_to(1, 2, MoveState::Preparing);
    world.sees(2, id, Sight::Ready);
    world.sees(2, id, Sight::Arrived(Sign::Rarp));
    assert_eq!(world.owners(), [Some(name(2)), Some(name(2))]);
    let revision = world.at().registry().revision();
    world.lies(1, id, MoveWhat::Ready);
    world.lies(1, id, MoveWhat::Failed("too late".to_owned()));
    assert_eq!(world.at().registry().revision(), revision);
    world.assert_clean(2);
}

#[test]
fn vmm_4_2_after_a_move_the_registry_has_address_mac_address_and_new_nve() {
    let mut world = World::new();
    let macs = |world: &World| keys().map(|key| world.at().registry().record(key).unwrap().mac);
    let before = macs(&world);
    let mac = before[0].unwrap();
    world.comes_to(1, 2, MoveState::Draining);
    assert_eq!((world.owners(), macs(&world)), ([Some(name(2)), Some(name(2))], before));
    let found = world.at().registry().find_macs((SIR, 1), &[mac]);
    assert_eq!(found[0].identifiers, keys().map(|key| key.identifier));
    // Whoever registers the same MAC address afterwards is the second one, as it would have been before.
    let since = keys().map(|key| world.at().registry().record(key).unwrap().since);
    world.wait(1_000);
    assert_eq!(keys().map(|key| world.at().registry().record(key).unwrap().since), since);
}
