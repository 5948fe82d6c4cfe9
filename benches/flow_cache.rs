//! What a lookup costs against a cache of flows (ILA draft §4.2.1 would keep the locator with the flow).
//!
//! The cache is the best one there can be: each flow has a slot of its own and is always found. It pays for the hash
//! and the comparison of addresses, ports and protocol, and for one cache line a flow. The table pays for one line a
//! destination, however many flows go there. Flows come in random order, in bursts, and both ask for all lines of a burst
//! first.
#![allow(unsafe_code, clippy::expect_used, missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foldhash::fast::FixedState;
use ilagate::path::BURST;
use ilagate::table::ActionId;
use ilagate::table::mapping::{Key, MappingWriter};
use std::hash::BuildHasher;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Flows to each destination.
const EACH: u64 = 4;

/// Addresses, ports and protocol of a packet, as a cache compares them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Flow {
    source: u128,
    destination: u128,
    ports: u32,
    protocol: u32,
}

/// A slot is one cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Slot {
    flow: Flow,
    action: u32,
}

/// One slot for each flow, at its hash.
struct Cache {
    slots: Vec<Slot>,
    hash: FixedState,
}

impl Cache {
    fn new(flows: &mut Vec<Flow>) -> Self {
        let hash = FixedState::with_seed(7);
        let mut cache = Cache { slots: vec![Slot::default(); (flows.len() * 4).next_power_of_two()], hash };
        // Those that meet another one at their slot are left out: whatever is asked for is there.
        flows.retain(|flow| {
            let at = cache.at(flow);
            let is_free = cache.slots[at].action == 0;
            if is_free {
                cache.slots[at] = Slot { flow: *flow, action: 1 };
            }
            is_free
        });
        cache
    }

    fn at(&self, flow: &Flow) -> usize {
        self.hash.hash_one(flow) as usize & (self.slots.len() - 1)
    }

    fn prefetch(&self, at: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch never faults.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>((&raw const self.slots[at]).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }
}

fn identifier(index: u64) -> u64 {
    (1 << 61) | index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4 & !0xffff | ((index & 0x7fff) + 1)
}

/// The size of a table: `count` in a measurement, at most 1,000 in a test.
fn size(count: u64) -> u64 {
    let given = |word| std::env::args().any(|argument| argument == word);
    if given("--bench") && !given("--test") { count } else { count.min(1_000) }
}

/// Runs `lookups` of random flows, a burst at a time.
fn timed(flows: &[Flow], lookups: u64, mut burst: impl FnMut(&[Flow; BURST])) -> Duration {
    let mut at = 0_u64;
    let begin = Instant::now();
    for _ in 0..lookups.div_ceil(BURST as u64) {
        let chosen = std::array::from_fn(|_| {
            at = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
            flows[((u128::from(at) * flows.len() as u128) >> 64) as usize]
        });
        burst(&chosen);
    }
    begin.elapsed()
}

fn compare(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow_cache");
    group.throughput(Throughput::Elements(1));
    for (name, count) in [("1k", 1_000), ("100k", 100_000), ("1m", 1_000_000)] {
        let count = size(count);
        let mut table = MappingWriter::new(count as usize, 42);
        for index in 0..count {
            while table.insert(identifier(index), ActionId(1)).is_err() {
                table = table.grown(table.len() * 5 / 4);
            }
        }
        let flow = |n: u64| Flow {
            source: 0x2001_0db8_0001 << 80 | u128::from(n),
            destination: 0x2001_0db8_dddd_0000 << 64 | u128::from(identifier(n % count)),
            ports: (n as u32) << 16 | 443,
            protocol: 6,
        };
        let mut flows: Vec<Flow> = (0..count * EACH).map(flow).collect();
        let cache = Cache::new(&mut flows);
        group.bench_function(format!("table_{name}"), |bencher| {
            bencher.iter_custom(|lookups| {
                let table = table.table();
                timed(&flows, lookups, |burst| {
                    let keys = burst.map(|flow| Key::of(flow.destination as u64));
                    keys.iter().for_each(|key| _ = table.probe(*key));
                    keys.iter().for_each(|key| assert!(black_box(table.look(*key)).is_some()));
                })
            });
        });
        group.bench_function(format!("cache_{name}"), |bencher| {
            bencher.iter_custom(|lookups| {
                timed(&flows, lookups, |burst| {
                    let places = burst.map(|flow| cache.at(&flow));
                    places.iter().for_each(|at| cache.prefetch(*at));
                    for (at, flow) in places.iter().zip(burst) {
                        let slot = &cache.slots[*at];
                        assert!(slot.flow == *flow && black_box(slot.action) == 1);
                    }
                })
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = flow_cache;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    targets = compare
}
criterion_main!(flow_cache);
