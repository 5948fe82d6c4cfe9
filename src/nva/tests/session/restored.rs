//! Sessions of an authority whose registry was restored from a backup, or that is behind others.

use super::*;

fn restored() -> Bench {
    let mut bench = Bench::new(LIMITS, 1);
    let registry = Registry::new(nves(2), [], 9, (0, 0)).restored(0);
    let settings = with_sessions(settings(EPOCH, LIMITS), |sessions| sessions.lease_ms = 60_000);
    bench.authority = Authority::new(settings, registry);
    bench
}

#[test]
fn a_restored_registry_waits_until_all_said_what_they_have_or_time_is_over_or_an_operator_says_so() {
    let serves = |bench: &mut Bench| {
        bench.register(1, 7);
        bench.authority.registry().record(key(7)).is_some()
    };
    for how in 0..3 {
        let mut bench = restored();
        bench.hello(1);
        bench.hello(2);
        bench.up(1, Up::Complete);
        bench.step(Input::Tick);
        assert!(!serves(&mut bench));
        // What it had it has again.
        bench.up(1, Up::Register { id: 8, key: key(8), choices: at(1), known: 3, mac: None });
        assert!(bench.authority.registry().record(key(8)).is_some());
        match how {
            0 => bench.up(2, Up::Complete),
            1 => bench.now_ms = RESTORE_WAIT_MS,
            _ => {
                bench.step(Input::Resume(Ticket(5)));
                assert_eq!(bench.released, [(Ticket(5), Ok((0, 11)))]);
                bench.step(Input::Resume(Ticket(6)));
                assert!(
                    matches!(bench.released.pop(), Some((_, Err(why))) if why.contains("waits for nobody"))
                );
            }
        }
        bench.step(Input::Tick);
        assert!(bench.commits[1].ends_restoration && serves(&mut bench), "{how}");
    }
}

#[test]
fn authorities_of_one_restored_registry_hear_from_each_other_who_said_what_it_has() {
    let mut bench = restored();
    let registry = Registry::new(nves(2), [], 9, (0, 0)).restored(0);
    let commits = CommitRules { batch: 5, is_shared: true };
    let settings =
        with_sessions(Settings { commits, ..settings(EPOCH, LIMITS) }, |sessions| sessions.lease_ms = 60_000);
    bench.authority = Authority::new(settings, registry);
    bench.commits_at_once = false;
    let waits = |bench: &Bench| bench.authority.registry().restoration().unwrap().waits_for().count();
    bench.hello(1);
    bench.step(Input::Committed(Ok(())));
    bench.commits.clear();
    bench.up(1, Up::Complete);
    // What another authority made durable comes first: it is offered again.
    assert_eq!(bench.commits.pop().unwrap().completed, [name(1).into()]);
    let other = Transaction { completed: vec![name(2).into()], ..Transaction::default() };
    bench.step(Input::Others(other, Vec::new()));
    assert_eq!((bench.commits.pop().unwrap().completed, waits(&bench)), (vec![name(1).into()], 1));
    // A store that refuses is not asked at once again.
    bench.step(Input::Committed(Err("full".to_owned())));
    assert!(bench.commits.is_empty());
    bench.step(Input::Tick);
    assert_eq!((bench.commits.pop().unwrap().completed, waits(&bench)), (vec![name(1).into()], 1));
    bench.step(Input::Committed(Ok(())));
    assert_eq!(waits(&bench), 0);
    bench.step(Input::Tick);
    assert!(bench.commits.pop().unwrap().ends_restoration);
    bench.step(Input::Committed(Ok(())));
    assert!(bench.authority.registry().restoration().is_none());
    // Later nobody is told.
    bench.step(Input::Tick);
    assert!(bench.commits.is_empty());
}

#[test]
fn an_authority_that_reads_everything_anew_knows_how_far_a_restoration_is() {
    let mut bench = restored();
    let stored = |restored, revision, completed: &[u64]| {
        let completed = completed.iter().map(|n| name(*n).into()).collect();
        Stored { revision, restored, completed, ..Stored::default() }
    };
    bench.step(Input::Replaced(stored(true, 20, &[2])));
    let left: Vec<_> =
        bench.authority.registry().restoration().unwrap().waits_for().map(str::to_owned).collect();
    assert_eq!(left, [name(1)]);
    bench.step(Input::Replaced(stored(false, 21, &[])));
    assert!(bench.authority.registry().restoration().is_none());
}

#[test]
fn an_authority_that_is_behind_takes_no_node_back_in_time() {
    // With a store of its own, what an NVE has beyond it was lost.
    let mut bench = Bench::new(LIMITS, 5);
    bench.follows(1, Some((EPOCH, 9)));
    assert_eq!(
        bench.told_all(1),
        ["resync: the NVE has revision 9, and this authority 5", "page 1 2 3 4 5", "end 5"]
    );
    // With others, they have written it, and it comes.
    let shared =
        Settings { commits: CommitRules { is_shared: true, ..CommitRules::OWN }, ..settings(EPOCH, LIMITS) };
    bench.authority = Authority::new(shared, Registry::new(nves(3), [], 5, (0, 0)));
    bench.hello(2);
    bench.commits_at_once = true;
    bench.up(2, Up::Subscribe(Some(Known { epoch: vec![EPOCH], revision: 900 }), Scopes::default()));
    let (id, why) = bench.closed.pop().unwrap();
    assert!(id == SessionId(2) && why.contains("this authority is behind"), "{why}");
    assert!(bench.told_all(2).iter().all(|word| !word.starts_with("resync")));
}
