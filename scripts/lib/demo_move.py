"""The demo of moves: a machine and a task move between two hosts while everybody sends to them. See scripts/demo."""

import json
import sys
import time

from demo import right, run, show, step
from moves import TASK, MoveNetwork, Stream, Transfer
from traffic import Pings
from wait import expect, until

PAUSE_S = 0.1


def streams(net, rate=1000):
    """Numbered datagrams to the machine from another host, from the new host itself, from another network and from the
    Internet; by name."""
    vm, m = net.machines["vm"], net.machines
    ipv4, ipv6 = vm.addresses
    return {
        "another host, IPv4": Stream(m["peer"].ns, vm, ipv4, rate),
        "another host, IPv6": Stream(m["peer"].ns, vm, ipv6, rate),
        "the other of the two hosts, IPv4": Stream(m["local"].ns, vm, ipv4, rate),
        "another network, IPv6": Stream(m["blue"].ns, vm, ipv6, rate),
        "the Internet, IPv6": Stream(net.fab, vm, ipv6, rate),
    }


def ended(net, running, lossless=True):
    """Ends streams and shows what became of them; how many datagrams were lost."""
    lost = 0
    for name, stream in running.items():
        told = stream.end()
        show(f"{name + ':':34} {told}")
        expect(told.again == 0, f"{told.again} datagrams came twice")
        # Those that go direct may pass those before them, which go through the tunnel.
        lost += told.lost
    expect(not lossless or lost == 0, "\n".join([f"{lost} datagrams were lost", *net.losses()]))
    return lost


def counted(net):
    """What the nodes did with packets in flight."""
    what = ("tunnelled", "retranslated", "held", "decapsulated")
    sums = {
        (node.ns.name, done): sum(
            value for key, value in node.metrics().items()
            if key.startswith("ilagate_moves_packets_total") and f'done="{done}"' in key
        )
        for node in net.nodes for done in what
    }  # fmt: skip
    return {key: int(value) for key, value in sums.items() if value}


def timeline(net, name):
    show("\n".join(line for line in net.vm("show", name).splitlines()[6:] if line.strip()))


def moves(net, name, old, new, announcement="arp", mode="hot"):
    """Moves a machine as a hypervisor does: it tells the authority what it is about to do, and does it."""
    net.move(name, old, new, mode)
    net.vm("detached", name, "--nve", net.names[old])
    net.machines[name].unplug(old)
    time.sleep(PAUSE_S)
    net.machines[name].plug(new)
    if announcement:
        net.machines[name].announce(announcement)


def over(net, name):
    until(lambda: "draining" in net.vm("show", name) or "done" in net.vm("show", name), "everybody to know")


def demo(lab):
    step(
        "Three hosts and an authority",
        "A machine (network red, 10.0.0.1 and 2001:db8:a::1) has a cable to two hosts, and so has a task. The hosts' files",
        "name neither of them. Whoever is moved here is a namespace with a bridge: its cables are plugged in and out of that.",
    )
    net = MoveNetwork(lab).start()
    show(net.vm("list"))
    vm = net.machines["vm"]

    step(
        "A running machine moves",
        f"It is away from both hosts for {PAUSE_S * 1000:.0f} ms. Everybody sends 1,000 datagrams a second to it, and a ping goes every 2 ms. TCP",
        "sends full segments in both families.",
    )
    before = counted(net)
    running = streams(net)
    pings = Pings(net.machines["peer"].ns, vm.addresses[0], 0.002)
    transfers = [Transfer(net.machines["peer"].ns, vm, to) for to in vm.addresses]
    time.sleep(0.5)
    moves(net, "vm", "nve1", "nve2")
    over(net, "vm")
    time.sleep(0.5)
    came = [transfer.end() for transfer in transfers]
    asked, answered = pings.end()
    ended(net, running)
    timeline(net, "vm")
    for (node, done), value in counted(net).items():
        show(f"{node}: {value - before.get((node, done), 0)} packets {done}")
    expect(asked == answered, f"{asked - answered} of {asked} pings were lost")
    right(f"no datagram was lost, none came twice, and all {asked} pings were answered")
    right(f"TCP brought {came[0]} bytes by IPv4 and {came[1]} by IPv6, every one of them")

    step("And back, while the first move still drains", "A silent machine: it announces nothing, and its operator says that it runs.")
    running = streams(net)
    time.sleep(0.3)
    moves(net, "vm", "nve2", "nve1", announcement=None)
    net.vm("arrived", "vm", "--nve", net.names["nve1"])
    over(net, "vm")
    time.sleep(0.5)
    ended(net, running)
    right("nothing was lost")

    step("A task moves", "It has a SIR address, and RARP announces it, as QEMU does after a migration.")
    task = net.machines["task"]
    running = {"the Internet": Stream(net.fab, task, TASK)}
    time.sleep(0.3)
    moves(net, "task", "nve1", "nve2", announcement="rarp")
    over(net, "task")
    time.sleep(0.5)
    ended(net, running)
    right("nothing was lost")

    step(
        "A move that fails halfway",
        "The machine left its host and does not arrive. The operator leaves it where it was: what the new host held goes back.",
    )
    running = streams(net)
    time.sleep(0.3)
    net.move("vm", "nve1", "nve2")
    net.vm("detached", "vm", "--nve", net.names["nve1"])
    vm.unplug("nve1")
    time.sleep(PAUSE_S)
    vm.plug("nve1")
    net.vm("abort", "vm", "--nve", net.names["nve1"])
    until(lambda: not net.moving(), "the move to be over")
    time.sleep(0.5)
    ended(net, running)
    right("nothing was lost, and it may move again")

    step(
        "The authority is killed in the middle of a move",
        "The machine left its host when the authority dies. Both hosts go on with what they were told: the new one serves",
        "the machine as soon as it sees it.",
    )
    running = streams(net, 300)
    time.sleep(0.3)
    net.move("vm", "nve1", "nve2")
    net.vm("detached", "vm", "--nve", net.names["nve1"])
    net.nva.kill()
    vm.unplug("nve1")
    vm.plug("nve2")
    vm.announce("arp")
    time.sleep(2)
    net.machines["peer"].ns.reaches(vm.addresses[0])
    net.nva.start()
    over(net, "vm")
    time.sleep(0.5)
    ended(net, running)
    timeline(net, "vm")
    right("nothing was lost, and the move was finished when the authority came back")

    step(
        "A warm move",
        "The machine ends at one host, and its copy, which was renewed from time to time, begins at the other one. It sends",
        "neither ARP nor Neighbour Advertisements: its first packet tells that it is there.",
    )
    until(lambda: not net.moving(), "the move to be over")
    net.move("vm", "nve2", "nve1", "warm")
    net.vm("renew", "vm", "--nve", net.names["nve2"])
    time.sleep(1)
    show("\n".join(line for line in net.vm("show", "vm").splitlines() if "seed" in line))
    vm.unplug("nve2")
    time.sleep(PAUSE_S)
    vm.plug("nve1")
    until(lambda: vm.ns.answered(net.machines["peer"].addresses[0]), "the machine to reach its peer")
    over(net, "vm")
    timeline(net, "vm")
    right("it is at its new host by its first packet")

    step("A cold move", "The machine is shut down, and started at the other host. What comes meanwhile is dropped.")
    until(lambda: not net.moving(), "the move to be over")
    running = streams(net)
    time.sleep(0.3)
    moves(net, "vm", "nve1", "nve2", mode="cold")
    over(net, "vm")
    time.sleep(0.5)
    lost = ended(net, running, lossless=False)
    expect(lost > 0, "a cold move lost nothing: what was it?")
    net.machines["peer"].ns.reaches(vm.addresses[0])
    right(f"{lost} datagrams were lost while it was down, as they should be, and it is there again")

    until(lambda: not net.moving(), "the move to be over")
    for node in net.nodes:
        left = [one for one in node.show("attachment", "list") if one["origin"] == "nva"]
        show(f"{node.ns.name}: {json.dumps(sorted(one['name'] for one in left))}")
    net.stop()


if __name__ == "__main__":
    sys.exit(run(demo))
