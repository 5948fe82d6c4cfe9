"""The Linux kernel's VXLAN device, which we did not write, at the other end of a tunnel for packets in flight (RFC 7348), over
IPv6 and with UDP checksums: as the new host of a machine, and as its old one.

The authority knows two hosts with nodes of ours. What goes from one to the other through the tunnel is led to a namespace
with the kernel's device instead, or comes from one.
"""

import time

from lab import Lab
from moves import ANYCAST, VNETS, MoveNetwork, Stream, vtep
from wait import expect, until

VNI = VNETS["red"][1]
RATE = 200


class Far:
    """A host with the kernel's VXLAN device, which has the address of a node's tunnels."""

    def __init__(self, net, name, number, own, other, mac, addresses):
        self.ns = net.lab.ns(name)
        net.lab.wire(self.ns, "fab", net.fab, name, 1600)
        self.gateway = f"fd00:f:{number}::1"
        net.fab.addr(name, f"fd00:f:{number}::ff/64")
        self.ns.addr("fab", f"{self.gateway}/64")
        self.ns.route(f"default via fd00:f:{number}::ff")
        self.ns.run(f"ip -6 addr add {own}/128 dev lo")
        self.ns.run(f"ip link add vx type vxlan id {VNI} local {own} remote {other} dstport 4789 nolearning")
        self.ns.run(f"ip link set vx address {mac} mtu 1500 up")
        self.ns.run(f"ip addr add {addresses[0]}/24 dev vx")
        self.ns.run(f"ip -6 addr add {addresses[1]}/96 dev vx nodad")

    def knows(self, machine):
        """Where frames for a machine go: into the tunnel, without a question."""
        for address in machine.addresses:
            self.ns.run(f"ip neigh replace {address} lladdr {machine.mac} nud permanent dev vx")


def moved(node, done):
    return sum(
        value for key, value in node.metrics().items()
        if key.startswith("ilagate_moves_packets_total") and f'done="{done}"' in key
    )  # fmt: skip


def test_the_kernel_takes_frames_out_of_our_tunnel_and_we_take_them_out_of_its():
    with Lab("ilax") as lab:
        net = MoveNetwork(lab)
        vm, peer = net.machines["vm"], net.machines["peer"]
        new = Far(net, "farnew", 7, vtep("nve2"), vtep("nve1"), vm.mac, vm.addresses)
        old = Far(net, "farold", 8, vtep("nve1"), vtep("nve2"), ANYCAST, peer.addresses)
        old.knows(vm)
        net.start()
        net.move("vm", "nve1", "nve2")
        net.vm("detached", "vm")
        vm.unplug("nve1")
        # The tunnel of the old host leads to the kernel, which has the machine's address.
        net.fab.run(f"ip -6 rule add to {vtep('nve2')} ipproto udp dport 4789 lookup 77")
        net.fab.run(f"ip -6 route add {vtep('nve2')} via {new.gateway} dev farnew table 77")
        for address in vm.addresses:
            stream = Stream(peer.ns, new, address, RATE)
            time.sleep(1)
            told = stream.end()
            errors = new.ns.run("nstat -asz Udp6InCsumErrors Udp6InErrors")
            expect(told.sent > 100 and told.lost == 0 and told.again == 0, f"{told}\n{errors}")
        expect(moved(net.nve1, "tunnelled") > 200, "the old host tunnelled nothing")
        # The tunnel to the new host comes from the kernel; what it brings is held until the machine is there.
        net.fab.run(f"ip -6 rule del to {vtep('nve2')} ipproto udp dport 4789 lookup 77")
        streams = [Stream(old.ns, vm, address, RATE) for address in vm.addresses]
        time.sleep(0.5)
        expect(moved(net.nve2, "held") > 100, f"the new host held nothing: {net.nve2.drops()}")
        vm.plug("nve2")
        vm.announce("arp")
        until(lambda: moved(net.nve2, "decapsulated") > 100, "frames to come out of the tunnel")
        for stream in streams:
            told = stream.end()
            expect(told.sent > 100 and told.lost == 0 and told.again == 0 and told.late == 0, str(told))
        # What the kernel asks by multicast is for nobody that moves.
        lost = net.nve2.drops()
        expect(not {"checksum", "vxlan_invalid", "vxlan_undelivered", "hold_full"} & set(lost), lost)
        net.stop()
