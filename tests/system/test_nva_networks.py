"""Tenant networks that operators make at the authority. No node's file names one."""

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
