//! Scenarios 1 to 3 of the ILA draft (§5.4 to §5.6): the three address lines byte for byte, and what the receiver sees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::ila::ChecksumMode;
use support::packets::*;
use support::*;

const T1: &str = "2001:db8:dddd:0:2000::1";
const T2: &str = "2001:db8:dddd:0:2000::2";
const T3: &str = "2001:db8:dddd:0:2000::3";
const L1: &str = "fd00:1:0:1::/64";
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
        let on_wire = sender.receive("access0", &frame(NVE_ACCESS, TASK, &packet)).forwarded("fabric0");
        assert_eq!(line(&on_wire[14..]), format!("{T1},{}", wire(mode).0));
        assert_eq!(checksum_ok(&on_wire[14..]), Some(right_on_the_wire(mode)), "{mode:?}");
        let arrived = frame(NVE_FABRIC, GATEWAY_FABRIC, &on_wire[14..]);
        let received = receiver.receive("fabric0", &arrived).forwarded("access0");
        assert_eq!(line(&received[14..]), format!("{T1},{T2}"));
        assert_eq!(checksum_ok(&received[14..]), Some(true), "{mode:?}");
        assert_eq!((&received[..6], &received[6..12]), (&TASK_2.0[..], &NVE_ACCESS.0[..]));
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
    let on_wire = host.receive("access0", &frame(NVE_ACCESS, TASK, &packet)).forwarded("fabric0");
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
fn tasks_on_one_host_need_no_trip_through_the_fabric() {
    let attached = [(T1.into(), TASK), (T2.into(), TASK_2)];
    let mut host = nve(ChecksumMode::NeutralMap, L1, &attached, &[]);
    let (from, to) = (address(T1), address(T2));
    let packet = ipv6(from, to, 6, &tcp(from, to, b"hello"));
    let received = host.receive("access0", &frame(NVE_ACCESS, TASK, &packet)).forwarded("access0");
    assert_eq!((line(&received[14..]), &received[..6]), (format!("{T1},{T2}"), &TASK_2.0[..]));
}
