//! Limits what each port hands to the control thread, so that no port and no class of senders stalls the others
//! (RFC 6192 §3).
//!
//! Messages about neighbours that the tables hold have limits of their own: a flood of others cannot make a next hop
//! fall silent. What confirms a neighbour has another limit than what claims something else of it, and neighbours
//! share limits with few others. So whoever speaks in the name of a next hop spends nothing of what that one needs.

use super::ctx::Ctx;
use super::meta::Policed;
use super::packet::Packet;
use crate::net::arp::{self, Kind};
use crate::net::ethernet;
use crate::net::ipv6::Ipv6;
use crate::net::ndp::{self, Message};
use crate::table::port::MAX_PORTS;
use crate::table::tenant::MAX_TENANTS;
use crate::table::{HopState, PortId, Rate};
use std::hash::BuildHasher;

/// Who hands something over, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Class {
    /// A neighbour that the tables hold answers a solicitation, and is where they say.
    Confirmation,
    /// An answer to a solicitation for a neighbour whose MAC address is not known.
    Answer,
    /// Anything else about a neighbour that the tables hold.
    Claim,
    /// A tenant. Each has limits of its own, too, and all of a port share one.
    Tenant,
    /// Anybody else.
    Other,
    /// A tenant that asks for an address that the authority is asked for. Questions spend nothing of what reports need.
    Question,
    /// A task that does.
    TaskQuestion,
    /// A tenant that says that an address of its own is there, as this node asked. Nobody's messages spend of it.
    Presence,
}

/// Messages of one port and worker, by class: of the neighbours that share a bucket, or of one tenant.
const RATES: [Rate; 8] = [
    Rate::new(20, 8),
    Rate::new(20, 8),
    Rate::new(10, 4),
    Rate::new(100, 32),
    Rate::new(200, 32),
    Rate::new(50, 32),
    Rate::new(50, 32),
    Rate::new(20, 16),
];

/// Messages of all tenants of one port and worker.
const TENANTS: Rate = Rate::new(1000, 64);

/// Questions of all tenants and tasks of one port and worker.
const QUESTIONS: Rate = Rate::new(500, 64);

/// Answers of all tenants of one port and worker: more than the node asks for in a second (`moves.scan_per_second`), and
/// than it asks for at once.
const PRESENCES: Rate = Rate::new(20_000, 2_000);

/// Buckets of one class and port. A hash picks that of a neighbour; others have one. Each tenant has its own.
const BUCKETS: usize = 64;

/// The bucket that a packet is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    port: PortId,
    class: Class,
    place: usize,
}

impl Bucket {
    /// The bucket of a packet that is to be handed over itself.
    pub(super) fn of_punt(packet: &Packet<'_>, who: Option<Policed>, ctx: &Ctx<'_>) -> Self {
        if !is_question(packet) {
            return Self::of(packet, who, ctx);
        }
        let (class, place) = match who {
            Some(who) => (Class::Question, usize::from(who.slot)),
            None => {
                let mac = ethernet::source(packet.frame());
                (Class::TaskQuestion, ctx.tables.neighbours.hasher().hash_one(mac) as usize % BUCKETS)
            }
        };
        Bucket { port: packet.port, class, place }
    }

    /// The bucket of an answer of a tenant for an address of its own.
    pub(super) fn of_presence(packet: &Packet<'_>, who: Policed) -> Self {
        Bucket { port: packet.port, class: Class::Presence, place: usize::from(who.slot) }
    }

    /// The bucket of a packet of a tenant or of somebody else.
    pub(super) fn of(packet: &Packet<'_>, who: Option<Policed>, ctx: &Ctx<'_>) -> Self {
        let (class, place) = match who {
            Some(who) => (Class::Tenant, usize::from(who.slot)),
            None => class(packet, ctx).unwrap_or((Class::Other, 0)),
        };
        Bucket { port: packet.port, class, place }
    }
}

/// One worker's token buckets.
#[derive(Debug)]
pub(super) struct Punts {
    /// By port, class and place: the time, in nanoseconds, at which the bucket will be full again.
    spent: Vec<[[u64; BUCKETS]; RATES.len()]>,
    /// The same of each tenant, by slot.
    spent_by_tenant: Vec<u64>,
    /// The same of all tenants by port.
    spent_by_tenants: Vec<u64>,
    /// Questions of each tenant, by slot.
    questions_by_tenant: Vec<u64>,
    /// Questions of all by port.
    questions: Vec<u64>,
    /// Answers of each tenant, by slot.
    presences_by_tenant: Vec<u64>,
    /// Answers of all by port.
    presences: Vec<u64>,
}

impl Default for Punts {
    fn default() -> Self {
        Punts {
            spent: vec![[[0; BUCKETS]; RATES.len()]; MAX_PORTS],
            spent_by_tenant: vec![0; MAX_TENANTS],
            spent_by_tenants: vec![0; MAX_PORTS],
            questions_by_tenant: vec![0; MAX_TENANTS],
            questions: vec![0; MAX_PORTS],
            presences_by_tenant: vec![0; MAX_TENANTS],
            presences: vec![0; MAX_PORTS],
        }
    }
}

impl Punts {
    /// Charges a packet that is to be handed over; returns whether it may be.
    pub(super) fn take(&mut self, bucket: Bucket, ctx: &Ctx<'_>) -> bool {
        let Bucket { port, class, place } = bucket;
        let at = usize::from(port.0);
        let own = match class {
            Class::Tenant => self.spent_by_tenant.get_mut(place),
            Class::Question => self.questions_by_tenant.get_mut(place),
            Class::Presence => self.presences_by_tenant.get_mut(place),
            _ => self.spent.get_mut(at).map(|spent| &mut spent[class as usize][place % BUCKETS]),
        };
        if !own.is_some_and(|own| RATES[class as usize].spend(own, (1, 1), ctx.now_ms)) {
            return false;
        }
        let (all, rate) = match class {
            Class::Tenant => (self.spent_by_tenants.get_mut(at), TENANTS),
            Class::Question | Class::TaskQuestion => (self.questions.get_mut(at), QUESTIONS),
            Class::Presence => (self.presences.get_mut(at), PRESENCES),
            Class::Confirmation | Class::Answer | Class::Claim | Class::Other => return true,
        };
        all.is_some_and(|all| rate.spend(all, (1, 1), ctx.now_ms))
    }
}

/// Whether a packet is an ARP request or probe, a RARP request, or a Neighbour Solicitation. The tables answer those unless the authority
/// is asked for the address.
fn is_question(packet: &Packet<'_>) -> bool {
    let Some(link) = ethernet::parse(packet.frame()) else { return false };
    let payload = packet.frame().get(link.header..).unwrap_or_default();
    match link.ethertype {
        ethernet::ARP | ethernet::RARP => arp::parse(link.ethertype, payload).is_ok_and(|message| {
            matches!(message.kind(), Kind::Request | Kind::Probe | Kind::ReverseRequest)
        }),
        ethernet::IPV6 => matches!(ndp::parse(payload), Ok(Message::Solicitation { .. })),
        _ => false,
    }
}

/// Class and place of a message about a neighbour that the tables hold.
fn class(packet: &Packet<'_>, ctx: &Ctx<'_>) -> Option<(Class, usize)> {
    let message = ndp::parse(packet.l3()).ok()?;
    let speaker = match message {
        Message::Advertisement { target, .. } => target,
        Message::Solicitation { .. } => Ipv6::of(packet.l3())?.source(),
        Message::RouterSolicitation { .. } | Message::RouterAdvertisement => return None,
    };
    let neighbour = (packet.port, speaker);
    let hop = ctx.tables.neighbours.get(&neighbour)?;
    let known = ethernet::destination(hop.link()).filter(|_| hop.state == HopState::Ready);
    let class = match message {
        Message::Advertisement { solicited: true, target_mac, .. } => match known {
            None => Class::Answer,
            Some(mac)
                if ethernet::source(packet.frame()) == Some(mac)
                    && target_mac.is_none_or(|told| told == mac) =>
            {
                Class::Confirmation
            }
            Some(_) => Class::Claim,
        },
        _ => Class::Claim,
    };
    Some((class, ctx.tables.neighbours.hasher().hash_one(neighbour) as usize % BUCKETS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Mac, checksum, icmp6::kind, ipv6};
    use crate::table::{Hop, HopId, Port, Role, Tables};

    /// The known MAC address of neighbours, and another one.
    const KNOWN: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 8]);
    const OURS: u128 = 0xfd00 << 112 | 0xff;

    /// Neighbours 1 to 9 at [`KNOWN`]; 10 to 19 are not resolved.
    fn tables() -> Tables {
        let port = || Port::new(Role::Fabric, Mac([2; 6]), vec![0], vec![], None);
        let mut tables = Tables { ports: vec![port(), port()], ..Tables::default() };
        for n in 1..10 {
            let hop = Hop::ready(PortId(0), KNOWN, Mac([2; 6]), 0, 1500, HopId(n));
            tables.neighbours.insert((PortId(0), u128::from(n)), hop);
        }
        for n in 10..20 {
            let hop = Hop::not_ready(PortId(0), HopState::Unresolved, 1500, HopId(n));
            tables.neighbours.insert((PortId(0), u128::from(n)), hop);
        }
        tables
    }

    /// A message about a neighbour in a frame from `from`, with the MAC address `named` in its option.
    fn message(from: Mac, source: u128, kind: u8, flags: u8, target: u128, named: Option<Mac>) -> Vec<u8> {
        let mut body = [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &target.to_be_bytes()].concat();
        if let Some(mac) = named {
            body.extend([if kind == kind::NEIGHBOUR_SOLICITATION { 1 } else { 2 }, 1]);
            body.extend(mac.0);
        }
        let sum = checksum::transport(source, OURS, ipv6::next::ICMP6, &body);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut l3 = vec![0; ipv6::HEADER];
        if let Some(mut header) = Ipv6::of_mut(&mut l3) {
            header.write(body.len() as u16, ipv6::next::ICMP6, ndp::HOP_LIMIT, source, OURS);
        }
        [&[2; 6][..], &from.0, &[0x86, 0xdd], &l3, &body].concat()
    }

    /// The answer of a neighbour to a solicitation.
    fn answer(from: Mac, target: u128, named: Option<Mac>) -> Vec<u8> {
        message(from, target, kind::NEIGHBOUR_ADVERTISEMENT, 0x60, target, named)
    }

    fn take(punts: &mut Punts, port: u16, frame: &[u8], ctx: &Ctx<'_>) -> u32 {
        let (mut room, end) = (frame.to_vec(), frame.len() as u16);
        let mut packet = Packet::new(&mut room, 0, end, PortId(port));
        packet.l3 = 14;
        u32::from(punts.take(Bucket::of(&packet, None, ctx), ctx))
    }

    #[test]
    fn a_flood_of_strangers_leaves_room_for_neighbours_in_use_and_for_other_ports() {
        let tables = tables();
        let mut punts = Punts::default();
        let mut passed = [0u32; 3];
        for now_ms in 0..1000 {
            let ctx = Ctx { tables: &tables, now_ms };
            // 20,000 a second of strangers, and ten a second each of a neighbour and of another port.
            for n in 0..20 {
                passed[0] += take(&mut punts, 0, &answer(OTHER, 1000 + n, Some(OTHER)), &ctx);
            }
            if now_ms % 100 == 0 {
                passed[1] += take(&mut punts, 0, &answer(KNOWN, 7, Some(KNOWN)), &ctx);
                passed[2] += take(&mut punts, 1, &answer(KNOWN, 9, Some(KNOWN)), &ctx);
            }
        }
        assert!((200..=240).contains(&passed[0]), "{passed:?}");
        assert_eq!(&passed[1..], &[10, 10]);
    }

    #[test]
    fn who_speaks_in_the_name_of_a_next_hop_spends_nothing_of_what_that_one_needs() {
        let tables = tables();
        let advertised = kind::NEIGHBOUR_ADVERTISEMENT;
        for spoofed in [
            // Another MAC address: in the option, in the frame, in both; in the name of that one or of others.
            answer(KNOWN, 7, Some(OTHER)),
            answer(OTHER, 7, Some(KNOWN)),
            answer(OTHER, 7, None),
            answer(OTHER, 7, Some(OTHER)),
            // What confirms nothing, even from the known MAC address.
            message(KNOWN, 7, advertised, 0x20, 7, Some(KNOWN)),
            message(KNOWN, 7, advertised, 0, 7, None),
            message(OTHER, 7, kind::NEIGHBOUR_SOLICITATION, 0, OURS, Some(OTHER)),
            message(KNOWN, 7, kind::NEIGHBOUR_SOLICITATION, 0, OURS, Some(KNOWN)),
            // A neighbour that is not resolved, which anybody can make this node ask for.
            answer(OTHER, 12, Some(OTHER)),
        ] {
            let mut punts = Punts::default();
            let mut passed = [0; 2];
            for now_ms in 0..1000 {
                let ctx = Ctx { tables: &tables, now_ms };
                for _ in 0..20 {
                    passed[0] += take(&mut punts, 0, &spoofed, &ctx);
                }
                if now_ms % 100 == 0 {
                    for named in [Some(KNOWN), None] {
                        passed[1] += take(&mut punts, 0, &answer(KNOWN, 7, named), &ctx);
                    }
                }
            }
            assert!((10..=30).contains(&passed[0]) && passed[1] == 20, "{passed:?}");
        }
    }

    #[test]
    fn a_tenant_takes_little_of_what_the_tenants_of_its_port_share() {
        let tables = tables();
        let mut punts = Punts::default();
        let mut passed = [0; 5];
        for now_ms in 0..1000 {
            let ctx = Ctx { tables: &tables, now_ms };
            let mut take = |port: u16, slot: u16| {
                let mut room = answer(KNOWN, 7, Some(KNOWN));
                let end = room.len() as u16;
                let packet = Packet::new(&mut room, 0, end, PortId(port));
                let who = Policed { slot, quarantined: false };
                u32::from(punts.take(Bucket::of(&packet, Some(who), &ctx), &ctx))
            };
            // One floods, another one announces itself ten times a second; and so do many at another port.
            passed[0] += (0..20).map(|_| take(0, 3)).sum::<u32>();
            passed[2] += (1000..1064).map(|slot| take(1, slot)).sum::<u32>();
            if now_ms % 100 == 0 {
                passed[1] += take(0, 4);
                passed[3] += take(2, 5);
                // However many there are, none shares with another one.
                passed[4] += take(0, 3 + 64) + take(0, 3 + 4096);
            }
        }
        assert!((100..=140).contains(&passed[0]) && (1000..=1070).contains(&passed[2]), "{passed:?}");
        assert_eq!((passed[1], passed[3], passed[4]), (10, 10, 20));
    }

    #[test]
    fn no_flood_of_tenants_makes_a_neighbour_silent_that_answers() {
        let tables = tables();
        let mut punts = Punts::default();
        let mut passed = [0; 3];
        for now_ms in 0..1000 {
            let ctx = Ctx { tables: &tables, now_ms };
            let mut take = |slot: u16, answers: bool| {
                let mut room = answer(KNOWN, 7, Some(KNOWN));
                let end = room.len() as u16;
                let packet = Packet::new(&mut room, 0, end, PortId(0));
                let who = Policed { slot, quarantined: false };
                let bucket = match answers {
                    true => Bucket::of_presence(&packet, who),
                    false => Bucket::of(&packet, Some(who), &ctx),
                };
                u32::from(punts.take(bucket, &ctx))
            };
            // Many announce themselves, and a hundred say unasked that they are there.
            passed[0] += (1000..1064).map(|slot| take(slot, false)).sum::<u32>();
            passed[1] += (2000..2100).map(|slot| take(slot, true)).sum::<u32>();
            if now_ms % 100 == 0 {
                passed[2] += take(3, true);
            }
        }
        assert!(passed[0] <= 1_070 && passed[1] <= 3_700, "{passed:?}");
        assert_eq!(passed[2], 10);
    }

    #[test]
    fn who_scans_a_subnet_keeps_no_report_of_a_neighbour_back() {
        let tables = tables();
        let mut punts = Punts::default();
        // An ARP message of the tenant in this slot.
        let arp_of = |slot: u16, target: u32| {
            let [high, low] = slot.to_be_bytes();
            let mut frame = [0; arp::MAX_FRAME];
            let sender = (Mac([2, 0, 0, 1, high, low]), 0x0a00_0000 | u32::from(slot));
            let length = arp::request(&mut frame, sender, 0, target, None);
            frame[..length].to_vec()
        };
        let mut passed = [0; 6];
        for now_ms in 0..1000u64 {
            let ctx = Ctx { tables: &tables, now_ms };
            let mut take = |frame: Vec<u8>, slot: Option<u16>| {
                let (mut room, end) = (frame.clone(), frame.len() as u16);
                let mut packet = Packet::new(&mut room, 0, end, PortId(0));
                packet.l3 = 14;
                let who = slot.map(|slot| Policed { slot, quarantined: false });
                u32::from(punts.take(Bucket::of_punt(&packet, who, &ctx), &ctx))
            };
            // One tenant scans, then two thousand do, and so does a task.
            passed[0] +=
                (0..5).map(|n| take(arp_of(3, 0x0a01_0000 | (now_ms as u32 * 5 + n)), Some(3))).sum::<u32>();
            let scans = |slot: u16| arp_of(slot, 0x0a02_0000 | now_ms as u32);
            passed[1] += (1000..1100).map(|slot| take(scans(slot), Some(slot))).sum::<u32>();
            let task = message(OTHER, 1000, kind::NEIGHBOUR_SOLICITATION, 0, 2000 + u128::from(now_ms), None);
            passed[2] += (0..5).map(|_| take(task.clone(), None)).sum::<u32>();
            if now_ms % 100 == 0 {
                // Reports of tenants that scan and of those that do not, and one of a stranger.
                passed[3] += take(arp_of(4, 0x0a00_0004), Some(4));
                passed[4] += take(arp_of(3, 0x0a00_0003), Some(3));
                passed[5] += take(answer(OTHER, 1000, Some(OTHER)), None);
            }
        }
        assert!(passed[0] <= 82 && passed[2] <= 82, "{passed:?}");
        assert!((400..=570).contains(&passed[..3].iter().sum::<u32>()), "{passed:?}");
        assert_eq!(passed[3..], [10, 10, 10], "{passed:?}");
    }

    #[test]
    fn neighbours_share_a_limit_with_few_others() {
        let tables = tables();
        let ctx = Ctx { tables: &tables, now_ms: 1 };
        for (first, mac) in [(1, KNOWN), (10, OTHER)] {
            let mut punts = Punts::default();
            let passed = |punts: &mut Punts, target| -> u32 {
                (0..50).map(|_| take(punts, 0, &answer(mac, target, Some(mac)), &ctx)).sum()
            };
            let each: Vec<u32> = (first..first + 9).map(|target| passed(&mut punts, target)).collect();
            assert!(each.iter().filter(|passed| **passed == 8).count() > 6, "{each:?}");
        }
    }
}
