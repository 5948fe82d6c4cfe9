"""Addresses that tenants are allocated when they ask for them by RARP."""

import signal

from lab import Lab
from provision import Provisioned, network
from tenants import ipv4, ipv6, mac
from test_nva_macs import rarp
from wait import expect, until


def answered(net, vm):
    """The IPv4 address that a tenant is told by RARP when it asks for its own, again if it must, as hosts do."""
    told = []

    def asked():
        told[:] = rarp(net.vms[vm], mac(vm))
        return told != []

    until(asked, f"{vm} to be told an address")
    expect(len(told) == 1 and told[0][0] == mac(vm), told)
    return told[0][1]


def wants(net, vm, port):
    """Places a tenant that gets its addresses when it asks."""
    nve = net.names["nve1"]
    net.asks("attachment", "add", nve, vm, "--port", port, "--mac", mac(vm), "--network", "red", "--address", "on-rarp")


def test_a_tenant_is_allocated_addresses_when_it_asks_by_rarp_and_keeps_them():
    with Lab("ilaq") as lab:
        net = Provisioned(lab).start()
        net.asks("network", "add", "--file", "-", entry=network("red"))
        net.attach("vm2")
        net.attached(net.nve2, "vm2")
        wants(net, "vm1", "access0")
        net.attached(net.nve1, "vm1")
        vm1 = net.vms["vm1"]
        vm1.run("ip addr flush dev eth0 scope global")
        shown = lambda: {one["name"]: one for one in net.show("attachment", "list")}["vm1"]["addresses"]  # noqa: E731
        expect(shown() == ["on-rarp"], shown())
        # Nobody else has it allocated by asking for it, and what is nobody's is not answered.
        expect(rarp(net.vms["vm2"], mac("vm1")) == [], "an answer before anything was allocated")
        expect(shown() == ["on-rarp"], shown())
        address = answered(net, "vm1")
        expect(address not in (ipv4("vm2"), "0.0.0.0"), address)
        _, *allocated = shown()
        expect(len(allocated) == 2 and allocated[0] == address, allocated)
        # What it is allocated is its own: it sends from it, is answered for, and others find it by its MAC address.
        vm1.run(f"ip addr add {address}/24 dev eth0")
        vm1.run(f"ip -6 addr add {allocated[1]}/96 dev eth0 nodad")
        until(lambda: len(net.show("records", "--mac", mac("vm1"))) == 2, "both to be registered")
        vm1.reaches(ipv4("vm2"))
        vm1.reaches(ipv6("vm2"))
        until(lambda: rarp(net.vms["vm2"], mac("vm1")) == [(mac("vm1"), address)], "another tenant to find it")
        expect(address in net.nva.log(), "operators are not told of it")
        # The same after each of both started anew.
        net.nva.kill()
        net.nva.start()
        expect(answered(net, "vm1") == address, "another address after the authority started anew")
        expect(net.nve1.process.stop(signal.SIGTERM) == 0, "the end of the node")
        net.nve1.start()
        net.attached(net.nve1, "vm1")
        expect(answered(net, "vm1") == address, "another address after the node started anew")
        vm1.reaches(ipv4("vm2"))
        # It goes with its attachment.
        net.asks("attachment", "del", net.names["nve1"], "vm1")
        net.attached(net.nve1)
        until(lambda: all(one["locators"] == [] for one in net.show("records", "--mac", mac("vm1"))), "it to be released")
        net.stop()


def test_a_network_without_a_free_address_tells_operators_on_both_sides():
    with Lab("ilaq") as lab:
        net = Provisioned(lab).start()
        red = dict(network("red"), ipv4=[{"prefix": "10.0.0.0/30", "gateway": "10.0.0.1"}])
        net.asks("network", "add", "--file", "-", entry=red)
        net.asks("attachment", "add", net.names["nve2"], "vm2", "--port", "access0", "--mac", mac("vm2"),
                 "--network", "red", "--address", "10.0.0.2")  # fmt: skip
        wants(net, "vm1", "access0")
        net.attached(net.nve1, "vm1")
        expect(rarp(net.vms["vm1"], mac("vm1")) == [], "an address of a network that has none")
        why = "network red has no free address"
        until(lambda: why in net.nve1.log() and why in net.nva.log(), "operators to be told")
        refused = 'ilagate_nva_addresses_total{result="refused"}'
        until(lambda: net.nve1.metrics()[refused] >= 1, "the node to count it")
        # One becomes free.
        net.asks("attachment", "del", net.names["nve2"], "vm2")
        net.asks("network", "set", "--file", "-", entry=dict(red, ipv4=[{"prefix": "10.0.0.0/29", "gateway": "10.0.0.1"}]))
        until(lambda: rarp(net.vms["vm1"], mac("vm1")) != [], "an address", 60)
        net.stop()
