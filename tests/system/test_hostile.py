"""A tenant that floods and spoofs beside one that works: what it can do to others, and what is counted of it.

The working tenant's TCP is paced below what a small machine can carry: a flood takes time of the same cores from every
process, and here it is the node's doing that is to be seen. Windows with and without flood alternate in one transfer.
"""

import json
import statistics
import time

from books import Books, undisturbed
from lab import Lab
from tenants import ANYCAST, TenantNetwork, gateway6, ipv4, ipv6, mac
from wait import Busy, Disturbed, Failed, Lost, comes, expect, until

# It loads the machine.
ALONE = True

WINDOW_S = 2.0
PAIRS = 5
FLOOD_PPS = 3000
PACE_BYTES = 2_000_000

# Counts what comes, with the clock that all processes share, twenty times a second.
RECEIVER = """
import socket, time
s = socket.socket(socket.AF_INET); s.bind(({to!r}, 7000)); s.listen(1); print('listening', flush=True)
c, _ = s.accept(); c.settimeout(0.05); n = 0; due = 0
while True:
    try:
        d = c.recv(65536)
        if not d: break
        n += len(d)
    except TimeoutError: pass
    now = time.monotonic()
    if now >= due: print('at', now, n, flush=True); due = now + 0.05
"""

# Sends what is due. Who was held up makes up for it, at no more than 1.25 times the pace.
SENDER = """
import socket, time
s = socket.socket(socket.AF_INET); s.setsockopt(socket.SOL_SOCKET, 47, {pace} * 5 // 4); s.connect(({to!r}, 7000))
start, n = time.monotonic(), 0; print('from', start, flush=True)
while True:
    due = min(int((time.monotonic() - start) * {pace}) - n, 65536)
    if due > 0: s.sendall(bytes(due)); n += due
    else: time.sleep(0.005)
"""

# ARP and ND questions of the tenant's own, the same in another's name, another's IPv6 packets, unknown destinations,
# and Router Advertisements: so many a second, for so long.
FLOODER = """
import json, socket, struct, time
def b(text): return bytes.fromhex(text.replace(':', ''))
def a4(text): return socket.inet_aton(text)
def a6(text): return socket.inet_pton(socket.AF_INET6, text)
me, router = b({mac!r}), b({router!r})
own4, own6, peer4, peer6, other4, other6, nobody6, whom4 = {addresses!r}
def icmp6(source, to, body):
    pseudo = source + to + struct.pack('!II', len(body), 58)
    data = pseudo + body + bytes(len(body) % 2); total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return body[:2] + struct.pack('!H', ~total & 0xffff) + body[4:]
def ip6(to_mac, source, to, next, body):
    return to_mac + me + b'\\x86\\xdd' + struct.pack('!IHBB', 6 << 28, len(body), next, 255) + source + to + body
def arp(sender, target):
    head = b'\\xff' * 6 + me + b'\\x08\\x06' + struct.pack('!HHBBH', 1, 0x800, 6, 4, 1)
    return head + me + a4(sender) + bytes(6) + a4(target) + bytes(18)
def group(target): return a6('ff02::1:ff00:0')[:13] + target[13:]
def ns(source, target):
    to = group(target)
    asks = icmp6(source, to, bytes([135, 0, 0, 0]) + bytes(4) + target + b'\\x01\\x01' + me)
    return ip6(b'\\x33\\x33' + to[12:], source, to, 58, asks)
datagram = struct.pack('!HHHH', 4000, 4000, 8, 1)
all_nodes, liar = a6('ff02::1'), a6('fe80::1234')
advertises = icmp6(liar, all_nodes, bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8))
frames = {{
    'arp': arp(own4, peer4),
    'nd': ns(a6(own6), a6(peer6)),
    'spoofed': arp(other4, whom4),
    'spoofed6': ip6(router, a6(other6), a6(peer6), 17, datagram),
    'unknown': ip6(router, a6(own6), a6(nobody6), 17, datagram),
    'router': ip6(b'\\x33\\x33' + all_nodes[12:], liar, all_nodes, 58, advertises),
}}
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0))
sent = dict.fromkeys(frames, 0); kinds = list(frames); start = time.monotonic(); total = 0
while (now := time.monotonic() - start) < {seconds}:
    for _ in range(min(60, int(now * {pps}) - total)):
        kind = kinds[total % len(kinds)]; s.send(frames[kind]); sent[kind] += 1; total += 1
    time.sleep(0.005)
print(json.dumps([start, time.monotonic(), sent]))
"""


def flood(net, seconds, pps=FLOOD_PPS, announces=True):
    """vm3, which sits on vm1's host, does its worst; from when to when, and how many frames of each kind it sent.

    It `announces` vm4's address as its own, or only asks in vm4's name. The node reports announcements, and takes an
    ARP message from vm3's limit for each.
    """
    whom = ipv4("vm4") if announces else "10.0.0.77"
    addresses = (ipv4("vm3"), ipv6("vm3"), ipv4("vm4"), ipv6("vm4"), "10.0.0.2", ipv6("vm4"), "2001:db8:b::7777", whom)
    code = FLOODER.format(mac=mac("vm3"), router=ANYCAST, addresses=addresses, seconds=seconds, pps=pps)
    begin, end, sent = json.loads(net.vms["vm3"].run(["/usr/bin/python3", "-c", code], timeout=seconds + 20))
    return begin, end, sent


class Transfer:
    """TCP from vm1 to vm2 at a steady pace, until `end`."""

    def __init__(self, net):
        to = ipv4("vm2")
        self.receiver = net.vms["vm2"].spawn(["/usr/bin/python3", "-c", RECEIVER.format(to=to)])
        self.receiver.wait_for("listening")
        self.sender = net.vms["vm1"].spawn(["/usr/bin/python3", "-c", SENDER.format(to=to, pace=PACE_BYTES)])
        until(lambda: self.sender.output().endswith("\n"), "the transfer to begin")
        self.start = float(self.sender.output().split()[1])

    def behind_s(self, instant):
        """By how many seconds of its traffic the receiver was behind, at best during the half second before."""
        # The last line may be half written.
        lines = [line.split() for line in self.receiver.output().splitlines()[:-1] if line.startswith("at ")]
        seen = [(float(at), int(count)) for _, at, count in lines]
        behind = [at - self.start - count / PACE_BYTES for at, count in seen if instant - 0.5 <= at <= instant]
        if not behind:
            raise Disturbed("the receiver of the transfer did not run for half a second")
        return min(behind)

    def share_lost(self, begin, end):
        """What it fell behind meanwhile, as a share of the time."""
        return (self.behind_s(end) - self.behind_s(begin)) / (end - begin)

    def end(self):
        self.sender.stop()
        self.receiver.wait()


def access1(net):
    return next(port for port in net.nve1.show("port", "list") if port["name"] == "access1")["counters"]


def test_a_flooding_and_spoofing_tenant_takes_nothing_from_the_one_beside_it():
    with Lab("ilah") as lab:
        net = TenantNetwork(lab).start()
        transfer = Transfer(net)
        time.sleep(1.5)

        def dropped():
            return [node.show("vn", "get", "red")["counters"]["dropped"] for node in net.nodes]

        def compare(_):
            quiet, loud = [], []
            books, before = Books(lab), dropped()
            for _ in range(PAIRS):
                begin = time.monotonic()
                time.sleep(WINDOW_S)
                quiet.append(transfer.share_lost(begin, time.monotonic()))
                flood_begin, flood_end, _ = flood(net, WINDOW_S)
                loud.append(transfer.share_lost(flood_begin, flood_end))
                time.sleep(0.5)
            expect(dropped() == before, f"the transfer lost packets in the nodes: {before} before, {dropped()} after")
            lost = statistics.median(loud) - statistics.median(quiet)
            print(f"    lost under flood {100 * lost:.2f} % of the rate")
            if lost > 0.01:
                waited, took = max(books.kept_waiting_s(Books(lab)).values()), time.monotonic() - books.at
                text = f"lost {100 * lost:.2f} % of its rate: {quiet} {loud}"
                text += f"; a worker waited {waited:.1f} s of {took:.1f} s"
                raise Disturbed(text) if waited / took > lost else Failed(text)

        try:
            undisturbed(lab, compare, "a transfer beside a flood", drops_are_meant=True)
        except Busy as why:
            print(f"    the rate is not judged, only that no node dropped a packet of the transfer: {why}", flush=True)
        transfer.end()

        def count(slower):
            before, was = net.nve1.drops(), access1(net)
            begin, end, sent = flood(net, WINDOW_S, FLOOD_PPS / slower, announces=False)
            grown = lambda: access1(net)["received"] - was["received"]  # noqa: E731
            comes(lambda: grown() >= sum(sent.values()), 5)
            if grown() < sum(sent.values()):
                raise Lost("frames of the flood", sum(sent.values()), grown())
            return before, was, end - begin, sent

        # What a flood is counted as.
        before, counted, took_s, sent = undisturbed(lab, count, "a flood", drops_are_meant=True)
        after, now = net.nve1.drops(), access1(net)
        grown = {reason: count - before.get(reason, 0) for reason, count in after.items()}
        expect(grown["spoofed_source"] == sent["spoofed"] + sent["spoofed6"], (grown, sent))
        expect(grown["tenant_router"] == sent["router"], (grown, sent))
        # What is let through in that time, 100 a second, and what the pause before gave back, at most the burst of 300.
        for kind, reason in (("arp", "arp_rate"), ("nd", "nd_rate")):
            passed = sent[kind] - grown.get(reason, 0)
            expect(200 <= passed <= 300 + 100 * (took_s + 1), (kind, passed, grown, sent))
        expect(grown["no_mapping"] + grown.get("unknown_rate", 0) == sent["unknown"], (grown, sent))
        fates = {fate: now[fate] - counted[fate] for fate in ("received", "forwarded", "replied", "punted", "dropped")}
        expect(fates["received"] == sum(count for fate, count in fates.items() if fate != "received"), fates)
        events = [json.loads(line) for line in net.nve1.ctl("--json", "events").splitlines()]
        kinds = {(event["attachment"], event["kind"]) for event in events}
        expect({("vm3", "spoofed"), ("vm3", "conflict")} <= kinds, kinds)
        expect(not [kind for vm, kind in kinds if vm == "vm1" and kind != "learnt"], kinds)
        net.stop()


def test_abuse_ends_in_quarantine_and_quarantine_ends():
    with Lab("ilah") as lab:
        net = TenantNetwork(lab)
        net.nve1.config["quarantine"] = {"drops_per_second": 200, "seconds": 2, "duration_s": 8}
        net.start()
        vm3, vm1 = net.vms["vm3"], net.vms["vm1"]
        vm3.reaches(ipv6("vm4"))
        seen = lambda: [json.loads(line) for line in net.nve1.ctl("--json", "events").splitlines()]  # noqa: E731
        times = lambda kind: sum(1 for event in seen() if event["kind"] == kind)  # noqa: E731
        asks = lambda: vm3.status(["arping", "-c", 1, "-w", 2, "-I", "eth0", ipv4("vm4")])  # noqa: E731

        def attempt(_):
            earlier, released = seen(), times("released")
            flood(net, 4.5, 2000)
            events = seen()[len(earlier) :]
            began = [event for event in events if event["kind"] == "quarantined"]
            expect([(event["attachment"], event["seconds"]) for event in began] == [("vm3", 8)], events)
            # Its neighbours are known to it, and data flows on; nothing that it asks is answered.
            vm3.run(f"ip -6 neigh replace {gateway6('blue')} lladdr {ANYCAST} dev eth0 nud permanent")
            vm3.run(f"ip -6 neigh replace {ipv6('vm4')} lladdr {ANYCAST} dev eth0 nud permanent")
            vm3.reaches(ipv6("vm4"))
            status, text = asks()
            if times("released") > released:
                raise Disturbed("the quarantine ended before it was tried")
            expect(status != 0, text)
            net.nve1.counts("quarantined")
            # The tenant beside it asks and is answered.
            vm1.reaches(ipv6("vm2"))
            until(lambda: times("released") > released, "the quarantine to end")
            status, text = asks()
            expect(status == 0, f"after its release:\n{text}")

        undisturbed(lab, attempt, "a quarantine", drops_are_meant=True)
        metrics = net.nve1.metrics()
        expect(metrics['ilagate_tenant_events_total{kind="quarantined"}'] == times("quarantined"), metrics)
        net.stop()
