//! A move between nodes without devices: VM1's node, the node that VM2 and the service leave, and the one where they
//! arrive.
#![allow(unreachable_pub)]

use super::site::*;
use super::support::packets::*;
use super::support::tenants::*;
use super::support::*;
use ilagate::ila::Locator;
use ilagate::mapping::{Departure, InFlight, Presence, TunnelEnds, Tunnels};
use ilagate::table::PortId;

pub const L3: &str = "fd00:1:0:3::/64";
/// Where a move ends that takes longer than any of these.
pub const LATER_MS: u64 = 1 << 40;

pub fn vtep(number: u16) -> u128 {
    address(&format!("{NODES}{number}"))
}

pub fn locator(number: u64) -> Locator {
    Locator(0xfd00_0001_0000_0000 | number)
}

/// VM1's node; the node that VM2 and the service leave; and the one where they arrive.
pub struct Move {
    pub sender: Site,
    pub old: Site,
    pub new: Site,
}

pub fn tunnels(to: u16, from: u16) -> Tunnels {
    Tunnels { to: vtep(to), from: vec![vtep(from)], copies: false }
}

pub fn departure(from: u16, to: u16, in_flight: Option<InFlight>) -> Departure {
    Departure {
        locators: vec![(0, locator(u64::from(to)))],
        tunnel: Some(TunnelEnds { from: vtep(from), to: vtep(to) }),
        in_flight,
        until_ms: LATER_MS,
        may_send: false,
    }
}

impl Move {
    pub fn with(rules: &Rules<'_>, workers: usize) -> Move {
        Move {
            sender: Site::new(1, L1, rules, workers),
            old: Site::new(2, L2, rules, workers),
            new: Site::new(3, L3, rules, workers),
        }
    }

    /// The new node expects VM2, and the old one has let it go.
    pub fn prepared(workers: usize, in_flight: Option<InFlight>) -> Move {
        let mut it = Move::with(&rules(), workers);
        for (mac, vlan) in [(VM2, 0), (TASK, 9)] {
            it.new.set(mac, vlan, Presence::Expected(tunnels(3, 2)));
            it.old.set(mac, vlan, Presence::Departed(departure(2, 3, in_flight)));
        }
        it
    }

    /// VM2 and the service are at the new node.
    pub fn cut_over(&mut self) {
        for (mac, vlan) in [(VM2, 0), (TASK, 9)] {
            self.new.set(mac, vlan, Presence::Here(tunnels(3, 2)));
        }
    }

    /// Carries a frame of VM1 to the old node, and gives what that sent on.
    pub fn reach_old(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let on_wire = through(self.sender.receive(ACCESS, frame), FABRIC);
        on_wire.iter().flat_map(|frame| through(self.old.receive(FABRIC, &carried(frame)), FABRIC)).collect()
    }

    pub fn books_balance(&self) {
        [&self.sender, &self.old, &self.new].into_iter().for_each(Site::books_balance);
    }
}

/// The frames, all of which were sent through this port.
pub fn through(sent: Vec<(PortId, Vec<u8>)>, port: PortId) -> Vec<Vec<u8>> {
    sent.into_iter()
        .map(|(by, frame)| {
            assert_eq!(by, port);
            frame
        })
        .collect()
}

/// The `n`th packet of VM1 to VM2 or the service, of each kind.
pub fn kinds(n: u32) -> Vec<(&'static str, Vec<u8>)> {
    let data = n.to_be_bytes();
    let v4 = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, &data);
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:a::2"));
    let v6 = ipv6(from, to, 6, &tcp(from, to, &data));
    let task = address(SERVICE);
    let to_task = ipv6(from, task, 17, &udp(from, task, &data));
    vec![
        ("IPv4", ipv4_frame(ANYCAST, VM1, &v4)),
        ("IPv6", frame(ANYCAST, VM1, &v6)),
        ("task", frame(ANYCAST, VM1, &to_task)),
    ]
}

/// The last bytes of a frame: the number that [`kinds`] wrote.
pub fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame.last_chunk().unwrap())
}

pub fn rules() -> Rules<'static> {
    Rules { policies: TASKS, ..Rules::default() }
}
