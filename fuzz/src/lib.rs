//! The bodies of the fuzz targets: any bytes in, a panic when a law is broken.
//!
//! One file for two users: libFuzzer (`fuzz_targets`) and `tests/fuzz_smoke.rs` of the main package, on stable.

mod headers;
mod messages;
pub(crate) mod network;
pub mod packets;
mod siit;

pub use headers::{ethernet, ipv4, ipv6, upper};
pub use messages::{arp, icmp, igmp, mld};
pub use packets::{ndp, pipeline, quote};
pub use siit::siit;

use ilagate::config::mappings::{Rules, Written};
use ilagate::config::{Config, ConfigErrors, mappings as file};
use ilagate::ila::{Identifier, Locator, SirPrefix};
use ilagate::mapping::{Batch, Change, Origin};
use ilagate::net::{Ipv4Prefix, Ipv6Prefix, Mac};
use ilagate::node::replay::{capture as pcap, mac_of};
use ilagate::node::rib::Rib;
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// One target.
pub struct Target {
    /// As in `cargo fuzz run NAME`.
    pub name: &'static str,
    /// Takes any bytes.
    pub body: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "pipeline", body: pipeline, seeds: packets::bursts },
    Target { name: "ethernet", body: ethernet, seeds: headers::frames },
    Target { name: "ipv4", body: ipv4, seeds: headers::headers4 },
    Target { name: "ipv6", body: ipv6, seeds: packets::chains },
    Target { name: "upper", body: upper, seeds: packets::chains },
    Target { name: "ndp", body: ndp, seeds: packets::messages },
    Target { name: "arp", body: arp, seeds: messages::addresses },
    Target { name: "igmp", body: igmp, seeds: messages::reports4 },
    Target { name: "mld", body: mld, seeds: messages::reports6 },
    Target { name: "icmp", body: icmp, seeds: messages::icmps },
    Target { name: "quote", body: quote, seeds: packets::quotes },
    Target { name: "siit", body: siit, seeds: siit::seeds },
    Target { name: "config", body: config, seeds: configs },
    Target { name: "mappings", body: mappings, seeds: mapping_files },
    Target { name: "capture", body: capture, seeds: captures },
    Target { name: "text", body: text, seeds: texts },
];

/// Every error has a place and one line.
fn shown<T>(outcome: Result<T, ConfigErrors>) -> Option<T> {
    outcome
        .inspect_err(|errors| {
            assert!(!errors.errors().is_empty());
            for error in errors.errors() {
                assert!(error.line > 0 && error.column > 0 && !error.message.is_empty(), "{error:?}");
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        })
        .ok()
}

/// A configuration file: refused with places, or good enough to make tables from.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(config) = shown(Config::parse(&text, "f")) else { return };
    let macs: Vec<Mac> = (0..config.ports.len()).map(|port| mac_of(&config, port)).collect();
    let mut rib = Rib::new(&config, &macs, 1);
    let _ = rib.compile();
    let again = Config::parse(&text, "f").expect("accepted before");
    assert!(config == again);
}

/// A mapping file: refused with places, or records that the node takes, the same whichever parser reads them.
pub fn mappings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let config = network::config();
    let Some(records) = shown(file::parse(&text, "f", config)) else { return };
    // Lines in the plainest shape have a parser of their own, which knows no comments at the end of a line.
    if let Some(rest) = text.strip_prefix("mappings:\n") {
        let other = shown(file::parse(&format!("mappings: # through YAML\n{rest}"), "f", config));
        assert_eq!(other.as_ref(), Some(&records));
    }
    let mut rib = network::rib();
    let count = records.len();
    let changes = records.into_iter().map(Change::Upsert).collect();
    match rib.apply(Batch { origin: Origin::File, changes, complete: true }) {
        Ok(_) => drop(rib.compile()),
        // What only the node can judge: never more than it was given.
        Err(refusal) => assert!(count > 0 && !refusal.to_string().is_empty()),
    }
}

/// A capture file: refused with a place in it, or frames that can be written and read again.
pub fn capture(bytes: &[u8]) {
    let capture = match pcap::read(bytes) {
        Ok(capture) => capture,
        Err(error) => {
            assert!(error.at <= bytes.len() && !error.why.is_empty(), "{error}");
            return;
        }
    };
    assert!(capture.truncated.is_none_or(|cut| cut.at <= bytes.len() && !cut.why.is_empty()));
    let frames = capture.frames;
    assert!(frames.iter().map(|frame| frame.bytes.len()).sum::<usize>() <= bytes.len());
    let kept: Vec<(u64, Vec<u8>)> = frames
        .into_iter()
        .filter(|frame| frame.time_ns / 1_000_000_000 <= u64::from(u32::MAX))
        .map(|frame| (frame.time_ns, frame.bytes))
        .collect();
    let again = pcap::read(&pcap::write(&kept)).expect("what was written is read");
    let again: Vec<(u64, Vec<u8>)> =
        again.frames.into_iter().map(|frame| (frame.time_ns, frame.bytes)).collect();
    assert_eq!(again, kept);
}

/// What is read from text is what its own text says.
fn there_and_back<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let own = value.to_string();
            assert!(own.parse::<T>().is_ok_and(|again| again == value), "{text:?} as {own:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// MAC addresses, prefixes, locators, SIR addresses and identifiers.
pub fn text(bytes: &[u8]) {
    let text = &*String::from_utf8_lossy(bytes);
    there_and_back::<Mac>(text);
    there_and_back::<Ipv4Prefix>(text);
    there_and_back::<Ipv6Prefix>(text);
    there_and_back::<SirPrefix>(text);
    there_and_back::<Locator>(text);
    let config = network::config();
    let rules = Rules::of(config);
    match rules.identifier(text) {
        Ok(local) => {
            let sir = config.sir_domains[usize::from(local.domain)].prefix;
            let own = std::net::Ipv6Addr::from(sir.with(local.identifier)).to_string();
            assert!(rules.identifier(&own).is_ok_and(|again| again == local), "{text:?} as {own:?}");
        }
        Err(why) => assert!(!why.is_empty()),
    }
    let (sir, locators) = text.split_once(' ').unwrap_or((text, ""));
    let written: Vec<Written<'_>> =
        locators.split(' ').map(|locator| Written { locator, priority: 0, weight: 1 }).collect();
    if let Err(why) = rules.record(sir, &written, locators.is_empty()) {
        assert!(!why.is_empty());
    }
    if let Some(word) = bytes.first_chunk::<8>() {
        let identifier = Identifier(u64::from_be_bytes(*word));
        assert!(!identifier.to_string().is_empty() && !identifier.describe().to_string().is_empty());
        assert!(identifier.zero_alias().is_none_or(|zero_alias| zero_alias.zero_alias() == Some(identifier)));
    }
}

fn configs() -> Vec<Vec<u8>> {
    [
        network::CONFIG,
        include_str!("../../dpdk-config/reference.yaml"),
        include_str!("../../dpdk-config/nve.yaml"),
        include_str!("../../dpdk-config/nve-tenants.yaml"),
        include_str!("../../dpdk-config/router.yaml"),
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn mapping_files() -> Vec<Vec<u8>> {
    let weighted = "mappings:\n  - sir: '2001:db8:a:0:2000::3'\n    locators: [{locator: 'fd00:2:0:a::/64', weight: 3}]\n";
    let tenants = include_str!("../../dpdk-config/mappings-tenants.yaml");
    [network::MAPPINGS, weighted, include_str!("../../dpdk-config/mappings.yaml"), tenants]
        .map(|text| text.trim_start().as_bytes().to_vec())
        .to_vec()
}

fn captures() -> Vec<Vec<u8>> {
    let mut files = vec![
        pcap::write(&[(1_700_000_000_123_456_000, vec![1, 2, 3]), (1_700_000_001_000_000_000, vec![7; 60])]),
        pcap::write(&[(1_700_000_000_123_456_789, vec![1, 2, 3])]),
    ];
    // pcapng: a section, an interface with a time resolution, one packet of each kind.
    let blocks: [(u32, &[u32]); 5] = [
        (0x0a0d_0d0a, &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]),
        (1, &[1, 65535, 0x0001_0009, 9, 0]),
        (6, &[0, 0x0001_8000, 7, 8, 60, 0x0403_0201, 0x0807_0605]),
        (2, &[0, 0, 9, 4, 4, 0x0403_0201]),
        (3, &[4, 0x0403_0201]),
    ];
    for big in [false, true] {
        let mut file = Vec::new();
        for (kind, body) in blocks {
            let length = 12 + 4 * body.len() as u32;
            let words = [kind, length].into_iter().chain(body.iter().copied()).chain([length]);
            file.extend(words.flat_map(|word| if big { word.to_be_bytes() } else { word.to_le_bytes() }));
        }
        files.push(file);
    }
    files
}

fn texts() -> Vec<Vec<u8>> {
    [
        "02:00:5e:00:00:0A",
        "192.0.2.0/24",
        "2001:db8::/32",
        "2001:db8:a::/64",
        "fd00:2:0:a::/64",
        "2001:db8:a:0:2000::2",
        "2001:db8:a:0:2000::2 fd00:2:0:a::/64 fd00:3:0:a::/64",
        "::ffff:192.0.2.1/128",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
