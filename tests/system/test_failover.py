"""A machine stands at two hosts, and the second one has it when the first one is lost."""

import signal
import time

from lab import Lab
from moves import MoveNetwork, Stream
from wait import expect, until

LEASE_S = 2
# What it may take besides the lease, in milliseconds.
MORE_MS = 300


class FailoverNetwork(MoveNetwork):
    """The network in which tenants move, with a short lease. The machine `vm` has both cables plugged in: it is the same
    machine at both hosts, as the two of a pair are for others."""

    def __init__(self, lab, **sessions):
        super().__init__(lab)
        self.nva.config["sessions"] = {"lease_s": LEASE_S, **sessions}
        self.nva.config["failover"] = {"brake_within_s": 5}

    def pair(self, name="vm", kind="primary"):
        """Declares that it stands at nve1 and nve2."""
        members = [f"--member={self.names[nve]}" for nve in ("nve1", "nve2")]
        self.asks("group", "add", "db", "--attachment", name, "--kind", kind, *members)
        self.machines[name].plug("nve2")
        until(lambda: name in {one["name"] for one in self.nve2.show("attachment", "list")}, "the standby to be in force")
        return self

    def group(self):
        return self.show("group", "show", "db")

    def active(self):
        return [one["nve"] for one in self.group()["members"] if one["state"] == "active"]

    def events(self, sentence):
        return [line for line in self.nva.log().splitlines() if sentence in line]


def test_the_second_host_has_it_when_the_first_is_lost_and_gives_it_back_only_when_told():
    with Lab("ilaf") as lab:
        net = FailoverNetwork(lab).start().pair()
        m, vm = net.machines, net.machines["vm"]
        nve1, nve2 = net.names["nve1"], net.names["nve2"]
        streams = [Stream(m["peer"].ns, vm, vm.addresses[0]), Stream(m["local"].ns, vm, vm.addresses[1])]
        time.sleep(1)
        expect(net.active() == [nve1], f"{net.active()} have it")
        net.nve1.process.stop(signal.SIGKILL)
        until(lambda: net.active() == [nve2], "the standby to have it")
        time.sleep(1)
        told = [stream.end() for stream in streams]
        print(f"lease {LEASE_S} s: {told[0]}; {told[1]}", flush=True)
        for one in told:
            expect(one.again == 0, f"{one}\n" + "\n".join(net.losses_of(net.nve2, net.nve3)))
            expect(one.gap_ms <= LEASE_S * 1000 + MORE_MS, f"{one}")
            # The stream went on for a second before and after.
            expect(one.sent - one.lost > 1500, f"{one}")
        # The first one comes back, with what it kept: it is a standby, and delivers nothing.
        streams = [Stream(m["peer"].ns, vm, vm.addresses[0]), Stream(m["local"].ns, vm, vm.addresses[1])]
        net.nve1.start()
        until(lambda: all(one["session"] for one in net.group()["members"]), "the first host to be back")
        time.sleep(2)
        told = [stream.end() for stream in streams]
        for one in told:
            expect(one.lost == 0 and one.again == 0, f"{one}")
        expect(net.active() == [nve2] and net.group()["failovers"] == 1, f"{net.group()}")
        expect(len(net.events("an NVE is lost")) == 1, "the failover is told once")
        # Only when told.
        stream = Stream(m["peer"].ns, vm, vm.addresses[0])
        time.sleep(0.5)
        net.asks("group", "return", "db")
        until(lambda: net.active() == [nve1], "it to return")
        time.sleep(1)
        told = stream.end()
        print(f"return: {told}", flush=True)
        expect(told.again == 0 and told.gap_ms < 300, f"{told}")
        net.stop()


def test_an_authority_that_is_killed_and_comes_back_fails_nothing_over():
    with Lab("ilaf") as lab:
        net = FailoverNetwork(lab).start().pair()
        vm, nve1 = net.machines["vm"], net.names["nve1"]
        stream = Stream(net.machines["peer"].ns, vm, vm.addresses[0])
        for _ in range(3):
            net.nva.kill()
            # Longer than a lease.
            time.sleep(LEASE_S + 1)
            net.nva.start()
            until(lambda: all(one["session"] for one in net.group()["members"]), "all to be back", timeout=30)
            time.sleep(4)
        told = stream.end()
        expect(told.lost == 0 and told.again == 0, f"{told}\n" + "\n".join(net.losses()))
        expect(net.active() == [nve1] and net.group()["failovers"] == 0, f"{net.group()}")
        expect(not net.events("an NVE is lost"), "something failed over")
        net.stop()


def test_when_three_hosts_vanish_at_once_nobody_fails_over_until_an_operator_says_so():
    with Lab("ilaf") as lab:
        net = FailoverNetwork(lab).start().pair()
        nve1, nve2 = net.names["nve1"], net.names["nve2"]
        listed = lambda: net.show("group", "list")  # noqa: E731
        for node in net.nodes:
            node.process.stop(signal.SIGKILL)
        until(lambda: listed()["brake"], "the brake")
        # The standby comes back, and is not given anything while the brake is on.
        net.nve2.start()
        until(lambda: {one["nve"]: one["session"] for one in net.group()["members"]}[nve2], "the standby to be back")
        time.sleep(LEASE_S)
        expect(net.active() == [nve1] and listed()["brake"], f"{listed()}")
        net.asks("group", "release-brake")
        until(lambda: net.active() == [nve2], "the standby to have it")
        expect(listed()["brake"] is None, f"{listed()}")
        expect(len(net.events("too many NVEs vanished at once")) == 1, "the brake is told once")
        net.nve2.stop()
        net.nva.stop()


def test_what_is_shared_goes_to_all_members_and_to_those_that_are_left_when_one_is_lost():
    with Lab("ilaf") as lab:
        net = FailoverNetwork(lab).start().pair(kind="shared")
        vm, peer = net.machines["vm"], net.machines["peer"]
        nve2 = net.names["nve2"]
        locators = lambda: sorted(  # noqa: E731
            one["locator"] for record in net.show("records", "--nve", net.group()["members"][0]["nve"])
            + net.show("records", "--nve", nve2) for one in record["locators"] if len(record["locators"]) > 1
        )  # fmt: skip
        expect(len(locators()) == 4, f"both families at both hosts: {locators()}")
        # Many flows: some by each host.
        streams = [Stream(peer.ns, vm, vm.addresses[n % 2], 100) for n in range(8)]
        time.sleep(1)
        by_host = [sum(v for k, v in node.metrics().items() if k.startswith("ilagate_device_received_packets_total")
                       and 'port="fabric0"' in k) for node in (net.nve1, net.nve2)]  # fmt: skip
        expect(all(count > 100 for count in by_host), f"packets by host: {by_host}")
        net.nve1.process.stop(signal.SIGKILL)
        until(lambda: net.active() == [nve2], "one to be left")
        time.sleep(1)
        told = [stream.end() for stream in streams]
        print("; ".join(f"{one.gap_ms}" for one in told), flush=True)
        for one in told:
            expect(one.gap_ms <= LEASE_S * 1000 + MORE_MS, f"{one}")
        net.nve2.stop()
        net.nve3.stop()
        net.nva.stop()
