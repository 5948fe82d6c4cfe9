"""The authority: nodes without a mapping file, which register and learn."""

import ipaddress
import os
import shutil
import signal
import time

from lab import Lab, binary
from nva import Authority, follow
from reference import INET, L1, L2, T1, T2, Network, task_up
from wait import expect, until


class Domain:
    """The reference network under an authority."""

    def __init__(self, lab, nves=None, **sessions):
        self.net = Network(lab, start=False)
        names = [node.config["node"]["name"] for node in self.net.nodes]
        gw, nve1, nve2 = names
        nves = nves or {gw: [], nve1: [L1], nve2: [L2]}
        self.nva = Authority(lab, self.net.fab, self.net.domain, nves, **sessions)
        for node in self.net.nodes:
            follow(node, self.nva)

    def start(self):
        self.nva.start()
        for node in self.net.nodes:
            node.launch()
        for node in self.net.nodes:
            node.ready()
        task_up(self.net.t1, T1)
        task_up(self.net.t2, T2)
        return self

    def knows(self, node, *sirs):
        """Waits until the node has the authority's mappings of these."""
        known = lambda: {m["sir"] for m in node.show("mapping", "list", "--origin", "nva")}  # noqa: E731
        until(lambda: set(sirs) <= known(), f"{node.ns.name} to know {sirs}")

    def stop(self):
        self.net.stop()
        self.nva.stop()


def test_nodes_without_a_mapping_file_learn_from_each_other():
    with Lab("ilav") as lab:
        domain = Domain(lab).start()
        net = domain.net
        domain.knows(net.gw, T1, T2)
        net.t1.reaches(T2)
        net.t1.reaches(INET)
        net.inet.reaches(T2)
        metrics = net.nve1.metrics()
        expect(metrics["ilagate_nva_session"] == 1, "no session")
        shown = net.nve1.ctl("node", "show")
        expect("authority    session, revision 2 applied, 1 identifiers registered" in shown, shown)
        expect(metrics['ilagate_nva_registrations{state="registered"}'] == 1, "not registered")
        # A task that goes is forgotten everywhere.
        net.nve2.config["attachments"] = []
        net.nve2.reload()
        until(lambda: net.gw.metrics()["ilagate_mappings{domain=\"tasks\"}"] == 1, "the gateway to forget task 2")
        domain.stop()


def test_the_authority_goes_and_comes_back_and_traffic_does_not_notice():
    with Lab("ilav") as lab:
        domain = Domain(lab).start()
        net = domain.net
        domain.knows(net.gw, T1, T2)
        domain.knows(net.nve1, T2)
        domain.nva.kill()
        until(lambda: net.nve1.metrics()["ilagate_nva_session"] == 0, "the session to end")
        net.t1.reaches(T2)
        net.inet.reaches(T1)
        domain.nva.start()
        until(lambda: net.nve1.metrics()["ilagate_nva_session"] == 1, "the session to come back")
        # The registry was durable.
        expect("records=2" in domain.nva.log(), domain.nva.log())
        net.t1.reaches(T2)
        domain.stop()


def test_a_node_makes_identifiers_of_tasks_from_the_block_that_it_leases():
    with Lab("ilav") as lab:
        domain = Domain(lab)
        net = domain.net
        for node in (net.nve1, net.nve2):
            node.config["nva"]["blocks"] = ["tasks"]
        domain.start()
        one, two = made_by(net.nve1, 2), made_by(net.nve2, 2)
        expect(len({*one, *two}) == 4 and block(one[0]) != block(two[0]), f"{one} and {two}")
        # What was made is registered as any other, and known to all.
        net.nve1.config["attachments"][0]["identifiers"].append(one[0])
        net.nve1.reload()
        domain.knows(net.gw, one[0])
        # A node that starts anew goes on in its block.
        expect(net.nve1.process.stop(signal.SIGKILL) == -signal.SIGKILL, "the end of the node")
        net.nve1.start()
        again = made_by(net.nve1, 1)
        expect(again[0] not in one and block(again[0]) == block(one[0]), f"{again} after {one}")
        domain.stop()


def block(sir):
    """The block that an identifier is in."""
    return int(ipaddress.IPv6Address(sir)) >> 36


def made_by(node, count):
    """Identifiers that a node makes, once it can: it has to have a session, and 100 come each second."""
    made = []

    def make():
        said = node.ctl("id", "make", "--domain", "tasks", "--count", str(count), check=False)
        made[:] = [] if said.startswith("ilactl:") else said.split()
        return made

    until(make, "the node to make identifiers")
    return made


def kept(node):
    """Waits until the node has written down what it knows: half a second without another write."""
    file = os.path.join(node.config["node"]["state_dir"], f"{node.config['node']['name']}.nva.redb")

    def is_quiet():
        before = os.stat(file).st_mtime_ns
        time.sleep(0.5)
        return os.stat(file).st_mtime_ns == before

    until(is_quiet, f"{file} to be written")


def known(node):
    return {mapping["sir"] for mapping in node.show("mapping", "list", "--origin", "nva")}


def test_a_node_that_starts_while_the_authority_is_away_forwards_at_once_on_what_it_knew():
    with Lab("ilav") as lab:
        domain = Domain(lab)
        net = domain.net
        for node in net.nodes:
            node.config["node"]["state_dir"] = lab.path("state")
        domain.start()
        domain.knows(net.gw, T1, T2)
        # What is attached to a node covers what the authority tells of it.
        domain.knows(net.nve1, T2)
        net.t1.reaches(T2)
        # A node that is killed has what was written a moment ago, and one that is stopped has all.
        for end in (signal.SIGKILL, signal.SIGTERM):
            kept(net.nve1)
            domain.nva.kill()
            expect(net.nve1.process.stop(end) == (0 if end == signal.SIGTERM else -end), "the end of the node")
            net.nve1.start()
            # No session is there, and everything else is, from the first packet on.
            expect(known(net.nve1) == {T2}, f"the node knows {known(net.nve1)}")
            net.t1.reaches(T2)
            net.inet.reaches(T1)
            expect("not confirmed yet" in net.nve1.log(), net.nve1.log())
            expect(net.nve1.metrics()["ilagate_nva_session"] == 0, "a session without an authority")
            until(lambda: net.nve1.metrics()["ilagate_nva_stale_seconds"] >= 1, "the node to say that it is stale")
            domain.nva.start()
            until(lambda: net.nve1.metrics()["ilagate_nva_session"] == 1, "the session to come back")
            until(lambda: net.nve1.metrics()["ilagate_nva_stale_seconds"] == 0, "the node to be up to date")
            net.t1.reaches(T2)
        expect(net.nve1.metrics()["ilagate_nva_state_failures_total"] == 0, "the file was not written")
        # Task 2 goes while the node is stopped: its mapping lives until the authority says so.
        net.nve1.stop()
        net.nve2.config["attachments"] = []
        net.nve2.reload()
        until(lambda: known(net.gw) == {T1}, "the gateway to forget task 2")
        domain.nva.kill()
        net.nve1.start()
        expect(known(net.nve1) == {T2}, f"the node knows {known(net.nve1)}")
        domain.nva.start()
        until(lambda: not known(net.nve1), "the node to forget task 2")
        domain.stop()


def test_after_the_grace_period_a_node_forgets_if_it_is_told_to_and_says_so():
    with Lab("ilav") as lab:
        domain = Domain(lab)
        net = domain.net
        net.nve1.config["node"]["state_dir"] = lab.path("state")
        net.nve1.config["nva"] |= {"grace_s": 1, "after_grace": "forget"}
        net.gw.config["nva"] |= {"grace_s": 1}
        domain.start()
        domain.knows(net.nve1, T2)
        domain.knows(net.gw, T1, T2)
        kept(net.nve1)
        domain.nva.kill()
        until(lambda: not known(net.nve1), "the node to forget")
        until(lambda: net.gw.metrics()["ilagate_nva_grace_over"] == 1, "the gateway to say that it is too long")
        expect(known(net.gw) == {T1, T2}, f"the gateway knows {known(net.gw)}")
        net.inet.reaches(T1)
        expect(net.nve1.probe("readyz")[0] == 503, net.nve1.probe("readyz")[1])
        expect(net.gw.probe("readyz")[0] == 200, net.gw.probe("readyz")[1])
        expect(net.nve1.show("node", "show")["authority"]["grace_over"], "ilactl does not say so")
        # What is that old is not begun with, either.
        net.nve1.stop()
        net.nve1.start()
        expect(not known(net.nve1), f"the node knows {known(net.nve1)}")
        domain.nva.start()
        domain.knows(net.nve1, T2)
        until(lambda: net.nve1.metrics()["ilagate_nva_grace_over"] == 0, "the grace period to be over")
        until(lambda: net.nve1.probe("readyz")[0] == 200, "the node to be ready again")
        net.t1.reaches(T2)
        domain.stop()


def test_a_damaged_file_is_set_aside_and_the_node_starts_with_nothing():
    with Lab("ilav") as lab:
        domain = Domain(lab)
        net = domain.net
        net.nve1.config["node"]["state_dir"] = lab.path("state")
        domain.start()
        domain.knows(net.nve1, T2)
        net.nve1.stop()
        name = f"{net.nve1.config['node']['name']}.nva.redb"
        with open(os.path.join(lab.path("state"), name), "r+b") as file:
            file.truncate(5000)
        net.nve1.start()
        expect(f"{name}.damaged-1" in os.listdir(lab.path("state")), str(os.listdir(lab.path("state"))))
        expect("is set aside" in net.nve1.log(), net.nve1.log())
        expect(net.nve1.metrics()["ilagate_nva_state_failures_total"] == 1, "it is not counted")
        domain.knows(net.nve1, T2)
        net.t1.reaches(T2)
        # A file that another process has is an error that says what to do.
        process = net.nve1.ns.spawn([binary("ilagate"), "run", "--config", net.nve1.file], dict(os.environ))
        expect(process.wait() == 1 and "another process has this file" in process.output(), process.output())
        domain.stop()


def test_a_mirror_that_shows_something_else_at_the_same_revision_is_repaired():
    with Lab("ilav") as lab:
        domain = Domain(lab, digest_s=1, hold_down_s=3600)
        net, store = domain.net, lab.path("nva.redb")
        net.gw.config["node"]["state_dir"] = lab.path("state")
        domain.start()
        domain.knows(net.gw, T1, T2)
        domain.nva.kill()
        shutil.copy(store, store + ".before")
        # The gateway keeps a revision 3 without task 2. The store forgets it again, and its own revision 3 lacks task 1.
        domain.nva.start()
        task2, net.nve2.config["attachments"] = net.nve2.config["attachments"], []
        net.nve2.reload()
        until(lambda: known(net.gw) == {T1}, "the gateway to forget task 2")
        kept(net.gw)
        net.gw.stop()
        domain.nva.kill()
        os.replace(store + ".before", store)
        net.nve2.config["attachments"] = task2
        net.nve2.reload()
        net.nve1.config["attachments"] = []
        net.nve1.reload()
        domain.nva.start()
        until(lambda: domain.nva.ctl("status")["revision"] == 3, "the registry to be at the revision of the gateway")
        net.gw.start()
        until(lambda: known(net.gw) == {T2}, "the gateway to be repaired")
        expect("is told anew" in net.gw.log(), net.gw.log())
        expect("a session goes on" in domain.nva.log(), domain.nva.log())
        drift, compared, updates = (
            'ilagate_nva_drift_total{what="mappings"}',
            "ilagate_nva_digests_total",
            'ilagate_updates_total{result="applied"}',
        )
        repaired = net.gw.metrics()
        expect(repaired[drift] in (1, 2), f"{repaired[drift]} parts differed")
        # Equal data is compared and not written.
        until(lambda: net.gw.metrics()[compared] >= repaired[compared] + 2, "two more digests")
        later = net.gw.metrics()
        expect(later[drift] == repaired[drift] and later[updates] == repaired[updates], "equal data was told anew")
        # What is kept was repaired, too.
        kept(net.gw)
        domain.nva.kill()
        net.gw.stop()
        net.gw.start()
        expect(known(net.gw) == {T2}, f"the gateway kept {known(net.gw)}")
        domain.nva.start()
        domain.stop()


def test_a_full_disk_stops_nothing_and_is_tried_again():
    with Lab("ilav") as lab:
        domain = Domain(lab)
        net = domain.net
        place = lab.path("state")
        os.mkdir(place)
        lab.host(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place])
        try:
            ballast = os.path.join(place, "ballast")
            with open(ballast, "wb", buffering=0) as file:
                while file.write(b"x" * 4096) == 4096 and os.statvfs(place).f_bavail:
                    pass
            net.nve1.config["node"]["state_dir"] = place
            domain.start()
            domain.knows(net.nve1, T2)
            net.t1.reaches(T2)
            expect(net.nve1.metrics()["ilagate_nva_state_failures_total"] >= 1, "it is not counted")
            expect("No space left on device" in net.nve1.log(), net.nve1.log())
            os.remove(ballast)
            net.nve1.process.wait_for("is kept again")
            kept(net.nve1)
            domain.nva.kill()
            net.nve1.stop()
            net.nve1.start()
            expect(known(net.nve1) == {T2}, f"the node knows {known(net.nve1)}")
            net.t1.reaches(T2)
            domain.nva.start()
            until(lambda: net.nve1.metrics()["ilagate_nva_session"] == 1, "the session to come back")
            domain.stop()
        finally:
            lab.host(["umount", "--lazy", place], check=False)


def test_what_is_not_an_nves_own_is_refused_with_the_owners_name():
    with Lab("ilav") as lab:
        domain = Domain(lab)
        net = domain.net
        # Both hosts say that they have task 1; the second one also says that it has the first one's locator.
        other = dict(net.nve1.config["attachments"][0], mac="02:00:00:00:00:0c")
        net.nve2.config["attachments"].append(other)
        domain.nva.start()
        for node in net.nodes:
            node.launch()
            node.ready()
        refused = 'ilagate_nva_registrations{state="refused"}'
        until(lambda: net.nve1.metrics()[refused] + net.nve2.metrics()[refused] == 1, "one of them to be refused")
        until(lambda: f"is registered by {net.nve1.config['node']['name']}" in net.nve2.log()
              or f"is registered by {net.nve2.config['node']['name']}" in net.nve1.log(), "the owner's name")
        domain.stop()


def test_a_node_that_claims_the_locator_of_another_is_refused():
    with Lab("ilav") as lab:
        probe = Network(lab, start=False)
        gw, nve1, nve2 = (node.config["node"]["name"] for node in probe.nodes)
        # To the authority the second NVE has another locator than it says.
        nva = Authority(lab, probe.fab, probe.domain, {gw: [], nve1: [L1], nve2: ["fd00:1:0:9::/64"]}).start()
        for node in probe.nodes:
            follow(node, nva)
            node.launch()
            node.ready()
        until(lambda: f"is not a locator of {nve2}" in probe.nve2.log(), "the refusal to be told")
        until(lambda: T1 in {m["sir"] for m in probe.gw.show("mapping", "list", "--origin", "nva")}, "task 1")
        expect(T2 not in {m["sir"] for m in probe.gw.show("mapping", "list")}, "task 2 is known")
        probe.stop()
        nva.stop()


def test_an_identifier_that_goes_to_and_fro_is_frozen_until_an_operator_lets_it_go():
    with Lab("ilav") as lab:
        domain = Domain(lab, hold_down_s=0)
        net, nva = domain.net, domain.nva
        nva.config["freeze"] = {"changes": 2}
        domain.start()
        domain.knows(net.gw, T1, T2)
        owner = lambda: {record["owner"] for record in nva.ctl("records", "--sir", T2) if record["locators"]}  # noqa: E731
        nve1, nve2 = (node.config["node"]["name"] for node in (net.nve1, net.nve2))
        own1, task2 = net.nve1.config["attachments"], net.nve2.config["attachments"]

        def goes(to, there, other, without):
            other.config["attachments"] = without
            other.reload()
            # Who asks before that is refused, and asks again after half a minute.
            until(lambda: not owner(), "task 2 to be nobody's")
            to.config["attachments"] = there
            to.reload()

        goes(net.nve1, own1 + task2, net.nve2, [])
        until(lambda: owner() == {nve1}, "task 2 to be at the first NVE")
        goes(net.nve2, task2, net.nve1, own1)
        until(lambda: owner() == {nve2}, "task 2 to be back")
        # The second change froze it there.
        expect(nva.ctl("records", "--sir", T2)[0]["frozen"], "it is not frozen")
        expect("is frozen at this NVE" in nva.log(), nva.log())
        goes(net.nve1, own1 + task2, net.nve2, [])
        until(lambda: f"is frozen at {nve2}" in net.nve1.log(), "the first NVE to be refused")
        nva.ctl("unfreeze", T2)
        # What was refused is asked for again after half a minute, and what is attached anew at once.
        goes(net.nve1, own1, net.nve2, [])
        goes(net.nve1, own1 + task2, net.nve2, [])
        until(lambda: owner() == {nve1}, "task 2 to be at the first NVE", 60)
        domain.stop()


def test_a_node_that_stands_still_keeps_nobody_back_and_catches_up():
    with Lab("ilav") as lab:
        domain = Domain(lab, lease_s=2).start()
        net = domain.net
        domain.knows(net.gw, T1, T2)
        domain.knows(net.nve1, T2)
        attachments = net.nve2.config["attachments"]
        knows = lambda: {m["sir"] for m in net.gw.show("mapping", "list", "--origin", "nva")}  # noqa: E731
        net.nve1.process.send(signal.SIGSTOP)
        try:
            # Every change reaches the others meanwhile.
            for _ in range(4):
                net.nve2.config["attachments"] = []
                net.nve2.reload()
                until(lambda: T2 not in knows(), "the gateway to forget task 2")
                net.nve2.config["attachments"] = attachments
                net.nve2.reload()
                until(lambda: T2 in knows(), "the gateway to learn task 2 again")
            until(lambda: "nothing came for 2000 ms" in domain.nva.log(), "the session of the still node to end")
        finally:
            net.nve1.process.send(signal.SIGCONT)
        # It goes on from what it had: no snapshot is needed.
        revision = "ilagate_nva_applied_revision"
        until(lambda: net.nve1.metrics()["ilagate_nva_session"] == 1
              and net.nve1.metrics()[revision] == net.gw.metrics()[revision], "the node to catch up")
        expect(domain.nva.log().count("a session goes on") == 1, domain.nva.log())
        expect(domain.nva.log().count("a snapshot begins") == 3, domain.nva.log())
        net.t1.reaches(T2)
        domain.stop()


def test_an_nve_that_is_taken_out_by_a_reload_loses_its_session_and_is_released_by_an_operator():
    with Lab("ilav") as lab:
        domain = Domain(lab).start()
        net = domain.net
        domain.knows(net.gw, T1, T2)
        domain.knows(net.nve1, T2)
        name = net.nve2.config["node"]["name"]
        nves = domain.nva.config["nves"]
        domain.nva.config["nves"] = [nve for nve in nves if nve["name"] != name]
        domain.nva.reload()
        until(lambda: net.nve2.metrics()["ilagate_nva_session"] == 0, "the session to end")
        until(lambda: f"`{name}` is no NVE of this authority" in net.nve2.log(), "the node to say why")
        # Its task is reached as before.
        net.t1.reaches(T2)
        shown = {nve["name"]: nve for nve in domain.nva.ctl("nves")}
        expect(shown[name]["unknown"] and shown[name]["identifiers"] == 1, str(shown))
        released = domain.nva.ctl("release", "--nve", name)
        expect(released["released"] == 1, str(released))
        until(lambda: known(net.gw) == {T1}, "the gateway to forget task 2")
        # Back in, it registers at once.
        domain.nva.config["nves"] = nves
        domain.nva.reload()
        domain.knows(net.gw, T1, T2)
        net.t1.reaches(T2)
        domain.stop()


def test_after_a_restoration_nodes_have_again_what_they_had_and_nothing_new_is_given_out():
    with Lab("ilav") as lab:
        domain = Domain(lab, restore_wait_s=3600)
        net = domain.net
        for node in net.nodes:
            node.config["node"]["state_dir"] = lab.path("state")
        task2 = net.nve2.config["attachments"]
        net.nve2.config["attachments"] = []
        domain.start()
        domain.knows(net.gw, T1)
        domain.nva.ctl("backup", "copy.redb")
        # Task 2 is not in the backup.
        net.nve2.config["attachments"] = task2
        net.nve2.reload()
        domain.knows(net.gw, T1, T2)
        kept(net.nve2)
        # One that registers is away, and so the wait goes on.
        net.nve1.stop()
        domain.nva.kill()
        restore = ["restore", "--config", domain.nva.file, "--from", lab.path("copy.redb")]
        lab.host([binary("ila-nva"), *restore])
        # It knows what it had also over a restart.
        net.nve2.stop()
        domain.nva.start()
        net.nve2.start()
        domain.knows(net.gw, T1, T2)
        awaited = [net.nve1.config["node"]["name"]]
        until(lambda: domain.nva.ctl("status")["waits_for"] == awaited, "nodes that are there to have said what they had")
        expect(domain.nva.ctl("status")["restored"], "the wait ended without the node that is away")
        # With the last one the wait is over.
        net.nve1.start()
        until(lambda: not domain.nva.ctl("status")["restored"], "the wait to end")
        net.t1.reaches(T2)
        domain.stop()
