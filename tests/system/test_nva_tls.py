"""Sessions between machines: by mutual TLS over a management network beside the fabric."""

import os
import time

from lab import Lab, binary
from nva import PORT, Authority, Management, Pki, follow
from reference import INET, L1, L2, T1, T2, Network
from test_nva import Domain
from wait import expect, until

SESSION = "ilagate_nva_session"


class TlsDomain(Domain):
    """The reference network under an authority that is reached by TLS."""

    def __init__(self, lab):
        self.lab, self.net = lab, Network(lab, start=False)
        self.pki, self.management = Pki(lab), Management(lab)
        self.names = [node.config["node"]["name"] for node in self.net.nodes]
        gw, nve1, nve2 = self.names
        tls, self.serial = self.pki.issue("nva", "nva1")
        self.revoked = lab.path("revoked")
        self.revoke("# nobody")
        tls = dict(tls, revoked=self.revoked)
        nves = {gw: [], nve1: [L1], nve2: [L2]}
        self.nva = Authority(lab, self.management.ns, self.net.domain, nves, tls)
        self.serials = {}
        for node, name in zip(self.net.nodes, self.names):
            self.management.join(node)
            tls, self.serials[name] = self.pki.issue("nve", name)
            follow(node, self.nva, tls=tls)

    def revoke(self, line):
        with open(self.revoked + ".new", "w") as file:
            file.write(line + "\n")
        os.rename(self.revoked + ".new", self.revoked)

    def start(self):
        super().start()
        self.all_live()
        return self

    def all_live(self):
        for node in self.net.nodes:
            until(lambda node=node: node.metrics()[SESSION] == 1, f"{node.ns.name} to have a session")


def test_nodes_learn_by_mutual_tls_and_a_revoked_one_loses_its_session_within_seconds():
    with Lab("ilat") as lab:
        domain = TlsDomain(lab).start()
        net, nva = domain.net, domain.nva
        net.t1.reaches(T2)
        net.inet.reaches(T1)
        # By name.
        _, nve1, nve2 = domain.names
        domain.revoke(f"identity ilagate://lab/nve/{nve2}")
        until(lambda: net.nve2.metrics()[SESSION] == 0, "the revoked session to end", 10)
        until(lambda: "is revoked" in net.nve2.log(), "the reason at the node")
        expect("is revoked" in nva.log(), "the authority does not say why")
        expect(net.nve1.metrics()[SESSION] == 1, "another session ended, too")
        # It forwards on what it knows, and comes back once it is trusted again.
        net.t1.reaches(T2)
        domain.revoke(f"serial {domain.serials[nve1]}")
        until(lambda: net.nve2.metrics()[SESSION] == 1, "the session to come back", 30)
        until(lambda: net.nve1.metrics()[SESSION] == 0, "the session with the revoked serial to end", 10)
        # A new certificate has another serial, and needs no restart.
        tls = net.nve1.config["nva"]["tls"]
        for file in (tls["certificate"], tls["key"]):
            os.rename(file, file + ".old")
        domain.pki.issue("nve", nve1)
        until(lambda: net.nve1.metrics()[SESSION] == 1, "the new certificate to be used", 30)
        domain.stop()


def test_an_authority_that_is_revoked_at_a_node_loses_its_session_within_seconds():
    with Lab("ilat") as lab:
        domain = TlsDomain(lab)
        net = domain.net
        listed = lab.path("revoked-authorities")

        def revoke(line):
            with open(listed + ".new", "w") as file:
                file.write(line + "\n")
            os.rename(listed + ".new", listed)

        revoke("# nobody")
        net.nve1.config["nva"]["tls"]["revoked"] = listed
        domain.start()
        for line in ("identity ilagate://lab/nva/nva1", f"serial {domain.serial}"):
            revoke(line)
            until(lambda: net.nve1.metrics()[SESSION] == 0, f"the session to end: {line}", 10)
            until(lambda: "nva/nva1 is revoked" in net.nve1.log(), "the reason at the node")
            expect(net.nve2.metrics()[SESSION] == 1, "the session of another node ended, too")
            # It forwards on what it knows, and no handshake is believed either.
            net.t1.reaches(T2)
            # With a list that cannot be read nobody is believed.
            revoke("nonsense")
            time.sleep(3)
            expect(net.nve1.metrics()[SESSION] == 0, "there is a session again")
            revoke("# nobody")
            until(lambda: net.nve1.metrics()[SESSION] == 1, "the session to come back", 30)
        domain.stop()


def test_a_new_certificate_authority_takes_over_without_a_restart():
    with Lab("ilat") as lab:
        domain = TlsDomain(lab).start()
        net = domain.net
        new = Pki(lab, directory="pki2")
        sides = [(domain.nva.config["tls"], "nva", "nva1")]
        sides += [(node.config["nva"]["tls"], "nve", name) for node, name in zip(net.nodes, domain.names)]
        both = open(sides[0][0]["authorities"]).read() + open(os.path.join(new.directory, "ca.pem")).read()

        def replace(path, text):
            mode = os.stat(path).st_mode & 0o777
            with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
                file.write(text)
            os.rename(path + ".new", path)

        # First everybody believes both, then everybody shows the new one, then nobody believes the old one.
        replace(sides[0][0]["authorities"], both)
        until(lambda: domain.nva.log().count("were read again") == 1, "the authority to believe both")
        for tls, role, name in sides:
            files, _ = new.issue(role, name)
            for key in ("key", "certificate"):
                replace(tls[key], open(files[key]).read())
        until(lambda: domain.nva.log().count("were read again") == 2, "the authority to show the new one")
        expect(all(node.metrics()[SESSION] == 1 for node in net.nodes), "a session ended")
        replace(sides[0][0]["authorities"], open(os.path.join(new.directory, "ca.pem")).read())
        # Sessions that began with the old certificates end, and begin again with the new ones.
        until(lambda: domain.nva.log().count("not valid here") == 3, "the sessions of old certificates to end", 20)
        domain.all_live()
        net.t1.reaches(T2)
        net.t1.reaches(INET)
        domain.stop()


def test_a_node_with_the_certificate_of_another_says_so_and_has_no_session():
    with Lab("ilat") as lab:
        domain = TlsDomain(lab)
        net = domain.net
        net.nve2.config["nva"]["tls"] = net.nve1.config["nva"]["tls"]
        domain.nva.start()
        for node in net.nodes:
            node.launch()
            node.ready()
        told = f"it is of ilagate://lab/nve/{domain.names[1]}, and this node is the NVE {domain.names[2]}"
        until(lambda: told in net.nve2.log(), "the mistake to be told")
        until(lambda: net.nve1.metrics()[SESSION] == 1, "the right one to have a session")
        expect(net.nve2.metrics()[SESSION] == 0, "the wrong one has a session")
        domain.stop()


def test_strangers_who_say_nothing_or_garbage_do_not_keep_a_node_out():
    with Lab("ilat") as lab:
        domain = TlsDomain(lab).start()
        net = domain.net
        # Strangers on the management network: here the namespace of the gateway, which is part of it.
        crowd = "import socket,sys,time\n" \
            f"all=[socket.create_connection(('192.168.127.1',{PORT})) for _ in range(900)]\n" \
            "for n,s in enumerate(all):\n" \
            "    if n%3==0: s.send(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n')\n" \
            "    if n%3==1: s.send(bytes([22,3,1,2,0])+bytes(512))\n" \
            "print('all there',flush=True)\ntime.sleep(8)\n"
        strangers = net.gw.ns.spawn(["python3", "-c", crowd], dict(os.environ))
        strangers.wait_for("all there")
        net.nve1.stop()
        net.nve1.launch()
        net.nve1.ready()
        until(lambda: net.nve1.metrics()[SESSION] == 1, "a node to come in among them")
        expect(net.nve2.metrics()[SESSION] == 1, "a session ended")
        expect("a connection is refused" in domain.nva.log(), "nothing is told of strangers")
        expect(len(domain.nva.log()) < 100_000, "strangers fill the log")
        strangers.wait()
        domain.stop()


def test_an_nves_certificate_changes_nothing_that_operators_want():
    with Lab("ilat") as lab:
        domain = TlsDomain(lab).start()
        mine = domain.net.nve1.config["nva"]["tls"]
        words = [binary("ilactl"), "nva", "--nva", domain.nva.endpoint, "--tls-cert", mine["certificate"],
                 "--tls-key", mine["key"], "--tls-ca", mine["authorities"]]  # fmt: skip
        for asked in (["network", "list"], ["policy", "add", "outside", "red"], ["attachment", "del", "nve1", "vm1"]):
            status, said = domain.net.nve1.ns.status([*words, *asked])
            expect(status == 1 and "and not of an operator" in said, said)
        domain.stop()
