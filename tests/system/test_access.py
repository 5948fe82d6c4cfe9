"""Access ports: VLANs, Router Advertisements, Neighbour Discovery by proxy, duplicate addresses; ndisc6 as the peer."""

import os

import packets
from lab import Lab
from reference import INET, L1, L2, ROUTER_MAC, T1, T1_MAC, T2, Network, task_up
from wait import expect, need, until

T3, T3_MAC = "2001:db8:dddd:0:2000::3", "02:00:00:00:00:0c"
ROUTER = "fe80::5eff:fe00:1"


def test_attachments_on_vlans_of_one_port():
    """T1 on VLAN 10 and T3 on VLAN 11 of NVE1's access port, an unknown VLAN beside them."""
    with Lab("ilaa") as lab:
        net = Network(lab, start=False)
        host, (t3, t4) = net.nve1.ns, (lab.ns("t3"), lab.ns("t4"))
        net.plug(net.nve1, t3, T3_MAC)
        net.plug(net.nve1, t4, "02:00:00:00:00:0d")
        net.nve1.config["attachments"] = [
            net.attachment("task1", T1, T1_MAC, vlan=10),
            net.attachment("task3", T3, T3_MAC, vlan=11),
        ]
        net.write_mappings([(T1, L1), (T3, L1), (T2, L2)])
        for device in ("node", "t1", "t3", "t4"):
            host.run(f"ip link set {device} nomaster")
        switch = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vlan_switch.py")
        host.spawn(["/usr/bin/python3", switch, "node", "t1=10", "t3=11", "t4=12"]).wait_for("switching")
        net.start()
        task_up(t3, T3)
        wire = host.capture("node", "vlan")
        net.inet.reaches(T1, 3)
        net.inet.reaches(T3, 3)
        net.t1.reaches(T3, 3)
        t3.reaches(T2, 3)
        seen = packets.ipv6(wire.frames(at_least=24))
        for packet in seen:
            if packet.protocol == packets.ICMP6 and packet.payload[0] in (128, 129):
                to = {T1_MAC: 10, T3_MAC: 11}.get(packet.to_mac())
                expect(to in (None, packet.vlan), f"{packet.addresses()} on VLAN {packet.vlan}")
        before = net.nve1.drops().get("unknown_vlan", 0)
        t4.status(f"ndisc6 -1 -w 500 {T2} eth0")
        net.nve1.counts("unknown_vlan", 1, before)
        net.stop()


def test_router_advertisements_configure_linux():
    need("rdisc6")
    with Lab("ilaa") as lab:
        net = Network(lab)
        route = net.t1.run("ip -6 route show default")
        expect(f"default via {ROUTER} dev eth0 proto ra" in route, route)
        made = net.t1.run("ip -6 addr show dev eth0 dynamic").strip()
        expect(made == "", f"an address was made from the advertisement: {made}")
        status, text = net.t1.status("rdisc6 -1 -w 10000 eth0")
        expect(status == 0 and "1800" in text and ROUTER_MAC.upper() in text.upper(), f"a solicited one:\n{text}")
        # Unsolicited ones every 3 to 4 seconds: the route's life begins anew.
        wire = net.t1.capture("eth0", "icmp6 and ip6[40] == 134 and dst ff02::1")
        for packet in packets.ipv6(wire.frames(at_least=2)):
            expect((packet.to_mac(), packet.hop_limit) == ("33:33:00:00:00:01", 255), "wrong header")
        net.stop()
        until(lambda: net.t1.run("ip -6 route show default").strip() == "", "the router that stopped to be forgotten")


def test_a_task_needs_its_address_and_nothing_else():
    """As the README says it: an address, and the default route comes by itself, by one solicited advertisement."""
    with Lab("ilaa") as lab:
        net = Network(lab, start=False)
        for port in (net.nve1.config["ports"][1], net.nve2.config["ports"][1]):
            port["router_advertisement"] = {}
        t3 = lab.ns("t3")
        net.nve1.config["attachments"].append(net.attachment("task3", T3, T3_MAC))
        net.write_mappings([(T1, L1), (T3, L1), (T2, L2)])
        net.start()
        # The node's first advertisement is over when the task's link comes up: it must ask by itself.
        net.plug(net.nve1, t3, T3_MAC)
        task_up(t3, T3, options="")
        until(lambda: "tentative" not in t3.run("ip -6 addr show dev eth0"), "T3's address to be its own")
        for ns, to in ((t3, T2), (t3, INET), (net.inet, T3)):
            ns.reaches(to)
        net.stop()


def test_the_link_local_address_answers():
    need("ndisc6")
    with Lab("ilaa") as lab:
        net = Network(lab)
        status, text = net.t1.status(f"ndisc6 -1 -w 10000 {ROUTER} eth0")
        expect(status == 0 and ROUTER_MAC in text.lower(), f"solicitation of the default router:\n{text}")
        net.t1.reaches(f"{ROUTER}%eth0", 3)
        net.stop()


def test_solicitations_for_sir_addresses_are_answered_by_proxy():
    need("ndisc6")
    with Lab("ilaa") as lab:
        net = Network(lab)
        status, text = net.t1.status(f"ndisc6 -1 -w 10000 {T2} eth0")
        expect(status == 0 and ROUTER_MAC in text.lower(), f"for T2, on another host:\n{text}")
        unknown = "2001:db8:dddd:0:2000::77"
        for address, why in ((unknown, "nobody has it"), (T1, "the asker has it"), (INET, "not SIR")):
            status, text = net.t1.status(f"ndisc6 -1 -w 500 {address} eth0")
            expect(status != 0, f"an answer for {address} although {why}:\n{text}")
        # The fabric is not an access port.
        status, text = net.fab.status(f"ndisc6 -1 -w 500 {T1} nve1")
        expect(status != 0, f"an answer in the fabric:\n{text}")
        net.stop()


def test_duplicate_addresses_are_noticed():
    with Lab("ilaa") as lab:
        net = Network(lab, start=False)
        t3 = lab.ns("t3")
        net.plug(net.nve1, t3, T3_MAC)
        net.nve1.config["attachments"].append(net.attachment("task3", T3, T3_MAC))
        net.start()
        t3.run(f"ip -6 addr add {T3}/128 dev eth0")
        until(lambda: "tentative" not in t3.run("ip -6 addr show dev eth0"), "T3's own address to pass")
        expect("dadfailed" not in t3.run("ip -6 addr show dev eth0"), "T3 cannot have its own address")
        for address, where in ((T2, "on another host"), (T1, "on this host")):
            t3.run(f"ip -6 addr add {address}/128 dev eth0")
            until(lambda: "dadfailed" in t3.run("ip -6 addr show dev eth0"), f"the duplicate {where} to be noticed")
            t3.run(f"ip -6 addr del {address}/128 dev eth0")
        net.stop()
