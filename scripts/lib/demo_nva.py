"""The demo of the authority: a gateway and two NVEs without a mapping file. See scripts/demo."""

import sys

from demo import right, run, show, step
from nva import Authority, follow
from reference import INET, L1, L2, T1, T2, Network, task_up
from traffic import Pings
from wait import expect, until

SESSION = "ilagate_nva_session"
REFUSED = 'ilagate_nva_registrations{state="refused"}'


def learned(node):
    return {mapping["sir"] for mapping in node.show("mapping", "list", "--origin", "nva")}


def demo(lab):
    step(
        "An authority and three nodes",
        "Nobody has a mapping file. Each NVE registers what is attached to it, and all learn what is registered.",
    )
    net = Network(lab, start=False)
    gw, nve1, nve2 = (node.config["node"]["name"] for node in net.nodes)
    nva = Authority(lab, net.fab, net.domain, {gw: [], nve1: [L1], nve2: [L2]}).start()
    for node in net.nodes:
        follow(node, nva)
        node.launch()
    for node in net.nodes:
        node.ready()
    # What is attached to a node it knows itself.
    for node, sirs in ((net.gw, {T1, T2}), (net.nve1, {T2}), (net.nve2, {T1})):
        until(lambda node=node, sirs=sirs: sirs <= learned(node), f"{node.ns.name} to learn of {sirs}")
    show(net.gw.ctl("mapping", "list", "--origin", "nva"))
    right("the gateway knows both tasks; they told the authority, and it told everybody")
    task_up(net.t1, T1)
    task_up(net.t2, T2)
    net.t1.reaches(T2)
    net.inet.reaches(T1)
    right("T1 reaches T2, and the Internet host reaches T1")

    step(
        "The authority is killed, and comes back",
        "A ping runs all the time. Without a session the nodes forward on what they know.",
    )
    pings = Pings(net.t1, T2, 0.1)
    nva.kill()
    until(lambda: net.nve1.metrics()[SESSION] == 0, "the session to end")
    right("the sessions are over")
    nva.start()
    for node in net.nodes:
        until(lambda node=node: node.metrics()[SESSION] == 1, f"{node.ns.name} to come back")
    sent, answered = pings.end()
    expect(answered == sent, f"{sent - answered} of {sent} pings were lost")
    right(f"everybody is back, the registry is as it was, and none of {sent} pings was lost")

    step(
        "A second claim",
        "NVE2 says that it has T1, too. The first owner keeps it, and the operator is told who that is.",
    )
    net.nve2.config["attachments"].append(dict(net.nve1.config["attachments"][0], mac="02:00:00:00:00:0c"))
    net.nve2.reload()
    until(lambda: net.nve2.metrics()[REFUSED] == 1, "the claim to be refused")
    told = [line for line in net.nve2.log().splitlines() if "refuses an identifier" in line]
    show(told[-1].split("client")[-1])
    expect(f"is registered by {nve1}" in told[-1], told[-1])
    right("refused, and told with the owner's name")

    net.stop()
    nva.stop()


if __name__ == "__main__":
    sys.exit(run(demo))
