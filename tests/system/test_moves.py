"""Machines and tasks that move between hosts by the word of an authority, while others send to them."""

import json
import os
import time

from lab import Lab, binary
from moves import ANYCAST, GATEWAY4, ROUTER, TASK, MoveNetwork, Stream
from wait import expect, until

RATE = 300
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Sending:
    """Numbered datagrams from everywhere to the machine, of which none is to be lost or to come twice."""

    def __init__(self, net, rate=RATE):
        self.net, vm, m = net, net.machines["vm"], net.machines
        ipv4, ipv6 = vm.addresses
        self.streams = [
            Stream(m["peer"].ns, vm, ipv4, rate), Stream(m["peer"].ns, vm, ipv6, rate),
            Stream(m["local"].ns, vm, ipv4, rate), Stream(m["local"].ns, vm, ipv6, rate),
            Stream(m["blue"].ns, vm, ipv6, rate), Stream(net.fab, vm, ipv6, rate),
        ]  # fmt: skip
        time.sleep(0.3)

    def end(self):
        time.sleep(0.3)
        ended = [stream.end() for stream in self.streams]
        told = "\n".join([*map(str, ended), *self.net.losses()])
        expect(all(one.lost == 0 and one.again == 0 for one in ended), told)
        return ended


def drains(net, name="vm"):
    """Everybody knows where it is."""
    until(lambda: any(word in net.vm("show", name) for word in ("draining  ", "  done ")), f"{name} to have moved")


def at_rest(net, *here):
    """No move is under way, and each host has the machines that it is to have, and nothing else of a move."""
    until(lambda: not net.moving(), "all moves to be over")
    for node, names in zip(net.nodes, here):
        has = lambda node=node: {one["name"] for one in node.show("attachment", "list") if one["origin"] == "nva"}  # noqa: E731
        until(lambda has=has, names=names: has() == set(names), f"{node.ns.name} to have {names}")
        waiting = sum(value for key, value in node.metrics().items() if key.startswith("ilagate_packets_waiting"))
        expect(waiting == 0, f"{node.ns.name} still holds {waiting} packets")


def leaves(net, name, old, pause_s=0.1):
    net.vm("detached", name, "--nve", net.names[old])
    net.machines[name].unplug(old)
    time.sleep(pause_s)


def arrives(net, name, new, *announcements):
    net.machines[name].plug(new)
    for how in announcements:
        net.machines[name].announce(how)


def test_a_running_machine_moves_there_and_back_and_nothing_is_lost():
    with Lab("ilam") as lab:
        net = MoveNetwork(lab).start()
        sending = Sending(net)
        net.move("vm", "nve1", "nve2")
        leaves(net, "vm", "nve1")
        arrives(net, "vm", "nve2", "arp")
        drains(net)
        # Back at once, while the first move drains; it is announced by Neighbour Advertisements alone.
        net.move("vm", "nve2", "nve1")
        leaves(net, "vm", "nve2")
        arrives(net, "vm", "nve1", "na")
        at_rest(net, ["vm", "task"], ["local"], ["peer", "blue"])
        sending.end()
        tunnelled = sum(
            value for node in net.nodes for key, value in node.metrics().items()
            if key.startswith("ilagate_moves_packets_total") and 'done="tunnelled"' in key
        )  # fmt: skip
        expect(tunnelled > 0, "nothing went through a tunnel")
        net.stop()


def test_full_size_segments_survive_a_move_where_no_tunnel_fits():
    with Lab("ilam") as lab:
        # IPv6 of tenants with 1,500 bytes: a tunnel would need 70 more.
        net = MoveNetwork(lab, fabric_mtu=1500).start()
        vm, peer = net.machines["vm"], net.machines["peer"]
        server = vm.ns.spawn(["iperf3", "-6", "-s", "-1", "-B", vm.addresses[1]])
        until(lambda: ":5201" in vm.ns.run("ss -Hltn"), "iperf3")
        client = peer.ns.spawn(["iperf3", "-6", "-J", "-c", vm.addresses[1], "-t", "4", "-b", "20M"])
        time.sleep(1)
        net.move("vm", "nve1", "nve2")
        leaves(net, "vm", "nve1")
        arrives(net, "vm", "nve2", "arp")
        expect(client.wait() == 0 and server.wait() == 0, f"the transfer failed:\n{client.output()[-2000:]}")
        sent_on = {
            done: sum(value for key, value in net.nve1.metrics().items()
                      if key.startswith("ilagate_moves_packets_total") and f'done="{done}"' in key)
            for done in ("tunnelled", "retranslated")
        }  # fmt: skip
        expect(sent_on["retranslated"] > 0, f"nothing was re-translated: {sent_on}")
        at_rest(net, ["task"], ["local", "vm"], ["peer", "blue"])
        net.stop()


def test_a_task_moves_and_keeps_its_address_and_its_router():
    with Lab("ilam") as lab:
        net = MoveNetwork(lab).start()
        task = net.machines["task"]
        route = task.ns.run("ip -6 route show default").split(" expires")[0]
        stream = Stream(net.fab, task, TASK, RATE)
        time.sleep(0.3)
        net.move("task", "nve1", "nve2")
        leaves(net, "task", "nve1")
        arrives(net, "task", "nve2", "rarp")
        drains(net, "task")
        time.sleep(0.3)
        told = stream.end()
        expect(told.lost == 0 and told.again == 0, str(told))
        expect(route in task.ns.run("ip -6 route show default"), "it lost its router")
        net.fab.reaches(TASK)
        at_rest(net, ["vm"], ["local", "task"], ["peer", "blue"])
        net.stop()


def test_a_move_that_is_aborted_loses_nothing_and_may_begin_again():
    with Lab("ilam") as lab:
        net = MoveNetwork(lab).start()
        sending = Sending(net)
        # Before it left, and after.
        net.move("vm", "nve1", "nve2")
        net.vm("abort", "vm", "--nve", net.names["nve1"])
        until(lambda: not net.moving(), "the first move to be over")
        net.move("vm", "nve1", "nve2")
        leaves(net, "vm", "nve1")
        net.machines["vm"].plug("nve1")
        net.vm("abort", "vm", "--nve", net.names["nve1"])
        until(lambda: not net.moving(), "the second move to be over")
        net.move("vm", "nve1", "nve2")
        leaves(net, "vm", "nve1")
        arrives(net, "vm", "nve2")
        # Nobody announces it, and it is silent.
        net.vm("arrived", "vm", "--nve", net.names["nve2"])
        drains(net)
        sending.end()
        at_rest(net, ["task"], ["local", "vm"], ["peer", "blue"])
        net.stop()


def test_a_machine_arrives_while_the_authority_is_dead():
    with Lab("ilam") as lab:
        net = MoveNetwork(lab).start()
        sending = Sending(net, 150)
        net.move("vm", "nve1", "nve2")
        net.vm("detached", "vm")
        net.nva.kill()
        net.machines["vm"].unplug("nve1")
        arrives(net, "vm", "nve2", "arp")
        time.sleep(2)
        net.machines["peer"].ns.reaches(net.machines["vm"].addresses[0])
        net.nva.start()
        drains(net)
        sending.end()
        at_rest(net, ["task"], ["local", "vm"], ["peer", "blue"])
        net.stop()


def test_a_machine_whose_link_goes_down_has_left():
    with Lab("ilam") as lab:
        net = MoveNetwork(lab).start()
        vm = net.machines["vm"]
        net.move("vm", "nve1", "nve2")
        # Nobody says that it leaves.
        vm.ns.run("ip link set to-nve1 down")
        until(lambda: "carrier" in net.vm("show", "vm"), "the old host to see it leave")
        stream = Stream(net.machines["peer"].ns, vm, vm.addresses[0], RATE)
        time.sleep(0.2)
        arrives(net, "vm", "nve2", "rarp")
        drains(net)
        told = stream.end()
        expect(told.lost == 0 and told.again == 0, f"what came after that: {told}")
        at_rest(net, ["task"], ["local", "vm"], ["peer", "blue"])
        net.stop()


def test_a_machine_that_never_sends_arrives_by_its_answer():
    with Lab("ilam") as lab:
        net = MoveNetwork(lab).start()
        # It does not see its cable go, as a guest does not, and knows its router for good.
        vm = net.machines["vm"]
        for words in ("link add quiet type veth peer name end", "link set end up", "link set quiet up master eth0"):
            vm.ns.run(f"ip {words}")
        for router in (GATEWAY4, ROUTER):
            vm.ns.run(f"ip neigh replace {router} lladdr {ANYCAST} nud permanent dev eth0")
        sending = Sending(net)
        net.move("vm", "nve1", "nve2")
        leaves(net, "vm", "nve1")
        # Nobody announces it, and it only gets datagrams.
        arrives(net, "vm", "nve2")
        drains(net)
        expect("probe" in net.vm("show", "vm"), net.vm("show", "vm"))
        sending.end()
        at_rest(net, ["task"], ["local", "vm"], ["peer", "blue"])
        net.stop()


def test_a_machine_that_answers_no_more_has_left_if_that_is_configured():
    with Lab("ilam") as lab:
        net = MoveNetwork(lab)
        net.nve1.config["moves"]["silence_questions"] = 3
        net.start()
        vm = net.machines["vm"]
        net.move("vm", "nve1", "nve2")
        time.sleep(3)
        expect("silence" not in net.vm("show", "vm"), "it answers, and has not left")
        # Nobody says that it leaves, and its link stays up.
        vm.unplug("nve1")
        until(lambda: "silence" in net.vm("show", "vm"), "the old host to see it leave")
        stream = Stream(net.machines["peer"].ns, vm, vm.addresses[0], RATE)
        time.sleep(0.3)
        arrives(net, "vm", "nve2")
        drains(net)
        told = stream.end()
        expect(told.lost == 0 and told.again == 0, f"what came after that: {told}")
        at_rest(net, ["task"], ["local", "vm"], ["peer", "blue"])
        net.stop()


def test_those_that_stay_are_asked_whether_they_are_still_there():
    with Lab("ilam") as lab:
        net = MoveNetwork(lab)
        net.nve2.config["moves"]["scan_interval_s"] = 0
        net.start()
        local = net.machines["local"]
        net.move("vm", "nve1", "nve2")
        leaves(net, "vm", "nve1")
        arrives(net, "vm", "nve2", "arp")
        at_rest(net, ["task"], ["local", "vm"], ["peer", "blue"])
        events = lambda: [json.loads(line) for line in net.nve2.ctl("--json", "events").splitlines()]  # noqa: E731
        expect(not any(one["kind"] == "silent" for one in events()), "nobody left this host")
        # One of the addresses of who stays is not there any more.
        local.ns.run(f"ip addr del {local.addresses[0]}/24 dev eth0")
        net.move("vm", "nve2", "nve1")
        leaves(net, "vm", "nve2")
        arrives(net, "vm", "nve1", "arp")
        is_silent = lambda one: (one["kind"], one["attachment"], one["address"]) == ("silent", "local", local.addresses[0])  # noqa: E731
        until(lambda: any(is_silent(one) for one in events()), "the old host to see that nobody answers")
        shown = {one["name"]: one.get("silent", []) for one in net.nve2.show("attachment", "list")}
        expect(shown == {"local": [local.addresses[0]]}, shown)
        at_rest(net, ["vm", "task"], ["local"], ["peer", "blue"])
        net.stop()


def test_an_announcement_alone_moves_nothing():
    with Lab("ilam") as lab:
        net = MoveNetwork(lab).start()
        vm = net.machines["vm"]
        # Plugged in where nobody expects it: from the other host, and by its neighbour there.
        vm.plug("nve2")
        for how in ("arp", "na", "rarp"):
            vm.announce(how)
        vm.unplug("nve2")
        net.machines["peer"].ns.reaches(vm.addresses[0])
        shown = net.vm("show", "vm")
        expect(net.names["nve1"] in shown and "move" not in shown.split("addresses")[1], shown)
        net.stop()


DOMAIN = """<domain><name>guest</name><devices>
<interface type='bridge'><vlan><tag id='22'/></vlan><alias name='ua-ila-vm'/></interface>
<interface type='network'><alias name='net1'/></interface></devices></domain>"""


def test_the_hook_of_libvirt_begins_and_ends_the_moves_of_a_guest():
    with Lab("ilam") as lab:
        net = MoveNetwork(lab).start()
        files = {}
        for nve in ("nve1", "nve2"):
            files[nve] = lab.path(f"libvirt-{nve}.json")
            with open(files[nve], "w") as file:
                json.dump({"nve": net.names[nve], "port": "vm", "ilactl": binary("ilactl"),
                           "environment": {"ILACTL_NVA": net.nva.endpoint}}, file)  # fmt: skip

        def hook(nve, operation, sub, reason="-", domain=DOMAIN):
            words = ["env", f"ILAGATE_LIBVIRT={files[nve]}", "/usr/bin/python3", f"{ROOT}/examples/libvirt_hook.py"]
            done = lab.host([*words, "guest", operation, sub, reason], check=False, stdin=domain)
            return done.returncode, done.stdout

        begun = lambda: [row for row in json.loads(net.vm("--json", "list", "--moves"))]  # noqa: E731
        expect(hook("nve2", "prepare", "begin") == (0, "") and not begun(), "another operation began a move")
        expect(hook("nve2", "migrate", "begin", domain="<domain/>") == (0, ""), "a guest without attachments was refused")
        expect(hook("nve2", "migrate", "begin") == (0, ""), "no move was begun")
        [move] = begun()[0]["moves"][:1]
        expect(move["state"] == "prepared" and move["to"] == net.names["nve2"], f"{move}")
        # It failed at the new host.
        expect(hook("nve2", "stopped", "end", "failed") == (0, ""), "the move was not ended")
        until(lambda: not net.moving(), "the move to be over")
        # Again, and it leaves.
        expect(hook("nve2", "migrate", "begin") == (0, ""), "no second move was begun")
        expect(hook("nve1", "stopped", "end", "migrated") == (0, ""), "it was not said that it left")
        expect(begun()[0]["moves"][0]["state"] == "detached", "it has not left")
        net.vm("abort", "vm", "--nve", net.names["nve1"])
        until(lambda: not net.moving(), "the second move to be over")
        # What cannot be moved is refused, with the reason.
        status, said = hook("nve1", "migrate", "begin")
        expect(status != 0 and "at no other NVE" in said, said)
        net.stop()
