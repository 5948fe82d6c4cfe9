//! Laws that were broken once.

use super::provision::{Office, attachment, network, rules};
use super::*;
use crate::nva::authority::{self, Authority, LIMITS, SessionId, Ticket};
use crate::nva::catalogue::Catalogue;
use crate::nva::codec::{encode, read_down_and_count, write_down};
use crate::nva::event::By;
use crate::nva::message::{Down, Mode, MoveReport, MoveWhat, Sign, Token, Up};
use crate::nva::mobility::{MoveRules, TOKEN_BYTES};
use crate::nva::model::MAX_LOCATORS;
use crate::nva::registry::moving::{Ability, Judging, MoveRequest, Step, StepWhat};
use crate::nva::registry::{Draft, Registry};

/// An authority with a store that answers at once, and sessions of nve1 and nve2.
struct Bench {
    authority: Authority,
    told: Vec<(u64, Down<crate::nva::message::Encoded>)>,
}

impl Bench {
    fn new() -> Self {
        let registry = Registry::new(nves(2), [], 0, (0, 0));
        let mut bench = Bench { authority: Authority::new(settings(1, LIMITS), registry), told: Vec::new() };
        for n in [1, 2] {
            bench.step(authority::Input::Opened(SessionId(n), None));
            let (versions, nve, moves) = (vec![1], name(n), Modes::default());
            bench.up(
                n,
                Up::Hello { versions, nve, boot: 1, asks: false, digests: false, moves, groups: false },
            );
        }
        bench
    }

    fn step(&mut self, input: authority::Input) {
        for effect in self.authority.step(0, input) {
            match effect {
                authority::Effect::Down(id, down) => self.told.push((id.0, down)),
                authority::Effect::Commit(_) => self.step(authority::Input::Committed(Ok(()))),
                _ => {}
            }
        }
    }

    fn up(&mut self, n: u64, up: Up) {
        self.step(authority::Input::Up(SessionId(n), up));
    }

    /// An NVE registers an identifier with this weight at its locator. Gives why it may not.
    fn registers(&mut self, nve: u64, weight: u16) -> Option<String> {
        self.told.clear();
        let choices = vec![Choice { weight, ..at(nve)[0] }];
        self.up(nve, Up::Register { id: 1, key: key(1), choices, known: 0, mac: None });
        let refused = |(to, down): &(u64, Down<_>)| match down {
            Down::Refused { why, .. } if *to == nve => Some(why.clone()),
            _ => None,
        };
        self.told.iter().find_map(refused)
    }
}

#[test]
fn who_is_refused_an_identifier_uses_up_nothing_of_its_owners_rate() {
    let mut bench = Bench::new();
    assert_eq!(bench.registers(1, 1), None);
    for n in 1..=200 {
        let why = bench.registers(2, n).unwrap();
        assert!(why.contains("is registered by nve1"), "{why}");
    }
    // The owner changes it as often as if nobody had tried.
    for n in 2..=21 {
        assert_eq!(bench.registers(1, n), None, "change {n}");
    }
    assert!(bench.registers(1, 22).unwrap().contains("changes too often"));
}

#[test]
fn what_moves_to_an_nve_with_many_locators_gets_as_many_as_a_record_has() {
    let mut known = nves(2);
    let many = (10..10 + 2 * MAX_LOCATORS as u64).map(|n| (locator(2, n), SIR));
    known.get_mut("nve2").unwrap().locators.extend(many);
    let registry = Registry::new(known, [], 0, (0, 0)).with_catalogue(Catalogue::new(rules(), []));
    let mut office = Office(registry.with_moves(MoveRules::default(), Vec::new(), (0, 0)));
    office.does(network("red", 1, "")).unwrap();
    office.does(attachment("nve1", "vm1", 11, "red", "10.1.0.5")).unwrap();
    let identifier = crate::ila::Identifier::tenant_ipv4(1, 0x0a01_0005).0;
    let moved = Key { sir_prefix: SIR, identifier };
    let mut draft = Draft::default();
    office.0.register(&mut draft, "nve1", claim(moved, at(1)), 0).unwrap();
    office.0.apply(&draft.finish().unwrap(), 0);
    let token = Token([7; TOKEN_BYTES]);
    let request = MoveRequest {
        attachment: "vm1".to_owned(),
        from: name(1),
        to: name(2),
        port: "b".to_owned(),
        vlan: Some(22),
        mode: Mode::Hot,
        in_flight: None,
        token,
    };
    let step = |office: &mut Office, what| {
        let mut steps = Judging::default();
        let step = Step { by: By::Operator(Ticket(1)), who: String::new(), what };
        let id = office.0.judge_step(&mut steps, &step, |_| Ability::Here(Modes::ALL), 0).unwrap();
        office.0.apply(&steps.finish(), 0);
        id
    };
    let id = step(&mut office, StepWhat::Begin(request));
    let what = MoveWhat::Arrived(token, Sign::Frame);
    step(&mut office, StepWhat::Report(name(2), MoveReport { id, what, state: None }));
    let record = office.0.record(moved).unwrap();
    assert_eq!((&*record.owner, record.choices.len()), ("nve2", MAX_LOCATORS));
    // Every NVE can read it, and the new one registers just that.
    let mut odd = 0;
    let page = write_down(Down::Page(encode([(&moved, record)])));
    assert!(read_down_and_count(page, &mut odd).is_ok() && odd == 0);
    let own = claim(moved, record.choices.clone());
    assert!(office.0.register(&mut Draft::default(), "nve2", own, 0).is_ok());
}
