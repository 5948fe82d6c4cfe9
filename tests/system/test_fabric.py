"""What the fabric does to packets: hop limits, smaller MTUs, several ways, neighbours and links that go and come."""

import collections
import json
import shutil

import packets
from books import CHATTER, undisturbed
from lab import Lab
from reference import GATEWAY, INET, L1, L2, T1, T1_MAC, T2, Network, task_up
from test_transport import fetch, no_wrong_checksums, serve
from traffic import Flows, datagrams
from wait import Lost, comes, expect, until


def test_traceroute_over_udp_icmp_and_tcp():
    """Hops inside the fabric quote ILA addresses; the senders accept them, so they were translated back."""
    with Lab("ilaf") as lab:
        net = Network(lab)
        ways = [
            (net.inet, T1, [GATEWAY, "fd00:f::ff", "fd00:f:1::1", T1]),
            (net.t1, T2, ["fd00:f:1::1", "fd00:f:1::ff", "fd00:f:2::1", T2]),
            (net.t2, INET, ["fd00:f:2::1", "fd00:f:2::ff", "fd00:f::1", INET]),
        ]
        for ns, to, expected in ways:
            for kind in ([], ["-I"], ["-T", "-p", "81"]):
                ns.traces(to, expected, *kind)
        no_wrong_checksums(net)
        net.stop()


def test_traceroute_in_each_checksum_mode():
    for mode in ("neutral-map-auto", "adj-transport", "no-action"):
        with Lab("ilaf") as lab:
            net = Network(lab, checksum=mode)
            for kind in ([], ["-I"]):
                net.t1.traces(T2, ["fd00:f:1::1", "fd00:f:1::ff", "fd00:f:2::1", T2], *kind)
            no_wrong_checksums(net)
            net.stop()


def quotes(found):
    """Destinations that ICMPv6 errors quote."""
    return {packets.address(p.payload[8 + 24 : 8 + 40]) for p in found if p.protocol == 58 and p.payload[0] < 128}


def test_quoted_packets_show_sir_addresses():
    with Lab("ilaf") as lab:
        net = Network(lab)
        errors = "icmp6 and ip6[40] < 128"
        inside, outside = net.fab.capture("gw", errors), net.inet.capture("eth0", errors)
        net.inet.refused(T1, "Hop limit", extra=("-t", "2"))
        seen = packets.ipv6(outside.frames(at_least=1))
        expect(quotes(seen) == {T1}, f"the sender sees {quotes(seen)}")
        expect(all(p.checksum_is_right() for p in seen), "wrong ICMPv6 checksum after the quote was translated")
        within = quotes(packets.ipv6(inside.frames()))
        expect(within == {packets.ila(T1, L1)}, f"in the fabric: {within}")
        net.stop()


def learned_mtu(ns, to):
    words = ns.run(f"ip -6 route get {to}").split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else None


def test_path_mtu_is_learned_through_the_fabric():
    """NVE1's link takes 1400 bytes: the router says so to those outside, NVE1 to its own task."""
    with Lab("ilaf") as lab:
        net = Network(lab, fabric_mtu=1500)
        net.fab.run("ip link set nve1 mtu 1400")
        digest = serve(net, net.inet, INET, 4 << 20)
        other = serve(net, net.t2, T2, 4 << 20)
        # The way to T1 is the narrow one.
        fetch(net, net.t1, INET, digest)
        expect(learned_mtu(net.inet, T1) == 1400, f"the Internet host learned {learned_mtu(net.inet, T1)}")
        fetch(net, net.t1, T2, other)
        expect(learned_mtu(net.t2, T1) == 1400, f"T2 learned {learned_mtu(net.t2, T1)}")
        if shutil.which("tracepath"):
            text = net.inet.run(["tracepath", "-6", "-n", "-m", "6", T1], check=False)
            expect("pmtu 1400" in text, f"tracepath:\n{text}")
        net.stop()


def test_a_node_says_packet_too_big_itself():
    with Lab("ilaf") as lab:
        net = Network(lab, fabric_mtu=1400)
        digest = serve(net, net.t1, T1, 4 << 20)
        fetch(net, net.inet, T1, digest)
        expect(learned_mtu(net.t1, INET) == 1400, f"T1 learned {learned_mtu(net.t1, INET)}")
        fetch(net, net.t2, T1, digest)
        expect(learned_mtu(net.t1, T2) == 1400, f"T1 learned {learned_mtu(net.t1, T2)}")
        expect(net.nve1.drops().get("packet_too_big", 0) >= 2, "not counted as packet_too_big")
        net.stop()


def second_leg(net):
    """Another link between the gateway and the fabric."""
    net.lab.wire(net.gw.ns, "fab2", net.fab, "gw2")
    net.fab.addr("gw2", "fd00:f:9::ff/64")
    net.gw.config["ports"].append(
        {"name": "fabric1", "device": "net_af_packet2,iface=fab2", "role": "fabric", "addresses": ["fd00:f:9::1/64"]}
    )


VIA_A = {"via": "fd00:f:0::ff", "port": "fabric0"}
VIA_B = {"via": "fd00:f:9::ff", "port": "fabric1"}


def spread(net, legs, count=240, to=T1):
    """Sends `count` flows of three packets; how many flows each leg saw, and that none changed its way."""

    def attempt(slower):
        wires = [net.fab.capture(leg, f"udp and src {INET}") for leg in legs]
        Flows(net.inet, INET, to).send(range(20000, 20000 + count), each=3, rate=2000 / slower)
        came = lambda: sum(wire.count() for wire in wires)  # noqa: E731
        comes(lambda: came() >= 3 * count, 5)
        ways = collections.defaultdict(set)
        for leg, wire in zip(legs, wires):
            for packet in packets.ipv6(wire.frames()):
                ways[packet.payload[:2]].add(leg)
        expect(all(len(legs) == 1 for legs in ways.values()), "a flow changed its way")
        if came() < 3 * count:
            raise Lost(f"packets of {count} flows in captures", 3 * count, came())
        expect(came() == 3 * count and len(ways) == count, f"{came()} packets of {len(ways)} flows were seen")
        taken = collections.Counter(leg for legs in ways.values() for leg in legs)
        return [taken[leg] for leg in legs]

    return undisturbed(net.lab, attempt, f"{count} flows to {to}")


def test_next_hops_share_the_flows():
    with Lab("ilaf") as lab:
        net = Network(lab, start=False)
        second_leg(net)
        net.gw.config["routes"][0] = {"prefix": "fd00::/16", "next_hops": [VIA_A, VIA_B]}
        net.start()
        net.inet.reaches(T1, 5)
        first, second = spread(net, ["gw", "gw2"])
        expect(min(first, second) > 60, f"{first} and {second} flows of 240 over two equal next hops")
        net.stop()


def anycast(net, choices):
    """T1 at both NVEs: a second task with the same address at NVE2."""
    twin = net.lab.ns("t1b")
    net.plug(net.nve2, twin, T1_MAC)
    net.nve2.config["attachments"].append(net.attachment("task1", T1, T1_MAC))
    with open(net.mapping_file, "w") as file:
        json.dump({"mappings": [{"sir": T1, "locators": choices}, {"sir": T2, "locators": [L2]}]}, file)
    net.start()
    task_up(twin, T1)
    return twin


def test_locators_share_the_flows_by_weight():
    with Lab("ilaf") as lab:
        net = Network(lab, start=False)
        anycast(net, [{"locator": L1, "weight": 3}, {"locator": L2, "weight": 1}])
        first, second = spread(net, ["nve1", "nve2"], count=400)
        # Which flows take which locator is another thing in each process.
        expect(240 < first < 350, f"{first} and {second} of 400 flows at weights 3 and 1")
        net.inet.reaches(T1, 5)
        net.stop()


GLOBAL = "2001:db8:aaaa:1::/64"


def test_a_task_is_reached_at_each_locator_of_its_host_global_or_unique_local():
    with Lab("ilaf") as lab:
        net = Network(lab, start=False)
        net.nve1.config["locators"].append({"prefix": GLOBAL, "domain": "tasks"})
        net.fab.route(f"{GLOBAL} via fd00:f:1::1")
        net.gw.config["routes"].append({"prefix": GLOBAL, "via": "fd00:f:0::ff", "port": "fabric0"})
        with open(net.mapping_file, "w") as file:
            mappings = [{"sir": T1, "locators": [L1, GLOBAL]}, {"sir": T2, "locators": [L2]}]
            json.dump({"mappings": mappings}, file)
        net.start()
        wire = net.fab.capture("nve1", "udp and not src net fd00::/16")
        datagrams_of_flows(net, 100)
        seen = collections.Counter(packet.destination.rsplit(":", 4)[0] for packet in packets.ipv6(wire.frames()))
        expect(len(seen) == 2 and all(20 < count for count in seen.values()), f"100 flows by locator: {seen}")
        net.inet.reaches(T1, 5)
        net.t2.reaches(T1, 5)
        net.stop()


def datagrams_of_flows(net, count):
    """One datagram from the Internet to T1 in each of so many flows, and all of them are received."""

    def attempt(slower):
        wire = net.t1.capture("eth0", f"udp and src {INET}")
        Flows(net.inet, INET, T1).send(range(20000, 20000 + count), each=1, rate=500 / slower)
        comes(lambda: wire.count() >= count, 5)
        if wire.count() < count:
            raise Lost(f"datagrams to {T1}", count, wire.count())

    undisturbed(net.lab, attempt, f"{count} flows to {T1}")


TIMERS = {"reachable_ms": 1000, "retransmit_ms": 200}


def test_a_locator_of_lower_priority_takes_over():
    """Each locator has its own next hop; when the first one's is gone, the second locator is used, and back."""
    with Lab("ilaf") as lab:
        net = Network(lab, start=False)
        second_leg(net)
        net.gw.config["neighbour_discovery"] = TIMERS
        net.gw.config["routes"][:1] = [{"prefix": L1, **VIA_A}, {"prefix": L2, **VIA_B}]
        anycast(net, [{"locator": L1, "priority": 0}, {"locator": L2, "priority": 1}])
        expect(spread(net, ["nve1", "nve2"], 20) == [20, 0], "the second locator is used although the first is there")
        net.fab.run("ip -6 addr del fd00:f:0::ff/64 dev gw")
        state = lambda: net.gw.show("mapping", "get", T1)["locators"][0]["state"]  # noqa: E731
        until(lambda: state() == "unreachable", "the first locator to become unreachable")
        expect(spread(net, ["nve1", "nve2"], 20) == [0, 20], "the first locator is used although it is gone")
        net.inet.reaches(T1, 3)
        net.fab.addr("gw", "fd00:f:0::ff/64")
        until(lambda: state() == "ready", "the first locator to come back")
        expect(spread(net, ["nve1", "nve2"], 20) == [20, 0], "the first locator is not used again")
        net.stop()


def neighbour(node, address):
    return next((entry["state"] for entry in node.show("neigh", "list") if entry["address"] == address), None)


def test_a_next_hop_goes_and_comes_back():
    with Lab("ilaf") as lab:
        net = Network(lab, start=False)
        net.gw.config["neighbour_discovery"] = TIMERS
        net.start()
        net.inet.reaches(T1, 2)
        net.fab.run("ip -6 addr del fd00:f:0::ff/64 dev gw")
        until(lambda: neighbour(net.gw, "fd00:f::ff") == "failed", "the next hop to be noticed as gone")
        net.inet.refused(T1, "nreachable")
        net.gw.counts("neighbour_unreachable")
        routes = {route["prefix"]: route for route in net.gw.show("route", "list")}
        expect("fd00::/16" in routes, f"the route is gone: {routes}")
        expect(routes["fd00::/16"]["next_hops"][0]["state"] == "unreachable", f"{routes['fd00::/16']}")
        net.fab.addr("gw", "fd00:f:0::ff/64")
        until(lambda: net.inet.answered(T1), "traffic to come back", step=0.2)
        net.inet.reaches(T1, 5)
        net.stop()


def test_a_sender_is_told_that_nobody_has_the_address():
    """RFC 4861 §7.2.2: a packet that waited for a neighbour in vain is answered, and the very first one does."""
    with Lab("ilaf") as lab:
        net = Network(lab)
        net.t1.refused("2001:db8:1::99", "Address unreachable")
        # From outside nobody reaches the fabric, and nobody is told.
        net.inet.silent("fd00:f::99")
        net.gw.counts("external_to_fabric")
        net.stop()


def test_a_link_goes_down_and_comes_back():
    with Lab("ilaf") as lab:
        net = Network(lab)
        up = lambda: {port["name"]: port["up"] for port in net.gw.show("port", "list")}  # noqa: E731
        net.inet.reaches(T1, 2)
        expect(up() == {"inet0": True, "fabric0": True}, f"{up()}")
        net.fab.run("ip link set gw down")
        until(lambda: not up()["fabric0"], "the node to see the link down")
        net.inet.refused(T1, "nreachable")
        net.gw.counts("link_down")
        net.fab.run("ip link set gw up")
        # Linux forgets addresses and routes of a link that was taken down.
        net.fab.run("ip -6 addr replace fd00:f:0::ff/64 dev gw nodad")
        net.fab.route("default via fd00:f:0::1")
        until(lambda: up()["fabric0"], "the node to see the link up")
        until(lambda: net.inet.answered(T1), "traffic to come back")
        net.inet.reaches(T1, 5)
        net.stop()


def test_several_nodes_lose_nothing_under_moderate_load():
    """Four seconds of 2000 datagrams a second from the Internet to a task: no node loses one."""
    with Lab("ilaf") as lab:
        net = Network(lab)
        undisturbed(lab, lambda slower: datagrams(net.inet, net.t1, T1, 8000, 2000 / slower), "8000 datagrams")
        for node in net.nodes:
            expect(all(port["unsent"] == 0 for port in node.show("port", "list")), f"{node.ns.name} could not send")
            expect(node.drops().keys() <= set(CHATTER), f"{node.ns.name}: {node.drops()}")
        net.stop()
