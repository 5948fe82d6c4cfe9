//! No burst allocates: a counting allocator watches the pipeline over every kind of packet.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use arrayvec::ArrayVec;
use ilagate::config::Config;
use ilagate::mapping::{Batch, Change, Departure, Origin, Presence, TunnelEnds, Tunnels};
use ilagate::net::Mac;
use ilagate::net::ipv6::solicited_node;
use ilagate::node::hold::{Held, Hold, HoldLimits};
use ilagate::node::replay::mac_of;
use ilagate::node::rib::Rib;
use ilagate::path::{
    Account, Arrival, BURST, CopiedFrame, Counters, Ctx, Fates, Limiter, NetworkTally, Outcome, Packet,
    Pipeline, Verdict,
};
use ilagate::table::{AttachmentKey, PortId};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use support::packets::*;
use support::tenants::*;
use support::*;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts allocations of each thread.
struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const CONFIG: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64", checksum: adj-transport}]
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
ports:
  - {name: fabric0, device: net_null_a0, role: fabric, addresses: ["fd00:1:0:fe::1/64"]}
  - {name: access0, device: net_null_b0, role: access, router_advertisement: {}}
attachments: [{port: access0, vlan: 5, mac: "02:00:00:00:00:0a", identifiers: ["2001:db8:dddd:0:2000::1"]}]
routes: [{prefix: "::/0", via: "fd00:1:0:fe::ff", port: fabric0}]
neighbours: {static: [{port: fabric0, address: "fd00:1:0:fe::ff", mac: "02:00:00:00:00:ff"}]}
"#;

/// Decides a burst and counts it, as a worker does.
fn run(
    pipeline: &mut Pipeline,
    burst: &mut [Packet<'_>],
    ctx: &Ctx<'_>,
    account: Account<'_>,
    send: impl FnMut(&CopiedFrame<'_>) -> bool,
) {
    let bytes = burst.iter().map(|packet| packet.len() as u64).sum();
    let arrival = Arrival::Received { packets: burst.len(), bytes };
    pipeline.run(burst, ctx);
    let outcomes: ArrayVec<Outcome, BURST> = burst.iter().map(Outcome::from).collect();
    pipeline.account(arrival, Fates::Each(&outcomes), account, ctx.tables, send);
}

#[test]
fn no_burst_allocates() {
    let config = Config::parse(CONFIG, "alloc.yaml").unwrap();
    let macs = [mac_of(&config, 0), mac_of(&config, 1)];
    let mut rib = Rib::new(&config, &macs, 3);
    let tables = rib.compile();
    let counters = Counters::per_port(2);
    let networks = NetworkTally::new(1);
    let mut pipeline = Pipeline::new(Limiter::new(1_000_000, 1_000_000));

    let task = address("2001:db8:dddd:0:2000::1");
    let own = address("fd00:1:0:fe::1");
    let mut frames = Vec::new();
    let mut fabric = |l3: Vec<u8>| frames.push(frame(macs[0], Mac([2, 0, 0, 0, 0, 0xff]), &l3));
    for to in [
        task,
        address("fd00:1:0:1:2000::1"),
        address("2001:db8:dddd:0:2000::99"),
        address("2001:db8::1"),
        own,
        address("fd00:1:0:fe::42"),
        address("::1"),
        address("fd00:1:0:1:a000::1"),
    ] {
        fabric(ipv6(IADDR, to, 6, &tcp(IADDR, to, b"data")));
        fabric(ipv6(IADDR, to, 17, &udp(IADDR, to, &[0; 1500])));
        fabric(ipv6(IADDR, to, 58, &icmp6(IADDR, to, 128, 0, &[0; 8])));
        fabric(ipv6(IADDR, to, 0, &[&[60, 0, 1, 4, 0, 0, 0, 0], &[59, 0, 1, 4, 0, 0, 0, 0][..]].concat()));
        let quoted = ipv6(to, address("fd00:1:0:1:2000::1"), 17, &udp(to, task, b"x"));
        fabric(icmp6_error(IADDR, to, 3, 0, 0, &quoted));
        let mut dying = ipv6(IADDR, to, 6, &tcp(IADDR, to, b"data"));
        dying[7] = 1;
        fabric(dying);
    }
    let rest = [&[0; 4], &own.to_be_bytes()[..]].concat();
    let group = solicited_node(own);
    let mut asking = ipv6(IADDR, group, 58, &icmp6(IADDR, group, 135, 0, &rest));
    asking[7] = 255;
    fabric(asking);
    fabric(vec![0x60; 39]);
    frames.push(vec![1, 2, 3]);

    let mut rooms: Vec<Vec<u8>> = frames.iter().map(|_| vec![0; 2176]).collect();
    let account = Account { counters: &counters[0], networks: &networks };
    for now_ms in 0..3 {
        for (room, frame) in rooms.iter_mut().zip(&frames) {
            room[128..128 + frame.len()].copy_from_slice(frame);
        }
        for (rooms, frames) in rooms.chunks_mut(BURST).zip(frames.chunks(BURST)) {
            let mut burst: Vec<Packet<'_>> = rooms
                .iter_mut()
                .zip(frames)
                .map(|(room, frame)| Packet::new(room, 128, 128 + frame.len() as u16, PortId(0)))
                .collect();
            let before = ALLOCATIONS.with(Cell::get);
            run(&mut pipeline, &mut burst, &Ctx { tables: &tables, now_ms }, account, |_| true);
            assert_eq!(ALLOCATIONS.with(Cell::get), before);
        }
    }
    // The burst was worth its name: something was forwarded, answered and dropped.
    let counted = &counters[0];
    assert!(counted.forwarded.value() > 0 && counted.replied.value() > 0 && counted.dropped_total() > 0);
}

/// Answers, refusals, notices and announcements of tenants.
#[test]
fn no_burst_of_tenants_allocates() {
    let (text, mapped) = written(L1, &Rules::default());
    let config = Config::parse(&text, "alloc.yaml").unwrap();
    let mut rib = Rib::new(&config, &[NVE_FABRIC, NVE_ACCESS], 3);
    let changes = records(&config, &mapped).into_iter().map(Change::Upsert).collect();
    rib.apply(Batch { origin: Origin::File, changes, complete: true }).unwrap();
    let tables = rib.compile();
    let mut pipeline = Pipeline::new(Limiter::new(1_000_000, 1_000_000));
    let (own, own6) = (0x0a00_0001, address("2001:db8:a::1"));
    let mut frames: Vec<Vec<u8>> =
        [(own, 0x0a00_00fe), (own, 0x0a00_0077), (own, own), (0, 0x0a00_0002), (7 << 24, 7 << 24)]
            .map(|(sender, target)| arp_frame(&asks(VM1, sender, target), 0))
            .to_vec();
    frames.push(ipv4_frame(ANYCAST, VM1, &ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, b"data")));
    frames.push(ipv4_frame(ANYCAST, VM1, &ipv4_packet([10, 0, 0, 1], [10, 0, 0, 9], 64, b"data")));
    for to in ["2001:db8:a::2", "2001:db8:a::77", "2001:db8:b::3", "fd00:ffff::1", "2001:db8:a::ffff:fffe"] {
        let to = address(to);
        frames.push(frame(ANYCAST, VM1, &ipv6(own6, to, 17, &udp(own6, to, b"data"))));
        frames.push(frame(ANYCAST, VM1, &ipv6(to, own6, 17, &udp(to, own6, b"spoofed"))));
        for kind in [128, 134, 135, 136] {
            let rest = [&[0; 4], &to.to_be_bytes()[..]].concat();
            let mut packet = ipv6(own6, to, 58, &icmp6(own6, to, kind, 0, &rest));
            packet[7] = 255;
            frames.push(frame(ANYCAST, VM1, &packet));
        }
    }
    assert!(frames.len() <= BURST);
    let mut rooms: Vec<Vec<u8>> = frames.iter().map(|_| vec![0; 2176]).collect();
    let (mut replied, mut noticed) = (0, 0);
    for now_ms in 0..500 {
        for (room, frame) in rooms.iter_mut().zip(&frames) {
            room[128..128 + frame.len()].copy_from_slice(frame);
        }
        let mut burst: Vec<Packet<'_>> = rooms
            .iter_mut()
            .zip(&frames)
            .map(|(room, frame)| Packet::new(room, 128, 128 + frame.len() as u16, PortId(1)))
            .collect();
        let before = ALLOCATIONS.with(Cell::get);
        pipeline.run(&mut burst, &Ctx { tables: &tables, now_ms });
        let (notices, _) = pipeline.take_notices();
        assert_eq!(ALLOCATIONS.with(Cell::get), before);
        replied += burst.iter().filter(|packet| matches!(packet.verdict, Verdict::Reply(_))).count();
        noticed += notices.len();
    }
    assert!(replied > 0 && noticed > 0);
}

const TENANTS: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
virtual_networks:
  - {name: red, vnid: 100, domain: tasks, ipv6: {prefix: "2001:db8:a::/96"},
     ipv4: [{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}], replicate_to: ["fd00:1:0:2::/64", "fd00:1:0:3::/64"]}
ports:
  - {name: fabric0, device: net_null_a0, role: fabric, addresses: ["fd00:1:0:fe::1/64"]}
  - {name: access0, device: net_null_b0, role: access}
attachments:
  - {port: access0, mac: "02:00:00:00:01:01", network: red, addresses: ["10.0.0.1", "2001:db8:a::1"]}
  - {port: access0, vlan: 4, mac: "02:00:00:00:01:04", network: red, addresses: ["10.0.0.4"], groups: ["239.1.2.3", "ff05::1"]}
routes: [{prefix: "::/0", via: "fd00:1:0:fe::ff", port: fabric0}]
neighbours: {static: [{port: fabric0, address: "fd00:1:0:fe::ff", mac: "02:00:00:00:00:ff"}]}
"#;

#[test]
fn no_copy_and_no_fragment_allocates() {
    let config = Config::parse(TENANTS, "alloc.yaml").unwrap();
    let macs = [mac_of(&config, 0), mac_of(&config, 1)];
    let tables = Rib::new(&config, &macs, 3).compile();
    let counters = Counters::per_port(2);
    let networks = NetworkTally::new(1);
    let mut pipeline = Pipeline::new(Limiter::new(1_000_000, 1_000_000));
    let (from, group) = (address("2001:db8:a::1"), address("ff05::1"));
    let (vm, gateway) = (tenants::VM1, tenants::ANYCAST);
    let mut frames = vec![
        frame(Mac::of_ipv6_multicast(group), vm, &ipv6(from, group, 17, &udp(from, group, &[0; 1000]))),
        frame(Mac::of_ipv6_multicast(group), vm, &ipv6(from, group, 17, &udp(from, group, &[0; 1500]))),
    ];
    for (to, mac) in [
        ([239, 1, 2, 3], Mac([1, 0, 0x5e, 1, 2, 3])),
        ([255; 4], Mac::BROADCAST),
        ([10, 0, 0, 4], gateway),
        ([10, 0, 0, 9], gateway),
    ] {
        for length in [100, 1472] {
            let mut packet = tenants::ipv4_packet([10, 0, 0, 1], to, 64, &vec![0; length]);
            packet[6] = 0;
            ilagate::net::ipv4::seal(&mut packet[..20]);
            frames.push(tenants::ipv4_frame(mac, vm, &packet));
        }
    }
    let loud = frames[0].clone();
    frames.resize(BURST, loud);
    let mut rooms: Vec<Vec<u8>> = frames.iter().map(|_| vec![0; 2176]).collect();
    let account = Account { counters: &counters[1], networks: &networks };
    for now_ms in 0..3 {
        for (room, frame) in rooms.iter_mut().zip(&frames) {
            room[128..128 + frame.len()].copy_from_slice(frame);
        }
        let mut burst: Vec<Packet<'_>> = rooms
            .iter_mut()
            .zip(&frames)
            .map(|(room, frame)| Packet::new(room, 128, 128 + frame.len() as u16, PortId(1)))
            .collect();
        let before = ALLOCATIONS.with(Cell::get);
        run(&mut pipeline, &mut burst, &Ctx { tables: &tables, now_ms }, account, |copy| {
            !copy.frame.is_empty()
        });
        assert_eq!(ALLOCATIONS.with(Cell::get), before);
    }
    assert!(counters[1].copied.value() > 3 * 2 * BURST as u64 - 60 && counters[1].forwarded.value() > 0);
}

#[test]
fn no_burst_of_a_move_allocates() {
    let (text, mapped) = written(L2, &Rules::default());
    let config = Config::parse(&text, "alloc.yaml").unwrap();
    let mut rib = Rib::new(&config, &[NVE_FABRIC, NVE_ACCESS], 3);
    let changes = records(&config, &mapped).into_iter().map(Change::Upsert).collect();
    rib.apply(Batch { origin: Origin::File, changes, complete: true }).unwrap();
    let (own, other) = (address("fd00:ffff::1"), address("fd00:ffff::ff"));
    let at = AttachmentKey { port: PortId(1), vlan: 0, mac: VM2 };
    let departure = Departure {
        locators: vec![(0, "fd00:1:0:9::/64".parse().unwrap())],
        tunnel: Some(TunnelEnds { from: own, to: other }),
        in_flight: None,
        until_ms: u64::MAX,
        may_send: false,
    };
    let tunnels = Tunnels { to: own, from: vec![other], copies: false };
    let packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, b"query");
    let in_flight = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    let (from, to) = (address("2001:db8:a::2"), address("2001:db8:a::1"));
    let of_vm = frame(ANYCAST, VM2, &ipv6(from, to, 6, &tcp(from, to, b"go on")));
    let counters = Counters::per_port(2);
    let networks = NetworkTally::new(1);
    let mut hold: Hold<u32> = Hold::new(64, HoldLimits { packets: 64, bytes: 1 << 20, hold_ms: 10 });
    for presence in
        [Presence::Departed(departure), Presence::Expected(tunnels.clone()), Presence::Here(tunnels)]
    {
        rib.set_presence(at, presence).unwrap();
        let tables = rib.compile();
        let mut pipeline = Pipeline::new(Limiter::new(1_000_000, 1_000_000));
        let mut run_all = |measured: bool| {
            let mut rooms: Vec<Vec<u8>> = vec![vec![0; 2048]; 2];
            let frames = [(carried(&in_flight), PortId(0)), (of_vm.clone(), PortId(1))];
            for (room, (frame, port)) in rooms.iter_mut().zip(&frames) {
                room[128..128 + frame.len()].copy_from_slice(frame);
                let mut burst = [Packet::new(room, 128, 128 + frame.len() as u16, *port)];
                let before = ALLOCATIONS.with(Cell::get);
                let account = Account { counters: &counters[usize::from(port.0)], networks: &networks };
                run(&mut pipeline, &mut burst, &Ctx { tables: &tables, now_ms: 1 }, account, |_| true);
                let [packet] = burst;
                if let Verdict::Hold(queue) = packet.verdict {
                    let held = Held { queue, port: *port, deadline_ms: 1, bytes: 100, packet: 7 };
                    assert!(hold.push(held, false).is_ok());
                }
                hold.release(|_| false);
                while hold.take_released().is_some() {}
                assert!(!measured || ALLOCATIONS.with(Cell::get) == before, "{:?}", packet.verdict);
            }
        };
        run_all(false);
        run_all(true);
    }
}
