"""A node in cache mode: it asks the authority for what packets need, and the others send on what it does not know."""

import socket

import packets
from lab import SIR, Lab
from nva import Authority, follow
from reference import L1, L2, T1, T2
from tenants import TenantNetwork, ipv4, ipv6
from test_nva import Domain
from wait import comes, expect, until

# Sends datagrams to many destinations, a few at a time, for some seconds.
FLOOD = """
import socket, sys, time
prefix, distinct, rate, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
out = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
start, sent = time.monotonic(), 0
while (passed := time.monotonic() - start) < seconds:
    while sent < passed * rate:
        out.sendto(b"x", (f"{prefix}2000:1:0:{sent % distinct:x}", 9))
        sent += 1
    time.sleep(0.005)
print(sent)
"""

QUERIED, NEGATIVE = "ilagate_nva_queried_identifiers_total", "ilagate_nva_negative_answers_total"
REDIRECTED, TRIANGULAR = "ilagate_nva_redirected_mappings_total", "ilagate_nva_triangular_reports_total"
CACHED, REFRESHED = "ilagate_nva_cached_mappings", "ilagate_nva_refreshed_mappings_total"
SUPPRESSED, LOST = (f'ilagate_nva_unasked_misses_total{{reason="{reason}"}}' for reason in ("suppressed", "lost"))


class CacheDomain(Domain):
    """The reference network, whose first NVE knows nothing but what it asks for."""

    def __init__(self, lab, mode="cache", **sessions):
        super().__init__(lab, **sessions)
        nve1 = self.net.nve1
        nve1.config["nva"]["mode"] = mode
        nve1.config["sir_domains"] = [dict(domain, on_miss="route") for domain in self.net.domain]

    def start(self):
        super().start()
        self.knows(self.net.gw, T1, T2)
        self.knows(self.net.nve2, T1)
        until(lambda: self.net.nve1.metrics()["ilagate_nva_session"] == 1, "a session of the node that asks")
        return self


def cached(node):
    return {mapping["sir"] for mapping in node.show("mapping", "list", "--origin", "cache")}


def by_the_gateway(net, count):
    """Pings task 2, and says how many echo requests the gateway got and sent on."""
    wire = net.fab.capture("gw", "icmp6 and ip6[40] == 128")
    net.t1.reaches(T2, count)
    seen = [(packet.source, packet.destination) for packet in packets.ipv6(wire.frames())]
    there, back = ([pair for pair in seen if pair == (T1, to)] for to in (T2, packets.ila(T2, L2)))
    expect(len(there) + len(back) == len(seen), f"strange requests: {seen}")
    return len(there), len(back)


def flood(net, distinct, rate=300, seconds=5):
    """Task 1 sends to identifiers that nobody has; how much of what it measured grew meanwhile."""
    before = net.nve1.metrics()
    sender = net.t1.spawn(["python3", "-c", FLOOD, f"{SIR}", str(distinct), str(rate), str(seconds)])
    net.t1.reaches(T2, 10)
    expect(sender.wait() == 0, sender.output())
    sent = int(sender.output().split()[-1])
    grown = lambda: {name: value - before[name] for name, value in net.nve1.metrics().items() if name in before}  # noqa: E731
    # Whoever answers the last query does so soon.
    comes(lambda: grown()[QUERIED] == grown()[NEGATIVE], 5)
    return sent, grown()


def test_the_first_packets_go_by_the_gateway_and_the_next_ones_direct():
    with Lab("ilac") as lab:
        domain = CacheDomain(lab).start()
        net = domain.net
        expect(not net.nve1.show("mapping", "list", "--origin", "nva") and not cached(net.nve1), "it knows already")
        there, back = by_the_gateway(net, 10)
        expect(0 < there < 10 and there == back, f"{there} of 10 to the gateway, {back} from it")
        expect(cached(net.nve1) == {T2}, f"the node knows {cached(net.nve1)}")
        expect(by_the_gateway(net, 5) == (0, 0), "the gateway still sees them")
        metrics = net.nve1.metrics()
        expect((metrics[QUERIED], metrics[CACHED]) == (1, 1), f"{metrics[QUERIED]} queries")
        # What is released goes from the cache by itself, long before its lifetime is over.
        net.nve2.config["attachments"] = []
        net.nve2.reload()
        until(lambda: not cached(net.nve1), "the node to forget task 2")
        domain.stop()


def test_a_flood_of_unknown_destinations_makes_few_queries_and_stops_nobody():
    with Lab("ilac") as lab:
        domain = CacheDomain(lab).start()
        net = domain.net
        net.t1.reaches(T2)
        until(lambda: cached(net.nve1) == {T2}, "the node to know task 2")
        # Always the same few: each is asked for again when its answer is old.
        sent, grown = flood(net, distinct=3)
        expect(sent > 1000 and 3 <= grown[QUERIED] <= 3 * 6 and grown[NEGATIVE] == grown[QUERIED],
               f"{sent} packets, {grown[QUERIED]} queries, {grown[NEGATIVE]} negative answers")  # fmt: skip
        expect(grown[SUPPRESSED] + grown[LOST] + grown[QUERIED] >= sent, f"{sent} packets, {grown}")
        # Always others: what one task may ask for is bounded.
        sent, grown = flood(net, distinct=60_000)
        expect(sent > 1000 and grown[QUERIED] <= 64 + 50 * 8, f"{sent} packets, {grown[QUERIED]} queries")
        expect(grown[LOST] > 0 and cached(net.nve1) == {T2}, f"{grown[LOST]} lost, and {cached(net.nve1)} known")
        expect(by_the_gateway(net, 5) == (0, 0), "the gateway sees what is known")
        domain.stop()


def test_what_is_cached_stays_in_use_while_the_authority_is_away_and_is_confirmed_afterwards():
    with Lab("ilac") as lab:
        domain = CacheDomain(lab).start()
        net = domain.net
        net.t1.reaches(T2)
        until(lambda: cached(net.nve1) == {T2}, "the node to know task 2")
        domain.nva.kill()
        until(lambda: net.nve1.metrics()["ilagate_nva_session"] == 0, "the session to end")
        expect(by_the_gateway(net, 5) == (0, 0), "the gateway sees what is known")
        # A node that starts now knows nothing, and the gateway sends on for it.
        net.nve1.stop()
        net.nve1.start()
        net.t1.reaches(T2)
        expect(not cached(net.nve1), f"the node knows {cached(net.nve1)}")
        domain.nva.start()
        until(lambda: net.nve1.metrics()["ilagate_nva_session"] == 1, "the session to come back")
        until(lambda: net.t1.answered(T2) and cached(net.nve1) == {T2}, "the node to ask again")
        # What is released while the node has no session is deleted by the next one.
        domain.nva.kill()
        until(lambda: net.nve1.metrics()["ilagate_nva_session"] == 0, "the session to end")
        net.nve2.config["attachments"] = []
        net.nve2.reload()
        expect(cached(net.nve1) == {T2}, f"the node knows {cached(net.nve1)}")
        domain.nva.start()
        until(lambda: not cached(net.nve1), "the node to forget task 2")
        domain.stop()


def test_what_is_used_is_asked_for_again_in_time_and_what_is_not_used_goes():
    with Lab("ilac") as lab:
        domain = CacheDomain(lab, cache_lifetime_s=5).start()
        net = domain.net
        net.t1.reaches(T2)
        until(lambda: cached(net.nve1) == {T2}, "the node to know task 2")
        expect(net.nve1.metrics()[REFRESHED] == 0, "refreshed at once")
        # Used for more than two lifetimes, it is there all the time.
        expect(by_the_gateway(net, 120) == (0, 0), "the gateway sees what is used")
        refreshed = net.nve1.metrics()[REFRESHED]
        expect(2 <= refreshed <= 5, f"asked for again {refreshed} times in 12 s")
        # Nobody uses it any more.
        until(lambda: not cached(net.nve1), "the mapping to expire", 15)
        expect(net.nve1.metrics()[REFRESHED] <= refreshed + 1, "what is not used is asked for again")
        domain.stop()


def questions(wire, address, at_least=1):
    """How often a host asked for an address, by ARP or Neighbour Discovery."""
    arp = socket.inet_aton(address) if "." in address else None
    at, wanted = (38, arp) if arp else (62, socket.inet_pton(socket.AF_INET6, address))
    frames = [frame for frame in wire.frames(at_least=at_least) if frame[at : at + len(wanted)] == wanted]
    return len(frames)


def test_a_tenants_first_question_is_answered_when_the_authority_answers():
    with Lab("ilac") as lab:
        net = TenantNetwork(lab)
        names = [node.config["node"]["name"] for node in net.nodes]
        domains = net.nve1.config["sir_domains"]
        nva = Authority(lab, net.fab, domains, dict(zip(names, ([L1], [L2])))).start()
        for node in net.nodes:
            follow(node, nva)
        net.nve1.config["nva"]["mode"] = "cache"
        net.nve1.config["sir_domains"] = [dict(domain, on_miss="route") for domain in domains]
        net.start()
        for node, registered in ((net.nve1, 4), (net.nve2, 5)):
            count = 'ilagate_nva_registrations{state="registered"}'
            until(lambda node=node, n=registered: node.metrics()[count] == n, f"{node.ns.name} to be registered")
        expect(not cached(net.nve1), f"it knows {cached(net.nve1)}")
        vm1 = net.vms["vm1"]
        for address, kind in ((ipv4("vm2"), "arp and arp[6:2] == 1"), (ipv6("vm2"), "icmp6 and ip6[40] == 135")):
            wire = vm1.capture("eth0", kind)
            vm1.reaches(address, 1)
            expect((asked := questions(wire, address)) == 1, f"{address} was asked for {asked} times")
        expect(len(cached(net.nve1)) == 2, f"it knows {cached(net.nve1)}")
        # What nobody has is not answered.
        vm1.silent("10.0.0.77")
        until(lambda: net.nve1.metrics()[NEGATIVE] > 0, "a negative answer")
        neighbours = vm1.run("ip neigh show 10.0.0.77 dev eth0")
        expect("lladdr" not in neighbours, neighbours)
        net.stop()
        nva.stop()


def test_a_router_tells_which_packets_could_go_direct_and_their_sender_is_redirected():
    with Lab("ilac") as lab:
        domain = CacheDomain(lab, mode="redirect")
        domain.nva.config["nves"][0]["router"] = True
        net = domain.start().net
        there, back = by_the_gateway(net, 40)
        expect(0 < there < 40 and there == back, f"{there} of 40 to the gateway, {back} from it")
        expect(cached(net.nve1) == {T2}, f"the node knows {cached(net.nve1)}")
        expect(by_the_gateway(net, 5) == (0, 0), "the gateway still sees them")
        metrics = net.nve1.metrics()
        expect((metrics[QUERIED], metrics[REDIRECTED]) == (0, 1), f"{metrics[QUERIED]} queries, {metrics[REDIRECTED]}")
        expect(net.gw.metrics()[TRIANGULAR] >= 1, "the router tells of nothing")
        told = [line for line in domain.nva.log().splitlines() if "an NVE is redirected" in line]
        nve1 = net.nve1.config["node"]["name"]
        expect(len(told) == 1 and T2 in told[0] and nve1 in told[0], domain.nva.log())
        # What it was told of it is told the changes of, too.
        net.nve2.config["attachments"] = []
        net.nve2.reload()
        until(lambda: not cached(net.nve1), "the node to forget task 2")
        domain.stop()


def test_a_node_that_is_no_router_for_the_authority_tells_it_of_no_packets():
    with Lab("ilac") as lab:
        domain = CacheDomain(lab, mode="redirect")
        net = domain.start().net
        expect(by_the_gateway(net, 20) == (20, 20), "somebody else was asked")
        expect(net.gw.metrics()[TRIANGULAR] == 0 and not cached(net.nve1), "the gateway tells of packets")
        domain.stop()
