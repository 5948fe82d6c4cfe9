//! The rules of the registry, and a small world of an authority, NVEs and a store that fail.

mod addresses;
mod allocations;
mod beside;
mod bindings;
mod cache;
mod claims;
mod client;
mod cluster;
mod drift;
mod events;
mod failover;
mod flaws;
mod gateways;
mod mended;
mod mirror;
mod mobility;
mod provision;
mod registry;
mod scale;
mod session;
mod simulation;
mod world;

use super::authority::{CommitRules, Configured, SessionLimits, Settings};
use super::log::Limits;
use super::message::Modes;
use super::model::{Choice, Key};
use super::registry::{Claim, Nve};
use crate::ila::Locator;
use std::collections::HashMap;

const SIR: u64 = 0x2001_0db8_dddd_0000;
/// How long a restored registry waits at most.
const RESTORE_WAIT_MS: u64 = 10_000;
const OTHER_SIR: u64 = 0x2001_0db8_eeee_0000;

fn key(number: u64) -> Key {
    Key { sir_prefix: SIR, identifier: 1 << 61 | number }
}

/// The locators of the NVE with this number: two of the domain and one of another.
fn locator(nve: u64, n: u64) -> Locator {
    Locator(0xfd00_0001_0000_0000 | nve << 8 | n)
}

fn at(nve: u64) -> Vec<Choice> {
    vec![Choice { locator: locator(nve, 0), priority: 0, weight: 1 }]
}

fn claim(key: Key, choices: Vec<Choice>) -> Claim {
    Claim { key, choices, known: 0, mac: None }
}

fn sessions(lease_ms: u32, requests_per_second: u32) -> SessionLimits {
    let (restore_wait_ms, cache_lifetime_ms) = (RESTORE_WAIT_MS, 300_000);
    SessionLimits {
        lease_ms,
        hold_down_ms: 0,
        restore_wait_ms,
        cache_lifetime_ms,
        requests_per_second,
        digest_ms: 60_000,
    }
}

fn configured(nves: HashMap<String, Nve>, sessions: SessionLimits) -> Configured {
    Configured { nves, sessions, ..Configured::default() }
}

fn name(nve: u64) -> String {
    format!("nve{nve}")
}

fn nves(count: u64) -> HashMap<String, Nve> {
    let of = |nve| {
        let own = [(locator(nve, 0), SIR), (locator(nve, 1), SIR), (locator(nve, 2), OTHER_SIR)];
        (
            name(nve),
            Nve {
                locators: own.into_iter().collect(),
                max_identifiers: 1_000,
                router: nve == 1,
                ..Nve::default()
            },
        )
    };
    (1..=count).map(of).collect()
}

fn settings(epoch: u8, limits: Limits) -> Settings {
    Settings {
        epoch: vec![epoch],
        sessions: SessionLimits {
            lease_ms: 10_000,
            hold_down_ms: 0,
            requests_per_second: 10_000,
            cache_lifetime_ms: 300_000,
            restore_wait_ms: RESTORE_WAIT_MS,
            digest_ms: 60_000,
        },
        limits,
        commits: CommitRules::OWN,
        answered_before_ms: 0,
        began_unix_ms: 0,
    }
}

/// The same with other limits of sessions.
fn with_sessions(settings: Settings, change: impl FnOnce(&mut SessionLimits)) -> Settings {
    let mut settings = settings;
    change(&mut settings.sessions);
    settings
}

#[test]
fn a_mapping_that_cannot_be_read_is_left_out_and_does_not_stop_the_rest() {
    use super::codec::{read_down, read_down_and_count};
    use super::message::{Down, Told};
    use super::v1::{self, down};
    use prost::Message;
    let mapping = |identifier, locators| v1::Mapping {
        key: Some(v1::Key { sir_prefix: SIR, identifier }),
        locators,
        sequence: 7,
    };
    let good = v1::Locator { prefix: 1 << 61, priority: 0, weight: 1 };
    let bad = v1::Locator { priority: 256, ..good };
    let mappings = vec![
        mapping(1, vec![good]),
        mapping(2, vec![good, bad]),
        mapping(3, vec![good; super::model::MAX_LOCATORS + 1]),
        v1::Mapping { key: None, ..mapping(4, vec![good]) },
        mapping(5, vec![good]),
    ];
    let delta = |mappings: Vec<v1::Mapping>| {
        let mappings = v1::Mappings { mappings }.encode_to_vec().into();
        v1::Down { message: Some(down::Message::Delta(v1::Delta { revision: 9, mappings })) }
    };
    let mut odd = 0;
    let Ok(Down::Delta(9, told)) = read_down_and_count(delta(mappings), &mut odd) else { panic!() };
    let there = |told: &Told| (told.key.identifier, told.choices.len());
    // What the NVE had of one that it is told and cannot read goes.
    assert_eq!((told.iter().map(there).collect::<Vec<_>>(), odd), (vec![(1, 1), (2, 0), (3, 0), (5, 1)], 3));
    let garbage = v1::Delta { revision: 9, mappings: vec![0xff; 9].into() };
    assert!(read_down(v1::Down { message: Some(down::Message::Delta(garbage)) }).is_err());
}

#[test]
fn the_longest_delta_and_the_longest_page_fit_one_message() {
    use super::authority::LIMITS;
    use super::message::{Down, Told};
    use super::model::Record;
    use prost::Message;
    let choice = |n| Choice { locator: Locator(u64::MAX - n), priority: u8::MAX, weight: 1000 };
    let choices: Vec<Choice> = (0..super::model::MAX_LOCATORS as u64).map(choice).collect();
    let key = Key { sir_prefix: u64::MAX, identifier: u64::MAX };
    let record = Record { choices, owner: "".into(), sequence: u64::MAX, mac: None, since: u64::MAX };
    let encoded = super::codec::encode(vec![(&key, &record); super::commits::BATCH]);
    let bytes = super::codec::write_down(Down::Delta(u64::MAX, encoded.clone())).encoded_len();
    assert!(bytes < super::MAX_MESSAGE_BYTES, "{bytes}");
    const { assert!(LIMITS.page <= super::commits::BATCH) };
    // And what is written is read.
    let told = Told { key, choices: record.choices, sequence: record.sequence };
    let read = super::codec::read_down(super::codec::write_down(Down::Page(encoded)));
    assert_eq!(read, Ok(Down::Page(vec![told; super::commits::BATCH])));
}
