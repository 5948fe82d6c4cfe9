//! The fuzz targets on stable: each meets a few thousand random and damaged inputs, the same in every run.
//!
//! `FUZZ_SMOKE_INPUTS` sets another number of them. `fuzz/README.md` says how to let libFuzzer search on. What it finds
//! stands below under its own name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/src/lib.rs"]
#[allow(missing_docs, unreachable_pub)]
mod targets;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Bytes at which parsers change their minds.
const EDGES: &[u8] =
    &[0, 1, 2, 4, 6, 17, 43, 44, 51, 58, 60, 63, 64, 127, 128, 135, 254, 255, b'"', b'\n', b'/', b':'];

/// A seed with a few of the damages that find most.
fn damaged(random: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let pick = |random: &mut StdRng| seeds[random.random_range(0..seeds.len())].clone();
    let mut bytes = pick(random);
    for _ in 0..random.random_range(1..=6) {
        if bytes.is_empty() {
            bytes.push(random.random());
        }
        let at = random.random_range(0..bytes.len());
        let length = random.random_range(0..=(bytes.len() - at).min(24));
        match random.random_range(0..9) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes[at] = EDGES[random.random_range(0..EDGES.len())],
            3 => bytes.insert(at, EDGES[random.random_range(0..EDGES.len())]),
            4 => drop(bytes.drain(at..at + length)),
            5 => {
                let copy = bytes[at..at + length].to_vec();
                let to = random.random_range(0..=bytes.len());
                bytes.splice(to..to, copy);
            }
            6 if random.random_ratio(1, 4) => bytes.truncate(at),
            7 => {
                let other = pick(random);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
    bytes
}

/// Says which input it was when a target panics.
struct Input<'i>(&'i str, &'i [u8]);

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Input(target, bytes) = self;
            eprintln!("{target}: {}\nas bytes {bytes:?}", String::from_utf8_lossy(bytes).escape_debug());
        }
    }
}

fn smoke(name: &str, inputs: usize) {
    let target = targets::TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = (target.seeds)();
    let asked = std::env::var("FUZZ_SMOKE_INPUTS").ok();
    let inputs = asked.map_or(inputs, |inputs| inputs.parse().expect("a number in FUZZ_SMOKE_INPUTS"));
    let feed = |bytes: &[u8]| {
        let input = Input(name, bytes);
        (target.body)(input.1);
    };
    feed(&[]);
    seeds.iter().for_each(|seed| feed(seed));
    let mut random = StdRng::seed_from_u64(0x11a);
    for n in 0..inputs {
        if n % 8 == 0 {
            let mut bytes = vec![0; random.random_range(0..200)];
            random.fill(&mut bytes[..]);
            feed(&bytes);
        } else {
            feed(&damaged(&mut random, &seeds));
        }
    }
}

macro_rules! smoke {
    ($($name:ident $inputs:literal)+) => {
        $(#[test] fn $name() { smoke(stringify!($name), $inputs); })+

        #[test]
        fn every_target_is_fed() {
            let fed = [$(stringify!($name)),+];
            assert!(targets::TARGETS.iter().map(|target| target.name).eq(fed));
        }
    };
}

smoke! { pipeline 4000 ethernet 8000 ipv4 8000 ipv6 8000 upper 8000 ndp 8000 arp 8000 igmp 8000 mld 8000 icmp 8000 quote 8000 siit 8000 config 1500 mappings 4000 capture 8000 text 8000 }
