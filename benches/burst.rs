#![allow(unsafe_code, clippy::expect_used, missing_docs)]
//! The pipeline without a device: every stage from the Ethernet header to the verdict, frames hot in cache,
//! destinations uniformly random over all mappings. Prints nanoseconds and TSC clocks a packet.

use ilagate::ila::{ChecksumMode, Identifier, Locator, SirPrefix};
use ilagate::net::{Mac, ipv6};
use ilagate::path::{BURST, Ctx, Limiter, Packet, Pipeline};
use ilagate::table::mapping::MappingWriter;
use ilagate::table::{
    Action, ActionId, Domain, DomainId, Hop, HopId, Local, OnMiss, Port, PortId, Remote, Role, Tables,
};
use std::time::Instant;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const NEXT: Mac = Mac([2, 0, 0, 0, 0, 2]);
const SIR: SirPrefix = SirPrefix(0x2001_0db8_dddd_0000);
const OWN: Locator = Locator(0xfd00_0001_0000_0001);
const FRAME: usize = 62;
const HEADROOM: usize = 128;
const ROOM: usize = 256;
const BURSTS: usize = 16;

fn identifier(index: u64) -> u64 {
    (1 << 61) | index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4 & !0xffff | ((index & 0x7fff) + 1)
}

/// One fabric port, `count` mappings over 1000 remote locators, or all local.
fn tables(count: u64, local: bool) -> Tables {
    let mut tables = Tables::default();
    tables.ports.push(Port::new(Role::Fabric, OURS, vec![0], vec![], None));
    let hop = Hop::ready(PortId(0), NEXT, OURS, 0, 1500, HopId(1));
    tables.actions.push(Action::Blackhole);
    for i in 0..1000u64 {
        tables.actions.push(if local {
            Action::Local(Local { attachment: i as u32, hop })
        } else {
            let locator = Locator(0xfd00_0001_0001_0000 + i);
            Action::Remote(Remote::new(DomainId(0), SIR, ChecksumMode::NeutralMap, locator, hop))
        });
    }
    let mut writer = MappingWriter::new(count as usize, 42);
    for i in 0..count {
        writer.insert(identifier(i), ActionId(1 + (i % 1000) as u32)).expect("room");
    }
    tables.realms.entry(SIR.0).sir = Some(DomainId(0));
    tables.realms.entry(OWN.0).local = Some((DomainId(0), ilagate::ila::Adjustment::of(SIR, OWN)));
    println!("  {count} mappings: {:.1} bytes each", writer.table().memory_bytes() as f64 / count as f64);
    tables.domains.push(Domain {
        sir: SIR,
        checksum: ChecksumMode::NeutralMap,
        on_miss: OnMiss::Drop,
        skip_unchecked: false,
        mappings: writer.table().clone(),
    });
    tables
}

fn frame(destination: u128, room: &mut [u8]) {
    let frame = &mut room[HEADROOM..HEADROOM + FRAME];
    frame[..6].copy_from_slice(&OURS.0);
    frame[6..12].copy_from_slice(&NEXT.0);
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    ipv6::Ipv6::of_mut(&mut frame[14..]).expect("room").write(8, 17, 64, 0x2001_0db8 << 96 | 1, destination);
}

fn measure(name: &str, count: u64, local: bool) {
    let tables = tables(count, local);
    let mut pipeline = Pipeline::new(Limiter::new(1000, 100));
    let mut rooms = vec![0u8; ROOM * BURST * BURSTS];
    let mut random = 88172645463325252u64;
    let mut samples: Vec<(u64, u64)> = Vec::new();
    let rounds = 2000;
    for round in 0..rounds {
        for room in rooms.chunks_exact_mut(ROOM) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let id = Identifier(identifier(random % count));
            let destination = if local {
                let adjustment = ilagate::ila::Adjustment::of(SIR, OWN);
                OWN.with(ilagate::ila::neutral::there(id, adjustment, ChecksumMode::NeutralMap))
            } else {
                SIR.with(id)
            };
            frame(destination, room);
        }
        let ctx = Ctx { tables: &tables, now_ms: round };
        let start = Instant::now();
        let begin = tsc();
        for burst in rooms.chunks_exact_mut(ROOM * BURST) {
            let mut lent: arrayvec::ArrayVec<Packet<'_>, BURST> = burst
                .chunks_exact_mut(ROOM)
                .map(|room| Packet::new(room, HEADROOM as u16, (HEADROOM + FRAME) as u16, PortId(0)))
                .collect();
            assert_eq!(pipeline.run(&mut lent, &ctx), Some(PortId(0)));
        }
        if round >= 20 {
            samples.push((tsc() - begin, start.elapsed().as_nanos() as u64));
        }
    }
    // Other work on the machine only ever adds: the tenth percentile is what the code costs.
    samples.sort_unstable();
    let (clocks, ns) = samples[samples.len() / 10];
    let packets = (BURST * BURSTS) as f64;
    println!("{name:24} {:6.1} ns {:6.1} clocks a packet", ns as f64 / packets, clocks as f64 / packets);
}

#[cfg(target_arch = "x86_64")]
fn tsc() -> u64 {
    // SAFETY: rdtsc has no preconditions.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn tsc() -> u64 {
    0
}

fn main() {
    let only: u64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(u64::MAX);
    for (name, count) in
        [("1k", 1000), ("1m", 1_000_000), ("10m", 10_000_000)].into_iter().filter(|c| c.1 <= only)
    {
        measure(&format!("sir2ila_{name}"), count, false);
        if count <= 1_000_000 {
            measure(&format!("ila2sir_{name}"), count, true);
        }
    }
}
