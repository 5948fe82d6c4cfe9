//! One worker's misses: identifiers without a mapping to which tenants and tasks of this node send, so that the authority
//! can be asked for them.
//!
//! An identifier is told once a second, however many packets go to it, and each sender makes few of them. So neither a
//! flow nor random destinations keep others back. A miss that is not told costs nothing but time: the next packet of
//! the flow is a miss, too.

use super::ctx::Ctx;
use super::meta::Policed;
use super::packet::Packet;
use crate::ila::Identifier;
use crate::net::ethernet;
use crate::table::tenant::MAX_TENANTS;
use crate::table::{DomainId, Rate};
use arrayvec::ArrayVec;
use foldhash::quality::FixedState;
use std::hash::BuildHasher;

/// Most misses that a worker collects before they are passed on. More are lost and counted.
pub const MISSES: usize = 64;
/// Identifiers of which it is known when they were told last.
const TOLD: usize = 1024;
/// Shortest time between two misses of one identifier.
const AGAIN_MS: u64 = 1_000;
/// Misses of one tenant or task and worker.
const RATE: Rate = Rate::new(50, 64);
/// Buckets of tasks: a hash of port and MAC address picks one.
const TASKS: usize = 256;

/// An identifier to which a packet goes and which has no mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Miss {
    /// Its SIR domain.
    pub domain: DomainId,
    /// The identifier, C-bit 0.
    pub identifier: Identifier,
}

/// What became of misses.
#[derive(Debug, Default)]
pub struct Missed {
    /// Those to be passed on.
    pub told: ArrayVec<Miss, MISSES>,
    /// Packets whose identifier was told a moment ago.
    pub suppressed: u64,
    /// Packets beyond a limit, or without room.
    pub lost: u64,
}

/// The misses of one worker.
#[derive(Debug)]
pub(super) struct Misses {
    /// By hash: an identifier, and until when it is not told again.
    told: Box<[(Miss, u64); TOLD]>,
    /// The bucket of each tenant, by slot.
    spent: Vec<u64>,
    spent_by_tasks: [u64; TASKS],
    missed: Missed,
}

impl Default for Misses {
    fn default() -> Self {
        let none = Miss { domain: DomainId(0), identifier: Identifier(0) };
        Misses {
            told: Box::new([(none, 0); TOLD]),
            spent: vec![0; MAX_TENANTS],
            spent_by_tasks: [0; TASKS],
            missed: Missed::default(),
        }
    }
}

impl Misses {
    /// Notes that a packet of a tenant, or of a task if `who` is none, goes to an identifier without a mapping. Says
    /// whether that is told, or was a moment ago.
    #[cold]
    pub(super) fn note(
        &mut self,
        miss: Miss,
        packet: &Packet<'_>,
        who: Option<Policed>,
        ctx: &Ctx<'_>,
    ) -> bool {
        let seed = ctx.tables.flow_seed;
        let hash = mix(miss.identifier.0 ^ u64::from(miss.domain.0), seed);
        let Some(told) = self.told.get_mut(hash as usize % TOLD) else { return false };
        if told.0 == miss && ctx.now_ms < told.1 {
            self.missed.suppressed += 1;
            return true;
        }
        let spent = match who {
            Some(who) => self.spent.get_mut(usize::from(who.slot)),
            None => {
                let mac = ethernet::source(packet.frame()).unwrap_or_default();
                let [a, b, c, d, e, f] = mac.0;
                let [high, low] = packet.port.0.to_be_bytes();
                let place = mix(u64::from_be_bytes([high, low, a, b, c, d, e, f]), seed) as usize % TASKS;
                self.spent_by_tasks.get_mut(place)
            }
        };
        let may =
            !self.missed.told.is_full() && spent.is_some_and(|spent| RATE.spend(spent, (1, 1), ctx.now_ms));
        if may {
            self.missed.told.push(miss);
            *told = (miss, ctx.now_ms + AGAIN_MS);
        } else {
            self.missed.lost += 1;
        }
        may
    }

    /// Whether there is something to take.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.missed.told.is_empty() && self.missed.suppressed == 0 && self.missed.lost == 0
    }

    /// Takes what came since the last call.
    pub(super) fn take(&mut self) -> Missed {
        std::mem::take(&mut self.missed)
    }
}

/// Bits of all of a word in its lowest ones. Who does not know `seed` cannot choose words that share a place.
fn mix(word: u64, seed: u64) -> u64 {
    FixedState::with_seed(seed).hash_one(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Mac;
    use crate::table::{PortId, Tables};

    const SLOT: Option<Policed> = Some(Policed { slot: 3, quarantined: false });

    fn miss(identifier: u64) -> Miss {
        Miss { domain: DomainId(0), identifier: Identifier(identifier) }
    }

    /// Notes a miss of a frame from a MAC address, and says how many were told of, suppressed and lost.
    fn note(
        misses: &mut Misses,
        mac: u8,
        who: Option<Policed>,
        missed: Miss,
        now_ms: u64,
    ) -> (usize, u64, u64) {
        let tables = Tables::default();
        let mut room = [&[2; 6][..], &Mac([2, 0, 0, 0, 0, mac]).0, &[0x86, 0xdd]].concat();
        let end = room.len() as u16;
        let packet = Packet::new(&mut room, 0, end, PortId(1));
        let is_told = misses.note(missed, &packet, who, &Ctx { tables: &tables, now_ms });
        let Missed { told, suppressed, lost } = misses.take();
        assert_eq!(is_told, lost == 0);
        assert!(misses.is_empty());
        (told.len(), suppressed, lost)
    }

    #[test]
    fn an_identifier_is_told_once_a_second_however_many_packets_go_to_it() {
        let mut misses = Misses::default();
        let mut told = [0; 3];
        for now_ms in 0..3_000 {
            let (new, suppressed, lost) = note(&mut misses, 1, SLOT, miss(7), now_ms);
            told[now_ms as usize / 1_000] += new;
            assert_eq!((new as u64 + suppressed, lost), (1, 0));
        }
        assert_eq!(told, [1, 1, 1]);
        // The same identifier in another domain is another one.
        let other = Miss { domain: DomainId(1), ..miss(7) };
        assert_eq!(note(&mut misses, 1, SLOT, other, 2_999), (1, 0, 0));
    }

    #[test]
    fn random_destinations_of_one_sender_keep_no_other_one_back() {
        let another = Some(Policed { slot: 4, quarantined: false });
        for (flooding, other) in [((1, SLOT), (2, another)), ((1, None), (2, None)), ((1, SLOT), (1, None))] {
            let mut misses = Misses::default();
            let mut passed = [0; 2];
            for n in 0..10_000u64 {
                let now_ms = n / 10;
                passed[0] += note(&mut misses, flooding.0, flooding.1, miss(1_000 + n), now_ms).0;
                if n % 1_000 == 0 {
                    passed[1] += note(&mut misses, other.0, other.1, miss(n / 1_000), now_ms).0;
                }
            }
            assert!((50..=120).contains(&passed[0]) && passed[1] == 10, "{passed:?}");
        }
    }

    #[test]
    fn misses_beyond_their_room_are_lost_and_told_later() {
        let (mut misses, tables) = (Misses::default(), Tables::default());
        let mut room = [2; 14];
        let packet = Packet::new(&mut room, 0, 14, PortId(0));
        let ctx = Ctx { tables: &tables, now_ms: 1 };
        for n in 0..MISSES as u64 + 2 {
            let who = Policed { slot: n as u16, quarantined: false };
            misses.note(miss(n), &packet, Some(who), &ctx);
        }
        let Missed { told, lost, .. } = misses.take();
        assert_eq!((told.len(), lost), (MISSES, 2));
        assert_eq!(note(&mut misses, 1, SLOT, miss(MISSES as u64), 2), (1, 0, 0));
    }

    #[test]
    fn words_that_share_a_place_under_one_seed_do_not_under_another() {
        let place = |word, seed| mix(word, seed) as usize % TOLD;
        for step in [1, 1 << 10, 1 << 32, 1 << 42] {
            let alike: Vec<u64> = (0..200_000)
                .map(|n: u64| n.wrapping_mul(step))
                .filter(|word| place(*word, 1) == 5)
                .take(100)
                .collect();
            for seed in [2, 3, u64::MAX, 0x1234_5678_9abc_def0] {
                let mut places: Vec<usize> = alike.iter().map(|word| place(*word, seed)).collect();
                places.sort_unstable();
                places.dedup();
                assert!(
                    places.len() > alike.len() / 4,
                    "{step:x} {seed:x}: {} of {}",
                    places.len(),
                    alike.len()
                );
            }
        }
    }
}
