//! The program: `ilagate check` and `ilagate replay` on files, with pcap-file as the other side of the formats.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapReader, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use support::packets::*;
use support::*;

const T3: &str = "2001:db8:dddd:0:2000::3";
const CONFIG: &str = r#"
node: {name: gateway}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
ports:
  - {name: fabric0, device: net_null_a0, role: fabric, addresses: ["fd00:1:0:fe::1/64"]}
  - {name: ext0, device: net_null_b0, role: external, mac: "02:00:00:00:00:11", addresses: ["2001:db8:ff::1/64"]}
routes:
  - {prefix: "fd00:1::/32", via: "fd00:1:0:fe::ff", port: fabric0}
  - {prefix: "2000::/3", via: "2001:db8:ff::ff", port: ext0}
neighbours:
  static:
    - {port: fabric0, address: "fd00:1:0:fe::ff", mac: "02:00:00:00:00:20"}
    - {port: ext0, address: "2001:db8:ff::ff", mac: "02:00:00:00:00:1f"}
mappings: {file: mappings.yaml}
icmp: {errors_per_second: 1, burst: 1}
"#;
const MAPPINGS: &str = "mappings:\n  - {sir: \"2001:db8:dddd:0:2000::3\", locators: [\"fd00:1:0:3::/64\"]}\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("node.yaml"), CONFIG).unwrap();
    std::fs::write(folder.path().join("mappings.yaml"), MAPPINGS).unwrap();
    folder
}

fn ilagate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ilagate")).current_dir(folder).args(arguments).output().unwrap()
}

fn replay(folder: &Path, inputs: &[&str]) -> Output {
    let mut arguments = vec!["replay", "--config", "node.yaml", "--out-dir", "out", "--json"];
    for input in inputs {
        arguments.extend(["--in", input]);
    }
    ilagate(folder, &arguments)
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn to(sir: &str) -> Vec<u8> {
    let to = address(sir);
    frame(GATEWAY_EXTERNAL, INTERNET, &ipv6(IADDR, to, 6, &tcp(IADDR, to, b"x")))
}

fn write_pcap(path: &Path, frames: &[(u64, &[u8])]) {
    let mut writer = PcapWriter::new(File::create(path).unwrap()).unwrap();
    for (time_us, frame) in frames {
        let time = Duration::from_micros(*time_us);
        let packet = pcap_file::pcap::PcapPacket::new(time, frame.len() as u32, frame);
        writer.write_packet(&packet).unwrap();
    }
}

fn read_pcap(path: &Path) -> Vec<(Duration, Vec<u8>)> {
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    assert_eq!(reader.header().datalink, DataLink::ETHERNET);
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        frames.push((packet.timestamp, packet.data.into_owned()));
    }
    frames
}

#[test]
fn a_capture_goes_through_the_pipeline_and_the_ports_write_theirs() {
    let folder = folder();
    write_pcap(
        &folder.path().join("in.pcap"),
        &[(1_500_000, &to(T3)), (2_000_001, &to("2001:db8:dddd:0:2000::9"))],
    );
    let report = json(&replay(folder.path(), &["ext0=in.pcap"]));
    let port = &report["ports"][1];
    assert_eq!(port["port"], "ext0");
    for (key, value) in [
        ("received", 2),
        ("forwarded", 1),
        ("replied", 1),
        ("punted", 0),
        ("dropped", 0),
        ("sent", 1),
        ("cut", 0),
    ] {
        assert_eq!(port[key], value, "{key}");
    }
    assert_eq!(
        (&report["drops"][0]["reason"], &report["drops"][0]["answered"]),
        (&"no_mapping".into(), &1.into())
    );
    let fabric = read_pcap(&folder.path().join("out/fabric0.pcap"));
    assert_eq!(fabric.len(), 1);
    assert_eq!(fabric[0].0, Duration::from_micros(1_500_000));
    // Without a key the MAC address comes from the port's place.
    assert_eq!(fabric[0].1[..12], [2, 0, 0, 0, 0, 0x20, 2, 0, 0, 0, 0, 1]);
    assert_eq!(line(&fabric[0].1[14..]), "2001:db8:1::99,fd00:1:0:3:3000::fe94");
    let outside = read_pcap(&folder.path().join("out/ext0.pcap"));
    assert_eq!((outside.len(), told(&outside[0].1[14..]).code), (1, 3));
}

#[test]
fn inputs_are_merged_by_time_and_limits_go_by_the_captures_clock() {
    let folder = folder();
    let unknown = to("2001:db8:dddd:0:2000::9");
    let odd: Vec<(u64, &[u8])> = [0u64, 200_000, 1_300_000].iter().map(|at| (*at, &unknown[..])).collect();
    let even: Vec<(u64, &[u8])> = [100_000u64, 1_200_000].iter().map(|at| (*at, &unknown[..])).collect();
    write_pcap(&folder.path().join("a.pcap"), &odd);
    write_pcap(&folder.path().join("b.pcap"), &even);
    let report = json(&replay(folder.path(), &["ext0=a.pcap", "ext0=b.pcap"]));
    let drop = &report["drops"][0];
    assert_eq!((&drop["answered"], &drop["dropped"]), (&2.into(), &3.into()));
    let times: Vec<u128> =
        read_pcap(&folder.path().join("out/ext0.pcap")).iter().map(|(time, _)| time.as_micros()).collect();
    assert_eq!(times, [0, 1_200_000]);
}

#[test]
fn pcapng_with_nanoseconds_is_read_and_the_times_are_kept() {
    let folder = folder();
    let mut writer = PcapNgWriter::new(File::create(folder.path().join("in.pcapng")).unwrap()).unwrap();
    let mut interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0xffff);
    interface.options.push(InterfaceDescriptionOption::IfTsResol(9));
    writer.write_pcapng_block(interface).unwrap();
    let frame = to(T3);
    let packet = EnhancedPacketBlock {
        interface_id: 0,
        timestamp: Duration::from_nanos(1_700_000_000_123_456_789),
        original_len: frame.len() as u32,
        data: Cow::Borrowed(&frame),
        options: vec![],
    };
    writer.write_pcapng_block(packet).unwrap();
    let report = json(&replay(folder.path(), &["ext0=in.pcapng"]));
    assert_eq!(report["ports"][1]["forwarded"], 1);
    let sent = read_pcap(&folder.path().join("out/fabric0.pcap"));
    assert_eq!(sent[0].0, Duration::from_nanos(1_700_000_000_123_456_789));
}

#[test]
fn a_packet_that_the_capture_cut_short_is_counted() {
    let folder = folder();
    let frame = to(T3);
    let mut writer = PcapWriter::new(File::create(folder.path().join("in.pcap")).unwrap()).unwrap();
    let packet = pcap_file::pcap::PcapPacket::new(Duration::ZERO, frame.len() as u32, &frame[..60]);
    writer.write_packet(&packet).unwrap();
    let report = json(&replay(folder.path(), &["ext0=in.pcap"]));
    assert_eq!((&report["ports"][1]["cut"], &report["ports"][1]["dropped"]), (&1.into(), &1.into()));
    assert_eq!(report["drops"][0]["reason"], "ipv6_length");
}

#[test]
fn broken_files_and_wrong_names_are_refused_with_value_place_and_way_out() {
    let folder = folder();
    write_pcap(&folder.path().join("in.pcap"), &[(0, &to(T3))]);
    let whole = std::fs::read(folder.path().join("in.pcap")).unwrap();
    std::fs::write(folder.path().join("short.pcap"), &whole[..18]).unwrap();
    std::fs::write(folder.path().join("text.pcap"), "hello").unwrap();
    std::fs::write(folder.path().join("empty.pcap"), "").unwrap();
    for (input, words) in [
        ("ext0=short.pcap", "short.pcap: at byte 0: the file header needs"),
        ("ext0=text.pcap", "neither a pcap nor a pcapng file"),
        ("ext0=empty.pcap", "0 bytes are no capture file"),
        ("ext0=none.pcap", "none.pcap: cannot be read"),
        ("ext9=in.pcap", "the ports are fabric0, ext0"),
    ] {
        let said = complaint(&replay(folder.path(), &[input]));
        assert!(said.contains(words), "{said}");
        assert!(!folder.path().join("out").exists(), "{input}");
    }
}

#[test]
fn an_input_is_never_overwritten_and_old_outputs_go() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("out")).unwrap();
    std::fs::write(folder.path().join("out/ext0.pcap"), "old").unwrap();
    write_pcap(&folder.path().join("in.pcap"), &[(0, &to(T3))]);
    json(&replay(folder.path(), &["ext0=in.pcap"]));
    assert!(!folder.path().join("out/ext0.pcap").exists());
    let said = complaint(&replay(folder.path(), &["ext0=out/fabric0.pcap"]));
    assert!(said.contains("would be overwritten"), "{said}");
    assert_eq!(read_pcap(&folder.path().join("out/fabric0.pcap")).len(), 1);
}

#[test]
fn the_report_is_a_table_for_people() {
    let folder = folder();
    write_pcap(&folder.path().join("in.pcap"), &[(0, &to(T3)), (1, &to("2001:db8:dddd:0:a000::"))]);
    let arguments = ["replay", "--config", "node.yaml", "--in", "ext0=in.pcap", "--out-dir", "out"];
    let output = ilagate(folder.path(), &arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("port     received forwarded"), "{text}");
    assert!(
        text.contains(
            "reserved_identifier         1         0         0  Identifier type 5 to 7 is reserved."
        ),
        "{text}"
    );
}

#[test]
fn check_says_ok_or_every_error() {
    let folder = folder();
    let output = ilagate(folder.path(), &["check", "node.yaml"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"node.yaml: ok\n"[..]));
    let wrong = CONFIG.replace("role: fabric", "role: fabrik").replace("2000::/3", "2000::1/3");
    std::fs::write(folder.path().join("wrong.yaml"), wrong).unwrap();
    let said = complaint(&ilagate(folder.path(), &["check", "wrong.yaml"]));
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("wrong.yaml:6:") && said.contains("ports[0].role"), "{said}");
    std::fs::write(folder.path().join("mappings.yaml"), "mappings:\n  - {sir: \"::1\"}\n").unwrap();
    assert!(complaint(&ilagate(folder.path(), &["check", "node.yaml"])).contains("mappings[0]"));
    assert!(complaint(&ilagate(folder.path(), &["check", "none.yaml"])).contains("cannot be read"));
}

#[test]
fn a_capture_that_is_cut_short_is_replayed_up_to_the_cut_and_says_so() {
    let folder = folder();
    let path = folder.path().join("in.pcap");
    write_pcap(&path, &[(1_000_000, &to(T3)), (2_000_000, &to(T3))]);
    let whole = std::fs::read(&path).unwrap();
    for (keep, received) in [(whole.len() - 1, 1), (whole.len() - 60, 1), (24 + 15, 0)] {
        std::fs::write(&path, &whole[..keep]).unwrap();
        let output = replay(folder.path(), &["ext0=in.pcap"]);
        assert_eq!(json(&output)["ports"][1]["received"], received);
        let said = String::from_utf8(output.stderr).unwrap();
        let words = format!("it is cut short; the {received} packets before are replayed");
        assert!(said.starts_with("in.pcap: at byte ") && said.contains(&words), "{said}");
    }
}

/// A capture whose packets have any times, also the largest that the format has.
#[test]
fn no_time_of_a_capture_is_too_early_or_too_late() {
    let folder = folder();
    let tenants = r#"
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
virtual_networks: [{name: red, vnid: 1, domain: tasks, ipv4: [{prefix: "10.0.0.0/24", gateway: "10.0.0.1"}]}]
attachments: [{port: access0, mac: "02:00:00:00:00:0b", network: red, addresses: ["10.0.0.5"]}]
"#;
    let access = "  - {name: access0, device: net_null_c0, role: access}\nroutes:";
    let config = format!("{}{tenants}", CONFIG.replace("routes:", access));
    std::fs::write(folder.path().join("node.yaml"), config).unwrap();
    // ARP for the gateway: each is charged to a bucket of its tenant.
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 0xb, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0xb, 10, 0, 0, 5]);
    arp.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 9]);
    for times in [[0, u64::MAX], [u64::MAX, 0], [u64::MAX, u64::MAX], [u64::MAX / 1000, 1 << 63]] {
        let blocks = times.map(|units| {
            let mut body =
                vec![0_u32, (units >> 32) as u32, units as u32, arp.len() as u32, arp.len() as u32];
            let mut padded = arp.clone();
            padded.resize(arp.len().next_multiple_of(4), 0);
            body.extend(padded.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())));
            (6, body)
        });
        // Nanoseconds, so that every number is a time.
        let head =
            [(0x0a0d_0d0a, vec![0x1a2b_3c4d, 1, u32::MAX, u32::MAX]), (1, vec![1, 0, 0x0001_0009, 9, 0])];
        let words = head.iter().chain(&blocks).flat_map(|(kind, body)| {
            let length = 12 + 4 * body.len() as u32;
            [*kind, length].into_iter().chain(body.iter().copied()).chain([length])
        });
        std::fs::write(folder.path().join("in.pcap"), words.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())
            .unwrap();
        let report = json(&replay(folder.path(), &["access0=in.pcap", "ext0=in.pcap"]));
        assert_eq!(report["ports"][2]["received"], 2, "{times:?}: {report}");
    }
}
