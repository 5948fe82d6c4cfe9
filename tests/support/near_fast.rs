//! Packets close to what the fast path takes, in the network of the fuzz targets.

use super::support::address;
use super::support::packets::*;
use super::targets;
use ilagate::ila::{Adjustment, ChecksumMode, Identifier, Locator, SirPrefix, neutral};
use ilagate::net::{Mac, ethernet, ipv4};
use ilagate::table::network::Vnet;
use proptest::prelude::*;

pub(super) const ADDRESSES: &[&str] = &[
    "2001:db8:a:0:2000::1",
    "2001:db8:a:0:2000::2",
    "2001:db8:a:0:2000::3",
    "2001:db8:a:0:2000::4",
    "2001:db8:a:0:2000::5",
    "2001:db8:a:0:2000::6",
    "2001:db8:a:0:2000::99",
    "2001:db8:a:0:3000::1",
    "2001:db8:a:0:4000::1",
    "2001:db8:a:0:a000::1",
    "2001:db8:a::1",
    "2001:db8:b:0:2000::1",
    "2001:db8:b:0:2000::2",
    "2001:db8:b:0:2000::99",
    "2001:db8:c:0:2000::1",
    "2001:db8:c:0:2000::2",
    "2001:db8:d:0:2000:0:1:0",
    "2001:db8:d:0:2000:0:1:ffff",
    "2001:db8:d:0:2000::2",
    "fd00:1:0:a:2000::1",
    "fd00:1:0:b:2000::1",
    "fd00:1:0:c:2000::1",
    "fd00:1:0:d:2000:0:1:0",
    "fd00:1:0:d:2000:0:1:ffff",
    "fd00:1:0:d:a000::1",
    "fd00:1:0:a::1",
    "fd00:1:0:a::ff",
    "fd00:1:0:a::42",
    "fd00:2:0:a:2000::9",
    "fd00:2:0:77::1",
    "2001:db8:1::1",
    "2001:db8:2::1",
    "2001:db8:3::1",
    "fe80::1",
    "ff02::1",
    "::1",
];

#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) marked: bool,
    pub(super) kind: u8,
    pub(super) hop_limit: u8,
    pub(super) size: usize,
    pub(super) padding: usize,
    pub(super) vlan: Option<u16>,
    pub(super) own_mac: bool,
    pub(super) edit: Option<(usize, u8)>,
}

pub(super) fn sent() -> impl Strategy<Value = Sent> {
    let link = (proptest::option::weighted(0.1, prop_oneof![Just(0u16), Just(7), Just(9)]), any::<u8>());
    (
        (0..ADDRESSES.len(), 0..ADDRESSES.len(), any::<bool>(), 0u8..5),
        (
            prop_oneof![Just(0u8), Just(1), Just(2), Just(64), Just(64)],
            prop_oneof![0usize..40, 1180usize..1500],
        ),
        (prop_oneof![Just(0usize), Just(0), 1usize..8], link),
        proptest::option::weighted(0.1, (0usize..70, any::<u8>())),
    )
        .prop_map(|((from, to, marked, kind), (hop_limit, size), (padding, (vlan, mac)), edit)| Sent {
            from,
            to,
            marked,
            kind,
            hop_limit,
            size,
            padding,
            vlan,
            own_mac: mac > 8,
            edit,
        })
}

impl Sent {
    pub(super) fn frame(&self) -> Vec<u8> {
        let from = address(ADDRESSES[self.from]);
        let mut to = address(ADDRESSES[self.to]);
        if self.marked && to >> 112 == 0xfd00 {
            to |= 1 << 60;
        }
        let data = vec![7; self.size];
        let (next, segment) = match self.kind {
            0 | 1 => (6, tcp(from, to, &data)),
            2 => (17, udp(from, to, &data)),
            3 => (58, icmp6(from, to, 128, 0, &[&[0; 4], &data[..]].concat())),
            _ => (60, [&[17, 0, 1, 4, 0, 0, 0, 0], &udp(from, to, &data)[..]].concat()),
        };
        let mut l3 = ipv6(from, to, next, &segment);
        l3[7] = self.hop_limit;
        let (mac, peer) = (Mac([2, 9, 9, 9, 9, 9]), Mac([2, 0, 0, 0, 0, 0xf0]));
        let mut bytes = match self.vlan {
            Some(vlan) => tagged(mac, peer, vlan, &l3),
            None => frame(mac, peer, &l3),
        };
        bytes.resize(bytes.len() + self.padding, 0xee);
        if let Some((at, value)) = self.edit
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte = value;
        }
        bytes
    }

    /// As the fuzz target reads it.
    pub(super) fn write(&self, input: &mut Vec<u8>) {
        let frame = self.frame();
        input.push(if self.own_mac { targets::packets::OUR_MAC } else { 0 });
        input.extend_from_slice(&(frame.len() as u16).to_le_bytes());
        input.extend_from_slice(&frame);
    }
}

/// A packet of or to a tenant, close to what the fast path takes.
#[derive(Debug, Clone)]
pub(super) struct OfTenant {
    /// From a tenant here; otherwise from the fabric.
    pub(super) out: bool,
    pub(super) ipv4: bool,
    /// The domain's number, and its network's.
    pub(super) network: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: u8,
    pub(super) hops: u8,
    pub(super) dont_fragment: bool,
    pub(super) size: usize,
    pub(super) padding: usize,
    pub(super) edit: Option<(usize, u8)>,
}

/// Tenants' addresses: lower halves, or lower bits of IPv4 ones. Here; elsewhere; the gateway's, a peer's; nobody's.
const LOWS: &[u32] = &[1, 2, 9, 0x100, 0x1_0000, 0x200, 0x2_ffff, 0xfffe, 0xfe, 200, 0x77];
const MODES: [ChecksumMode; 4] = [
    ChecksumMode::NeutralMap,
    ChecksumMode::AdjTransport,
    ChecksumMode::NeutralMapAuto,
    ChecksumMode::NoAction,
];
const VNIDS: [u32; 4] = [10, 11, 12, 13];

pub(super) fn of_tenant() -> impl Strategy<Value = OfTenant> {
    let low = || prop_oneof![3 => 0usize..3, 2 => 3usize..7, 1 => 0..LOWS.len()];
    (
        (any::<bool>(), any::<bool>(), prop_oneof![3 => Just(0usize), 2 => 1usize..4]),
        (low(), low(), prop_oneof![Just(0u8), Just(1), Just(2), 0u8..6]),
        (prop_oneof![Just(0u8), Just(1), Just(2), Just(64), Just(64)], any::<bool>()),
        prop_oneof![4 => 0usize..60, 1 => 1150usize..1480],
        prop_oneof![4 => Just(0usize), 1 => 1usize..8],
        proptest::option::weighted(0.2, (0usize..80, any::<u8>())),
    )
        .prop_map(
            |((out, ipv4, network), (from, to, kind), (hops, dont_fragment), size, padding, edit)| OfTenant {
                out,
                ipv4,
                network,
                from,
                to,
                kind,
                hops,
                dont_fragment,
                size,
                padding,
                edit,
            },
        )
}

impl OfTenant {
    fn sir(&self) -> SirPrefix {
        SirPrefix(0x2001_0db8_000a_0000 + ((self.network as u64) << 16))
    }

    fn vnet(&self) -> u128 {
        (0x2001_0db8_00aa + self.network as u128) << 80
    }

    fn address6(&self, low: usize) -> u128 {
        self.vnet() | u128::from(LOWS[low])
    }

    fn address4(&self, low: usize) -> u32 {
        0x0a00_0000 | LOWS[low] & 0xffff
    }

    /// What the addresses are to whoever checks the transport checksum, and what they are in the packet.
    fn addresses(&self) -> ((u128, u128), (u128, u128)) {
        let vnid = VNIDS[self.network];
        let (known, identifier, extra) = if self.ipv4 {
            let sir = |low| self.sir().with(Identifier::tenant_ipv4(vnid, self.address4(low)));
            let identifier = Identifier::tenant_ipv4(vnid, self.address4(self.to));
            ((sir(self.from), sir(self.to)), identifier, 0)
        } else {
            let known = (self.address6(self.from), self.address6(self.to));
            let extra = Vnet::new(self.vnet(), None, vnid, self.sir()).checksum_delta;
            (known, Identifier::tenant_ipv6(vnid, LOWS[self.to]), extra)
        };
        if self.out {
            return (known, known);
        }
        let locator = Locator(0xfd00_0001_0000_000a + self.network as u64);
        let adjustment = Adjustment::of(self.sir(), locator).with(extra);
        let wire = locator.with(neutral::there(identifier, adjustment, MODES[self.network]));
        (known, (known.0, wire))
    }

    /// The tenant's MAC address, or of the one beside it.
    fn mac(&self) -> Mac {
        let mac = match (self.network, self.from) {
            (0, 1) => 0x1b,
            (0, _) => 0x1a,
            (network, _) => 0x1b + network as u8,
        };
        Mac([2, 0, 0, 0, 0, mac])
    }

    pub(super) fn frame(&self) -> Vec<u8> {
        let ((from, to), (source, destination)) = self.addresses();
        let data = vec![7; self.size];
        let four = self.ipv4 && self.out;
        let (next, mut segment) = match self.kind {
            0 | 3 => (6, tcp(from, to, &data)),
            1 | 4 => (17, udp(from, to, &data)),
            2 => (17, [&udp(from, to, &data)[..6], &[0, 0], &data[..]].concat()),
            _ if four => (1, [&[8, 0, 0, 0, 0, 9, 0, 1][..], &data].concat()),
            _ => (58, icmp6(from, to, 128, 0, &[&[0; 4], &data[..]].concat())),
        };
        if self.kind == 4 {
            // Of a DHCP server.
            segment[..2].copy_from_slice(&(if four { 67u16 } else { 547 }).to_be_bytes());
        }
        let gateway = Mac([2, 0, 0x5e, 0, 0, if self.network == 3 { 2 } else { 1 }]);
        let (mac, peer) = if self.out {
            (gateway, self.mac())
        } else {
            (Mac([2, 9, 9, 9, 9, 9]), Mac([2, 0, 0, 0, 0, 0xf0]))
        };
        let mut bytes = if four {
            let mut packet = vec![0; ipv4::HEADER];
            let mut header = ipv4::Ipv4::of_mut(&mut packet).unwrap();
            let total = (ipv4::HEADER + segment.len()) as u16;
            header.write(total, next, self.hops, self.address4(self.from), self.address4(self.to));
            header.set_tos(self.kind << 3);
            header.set_identification(0x1234);
            header.set_fragment(self.dont_fragment, false, 0);
            ipv4::seal(&mut packet);
            let (link, length) = ethernet::header_of(mac, peer, 0, ethernet::IPV4);
            [&link[..length], &packet, &segment].concat()
        } else {
            let mut l3 = ipv6(source, destination, next, &segment);
            l3[7] = self.hops;
            l3[1] |= self.kind << 4;
            frame(mac, peer, &l3)
        };
        bytes.resize(bytes.len() + self.padding, 0xee);
        if let Some((at, value)) = self.edit
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte = value;
        }
        if four && self.edit.is_some_and(|(at, _)| (14..34).contains(&at) && at % 2 == 0) {
            ipv4::seal(&mut bytes[14..34]);
        }
        bytes
    }

    /// As the fuzz target reads it; tenants are on the fourth port, the fabric is on the first.
    pub(super) fn write(&self, input: &mut Vec<u8>) {
        let frame = self.frame();
        input.push(if self.out { 0 } else { targets::packets::OUR_MAC });
        input.extend_from_slice(&(frame.len() as u16).to_le_bytes());
        input.extend_from_slice(&frame);
    }
}
