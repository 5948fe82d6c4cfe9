//! Tenants that get their addresses when they ask by RARP.

use super::provision::{FILE, attachment, network, objects};
use super::*;
use crate::net::arp;

const VM1: Mac = Mac([2, 0, 0, 0, 0, 1]);
const VM2: Mac = Mac([2, 0, 0, 0, 0, 2]);
const VLAN: u16 = 11;

fn rarp(sender_mac: Mac, target_mac: Mac) -> Frame {
    let mut frame = [0; arp::MAX_FRAME];
    let operation = arp::Operation::ReverseRequest;
    let message = arp::Arp { operation, sender_mac, sender: 0, target_mac, target: 0 };
    let length = arp::write(&mut frame, Mac::BROADCAST, VLAN, &message);
    Frame::new(ACCESS, &frame[..length]).unwrap()
}

impl Bench {
    /// Operators want red with these attachments. The time stands still meanwhile.
    fn has_tenants(&mut self, revision: u64, now_ms: u64, addresses: [&str; 2]) {
        let [vm1, vm2] = addresses;
        let entries =
            [network("red", 1, ""), attachment("vm1", VLAN, "red", vm1), attachment("vm2", VLAN, "red", vm2)];
        self.request(Request::Provision(objects(revision, &entries)));
        (0..4).for_each(|_| self.turn(now_ms));
        while !self.loads.is_empty() {
            let loaded = self.load();
            self.input(now_ms, loaded);
            (0..4).for_each(|_| self.turn(now_ms));
        }
        assert_eq!(self.provisioned.last().unwrap().1, []);
        self.for_authority.clear();
    }

    fn asks(&mut self, frame: Frame, now_ms: u64) -> Vec<ForAuthority> {
        self.exchange.punted.push(frame).unwrap();
        self.turn(now_ms);
        std::mem::take(&mut self.for_authority)
    }

    /// The addresses that RARP replies tell.
    fn told(&self) -> Vec<(Mac, u32)> {
        let frames = std::iter::from_fn(|| self.exchange.to_send.pop());
        let replies = frames.filter_map(|frame| {
            let link = ethernet::parse(&frame.bytes)?;
            let message = arp::parse(link.ethertype, &frame.bytes[link.header..]).ok()?;
            (link.ethertype == ethernet::RARP).then_some((message.target_mac, message.target))
        });
        replies.collect()
    }
}

#[test]
fn a_tenant_without_an_address_that_asks_for_its_own_is_allocated_one_and_answered_when_it_is_in_force() {
    let mut bench = Bench::with(FILE);
    bench.has_tenants(1, 0, ["on-rarp", "10.1.0.9"]);
    assert_eq!(bench.asks(rarp(VM1, VM1), 100), [ForAuthority::AllocateAddress("vm1".to_owned())]);
    assert!(bench.told().is_empty());
    bench.has_tenants(2, 200, ["on-rarp, 10.1.0.5", "10.1.0.9"]);
    assert_eq!(bench.told(), [(VM1, 0x0a01_0005)]);
    // From then on it is answered as everybody is.
    assert_eq!(bench.asks(rarp(VM1, VM1), 300), []);
    assert_eq!(bench.told(), [(VM1, 0x0a01_0005)]);
    // It is the tenant's own for the tables as well.
    let tables = bench.control.publisher.current();
    let tenant = tables.networks.tenant(ACCESS, VLAN, VM1).unwrap();
    assert_eq!(&tenant.ipv4[..], &[0x0a01_0005]);
}

#[test]
fn who_asks_for_another_one_has_nothing_allocated() {
    let mut bench = Bench::with(FILE);
    bench.has_tenants(1, 0, ["on-rarp", "10.1.0.9"]);
    let red = (0x2001_0db8_dddd_0000, 1);
    assert_eq!(bench.asks(rarp(VM2, VM1), 100), [ForAuthority::FindMac(red, VM1)]);
    // Nor has one that operators gave its addresses: it is told them.
    assert_eq!(bench.asks(rarp(VM2, VM2), 200), []);
    assert_eq!(bench.told(), [(VM2, 0x0a01_0009)]);
}

#[test]
fn an_answer_that_comes_when_the_tenant_asks_again_anyhow_is_not_sent() {
    let mut bench = Bench::with(FILE);
    bench.has_tenants(1, 0, ["on-rarp", "10.1.0.9"]);
    assert_eq!(bench.asks(rarp(VM1, VM1), 100).len(), 1);
    bench.has_tenants(2, 1_100, ["on-rarp, 10.1.0.5", "10.1.0.9"]);
    assert!(bench.told().is_empty());
}
