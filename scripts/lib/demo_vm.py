"""The demo of a real guest: QEMU migrates it live between two hosts while everybody talks to it. See scripts/demo."""

import json
import os
import sys
import time

import guest
from demo import right, run, show, step
from demo_move import counted, over, timeline
from lab import binary
from moves import MoveNetwork
from traffic import Pings
from wait import expect, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PING_S = 0.005
SIZE = 24 << 20
RATE = 4 << 20


class Pinging:
    """Pings to the guest from everywhere, of which every one is to be answered."""

    def __init__(self, net, *names):
        ipv4, ipv6 = net.machines["vm"].addresses
        m = net.machines
        places = {
            "another host, IPv4": (m["peer"].ns, ipv4),
            "the other of the two hosts, IPv4": (m["local"].ns, ipv4),
            "another network, IPv6": (m["blue"].ns, ipv6),
            "the Internet, IPv6": (net.fab, ipv6),
        }
        self.all = {name: Pings(*places[name], PING_S) for name in names or places}

    def end(self):
        """How many were sent and not answered."""
        sums = [0, 0]
        for name, pings in self.all.items():
            asked, answered = pings.end()
            show(f"{name + ':':34} {asked} pings, {asked - answered} without an answer")
            sums = [sums[0] + asked, sums[1] + asked - answered]
        return sums


TRANSFER = """
import hashlib, socket, sys, time
to, size, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
s = socket.create_connection((to, 7000)); s.settimeout(60)
began, sent, md5 = time.monotonic(), 0, hashlib.md5(usedforsecurity=False)
while sent < size:
    piece = b"%016d" % sent * 256
    s.sendall(piece); md5.update(piece); sent += len(piece)
    time.sleep(max(0, began + sent / rate - time.monotonic()))
s.close()
print("sent", sent, md5.hexdigest(), flush=True)
"""


def migration(net, vm, old, new):
    """The command that migrates a guest and moves its attachment, to a QEMU that waits at the new host."""
    return [
        "env", f"ILACTL_NVA={net.nva.endpoint}",
        "/usr/bin/python3", os.path.join(ROOT, "examples", "qemu_migrate.py"), "vm", "--from", net.names[old],
        "--to", net.names[new], "--port", "vm", "--source", vm.control(old), "--target", vm.control(new),
        "--uri", vm.expects(new), "--ilactl", binary("ilactl"),
    ]  # fmt: skip


def migrates(net, vm, old, new):
    """Runs it; what it says."""
    said = net.fab.run(migration(net, vm, old, new)).strip()
    vm.runs_at = new
    return said


def demo(lab):
    step(
        "Two hosts, an authority and a guest",
        "A Linux guest boots in QEMU at the first of two hosts: 10.0.0.1 and 2001:db8:a::1 of the network red. Its interface",
        "is a TAP device, which is a port of the host's node.",
    )
    net = MoveNetwork(lab, vm=guest.Machine).start()
    vm = net.machines["vm"]
    show(net.vm("list"))
    for ns in (net.machines["peer"].ns, net.fab):
        ns.reaches(vm.addresses[1])

    step(
        "QEMU migrates it",
        f"A ping goes to it each {PING_S * 1000:.0f} ms from four places, and a TCP connection with 4 MB a second. The program that drives",
        "QEMU (examples/qemu_migrate.py) tells the authority what it does.",
    )
    before = counted(net)
    pings = Pinging(net)
    transfer = net.machines["peer"].ns.spawn(["/usr/bin/python3", "-c", TRANSFER, vm.addresses[0], SIZE, RATE])
    time.sleep(1)
    show(migrates(net, vm, "nve1", "nve2"))
    over(net, "vm")
    time.sleep(0.5)
    asked, lost = pings.end()
    timeline(net, "vm")
    for (node, done), value in counted(net).items():
        show(f"{node}: {value - before.get((node, done), 0)} packets {done}")
    expect(lost == 0, "\n".join([f"{lost} of {asked} pings were lost", *net.losses()]))
    expect(transfer.wait(120) == 0, transfer.output())
    md5 = transfer.output().split()[-1]
    until(lambda: md5 in vm.console("nve2"), "the guest to have got every byte")
    right(f"all {asked} pings were answered, and the connection brought every byte")

    step(
        "And back, by its arrival alone",
        "QEMU is driven by somebody who only begins the move. The nodes see by QEMU's RARP that the guest is there; what came",
        "while it was paused went to its old host, and is lost.",
    )
    vm.quits("nve1")
    pings = Pinging(net, "another host, IPv4")
    time.sleep(0.5)
    net.move("vm", "nve2", "nve1")
    show(f"paused for {vm.migrates_alone('nve2', 'nve1')} ms")
    over(net, "vm")
    time.sleep(0.5)
    asked, lost = pings.end()
    timeline(net, "vm")
    until(lambda: net.fab.answered(vm.addresses[1]), "the guest to answer")
    right(f"{lost} of {asked} pings were lost, and the guest is back")
    until(lambda: not net.moving(), "the move to be over")
    for node in net.nodes:
        left = [one for one in node.show("attachment", "list") if one["origin"] == "nva"]
        show(f"{node.ns.name}: {json.dumps(sorted(one['name'] for one in left))}")
    vm.quits("nve1")
    vm.quits("nve2")
    net.stop()


if __name__ == "__main__":
    sys.exit(run(demo))
