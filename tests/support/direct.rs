//! The direct way and the stages decide alike: same verdicts, same bytes, same counters, over mixed bursts.
//!
//! Here are the packets, close to what the direct way takes; network and comparison are those of the fuzz target.
use crate::{support, targets};
use ilagate::net::Mac;
use ilagate::path::BURST;
use proptest::prelude::*;
use support::address;
use support::packets::*;

const ADDRESSES: &[&str] = &[
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
    "2001:db8:1::1",
    "2001:db8:2::1",
    "2001:db8:3::1",
    "fe80::1",
    "ff02::1",
    "::1",
];

#[derive(Debug, Clone)]
struct Sent {
    from: usize,
    to: usize,
    marked: bool,
    kind: u8,
    hop_limit: u8,
    size: usize,
    padding: usize,
    vlan: Option<u16>,
    own_mac: bool,
    edit: Option<(usize, u8)>,
}

fn sent() -> impl Strategy<Value = Sent> {
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
    fn frame(&self) -> Vec<u8> {
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
    fn write(&self, input: &mut Vec<u8>) {
        let frame = self.frame();
        input.push(if self.own_mac { targets::OUR_MAC } else { 0 });
        input.extend_from_slice(&(frame.len() as u16).to_le_bytes());
        input.extend_from_slice(&frame);
    }
}

#[test]
fn the_direct_way_decides_as_the_stages_do() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1500));
    // More than one burst: lanes of earlier ones must not shine through.
    let bursts = (0u8..3, 1u8..=BURST as u8, proptest::collection::vec(sent(), 1..=2 * BURST));
    runner
        .run(&bursts, |(port, size, sent)| {
            let mut input = vec![port | (size - 1) << 2];
            sent.iter().for_each(|sent| sent.write(&mut input));
            targets::pipeline(&input);
            Ok(())
        })
        .unwrap();
}
