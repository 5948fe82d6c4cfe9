"""The demo of the authority: a gateway and three NVEs without a mapping file, by mutual TLS. See scripts/demo."""

import json
import os
import sys

import packets
from demo import right, run, show, step
from lab import binary
from nva import Authority, Management, Pki, follow
from reference import INET, L1, L2, L3, T1, T2, T3, Network, task_up
from traffic import Pings
from wait import expect, until

SESSION = "ilagate_nva_session"
REFUSED = 'ilagate_nva_registrations{state="refused"}'


def learned(node):
    return {mapping["sir"] for mapping in node.show("mapping", "list", "--origin", "nva")}


def live(nodes):
    for node in nodes:
        until(lambda node=node: node.metrics()[SESSION] == 1, f"{node.ns.name} to have a session")


class Operator:
    """`ilactl nva` over the management network, with an operator's certificate."""

    def __init__(self, nva, pki):
        self.nva = nva
        tls, _ = pki.issue("operator", "alice")
        self.words = ["--nva", nva.endpoint, "--tls-cert", tls["certificate"], "--tls-key", tls["key"],
                      "--tls-ca", tls["authorities"]]  # fmt: skip

    def asks(self, *words):
        return self.nva.ns.run([binary("ilactl"), "nva", *self.words, *words])

    def makes(self, network):
        words = [binary("ilactl"), "nva", *self.words, "network", "add", "--file", "-"]
        return self.nva.ns.run(words, stdin=json.dumps(network))


def by_the_gateway(net, count=10):
    """T3 sends echo requests to T1; how many the gateway got."""
    wire = net.fab.capture("gw", "icmp6 and ip6[40] == 128")
    net.t3.reaches(T1, count=count)
    return sum((packet.source, packet.destination) == (T3, T1) for packet in packets.ipv6(wire.frames()))


RED = {"name": "red", "vnid": 100, "domain": "tasks", "mtu": 1400,
       "ipv6": {"prefix": "2001:db8:a::/96", "gateway": "2001:db8:a::ffff:fffe"},
       "ipv4": [{"prefix": "10.0.0.0/24", "gateway": "10.0.0.254"}]}  # fmt: skip


def machines(lab, net):
    """A virtual machine at a port of each NVE. No file says whose it is."""
    made = []
    for n, node in ((1, net.nve1), (2, net.nve2)):
        vm = lab.ns(f"vm{n}")
        lab.wire(vm, "eth0", node.ns, f"vm{n}")
        vm.run(f"ip link set eth0 address 02:00:00:00:02:0{n}")
        vm.run(f"ip addr add 10.0.0.{n}/24 dev eth0")
        vm.run(f"ip -6 addr add 2001:db8:a::{n}/96 dev eth0 nodad")
        node.config["ports"].append({"name": "access1", "device": f"net_af_packet2,iface=vm{n}", "role": "access"})
        node.config["nva"]["provision"] = True
        made.append(vm)
    return made


def transfer(net, seconds):
    """A TCP transfer from T1 to T2 that is under way."""
    server = net.t2.spawn(["iperf3", "-6", "-s", "-1", "-B", T2])
    until(lambda: ":5201" in net.t2.run("ss -Hltn"), "iperf3")
    client = net.t1.spawn(["iperf3", "-6", "-J", "-c", T2, "-B", T1, "-t", seconds, "-b", "100M"])
    return server, client


def transferred(server, client):
    expect(client.wait() == 0 and server.wait() == 0, f"the transfer failed:\n{client.output()[-2000:]}")
    told = json.loads(client.output())
    rates = [second["sum"]["bits_per_second"] / 1e6 for second in told["intervals"]]
    return told["end"]["sum_received"]["bytes"] / 1e6, min(rates)


def demo(lab):
    step(
        "An authority, a gateway and three NVEs",
        "Nobody has a mapping file. Each NVE registers what is attached to it. The gateway, NVE1 and NVE2 learn all that is",
        "registered; NVE3 is in cache mode. All by mutual TLS over a management network beside the fabric. `ilactl pki`",
        "made the certificates.",
    )
    net = Network(lab, start=False)
    net.third()
    gw, nve1, nve2, nve3 = names = tuple(node.config["node"]["name"] for node in net.nodes)
    pki, management = Pki(lab), Management(lab)
    revoked = lab.path("revoked")
    with open(revoked, "w") as file:
        file.write("# nobody\n")
    tls, _ = pki.issue("nva", "nva1")
    locators = {gw: [], nve1: [L1], nve2: [L2], nve3: [L3]}
    nva = Authority(lab, management.ns, net.domain, locators, dict(tls, revoked=revoked))
    nva.config["operators"] = [{"name": "alice", "role": "admin"}]
    nva.config["nves"][0]["router"] = True
    nva.start()
    for node, name in zip(net.nodes, names):
        management.join(node)
        tls, _ = pki.issue("nve", name)
        follow(node, nva, tls=tls)
        if node is not net.nve3:
            node.config["node"]["state_dir"] = lab.path("state")
    net.nve3.config["nva"]["mode"] = "cache"
    net.nve3.config["sir_domains"] = [dict(domain, on_miss="route") for domain in net.domain]
    vms = machines(lab, net)
    for node in net.nodes:
        node.launch()
    for node in net.nodes:
        node.ready()
    # What is attached to a node it knows itself.
    for node, sirs in ((net.gw, {T1, T2, T3}), (net.nve1, {T2, T3}), (net.nve2, {T1, T3})):
        until(lambda node=node, sirs=sirs: sirs <= learned(node), f"{node.ns.name} to learn of {sirs}")
    show(net.gw.ctl("mapping", "list", "--origin", "nva"))
    right("the gateway knows the three tasks: their NVEs told the authority, and it told everybody")
    live([net.nve3])
    expect(not net.nve3.show("mapping", "list", "--origin", "cache"), "NVE3 has mappings that no packet needed")
    for task, address in ((net.t1, T1), (net.t2, T2), (net.t3, T3)):
        task_up(task, address)
    net.t1.reaches(T2)
    net.inet.reaches(T1)
    right("T1 reaches T2, and the Internet host reaches T1")
    operator = Operator(nva, pki)
    show(operator.asks("nves"))
    show(operator.asks("records"))
    right("and an operator sees it from anywhere on the management network")

    step(
        "The authority is killed, and comes back",
        "A TCP transfer from T1 to T2 and a ping from the Internet run all the time. Without a session the nodes forward",
        "on what they know.",
    )
    server, client = transfer(net, 8)
    pings = Pings(net.inet, T1, 0.05)
    nva.kill()
    until(lambda: net.nve1.metrics()[SESSION] == 0, "the session to end")
    right("the sessions are over")
    nva.start()
    live(net.nodes)
    right("everybody is back, and the registry is as it was")
    megabytes, least = transferred(server, client)
    expect(least > 0, "the transfer stood still for a second")
    right(f"{megabytes:.0f} MB were transferred, in the worst second {least:.0f} Mbit/s")
    sent, answered = pings.end()
    expect(answered == sent, f"{sent - answered} of {sent} pings were lost")
    right(f"none of {sent} pings was lost")

    step(
        "A node starts anew while the authority is away",
        "NVE1 keeps what it is told in node.state_dir: it forwards at once on what it knew.",
    )
    nva.kill()
    net.nve1.stop()
    net.nve1.start()
    net.t1.reaches(T2)
    stale = net.nve1.metrics()["ilagate_nva_stale_seconds"]
    told = [line for line in net.nve1.log().splitlines() if "not confirmed yet" in line]
    show(told[-1].split("INFO ")[-1])
    right(f"T1 reaches T2; the node says that nobody confirmed its mappings for {stale:.0f} s")
    nva.start()
    live(net.nodes)

    step(
        "A second claim, and a claim to another's locator",
        "NVE2 says that it has T1, too. The first owner keeps it, and the operator is told who that is.",
    )
    before = net.nve2.config["attachments"]
    net.nve2.config["attachments"] = [*before, dict(net.nve1.config["attachments"][0], mac="02:00:00:00:00:0d")]
    net.nve2.reload()
    until(lambda: net.nve2.metrics()[REFUSED] == 1, "the claim to be refused")
    told = [line for line in net.nve2.log().splitlines() if "refuses an identifier" in line]
    show(told[-1].split("ERROR ")[-1])
    expect(f"is registered by {nve1}" in told[-1], told[-1])
    right("refused, and told with the owner's name")
    net.nve2.config["attachments"] = before
    net.nve2.stop()
    # Its certificate is valid. The locator is that of NVE1.
    honest = net.nve2.config["locators"]
    net.nve2.config["locators"] = [{"prefix": L1, "domain": "tasks"}]
    net.nve2.start()
    until(lambda: f"is not a locator of {nve2}" in net.nve2.log(), "the claim to be refused")
    expect(f"is not a locator of {nve2}" in nva.log(), "the authority does not tell of it")
    right("with a valid certificate NVE2 claims the locator of NVE1: refused, and told on both sides")
    net.nve2.stop()
    net.nve2.config["locators"] = honest
    net.nve2.start()
    live([net.nve2])
    until(lambda: T2 in learned(net.nve1), "T2 to be there again")
    net.t1.reaches(T2)

    step(
        "A tenant network that an operator makes",
        "Two virtual machines are plugged in at NVE1 and NVE2. An operator makes their network at the authority, and says",
        "where they are. No node's file is touched.",
    )
    operator.makes(RED)
    for n, nve in ((1, nve1), (2, nve2)):
        operator.asks("attachment", "add", nve, f"vm{n}", "--port", "access1", "--mac", f"02:00:00:00:02:0{n}",
                      "--network", "red", "--address", f"10.0.0.{n}", "--address", f"2001:db8:a::{n}")  # fmt: skip
    for node, n in ((net.nve1, 1), (net.nve2, 2)):
        has = lambda node=node: [one["name"] for one in node.show("attachment", "list") if one["origin"] == "nva"]  # noqa: E731
        until(lambda has=has, n=n: has() == [f"vm{n}"], f"{node.ns.name} to have its virtual machine")
    show(operator.asks("network", "list"))
    show(operator.asks("attachment", "list"))
    vms[0].reaches("10.0.0.2")
    vms[0].reaches("2001:db8:a::2")
    right("the two reach each other by IPv4 and IPv6, across the fabric")

    step(
        "A node that asks",
        "NVE3 learned nothing by itself: it asks the authority for what packets need. What it does not know yet goes to",
        "the gateway, which is the router of the SIR domain.",
    )
    first = by_the_gateway(net)
    until(lambda: net.nve3.show("mapping", "list", "--origin", "cache"), "the answer")
    show(net.nve3.ctl("mapping", "list", "--origin", "cache"))
    later = by_the_gateway(net)
    expect(0 < first < 10 and later == 0, f"{first} of 10 packets by the gateway, and then {later}")
    right(f"of 10 packets to T1 the first {first} went by the gateway, and then none of 10")

    step(
        "A node that is redirected",
        "NVE3 starts anew in redirect mode: its packets make no query. The gateway tells the authority of a packet that",
        "could have gone direct, and the authority tells NVE3.",
    )
    net.nve3.stop()
    net.nve3.config["nva"]["mode"] = "redirect"
    net.nve3.start()
    live([net.nve3])
    first = by_the_gateway(net, 40)
    later = by_the_gateway(net)
    told = [line for line in nva.log().splitlines() if "an NVE is redirected" in line]
    show(told[-1].split("INFO ")[-1])
    metrics = net.nve3.metrics()
    asked, redirected = (metrics[f"ilagate_nva_{what}_total"] for what in ("queried_identifiers", "redirected_mappings"))
    expect(asked == 0 and redirected > 0, f"{asked} queries, {redirected} redirects")
    expect(0 < first < 40 and later == 0, f"{first} of 40 packets by the gateway, and then {later}")
    right(f"of 40 packets to T1 the first {first} went by the gateway, and then none of 10; NVE3 asked for nothing")

    step("A certificate is revoked", "One line in the authority's list of revocations ends the session of NVE2.")
    with open(revoked + ".new", "w") as file:
        file.write(f"identity ilagate://lab/nve/{nve2}\n")
    os.rename(revoked + ".new", revoked)
    until(lambda: net.nve2.metrics()[SESSION] == 0, "the session to end", 10)
    until(lambda: "is revoked" in net.nve2.log(), "the reason")
    show(operator.asks("nves"))
    net.t2.reaches(INET)
    right("NVE2 has no session and is told why; it forwards on what it knows")

    net.stop()
    nva.stop()


if __name__ == "__main__":
    sys.exit(run(demo))
