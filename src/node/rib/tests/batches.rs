//! Batches: what is taken, what is refused, and when readers see it.

use super::*;
use crate::mapping::Held;

#[test]
fn a_mapping_leads_to_its_locator_over_the_route() {
    let mut rib = rib();
    let applied = file(&mut rib, vec![to(2, &[(2, 0, 1)])]).unwrap();
    assert_eq!((applied.revision, counts(&applied)), (1, (1, 0, 0)));
    assert!(rib.needs_snapshot());
    let tables = rib.compile();
    assert!(!rib.needs_snapshot());
    let hop = hop_of(&tables, 2);
    assert_eq!((hop.state, hop.port, &hop.link()[..6]), (HopState::Ready, PortId(0), &NEXT.0[..]));
    // Σ SIR = 0b97, Σ locator = fd03: the difference is kept with the mapping, with the C-bit's weight, and with the
    // locator.
    let Some(Action::Remote(remote)) = action(&tables, 2) else { panic!() };
    assert_eq!((remote.add, remote.mark, remote.locator()), (0xfe92, 0x1000, locator(2)));
    let adjustment =
        |n: u64| tables.prefixes.of(locator(n).0).map(|prefix_info| (prefix_info.remote, prefix_info.local));
    let told = |adjustment| Some((DomainId(0), Adjustment(adjustment)));
    assert_eq!(adjustment(2), Some((told(0x0e93), None)));
    assert_eq!(adjustment(1), Some((None, told(0x0e94))));
}

#[test]
fn replacing_and_deleting_are_counted() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)]), to(3, &[(3, 0, 1)])]).unwrap();
    let again =
        file(&mut rib, vec![to(2, &[(2, 0, 1)]), to(3, &[(2, 0, 1)]), delete(2), delete(99)]).unwrap();
    assert_eq!((again.revision, counts(&again)), (2, (0, 1, 1)));
}

#[test]
fn a_batch_is_applied_whole_or_not_at_all() {
    let mut rib = rib();
    let bad = to(4, &[(4, 0, 1), (4, 1, 1)]);
    let refusal = file(&mut rib, vec![to(2, &[(2, 0, 1)]), bad]).unwrap_err();
    assert_eq!(refusal.sir.to_string(), "2001:db8:dddd:0:2000::4");
    assert!(refusal.why.contains("given twice"), "{refusal}");
    assert_eq!(
        (rib.held(0, id(2)), rib.actions.domains_of(locator(2)).next(), rib.revision()),
        (None, None, 0)
    );
}

#[test]
fn only_types_1_to_4_without_the_c_bit_under_a_known_domain_are_taken() {
    let mut rib = rib();
    let cases = [
        (0, 0x0000_0000_0000_0001, "type 0"),
        (0, 0x4000_0000_0a00_0001, "VNID 0"),
        (0, 0x6000_0000_0000_0001, "VNID 0"),
        (0, 0x5000_0001_0a00_0001, "C-bit"),
        (0, 0x8000_0001_2000_0001, "scope 2"),
        (0, 0x4000_0001_e000_0001, "never leaves its link"),
        (0, 0xa000_0000_0000_0001, "reserved"),
        (0, 0x3000_0000_0000_0001, "C-bit"),
        (7, 0x2000_0000_0000_0001, "not configured"),
    ];
    for (domain, identifier, words) in cases {
        let record =
            MappingRecord { domain, identifier: Identifier(identifier), target: MappingTarget::Blackhole };
        let why = file(&mut rib, vec![Change::Upsert(record)]).unwrap_err().why;
        assert!(why.contains(words), "{why}");
        let delete = Change::Delete { domain, identifier: Identifier(identifier) };
        assert!(file(&mut rib, vec![delete]).unwrap_err().why.contains(words));
    }
    for identifier in [
        Identifier::tenant_ipv4(1, 0x0a00_0001),
        Identifier::tenant_ipv6(1, 1),
        Identifier::tenant_multicast(1, 5, 1),
        Identifier::tenant_ipv4(1, u32::MAX),
    ] {
        let record = MappingRecord { domain: 0, identifier, target: MappingTarget::Blackhole };
        file(&mut rib, vec![Change::Upsert(record)]).unwrap();
        assert!(rib.held(0, identifier).is_some());
    }
}

#[test]
fn zero_aliases_are_refused_where_the_mode_makes_them_alike() {
    let mut rib = rib();
    let zero_aliases =
        |domain| vec![in_domain(domain, 0x1_0000, &[(2, 0, 1)]), in_domain(domain, 0x1_ffff, &[(2, 0, 1)])];
    assert!(file(&mut rib, zero_aliases(0)).unwrap_err().why.contains("twin of 2001:db8:dddd:0:2000:0:1:0"));
    let mut plain = zero_aliases(1);
    for change in &mut plain {
        if let Change::Upsert(record) = change {
            record.target = MappingTarget::Blackhole;
        }
    }
    file(&mut rib, plain).unwrap();
    file(&mut rib, vec![to(0x1_0000, &[(2, 0, 1)])]).unwrap();
    assert!(file(&mut rib, vec![to(0x1_ffff, &[(2, 0, 1)])]).is_err());
    // One leaves, then the other comes.
    file(&mut rib, vec![delete(0x1_0000), to(0x1_ffff, &[(2, 0, 1)])]).unwrap();
    // A complete batch that does not name the one may name the other.
    let whole = Batch { origin: Origin::File, changes: vec![to(0x1_0000, &[(2, 0, 1)])], complete: true };
    rib.apply(whole).unwrap();
    assert!(rib.held(0, id(0x1_ffff)).is_none() && rib.held(0, id(0x1_0000)).is_some());
}

#[test]
fn a_locator_belongs_to_one_sir_domain() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)])]).unwrap();
    for (change, words) in [
        (in_domain(1, 2, &[(2, 0, 1)]), "locator of domain tasks"),
        (in_domain(1, 2, &[(1, 0, 1)]), "locator of domain tasks"),
    ] {
        let why = file(&mut rib, vec![change]).unwrap_err().why;
        assert!(why.contains(words), "{why}");
    }
    let choice = LocatorChoice { locator: Locator(0x2001_0db8_eeee_0000), priority: 0, weight: 1 };
    let target = MappingTarget::Locators(vec![choice]);
    let sir = Change::Upsert(MappingRecord { domain: 0, identifier: id(9), target });
    assert!(file(&mut rib, vec![sir]).unwrap_err().why.contains("SIR prefix of domain plain"));
    // Within one batch as well.
    let both = vec![in_domain(0, 5, &[(8, 0, 1)]), in_domain(1, 5, &[(8, 0, 1)])];
    assert!(file(&mut rib, both).is_err());
    // Once nothing uses it any more, it is free.
    file(&mut rib, vec![delete(2)]).unwrap();
    file(&mut rib, vec![in_domain(1, 2, &[(2, 0, 1)])]).unwrap();
}

#[test]
fn a_locator_may_move_to_another_sir_domain_within_one_batch() {
    let domain = |rib: &Rib| rib.actions.domains_of(locator(2)).next();
    let prefix_info = |rib: &mut Rib| {
        let tables = rib.compile();
        tables
            .prefixes
            .of(locator(2).0)
            .and_then(|prefix_info| prefix_info.remote)
            .map(|(domain, _)| domain.0)
    };
    let held = || {
        let mut rib = rib();
        file(&mut rib, vec![to(2, &[(2, 0, 1)]), to(3, &[(2, 0, 1), (3, 0, 1)])]).unwrap();
        rib.compile();
        rib
    };
    let there = in_domain(1, 2, &[(2, 0, 1)]);
    // A file that no longer has it in the one domain, deletions, and new targets, in any order.
    let whole = Batch { origin: Origin::File, changes: vec![there.clone()], complete: true };
    let by_deletion = batch(Origin::File, vec![delete(2), there.clone(), delete(3)]);
    let by_change = batch(Origin::File, vec![there.clone(), to(2, &[(3, 0, 1)]), to(3, &[(3, 0, 1)])]);
    for batch in [whole, by_deletion, by_change] {
        let mut rib = held();
        let staged = rib.stage(batch).unwrap();
        rib.compile();
        rib.commit(staged);
        assert!(rib.needs_snapshot(), "readers learn whose locator it is now");
        assert_eq!((domain(&rib), prefix_info(&mut rib)), (Some(1), Some(1)));
    }
    // One mapping that stays is enough to keep it.
    for changes in [vec![delete(2), there.clone()], vec![delete(2), delete(3), there, to(2, &[(2, 0, 1)])]] {
        let mut rib = held();
        let why = file(&mut rib, changes).unwrap_err().why;
        assert!(why.contains("locator of domain tasks"), "{why}");
        assert_eq!((domain(&rib), prefix_info(&mut rib)), (Some(0), Some(0)));
    }
}

#[test]
fn an_attachment_wins_over_every_mapping() {
    let mut rib = rib();
    let applied = file(&mut rib, vec![to(1, &[(2, 0, 1)]), delete(1)]).unwrap();
    assert_eq!(counts(&applied), (0, 0, 0));
    assert_eq!(rib.held(0, id(1)).map(|held| held.target), Some(HeldTarget::Local(0)));
    for change in [to(1, &[(2, 0, 1)]), delete(1)] {
        let why = rib.apply(batch(Origin::Admin, vec![change])).unwrap_err().why;
        assert!(why.contains("remove the attachment"), "{why}");
    }
    let why = rib.apply(batch(Origin::Attachment, vec![to(7, &[(2, 0, 1)])])).unwrap_err().why;
    assert!(why.contains("configuration"), "{why}");
}

#[test]
fn an_operators_mapping_wins_over_the_files() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)])]).unwrap();
    let applied = rib.apply(batch(Origin::Admin, vec![to(2, &[(3, 0, 1)])])).unwrap();
    assert_eq!(counts(&applied), (0, 1, 0));
    let whole = Batch { origin: Origin::File, changes: vec![to(2, &[(2, 0, 1)])], complete: true };
    assert_eq!(counts(&rib.apply(whole).unwrap()), (0, 0, 0));
    assert_eq!(rib.held(0, id(2)).map(|held| held.origin), Some(Origin::Admin));
    file(&mut rib, vec![delete(2)]).unwrap();
    assert!(rib.held(0, id(2)).is_some());
    rib.apply(batch(Origin::Admin, vec![delete(2)])).unwrap();
    assert!(rib.held(0, id(2)).is_none());
}

#[test]
fn equal_data_needs_no_snapshot_and_writes_no_table() {
    let mut rib = rib();
    let whole = || Batch {
        origin: Origin::Nva,
        changes: vec![to(2, &[(2, 0, 1)]), to(3, &[(3, 0, 1)])],
        complete: true,
    };
    rib.apply(whole()).unwrap();
    let _ = rib.compile();
    rib.release();
    assert_eq!(counts(&rib.apply(whole()).unwrap()), (0, 0, 0));
    assert!(!rib.needs_snapshot());
    let (_, action) = rib.by_precedence(0, id(2).0).next().unwrap();
    assert_eq!(rib.settle(0, id(2).0, Origin::Nva, action), (None, Some(action)));
}

fn held(rib: &Rib, low: u64) -> Option<(Origin, u64)> {
    match rib.held(0, id(low))? {
        Held { origin, target: HeldTarget::Remote(MappingTarget::Locators(choices)), .. } => {
            Some((origin, choices[0].locator.0 & 0xffff))
        }
        Held { origin, .. } => Some((origin, 0)),
    }
}

fn admin(rib: &mut Rib, change: Change) -> Result<(u64, u64, u64), Refusal> {
    rib.apply(batch(Origin::Admin, vec![change])).map(|applied| counts(&applied))
}

#[test]
fn the_files_mapping_is_in_force_again_when_an_operators_goes() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)])]).unwrap();
    assert_eq!(admin(&mut rib, to(2, &[(3, 0, 1)])), Ok((0, 1, 0)));
    assert_eq!(held(&rib, 2), Some((Origin::Admin, 3)));
    let covers = |rib: &Rib| rib.mapping_get("2001:db8:dddd:0:2000::2".parse().unwrap()).unwrap().covers;
    assert_eq!(covers(&rib), ["file"]);
    assert_eq!(admin(&mut rib, delete(2)), Ok((0, 1, 0)));
    assert!(covers(&rib).is_empty());
    assert_eq!(held(&rib, 2), Some((Origin::File, 2)));
    assert_eq!(hop_of(&rib.compile(), 2).state, HopState::Ready);
    // What the file says meanwhile is what comes back.
    admin(&mut rib, to(2, &[(3, 0, 1)])).unwrap();
    let changes = vec![to(2, &[(6, 0, 1)]), to(4, &[(4, 0, 1)])];
    let whole = rib.apply(Batch { origin: Origin::File, changes, complete: true }).unwrap();
    assert_eq!((counts(&whole), held(&rib, 2)), ((1, 0, 0), Some((Origin::Admin, 3))));
    admin(&mut rib, delete(2)).unwrap();
    assert_eq!(held(&rib, 2), Some((Origin::File, 6)));
    // And nothing comes back of what it no longer says.
    admin(&mut rib, to(2, &[(3, 0, 1)])).unwrap();
    rib.apply(Batch { origin: Origin::File, changes: Vec::new(), complete: true }).unwrap();
    assert_eq!(admin(&mut rib, delete(2)), Ok((0, 0, 1)));
    assert_eq!(
        (held(&rib, 2), rib.actions.used().filter(|key| key.origin != Origin::Attachment).count()),
        (None, 0)
    );
}

#[test]
fn an_operators_mapping_may_come_before_the_files() {
    let mut rib = rib();
    assert_eq!(admin(&mut rib, to(2, &[(3, 0, 1)])), Ok((1, 0, 0)));
    file(&mut rib, vec![to(2, &[(2, 0, 1)])]).unwrap();
    assert_eq!(held(&rib, 2), Some((Origin::Admin, 3)));
    admin(&mut rib, delete(2)).unwrap();
    assert_eq!(held(&rib, 2), Some((Origin::File, 2)));
}

#[test]
fn an_operator_cannot_delete_what_the_file_says() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)])]).unwrap();
    let why = admin(&mut rib, delete(2)).unwrap_err().why;
    assert!(why.contains("comes from the mapping file; remove it there"), "{why}");
    assert_eq!(held(&rib, 2), Some((Origin::File, 2)));
    // What nobody has is no fault.
    assert_eq!(admin(&mut rib, delete(3)), Ok((0, 0, 0)));
}

#[test]
fn what_is_covered_keeps_its_twin_and_its_locators_out() {
    let mut rib = rib();
    file(&mut rib, vec![to(0x1_0000, &[(2, 0, 1)])]).unwrap();
    admin(&mut rib, to(0x1_0000, &[(3, 0, 1)])).unwrap();
    let both = vec![delete(0x1_0000), to(0x1_ffff, &[(3, 0, 1)])];
    let why = rib.apply(batch(Origin::Admin, both.clone())).unwrap_err().why;
    assert!(why.contains("twin"), "{why}");
    let why = admin(&mut rib, in_domain(1, 7, &[(2, 0, 1)])).unwrap_err().why;
    assert!(why.contains("locator of domain tasks"), "{why}");
    rib.apply(Batch { origin: Origin::File, changes: Vec::new(), complete: true }).unwrap();
    rib.apply(batch(Origin::Admin, both)).unwrap();
    admin(&mut rib, in_domain(1, 7, &[(2, 0, 1)])).unwrap();
}

#[test]
fn what_an_attachment_covers_is_in_force_again_when_it_goes() {
    let (mut rib, away) = (rib(), CONFIG.replace("2000::1\"]", "2000::b\"]"));
    let away = Config::parse(&away, "test.yaml").unwrap();
    file(&mut rib, vec![to(1, &[(2, 0, 1)]), to(0xb, &[(3, 0, 1)])]).unwrap();
    admin(&mut rib, to(0xb, &[(6, 0, 1)])).unwrap();
    for round in 0..3 {
        assert_eq!(
            (held(&rib, 1), held(&rib, 0xb)),
            (Some((Origin::Attachment, 0)), Some((Origin::Admin, 6)))
        );
        let staged = rib.reconfigure(&away).unwrap();
        assert_eq!(counts(&rib.commit(staged)), (0, 2, 0), "{round}");
        assert_eq!(
            (held(&rib, 1), held(&rib, 0xb)),
            (Some((Origin::File, 2)), Some((Origin::Attachment, 0)))
        );
        let staged = rib.reconfigure(&config()).unwrap();
        assert_eq!(counts(&rib.commit(staged)), (0, 2, 0), "{round}");
        rib.compile();
        rib.release();
    }
    // An operator's mapping below an attachment is still the operator's.
    let staged = rib.reconfigure(&away).unwrap();
    rib.commit(staged);
    admin(&mut rib, delete(0xb)).unwrap();
    assert!(admin(&mut rib, delete(0xb)).unwrap_err().why.contains("is attached to this node"));
    let staged = rib.reconfigure(&config()).unwrap();
    rib.commit(staged);
    assert_eq!(held(&rib, 0xb), Some((Origin::File, 3)));
}

#[test]
fn a_complete_batch_is_applied_as_a_difference_and_deletes_only_its_own() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)]), to(3, &[(3, 0, 1)]), to(4, &[(4, 0, 1)])]).unwrap();
    rib.apply(batch(Origin::Admin, vec![to(9, &[(9, 0, 1)])])).unwrap();
    let changes = vec![to(2, &[(2, 0, 1)]), to(3, &[(2, 0, 1)]), to(8, &[(2, 0, 1)])];
    let whole = Batch { origin: Origin::File, changes, complete: true };
    assert_eq!(counts(&rib.apply(whole).unwrap()), (1, 1, 1));
    for (low, there) in [(1, true), (2, true), (3, true), (4, false), (8, true), (9, true)] {
        assert_eq!(rib.held(0, id(low)).is_some(), there, "{low}");
    }
}

#[test]
fn a_complete_batch_of_equal_data_writes_nothing() {
    let mut rib = rib();
    let all = || vec![to(2, &[(2, 0, 1)]), to(3, &[(3, 0, 1), (2, 1, 1)])];
    let whole = |changes| Batch { origin: Origin::Nva, changes, complete: true };
    rib.apply(whole(all())).unwrap();
    let tables = rib.compile();
    for _ in 0..3 {
        assert_eq!(counts(&rib.apply(whole(all())).unwrap()), (0, 0, 0));
        assert!(!rib.needs_snapshot());
    }
    assert!(action(&tables, 2).is_some() && action(&tables, 3).is_some());
    // Targets are still counted right: what is deleted then leaves nothing behind.
    assert_eq!(counts(&rib.apply(whole(Vec::new())).unwrap()), (0, 0, 2));
    assert_eq!(rib.held(0, id(2)), None);
}

#[test]
fn a_mapping_to_our_own_locator_needs_an_attachment() {
    let mut rib = rib();
    let why = rib.apply(batch(Origin::Admin, vec![to(2, &[(1, 0, 1)])])).unwrap_err().why;
    assert!(why.contains("add it to attachments"), "{why}");
    // The file may serve a node whose attachment is yet to come; until then it leads nowhere.
    file(&mut rib, vec![to(2, &[(1, 0, 1)])]).unwrap();
    assert_eq!(hop_of(&rib.compile(), 2).state, HopState::NoRoute);
    // Among several the others count.
    file(&mut rib, vec![to(2, &[(1, 0, 1), (2, 1, 1)])]).unwrap();
    assert_eq!(hop_of(&rib.compile(), 2).state, HopState::Ready);
}

#[test]
fn changing_between_known_targets_needs_no_snapshot() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)]), to(3, &[(3, 0, 1)])]).unwrap();
    rib.compile();
    for round in 0..100 {
        let at = 2 + round % 2;
        file(&mut rib, vec![to(2, &[(at, 0, 1)]), to(3, &[(5 - at, 0, 1)])]).unwrap();
        assert!(!rib.needs_snapshot());
    }
    // Even when a target is left by its last mapping and comes back.
    file(&mut rib, vec![to(3, &[(2, 0, 1)]), to(2, &[(2, 0, 1)])]).unwrap();
    file(&mut rib, vec![to(3, &[(3, 0, 1)])]).unwrap();
    assert!(!rib.needs_snapshot());
}

#[test]
fn no_reader_sees_an_action_that_its_snapshot_lacks() {
    let mut rib = rib();
    let old = rib.compile();
    let staged = rib.stage(batch(Origin::File, vec![to(2, &[(2, 0, 1)])])).unwrap();
    assert!(rib.needs_snapshot());
    assert_eq!(action(&old, 2), None);
    let new = rib.compile();
    assert_eq!(action(&new, 2), None);
    rib.commit(staged);
    assert!(matches!(action(&new, 2), Some(Action::Remote(_))));
    rib.release();
}

#[test]
fn an_abandoned_batch_leaves_nothing() {
    let mut rib = rib();
    let staged = rib.stage(batch(Origin::File, vec![to(2, &[(2, 0, 1)])])).unwrap();
    rib.abandon(staged);
    assert_eq!(rib.actions.domains_of(locator(2)).next(), None);
    assert_eq!(rib.revision(), 0);
}

#[test]
fn a_table_grows_before_it_is_full_and_keeps_the_budget() {
    let mut rib = rib();
    let changes = (0..100_000).map(|n| to(0x10_0001 + 2 * n, &[(2, 0, 1)])).collect();
    assert_eq!(counts(&file(&mut rib, changes).unwrap()), (100_000, 0, 0));
    let view = &rib.tables_view()[0];
    assert_eq!(view.mappings, 100_001);
    assert!(view.capacity >= view.mappings);
    assert!(view.memory_bytes / view.mappings < 24, "{view:?}");
    for n in 0..100u64 {
        let changes = (0..1000).map(|m| to(0x1000_0001 + 2 * (1000 * n + m), &[(2, 0, 1)])).collect();
        file(&mut rib, changes).unwrap();
    }
    let view = &rib.tables_view()[0];
    assert_eq!(view.mappings, 200_001);
    assert!(view.memory_bytes / view.mappings < 24, "{view:?}");
}
