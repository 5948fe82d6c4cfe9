"""The demo of several authorities: two before an etcd of three members, by mutual TLS everywhere. See scripts/demo."""

import copy
import json
import sys
import threading
import time

from demo import right, run, show, step
from demo_nva import SESSION, Operator, learned, live, transfer, transferred
from nva import Authority, Etcd, EtcdPki, Management, Pki, follow
from reference import L1, L2, T1, T2, Network, task_up
from traffic import Pings
from wait import expect, until

REGISTERED = 'ilagate_nva_registrations{state="registered"}'


class Registrations:
    """A node gets identifier after identifier, and each is registered."""

    def __init__(self, node):
        self.node, self.sirs, self.wanted = node, node.config["attachments"][0]["identifiers"], True
        self.thread = threading.Thread(target=self._go)
        self.thread.start()

    def _go(self):
        while self.wanted:
            self.sirs.append(f"{T1[:-1]}{0x1000 + len(self.sirs):x}")
            self.node.reload()
            time.sleep(0.2)

    def acknowledged(self):
        return int(self.node.metrics()[REGISTERED])

    def end(self):
        """How many there are, when all of them are acknowledged."""
        self.wanted = False
        self.thread.join()
        until(lambda: self.acknowledged() == len(self.sirs), "everything to be registered")
        return len(self.sirs)


def at(operator, nva):
    """The same operator at another authority."""
    other = copy.copy(operator)
    other.nva, other.words = nva, ["--nva", nva.endpoint, *operator.words[2:]]
    return other


def fault(net, operators, what, kill):
    """Something is killed while a transfer, a ping and registrations go on. Nothing acknowledged is lost."""
    server, client = transfer(net, 10)
    pings = Pings(net.inet, T2, 0.05)
    registrations = Registrations(net.nve1)
    before = registrations.acknowledged()
    until(lambda: registrations.acknowledged() >= before + 3, "registrations")
    survivors = kill()
    at_the_fault = registrations.acknowledged()
    until(lambda: registrations.acknowledged() >= at_the_fault + 5, "registrations to go on")
    count = registrations.end()
    for nva in survivors:
        there = {record["sir"] for record in json.loads(operators[nva].asks("--json", "records"))}
        expect(set(registrations.sirs) <= there, f"{nva.config['nva']['name']} lacks what was acknowledged")
    until(lambda: set(registrations.sirs) <= learned(net.gw), "the gateway to learn of all")
    right(f"{what}: {count} registrations acknowledged, {at_the_fault} of them before it, and all of them are there")
    megabytes, least = transferred(server, client)
    expect(least > 0, "the transfer stood still for a second")
    sent, answered = pings.end()
    expect(answered == sent, f"{sent - answered} of {sent} pings were lost")
    right(f"{megabytes:.0f} MB transferred, in the worst second {least:.0f} Mbit/s; none of {sent} pings was lost")


def demo(lab):
    step(
        "Three members of etcd, two authorities, three nodes",
        "The registry is in etcd: every authority writes it and follows it. Certificates everywhere; that of the",
        "authorities may use one prefix of etcd. The gateway and NVE1 have their sessions at nva1, NVE2 at nva2.",
    )
    net = Network(lab, start=False)
    names = [node.config["node"]["name"] for node in net.nodes]
    pki, management = Pki(lab), Management(lab)
    etcd = Etcd(lab, management.ns, members=3, pki=EtcdPki(lab)).start().restrict()
    nvas = []
    for name in ("nva1", "nva2"):
        tls, _ = pki.issue("nva", name)
        nva = Authority(lab, management.ns, net.domain, dict(zip(names, ([], [L1], [L2]))), tls, name, etcd, lease_s=3)
        nva.config["operators"] = [{"name": "alice", "role": "admin"}]
        nvas.append(nva.start())
    nva1, nva2 = nvas
    alice = Operator(nva1, pki)
    operators = {nva1: alice, nva2: at(alice, nva2)}
    for node, name, order in zip(net.nodes, names, ((nva1, nva2), (nva1, nva2), (nva2, nva1))):
        management.join(node)
        tls, _ = pki.issue("nve", name)
        follow(node, *order, tls=tls)
        node.launch()
    for node in net.nodes:
        node.ready()
    for node, sirs in ((net.gw, {T1, T2}), (net.nve1, {T2}), (net.nve2, {T1})):
        until(lambda node=node, sirs=sirs: sirs <= learned(node), f"{node.ns.name} to learn of {sirs}")
    task_up(net.t1, T1)
    task_up(net.t2, T2)
    net.t1.reaches(T2)
    show(operators[nva1].asks("nves"))
    right("what NVE2 told nva2 the others learned from nva1, and T1 reaches T2")

    leader = etcd.leader()
    member = next(name for name in etcd.names if name != leader)
    step("A member of etcd is killed", f"{member}, under registrations, a TCP transfer and a ping. {leader} leads.")

    def kill_member():
        etcd.kill(member)
        return nvas

    fault(net, operators, f"{member} is killed", kill_member)
    etcd.start(member)
    until(lambda: etcd.ctl("endpoint", "health", check=False)[0] == 0, "all members to be healthy")

    leader = etcd.leader()
    step("The leader of etcd is killed", f"{leader}. The others elect another one.")

    def kill_leader():
        etcd.kill(leader)
        return nvas

    fault(net, operators, f"{leader} is killed", kill_leader)
    right(f"{etcd.leader()} leads now")
    etcd.start(leader)
    until(lambda: etcd.ctl("endpoint", "health", check=False)[0] == 0, "all members to be healthy")

    step("An authority is killed", "nva1, at which the gateway and NVE1 have their sessions. They go to nva2.")

    def kill_authority():
        nva1.kill()
        return [nva2]

    fault(net, operators, "nva1 is killed", kill_authority)
    live(net.nodes)
    show(operators[nva2].asks("nves"))
    nva1.start()
    until(lambda: "nva2" in operators[nva1].asks("nves"), "nva1 to know who is at nva2")
    right("nva1 is back, and knows who is at nva2")
    expect(all(node.metrics()[SESSION] == 1 for node in net.nodes), "a node has no session")

    net.stop()
    for nva in nvas:
        nva.stop()
    etcd.stop()


if __name__ == "__main__":
    sys.exit(run(demo))
