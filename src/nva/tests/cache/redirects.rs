//! Redirects: ILA routers tell who sends through them what could go direct.

use super::*;

fn triangular(bench: &mut Bench, source: u64, destinations: impl IntoIterator<Item = u64>) {
    let triangle = |destination| Triangle { source: key(source), destination: key(destination) };
    bench.other(1, Up::Triangular(destinations.into_iter().map(triangle).collect()));
}

const OWN: u64 = 200;

fn redirecting(held: u64) -> Bench {
    let mut bench = Bench::new(held);
    bench.client(Input::Attached(BTreeMap::from([(key(OWN), at(2).into())])));
    bench.wait(1_000);
    bench.hello(1);
    bench
}

#[test]
fn who_sends_by_a_router_is_told_where_its_packets_go_and_what_changes_of_it() {
    let mut bench = redirecting(10);
    triangular(&mut bench, OWN, [1, 2, 1]);
    assert_eq!((bench.knows(), bench.queries.len(), bench.counts().redirected), (vec![1, 2], 0, 2));
    assert_eq!(bench.redirected, [1, 2]);
    bench.other(1, Up::Unregister { id: 1, key: key(1) });
    assert_eq!(bench.knows(), [2]);
    // It has a lifetime, and is asked for again only if it is used.
    bench.wait(LIFETIME_MS / 100 * 92);
    assert_eq!(bench.marked.len(), 1);
    bench.misses([2]);
    bench.wait(LIFETIME_MS / 2);
    assert_eq!((bench.knows(), bench.queries.len()), (vec![2], 1));
}

#[test]
fn a_redirect_comes_once_a_second_and_only_for_what_it_is_of_use() {
    let mut bench = redirecting(10);
    triangular(&mut bench, OWN, [1]);
    bench.now_ms += 999;
    triangular(&mut bench, OWN, [1]);
    assert_eq!(bench.redirected, [1]);
    bench.now_ms += 1;
    triangular(&mut bench, OWN, [1]);
    assert_eq!(bench.redirected, [1, 1]);
    // Nobody's source or destination; a source of an NVE that follows everything or has no session; its own destination.
    triangular(&mut bench, 77, [2]);
    triangular(&mut bench, OWN, [78, OWN]);
    triangular(&mut bench, 3, [OWN]);
    let other = Key { sir_prefix: OTHER_SIR, ..key(2) };
    bench.other(1, Up::Triangular(vec![Triangle { source: key(OWN), destination: other }]));
    assert_eq!((bench.knows(), bench.redirected.len()), (vec![1], 2));
    let authority::Triangles { redirected, needless, unheard } = bench.authority.triangles();
    assert_eq!((redirected, needless, unheard), (2, 6, 0));
}

#[test]
fn a_router_is_heard_at_a_rate_and_who_is_none_loses_its_session() {
    let mut bench = redirecting(100);
    for _ in 0..10 {
        triangular(&mut bench, OWN, 1..=64);
    }
    let authority::Triangles { redirected, needless, unheard } = bench.authority.triangles();
    assert_eq!((redirected, needless, unheard), (64, 136, 440));
    bench.hello(3);
    let before = bench.authority.nves().count();
    bench.other(3, Up::Triangular(vec![Triangle { source: key(OWN), destination: key(70) }]));
    assert_eq!((bench.authority.nves().count(), bench.redirected.len()), (before - 1, 64));
}

#[test]
fn a_router_tells_only_while_the_authority_says_that_it_is_one() {
    for router in [true, false] {
        let mut client = Client::new(name(1), 1, 1, 1, None);
        let seen = || Input::Triangles(vec![Triangle { source: key(1), destination: key(2) }]);
        let _ = client.step(0, Input::Tick);
        let _ = client.step(0, Input::Opened);
        assert_eq!(client.step(0, seen()), []);
        let welcome = Down::Welcome {
            version: 1,
            epoch: vec![1],
            revision: 0,
            lease_ms: 60_000,
            router,
            bindings: false,
            blocks: true,
            addresses: false,
        };
        let _ = client.step(0, Input::Down(welcome));
        assert_eq!(client.status().router, router);
        let told = client.step(0, seen());
        assert_eq!(told.len(), usize::from(router), "{told:?}");
        let _ = client.step(0, Input::Closed("broken".to_owned()));
        assert!(!client.status().router && client.step(2_000, seen()).is_empty());
    }
}
