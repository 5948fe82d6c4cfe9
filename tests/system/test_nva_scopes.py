"""ILA routers that share the identifiers of a domain: each follows a part of the mappings."""

from lab import Lab
from nva import Authority, follow
from reference import L1, L2, L3, T1, T2, T3, Network, task_up
from wait import expect, until


def known(node):
    return {mapping["sir"] for mapping in node.show("mapping", "list", "--origin", "nva")}


def test_two_routers_share_a_domain_and_each_knows_its_part():
    with Lab("ilav") as lab:
        net = Network(lab, start=False)
        # NVE3 is the second router. It follows T2, and the gateway the others.
        net.third()
        gw, nve1, nve2, nve3 = [node.config["node"]["name"] for node in net.nodes]
        nva = Authority(lab, net.fab, net.domain, {gw: [], nve1: [L1], nve2: [L2], nve3: [L3]})
        nva.start()
        for node in net.nodes:
            follow(node, nva)
            node.config["sir_domains"] = [dict(domain, on_miss="route") for domain in net.domain]
            node.config["node"]["state_dir"] = lab.path("state")
        net.gw.config["nva"]["scopes"] = [{"prefix": f"{T1}/128"}, {"prefix": f"{T3}/128"}]
        net.nve3.config["nva"]["scopes"] = [{"prefix": f"{T2}/127"}]
        net.fab.route(f"{T2}/127 via fd00:f:3::1")
        # Those of tasks know nothing but what they have: all packets go by the routers.
        for node in (net.nve1, net.nve2):
            node.config["nva"]["scopes"] = [{"domain": "tasks", "vnid": 1}]
        for node in net.nodes:
            node.launch()
        for node in net.nodes:
            node.ready()
        for task, address in ((net.t1, T1), (net.t2, T2), (net.t3, T3)):
            task_up(task, address)
        until(lambda: known(net.gw) == {T1, T3}, "the gateway to know its part")
        until(lambda: known(net.nve3) == {T2}, "NVE3 to know its part")
        before = net.nve3.show("port", "list")
        net.t1.reaches(T2)
        net.t2.reaches(T1)
        forwarded = lambda ports: sum(port["counters"]["forwarded"] for port in ports)  # noqa: E731
        expect(forwarded(net.nve3.show("port", "list")) > forwarded(before), "no packet went by NVE3")
        expect(not known(net.nve1) and not known(net.nve2), "an NVE knows what it does not follow")
        # What changes outside its part, a router is not told of.
        task2, net.nve2.config["attachments"] = net.nve2.config["attachments"], []
        net.nve2.reload()
        until(lambda: known(net.nve3) == set(), "NVE3 to hear of the release")
        status = lambda: {nve["name"]: nve for nve in nva.ctl("nves")}  # noqa: E731
        revision = nva.ctl("status")["revision"]
        until(lambda: status()[gw]["applied"] == revision, "the gateway to have applied what does not concern it")
        # With another scope, what it knew is not what a revision shows: it is told anew.
        net.gw.stop()
        net.gw.config["nva"]["scopes"] = [{"domain": "tasks"}]
        net.gw.start()
        net.nve2.config["attachments"] = task2
        net.nve2.reload()
        until(lambda: known(net.gw) == {T1, T2, T3}, "the gateway to know everything")
        expect("the authority tells everything anew" in net.gw.log(), "the gateway was not told anew")
        net.stop()
        nva.stop()
