//! How much one authority takes.

use super::*;

/// VMs that move, and moves that begin in a second.
const VMS: u64 = 120;
const PER_SECOND: u64 = 200;
const SECONDS: u64 = 3;
/// Time that a transaction takes until it is durable.
const DURABLE_MS: u64 = 2;

/// What a node says of a move at once.
fn sight(told: &MoveTold) -> Option<Sight> {
    match (told.role, told.state) {
        (_, MoveState::Preparing) => Some(Sight::Ready),
        (Role::Old, MoveState::Prepared) => Some(Sight::Detached(Sign::Carrier)),
        (Role::Old, MoveState::Detached) => Some(Sight::Ready),
        (Role::New, MoveState::Detached) => Some(Sight::Arrived(Sign::Frame)),
        (Role::Old, MoveState::Draining) => Some(Sight::Drained),
        _ => None,
    }
}

#[test]
fn two_hundred_moves_a_second_are_sustained_over_a_store_that_takes_two_milliseconds() {
    let mut world = World::new();
    for vm in 2..=VMS {
        let text = format!(
            "{{name: vm{vm}, port: a, vlan: {}, mac: '02:00:00:00:01:{vm:02x}', network: red, addresses: [10.1.0.{}]}}",
            100 + vm,
            100 + vm
        );
        let (key, change) = super::super::provision::add("nve1", crate::config::Entry::attachment(&text));
        world.ask(|ticket| Input::Change(ticket, key, change)).unwrap();
    }
    world.settle();
    let (mut durable_ms, mut began, mut longest) = (0, BTreeMap::new(), 0);
    for ms in 0..SECONDS * 1_000 + 2_000 {
        world.tick(1);
        if ms < SECONDS * 1_000 && ms.is_multiple_of(1_000 / PER_SECOND) {
            let number = ms / (1_000 / PER_SECOND);
            let (vm, round) = (1 + number % VMS, number / VMS);
            let (from, to) = if round.is_multiple_of(2) { (1, 2) } else { (2, 1) };
            let mut request = world.request(from, to, Mode::Hot);
            (request.attachment, request.vlan) = (format!("vm{vm}"), Some(100 + vm as u16));
            request.port = "a".to_owned();
            world.step(Input::Move(Ticket(10_000 + number), "alice".to_owned(), request));
        }
        if world.commit.is_none() {
            durable_ms = ms + DURABLE_MS;
        } else if ms >= durable_ms {
            world.commits(true);
            durable_ms = ms + DURABLE_MS;
        }
        world.step(Input::Due);
        for n in 0..NVES_THAT_MOVE {
            (0..16).for_each(|_| _ = world.deliver(n));
            let told: Vec<_> =
                world.nves[n].moves.values().filter_map(|it| Some((it.id, sight(it)?))).collect();
            for (id, sight) in told {
                world.client(n, client::Input::Move(id, sight));
            }
        }
        for n in NVES_THAT_MOVE..4 {
            (0..16).for_each(|_| _ = world.deliver(n));
        }
        let now: BTreeMap<MoveId, u64> =
            world.at().moves().iter().map(|one| (one.id, *began.get(&one.id).unwrap_or(&ms))).collect();
        longest = longest.max(now.values().map(|since| ms - since).max().unwrap_or(0));
        began = now;
    }
    let counts = *world.at().moves().counts();
    println!("{} moves, the longest took {longest} ms", counts.done);
    assert_eq!((counts.done, counts.aborted), (PER_SECOND * SECONDS, 0));
    assert!(longest < 1_000, "a move took {longest} ms");
    assert_eq!(world.at().moves().iter().count(), 0);
    assert_eq!(world.store.load().unwrap().moves.len(), 0);
}

/// Those that take hot moves.
const NVES_THAT_MOVE: usize = 2;
