"""The judge of the other tests: what the machine lost is sent again, and what a node lost fails at once."""

import copy
import os

import books
from lab import Lab
from reference import T1, Network
from traffic import datagrams
from wait import Failed, Lost, Skipped, expect, until

# Others beside it would be in its measure.
ALONE = True

# Takes a processor from everybody three times, for longer than a small ring holds what comes, and ends by itself.
HOG = """
import os, time
os.sched_setaffinity(0, [{core}]); os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
print('begins', flush=True)
for _ in range(3):
    end = time.monotonic() + 0.8
    while time.monotonic() < end: pass
    time.sleep(0.2)
"""


def written(received, kernel, **more):
    """Books of one node with one port."""
    page = books.NodeBooks.__new__(books.NodeBooks)
    counters = {"received": received, "forwarded": received, "replied": 0, "punted": 0, "dropped": 0, "waiting": 0}
    counters.update(more.get("counters", {}))
    xstats = {"rx_errors": 0, "rx_mbuf_allocation_errors": 0, "tx_errors": 0, "rx_good_packets": received}
    xstats.update(more.get("xstats", {}))
    page.name, page.drops, page.waits = "node", more.get("drops", {}), {"w0": more.get("waited_s", 0)}
    page.ports = {"p": {"counters": counters, "unsent": more.get("unsent", 0), "xstats": list(xstats.items())}}
    page.kernel = {"p": kernel}
    return page


def judged(lost, drops_are_meant=False, sockets=0, **later):
    """What is said of packets lost within a second, in which a node received up to these books."""
    before = books.Books.__new__(books.Books)
    before.at, before.nodes = books.time.monotonic() - 1, {"n": written(10, 20)}
    before.waits, before.stolen_s, before.dropped, before.sockets = {}, 0, {}, {"t1": 0}
    now = copy.copy(before)
    now.nodes, now.sockets = {"n": written(**later)}, {"t1": sockets}
    before.later = lambda: now
    try:
        return before.blame(Lost("packets", 100, 100 - lost), drops_are_meant)
    except Failed as why:
        return f"failed: {why}"


def test_what_the_machine_lost_is_told_from_what_a_node_lost():
    for said, told in (
        # 100 packets in a second, and the worker waited for a quarter of it: 40 may be missed, 60 may not.
        ("missed 40 while", judged(40, received=70, kernel=120, waited_s=0.25)),
        ("40 of 100 arrived; the node's: node p: 60 missed", judged(60, received=50, kernel=120, waited_s=0.25)),
        ("60 of 100 arrived; the node's: node p: 40 missed", judged(40, received=70, kernel=120)),
        ("no counter knows the rest", judged(41, received=70, kernel=120, waited_s=0.5)),
        ("no counter knows the rest", judged(1, received=110, kernel=120)),
        ("sockets overflowed in t1: 3", judged(3, received=110, kernel=120, sockets=3)),
        ("1 dropped as no_mapping", judged(1, received=110, kernel=120, drops={"no_mapping": 1})),
        ("no counter knows", judged(1, received=110, kernel=120, drops={"no_mapping": 1}, drops_are_meant=True)),
        ("no counter knows", judged(1, received=110, kernel=120, drops={"multicast": 1})),
        ("1 unsent", judged(1, received=110, kernel=120, unsent=1)),
        ("110 received", judged(1, received=120, kernel=130, counters={"forwarded": 119})),
        ("rx_errors 1", judged(1, received=110, kernel=120, xstats={"rx_errors": 1})),
        ("handed over 101", judged(1, received=110, kernel=121, xstats={"rx_good_packets": 111}, waited_s=1)),
    ):  # fmt: skip
        expect(said in told, f"`{said}` is not said: {told}")


def test_what_a_busy_machine_lost_is_sent_again():
    cores = os.sched_getaffinity(0)
    with Lab("ilab") as lab:
        net = Network(lab, start=False)
        # A small ring, so that a slow sender overflows it too.
        net.gw.config["ports"][0]["device"] += ",framecnt=256"
        net.start()
        net.inet.reaches(T1)
        core, attempts = net.gw.config["dpdk"]["workers"][0], []

        def attempt(slower):
            attempts.append(slower)
            if slower == 1:
                hog = net.inet.spawn(["/usr/bin/python3", "-c", HOG.format(core=core)])
                until(lambda: "begins" in hog.output() or not hog.alive(), "the hog")
            datagrams(net.inet, net.t1, T1, 2000, 1000 / slower)

        try:
            # Who sends goes on meanwhile.
            os.sched_setaffinity(0, cores - {core})
            books.undisturbed(lab, attempt, "datagrams beside a hog")
        finally:
            os.sched_setaffinity(0, cores)
        if attempts == [1]:
            raise Skipped("nothing can disturb a worker here")
        net.stop()


def test_what_a_node_lost_is_not_sent_again():
    with Lab("ilab") as lab:
        net = Network(lab)
        net.inet.reaches(T1)
        net.gw.ctl("mapping", "add", T1, "--blackhole")
        attempts = []

        def attempt(slower):
            attempts.append(slower)
            datagrams(net.inet, net.t1, T1, 50, 1000)

        try:
            books.undisturbed(lab, attempt, "datagrams into a black hole")
        except Failed as why:
            expect("the node's: gw 50 dropped as blackhole" in str(why), str(why))
        else:
            raise Failed("lost datagrams were overlooked")
        expect(attempts == [1], f"{len(attempts)} attempts")
        net.stop()
