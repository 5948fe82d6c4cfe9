//! What the law and scenario tests share: nodes without devices, packets, and etherparse as the judge of checksums.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod packets;
pub mod tenants;

use ilagate::config::{Config, mappings};
use ilagate::ila::ChecksumMode;
use ilagate::mapping::MappingRecord;
use ilagate::net::Mac;
use ilagate::node::replay::Replay;
use ilagate::node::replay::capture::Frame;
use ilagate::path::{Counters, DropReason};

/// MAC addresses of the reference network.
pub const GATEWAY_FABRIC: Mac = Mac([2, 0, 0, 0, 0, 0x10]);
pub const GATEWAY_EXTERNAL: Mac = Mac([2, 0, 0, 0, 0, 0x11]);
pub const INTERNET: Mac = Mac([2, 0, 0, 0, 0, 0x1f]);
pub const NVE_FABRIC: Mac = Mac([2, 0, 0, 0, 0, 0x20]);
pub const NVE_ACCESS: Mac = Mac([2, 0, 0, 0, 0, 0x21]);
/// The router of the domain of tasks.
pub const TASK_ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0x2f]);
pub const TASK: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);
pub const TASK_2: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);

/// A host on the Internet.
pub const IADDR: u128 = 0x2001_0db8_0001_0000_0000_0000_0000_0099;
/// The SIR prefix of the reference network.
pub const SIR: u64 = 0x2001_0db8_dddd_0000;

/// A law's number of cases, unless `PROPTEST_CASES` says another: of mutants there are many, and fewer must do.
pub fn cases(count: u32) -> proptest::test_runner::Config {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => proptest::test_runner::Config::default(),
        None => proptest::test_runner::Config::with_cases(count),
    }
}

pub fn address(text: &str) -> u128 {
    text.parse::<std::net::Ipv6Addr>().unwrap_or_else(|_| panic!("{text}")).into()
}

/// A gateway between `ext0` (the Internet) and `fabric0`, one mapping per (SIR address, locator).
pub fn gateway(mode: ChecksumMode, extra: &str, mapped: &[(String, &str)]) -> Node {
    let mode = mode.name();
    let text = format!(
        r#"
node: {{name: gateway}}
dpdk: {{workers: [1]}}
mbufs: {{data_bytes: 9216}}
sir_domains:
  - {{name: tasks, prefix: "2001:db8:dddd::/64", router_mac: "{TASK_ROUTER}", checksum: {mode}}}
ports:
  - {{name: fabric0, device: net_null_a0, role: fabric, mac: "{GATEWAY_FABRIC}", addresses: ["fd00:1:0:fe::1/64"]}}
  - {{name: ext0, device: net_null_b0, role: external, mac: "{GATEWAY_EXTERNAL}", mtu: 9000, addresses: ["2001:db8:ff::1/64"]}}
routes:
  - {{prefix: "fd00:1::/32", via: "fd00:1:0:fe::ff", port: fabric0}}
  - {{prefix: "fd00:dead::/32", blackhole: true}}
  - {{prefix: "2000::/3", via: "2001:db8:ff::ff", port: ext0}}
neighbours:
  static:
    - {{port: fabric0, address: "fd00:1:0:fe::ff", mac: "{NVE_FABRIC}"}}
    - {{port: ext0, address: "2001:db8:ff::ff", mac: "{INTERNET}"}}
{extra}
"#
    );
    Node::new(&text, mapped)
}

/// An NVE with one locator; each attachment is a SIR address on `access0`.
pub fn nve(mode: ChecksumMode, locator: &str, attached: &[(String, Mac)], mapped: &[(String, &str)]) -> Node {
    let mode = mode.name();
    let attachments: String = attached
        .iter()
        .map(|(sir, mac)| format!("  - {{port: access0, mac: \"{mac}\", identifiers: [\"{sir}\"]}}\n"))
        .collect();
    let text = format!(
        r#"
node: {{name: nve}}
dpdk: {{workers: [1]}}
sir_domains:
  - {{name: tasks, prefix: "2001:db8:dddd::/64", router_mac: "{TASK_ROUTER}", checksum: {mode}}}
locators:
  - {{prefix: "{locator}", domain: tasks}}
ports:
  - {{name: fabric0, device: net_null_a0, role: fabric, mac: "{NVE_FABRIC}", addresses: ["fd00:ffff::1/64"]}}
  - {{name: access0, device: net_null_b0, role: access, mac: "{NVE_ACCESS}", router_advertisement: {{prefix: "2001:db8:dddd::/64"}}}}
attachments:
{attachments}
routes:
  - {{prefix: "::/0", via: "fd00:ffff::ff", port: fabric0}}
neighbours:
  static:
    - {{port: fabric0, address: "fd00:ffff::ff", mac: "{GATEWAY_FABRIC}"}}
"#
    );
    Node::new(&text, mapped)
}

/// The mappings of a file with one per (SIR address, locator).
pub fn records(config: &Config, mapped: &[(String, &str)]) -> Vec<MappingRecord> {
    let mut file = String::from("mappings:\n");
    for (sir, locator) in mapped {
        file.push_str(&format!("  - {{sir: \"{sir}\", locators: [\"{locator}\"]}}\n"));
    }
    match mapped {
        [] => Vec::new(),
        _ => mappings::parse(&file, "mappings.yaml", config).unwrap_or_else(|errors| panic!("{errors}")),
    }
}

/// A node without devices.
pub struct Node {
    pub replay: Replay,
    config: Config,
    time_ns: u64,
}

/// What became of one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub fate: Fate,
    /// Port and frame, when something was sent.
    pub sent: Option<(String, Vec<u8>)>,
}

/// The one counter that moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Forwarded,
    /// An answer, and the loss that it reports if it is an error.
    Replied(Option<DropReason>),
    Punted,
    Dropped(DropReason),
}

impl Outcome {
    /// The frame that was sent on through `port`.
    pub fn forwarded(self, port: &str) -> Vec<u8> {
        assert_eq!(self.fate, Fate::Forwarded);
        self.through(port)
    }

    /// The frame that was sent through `port`.
    pub fn through(self, port: &str) -> Vec<u8> {
        let (name, frame) = self.sent.expect("something sent");
        assert_eq!(name, port);
        frame
    }
}

impl Node {
    pub fn new(text: &str, mapped: &[(String, &str)]) -> Node {
        let config = Config::parse(text, "test.yaml").unwrap_or_else(|errors| panic!("{errors}"));
        let records = records(&config, mapped);
        let replay = Replay::new(config.clone(), records).unwrap_or_else(|refusal| panic!("{refusal}"));
        Node::of(config, replay)
    }

    /// A node that was made with these.
    pub fn of(config: Config, replay: Replay) -> Node {
        Node { replay, config, time_ns: 1_000_000_000 }
    }

    /// Lets time pass.
    pub fn wait_ms(&mut self, ms: u64) {
        self.time_ns += ms * 1_000_000;
    }

    /// Receives one frame; asserts that exactly one fate was counted, and that no copies were made.
    pub fn receive(&mut self, port: &str, frame: &[u8]) -> Outcome {
        let (fate, sent) = self.receive_copies(port, frame);
        assert!(sent.len() <= 1, "{} frames", sent.len());
        Outcome { fate, sent: sent.into_iter().next() }
    }

    /// Copies and fragments that were lost so far, for any reason.
    pub fn lost_copies(&self) -> u64 {
        self.replay.counters().iter().flat_map(|port| &port.copies_lost).map(|lost| lost.value()).sum()
    }

    /// Receives one frame; asserts that exactly one fate was counted, and that the books hold with the copies. Gives all
    /// frames that were sent, by port.
    pub fn receive_copies(&mut self, port: &str, frame: &[u8]) -> (Fate, Vec<(String, Vec<u8>)>) {
        let index = self.config.port_named(port).expect("port");
        let before = numbers(&self.replay.counters()[usize::from(index)]);
        let sent_before: Vec<usize> = self.replay.sent().iter().map(Vec::len).collect();
        let frame = Frame { time_ns: self.time_ns, bytes: frame.to_vec(), cut: false };
        self.replay.run(vec![(index, vec![frame])]);
        let after = numbers(&self.replay.counters()[usize::from(index)]);
        let mut copies = 0;
        let moved: Vec<Moved> = after
            .iter()
            .zip(&before)
            .filter(|(after, before)| after.1 != before.1)
            .filter_map(|(after, before)| match after.0 {
                Moved::Copied => {
                    copies = after.1 - before.1;
                    None
                }
                moved => {
                    assert_eq!(after.1, before.1 + 1, "{moved:?}");
                    Some(moved)
                }
            })
            .collect();
        let fate = match moved.as_slice() {
            [Moved::Received, Moved::Forwarded] => Fate::Forwarded,
            [Moved::Received, Moved::Replied] => Fate::Replied(None),
            [Moved::Received, Moved::Replied, Moved::Answered(reason)] => Fate::Replied(Some(*reason)),
            [Moved::Received, Moved::Punted] => Fate::Punted,
            [Moved::Received, Moved::Dropped(reason)] => Fate::Dropped(*reason),
            other => panic!("not one fate: {other:?}"),
        };
        let new: Vec<(String, Vec<u8>)> = self
            .replay
            .sent()
            .iter()
            .enumerate()
            .flat_map(|(n, sent)| sent[sent_before[n]..].iter().map(move |(_, frame)| (n, frame.clone())))
            .map(|(n, frame)| (self.config.ports[n].name.clone(), frame))
            .collect();
        let one = u64::from(matches!(fate, Fate::Forwarded | Fate::Replied(_)));
        assert_eq!(new.len() as u64, one + copies);
        (fate, new)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    Received,
    Forwarded,
    Replied,
    Punted,
    Waiting,
    Copied,
    Dropped(DropReason),
    Answered(DropReason),
}

fn numbers(counters: &Counters) -> Vec<(Moved, u64)> {
    let mut all = vec![
        (Moved::Received, counters.received.value()),
        (Moved::Forwarded, counters.forwarded.value()),
        (Moved::Replied, counters.replied.value()),
        (Moved::Punted, counters.punted.value()),
        (Moved::Waiting, counters.waiting.value()),
        (Moved::Copied, counters.copied.value()),
    ];
    for reason in DropReason::ALL {
        all.push((Moved::Dropped(*reason), counters.dropped[*reason as usize].value()));
    }
    for reason in DropReason::ALL {
        all.push((Moved::Answered(*reason), counters.answered[*reason as usize].value()));
    }
    all
}
