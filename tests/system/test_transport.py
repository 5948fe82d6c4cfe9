"""Linux stacks talk through the nodes, in each checksum mode; the receivers' kernels judge the checksums."""

import hashlib
import os

import packets
from books import undisturbed
from lab import Lab
from reference import INET, L1, L2, T1, T1_MAC, T2, Network, task_up
from traffic import datagrams
from wait import expect, until

MODES = ("neutral-map", "neutral-map-auto", "adj-transport", "no-action")


def serve(net, ns, address, size):
    """A web server with one random file; gives its sha256."""
    directory = net.lab.path(f"www-{ns.name}")
    os.makedirs(directory, exist_ok=True)
    data = os.urandom(size)
    with open(os.path.join(directory, "file"), "wb") as file:
        file.write(data)
    ns.spawn(["/usr/bin/python3", "-m", "http.server", "8080", "--bind", address, "--directory", directory])
    until(lambda: ":8080" in ns.run("ss -Hltn"), "the web server")
    return hashlib.sha256(data).hexdigest()


def fetch(net, ns, address, digest, timeout=60):
    out = net.lab.path(f"got-{ns.name}")
    ns.run(["curl", "-sSfg", "-m", timeout, "-o", out, f"http://[{address}]:8080/file"], timeout=timeout + 10)
    got = net.lab.host(["sha256sum", out]).stdout.split()[0]
    expect(got == digest, f"{ns.name} fetched something else: sha256 {got}, not {digest}")


def no_wrong_checksums(net):
    for ns in (net.inet, net.t1, net.t2):
        stat = ns.counters()
        for name in ("TcpInCsumErrors", "Udp6InCsumErrors", "Icmp6InCsumErrors"):
            expect(stat[name] == 0, f"{ns.name}: {name} {stat[name]}")


def both_ways(mode):
    with Lab("ilat") as lab:
        net = Network(lab, checksum=mode)
        digest = serve(net, net.t1, T1, 8 << 20)
        internet = serve(net, net.inet, INET, 8 << 20)
        for _ in range(2):
            fetch(net, net.inet, T1, digest)
            fetch(net, net.t2, T1, digest)
            fetch(net, net.t1, INET, internet)
        net.inet.reaches(T1, 5)
        net.t1.reaches(T2, 5)
        # Every transport protocol with a checksum.
        send = lambda slower: datagrams(net.t1, net.t2, T2, 2000, 1000 / slower, size=1200)  # noqa: E731
        undisturbed(lab, send, f"UDP with {mode}")
        no_wrong_checksums(net)
        net.stop()


def test_tcp_udp_and_pings_with_neutral_map():
    both_ways("neutral-map")


def test_tcp_udp_and_pings_with_neutral_map_auto():
    both_ways("neutral-map-auto")


def test_tcp_udp_and_pings_with_adj_transport():
    both_ways("adj-transport")


def test_tcp_udp_and_pings_with_no_action():
    both_ways("no-action")


def test_the_receivers_kernel_verifies_checksums():
    """The other tests believe the kernel's counter of wrong checksums: here it must count."""
    with Lab("ilat") as lab:
        net = Network(lab)
        frame = packets.build(
            INET, T1, packets.UDP, packets.udp(1000, 9, b"good"), net.inet.mac("eth0"), net.gw.ns.mac("ext"),
            checksum_at=6,
        )  # fmt: skip
        bad = frame[:-1] + b"?"
        for data in (frame, bad):
            code = (
                "import socket\n"
                "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
                "s.bind(('eth0', 0))\n"
                f"s.send(bytes.fromhex('{data.hex()}'))\n"
            )
            net.inet.reaches(T1, 1)
            net.inet.run(["/usr/bin/python3", "-c", code])
        until(lambda: net.t1.counters()["Udp6InCsumErrors"] == 1, "one wrong UDP checksum to be counted")
        net.stop()


def three_lines(mode):
    """Scenarios 1, 2 and 3 of the ILA draft as captured at the sender, in the fabric and at the receiver."""
    with Lab("ilat") as lab:
        net = Network(lab, checksum=mode)
        l1t1, l2t2 = packets.ila(T1, L1, mode), packets.ila(T2, L2, mode)
        neutral = mode != "no-action"
        for sender, wire, receiver, lines in (
            (net.t1, "nve1", net.t2, [(T1, T2), (T1, l2t2), (T1, T2)]),
            (net.t1, "nve1", net.inet, [(T1, INET)] * 3),
            (net.inet, "gw", net.t1, [(INET, T1), (INET, l1t1), (INET, T1)]),
        ):
            points = [(sender, "eth0"), (net.fab, wire), (receiver, "eth0")]
            captures = [ns.capture(device, "icmp6 and ip6[40] == 128") for ns, device in points]
            sent = sender.reaches(lines[0][1], 1)
            for capture, line in zip(captures, lines):
                found = packets.ipv6(capture.frames(at_least=1))
                expect(len(found) <= sent, f"{len(found)} packets of {sent}")
                expect({p.addresses() for p in found} == {line}, f"{[p.addresses() for p in found]}, not {line}")
                at_ends = line[1] not in (l1t1, l2t2)
                if at_ends or neutral:
                    expect(found[0].checksum_is_right(), f"wrong checksum in {line}")
        net.stop()


def test_scenarios_1_2_3_with_neutral_map():
    three_lines("neutral-map")


def test_scenarios_1_2_3_with_neutral_map_auto():
    three_lines("neutral-map-auto")


def test_scenarios_1_2_3_with_adj_transport():
    three_lines("adj-transport")


def test_scenarios_1_2_3_with_no_action():
    three_lines("no-action")


def test_fragments_arrive_whole():
    with Lab("ilat") as lab:
        net = Network(lab)
        for ns, to in ((net.inet, T1), (net.t1, T2), (net.t2, INET)):
            ns.reaches(to, 3, extra=("-s", "4000"))
        no_wrong_checksums(net)
        net.stop()


def test_tasks_of_one_host_talk_without_the_fabric():
    with Lab("ilat") as lab:
        net = Network(lab, start=False)
        t3, address, mac = lab.ns("t3"), "2001:db8:dddd:0:2000::3", "02:00:00:00:00:0c"
        net.plug(net.nve1, t3, mac)
        net.nve1.config["attachments"].append(net.attachment("task3", address, mac))
        net.start()
        task_up(t3, address)
        wire = net.fab.capture("nve1", f"host {address}")
        t3.reaches(T1, 5)
        net.t1.reaches(address, 5)
        expect(not wire.frames(), "packets between tasks of one host were seen in the fabric")
        expect(T1_MAC == net.t1.mac("eth0"), "a task changed")
        net.stop()
