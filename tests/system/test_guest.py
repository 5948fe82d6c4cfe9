"""A real guest in QEMU, which migrates live between two hosts."""

import time

import guest
from demo_vm import PING_S, migrates
from lab import Lab
from moves import MoveNetwork
from traffic import Pings
from wait import expect, until

# It runs without KVM.
ALONE = True


def test_a_guest_that_qemu_migrates_answers_every_ping():
    with Lab("ilag") as lab:
        net = MoveNetwork(lab, vm=guest.Machine).start()
        vm, peer, local = (net.machines[name] for name in ("vm", "peer", "local"))
        ipv4, ipv6 = vm.addresses
        net.fab.reaches(ipv6)
        pings = [Pings(peer.ns, ipv4, PING_S), Pings(local.ns, ipv4, PING_S), Pings(net.fab, ipv6, PING_S)]
        time.sleep(0.5)
        migrates(net, vm, "nve1", "nve2")
        time.sleep(1)
        for each in pings:
            asked, answered = each.end()
            expect(asked == answered, "\n".join([f"{asked - answered} of {asked} pings were lost", *net.losses()]))
        held = sum(
            value for key, value in net.nve2.metrics().items()
            if key.startswith("ilagate_moves_packets_total") and 'done="held"' in key
        )  # fmt: skip
        expect(held > 0, "nothing was held")
        vm.quits("nve1")
        # QEMU that waits at the old host is given up: the guest stays where it is, and the authority says so.
        waits = vm.expects("nve1")
        net.move("vm", "nve2", "nve1")
        expect(waits and net.moving(), "there is no move")
        vm.quits("nve1")
        net.vm("abort", "vm")
        until(lambda: not net.moving(), "the move to be over")
        peer.ns.reaches(ipv4)
        vm.quits("nve2")
        net.stop()
