"""Tenant networks that operators make at the authority. No node's file names one."""

import json
import signal

from lab import Lab
from provision import Provisioned, network
from tenants import VMS, ipv4, ipv6
from wait import expect, until

SESSION = "ilagate_nva_session"


def test_tenants_meet_in_a_network_that_an_operator_made():
    with Lab("ilap") as lab:
        net = Provisioned(lab).start()
        net.asks("network", "add", "--file", "-", entry=network("red"))
        net.attach("vm1")
        net.attach("vm2")
        net.attached(net.nve1, "vm1")
        net.attached(net.nve2, "vm2")
        vm1 = net.vms["vm1"]
        until(lambda: len(net.show("records")) == 4, "the tenants to be registered")
        vm1.reaches(ipv6("vm2"))
        vm1.reaches(ipv4("vm2"))
        shown = net.nve1.show("vn", "list")
        expect([(one["name"], one["origin"]) for one in shown] == [("red", "nva")], shown)
        listed = net.asks("network", "list")
        expect("red" in listed and "2001:db8:a::/96" in listed, listed)
        nves = {one["name"]: one for one in net.show("nves")}
        until(lambda: all(one["provisioned"] for one in net.show("nves")), "both to say that it is in force")
        expect(all(one["refused"] == [] for one in nves.values()), nves)
        # One goes, and then nobody reaches it; a network goes only when nobody is in it.
        why = net.refused("network", "del", "red")
        expect("network red is named by attachment vm2 at" in why and "delete them first" in why, why)
        net.asks("attachment", "del", net.names["nve2"], "vm2")
        net.attached(net.nve2)
        expect(net.nve2.show("vn", "list") == [], "a node knows a network in which it has no part")
        vm1.silent(ipv4("vm2"))
        net.asks("attachment", "del", net.names["nve1"], "vm1")
        net.asks("network", "del", "red")
        until(lambda: net.nve1.show("vn", "list") == [], "the network to go")
        expect("changed by an operator" in net.nva.log() and "who=" in net.nva.log(), net.nva.log())
        net.stop()


def test_a_policy_reaches_the_nodes_and_goes_again():
    with Lab("ilap") as lab:
        net = Provisioned(lab, gateway=True).start()
        for name in ("red", "blue"):
            net.asks("network", "add", "--file", "-", entry=network(name))
        for vm in VMS:
            net.attach(vm)
        net.attached(net.nve1, "vm1", "vm3")
        net.attached(net.nve2, "vm2", "vm4")
        # A gateway has no tenants, and knows all networks.
        until(lambda: {one["name"] for one in net.gw.show("vn", "list")} == {"red", "blue"}, "the gateway to know both")
        until(lambda: len(net.show("records")) == 8, "the tenants to be registered")
        vm1, vm4 = net.vms["vm1"], net.vms["vm4"]
        vm1.reaches(ipv4("vm2"))
        vm1.refused(ipv6("vm4"), "prohibited")
        for ends in (("red", "blue"), ("blue", "red")):
            net.asks("policy", "add", *ends)
        policies = lambda node: {(one["from"], one["to"], one["origin"]) for one in node.show("policy", "list")}  # noqa: E731
        both = {("red", "blue", "nva"), ("blue", "red", "nva")}
        for node in net.nodes:
            until(lambda node=node: policies(node) == both, f"{node.ns.name} to have the policies")
        vm1.reaches(ipv6("vm4"))
        vm4.reaches(ipv6("vm1"))
        net.asks("policy", "del", "red", "blue")
        for node in net.nodes:
            until(lambda node=node: len(policies(node)) == 1, f"{node.ns.name} to forget one")
        vm1.refused(ipv6("vm4"), "prohibited")
        # Broadcast reaches the tenants of other hosts: the authority knows which these are.
        wire = net.vms["vm2"].capture("eth0", "icmp and dst host 10.0.0.255")
        vm1.status(["ping", "-b", "-c", "2", "-i", "0.2", "-W", "1", "10.0.0.255"])
        expect(len(wire.frames(at_least=1)) >= 1, "no broadcast came to the tenant on the other host")
        net.stop()


def test_a_network_has_no_more_identifiers_than_its_quota():
    with Lab("ilap") as lab:
        net = Provisioned(lab)
        quota = {"domain": net.nva.config["sir_domains"][0]["name"], "max_identifiers": 2}
        net.nva.config["quotas"] = [quota]
        net.start()
        net.asks("network", "add", "--file", "-", entry=network("red"))
        net.attach("vm1")
        net.attached(net.nve1, "vm1")
        until(lambda: len(net.show("records")) == 2, "the first tenant to be registered")
        net.attach("vm2")
        net.attached(net.nve2, "vm2")
        refused = "more than the 2 identifiers that VNID"
        until(lambda: refused in net.nve2.log(), "the second tenant to be refused")
        expect(len(net.show("records")) == 2, net.show("records"))
        quota["max_identifiers"] = 4
        net.nva.reload()
        # What was refused is asked for again after half a minute, and by a node that starts anew at once.
        net.nve2.stop()
        net.nve2.start()
        until(lambda: len(net.show("records")) == 4, "the second tenant to be registered", 90)
        net.vms["vm1"].reaches(ipv4("vm2"))
        net.stop()


def test_a_node_that_starts_while_the_authority_is_away_has_its_tenants_at_once():
    with Lab("ilap") as lab:
        net = Provisioned(lab).start()
        net.asks("network", "add", "--file", "-", entry=network("red"))
        net.attach("vm1")
        net.attach("vm2")
        net.attached(net.nve1, "vm1")
        net.attached(net.nve2, "vm2")
        known = lambda: len(net.nve1.show("mapping", "list", "--origin", "nva"))  # noqa: E731
        until(lambda: known() == 2, "the other tenant to be known")
        vm1 = net.vms["vm1"]
        vm1.reaches(ipv4("vm2"))
        net.nva.kill()
        expect(net.nve1.process.stop(signal.SIGTERM) == 0, "the end of the node")
        net.nve1.start()
        net.attached(net.nve1, "vm1")
        vm1.reaches(ipv4("vm2"))
        expect("wanted at it before the start, not confirmed yet" in net.nve1.log(), net.nve1.log())
        # What is deleted meanwhile goes with the next session.
        expect(net.nve1.process.stop(signal.SIGTERM) == 0, "the end of the node")
        net.nva.start()
        net.asks("attachment", "del", net.names["nve1"], "vm1")
        net.nve1.start()
        net.attached(net.nve1)
        until(lambda: net.nve1.show("vn", "list") == [], "the network to go")
        until(lambda: len(net.show("records", "--nve", net.names["nve1"])) == 2
              and all(one["locators"] == [] for one in net.show("records", "--nve", net.names["nve1"])),
              "its addresses to be released")  # fmt: skip
        net.stop()


def test_the_file_of_a_node_wins_and_the_operator_hears_of_it():
    with Lab("ilap") as lab:
        net = Provisioned(lab)
        own = dict(network("blue"), vnid=100)
        net.nve1.config["virtual_networks"] = [own]
        net.start()
        net.asks("network", "add", "--file", "-", entry=network("red"))
        net.attach("vm1")
        net.attach("vm2")
        net.attached(net.nve2, "vm2")
        name = net.names["nve1"]
        state = lambda: next(one for one in net.show("nves") if one["name"] == name)  # noqa: E731
        until(lambda: len(state()["refused"]) == 2, "the network and its tenant to be refused")
        why = {one["object"]: one["why"] for one in state()["refused"]}
        expect("100 is already virtual_networks[0].vnid" in why["network red"], why)
        expect(why["attachment vm1"] == "it refers to network red, which is refused", why)
        expect(f"# refused by {name}: " in net.asks("network", "show", "red"), net.asks("network", "show", "red"))
        expect(net.nve1.metrics()['ilagate_nva_objects{state="refused"}'] == 2, "it is not counted")
        # Without the clash both come by themselves.
        net.nve1.config["virtual_networks"] = []
        net.nve1.reload()
        net.attached(net.nve1, "vm1")
        until(lambda: state()["refused"] == [], "nothing to be refused any more")
        expect(net.nve1.metrics()['ilagate_nva_objects{state="in_force"}'] == 2, "it is not counted")
        until(lambda: len(net.show("records")) == 4, "the tenants to be registered")
        net.vms["vm1"].reaches(ipv4("vm2"))
        # A reload that clashes is no error: what clashes goes.
        net.nve1.config["virtual_networks"] = [own]
        net.nve1.reload()
        net.attached(net.nve1)
        net.stop()


def test_what_is_wrong_is_refused_with_place_and_way_out():
    with Lab("ilap") as lab:
        net = Provisioned(lab).start()
        net.asks("network", "add", "--file", "-", entry=network("red"))
        net.attach("vm1")
        nve2 = net.names["nve2"]
        tenant = ["--port", "access0", "--mac", "02:00:00:00:02:07", "--network", "red", "--address"]
        add = ("network", "add", "--file", "-")
        for words, entry, why in [
            (add, network("red"), "network red is there already; `set` replaces it"),
            (add, dict(network("blue"), vnid=100), "100 is already virtual_networks[red].vnid"),
            (add, dict(network("blue"), domain="none"), "`none` is not the name of a SIR domain"),
            (add, dict(network("blue"), colour="x"), "unknown key `colour`"),
            (add, {"vnid": 1}, "name: missing"),
            (("attachment", "add", nve2, "vm9", *tenant, ipv4("vm1")), None, "is that of attachment vm1 at"),
            (("attachment", "add", nve2, "vm9", *tenant, "10.9.9.9"), None, "lies in no IPv4 subnet of network red"),
            (("attachment", "add", "nve9", "vm9", *tenant, "10.0.0.9"), None, "is no NVE of this authority"),
            (("policy", "add", "red", "green"), None, "`green` is not the name of a virtual network"),
            (("network", "set", "--file", "-", "--sequence", "99"), network("red"), "somebody changed it"),
            (("network", "show", "green"), None, "network green is not there"),
        ]:
            said = net.refused(*words, entry=entry)
            expect(why in said, f"{words}: {said}")
        expect([one["name"] for one in net.show("network", "list")] == ["red"], "something was changed")
        # What the operator leaves open is chosen.
        made = json.loads(net.asks("--json", "network", "add", "--file", "-", entry=dict(network("blue"), vnid="auto")))
        expect(made["vnid"] == "101", made)
        made = net.asks("attachment", "add", nve2, "vm9", "--port", "access1", "--mac", "02:00:00:00:02:07",
                        "--network", "red", "--address", "auto")  # fmt: skip
        expect(made.endswith(", 10.0.0.2, 2001:db8:a::2\n"), made)
        net.stop()
