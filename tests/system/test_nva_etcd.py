"""Authorities in front of one etcd."""

import json

from lab import Lab, binary
from nva import Authority, Etcd, EtcdPki, follow, newer_etcd
from reference import INET, L1, L2, T1, T2, Network, task_up
from test_nva import Domain
from wait import expect, need, until

SESSION = "ilagate_nva_session"
REGISTERED = 'ilagate_nva_registrations{state="registered"}'


def learned(node):
    return {mapping["sir"] for mapping in node.show("mapping", "list", "--origin", "nva")}


def knows(node, *sirs):
    until(lambda: set(sirs) <= learned(node), f"{node.ns.name} to know {sirs}")


class Shared:
    """The reference network under two authorities: the gateway and NVE1 prefer the first one, NVE2 the second one."""

    def __init__(self, lab, pki=None, directory=None):
        need("etcd")
        self.lab, self.net = lab, Network(lab, start=False)
        self.names = [node.config["node"]["name"] for node in self.net.nodes]
        nves = dict(zip(self.names, ([], [L1], [L2])))
        self.etcd = Etcd(lab, self.net.fab, pki=pki, directory=directory)
        self.nva1, self.nva2 = (
            Authority(lab, self.net.fab, self.net.domain, nves, name=name, etcd=self.etcd, lease_s=3)
            for name in ("nva1", "nva2")
        )
        follow(self.net.gw, self.nva1, self.nva2)
        follow(self.net.nve1, self.nva1, self.nva2)
        follow(self.net.nve2, self.nva2, self.nva1)

    def start(self):
        self.etcd.start()
        if self.etcd.pki:
            self.etcd.restrict()
        for nva in (self.nva1, self.nva2):
            nva.start()
        for node in self.net.nodes:
            node.launch()
        for node in self.net.nodes:
            node.ready()
        task_up(self.net.t1, T1)
        task_up(self.net.t2, T2)
        knows(self.net.gw, T1, T2)
        knows(self.net.nve1, T2)
        knows(self.net.nve2, T1)
        return self

    def ask(self, nva, *words, check=True):
        done = self.lab.host([binary("ilactl"), "--json", "nva", "--nva", nva.endpoint, *words], check)
        return json.loads(done.stdout) if check else done.stdout

    def sessions(self, nva):
        """NVEs by the authority at which they have a session, as this one sees it."""
        return {nve["name"]: nve["authority"] for nve in self.ask(nva, "nves")}

    def stop(self):
        self.net.stop()
        for nva in (self.nva1, self.nva2):
            if nva.process.alive():
                nva.stop()
        self.etcd.stop()


def test_nodes_at_two_authorities_learn_from_each_other_and_each_knows_who_is_where():
    with Lab("ilav") as lab:
        domain = Shared(lab).start()
        net, (gw, nve1, nve2) = domain.net, domain.names
        net.t1.reaches(T2)
        net.inet.reaches(T2)
        for nva in (domain.nva1, domain.nva2):
            until(lambda nva=nva: domain.sessions(nva) == {gw: "nva1", nve1: "nva1", nve2: "nva2"},
                  f"{domain.sessions(nva)}")  # fmt: skip
        told = domain.ask(domain.nva1, "release", T2, check=False)
        expect(f"is registered by {nve2}, which has a session at nva2" in told, told)
        # What is released at one authority is forgotten by the nodes of both.
        net.nve2.config["attachments"] = []
        net.nve2.reload()
        until(lambda: T2 not in learned(net.gw) | learned(net.nve1), "the others to forget task 2")
        domain.stop()


def test_an_authority_ends_and_its_nodes_go_to_the_other_one():
    with Lab("ilav") as lab:
        domain = Shared(lab).start()
        net, (gw, nve1, nve2) = domain.net, domain.names
        domain.nva1.kill()
        until(lambda: domain.sessions(domain.nva2) == {gw: "nva2", nve1: "nva2", nve2: "nva2"},
              "everybody to be at nva2")  # fmt: skip
        net.t1.reaches(T2)
        # The registry is what it was, and lives on.
        extra = T1[:-1] + "77"
        net.nve1.config["attachments"][0]["identifiers"].append(extra)
        net.nve1.reload()
        knows(net.nve2, extra)
        domain.nva1.start()
        domain.nva2.stop()
        until(lambda: domain.sessions(domain.nva1) == {gw: "nva1", nve1: "nva1", nve2: "nva1"},
              "everybody to be at nva1")  # fmt: skip
        expect({record["sir"] for record in domain.ask(domain.nva1, "records")} == {T1, T2, extra}, "the registry")
        net.t1.reaches(T2)
        domain.stop()


def test_authorities_before_etcd_3_5_share_a_registry_and_get_over_its_end():
    with Lab("ilav") as lab:
        domain = Shared(lab, directory=newer_etcd()).start()
        net = domain.net
        _, version = domain.etcd.ctl("endpoint", "status", "-w", "json")
        expect('"version":"3.5.' in version, version)
        domain.etcd.kill("etcd1")
        domain.nva1.process.wait_for("the store is away")
        extra = T1[:-1] + "77"
        net.nve1.config["attachments"][0]["identifiers"].append(extra)
        net.nve1.reload()
        net.t1.reaches(T2)
        domain.etcd.start("etcd1")
        knows(net.nve2, extra)
        domain.stop()


def test_a_registry_moves_from_a_file_into_etcd_while_nodes_forward():
    need("etcd")
    with Lab("ilav") as lab:
        domain = Domain(lab).start()
        net, nva = domain.net, domain.nva
        knows(net.gw, T1, T2)
        knows(net.nve1, T2)
        etcd, old = Etcd(lab, net.fab).start(), dict(nva.config["store"])
        nva.stop()
        nva.config["store"] = {"etcd": {"endpoints": etcd.endpoints(), "prefix": etcd.PREFIX}}
        status, told = net.fab.status([binary("ila-nva"), "migrate", "--config", nva.write(), "--from", old["path"]])
        expect(status == 0 and ", 2 identifiers, 0 released" in told and told.count("\n") == 1, told)
        net.t1.reaches(T2)
        net.inet.reaches(T1)
        # Nobody goes on with the file.
        new, nva.config["store"] = nva.config["store"], old
        status, told = net.fab.status([binary("ila-nva"), "run", "--config", nva.write()])
        expect(status == 1 and f"its registry moved to etcd {etcd.endpoints()[0]} {etcd.PREFIX}" in told, told)
        nva.config["store"] = new
        nva.start()
        for node in net.nodes:
            until(lambda node=node: node.metrics()[SESSION] == 1, f"{node.ns.name} to have a session")
        registered = lambda: {record["sir"] for record in nva.ctl("records")}  # noqa: E731
        expect(registered() == {T1, T2}, f"{registered()} is registered")
        net.t1.reaches(T2)
        net.inet.reaches(T1)
        # Everybody said what it has: new identifiers are given out again, without anybody's help.
        until(lambda: not nva.ctl("status")["restored"], "the wait after the move to end")
        extra = T1[:-1] + "77"
        net.nve1.config["attachments"][0]["identifiers"].append(extra)
        net.nve1.reload()
        knows(net.nve2, T1, extra)
        domain.stop()
        etcd.stop()


def test_etcd_goes_and_comes_back_and_what_waits_is_registered():
    with Lab("ilav") as lab:
        domain = Shared(lab).start()
        net = domain.net
        domain.etcd.kill("etcd1")
        domain.nva1.process.wait_for("the store is away")
        extra = T1[:-1] + "77"
        net.nve1.config["attachments"][0]["identifiers"].append(extra)
        net.nve1.reload()
        # Sessions, what is known and forwarding stay.
        for node in net.nodes:
            expect(node.metrics()[SESSION] == 1, f"{node.ns.name} has no session")
        expect({record["sir"] for record in domain.ask(domain.nva1, "records")} == {T1, T2}, "the registry")
        expect(net.nve1.metrics()[REGISTERED] == 1, "it is registered nowhere")
        net.t1.reaches(T2)
        net.inet.reaches(T1)
        domain.etcd.start("etcd1")
        knows(net.nve2, extra)
        until(lambda: net.nve1.metrics()[REGISTERED] == 2, "the answer")
        domain.nva1.process.wait_for("the store is back")
        until(lambda: set(domain.sessions(domain.nva2).values()) == {"nva1", "nva2"}, "the sessions to be told again")
        domain.stop()


def test_an_etcd_with_certificates_gives_authorities_one_prefix():
    with Lab("ilav") as lab:
        domain = Shared(lab, EtcdPki(lab)).start()
        domain.net.t1.reaches(T2)
        domain.net.inet.reaches(T1)
        expect(INET not in learned(domain.net.gw), "an Internet host is known")
        # Another prefix is not for it, and that is told.
        domain.nva2.stop()
        domain.nva2.config["store"]["etcd"]["prefix"] = "/other"
        status, told = domain.net.fab.status([binary("ila-nva"), "check", domain.nva2.write()])
        expect(status == 0, told)
        status, told = domain.net.fab.status([binary("ila-nva"), "run", "--config", domain.nva2.file])
        expect(status == 1 and "permission denied" in told, told)
        domain.stop()
