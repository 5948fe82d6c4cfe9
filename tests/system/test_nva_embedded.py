"""An authority inside the gateway, which the other nodes join."""

import os
import signal

from lab import Lab, binary
from nva import Authority, Management, Pki, embed, follow
from reference import L1, L2, T1, T2, Network, task_up
from wait import expect, until

SESSION = "ilagate_nva_session"


class Site:
    """The reference network, whose gateway has the authority. The others come with certificates."""

    def __init__(self, lab):
        self.net = net = Network(lab, start=False)
        self.names = gw, nve1, nve2 = [node.config["node"]["name"] for node in net.nodes]
        pki, management = Pki(lab), Management(lab)
        tls, _ = pki.issue("nva", "nva1")
        self.nva = Authority(lab, management.ns, net.domain, {gw: [], nve1: [L1], nve2: [L2]}, tls)
        for node in net.nodes:
            management.join(node)
        # The gateway is the second at the management network.
        self.nva.config["listen"] = ["https://192.168.127.2:7700", f"unix:{self.nva.socket}"]
        self.nva.endpoint = self.nva.config["listen"][0]
        for node, name in zip(net.nodes[1:], self.names[1:]):
            follow(node, self.nva, tls=pki.issue("nve", name)[0])
            node.config["node"]["state_dir"] = lab.path("state")
        embed(net.gw, self.nva)
        net.gw.config["node"]["state_dir"] = lab.path("state")

    def start(self):
        for node in self.net.nodes:
            node.launch()
        for node in self.net.nodes:
            node.ready()
        for task, address in ((self.net.t1, T1), (self.net.t2, T2)):
            task_up(task, address)
        return self

    def live(self):
        for node in self.net.nodes:
            until(lambda node=node: node.metrics()[SESSION] == 1, f"{node.ns.name} to have a session")


def knows(node, *sirs):
    known = lambda: {mapping["sir"] for mapping in node.show("mapping", "list", "--origin", "nva")}  # noqa: E731
    until(lambda: set(sirs) <= known(), f"{node.ns.name} to know {sirs}")


def test_the_authority_of_a_gateway_serves_the_gateway_and_those_that_join():
    with Lab("ilav") as lab:
        site = Site(lab).start()
        net = site.net
        knows(net.gw, T1, T2)
        knows(net.nve1, T2)
        net.t1.reaches(T2)
        net.inet.reaches(T1)
        # It has the same API for operators.
        site.nva.endpoint = f"unix:{site.nva.socket}"
        expect({nve["name"] for nve in site.nva.ctl("nves")} == set(site.names), "not all NVEs")
        # The gateway is killed and starts again: the others forward meanwhile, and all is as it was.
        net.gw.process.stop(signal.SIGKILL)
        until(lambda: net.nve1.metrics()[SESSION] == 0, "the session to end")
        net.t1.reaches(T2)
        net.gw.start()
        site.live()
        knows(net.gw, T1, T2)
        net.inet.reaches(T2)
        # A reload of the node's process is one of the authority's, too.
        site.nva.config["nves"][2]["max_identifiers"] = 0
        site.nva.write()
        net.gw.process.send(signal.SIGHUP)
        until(lambda: any("reloaded" in line and "nves" in line for line in net.gw.log().splitlines()), "the reload of the authority")
        net.stop()
        expect(not os.path.exists(site.nva.socket), "the socket was left behind")


def test_a_gateway_whose_authority_does_not_start_forwards_and_tries_again():
    with Lab("ilav") as lab:
        site = Site(lab).start()
        net = site.net
        knows(net.gw, T1, T2)
        net.gw.stop()
        os.rename(site.nva.store, site.nva.store + ".aside")
        with open(site.nva.store, "wb") as file:
            file.write(b"this is no registry" * 1000)
        net.gw.start()
        until(lambda: "the embedded authority does not serve" in net.gw.log(), "the gateway to tell of it")
        net.inet.reaches(T1)
        os.rename(site.nva.store + ".aside", site.nva.store)
        site.live()
        net.inet.reaches(T2)
        net.stop()


def test_an_embedded_authority_that_its_node_cannot_use_is_refused_at_once():
    with Lab("ilav") as lab:
        site = Site(lab)
        gw = site.net.gw
        written = lambda: lab.host([binary("ilagate"), "check", gw.write().file], check=False)  # noqa: E731
        expect(written().returncode == 0, "refused")
        listen, nves = site.nva.config["listen"], site.nva.config["nves"]
        for changed, said in (
            ({"listen": listen[:1]}, "no Unix socket"),
            ({"nves": nves[1:]}, f"no entry {site.names[0]}"),
            ({"store": {}}, "store"),
        ):  # fmt: skip
            before = {key: site.nva.config[key] for key in changed}
            site.nva.config.update(changed)
            site.nva.write()
            done = written()
            expect(done.returncode == 1 and said in done.stdout, f"{changed}: {done.stdout}")
            site.nva.config.update(before)
