"""What a running machine notices of a move, for scripts/bench: beside Linux bridges with VXLAN, in the same run.

A machine is unplugged at one host, is away for a while, and is plugged in at another one, where it announces itself. A
peer sends it 1,000 numbered datagrams a second all the time. Told are those that did not come or came twice, and the
longest time between two of them, less the time that the machine was away.
"""

import statistics
import time

from lab import Lab
from moves import ANNOUNCE, Machine, MoveNetwork, Stream
from wait import until

RATE = 1000
# What hypervisors do: the word to the authority, if there is one, then the cables, then the announcement.
HYPERVISOR = (
    """
import subprocess, sys, time
words = sys.argv
pause, old, new, word = float(words[1]), words[2], words[3], words[4].split("\\t")
sys.argv = words[4:]
if word != [""]: subprocess.run(word, check=True, stdout=subprocess.DEVNULL)
left = time.monotonic()
subprocess.run(["ip", "link", "set", "to-" + old, "nomaster"], check=True)
time.sleep(pause)
subprocess.run(["ip", "link", "set", "to-" + new, "master", "eth0"], check=True)
came = time.monotonic()
"""
    + ANNOUNCE
    + """
print("away", round((came - left) * 1000, 3), flush=True)
"""
)


def moves(machine, old, new, pause_s, word=()):
    """Plugs a machine from one host to another; for how many milliseconds it was away."""
    words = ["/usr/bin/python3", "-c", HYPERVISOR, pause_s, old, new, "\t".join(word), "arp", machine.mac]
    said = machine.ns.run([*words, *machine.addresses])
    return float(said.split()[-1])


class Ours:
    """Nodes and an authority."""

    name = "ilagate"

    def __init__(self, lab):
        self.net = MoveNetwork(lab).start()
        self.vm, self.peer = self.net.machines["vm"], self.net.machines["peer"]

    def move(self, old, new, pause_s):
        self.net.move("vm", old, new)
        words = self.net.command()
        away = moves(self.vm, old, new, pause_s, [words[0], "vm", *words[2:], "detached", "vm", "--nve", self.net.names[old]])
        until(lambda: "draining  " in self.net.vm("show", "vm") or "  done " in self.net.vm("show", "vm"), "the move")
        return away

    def stop(self):
        self.net.stop()


class Linux:
    """A bridge at each host, and VXLAN between them that floods and learns."""

    name = "Linux VXLAN"

    def __init__(self, lab):
        hosts = ("nve1", "nve2", "nve3")
        fabric = lab.ns("fabric")
        fabric.run("ip link add br0 type bridge")
        fabric.run("ip link set br0 up")
        self.vm, self.peer = Machine(lab, "vm", 1, ["10.0.0.1"]), Machine(lab, "peer", 2, ["10.0.0.2"])
        for n, name in enumerate(hosts, 1):
            host = lab.ns(name)
            lab.wire(host, "fab", fabric, name, 1600)
            fabric.run(f"ip link set {name} master br0")
            host.run(f"ip addr add 192.0.2.{n}/24 dev fab")
            host.run("ip link add br0 type bridge forward_delay 0 mcast_snooping 0")
            host.run(f"ip link add vx0 type vxlan id 100 dstport 4789 local 192.0.2.{n} dev fab")
            for other in range(1, 4):
                if other != n:
                    host.run(f"bridge fdb append 00:00:00:00:00:00 dev vx0 dst 192.0.2.{other}")
            for machine in (self.vm,) if n < 3 else (self.peer,):
                machine.cable(lab, host)
                host.run(f"ip link set {machine.name} master br0")
            host.run("ip link set vx0 master br0 up")
            host.run("ip link set br0 up")
        for machine, host in ((self.vm, "nve1"), (self.peer, "nve3")):
            machine.plug(host)
            machine.ns.run(f"ip addr add {machine.addresses[0]}/24 dev eth0")
        until(lambda: self.peer.ns.answered("10.0.0.1"), "the machines to reach each other")

    def move(self, old, new, pause_s):
        return moves(self.vm, old, new, pause_s)

    def stop(self):
        pass


def measure(system, count, pause_s):
    """So many moves to and fro: what became of the datagrams, and the gaps beyond the pause in milliseconds."""
    where, lost, again, gaps = ("nve1", "nve2"), [], 0, []
    for n in range(count):
        stream = Stream(system.peer.ns, system.vm, system.vm.addresses[0], RATE)
        time.sleep(0.3)
        old, new = where if n % 2 == 0 else where[::-1]
        away = system.move(old, new, pause_s)
        time.sleep(0.3)
        told = stream.end()
        lost.append(told.lost)
        again += told.again
        gaps.append(told.gap_ms - away)
    return {
        "system": system.name, "pause_ms": pause_s * 1000, "moves": count, "lost": lost, "twice": again,
        "gap_ms": [round(gap, 1) for gap in gaps],
    }  # fmt: skip


def words(got):
    lost, gaps = got["lost"], got["gap_ms"]
    return (
        f"{got['moves']} moves, away for {got['pause_ms']:.0f} ms: {statistics.median(lost):.0f} / {max(lost)} datagrams lost "
        f"(median / most), {got['twice']} came twice; gap beyond that {statistics.median(gaps):.1f} / {max(gaps):.1f} ms"
    )


def run(count=20):
    """All systems; yields results, each with words about it and whether it keeps its limits."""
    for system, pauses in ((Ours, (0.1, 0)), (Linux, (0.1, 0))):
        with Lab("ilab") as lab:
            it = system(lab)
            for pause_s in pauses:
                got = measure(it, count if system is Ours else 5, pause_s)
                holds = system is not Ours or (
                    sum(got["lost"]) == 0 and got["twice"] == 0
                    and statistics.median(got["gap_ms"]) <= 3 and max(got["gap_ms"]) <= 10
                )  # fmt: skip
                yield got, f"{system.name:12} {words(got)}", holds
            it.stop()
