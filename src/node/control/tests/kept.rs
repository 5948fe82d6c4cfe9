//! What tenants came to by themselves, over changes of what operators want: their quarantine, and groups that they joined by
//! IGMP and MLD. A change keeps it for who stays, and who comes in the place of another one begins without it.

use super::provision::{FILE, attachment, network, objects};
use super::*;
use crate::ila::IdentifierType;
use crate::net::{checksum, ipv4};
use crate::path::Ctx;
use crate::path::meta::Policed;
use crate::path::policer::Policer;
use crate::table::{AttachmentKey, LimitKind, Quarantine};
use proptest::prelude::*;
use std::collections::BTreeSet;

const FILE_WITH_QUARANTINE: &str = "quarantine: {drops_per_second: 10, seconds: 1, duration_s: 3600}\n";
const VMS: u8 = 4;
const GROUP4: u32 = 0xef01_0203;
const GROUP6: u128 = 0xff05 << 112 | 0x1234;

fn key(vm: u8) -> AttachmentKey {
    AttachmentKey { port: ACCESS, vlan: 10 + u16::from(vm), mac: mac(vm) }
}

fn mac(vm: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, vm])
}

/// A report of a group by IGMPv2 or MLDv1.
fn report(vm: u8, is_ipv6: bool) -> Frame {
    let AttachmentKey { vlan, mac, .. } = key(vm);
    let (to, packet) = match is_ipv6 {
        false => {
            let mut message = vec![0x16, 0, 0, 0];
            message.extend(GROUP4.to_be_bytes());
            let sum = !checksum::sum_of_bytes(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            let mut packet = vec![0x46, 0xc0, 0, 32, 0, 0, 0x40, 0, 1, ipv4::protocol::IGMP, 0, 0];
            packet.extend((0x0a01_0010 + u32::from(vm)).to_be_bytes());
            packet.extend(GROUP4.to_be_bytes());
            packet.extend([0x94, 4, 0, 0]);
            let sum = !checksum::sum_of_bytes(&packet);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            (Mac::of_ipv4_multicast(GROUP4), [packet, message].concat())
        }
        true => {
            let from = mac.link_local();
            let mut message = vec![131, 0, 0, 0, 0, 0, 0, 0];
            message.extend(GROUP6.to_be_bytes());
            let sum = checksum::transport(from, GROUP6, ipv6::next::ICMP6, &message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            let mut header = vec![0; ipv6::HEADER];
            ipv6::Ipv6::of_mut(&mut header).unwrap().write(32, ipv6::next::HOP_BY_HOP, 1, from, GROUP6);
            (Mac::of_ipv6_multicast(GROUP6), [&header[..], &[58, 0, 5, 2, 0, 0, 1, 0], &message].concat())
        }
    };
    let ethertype = if is_ipv6 { ethernet::IPV6 } else { ethernet::IPV4 };
    let tag = [&0x8100u16.to_be_bytes()[..], &vlan.to_be_bytes(), &ethertype.to_be_bytes()].concat();
    Frame::new(ACCESS, &[&to.0[..], &mac.0, &tag, &packet].concat()).unwrap()
}

/// A node, and what its tenants came to.
struct Kept {
    bench: Bench,
    now_ms: u64,
    revision: u64,
    there: BTreeSet<u8>,
    joined: BTreeSet<(u8, bool)>,
    locked: BTreeSet<u8>,
    /// How many tenants are beside them.
    others: u16,
}

impl Kept {
    fn new() -> Self {
        let (there, joined, locked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let bench = Bench::with(&format!("{FILE}{FILE_WITH_QUARANTINE}"));
        let mut kept = Kept { bench, now_ms: 1_000, revision: 0, there, joined, locked, others: 0 };
        kept.wants();
        kept
    }

    /// What is wanted now comes into force.
    fn wants(&mut self) {
        self.revision += 1;
        let limits = ", limits: {arp: {per_second: 1, burst: 1}}, ipv6: {prefix: '2001:db8:a::/96'}";
        let mut entries = vec![network("red", 1, limits)];
        let of = |vm: &u8| {
            let address = format!("10.1.0.{}", 16 + vm);
            attachment(&format!("vm{vm}"), 10 + u16::from(*vm), "red", &address)
        };
        entries.extend(self.there.iter().map(of));
        // Others come and go on links of their own, and take slots.
        let other =
            |n: u16| attachment(&format!("vm{}", 100 + n), 100 + n, "red", &format!("10.1.0.{}", 100 + n));
        entries.extend((0..self.others).map(other));
        self.bench.request(Request::Provision(objects(self.revision, &entries)));
        (0..4).for_each(|_| self.bench.turn(self.now_ms));
        while !self.bench.loads.is_empty() {
            let loaded = self.bench.load();
            self.bench.input(self.now_ms, loaded);
            (0..4).for_each(|_| self.bench.turn(self.now_ms));
        }
        assert_eq!(self.bench.provisioned.last().unwrap().1, []);
    }

    fn joins(&mut self, vm: u8, is_ipv6: bool) {
        self.bench.exchange.punted.push(report(vm, is_ipv6)).unwrap();
        self.bench.turn(self.now_ms);
        self.bench.turn(self.now_ms);
        if self.there.contains(&vm) {
            self.joined.insert((vm, is_ipv6));
        }
    }

    /// A tenant is refused so much, for so long, that it comes under quarantine.
    fn offends(&mut self, vm: u8) {
        for _ in 0..3 {
            let tables = self.bench.control.publisher.current().clone();
            if let Some(tenant) = tables.networks.tenant(ACCESS, key(vm).vlan, mac(vm)) {
                let mut policer = Policer::new(self.bench.control.stats.workers[0].tenants.clone());
                let who = Policed { slot: tenant.handle.slot, quarantined: false };
                let ctx = Ctx { tables: &tables, now_ms: 0 };
                let refused = (0..=50).filter(|_| policer.pass(who, LimitKind::Arp, &ctx).is_err());
                assert_eq!(refused.count(), 50);
            }
            self.now_ms += 1_000;
            self.bench.turn(self.now_ms);
        }
        if self.there.contains(&vm) {
            self.locked.insert(vm);
        }
    }

    fn leaves(&mut self, vm: u8) {
        self.there.remove(&vm);
        self.locked.remove(&vm);
        self.joined.retain(|(of, _)| *of != vm);
    }

    /// Whether tables and operators have just what tenants came to.
    fn check(&mut self) {
        // Joins are gathered for a moment.
        self.now_ms += 100;
        (0..3).for_each(|_| self.bench.turn(self.now_ms));
        let tables = self.bench.control.publisher.current();
        let locked = |vm: &u8| {
            let tenant = tables.networks.tenant(ACCESS, key(*vm).vlan, mac(*vm));
            tenant.is_some_and(|tenant| tenant.quarantine != Quarantine::None)
        };
        let has: BTreeSet<u8> = (1..=VMS).filter(locked).collect();
        assert_eq!(has, self.locked);
        let views = self.bench.control.group_views().into_iter().filter(|view| view.kind == "joined");
        let has: BTreeSet<(u8, bool)> = views
            .map(|view| {
                let vm = view.attachment.unwrap().trim_start_matches("vm").parse().unwrap();
                (vm, view.group.unwrap().contains(':'))
            })
            .collect();
        assert_eq!(has, self.joined);
        // Broadcast is a group of its own.
        let joined = |group: Identifier| match group.kind() {
            IdentifierType::TenantIpv4 => group.0 as u32 == GROUP4,
            kind => kind == IdentifierType::TenantMulticast,
        };
        let groups = tables.networks.attached().groups().filter(|(_, group, _)| joined(*group));
        assert_eq!(groups.map(|(_, _, members)| members.iter().count()).sum::<usize>(), self.joined.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_change_keeps_quarantine_and_groups_of_who_stays_and_nobody_inherits_them(
        steps in prop::collection::vec((0u8..10, 1..=VMS, any::<bool>()), 1..24),
    ) {
        let mut kept = Kept::new();
        for (kind, vm, is_ipv6) in steps {
            match kind {
                0..3 => {
                    kept.there.insert(vm);
                    kept.wants();
                }
                3 | 4 => {
                    kept.leaves(vm);
                    kept.wants();
                }
                // One goes, and another one takes its place, in one change.
                5 => {
                    kept.leaves(vm);
                    kept.there.insert(vm % VMS + 1);
                    kept.wants();
                }
                6 => {
                    kept.others = (kept.others + 1) % 3;
                    kept.wants();
                }
                7 => kept.offends(vm),
                _ => kept.joins(vm, is_ipv6),
            }
            kept.check();
        }
    }
}
