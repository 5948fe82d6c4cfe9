//! What is said again, late, or of something else of the same name hits nothing that it was not meant for.

use super::*;

/// Says something of the move of an attachment that is named.
fn says_of(world: &mut World, nve: Option<u64>, fact: Fact) -> Result<(u64, u64), String> {
    let which = Which::Of("vm1".to_owned(), nve.map(name));
    world.ask(|ticket| Input::MoveSaid(ticket, "alice".to_owned(), MoveCommand { which, fact }))
}

#[test]
fn a_move_that_is_begun_again_is_the_same_move_in_each_state() {
    for state in MoveState::ALL.iter().filter(|state| **state != MoveState::Aborting) {
        let mut world = World::new();
        let id = world.comes_to(1, 2, *state);
        let revision = world.at().registry().revision();
        for _ in 0..3 {
            assert_eq!(world.begin(1, 2, Mode::Hot), Ok(id), "{state:?}");
        }
        assert_eq!((world.at().registry().revision(), world.state(id)), (revision, Some(*state)));
        // What is another one is none of it.
        let mut other = world.request(1, 2, Mode::Hot);
        other.vlan = Some(23);
        world.ask(|ticket| Input::Move(ticket, "alice".to_owned(), other)).unwrap_err();
        world.begin(1, 2, Mode::Cold).unwrap_err();
        world.begin(1, 3, Mode::Cold).unwrap_err();
        assert_eq!(world.at().moves().iter().count(), 1);
    }
    // One that is aborted does not begin again by itself.
    let mut world = World::new();
    world.comes_to(1, 2, MoveState::Aborting);
    let why = world.begin(1, 2, Mode::Hot).unwrap_err();
    assert!(why.contains("moves to nve2 already") && why.contains("is aborting"), "{why}");
}

#[test]
fn two_who_begin_the_same_move_at_once_are_told_the_same_move() {
    let mut world = World::new();
    for ticket in [801, 802] {
        let request = world.request(1, 2, Mode::Hot);
        world.step(Input::Move(Ticket(ticket), "alice".to_owned(), request));
    }
    world.settle();
    let [one, other] = [801, 802].map(|ticket| world.answer(ticket).unwrap().0);
    assert_eq!((one, world.at().moves().iter().count()), (other, 1));
}

#[test]
fn the_way_back_is_another_move_although_it_was_gone_before() {
    let mut world = World::new();
    let first = world.comes_to(1, 2, MoveState::Draining);
    let back = world.comes_to(2, 1, MoveState::Draining);
    let again = world.begin(1, 2, Mode::Hot).unwrap();
    assert!(first < back && back < again);
    assert_eq!(world.begin(1, 2, Mode::Hot), Ok(again));
}

#[test]
fn a_word_that_may_be_of_two_moves_is_of_none_and_says_of_which() {
    let mut world = World::new();
    let first = world.comes_to(1, 2, MoveState::Draining);
    let second = world.comes_to(2, 1, MoveState::Prepared);
    // Of the first one it would be a repetition, and of the second one a lie.
    for fact in [Fact::ToldArrived, Fact::ToldDetached, Fact::Renew, Fact::Abort] {
        let why = says_of(&mut world, None, fact).unwrap_err();
        for words in [
            "2 moves are of attachments vm1".to_owned(),
            format!("move {} from nve1 to nve2 is draining", first.0),
            format!("move {} from nve2 to nve1 is prepared", second.0),
            "name one of them (--id)".to_owned(),
        ] {
            assert!(why.contains(&words), "{why}");
        }
    }
    assert_eq!(
        (world.state(first), world.state(second)),
        (Some(MoveState::Draining), Some(MoveState::Prepared))
    );
    // It came to nve2 by the first, and leaves it by the second.
    assert_eq!(says_of(&mut world, Some(2), Fact::ToldArrived).unwrap().0, first.0);
    assert_eq!(world.state(second), Some(MoveState::Prepared));
    assert_eq!(says_of(&mut world, Some(2), Fact::ToldDetached).unwrap().0, second.0);
    assert_eq!(world.state(second), Some(MoveState::Detached));
    // It came from nve1, and is there no more.
    let why = says_of(&mut world, Some(1), Fact::ToldDetached).unwrap_err();
    assert!(why.contains("attachment vm1 does not move from nve1"), "{why}");
    assert_eq!(says_of(&mut world, Some(1), Fact::ToldArrived).unwrap().0, second.0);
    world.assert_clean(1);
}

#[test]
fn a_word_of_an_attachment_that_does_not_move_hits_no_other_one_of_its_name() {
    let mut world = World::new();
    for (key, change) in [network("blue", 2, ""), attachment("nve3", "vm1", 11, "blue", "10.2.0.5")] {
        world.ask(|ticket| Input::Change(ticket, key, change)).unwrap();
    }
    world.settle();
    let id = world.comes_to(1, 2, MoveState::Prepared);
    for fact in [Fact::ToldArrived, Fact::ToldDetached, Fact::Abort] {
        let why = says_of(&mut world, None, fact.clone()).unwrap_err();
        assert!(why.contains("there is an attachment vm1 at nve3, too"), "{why}");
        assert!(why.contains(&format!("move {} from nve1 to nve2 is prepared", id.0)), "{why}");
        let why = says_of(&mut world, Some(3), fact).unwrap_err();
        assert!(why.contains("attachment vm1 does not move"), "{why}");
    }
    assert_eq!(world.state(id), Some(MoveState::Prepared));
    assert_eq!(says_of(&mut world, Some(1), Fact::ToldDetached).unwrap().0, id.0);
}

#[test]
fn a_flood_of_reports_delays_no_step_and_loses_none() {
    let mut world = World::new();
    let id = world.comes_to(1, 2, MoveState::Prepared);
    let (flooder, ..) = world.nves[2].stream.as_ref().unwrap();
    let flooder = *flooder;
    // While a commit is under way everything waits. nve3 has no part in the move, and says so as fast as it can.
    let (key, change) = network("blue", 2, "");
    world.step(Input::Change(Ticket(700), key, change));
    assert!(world.commit.is_some());
    for n in 0..20_000 {
        let report = MoveReport { id, what: MoveWhat::Failed(n.to_string()), state: None };
        world.step(Input::Up(flooder, Up::Move(report)));
    }
    let (session, ..) = world.nves[0].stream.as_ref().unwrap();
    let session = *session;
    let what = MoveWhat::Detached(Sign::Carrier);
    world.step(Input::Up(session, Up::Move(MoveReport { id, what, state: None })));
    let said = MoveCommand { which: Which::Id(id), fact: Fact::Renew };
    world.step(Input::MoveSaid(Ticket(701), "alice".to_owned(), said));
    // What was under way, and then one transaction with all of it.
    assert!(world.commits(true) && world.commits(true));
    assert_eq!(world.state(id), Some(MoveState::Detached));
    assert!(world.answer(701).is_some());
}
