//! Ports.

use super::{refused, right, text, wrong};
use crate::config::{Config, External, Ingress, Promiscuous, Role};

/// The second port of a file, with these keys after its name, device and role.
fn port(role: &str, rest: &str) -> String {
    format!(
        "ports: [{{name: f, device: net_null_d0, role: fabric, addresses: ['fd00:1:0:1::1/64']}}, {{name: p, device: net_null_d1, role: {role}{rest}}}]"
    )
}

/// Column behind the role of [`port`].
fn column(role: &str) -> usize {
    port(role, "").len() - 2
}

/// Asserts one error of the second port at the value of `key`.
fn wrong_port(role: &str, key: &str, value: &str, message: &str) {
    let at = column(role) + 5 + key.len();
    wrong(&port(role, &format!(", {key}: {value}")), &format!("t.yaml:6:{at}: ports[1].{message}"));
}

#[test]
fn a_port_has_a_name_a_device_and_a_role() {
    wrong(
        "ports: [{}]",
        "t.yaml:6:9: ports[0].name: missing; write for example `name: fabric0`\n\
         t.yaml:6:9: ports[0].device: missing; write for example `device: \"0000:3b:00.0\"`\n\
         t.yaml:6:9: ports[0].role: missing; write for example `role: fabric`",
    );
    wrong(
        "ports: [{name: a b, device: ',x', role: core}]",
        "t.yaml:6:16: ports[0].name: `a b` is not a name; use 1 to 32 characters of a-z, A-Z, 0-9, -, _ and .\n\
         t.yaml:6:29: ports[0].device: `,x` is not a device; write a PCI address or vdev,arguments without blanks\n\
         t.yaml:6:41: ports[0].role: `core` is not known; write one of fabric, external, access",
    );
}

#[test]
fn a_mac_address_is_unicast_and_one_ports() {
    let two = |mac: &str| {
        port("external, mac: '02:00:00:00:00:02'", "")
            .replace("role: fabric", &format!("role: fabric, mac: '{mac}'"))
    };
    assert_eq!(
        right(&two("02:00:00:00:00:01")).ports[0].mac.map(|mac| mac.to_string()).as_deref(),
        Some("02:00:00:00:00:01")
    );
    for (mac, words) in [
        (
            "02:00:00:00:00:02",
            "ports[1].mac: 02:00:00:00:00:02 is already ports[0].mac (line 6); give each port its own",
        ),
        ("03:00:00:00:00:01", "ports[0].mac: 03:00:00:00:00:01 is a group address"),
        ("00:00:00:00:00:00", "ports[0].mac: 00:00:00:00:00:00 is no address"),
        ("2", "ports[0].mac: `2` is not a MAC address"),
    ] {
        let message = refused(&text("ports", &two(mac))).to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_device_has_one_port() {
    let two = |a: &str, b: &str| {
        refused(&text(
            "ports",
            &format!(
                "ports: [{{name: a, device: '{a}', role: fabric}}, {{name: b, device: '{b}', role: fabric}}]"
            ),
        ))
        .to_string()
    };
    let message = two("net_tap0,iface=x", "net_tap0,iface=y");
    assert!(message.ends_with("ports[1].device: `net_tap0` is already used by ports[0].device (line 6); give each port its own device"), "{message}");
    let message = two("net_af_packet0,iface=x", "net_af_packet1,blocksz=1,iface=x");
    assert!(message.contains("`iface=x` is already used by ports[0].device"), "{message}");
    let message = two("0000:3B:00.1", "3b:00.1,arg=1");
    assert!(message.contains("`0000:3b:00.1` is already used by ports[0].device"), "{message}");
}

#[test]
fn a_pci_address_is_written_in_full_and_in_lower_case() {
    for written in ["3b:00.1", "0000:3B:00.1"] {
        let error = format!(
            "t.yaml:6:27: ports[0].device: `{written}` is not how DPDK and the kernel name this PCI device; write \
             0000:3b:00.1"
        );
        wrong(&format!("ports: [{{name: a, device: '{written},x=1', role: access}}]"), &error);
    }
}

#[test]
fn a_device_is_a_pci_address_or_a_virtual_device_that_dpdk_has() {
    for written in ["acc0", "eth0", "net_afpacket0", "tap0", "af_packet0"] {
        let error = format!(
            "t.yaml:6:27: ports[0].device: `{written}` is neither a PCI address nor a virtual device of DPDK; write for \
             example 0000:3b:00.0, or net_af_packet0,iface={written} for an interface of the kernel"
        );
        wrong(&format!("ports: [{{name: a, device: '{written},x=1', role: access}}]"), &error);
    }
    for written in ["0000:3b:00.1", "net_memif0,role=client", "net_vhost0,iface=/tmp/s", "eth_pcap0,iface=x"]
    {
        let device = format!("device: '{written}'");
        right(&port("access", "").replace("device: net_null_d1", &device));
    }
}

#[test]
fn a_memif_without_copies_is_refused_with_the_reason() {
    let device = port("access", "").replace("net_null_d1", "'net_memif0,zero-copy=yes'");
    let message = refused(&text("ports", &device)).to_string();
    assert!(message.contains("ports[1].device: zero-copy=yes cannot be used"), "{message}");
    right(&device.replace("zero-copy=yes", "zero-copy=no"));
}

#[test]
fn a_name_has_one_port() {
    wrong(
        "ports: [{name: a, device: net_null_b, role: access}, {name: a, device: net_null_c, role: access}]",
        "t.yaml:6:61: ports[1].name: `a` is already ports[0].name (line 6); names are unique",
    );
}

#[test]
fn what_refers_to_a_port_whose_name_is_taken_is_not_reported_again() {
    let line =
        "ports: [{name: a, device: net_null_b, role: fabric}, {name: a, device: net_null_c, role: fabric}]";
    let text = text("ports", line).replace("routes: []", "routes: [{prefix: '2000::/3', port: b}]");
    assert_eq!(
        refused(&text).to_string(),
        "t.yaml:6:61: ports[1].name: `a` is already ports[0].name (line 6); names are unique"
    );
}

#[test]
fn a_node_has_at_most_64_ports() {
    let list: Vec<String> = (0..65)
        .map(|n| format!("{{name: p{n}, device: net_null_d{n}, role: access, descriptors: 64}}"))
        .collect();
    let message = refused(&text("ports", &format!("ports: [{}]", list.join(", ")))).to_string();
    assert!(message.ends_with("ports[64]: more than 64 ports; a node has at most 64"), "{message}");
}

#[test]
fn an_mtu_fits_the_mbuf() {
    wrong_port(
        "access",
        "mtu",
        "9600",
        "mtu: 9600 does not fit an mbuf of 2176 bytes; raise mbufs.data_bytes to 9746",
    );
    wrong_port("access", "mtu", "1279", "mtu: `1279` is not a number from 1280 to 9600; choose one");
    assert_eq!(right(&port("access", ", mtu: 2030")).ports[1].mtu, 2030);
    wrong_port(
        "access",
        "mtu",
        "2031",
        "mtu: 2031 does not fit an mbuf of 2176 bytes; raise mbufs.data_bytes to 2177",
    );
    let message = refused(&text("mbufs", "mbufs: {data_bytes: 1500}")).to_string();
    assert!(
        message.starts_with("t.yaml:6:9: ports[0].mtu: 1500 does not fit an mbuf of 1500 bytes"),
        "{message}"
    );
}

#[test]
fn every_queue_has_a_worker() {
    wrong_port(
        "access",
        "queues",
        "2",
        "queues: 2 is more than the 1 of dpdk.workers, a queue without a worker; lower it or add workers",
    );
}

#[test]
fn every_worker_has_a_queue() {
    let rule = "would have no packet to work on, because no port has more than";
    wrong(
        "dpdk: {workers: [1, 2, 3]}",
        &format!(
            "t.yaml:2:21: dpdk.workers[1]: core 2 {rule} 1 queues; raise `queues` of a port, or remove this worker"
        ),
    );
    // One port that feeds them all is enough.
    let fed = |workers: &str| text("dpdk", workers).replace("role: fabric", "role: fabric, queues: 2");
    assert_eq!(Config::parse(&fed("dpdk: {workers: [1, 2]}"), "t.yaml").unwrap().dpdk.workers, [1, 2]);
    let why = refused(&fed("dpdk: {workers: [1, 2, 3]}")).to_string();
    assert!(why.contains("dpdk.workers[2]: core 3") && why.contains("more than 2 queues"), "{why}");
}

#[test]
fn the_pool_holds_more_than_the_receive_rings() {
    wrong(
        "mbufs: {count: 1024}",
        "t.yaml:3:16: mbufs.count: 1024 buffers are all held by the ports' receive rings, which take 1024; raise it above that",
    );
    right("mbufs: {count: 1025}");
}

#[test]
fn descriptors_are_a_multiple_of_32() {
    wrong_port(
        "access",
        "descriptors",
        "100",
        "descriptors: 100 is not a multiple of 32, as devices want it; round it up",
    );
}

#[test]
fn our_addresses_are_unicast_and_unique() {
    let refusal = |address: &str| {
        let errors = refused(&text("ports", &port("fabric", &format!(", addresses: ['{address}']"))));
        let error = errors.errors()[0].clone();
        assert_eq!(
            (errors.errors().len(), error.line, error.column, error.path.as_str()),
            (1, 6, column("fabric") as u64 + 15, "ports[1].addresses[0]")
        );
        error.message
    };
    let rule = "write a global or unique local unicast address";
    assert_eq!(refusal("::/64"), format!("`::/64` is the unspecified address; {rule}"));
    assert_eq!(refusal("::1/128"), format!("`::1/128` is the loopback address; {rule}"));
    assert_eq!(refusal("ff02::1/64"), format!("`ff02::1/64` is a multicast address; {rule}"));
    assert_eq!(
        refusal("fe80::1/64"),
        format!("`fe80::1/64` is link-local, which every port has by itself; {rule}")
    );
    for text in ["::5/128", "::ffff:10.0.0.1/96"] {
        assert_eq!(refusal(text), format!("`{text}` is an IPv4 address in an IPv6 one; {rule}"));
    }
    for text in ["fd00::1", "fd00::1/129", "fd00::1/0", "fd00::1/+4", "10.0.0.1/8"] {
        assert_eq!(
            refusal(text),
            format!("`{text}` is not address/length; write for example fd00:1:0:1::1/64")
        );
    }
    assert_eq!(
        refusal("fd00:1:0:1:0::1/48"),
        "`fd00:1:0:1:0::1/48` is already ports[0].addresses[0] (line 6); addresses are unique"
    );
}

#[test]
fn under_sir_prefixes_and_locators_our_addresses_are_interface_identifiers() {
    let rule = "under a SIR prefix or locator; use an interface identifier (type 0), for example ::1";
    for (address, kind) in
        [("2001:db8:dddd:0:2000::1/64", 1), ("fd00:1:0:1:4000::1/64", 2), ("fd00:1:0:1:1000::1/64", 0)]
    {
        let errors = refused(&text("ports", &port("fabric", &format!(", addresses: ['{address}']"))));
        assert_eq!(errors.errors()[0].message, format!("`{address}` has identifier type {kind} {rule}"));
    }
    right(&port("access", ", addresses: ['2001:db8:dddd::1/64', '2001:db8:ffff:0:a8bb:ccff:fedd:1/64']"));
}

#[test]
fn a_tag_for_the_whole_port_is_not_for_access_ports() {
    wrong_port(
        "access",
        "vlan",
        "5",
        "vlan: `5` on an access port, which its attachments split; write vlan there",
    );
    wrong_port("external", "vlan", "4095", "vlan: `4095` is not a number from 1 to 4094; choose one");
    assert_eq!(right(&port("external", ", vlan: 4094")).ports[1].vlan, Some(4094));
}

#[test]
fn promiscuous_is_a_word_and_not_a_truth_value() {
    for (word, value) in [("on", Promiscuous::On), ("off", Promiscuous::Off), ("auto", Promiscuous::Auto)] {
        assert_eq!(right(&port("access", &format!(", promiscuous: {word}"))).ports[1].promiscuous, value);
    }
    wrong_port("access", "promiscuous", "yes", "promiscuous: `yes` is not known; write one of auto, on, off");
}

#[test]
fn only_access_ports_advertise_routers() {
    wrong_port(
        "fabric",
        "router_advertisement",
        "{}",
        "router_advertisement: routers are advertised to tasks only; set role: access or remove it",
    );
    let config = right(&port("access", ", router_advertisement: {}"));
    assert_eq!(config.ports[1].role, Role::Access);
    assert_eq!(config.ports[1].router_advertisement.unwrap().lifetime_s, 1800);
}

#[test]
fn an_advertisement_outlives_its_interval_and_speaks_of_a_sir_prefix() {
    let message = |rest: &str| {
        let text = text("ports", &port("access", &format!(", router_advertisement: {{{rest}}}")));
        let errors = refused(&text);
        assert_eq!(errors.errors().len(), 1, "{errors}");
        format!(
            "{}: {}",
            errors.errors()[0].path.replace("ports[1].router_advertisement.", ""),
            errors.errors()[0].message
        )
    };
    assert_eq!(
        message("lifetime_s: 100"),
        "lifetime_s: 100 s end before the next advertisement after 200 s; write 0, or 200 to 9000"
    );
    assert_eq!(message("interval_s: 3"), "interval_s: `3` is not a number from 4 to 1800; choose one");
    assert_eq!(
        message("prefix: '2001:db8:eeee::/64'"),
        "prefix: 2001:db8:eeee::/64 is not a SIR prefix; add it to sir_domains or correct it"
    );
    assert_eq!(
        message("on_link: true"),
        "on_link: `true` says something of a prefix that is not there; add prefix"
    );
    assert_eq!(
        message("autonomous: true"),
        "autonomous: `true` says something of a prefix that is not there; add prefix"
    );
    right(&port(
        "access",
        ", router_advertisement: {lifetime_s: 0, prefix: '2001:db8:dddd::/64', on_link: true}",
    ));
}

#[test]
fn what_refers_to_a_port_with_a_wrong_role_is_not_reported_again() {
    let line = "ports: [{name: a, device: net_null_d1, role: acces, router_advertisement: {}}]";
    let tasks =
        "attachments: [{port: a, mac: '02:00:00:00:00:01', identifiers: ['2001:db8:dddd:0:2000::1']}]";
    let text = text("ports", line).replace("attachments: []", tasks);
    assert_eq!(
        refused(&text).to_string(),
        "t.yaml:6:46: ports[0].role: `acces` is not known; write one of fabric, external, access"
    );
}

#[test]
fn only_external_ports_have_exceptions_and_only_strict_ones() {
    wrong_port(
        "fabric",
        "external",
        "{}",
        "external: only an external port has it; set role: external or remove it",
    );
    let config = right(&port("external", ", external: {}"));
    assert_eq!(config.ports[1].external, External::default());
    assert_eq!(config.ports[1].external.ingress, Ingress::Strict);
    let named = "{allow_sources: ['2001:db8:77::/48'], allow_destinations: ['::/0', 'fd00:f::1/128']}";
    let external = &right(&port("external", &format!(", external: {named}"))).ports[1].external;
    assert_eq!((external.allow_sources.len(), external.allow_destinations.len()), (1, 2));
    let message = |rest: &str| {
        let errors = refused(&text("ports", &port("external", &format!(", external: {{{rest}}}"))));
        assert_eq!(errors.errors().len(), 1, "{errors}");
        let error = &errors.errors()[0];
        format!("{}: {}", error.path.replace("ports[1].external.", ""), error.message)
    };
    assert_eq!(message("ingress: loose"), "ingress: `loose` is not known; write one of strict, open");
    assert_eq!(
        message("ingress: open, allow_sources: ['2001:db8::/32']"),
        "allow_sources: ingress: open needs no exceptions; remove them, or write strict"
    );
    assert_eq!(
        message("allow_sources: ['fe80::/10']"),
        "allow_sources[0]: fe80::/10 is never routed; remove it"
    );
    assert_eq!(
        message("allow_destinations: ['ff00::/8']"),
        "allow_destinations[0]: ff00::/8 is never routed; remove it"
    );
    assert!(
        message("allow_sources: ['2001:db8::1/64']")
            .contains("has bits set beyond its length; write 2001:db8::/64")
    );
    assert!(message("allow_sources: ['2001:db8::/32', '2001:db8::/32']").ends_with("write it once"), "once");
    let many: Vec<String> = (0..65).map(|n| format!("'2001:db8:{n}::/48'")).collect();
    assert_eq!(
        message(&format!("allow_sources: [{}]", many.join(", "))),
        "allow_sources: 65 prefixes; write 64 at most"
    );
}
