"""Authorities in front of one etcd."""

import signal

from lab import Lab
from nva import Authority, Etcd, follow
from reference import L1, L2, T1, T2, Network, task_up
from wait import expect, until

SESSION = "ilagate_nva_session"


def learned(node):
    return {mapping["sir"] for mapping in node.show("mapping", "list", "--origin", "nva")}


class Shared:
    """The reference network under two authorities: the gateway and NVE1 prefer the first one, NVE2 the second one."""

    def __init__(self, lab):
        self.net = Network(lab, start=False)
        gw, nve1, nve2 = (node.config["node"]["name"] for node in self.net.nodes)
        nves = {gw: [], nve1: [L1], nve2: [L2]}
        self.etcd = Etcd(lab, self.net.fab)
        self.nva1, self.nva2 = (
            Authority(lab, self.net.fab, self.net.domain, nves, name=name, etcd=self.etcd) for name in ("nva1", "nva2")
        )
        follow(self.net.gw, self.nva1, self.nva2)
        follow(self.net.nve1, self.nva1, self.nva2)
        follow(self.net.nve2, self.nva2, self.nva1)

    def start(self):
        self.etcd.start()
        for nva in (self.nva1, self.nva2):
            nva.start()
        for node in self.net.nodes:
            node.launch()
        for node in self.net.nodes:
            node.ready()
        task_up(self.net.t1, T1)
        task_up(self.net.t2, T2)
        return self

    def stop(self):
        self.net.stop()
        for nva in (self.nva1, self.nva2):
            nva.stop()
        self.etcd.stop()


def knows(node, *sirs):
    until(lambda: set(sirs) <= learned(node), f"{node.ns.name} to know {sirs}")


def test_nodes_at_two_authorities_learn_from_each_other():
    with Lab("ilav") as lab:
        domain = Shared(lab).start()
        net = domain.net
        knows(net.gw, T1, T2)
        knows(net.nve1, T2)
        knows(net.nve2, T1)
        net.t1.reaches(T2)
        domain.stop()
