//! Laws of hot failover (VMM draft §8): who counts as lost, who has what afterwards, what needs an operator's word, and when
//! nobody fails over.

mod world;

use super::provision::{attachment, delete, network, rules as provision_rules};
use super::simulation::Chance;
use super::*;
use crate::ila::Identifier;
use crate::nva::authority::{Authority, Commit, Effect, Input, LIMITS, SessionId, Ticket};
use crate::nva::catalogue::Catalogue;
use crate::nva::codec::{read_down, write_down};
use crate::nva::event::{Event, Kind};
use crate::nva::failover::{
    Group, GroupKind, GroupPart, GroupRequest, GroupRules, GroupTold, GroupWish, MemberRequest,
};
use crate::nva::message::{Down, Encoded, Mode, Token, Up};
use crate::nva::mobility::TOKEN_BYTES;
use crate::nva::model::Record;
use crate::nva::registry::Registry;
use crate::nva::registry::moving::MoveRequest;
use crate::nva::store::{Memory, Store, Stored};
use std::collections::BTreeMap;
use world::{Flaw, GRACE_MS, LEASE_MS, World, keys};

fn part(world: &World, nve: u64) -> Option<GroupPart> {
    world.nves[&name(nve)].told.get("db").map(|one| one.part)
}

fn weights(world: &World) -> Vec<(u64, u16)> {
    let records: BTreeMap<Key, Record> = world.stored().records.into_iter().collect();
    let mut all: Vec<_> =
        records[&keys()[0]].choices.iter().map(|it| (it.locator.0 >> 8 & 0xff, it.weight)).collect();
    all.dedup();
    all
}

#[test]
fn vmm_8_the_standby_has_it_a_lease_after_the_primary_was_heard_last_and_not_before() {
    let mut world = World::new(1, 3, None);
    world.declare(GroupKind::Primary, &[1, 2]).unwrap();
    assert_eq!((part(&world, 1), part(&world, 2)), (Some(GroupPart::Active), Some(GroupPart::Standby)));
    assert_eq!(part(&world, 3), None);
    world.wait(5_000);
    let heard_ms = world.nves["nve1"].said_ms;
    world.dies("nve1");
    world.wait(heard_ms + LEASE_MS - 200 - world.now_ms);
    assert_eq!(world.owners(), [Some(name(1)), Some(name(1))]);
    let revision = world.at(0).registry().revision();
    world.wait(200);
    // One transaction: identifiers, attachment and group; sequences rise, and it needed nothing of the lost one.
    assert_eq!((world.active(), world.attached()), (vec![name(2)], vec![name(2)]));
    assert_eq!(
        (world.owners(), world.at(0).registry().revision()),
        ([Some(name(2)), Some(name(2))], revision + 1)
    );
    assert_eq!(part(&world, 2), Some(GroupPart::Active));
    assert_eq!(world.count(Kind::FailedOver), 1);
    assert_eq!(world.at(0).group_counts().failovers, [1, 0]);
    // It comes back as a standby, and nothing returns before it is told.
    world.nves.get_mut("nve1").unwrap().is_dead = false;
    world.open("nve1", 0);
    assert_eq!(part(&world, 1), Some(GroupPart::Standby));
    world.says("nve1", Up::Register { id: 9, key: keys()[0], choices: at(1), known: 0, mac: None });
    world.wait(60_000);
    assert_eq!(world.owners(), [Some(name(2)), Some(name(2))]);
    world.wish(GroupWish::Return("db".to_owned(), None)).unwrap();
    assert_eq!((world.active(), world.owners()), (vec![name(1)], [Some(name(1)), Some(name(1))]));
    assert_eq!((part(&world, 1), part(&world, 2)), (Some(GroupPart::Active), Some(GroupPart::Standby)));
    assert!(world.wish(GroupWish::Return("db".to_owned(), None)).unwrap_err().contains("is there already"));
}

#[test]
fn a_closed_stream_and_an_authority_that_starts_again_lose_nobody() {
    let mut world = World::new(1, 3, None);
    world.declare(GroupKind::Primary, &[1, 2]).unwrap();
    for _ in 0..5 {
        world.close("nve1");
        let heard_ms = world.nves["nve1"].said_ms;
        world.wait(heard_ms + LEASE_MS - 400 - world.now_ms);
        world.open("nve1", 0);
        world.wait(1_000);
    }
    for _ in 0..3 {
        world.kill(0);
        world.start(0);
        world.wait(GRACE_MS - 1_000);
        (1..=3).for_each(|n| world.open(&name(n), 0));
        world.wait(LEASE_MS);
    }
    assert_eq!((world.failovers, world.active()), (0, vec![name(1)]));
    // One that does not come back within the grace is lost.
    world.kill(0);
    world.start(0);
    (2..=3).for_each(|n| world.open(&name(n), 0));
    world.nves.get_mut("nve1").unwrap().is_dead = true;
    world.wait(GRACE_MS - 400);
    assert_eq!(world.failovers, 0);
    world.wait(400);
    assert_eq!((world.failovers, world.active()), (1, vec![name(2)]));
}

#[test]
fn an_authority_whose_nve_went_to_another_one_cannot_fail_it_over() {
    let mut world = World::new(2, 3, None);
    world.declare(GroupKind::Primary, &[1, 2]).unwrap();
    world.close("nve1");
    world.wait(LEASE_MS / 2);
    world.open("nve1", 1);
    world.wait(10 * LEASE_MS);
    assert_eq!((world.failovers, world.active()), (0, vec![name(1)]));
    // Also if it had judged already, and the session came first.
    world.close("nve1");
    let gone_ms = world.nves["nve1"].said_ms;
    world.wait(gone_ms + LEASE_MS - 200 - world.now_ms);
    world.now_ms += 200;
    world.step(1, Input::Tick);
    assert!(world.servers[1].as_ref().unwrap().commit.is_some());
    world.open("nve1", 0);
    world.wait(LEASE_MS);
    assert_eq!((world.failovers, world.active()), (0, vec![name(1)]));
    // The authority that has it dies, and it does not come back: the other one has its grace, and then it is lost.
    world.nves.get_mut("nve1").unwrap().is_dead = true;
    world.kill(0);
    (2..=3).for_each(|n| world.open(&name(n), 1));
    world.wait(GRACE_MS - 400);
    assert_eq!(world.failovers, 0);
    world.wait(1_000);
    assert_eq!((world.failovers, world.active()), (1, vec![name(2)]));
}

#[test]
fn when_too_many_vanish_at_once_nobody_fails_over_until_they_are_back_or_an_operator_says_so() {
    for says_so in [false, true] {
        let mut world = World::new(1, 6, None);
        world.declare(GroupKind::Primary, &[1, 2]).unwrap();
        world.wait(5_000);
        world.dies("nve1");
        world.wait(3_000);
        world.dies("nve3");
        world.dies("nve4");
        world.wait(LEASE_MS + 20_000);
        assert_eq!((world.failovers, world.count(Kind::FailoverBraked)), (0, 1));
        assert!(world.at(0).brake().0.is_some());
        match says_so {
            true => {
                assert_eq!(world.ask(0, Input::ReleaseBrake).map(|(count, _)| count), Ok(3));
                assert!(world.ask(0, Input::ReleaseBrake).is_err());
            }
            false => {
                world.nves.get_mut("nve4").unwrap().is_dead = false;
                world.open("nve4", 0);
                world.wait(9_000);
                assert_eq!(world.failovers, 0);
                world.wait(2_000);
            }
        }
        world.wait(400);
        assert_eq!((world.failovers, world.active()), (1, vec![name(2)]), "told: {says_so}");
        assert_eq!((world.count(Kind::FailoverUnbraked), world.at(0).brake()), (1, (None, 1)));
    }
}

#[test]
fn the_next_standby_has_it_that_is_there_and_without_one_it_stays() {
    let mut world = World::new(1, 9, None);
    world.declare(GroupKind::Primary, &[1, 2, 3]).unwrap();
    world.wait(5_000);
    world.dies("nve2");
    world.wait(30_000);
    world.dies("nve1");
    world.wait(30_000);
    assert_eq!(world.active(), [name(3)]);
    world.dies("nve3");
    world.wait(30_000);
    assert_eq!((world.active(), world.failovers), (vec![name(3)], 1));
    // Whoever comes first has it then.
    world.nves.get_mut("nve2").unwrap().is_dead = false;
    world.open("nve2", 0);
    world.wait(400);
    assert_eq!((world.active(), world.failovers), (vec![name(2)], 2));
}

#[test]
fn what_is_shared_has_the_locators_of_all_by_weight_and_loses_that_of_the_lost_one() {
    let mut world = World::new(1, 4, None);
    world.declare(GroupKind::Shared, &[1, 2, 3]).unwrap();
    assert_eq!(weights(&world), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(world.attached(), [name(1), name(2), name(3)]);
    // Each registers its own locators, which changes nothing.
    let revision = world.at(0).registry().revision();
    for n in 1..=3 {
        world.says(&name(n), Up::Register { id: 9, key: keys()[0], choices: at(n), known: 0, mac: None });
        world.says(&name(n), Up::Unregister { id: 10, key: keys()[0] });
    }
    assert_eq!((world.at(0).registry().revision(), world.count(Kind::Refused)), (revision, 0));
    // Another NVE has no part in it.
    world.says("nve4", Up::Register { id: 9, key: keys()[0], choices: at(4), known: 0, mac: None });
    assert_eq!(world.count(Kind::Refused), 1);
    world.wait(5_000);
    world.dies("nve1");
    world.wait(LEASE_MS);
    assert_eq!((weights(&world), world.attached()), (vec![(2, 2), (3, 3)], vec![name(2), name(3)]));
    assert_eq!(world.owners(), [Some(name(2)), Some(name(2))]);
    world.nves.get_mut("nve1").unwrap().is_dead = false;
    world.open("nve1", 0);
    world.wait(20_000);
    assert_eq!((weights(&world), part(&world, 1)), (vec![(2, 2), (3, 3)], Some(GroupPart::Standby)));
    world.wish(GroupWish::Return("db".to_owned(), None)).unwrap();
    assert_eq!((weights(&world), part(&world, 1)), (vec![(1, 1), (2, 2), (3, 3)], Some(GroupPart::Active)));
    // It stays at one of them when nobody shares it any more.
    world.wish(GroupWish::Delete("db".to_owned())).unwrap();
    assert_eq!(world.attached(), [name(1)]);
    assert_eq!(weights(&world).iter().map(|(nve, _)| *nve).collect::<Vec<_>>(), [1]);
    assert!((1..=3).all(|n| part(&world, n).is_none()));
}

#[test]
fn what_is_of_a_group_is_changed_by_its_group_alone_and_each_refusal_tells_the_way_out() {
    let mut world = World::new(1, 4, None);
    for (members, why) in [
        (&[1][..], "name 2 to"),
        (&[2, 1], "stands at the first member"),
        (&[1, 1], "named twice"),
        (&[1, 9], "is no NVE"),
    ] {
        let refused = world.declare(GroupKind::Primary, members).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    world.close("nve2");
    assert!(world.declare(GroupKind::Primary, &[1, 2]).unwrap_err().contains("has no session"));
    world.open("nve2", 0);
    world.declare(GroupKind::Primary, &[1, 2]).unwrap();
    assert!(world.declare(GroupKind::Primary, &[1, 3]).unwrap_err().contains("already"));
    let (key, change) = delete(attachment("nve1", "vm1", 11, "red", "10.1.0.5"), None);
    let refused = world.ask(0, |ticket| Input::Change(ticket, key, change)).unwrap_err();
    assert!(refused.contains("ilactl nva group delete db"), "{refused}");
    let refused = world.ask(0, |ticket| Input::Release(ticket, keys()[0])).unwrap_err();
    assert!(refused.contains("has a session") || refused.contains("group delete db"), "{refused}");
    let token = Token([1; TOKEN_BYTES]);
    let (attachment_name, from, to, port) = ("vm1".to_owned(), name(1), name(3), "b".to_owned());
    let (vlan, mode, in_flight) = (Some(23), Mode::Cold, None);
    let request = MoveRequest { attachment: attachment_name, from, to, port, vlan, mode, in_flight, token };
    let refused = world.ask(0, |ticket| Input::Move(ticket, "alice".to_owned(), request)).unwrap_err();
    assert!(refused.contains("group delete db"), "{refused}");
    // The place of the standby is taken.
    let (key, change) = attachment("nve2", "vm2", 22, "red", "10.1.0.6");
    assert!(world.ask(0, |ticket| Input::Change(ticket, key, change)).is_err());
    // What an NVE says that it has no more stays its own as long as the group says so.
    world.says("nve1", Up::Unregister { id: 7, key: keys()[0] });
    assert_eq!(world.owners(), [Some(name(1)), Some(name(1))]);
    world.wish(GroupWish::Delete("db".to_owned())).unwrap();
    assert!(world.wish(GroupWish::Delete("db".to_owned())).unwrap_err().contains("there is no group"));
    assert_eq!((part(&world, 1), part(&world, 2), world.attached()), (None, None, vec![name(1)]));
    let (key, change) = attachment("nve2", "vm2", 22, "red", "10.1.0.6");
    assert!(world.ask(0, |ticket| Input::Change(ticket, key, change)).is_ok());
}

/// Random deaths, streams that end, authorities that are killed; gives what was taken from an NVE that lived.
fn simulated(seed: u64, flaw: Option<Flaw>) -> (World, bool) {
    let mut chance = Chance(seed);
    let mut world = World::new(2, 5, flaw);
    let kind = if seed.is_multiple_of(2) { GroupKind::Primary } else { GroupKind::Shared };
    world.declare(kind, &[1, 2, 3]).unwrap();
    for _ in 0..60 {
        let nve = name(1 + chance.below(5));
        match chance.below(8) {
            0 => world.close(&nve),
            1 | 2 => {
                let a = chance.below(2) as usize;
                if world.nves[&nve].session.is_none() || chance.below(2) == 0 {
                    world.open(&nve, a);
                }
            }
            3 if world.nves.values().filter(|nve| nve.is_dead).count() < 2 => world.dies(&nve),
            4 => {
                world.nves.get_mut(&nve).unwrap().is_dead = false;
                let a = chance.below(2) as usize;
                world.open(&nve, a);
            }
            5 if chance.below(3) == 0 => {
                let a = chance.below(2) as usize;
                world.kill(a);
                world.start(a);
            }
            _ => {}
        }
        // Those that live come back soon.
        for n in 1..=5 {
            if world.nves[&name(n)].session.is_none() && chance.below(2) == 0 {
                let a = chance.below(2) as usize;
                world.open(&name(n), a);
            }
        }
        world.wait(200 * (1 + chance.below(20)));
    }
    // When the faults stop, the identifiers are somewhere where somebody lives.
    for n in 1..=5 {
        if world.nves[&name(n)].session.is_none() {
            world.open(&name(n), 0);
        }
    }
    world.wait(3 * GRACE_MS);
    let lives = world.active().iter().any(|nve| !world.nves[nve].is_dead)
        || (1..=3).all(|n| world.nves[&name(n)].is_dead);
    (world, lives)
}

#[test]
fn nothing_is_taken_from_an_nve_that_lives_and_has_a_session_and_something_lives_in_the_end() {
    let mut failovers = 0;
    for seed in 0..60 {
        let (world, lives) = simulated(seed, None);
        assert!(world.stolen.is_empty() && lives, "seed {seed}: {:?}, lives: {lives}", world.stolen);
        failovers += world.failovers;
    }
    assert!(failovers > 30, "{failovers} failovers in all");
}

#[test]
fn each_flaw_of_failover_is_found_within_a_hundred_seeds() {
    for flaw in [Flaw::WithoutGeneration, Flaw::NoGrace] {
        let found = (0..100).find(|seed| !simulated(*seed, Some(flaw)).0.stolen.is_empty());
        assert!(found.is_some(), "{flaw:?} was not found");
    }
}
