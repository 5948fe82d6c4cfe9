"""Two nodes in a row, with one queue and with two: an ILA router and a host whose task has a plain address as well.

    h1 --ext-- [n1: ILA router] --fab-- [n2: NVE] --acc-- t1 (a task)
"""

import os
import signal

from lab import Lab
from reference import L2, T1, T1_MAC, task_up
from test_operation import lossless
from wait import expect, until

# Others beside it would be in its measure.
ALONE = True

H1, T1_PLAIN = "2001:db8:1::2", "2001:db8:2::2"
N1_MAC, N1_LINK_LOCAL = "02:00:00:00:01:01", "fe80::ff:fe00:101"
EXT, PLAIN = "2001:db8:1::1", "2001:db8:2::1"


class TwoNodes:
    """Builds and starts all of it."""

    def __init__(self, lab, queues):
        self.lab = lab
        self.inet, self.t1 = lab.ns("h1"), lab.ns("t1")
        ns1, ns2 = lab.ns("n1").of_a_node(), lab.ns("n2").of_a_node()
        lab.wire(self.inet, "eth0", ns1, "ext")
        lab.wire(ns1, "fab", ns2, "fab")
        lab.wire(ns2, "acc", self.t1, "eth0")
        self.mapping_file = lab.path("mappings.yaml")
        self.map(f'{{sir: "{T1}", locators: ["{L2}"]}}')
        pairs = ",qpairs=2" if queues == 2 else ""
        self.n1 = lab.node(
            ns1, "n1", 0,
            locators=[{"prefix": "fd00:1:0:1::/64", "domain": "tasks"}],
            ports=[
                {"name": "ext0", "device": f"net_af_packet0,iface=ext{pairs}", "queues": queues, "role": "external",
                 "mac": N1_MAC, "addresses": [f"{EXT}/64"]},
                {"name": "fab0", "device": f"net_af_packet1,iface=fab{pairs}", "queues": queues, "role": "fabric",
                 "addresses": ["fd00:f::1/64"]},
            ],
            routes=[{"prefix": prefix, "via": "fd00:f::2", "port": "fab0"} for prefix in (L2, "2001:db8:2::/64")],
            mappings={"file": self.mapping_file},
        )  # fmt: skip
        self.n1.config["dpdk"]["workers"] = list(range(queues))
        self.n2 = lab.node(
            ns2, "n2", 1,
            locators=[{"prefix": L2, "domain": "tasks"}],
            ports=[
                {"name": "fab0", "device": "net_af_packet0,iface=fab", "role": "fabric", "addresses": ["fd00:f::2/64"]},
                {"name": "acc0", "device": "net_af_packet1,iface=acc", "role": "access", "addresses": [f"{PLAIN}/64"],
                 "router_advertisement": {"prefix": "2001:db8:dddd::/64", "interval_s": 10}},
            ],
            attachments=[{"port": "acc0", "mac": T1_MAC, "identifiers": [T1], "prefixes": [f"{T1_PLAIN}/128"]}],
            routes=[{"prefix": "::/0", "via": "fd00:f::1", "port": "fab0"}],
        )  # fmt: skip
        self.nodes = [self.n1, self.n2]
        self.t1.run(f"ip link set eth0 address {T1_MAC}")
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.ready()
        self.attach()
        self.t1.addr("eth0", f"{T1_PLAIN}/64")
        task_up(self.t1, T1)

    def attach(self):
        """What Linux forgets when its link goes down."""
        self.inet.run(f"ip -6 addr replace {H1}/64 dev eth0 nodad")
        self.inet.route(f"default via {EXT}")

    def map(self, mapping):
        """Replaces the mapping file."""
        with open(f"{self.mapping_file}.new", "w") as file:
            file.write(f"mappings:\n  - {mapping}\n")
        os.replace(f"{self.mapping_file}.new", self.mapping_file)


def reaches_all(net):
    expect(net.n1.ns.mac("ext") == N1_MAC, f"the port has {net.n1.ns.mac('ext')}, not the configured address")
    for to in (EXT, f"{N1_LINK_LOCAL}%eth0", T1_PLAIN, T1):
        net.inet.reaches(to, 5)
    net.inet.reaches(T1, extra=("-s", 1352))
    net.t1.reaches(H1, extra=("-I", T1))
    # An identifier that has no mapping, and a neighbour that says nothing.
    net.inet.refused("2001:db8:dddd:0:2000::77", "nreachable")
    net.inet.refused("2001:db8:2::99", "nreachable")


def transfers(net):
    for words in ([], ["-R"]):
        server = net.t1.spawn(["iperf3", "-6", "-s", "-1", "-B", T1])
        until(lambda: ":5201" in net.t1.run("ss -Hltn"), "iperf3")
        text = net.inet.run(["iperf3", "-6", "-c", T1, "-t", 1, *words])
        expect("receiver" in text and server.wait() == 0, text)


def follows_the_mapping_file(net):
    net.map(f'{{sir: "{T1}", blackhole: true}}')
    until(lambda: not net.inet.answered(T1) and net.n1.drops().get("blackhole"), "a changed mapping file to be applied")
    net.map(f'{{sir: "{T1}", locators: ["{L2}"]}}')
    until(lambda: net.inet.answered(T1), "the mapping to come back")
    net.map("{sir: nonsense}")
    net.n1.process.wait_for("mapping file is refused")
    net.inet.reaches(T1)
    net.map(f'{{sir: "{T1}", locators: ["{L2}"]}}')


def reloads(net):
    def change(n):
        net.n1.config["routes"].append({"prefix": f"2001:db8:3{n}::/48", "via": "fd00:f::2", "port": "fab0"})
        net.n1.write().process.send(signal.SIGHUP)
        net.n1.process.wait_for("configuration reloaded", n)

    lossless(net, change)
    net.n1.config["ports"][0]["mtu"] = 1400
    net.n1.write().process.send(signal.SIGHUP)
    net.n1.process.wait_for("reload refused")
    expect("ports[0].mtu" in net.n1.log(), "the message does not say what needs a restart")
    del net.n1.config["ports"][0]["mtu"]


def survives_its_link(net):
    up = lambda: net.n1.show("port", "list")[0]["up"]  # noqa: E731
    net.inet.run("ip link set eth0 down")
    until(lambda: not up(), "the link to be seen down")
    net.inet.run("ip link set eth0 up")
    net.attach()
    until(up, "the link to be seen up")
    until(lambda: net.inet.answered(T1), "traffic after the link was down")
    net.inet.reaches(T1)


def smoke(queues):
    with Lab("ilas") as lab:
        net = TwoNodes(lab, queues)
        for part in (reaches_all, transfers, follows_the_mapping_file, reloads, survives_its_link):
            part(net)
        expect(any(name.startswith("ilagate_received_packets_total") for name in net.n1.metrics()), "no metrics")
        for node in net.nodes:
            node.stop()
            expect(not os.path.exists(node.socket), f"{node.ns.name} left its socket")


def test_two_nodes_with_one_queue_a_port():
    smoke(1)


def test_two_nodes_with_two_queues_a_port():
    smoke(2)
