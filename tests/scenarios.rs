//! All scenarios of the ILA draft (§5.4 to §5.13): the three address lines byte for byte, at the sender, on the wire and at
//! the receiver, and checksums that are right at the receiver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::ila::ChecksumMode;
use support::packets::*;
use support::tenants::*;
use support::*;

const T1: &str = "2001:db8:dddd:0:2000::1";
const T2: &str = "2001:db8:dddd:0:2000::2";
const T3: &str = "2001:db8:dddd:0:2000::3";
const L3: &str = "fd00:1:0:3::/64";

/// The wire form of T2 under L3 and of T3 under L1, worked by hand for each mode.
///
/// Σ SIR = 2001+0db8+dddd+0 = 0b97 (with carry); Σ L3 = fd00+1+0+3 = fd04; the difference is 0b97 +' 02fb = 0e92.
/// With the C-bit's 0xefff it is fe91, so 2 becomes fe93. Σ L1 = fd02 gives 0e94, fe93, and 3 becomes fe96.
fn wire(mode: ChecksumMode) -> (&'static str, &'static str) {
    match mode {
        ChecksumMode::NeutralMap => ("fd00:1:0:3:3000::fe93", "fd00:1:0:1:3000::fe96"),
        ChecksumMode::NeutralMapAuto => ("fd00:1:0:3:2000::e94", "fd00:1:0:1:2000::e97"),
        ChecksumMode::AdjTransport | ChecksumMode::NoAction => ("fd00:1:0:3:2000::2", "fd00:1:0:1:2000::3"),
    }
}

/// Whether the transport checksum is right on the wire too.
fn right_on_the_wire(mode: ChecksumMode) -> bool {
    mode != ChecksumMode::NoAction
}

#[test]
fn scenario_01_task_to_task() {
    for mode in ChecksumMode::ALL {
        let mut sender = nve(mode, L1, &[(T1.into(), TASK)], &[(T2.into(), L3)]);
        let mut receiver = nve(mode, L3, &[(T2.into(), TASK_2)], &[]);
        let (from, to) = (address(T1), address(T2));
        let packet = ipv6(from, to, 6, &tcp(from, to, b"hello"));
        assert_eq!(line(&packet), format!("{T1},{T2}"));
        let on_wire = sender.receive("access0", &frame(TASK_ROUTER, TASK, &packet)).forwarded("fabric0");
        assert_eq!(line(&on_wire[14..]), format!("{T1},{}", wire(mode).0));
        assert_eq!(checksum_ok(&on_wire[14..]), Some(right_on_the_wire(mode)), "{mode:?}");
        let arrived = frame(NVE_FABRIC, GATEWAY_FABRIC, &on_wire[14..]);
        let received = receiver.receive("fabric0", &arrived).forwarded("access0");
        assert_eq!(line(&received[14..]), format!("{T1},{T2}"));
        assert_eq!(checksum_ok(&received[14..]), Some(true), "{mode:?}");
        assert_eq!((&received[..6], &received[6..12]), (&TASK_2.0[..], &TASK_ROUTER.0[..]));
        assert_eq!((received[21], &received[54..]), (62, &packet[40..]));
    }
}

#[test]
fn scenario_02_task_to_internet() {
    let mut host = nve(ChecksumMode::NeutralMap, L1, &[(T1.into(), TASK)], &[]);
    let mut gateway = gateway(ChecksumMode::NeutralMap, "", &[]);
    let from = address(T1);
    let packet = ipv6(from, IADDR, 17, &udp(from, IADDR, b"query"));
    let addresses = format!("{T1},2001:db8:1::99");
    assert_eq!(line(&packet), addresses);
    let on_wire = host.receive("access0", &frame(TASK_ROUTER, TASK, &packet)).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), addresses);
    let outside = gateway.receive("fabric0", &on_wire).forwarded("ext0");
    assert_eq!(line(&outside[14..]), addresses);
    assert_eq!((checksum_ok(&outside[14..]), &outside[54..]), (Some(true), &packet[40..]));
}

#[test]
fn scenario_03_internet_to_task() {
    for mode in ChecksumMode::ALL {
        let mut gateway = gateway(mode, "", &[(T3.into(), L1)]);
        let mut host = nve(mode, L1, &[(T3.into(), TASK)], &[]);
        let to = address(T3);
        let packet = ipv6(IADDR, to, 6, &tcp(IADDR, to, b"GET /"));
        assert_eq!(line(&packet), format!("2001:db8:1::99,{T3}"));
        let outside = frame(GATEWAY_EXTERNAL, INTERNET, &packet);
        let on_wire = gateway.receive("ext0", &outside).forwarded("fabric0");
        assert_eq!(line(&on_wire[14..]), format!("2001:db8:1::99,{}", wire(mode).1));
        assert_eq!(checksum_ok(&on_wire[14..]), Some(right_on_the_wire(mode)), "{mode:?}");
        let received = host.receive("fabric0", &on_wire).forwarded("access0");
        assert_eq!(line(&received[14..]), format!("2001:db8:1::99,{T3}"));
        assert_eq!((checksum_ok(&received[14..]), &received[54..]), (Some(true), &packet[40..]));
    }
}

#[test]
fn scenario_04_tenant_to_service() {
    let (from, to) = (address("2001:db8:a::1"), address(SERVICE));
    let packet = ipv6(from, to, 6, &tcp(from, to, b"hello"));
    assert_eq!(line(&packet), format!("2001:db8:a::1,{SERVICE}"));
    let on_wire =
        host_where(L1, TASKS).receive("access0", &frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    // As for a task: see scenario 1.
    assert_eq!(line(&on_wire[14..]), "2001:db8:a::1,fd00:1:0:2:3000::fe96");
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = host_where(L2, TASKS).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(line(&received[18..]), format!("2001:db8:a::1,{SERVICE}"));
    assert_eq!((checksum_ok(&received[18..]), &received[58..]), (Some(true), &packet[40..]));
}

/// The wire form of VA1 under L1, worked by hand: Σ VNET = 2001+0db8+000a = 2dc3, Σ L1 = fd02, and the upper half of the
/// identifier with the C-bit is 7000+0064 = 7064. 2dc3 -' fd02 -' 7064 = c05b, so 1 becomes c05c.
#[test]
fn scenario_05_task_to_tenant() {
    let (from, to) = (address(SERVICE), address("2001:db8:a::1"));
    let packet = ipv6(from, to, 17, &udp(from, to, b"answer"));
    assert_eq!(line(&packet), format!("{SERVICE},2001:db8:a::1"));
    let on_wire =
        host_where(L2, TASKS).receive("access0", &tagged(TASK_ROUTER, TASK, 9, &packet)).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), format!("{SERVICE},fd00:1:0:1:7000:64:0:c05c"));
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = host_where(L1, TASKS).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(line(&received[14..]), format!("{SERVICE},2001:db8:a::1"));
    assert_eq!((&received[..6], &received[6..12]), (&VM1.0[..], &ANYCAST.0[..]));
    assert_eq!((checksum_ok(&received[14..]), &received[54..]), (Some(true), &packet[40..]));
}

#[test]
fn scenario_06_tenant_to_internet() {
    let from = address("2001:db8:a::1");
    let packet = ipv6(from, IADDR, 6, &tcp(from, IADDR, b"GET /"));
    let addresses = "2001:db8:a::1,2001:db8:1::99";
    assert_eq!(line(&packet), addresses);
    let on_wire =
        host_where(L1, INTERNET_TOO).receive("access0", &frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), addresses);
    assert_eq!(&on_wire[54..], &packet[40..]);
    let arrived = frame(GATEWAY_FABRIC, NVE_FABRIC, &on_wire[14..]);
    let outside = network_gateway(INTERNET_TOO, &[]).receive("fabric0", &arrived).forwarded("ext0");
    assert_eq!(line(&outside[14..]), addresses);
    assert_eq!((checksum_ok(&outside[14..]), &outside[54..]), (Some(true), &packet[40..]));
}

#[test]
fn scenario_07_internet_to_tenant() {
    let to = address("2001:db8:a::2");
    let packet = ipv6(IADDR, to, 6, &tcp(IADDR, to, b"200 OK"));
    assert_eq!(line(&packet), "2001:db8:1::99,2001:db8:a::2");
    // Σ L2 = fd03: one less than in scenario 5.
    let wire = "2001:db8:1::99,fd00:1:0:2:7000:64:0:c05c";
    let mapped = [("2001:db8:dddd:0:6000:64:0:2", L2)];
    let by_gateway = network_gateway(INTERNET_TOO, &mapped)
        .receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, &packet))
        .forwarded("fabric0");
    // The host of VM1 is one too: what comes from the fabric for a tenant on another host is sent on.
    let by_host = host_where(L1, INTERNET_TOO)
        .receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet))
        .forwarded("fabric0");
    for on_wire in [by_gateway, by_host] {
        assert_eq!((line(&on_wire[14..]), checksum_ok(&on_wire[14..])), (wire.to_owned(), Some(true)));
        let received =
            host_where(L2, INTERNET_TOO).receive("fabric0", &carried(&on_wire)).forwarded("access0");
        assert_eq!(line(&received[14..]), "2001:db8:1::99,2001:db8:a::2");
        assert_eq!((checksum_ok(&received[14..]), &received[54..]), (Some(true), &packet[40..]));
    }
}

/// The way to the service.
#[test]
fn scenario_08_ipv4_tenant_to_service() {
    let packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 200], 64, b"query");
    assert_eq!(ipv4_line(&packet), "10.0.0.1,10.0.0.200");
    let on_wire =
        peered(L1, TO_SERVICE).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    // The destination is that of scenario 4.
    assert_eq!(line(&on_wire[14..]), "2001:db8:dddd:0:4000:64:a00:1,fd00:1:0:2:3000::fe96");
    assert_eq!((checksum_ok(&on_wire[14..]), on_wire[21]), (Some(true), 63));
    let received = peered(L2, TO_SERVICE).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(line(&received[18..]), format!("2001:db8:dddd:0:4000:64:a00:1,{SERVICE}"));
    assert_eq!((checksum_ok(&received[18..]), &received[58 + 8..]), (Some(true), &b"query"[..]));
    for policies in ["", FROM_SERVICE] {
        assert_eq!(
            peered(L1, policies).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).fate,
            refused()
        );
    }
}

/// The way back. Σ SIR = 0b97, Σ L1 = fd02: 0b97 -' fd02 -' 1000 = fe93, so 1 becomes fe94.
#[test]
fn scenario_08_service_to_ipv4_tenant() {
    let (from, to) = (address(SERVICE), address("2001:db8:dddd:0:4000:64:a00:1"));
    let packet = ipv6(from, to, 17, &udp(from, to, b"answer"));
    assert_eq!(line(&packet), format!("{SERVICE},2001:db8:dddd:0:4000:64:a00:1"));
    let sent = tagged(TASK_ROUTER, TASK, 9, &packet);
    let on_wire = peered(L2, FROM_SERVICE).receive("access0", &sent).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), format!("{SERVICE},fd00:1:0:1:5000:64:a00:fe94"));
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = peered(L1, FROM_SERVICE).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(&received[..14], &ipv4_frame(VM1, ANYCAST, &[])[..]);
    assert_eq!(ipv4_line(&received[14..]), "10.0.0.200,10.0.0.1");
    assert!(ipv4_checksums_ok(&received[14..]));
    for policies in ["", TO_SERVICE] {
        assert_eq!(peered(L2, policies).receive("access0", &sent).fate, refused());
        assert_eq!(peered(L1, policies).receive("fabric0", &carried(&on_wire)).fate, refused());
    }
    // A service without an address in the network cannot be shown to the tenant.
    let outcome = host_where(L1, FROM_SERVICE).receive("fabric0", &carried(&on_wire));
    assert_eq!(outcome.fate, refused());
}

#[test]
fn scenario_09_same_network_ipv6() {
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:a::2"));
    let packet = ipv6(from, to, 6, &tcp(from, to, b"hello"));
    assert_eq!(line(&packet), "2001:db8:a::1,2001:db8:a::2");
    let on_wire = host(L1).receive("access0", &frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), "2001:db8:a::1,fd00:1:0:2:7000:64:0:c05c");
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = host(L2).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(line(&received[14..]), "2001:db8:a::1,2001:db8:a::2");
    assert_eq!((&received[..6], checksum_ok(&received[14..])), (&VM2.0[..], Some(true)));
    assert_eq!((received[21], &received[54..]), (62, &packet[40..]));
}

#[test]
fn scenario_10_same_network_ipv4() {
    let packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, b"query");
    assert_eq!(ipv4_line(&packet), "10.0.0.1,10.0.0.2");
    let on_wire = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    // Σ SIR = 0b97, Σ L2 = fd03: 0e93 +' efff = fe92, so 2 becomes fe94.
    assert_eq!(line(&on_wire[14..]), "2001:db8:dddd:0:4000:64:a00:1,fd00:1:0:2:5000:64:a00:fe94");
    assert_eq!((checksum_ok(&on_wire[14..]), on_wire[21]), (Some(true), 63));
    let received = host(L2).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(&received[..14], &ipv4_frame(VM2, ANYCAST, &[])[..]);
    assert_eq!(ipv4_line(&received[14..]), "10.0.0.1,10.0.0.2");
    assert!(ipv4_checksums_ok(&received[14..]));
    assert_eq!((received[22], &received[34..]), (62, &packet[20..]));
}

#[test]
fn scenario_11_different_networks_ipv6() {
    let sent = of_vm3_ipv6("2001:db8:a::2");
    assert_eq!(line(&sent[18..]), "2001:db8:b::3,2001:db8:a::2");
    let on_wire = peered(L1, BLUE_TO_RED).receive("access0", &sent).forwarded("fabric0");
    // The destination is that of scenario 9.
    assert_eq!(line(&on_wire[14..]), "2001:db8:b::3,fd00:1:0:2:7000:64:0:c05c");
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = peered(L2, BLUE_TO_RED).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(line(&received[14..]), "2001:db8:b::3,2001:db8:a::2");
    assert_eq!((&received[..6], checksum_ok(&received[14..])), (&VM2.0[..], Some(true)));
    assert_eq!((received[21], &received[54..]), (62, &sent[58..]));
}

#[test]
fn scenario_12_different_networks_ipv4() {
    let sent = of_vm3([10, 0, 0, 101]);
    assert_eq!(ipv4_line(&sent[18..]), "10.0.0.2,10.0.0.101");
    let on_wire = peered(L1, BLUE_TO_RED).receive("access0", &sent).forwarded("fabric0");
    // The destination is that of scenario 10.
    assert_eq!(line(&on_wire[14..]), format!("{VM3_SIR},fd00:1:0:2:5000:64:a00:fe94"));
    assert_eq!((checksum_ok(&on_wire[14..]), on_wire[21]), (Some(true), 63));
    let received = peered(L2, BLUE_TO_RED).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(&received[..14], &ipv4_frame(VM2, ANYCAST, &[])[..]);
    assert_eq!(ipv4_line(&received[14..]), "10.0.0.104,10.0.0.2");
    assert!(ipv4_checksums_ok(&received[14..]));
    assert_eq!((received[22], &received[42..]), (62, &b"query"[..]));
}

#[test]
fn scenario_13_ipv4_to_ipv6_in_different_networks() {
    let sent = of_vm3([10, 0, 0, 102]);
    assert_eq!(ipv4_line(&sent[18..]), "10.0.0.2,10.0.0.102");
    let on_wire = peered(L1, BOTH).receive("access0", &sent).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), format!("{VM3_SIR},fd00:1:0:2:7000:64:0:c05c"));
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = peered(L2, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(line(&received[14..]), format!("{VM3_SIR},2001:db8:a::2"));
    assert_eq!((&received[..6], checksum_ok(&received[14..])), (&VM2.0[..], Some(true)));
    // It answers to whom it sees. Under L1 2 becomes fe95: see scenario 8.
    let (from, to) = (address("2001:db8:a::2"), address(VM3_SIR));
    let answer = frame(ANYCAST, VM2, &ipv6(from, to, 17, &udp(from, to, b"answer")));
    let on_wire = peered(L2, BOTH).receive("access0", &answer).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), "2001:db8:a::2,fd00:1:0:1:5000:c8:a00:fe95");
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = peered(L1, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(&received[..18], &ipv4_tagged(VM3, ANYCAST, 7, &[])[..]);
    assert_eq!(ipv4_line(&received[18..]), "10.0.0.102,10.0.0.2");
    assert!(ipv4_checksums_ok(&received[18..]));
    // The way back needs its own policy, at both ends.
    assert_eq!(peered(L2, BLUE_TO_RED).receive("access0", &answer).fate, refused());
    assert_eq!(peered(L1, BLUE_TO_RED).receive("fabric0", &carried(&on_wire)).fate, refused());
}

#[test]
fn tasks_on_one_host_need_no_trip_through_the_fabric() {
    let attached = [(T1.into(), TASK), (T2.into(), TASK_2)];
    let mut host = nve(ChecksumMode::NeutralMap, L1, &attached, &[]);
    let (from, to) = (address(T1), address(T2));
    let packet = ipv6(from, to, 6, &tcp(from, to, b"hello"));
    let received = host.receive("access0", &frame(TASK_ROUTER, TASK, &packet)).forwarded("access0");
    assert_eq!((line(&received[14..]), &received[..6]), (format!("{T1},{T2}"), &TASK_2.0[..]));
}
