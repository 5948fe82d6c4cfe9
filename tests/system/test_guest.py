"""A real guest in QEMU, which migrates live between two hosts."""

import signal
import time

import guest
from demo_vm import PING_S, migrates, migration
from lab import Lab
from moves import MoveNetwork
from traffic import Pings
from wait import expect, until

# It runs without KVM: a guest that gets no processor loses what comes in by itself, and no node sees that.
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
        # QEMU dies at the host where it is to come: the guest stays where it is, and nothing is left of the move.
        program = net.fab.spawn(migration(net, vm, "nve2", "nve1"))
        until(lambda: net.moving(), "the move to begin")
        vm.processes["nve1"].stop(signal.SIGKILL)
        expect(program.wait() == 1, program.output())
        until(lambda: not net.moving(), "the move to be over")
        peer.ns.reaches(ipv4)
        vm.quits("nve2")
        net.stop()
