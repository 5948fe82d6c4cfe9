"""A million packets, most of them broken: nothing crashes, every packet has one fate, every mbuf comes back."""

import functools
import json
import os
import random
import tempfile

import packets
from lab import Lab, binary
from reference import INET, L1, L2, T1, T1_MAC, T2
from wait import expect, until

# Others beside it would be in its measure.
ALONE = True

COUNT = 1_000_000
SEED = int(os.environ.get("ILAGATE_SEED", "1"))
# The addresses that DPDK gives its first two net_pcap devices; it lets nobody change them.
FAB_MAC, PEER = "02:70:63:61:70:00", "02:00:00:00:00:ff"
# The router of the SIR domain.
ACC_MAC = "02:00:5e:00:00:01"


def valid_frames():
    """One of each kind of packet that the node knows, towards its fabric port and its access port."""
    tcp = bytes.fromhex("04d2005000000001000000025018ffff00000000") + b"data" * 20
    echo = bytes.fromhex("8000000000010001") + bytes(range(56))
    l1t1 = packets.ila(T1, L1)
    frames = []

    def add(to_mac, source, destination, protocol, payload, **more):
        frames.append(packets.build(source, destination, protocol, payload, PEER, to_mac, **more))

    for source, to, mac in (
        (INET, l1t1, FAB_MAC), (T1, T2, ACC_MAC), (T1, INET, ACC_MAC), (T2, T1, FAB_MAC), (T1, T1, ACC_MAC),
        (INET, "fd00:f:1::1", FAB_MAC), (INET, "2001:db8:dddd:0:2000::77", FAB_MAC), (T2, packets.ila(T2, L1), FAB_MAC),
    ):  # fmt: skip
        add(mac, source, to, packets.UDP, packets.udp(1000, 9, b"data" * 50), checksum_at=6)
        add(mac, source, to, packets.TCP, tcp, checksum_at=16)
        add(mac, source, to, packets.ICMP6, echo, checksum_at=2)
        add(mac, source, to, packets.UDP, packets.udp(1000, 9, b"hop"), checksum_at=6, hop_limit=1)
        add(mac, source, to, packets.FRAGMENT, bytes.fromhex("1100000100000007") + b"fragment" * 8)
        add(mac, source, to, packets.FRAGMENT, bytes.fromhex("1100010000000007") + b"fragment" * 8)
        add(mac, source, to, 0, bytes.fromhex("3a00050200000000") + echo)
        add(mac, source, to, 43, bytes.fromhex("3a02000100000000") + packets.ipaddress.IPv6Address(T2).packed + echo)
        add(mac, source, to, 60, bytes.fromhex("3c00000000000000") * 6 + bytes.fromhex("1100000000000000") + tcp)
        add(mac, source, to, packets.UDP, packets.udp(1000, 9, bytes(1400)), checksum_at=6)
    # An error from the fabric that quotes a translated packet.
    quoted = packets.build(T1, packets.ila(T2, L2), packets.UDP, packets.udp(1, 2, b"q" * 40), PEER, FAB_MAC)[14:]
    for kind in ("0300", "0100", "0200"):
        add(FAB_MAC, "fd00:f:1::ff", l1t1, packets.ICMP6, bytes.fromhex(kind + "000000000500") + quoted, checksum_at=2)
    # Neighbour Discovery.
    for target in (T2, T1, "fe80::1", "fd00:f:1::1"):
        packed = packets.ipaddress.IPv6Address(target).packed
        option = bytes.fromhex("0101020000000aff")
        for source in ("fe80::a", "::"):
            add("33:33:ff:00:00:01", source, "ff02::1:ff00:1", packets.ICMP6, bytes.fromhex("8700000000000000") + packed
                + (option if source != "::" else b""), hop_limit=255, checksum_at=2)  # fmt: skip
        add(FAB_MAC, "fe80::a", "ff02::1", packets.ICMP6, bytes.fromhex("8800000060000000") + packed + option,
            hop_limit=255, checksum_at=2)  # fmt: skip
    add("33:33:00:00:00:02", "fe80::a", "ff02::2", packets.ICMP6, bytes.fromhex("8500000000000000"),
        hop_limit=255, checksum_at=2)  # fmt: skip
    return frames


def mutate(frame, chance):
    """Truncated, lengthened, with bits, bytes, lengths or types changed; one in eight as it is."""
    kind = chance.randrange(8)
    if kind == 0:
        return frame
    if kind == 1:
        return frame[: chance.randrange(1, len(frame))]
    data = bytearray(frame)
    if kind == 2:
        data += chance.randbytes(chance.randrange(1, 64))
    elif kind == 3:
        data[18:20] = chance.randbytes(2)  # payload length
    elif kind == 4:
        data[20] = chance.choice((0, 6, 17, 43, 44, 50, 51, 58, 59, 60, 135, 255))
    elif kind == 5:
        at = chance.randrange(14, len(data))
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 6:
        for _ in range(chance.randrange(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    else:
        at = chance.choice((12, 14, 22, 38, 46, 54, 55, 58))
        data[at : at + 2] = chance.randbytes(2)
    return bytes(data[:1514])


@functools.cache
def directory():
    """For the captures, which both tests read: it is there until this process ends."""
    return tempfile.TemporaryDirectory(prefix=f"{os.environ.get('ILAGATE_LAB', 'ila')}-soak")


@functools.cache
def captures():
    """Half of the packets for each port, in two files."""
    chance = random.Random(SEED)
    base = valid_frames()
    files = []
    for port in ("fabric0", "access0"):
        file = os.path.join(directory().name, f"{port}-in.pcap")
        frames = [mutate(base[chance.randrange(len(base))], chance) for _ in range(COUNT // 2)]
        packets.write_pcap(file, frames)
        files.append(file)
    return files


def config(lab, ns, devices):
    node = lab.node(
        ns, "soak", 0,
        locators=[{"prefix": L1, "domain": "tasks"}],
        ports=[
            {"name": "fabric0", "device": devices[0], "role": "fabric", "addresses": ["fd00:f:1::1/64"]},
            {"name": "access0", "device": devices[1], "role": "access", "router_advertisement": {}},
        ],
        attachments=[{"port": "access0", "mac": T1_MAC, "identifiers": [T1]}],
        routes=[{"prefix": "::/0", "via": "fd00:f:1::ff", "port": "fabric0"}],
        neighbours={"static": [{"port": "fabric0", "address": "fd00:f:1::ff", "mac": PEER}]},
        mappings={"file": lab.path("mappings.yaml")},
        mbufs={"count": 8192, "cache": 128},
    )  # fmt: skip
    with open(lab.path("mappings.yaml"), "w") as file:
        file.write(f'mappings:\n  - {{sir: "{T2}", locators: ["{L2}"]}}\n')
    return node


FATES = ("forwarded", "replied", "punted", "dropped")
# Router Advertisement, Neighbour Solicitation and Advertisement, multicast listener report.
ADVERTISES = (134, 135, 136, 143)


def test_a_million_broken_packets_through_replay():
    with Lab("ilas") as lab:
        fabric, access = captures()
        node = config(lab, lab.ns("soak"), ["net_null0", "net_null1"])
        node.config["ports"][0]["mac"] = FAB_MAC
        node.write()
        words = [binary("ilagate"), "replay", "--config", node.file, "--in", f"fabric0={fabric}", "--in",
                 f"access0={access}", "--out-dir", lab.path("out"), "--json"]  # fmt: skip
        report = json.loads(lab.host(words, timeout=240).stdout)
        lab.nodes.clear()
        received = sum(port["received"] for port in report["ports"])
        expect(received == COUNT, f"{received} received (seed {SEED})")
        for port in report["ports"]:
            expect(port["received"] == sum(port[fate] for fate in FATES), f"{port} (seed {SEED})")
            expect(port["forwarded"] > 0 and port["dropped"] > 0, f"{port}")


def test_a_million_broken_packets_through_a_node():
    """The same packets through pcap ports of a running node: worker, control thread and mbuf pools included."""
    with Lab("ilas") as lab:
        fabric, access = captures()
        out = [lab.path(f"out{n}.pcap") for n in range(2)]
        node = config(
            lab, lab.ns("soak"),
            [f"net_pcap{n},rx_pcap={file},tx_pcap={out[n]}" for n, file in enumerate((fabric, access))],
        ).start()  # fmt: skip
        ports = lambda: [port["counters"] for port in node.show("port", "list")]  # noqa: E731
        until(lambda: sum(port["received"] for port in ports()) >= COUNT or not node.process.alive(),
              "all packets to be received", timeout=240, step=0.5)  # fmt: skip
        until(lambda: not any(port["waiting"] for port in ports()), "no packet to wait any more")
        counted = ports()
        for port in counted:
            expect(port["received"] == sum(port[fate] for fate in FATES) + port["waiting"], f"{port} (seed {SEED})")
        expect(sum(port["received"] for port in counted) == COUNT, f"{counted} (seed {SEED})")
        expect(all(port["forwarded"] > 0 for port in counted), f"{counted}")
        sent = [port["sent"] for port in node.show("port", "list")]
        node.stop()
        # What it said of itself since then, and at the end that the tasks' default router is gone (RFC 4861 §6.2.5).
        fabric, access = (packets.read_pcap(file)[count:] for count, file in zip(sent, out))
        expect(len(packets.ipv6(fabric + access)) == len(fabric + access), "other than IPv6 at the end")
        ended = packets.ipv6(access)
        for packet in packets.ipv6(fabric) + ended:
            said = packet.protocol == packets.ICMP6 and packet.payload[0] in ADVERTISES
            expect(said, f"{packet.addresses()} at the end")
        goodbye = ended and ended[-1].payload[0] == 134 and ended[-1].payload[6:8] == b"\0\0"
        expect(goodbye, "the router did not say goodbye")
