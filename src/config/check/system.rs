//! Rules of the node itself: cores, memory, files, sockets and timers.

use super::super::endpoint::MAX_SOCKET_BYTES;
use super::super::model::{
    Admin, COUNTED_NETWORKS, Departed, Dpdk, DpdkLogLevel, Icmp, Idle, Log, LogFormat, LogLevel, MappingFile,
    Mbufs, Metrics, MissingUdpChecksum, Moves, Multicast, NeighbourDiscovery, Node, Translation,
};
use super::super::raw::{RawConfig, Text};
use super::scope::{Check, STRICT, Scope, Seen, entries};
use crate::mapping::InFlight;
use serde_saphyr::{Location, Spanned};
use std::path::{Path, PathBuf};

/// Highest core number that DPDK is asked for.
const MAX_CORE: u16 = 1023;

/// The place and content of an optional section.
fn section<T>(field: &Option<Spanned<T>>) -> (Location, Option<&T>) {
    field.as_ref().map_or((Location::UNKNOWN, None), |section| (section.referenced, Some(&section.value)))
}

/// A key of a section that may not be there.
fn field<T>(section: Option<&T>, key: impl Fn(&T) -> &Option<Text>) -> &Option<Text> {
    section.map_or(&None, key)
}

pub(super) fn node(check: &mut Check, raw: &RawConfig) -> Node {
    let (at, node) = section(&raw.node);
    let mut s = check.scope("node", at);
    let text = field(node, |n| &n.name);
    let name = s.name("name", text, "nve1", STRICT).unwrap_or_default();
    if let Some(text) = text.as_ref().filter(|_| name.starts_with('-')) {
        // It names files of DPDK, too.
        let message = format!("`{name}` looks like an option; begin with a letter or digit");
        s.error("name", text.referenced, message);
    }
    let state_dir = field(node, |n| &n.state_dir).as_ref().and_then(|text| {
        let path = PathBuf::from(&text.value);
        if path.is_absolute() {
            return Some(path);
        }
        let message = format!("`{}` is not an absolute path; start it with /", text.value);
        s.error("state_dir", text.referenced, message);
        None
    });
    Node { name, state_dir }
}

pub(super) fn dpdk(check: &mut Check, raw: &RawConfig) -> Dpdk {
    let (at, dpdk) = section(&raw.dpdk);
    let mut s = check.scope("dpdk", at);
    let mut workers: Vec<u16> = Vec::new();
    let mut seen = Seen::new();
    let list = dpdk.and_then(|d| d.workers.as_ref());
    if list.is_none_or(|list| list.value.is_empty()) {
        let message = "missing; name at least one core, for example `workers: [1]`";
        s.error("workers", list.map_or(at, |list| list.referenced), message);
    }
    for (n, text) in entries(dpdk.map_or(&None, |d| &d.workers)) {
        let key = format!("workers[{n}]");
        let Some(core) = s.within(&key, text, 0..=MAX_CORE) else { continue };
        match seen.before(core, &s.key(&key), text.referenced) {
            Some(before) => {
                let message = format!("core {core} is already that of {before}; a core runs one worker");
                s.error(&key, text.referenced, message);
            }
            None => workers.push(core),
        }
    }
    let control_core = field(dpdk, |d| &d.control_core).as_ref().and_then(|text| {
        let core = s.within("control_core", text, 0..=MAX_CORE)?;
        if let Some(before) = seen.place(&core) {
            let message =
                format!("core {core} is already that of {before}; give the control thread its own core");
            s.error("control_core", text.referenced, message);
        }
        Some(core)
    });
    let idle = [("poll", Idle::Poll), ("backoff", Idle::Backoff)];
    let idle = s.choice("idle", field(dpdk, |d| &d.idle), &idle, Idle::Poll);
    let huge = s.flag("huge", field(dpdk, |d| &d.huge), true);
    let memory_mib = s.number("memory_mib", field(dpdk, |d| &d.memory_mib), 64..=1_048_576, 512);
    use DpdkLogLevel::{Debug, Error, Info, Notice, Warning};
    let levels = [Error, Warning, Notice, Info, Debug].map(|level| (level.name(), level));
    let log_level = s.choice("log_level", field(dpdk, |d| &d.log_level), &levels, Warning);
    let mut extra_args = Vec::new();
    for (n, text) in entries(dpdk.map_or(&None, |d| &d.extra_args)) {
        if text.value.is_empty() || text.value.contains('\0') {
            let message = format!("`{}` is not an argument; write one word of the EAL per entry", text.value);
            s.error(&format!("extra_args[{n}]"), text.referenced, message);
        }
        extra_args.push(text.value.clone());
    }
    Dpdk { workers, control_core, idle, huge, memory_mib, log_level, extra_args }
}

pub(super) fn mbufs(check: &mut Check, raw: &RawConfig) -> Mbufs {
    let (at, mbufs) = section(&raw.mbufs);
    let mut s = check.scope("mbufs", at);
    let count = s.number("count", field(mbufs, |m| &m.count), 512..=16_777_215, 16384);
    let data_bytes = s.number("data_bytes", field(mbufs, |m| &m.data_bytes), 1426..=65535, 2176);
    let text = field(mbufs, |m| &m.cache);
    let cache: u16 = s.number("cache", text, 0..=512, 256);
    // rte_pktmbuf_pool_create refuses a cache of more than two thirds of the pool.
    if u32::from(cache) * 3 > count * 2 {
        let at = text.as_ref().map_or(at, |text| text.referenced);
        let message = format!("{cache} is more than two thirds of {count} buffers; raise mbufs.count");
        s.error("cache", at, message);
    }
    Mbufs { count, data_bytes, cache }
}

pub(super) fn mappings(check: &mut Check, raw: &RawConfig, directory: &Path) -> Option<MappingFile> {
    let section = raw.mappings.as_ref()?;
    let mut s = check.scope("mappings", section.referenced);
    let file = s.required("file", &section.value.file, "mappings.yaml")?;
    if file.value.is_empty() {
        s.error("file", file.referenced, "`` is not a file; write its path or remove `mappings`");
    }
    let watch = s.flag("watch", &section.value.watch, true);
    let max_bytes = s.number("max_bytes", &section.value.max_bytes, 4096..=16 << 30, MappingFile::MAX_BYTES);
    let share = &section.value.max_deletions_percent;
    let max_deletions_percent = s.number("max_deletions_percent", share, 0..=100, 20);
    Some(MappingFile { file: directory.join(&file.value), watch, max_bytes, max_deletions_percent })
}

pub(super) fn icmp(check: &mut Check, raw: &RawConfig) -> Icmp {
    let (at, icmp) = section(&raw.icmp);
    let mut s = check.scope("icmp", at);
    Icmp {
        errors_per_second: s.number(
            "errors_per_second",
            field(icmp, |i| &i.errors_per_second),
            0..=1_000_000,
            1000,
        ),
        burst: s.number("burst", field(icmp, |i| &i.burst), 1..=1_000_000, 100),
    }
}

pub(super) fn translation(check: &mut Check, raw: &RawConfig) -> Translation {
    let (at, translation) = section(&raw.translation);
    let mut s = check.scope("translation", at);
    let text = field(translation, |t| &t.lowest_ipv6_mtu);
    let lowest_ipv6_mtu = s.number("lowest_ipv6_mtu", text, 1280..=9600, 1280);
    use MissingUdpChecksum::{Compute, Drop};
    let text = field(translation, |t| &t.missing_udp_checksum);
    let choices = [("compute", Compute), ("drop", Drop)];
    let missing_udp_checksum = s.choice("missing_udp_checksum", text, &choices, Compute);
    Translation { lowest_ipv6_mtu, missing_udp_checksum }
}

pub(super) fn discovery(check: &mut Check, raw: &RawConfig) -> NeighbourDiscovery {
    let (at, nd) = section(&raw.neighbour_discovery);
    let mut s = check.scope("neighbour_discovery", at);
    NeighbourDiscovery {
        reachable_ms: s.number("reachable_ms", field(nd, |n| &n.reachable_ms), 1000..=3_600_000, 30000),
        retransmit_ms: s.number("retransmit_ms", field(nd, |n| &n.retransmit_ms), 100..=60_000, 1000),
        probes: s.number("probes", field(nd, |n| &n.probes), 1..=20, 3),
        hold_packets: s.number("hold_packets", field(nd, |n| &n.hold_packets), 1..=64, 4),
    }
}

/// What `moves.departed` may be.
const DEPARTED: [(&str, Departed); 2] = [("silent", Departed::Silent), ("icmp", Departed::Icmp)];

pub(super) fn moves(check: &mut Check, raw: &RawConfig) -> Moves {
    let (at, moves) = section(&raw.moves);
    let mut s = check.scope("moves", at);
    let text = field(moves, |m| &m.hold_bytes);
    let hold_bytes = s.number("hold_bytes", text, 0..=16_777_216, 2_097_152);
    let text = field(moves, |m| &m.release_per_second);
    let release_per_second = s.number("release_per_second", text, 1_000..=100_000_000, 100_000);
    Moves {
        in_flight: s.choice("in_flight", field(moves, |m| &m.in_flight), &InFlight::ALL, InFlight::Auto),
        hold_packets: s.number("hold_packets", field(moves, |m| &m.hold_packets), 0..=65_536, 1024),
        hold_bytes,
        hold_ms: s.number("hold_ms", field(moves, |m| &m.hold_ms), 10..=60_000, 2000),
        release_per_second,
        scan_per_second: s.number("scan_per_second", field(moves, |m| &m.scan_per_second), 1..=10_000, 100),
        scan_interval_s: s.number("scan_interval_s", field(moves, |m| &m.scan_interval_s), 0..=86_400, 600),
        silence_questions: s.number("silence_questions", field(moves, |m| &m.silence_questions), 0..=20, 0),
        departed: s.choice("departed", field(moves, |m| &m.departed), &DEPARTED, Departed::Silent),
    }
}

pub(super) fn multicast(check: &mut Check, raw: &RawConfig) -> Multicast {
    let (at, multicast) = section(&raw.multicast);
    let mut s = check.scope("multicast", at);
    let text = field(multicast, |m| &m.query_interval_s);
    let query_interval_s = s.number("query_interval_s", text, 2..=31744, 125);
    let text = field(multicast, |m| &m.groups_per_tenant);
    let groups_per_tenant = s.number("groups_per_tenant", text, 0..=4096, 64);
    let text = field(multicast, |m| &m.groups_per_network);
    let groups_per_network = s.number("groups_per_network", text, 0..=1_000_000, 4096);
    Multicast { query_interval_s, groups_per_tenant, groups_per_network }
}

pub(super) fn metrics(check: &mut Check, raw: &RawConfig) -> Option<Metrics> {
    let section = raw.metrics.as_ref()?;
    let mut s = check.scope("metrics", section.referenced);
    let networks = s.number("networks", &section.value.networks, 0..=4096, COUNTED_NETWORKS);
    let text = s.required("listen", &section.value.listen, "\"127.0.0.1:9464\"")?;
    match text.value.parse::<std::net::SocketAddr>() {
        Ok(listen) if listen.port() != 0 => Some(Metrics { listen, networks }),
        _ => {
            let message = format!(
                "`{}` is not address:port; write for example 127.0.0.1:9464 or [::1]:9464",
                text.value
            );
            s.error("listen", text.referenced, message);
            None
        }
    }
}

pub(super) fn admin(check: &mut Check, raw: &RawConfig, name: &str) -> Admin {
    let (at, admin) = section(&raw.admin);
    let mut s = check.scope("admin", at);
    let text = field(admin, |a| &a.socket);
    let socket = absolute(&mut s, "socket", text, format!("/run/ilagate/{name}.sock").into());
    let length = socket.as_os_str().len();
    if let Some(text) = text.as_ref().filter(|_| length > MAX_SOCKET_BYTES) {
        let message =
            format!("{length} bytes are too long for a socket's path; use {MAX_SOCKET_BYTES} at most");
        s.error("socket", text.referenced, message);
    }
    Admin { socket }
}

pub(super) fn log(check: &mut Check, raw: &RawConfig) -> Log {
    let (at, log) = section(&raw.log);
    let mut s = check.scope("log", at);
    use LogLevel::{Debug, Error, Info, Trace, Warn};
    let levels = [Error, Warn, Info, Debug, Trace].map(|level| (level.name(), level));
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    Log {
        level: s.choice("level", field(log, |l| &l.level), &levels, Info),
        format: s.choice("format", field(log, |l| &l.format), &formats, LogFormat::Text),
    }
}

/// An absolute path, or its default: the working directory of a daemon is nobody's choice.
fn absolute(s: &mut Scope<'_>, key: &str, field: &Option<Text>, default: PathBuf) -> PathBuf {
    let Some(text) = field else { return default };
    let path = PathBuf::from(&text.value);
    if !path.is_absolute() || text.value.contains('\0') {
        let message = format!("`{}` is not an absolute path; start it with /", text.value);
        s.error(key, text.referenced, message);
    }
    path
}
