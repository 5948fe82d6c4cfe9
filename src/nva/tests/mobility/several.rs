//! Several authorities before one store: none of them knows alone what all have applied.

use super::*;

/// A move from nve1 to nve2 as far as its commit, by an authority of several. nve5 has its session at another one.
fn committed(is_said: bool) -> (World, MoveId, u64) {
    let mut world = World::shared();
    if is_said {
        world.step(Input::AppliedAt("nva2".to_owned(), Some(world.at().registry().revision())));
    }
    world.step(Input::AtOthers(vec![(name(5), "nva2".to_owned())]));
    let id = world.comes_to(1, 2, MoveState::Detached);
    world.sees(2, id, Sight::Arrived(Sign::Frame));
    let committed = world.at().moves().get(id).unwrap().committed;
    (world, id, committed)
}

#[test]
fn spreading_ends_when_all_authorities_say_that_all_is_applied() {
    let (mut world, id, committed) = committed(false);
    // Here everybody has, and that is told; the other one has not said so.
    assert_eq!((world.state(id), world.applied.as_slice()), (Some(MoveState::Spreading), &[committed][..]));
    world.step(Input::AppliedAt("nva2".to_owned(), Some(committed - 1)));
    world.settle();
    assert_eq!(world.state(id), Some(MoveState::Spreading));
    world.step(Input::AppliedAt("nva2".to_owned(), Some(committed)));
    world.settle();
    assert_eq!(world.state(id), Some(MoveState::Draining));
    // Said once for each commit.
    assert_eq!(world.applied, [committed]);
}

#[test]
fn who_has_not_applied_it_here_keeps_the_others_waiting() {
    let mut world = World::shared();
    let id = world.comes_to(1, 2, MoveState::Detached);
    world.nves[2].is_slow = true;
    world.sees(2, id, Sight::Arrived(Sign::Frame));
    world.wait(1_000);
    assert_eq!((world.state(id), world.applied.len()), (Some(MoveState::Spreading), 0));
    world.nves[2].is_slow = false;
    world.settle();
    assert_eq!((world.state(id), world.applied.len()), (Some(MoveState::Draining), 1));
}

#[test]
fn what_an_authority_said_ends_with_it_and_nobody_is_waited_for_once_its_sessions_are_gone() {
    let (mut world, id, committed) = committed(true);
    world.step(Input::AppliedAt("nva2".to_owned(), Some(committed)));
    world.step(Input::AppliedAt("nva2".to_owned(), None));
    world.settle();
    world.assert_clean(2);
    assert_eq!(world.state(id), None);
    // It is dead: of those who were there nothing is known.
    let id = world.comes_to(2, 1, MoveState::Detached);
    world.sees(1, id, Sight::Arrived(Sign::Frame));
    world.wait(2_000);
    assert_eq!(world.state(id), Some(MoveState::Spreading));
    world.step(Input::Nowhere(name(5)));
    world.settle();
    assert_eq!(world.state(id), Some(MoveState::Draining));
}

#[test]
fn an_authority_that_says_nothing_is_waited_for_as_long_as_a_move_may_spread() {
    let (mut world, id, _) = committed(false);
    world.wait(4_000);
    assert_eq!(world.state(id), Some(MoveState::Spreading));
    world.wait(1_500);
    assert_eq!(world.state(id), Some(MoveState::Draining));
}

#[test]
fn what_was_said_with_a_lease_that_is_gone_is_said_again() {
    let (mut world, _, committed) = committed(false);
    world.step(Input::Forgotten);
    world.tick(200);
    assert_eq!(world.applied, [committed, committed]);
}
